//! Refusing a connection when all are in use.

use std::{io, time::Duration};

use hyper::Method;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{drive::discard, own_answers::OwnAnswers};

/// How long a client may take to send its head and to read its answer while all connections are in use.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
const LINGER_BYTES: u64 = 64 * 1024;
/// As much of a first line as is looked at.
pub(super) const LINE_BYTES: usize = 128;

/// Whether what a client sends first, until then, is a request that is answered though all connections are in use.
pub(super) async fn is_answered(
    stream: &TcpStream,
    is_probe: fn(&Method, &str) -> bool,
    until: Instant,
) -> bool {
    let mut head = [0; LINE_BYTES];
    let Ok(Ok(length)) = timeout_at(until, stream.peek(&mut head)).await else { return false };
    head.get(..length).is_some_and(|head| asks_as_probe(head, is_probe))
}

/// Whether a head that begins so is that of a request that is answered though all connections are in use.
pub(super) fn asks_as_probe(head: &[u8], is_probe: fn(&Method, &str) -> bool) -> bool {
    first_line(head).is_some_and(|(method, path)| is_probe(&method, path))
}

/// The method and the path that a request begins with.
fn first_line(bytes: &[u8]) -> Option<(Method, &str)> {
    let line = bytes.split(|&byte| byte == b'\r').next()?;
    let mut words = str::from_utf8(line).ok()?.split(' ');
    let method = words.next()?.parse().ok()?;
    Some((method, words.next()?.split('?').next()?))
}

/// Tells a client that there are too many connections, in a way that it can read until then.
pub(super) async fn refuse(stream: TcpStream, own: &OwnAnswers, until: Instant) {
    let _ = timeout_at(until, answer(stream, own)).await;
}

async fn answer(stream: TcpStream, own: &OwnAnswers) -> io::Result<()> {
    // Clients take an answer that comes before their request for a broken connection.
    stream.readable().await?;
    let (read, write) = stream.into_split();
    say(read, write, &own.too_many_connections()).await
}

/// Sends an answer, and lets the client read it.
pub(super) async fn say<R, W>(read: R, mut write: W, answer: &str) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    write.write_all(answer.as_bytes()).await?;
    write.shutdown().await?;
    discard(read, LINGER_BYTES).await
}
