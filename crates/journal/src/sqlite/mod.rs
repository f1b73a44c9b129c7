//! The journal in a directory, as an SQLite database in WAL mode.
//!
//! A batch is a row. It is acknowledged once it is safe in a file of its own (`mark`), which has the last batches, each
//! twice; the database gets many of them in one commit. Whoever reads the journal reads both, as one.

mod checkpoint;
mod directory;
mod log;
mod mark;
mod reader;
mod schema;
mod system;

pub use directory::{Directory, Found, backup, create_from, inspect};
