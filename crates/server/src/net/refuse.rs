use std::{io, time::Duration};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use super::drive::{discard, plain};

/// How long a refused client may take to read its answer.
const PATIENCE: Duration = Duration::from_millis(500);
const LINGER_BYTES: u64 = 64 * 1024;

/// Tells a client that there are too many connections, in a way that it can read.
pub(super) async fn refuse(stream: TcpStream) {
    let _ = timeout(PATIENCE, answer(stream)).await;
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    // Clients take an answer that comes before their request for a broken connection.
    stream.readable().await?;
    let sentence = "Too many connections are open. Try again in a second.\n";
    stream.write_all(plain("503 Service Unavailable", sentence).as_bytes()).await?;
    stream.shutdown().await?;
    discard(stream, LINGER_BYTES).await
}
