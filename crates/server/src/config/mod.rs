//! The configuration file `throttle.toml`: what it may say, and how it is read.

mod cluster;
mod duplicate;
mod error;
mod load;
mod model;
mod names;
mod sections;
mod start;
mod table;

#[cfg(test)]
mod documented;
#[cfg(test)]
mod tests;

pub use cluster::Cluster;
pub(crate) use duplicate::duplicate;
pub use error::ConfigError;
pub use load::{Content, Loaded, load, parse};
pub use model::{
    AuditLog, Config, Durability, Encryption, Expiry, Gelf, Http, Limits, LogFormat, Logging, Otlp, PER,
    Queue, Recovery, Security, SemaphoreConfig, Stderr, TEN_YEARS, Telemetry,
};
pub(crate) use names::is_dot_segment;
pub(crate) use sections::{DEADLOCK, ORDER};
pub use start::{DEFAULT_ADDRESS, DEFAULT_CONFIGURATION, DEFAULT_PORT, Start};
pub(crate) use table::Source;
