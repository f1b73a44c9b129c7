//! What the server needs of an operating system. No other module of it may depend on one.

#[cfg(unix)]
mod local;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use local::{Given, LocalListener, LocalStream, given_socket};
#[cfg(unix)]
pub use unix::{
    host_name, on_reload_signal, raise_open_files, reuse_address, shutdown_signal, tell_ready, tell_stopping,
    watchdog,
};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{
    Given, LocalListener, LocalStream, given_socket, host_name, on_reload_signal, raise_open_files,
    reuse_address, shutdown_signal, tell_ready, tell_stopping, watchdog,
};
