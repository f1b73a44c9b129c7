//! A server to talk to, and ways to talk to it.

mod answer;
mod client;
mod collector;
#[cfg(unix)]
mod etcd;
mod events;
mod log;
mod process;
mod proxy;
mod server;
#[cfg(target_os = "linux")]
pub(crate) mod shim;
mod terminal;
mod v1;
#[cfg(target_os = "linux")]
mod wall_clock;

pub(crate) use answer::Answer;
pub(crate) use client::{Client, request};
pub(crate) use collector::{Collector, attribute, event};
#[cfg(unix)]
pub(crate) use etcd::Etcd;
pub(crate) use events::{Events, Sent};
pub(crate) use process::{Launch, Process, free_port, until};
pub(crate) use proxy::Proxy;
pub(crate) use server::Server;
pub(crate) use terminal::Terminal;
pub(crate) use v1::id;
#[cfg(target_os = "linux")]
pub(crate) use wall_clock::WallClock;

/// A peer as logs and traces tell of it: whoever knows the whole id could end it.
pub(crate) fn shown(peer: u64) -> String {
    format!("..{:06}", peer % 1_000_000)
}
