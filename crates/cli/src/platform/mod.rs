//! What the commands need of an operating system. No other module of them may depend on one.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{Change, Child, Memory, Signal, Signals, is_standard_output, large_pages_on_request, parent};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{
    Change, Child, Memory, Signal, Signals, is_standard_output, large_pages_on_request, parent,
};
