//! Requests of `/v1` with any bodies.

use crate::server::Server;

/// What a request begins with, by its first byte.
const ROUTES: &[&str] = &[
    "POST /v1/peers",
    "PUT /v1/peers/1/locks",
    "PUT /v1/peers/2/locks",
    "POST /v1/peers/1/heartbeat",
    "POST /v1/peers/2/release",
    "POST /v1/locks",
    "POST /v1/heartbeats",
    "PUT /v1/semaphores/A",
    "PATCH /v1/semaphores/B",
    "PATCH /v1/semaphore?name=t/x",
    "DELETE /v1/peers/1",
    "POST /v1/reload",
    "POST /v1/resume",
    "POST /restore",
    "POST /new_peer",
    "PUT /peers/1",
    "PUT /peers/2/A",
    "POST /acquire",
    "POST /peers/3/block_until_acquired",
];

/// What separates two requests.
const END: u8 = 0xff;
/// How many requests there are at most.
const REQUESTS: usize = 16;

/// Sends a request for each part of the data that ends with `0xff`: its first byte says which, the rest is its body.
pub fn run(data: &[u8]) {
    let server = Server::start();
    let mut bytes = Vec::new();
    for part in data.split(|&byte| byte == END).take(REQUESTS) {
        let Some((route, body)) = part.split_first() else { continue };
        let route = ROUTES[usize::from(*route) % ROUTES.len()];
        let head = format!(
            "{route} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(body);
    }
    let answers = server.converse(&bytes);
    server.check(&answers);
}
