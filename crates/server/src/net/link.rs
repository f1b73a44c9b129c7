use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of answers that hyper may write ahead of the network.
const AHEAD: usize = 64 * 1024;
/// What a connection keeps of its buffer between answers, in bytes.
const KEPT: usize = 4 * 1024;

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Open, and nothing came yet.
    New,
    /// The first head has begun.
    First,
    /// A request is being answered.
    Busy,
    /// Between two requests.
    Idle,
    /// A later head has begun.
    Head,
}

/// What hyper's side of a connection and the task that drives it know of each other. All of it belongs to one
/// task, so the lock is never contended.
pub(super) struct Link(Mutex<State>);

struct State {
    phase: Phase,
    /// Changes whenever the phase does, or the network takes a part of what waits.
    turn: u32,
    out: Vec<u8>,
    sent: usize,
    /// Where hyper's last write began in `out`.
    last_write: usize,
    /// Whether hyper waits for room.
    blocked: bool,
    /// Whether the client has closed its side.
    ended: bool,
}

/// A look at a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) phase: Phase,
    pub(super) turn: u32,
    /// Whether bytes wait for the network.
    pub(super) unsent: bool,
    pub(super) ended: bool,
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.turn = self.turn.wrapping_add(1);
    }

    fn room(&self) -> usize {
        AHEAD.saturating_sub(self.out.len() - self.sent)
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let fitting = bytes.get(..self.room()).unwrap_or(bytes);
        self.out.extend_from_slice(fitting);
        fitting.len()
    }
}

impl Link {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            phase: Phase::New,
            turn: 0,
            out: Vec::new(),
            sent: 0,
            last_write: 0,
            blocked: false,
            ended: false,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.state().enter(phase);
    }

    pub(super) fn view(&self) -> View {
        let state = self.state();
        View {
            phase: state.phase,
            turn: state.turn,
            unsent: state.sent < state.out.len(),
            ended: state.ended,
        }
    }

    fn arrived(&self, bytes: usize) {
        let mut state = self.state();
        match state.phase {
            _ if bytes == 0 => state.ended = true,
            Phase::New => state.enter(Phase::First),
            Phase::Idle => state.enter(Phase::Head),
            Phase::First | Phase::Head | Phase::Busy => {}
        }
    }

    /// Adds an answer of the driver's own.
    pub(super) fn push(&self, bytes: &[u8]) {
        self.state().out.extend_from_slice(bytes);
    }

    /// Replaces what hyper wrote last by what `replace` makes of it. Only what is not yet sent can be replaced.
    pub(super) fn replace_last(&self, replace: impl FnOnce(&[u8]) -> Option<String>) {
        let mut state = self.state();
        let start = state.last_write;
        if start < state.sent {
            return;
        }
        if let Some(better) = state.out.get(start..).and_then(replace) {
            state.out.truncate(start);
            state.out.extend_from_slice(better.as_bytes());
        }
    }

    /// Sends what waits. Returns whether hyper waited for room and now has it.
    pub(super) fn send<W: AsyncWrite + Unpin>(&self, to: &mut W, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut state = self.state();
        let state = &mut *state;
        let mut moved = false;
        while let Some(waiting) = state.out.get(state.sent..).filter(|waiting| !waiting.is_empty()) {
            match Pin::new(&mut *to).poll_write(cx, waiting) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(bytes)) => {
                    state.sent += bytes;
                    moved = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if state.sent == state.out.len() {
            state.out.clear();
            state.out.shrink_to(KEPT);
        } else if moved {
            state.out.drain(..state.sent);
            state.turn = state.turn.wrapping_add(1);
        }
        if moved {
            state.sent = 0;
            state.last_write = 0;
        }
        Ok(moved && std::mem::take(&mut state.blocked))
    }
}

/// The socket as hyper sees it: it reads from the network, but writes to memory.
pub(super) struct Wire<R> {
    pub(super) read: R,
    pub(super) link: Arc<Link>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Wire<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.read).poll_read(cx, buffer);
        if let Poll::Ready(Ok(())) = result {
            self.link.arrived(buffer.filled().len() - before);
        }
        result
    }
}

impl<R: Unpin> AsyncWrite for Wire<R> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    // No waker is kept: the driver asks hyper again in the same turn that made room.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.link.state();
        if state.room() == 0 {
            state.blocked = true;
            return Poll::Pending;
        }
        state.last_write = state.out.len();
        Poll::Ready(Ok(parts.iter().map(|part| state.put(part)).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
