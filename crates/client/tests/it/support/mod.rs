//! What the tests share: a server process, a network that can be cut, and patience.

mod gateway;
mod network;
mod server;

use std::time::{Duration, SystemTime};

pub(crate) use {
    gateway::{Cut, Gateway, Rules},
    network::Network,
    server::Server,
};

/// How long a test waits for what must happen. Generous: it only ends tests that have failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that can only be seen by asking.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = SystemTime::now();
    while !is_so() {
        assert!(start.elapsed().unwrap_or_default() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Awaits what must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
