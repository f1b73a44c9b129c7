//! Planted faults: ways to break the rules, the node and the log on purpose, to show that the simulator finds each.
//!
//! They are there only in builds with `RUSTFLAGS="--cfg planted"`, which no release is; elsewhere there is nothing of them
//! but [`planted!`](crate::planted!), which is `false`.

/// Whether this fault is planted on this thread.
#[cfg(planted)]
#[macro_export]
macro_rules! planted {
    ($fault:ident) => {
        $crate::planted::is($crate::planted::Fault::$fault)
    };
}

/// Whether this fault is planted: never in this build.
#[cfg(not(planted))]
#[macro_export]
macro_rules! planted {
    ($fault:ident) => {
        false
    };
}

#[cfg(planted)]
pub use faults::{Fault, is, plant};

#[cfg(planted)]
mod faults;
