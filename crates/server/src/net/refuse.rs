//! Refusing a connection when all are in use.

use std::{io, time::Duration};

use hyper::Method;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::drive::discard;

/// How long a client may take to send its head and to read its answer while all connections are in use.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
const LINGER_BYTES: u64 = 64 * 1024;
/// As much of a first line as is looked at.
pub(super) const LINE_BYTES: usize = 128;

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
