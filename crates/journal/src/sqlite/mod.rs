//! The journal in a directory, as an SQLite database in WAL mode.
//!
//! A batch is a row, and a commit. SQLite makes a commit safe before it returns, but what is damaged later at the end
//! of its write-ahead log it takes for a write that was cut off, and drops without a word. So the number of the last
//! batch, and the chain with it, are also kept in a file of their own (`mark`), written after the commit and before
//! the batch is acknowledged: a journal that ends before its mark has lost something.

mod checkpoint;
mod directory;
mod log;
mod mark;
mod reader;
mod schema;
mod system;

pub use directory::{Directory, Found, backup, create_from, inspect};
