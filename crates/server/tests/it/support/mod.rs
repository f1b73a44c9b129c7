//! A server to talk to, and ways to talk to it.

mod answer;
mod client;
mod log;
mod process;
mod server;

pub(crate) use answer::Answer;
pub(crate) use client::{Client, request};
pub(crate) use process::{Launch, free_port, until};
pub(crate) use server::Server;
