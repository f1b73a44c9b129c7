//! What a client sends, read ahead while its request waits: hyper looks whether the client is still there only as long
//! as nothing of a next request has come.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

/// How much is read ahead at most, in bytes.
const AHEAD: usize = 4096;

/// The reading half of a connection. All of it belongs to one task, so its lock is never contended.
pub(super) struct Source<R>(Arc<Mutex<Inner<R>>>);

struct Inner<R> {
    read: R,
    /// What was read ahead.
    early: Vec<u8>,
}

impl<R> Clone for Source<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: AsyncRead + Unpin> Source<R> {
    pub(super) fn new(read: R) -> Self {
        Self(Arc::new(Mutex::new(Inner { read, early: Vec::new() })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads ahead. Returns how many bytes came, 0 at the end; pending too if there is no room.
    pub(super) fn poll_ahead(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Inner { read, early } = &mut *self.inner();
        let mut chunk = [0; AHEAD];
        let room = chunk.get_mut(early.len()..).filter(|room| !room.is_empty());
        let Some(room) = room else { return Poll::Pending };
        let mut buffer = ReadBuf::new(room);
        ready!(Pin::new(read).poll_read(cx, &mut buffer))?;
        early.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Reads. Returns how many bytes came that were not read ahead; `None` if all were.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Option<usize>>> {
        let Inner { read, early } = &mut *self.inner();
        if !early.is_empty() {
            let taken = early.len().min(buffer.remaining());
            buffer.put_slice(early.get(..taken).unwrap_or_default());
            early.drain(..taken);
            if early.is_empty() {
                *early = Vec::new();
            }
            return Poll::Ready(Ok(None));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(read).poll_read(cx, buffer))?;
        Poll::Ready(Ok(Some(buffer.filled().len() - before)))
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Source<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Source::poll_read(&self, cx, buffer).map_ok(drop)
    }
}
