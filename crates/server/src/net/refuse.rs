//! Refusing a connection when all are in use.

use std::{io, time::Duration};

use hyper::Method;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use super::{drive::discard, own_answers::OwnAnswers};

/// How long a client may take to send its head and to read its answer while all connections are in use.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
const LINGER_BYTES: u64 = 64 * 1024;
/// As much of a first line as is looked at.
const LINE_BYTES: usize = 128;

/// Whether what a client sends first is a request that is answered though all connections are in use.
pub(super) async fn is_answered(stream: &TcpStream, is_probe: fn(&Method, &str) -> bool) -> bool {
    let mut head = [0; LINE_BYTES];
    let Ok(Ok(length)) = timeout(PATIENCE, stream.peek(&mut head)).await else { return false };
    let line = head.get(..length).and_then(|bytes| bytes.split(|&byte| byte == b'\r').next());
    let mut words = line.and_then(|line| str::from_utf8(line).ok()).unwrap_or_default().split(' ');
    let (Some(Ok(method)), Some(target)) = (words.next().map(str::parse), words.next()) else { return false };
    is_probe(&method, target.split('?').next().unwrap_or_default())
}

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
