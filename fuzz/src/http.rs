//! Bytes of a connection.

use crate::server::Server;

/// Sends the bytes to a server that has some peers and semaphores, and reads to the end.
pub fn run(data: &[u8]) {
    let server = Server::start();
    let answers = server.converse(data);
    server.check(&answers);
}
