//! `throttle run`: a command under a lock.

pub(super) mod acquire;
mod arguments;
mod asking;
pub(super) mod notice;
mod start;
mod supervise;
mod target;
mod wanted;

pub(crate) use arguments::LONG_ABOUT;
pub use arguments::Run;
pub use asking::Asking;
pub(super) use asking::label;
pub use start::run;
pub use target::Target;
pub(super) use target::peer_id;
pub use wanted::Wanted;
