//! What differs between operating systems. No other module may depend on one.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{
    Change, Child, Signal, Signals, on_reload_signal, raise_open_files, reuse_address, shutdown_signal,
};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{
    Change, Child, Signal, Signals, on_reload_signal, raise_open_files, reuse_address, shutdown_signal,
};
