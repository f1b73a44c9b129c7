#![doc = include_str!("../README.md")]

mod acquisition;
mod background;
mod client;
mod clock;
mod error;
mod guard;
mod lease;
mod lock;
mod loss;
mod protocol;
mod release;
mod renewal;
mod retry;
mod settings;
mod tls;
mod transport;

pub use client::{Client, PeerDescription};
pub use error::{AcquireError, Error};
pub use guard::Guard;
pub use lock::{LockRequest, WaitingFor};
pub use loss::{Loss, LossReason};
pub use settings::ClientBuilder;
