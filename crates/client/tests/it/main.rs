//! The client against a real server process.

mod cancellation;
mod locking;
mod loss;
mod low_level;
mod support;
