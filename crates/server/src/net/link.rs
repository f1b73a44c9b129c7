//! The stream under hyper: which phase a connection is in, and how much is buffered.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{
    budget::{Budget, Share},
    source::Source,
};

/// Bytes of answers that hyper may write ahead of the network.
const AHEAD: usize = 64 * 1024;
/// What a connection keeps of its buffer between answers, in bytes.
const KEPT: usize = 4 * 1024;
/// How long an answer may still take once the client has closed its side. A client that only does not send any more
/// looks like one that is gone; so it gets what is answered at once, and a request that waits for a grant ends.
const LAST_ANSWER: Duration = Duration::from_millis(100);

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
/// task: its atomics order nothing, and its lock is never contended.
pub(super) struct Link {
    phase: AtomicU8,
    /// Changes whenever the phase does, or the client has taken all that waited of an answer that goes on.
    turn: AtomicU32,
    /// Whether the answer is one that goes on, so that nobody can say when all of it must have been taken.
    goes_on: AtomicBool,
    /// What the request that is not answered yet has of the bytes that all may have.
    request: Share,
    /// The same of the answers that the client has not taken.
    answers: Share,
    /// What hyper still has of answers, in bytes.
    body: AtomicUsize,
    /// Whether there was no room for one of them.
    is_too_much: AtomicBool,
    /// Whether the client has closed its side.
    ended: AtomicBool,
    /// Whether the request that is being answered waits.
    waiting: AtomicBool,
    out: Mutex<Out>,
}

#[derive(Default)]
struct Out {
    bytes: Vec<u8>,
    /// Where hyper's last write began.
    last_write: usize,
    /// Whether something that was written may not be on its way yet.
    is_unflushed: bool,
    /// Whether hyper waits for room.
    blocked: bool,
}

/// A look at a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) phase: Phase,
    pub(super) turn: u32,
}

impl Out {
    fn room(&self) -> usize {
        AHEAD.saturating_sub(self.bytes.len())
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let fitting = bytes.get(..self.room()).unwrap_or(bytes);
        self.bytes.extend_from_slice(fitting);
        fitting.len()
    }
}

