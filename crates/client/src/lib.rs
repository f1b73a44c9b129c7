#![doc = include_str!("../README.md")]

mod acquisition;
mod background;
mod client;
mod clock;
mod dialect;
mod error;
mod events;
mod guard;
mod labels;
mod lease;
mod lock;
mod loss;
mod outer;
mod place;
mod polls;
mod protocol;
mod proxy;
mod release;
mod renewal;
mod retry;
mod server_time;
mod settings;
mod share;
mod tls;
mod transport;
mod v1;

pub use client::{Client, PeerDescription};
pub use error::{AcquireError, Error};
pub use events::{Event, Events};
pub use guard::Guard;
pub use lock::{LockRequest, WaitingFor};
pub use loss::{Loss, LossReason};
pub use settings::ClientBuilder;
pub use share::Share;
pub use v1::Blocker;
