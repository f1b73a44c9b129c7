//! Refusing a connection when all are in use.

use std::{io, time::Duration};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use super::{drive::discard, own_answers::OwnAnswers};

/// How long a refused client may take to read its answer.
const PATIENCE: Duration = Duration::from_millis(500);
const LINGER_BYTES: u64 = 64 * 1024;

/// Tells a client that there are too many connections, in a way that it can read.
pub(super) async fn refuse(stream: TcpStream, own: &OwnAnswers) {
    let _ = timeout(PATIENCE, answer(stream, own)).await;
}

async fn answer(mut stream: TcpStream, own: &OwnAnswers) -> io::Result<()> {
    // Clients take an answer that comes before their request for a broken connection.
    stream.readable().await?;
    stream.write_all(own.too_many_connections().as_bytes()).await?;
    stream.shutdown().await?;
    discard(stream, LINGER_BYTES).await
}
