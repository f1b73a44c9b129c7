//! Unix.

mod child;
mod disposition;
mod signals;
mod terminal;

pub use child::{Change, Child};
pub use signals::{Signal, Signals};
