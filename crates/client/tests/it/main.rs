//! The client against a real server process.

mod locking;
mod low_level;
mod support;
