//! The shell around the state machine: it owns the [`Core`](throttle_core::Core), tells it the time, and wakes
//! whoever waits for what it decides.
//!
//! The core sits behind one mutex. A request that can be answered at once takes it, runs a command of
//! a microsecond or less, and answers from its own task: no channel, no other task, no wake-up is on its way.
//! `cargo run --release -p throttle-bench -- --engine` compares this with a task that owns the core.

mod blocked;
mod clock;
mod commands;
mod diary;
mod driver;
mod ended;
mod events;
mod feed;
mod handle;
mod keys;
mod kind;
mod manage;
mod near;
mod recovery;
mod sessions;
mod wait;

pub use blocked::TooManyBlocked;
pub use clock::wall_now;
pub use commands::{AcquireRefusal, Effect, Joint};
pub use ended::Ending;
pub use events::{Beginning, Missed, News, SubscribeError, Subscription};
pub use feed::{Happening, Page};
pub use handle::{Bounds, Engine, Parts};
pub use keys::{Key, KeyReused};
pub use kind::{Kind, cause_name};
pub use manage::{PeerPage, SemaphorePage, SetRefusal};
pub use recovery::Holding;
pub use sessions::{Ask, NewPeer, Outcome, SessionRefusal};
pub use throttle_journal::{Wall, WallTime};
