//! The durable mode: what was acknowledged is there after a restart, whatever happens to the process, the disk and the
//! files.

#[cfg(target_os = "linux")]
mod damage;
#[cfg(target_os = "linux")]
mod faults;
mod format;
mod hold;
mod home;
mod order;
mod process;
mod restart;
mod restore;