impl Link {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            phase: AtomicU8::new(Phase::New as u8),
            turn: AtomicU32::new(0),
            goes_on: AtomicBool::new(false),
            request: Share::of(budget),
            answers: Share::of(budget),
            body: AtomicUsize::new(0),
            is_too_much: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            out: Mutex::default(),
        }
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.turned();
    }

    /// An answer begins that has so many bytes; without a number it goes on. Tells whether there is room for it.
    pub(super) fn answer(&self, bytes: Option<u64>) -> bool {
        self.goes_on.store(bytes.is_none(), Relaxed);
        self.turned();
        self.request.set(0);
        let bytes = usize::try_from(bytes.unwrap_or_default()).unwrap_or(usize::MAX);
        // Hyper may have taken the end of the answer before and not have written it.
        let body = self.body.load(Relaxed).saturating_add(bytes);
        let has_room = self.answers.set(body.saturating_add(self.out().bytes.len()));
        if has_room {
            self.body.store(body, Relaxed);
        }
        if !has_room {
            self.is_too_much.store(true, Relaxed);
        }
        has_room
    }

    pub(super) fn set_waiting(&self, is_waiting: bool) {
        self.waiting.store(is_waiting, Relaxed);
    }

    /// Whether an answer is on its way that will not take long.
    fn is_answering(&self) -> bool {
        self.phase() == Phase::Busy && !self.waiting.load(Relaxed)
    }

    fn turned(&self) {
        self.turn.store(self.turn.load(Relaxed).wrapping_add(1), Relaxed);
    }

    fn phase(&self) -> Phase {
        const ALL: [Phase; 5] = [Phase::New, Phase::First, Phase::Busy, Phase::Idle, Phase::Head];
        ALL.get(usize::from(self.phase.load(Relaxed))).copied().unwrap_or(Phase::Idle)
    }

    pub(super) fn view(&self) -> View {
        View { phase: self.phase(), turn: self.turn.load(Relaxed) }
    }

    /// Whether the client has closed its side.
    pub(super) fn ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Whether bytes wait for the network.
    pub(super) fn unsent(&self) -> bool {
        let out = self.out();
        out.is_unflushed || !out.bytes.is_empty()
    }

    /// Whether there was no room for the request or its answer.
    pub(super) fn is_too_much(&self) -> bool {
        self.is_too_much.load(Relaxed)
    }

    /// Whether the request that is being answered waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.phase() == Phase::Busy && self.waiting.load(Relaxed)
    }

    /// So many bytes came from the client, 0 at the end of all.
    pub(super) fn arrived(&self, bytes: usize) -> io::Result<()> {
        if !self.request.add(bytes) {
            self.is_too_much.store(true, Relaxed);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        match self.phase() {
            _ if bytes == 0 => self.ended.store(true, Relaxed),
            Phase::New => self.enter(Phase::First),
            Phase::Idle => self.enter(Phase::Head),
            Phase::First | Phase::Head | Phase::Busy => {}
        }
        Ok(())
    }

    /// Nothing more is on its way but the last words.
    pub(super) fn forget(&self) {
        self.request.set(0);
        self.answers.set(0);
    }

    /// Whether hyper may be in the middle of an answer.
    pub(super) fn is_amid_answer(&self) -> bool {
        self.body.load(Relaxed) > 0
    }

    /// Adds an answer of the driver's own.
    pub(super) fn push(&self, bytes: &[u8]) {
        self.out().bytes.extend_from_slice(bytes);
    }

    /// Replaces the end of what hyper wrote last and is not yet sent. `replace` is shown that, and says from where
    /// on to replace it by what.
    pub(super) fn replace_end(&self, replace: impl FnOnce(&[u8]) -> (usize, String)) {
        let mut out = self.out();
        let start = out.last_write;
        let (end, better) = replace(out.bytes.get(start..).unwrap_or_default());
        out.bytes.truncate(start + end);
        out.bytes.extend_from_slice(better.as_bytes());
    }

    /// Sends what waits. Returns whether hyper waited for room and now has it.
    pub(super) fn send<W: AsyncWrite + Unpin>(&self, to: &mut W, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut out = self.out();
        let out = &mut *out;
        let mut sent = 0;
        while let Some(waiting) = out.bytes.get(sent..).filter(|waiting| !waiting.is_empty()) {
            match Pin::new(&mut *to).poll_write(cx, waiting) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(bytes)) => sent += bytes,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        // What an encrypted connection took may not be on its way yet.
        out.is_unflushed |= sent > 0;
        if out.is_unflushed && Pin::new(to).poll_flush(cx)?.is_ready() {
            out.is_unflushed = false;
        }
        if sent == 0 {
            return Ok(false);
        }
        if sent == out.bytes.len() {
            // An answer may go on for days, and what comes next has its own time.
            if self.goes_on.load(Relaxed) {
                self.turned();
            }
            out.bytes.clear();
            out.bytes.shrink_to(KEPT);
        } else {
            out.bytes.drain(..sent);
        }
        out.last_write = out.last_write.saturating_sub(sent);
        self.answers.set(self.body.load(Relaxed).saturating_add(out.bytes.len()));
        Ok(std::mem::take(&mut out.blocked))
    }
}

/// The socket as hyper sees it: it reads from the network, but writes to memory.
pub(super) struct Wire<R> {
    source: Source<R>,
    link: Arc<Link>,
    /// When hyper is told that the client has closed its side, if it has in the middle of an answer.
    end_at: Option<Pin<Box<Sleep>>>,
}

impl<R> Wire<R> {
    pub(super) fn new(source: Source<R>, link: Arc<Link>) -> Self {
        Self { source, link, end_at: None }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Wire<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(bytes) = ready!(self.source.poll_read(cx, buffer))? else { return Poll::Ready(Ok(())) };
        self.link.arrived(bytes)?;
        if bytes == 0 && self.link.is_answering() {
            let end_at = self.end_at.get_or_insert_with(|| Box::pin(sleep(LAST_ANSWER)));
            ready!(end_at.as_mut().poll(cx));
        }
        Poll::Ready(Ok(()))
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
        if self.link.is_too_much() {
            // Whatever is said of the request now, it was not read.
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let mut out = self.link.out();
        if out.room() == 0 {
            out.blocked = true;
            return Poll::Pending;
        }
        out.last_write = out.bytes.len();
        let taken = parts.iter().map(|part| out.put(part)).sum();
        // Heads count too, which is little, so that nothing is left in the end.
        self.link.body.store(self.link.body.load(Relaxed).saturating_sub(taken), Relaxed);
        Poll::Ready(Ok(taken))
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
