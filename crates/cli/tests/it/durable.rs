//! The durable mode: what was acknowledged is there after a restart, whatever happens to the process, the disk and the
//! files.

#[cfg(target_os = "linux")]
mod clock;
#[cfg(target_os = "linux")]
mod damage;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod faults;
mod format;
#[cfg(target_os = "linux")]
mod gate;
mod hold;
mod home;
mod order;
mod process;
mod restart;
mod restore;
mod tools;
mod upkeep;
mod vanished;
