//! The `throttle` command: the server, and the subcommands over its client. The server itself is the library
//! [`throttle_service`].
//!
//! - [`arguments`]: the command line.
//! - [`command`]: the subcommands, a module each.
//! - `environment`: what the environment says.
//! - [`platform`]: the only module that depends on an operating system.

pub mod arguments;
pub mod command;
mod environment;
pub mod platform;
