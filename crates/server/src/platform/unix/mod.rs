//! Unix.

mod child;
mod disposition;
mod signals;
mod system;
mod terminal;

pub use child::{Change, Child};
pub use signals::{Signal, Signals};
pub use system::{on_reload_signal, raise_open_files, reuse_address, shutdown_signal};
