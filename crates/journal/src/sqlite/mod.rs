//! The journal in a directory, as an SQLite database in WAL mode.
//!
//! A batch is a row, and a commit. SQLite makes a commit safe before it returns, but what is damaged later at the end
//! of its write-ahead log it takes for a write that was cut off, and drops without a word. So the last batch, with its
//! number and chain, is also kept in a file of its own (`mark`), which a thread of its own writes while the commit goes
//! on; the batch is acknowledged when both are safe. A journal that ends right before its mark gets its last batch from
//! there, and one that ends earlier has lost something.

mod checkpoint;
mod directory;
mod log;
mod mark;
mod reader;
mod schema;
mod system;

pub use directory::{Directory, Found, backup, create_from, inspect};
