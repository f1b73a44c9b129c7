//! The shell around the node: it owns the [`Node`](throttle_node::Node), tells it the time, and does what it says.
//!
//! The node sits behind one mutex. A request that can be answered at once takes it, runs a command of
//! a microsecond or less, and answers from its own task: no channel, no other task, no wake-up is on its way.
//! `cargo run --release -p throttle-bench -- --engine` compares this with a task that owns the core.

mod acts;
mod clock;
mod driver;
mod engine;
mod lead;
mod lines;
mod pages;
mod subscription;
mod waiting;

pub use clock::wall_now;
pub use engine::{Engine, NotSafe, Observer, Parts};
pub use lead::{Confirmed, Deposed, Lead};
pub use pages::{PeerPage, SemaphorePage};
pub use subscription::{News, SubscribeError, Subscription};
pub use waiting::Outcome;
