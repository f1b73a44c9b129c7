//! The server around the state machine of Throttle: the only place that knows HTTP, JSON, TOML, the clock
//! and the network. One module a concern; `ARCHITECTURE.md` has the map.

pub mod audit;
mod begin;
mod bound;
mod changes;
pub mod cluster;
pub mod config;
pub mod dialect;
mod durable;
pub mod history;
pub mod http;
pub mod journal;
pub mod metrics;
pub mod net;
mod outgoing;
pub mod platform;
pub mod printable;
pub mod reload;
pub mod runtime;
pub mod security;
pub mod serve;
mod spec;
pub mod telemetry;
