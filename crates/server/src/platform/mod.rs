//! What the server needs of an operating system. No other module of it may depend on one.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{on_reload_signal, raise_open_files, reuse_address, shutdown_signal};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{on_reload_signal, raise_open_files, reuse_address, shutdown_signal};
