//! Tests of the real `throttle` process over real sockets, a module for each feature.
//!
//! They wait for events: an answer, a line of the log, a figure of the metrics. Times appear only where a lease
//! has to run out, and then as a bound that load cannot break.
#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may panic, and measures time as its user does"
)]

mod absent;
mod bad_input;
mod classic;
#[cfg(target_os = "linux")]
mod clock;
#[cfg(unix)]
mod cluster;
mod commands;
mod dashboard;
mod documented;
#[cfg(unix)]
mod durable;
mod first;
mod health;
mod limits;
#[cfg(unix)]
mod logging;
mod metrics;
#[cfg(unix)]
mod operator;
#[cfg(unix)]
mod outliving;
#[cfg(unix)]
mod prefix;
#[cfg(unix)]
mod printable;
mod run;
mod security;
mod servers;
mod site;
#[cfg(unix)]
mod socket;
#[cfg(unix)]
mod standstill;
mod start;
mod support;
mod tls;
mod traces;
mod v1;
mod waiting;
#[cfg(unix)]
mod watch;
