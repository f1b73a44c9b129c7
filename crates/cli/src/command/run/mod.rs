//! `throttle run`: a command under a lock.

mod acquire;
mod arguments;
mod notice;
mod start;
mod supervise;
mod wanted;

pub(crate) use arguments::LONG_ABOUT;
pub use arguments::Run;
pub use start::run;
pub use wanted::Wanted;
