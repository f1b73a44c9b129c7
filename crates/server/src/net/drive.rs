//! Driving one connection: hyper serves it, and this bounds how long each phase may take.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1::Builder,
    service::Service,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::Notify,
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::{
    budget::Budget,
    link::{Link, Phase, Wire},
    own_answers::OwnAnswers,
    source::Source,
    watched::{Remote, Watched},
};

/// How long, and how many bytes, a client may go on sending after its last answer so that it can read that.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 4 << 20;
/// The same while the server shuts down.
const LINGER_DRAINING: Duration = Duration::from_millis(100);

/// Any error, as hyper wants it.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Tells every connection to end.
#[derive(Debug, Default)]
pub(super) struct Drain {
    begun: AtomicBool,
    notify: Arc<Notify>,
}

impl Drain {
    pub(super) fn begin(&self) {
        self.begun.store(true, SeqCst);
        self.notify.notify_waiters();
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) head: Duration,
    pub(super) answer: Duration,
    pub(super) idle: Duration,
}

/// What all connections have in common.
pub(super) struct Shared {
    pub(super) drain: Drain,
    pub(super) budget: Arc<Budget>,
    pub(super) own: OwnAnswers,
}

/// How a connection came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By HTTP: the last answer is written, or the client left between requests.
    Done,
    /// The client sent what is not HTTP, and was told so.
    Malformed,
    /// The network failed, or the client left in the middle of a request.
    Lost,
    /// A head did not arrive in time.
    HeadTimeout,
    /// No request came for the idle time.
    IdleTimeout,
    /// An answer was not taken in time.
    AnswerTimeout,
    /// There was no room for the request or its answer, as all of them together had too much.
    TooMuch,
}

/// Serves one connection to its end.
pub(super) async fn drive<R, W, S, B>(
    read: R,
    mut write: W,
    service: S,
    client: Remote,
    http: &Builder,
    patience: Patience,
    shared: &Shared,
) -> End
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let Shared { drain, budget, own } = shared;
    // Made before the first look at the flag, so that a drain in between is not missed.
    let mut draining = pin!(Arc::clone(&drain.notify).notified_owned());
    let mut drained = false;
    let link = Arc::new(Link::new(budget));
    let source = Source::new(read);
    let wire = Wire::new(source.clone(), Arc::clone(&link));
    let watched = Watched { service, client, link: Arc::clone(&link) };
    let mut connection = http.serve_connection(TokioIo::new(wire), watched);
    let mut watch = Watch::new(patience);
    let mut sleep = pin!(sleep_until(watch.since + patience.head));
    // This lock of tokio's is shared by all connections, so it is taken once and not for each request. The task
    // keeps its waker for life.
    let mut registered = false;

    let end = poll_fn(|cx| {
        if !registered {
            registered = true;
            let _ = draining.as_mut().poll(cx);
        }
        if !drained && drain.begun.load(SeqCst) {
            drained = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        loop {
            let turn = Pin::new(&mut connection).poll(cx);
            if let Poll::Ready(Err(error)) = &turn
                && is_malformed(error, &link)
            {
                link.replace_end(|written| own.malformed(written));
            }
            let sent = link.send(&mut write, cx);
            match (turn, sent) {
                (_, Err(_)) => return Poll::Ready(End::Lost),
                (Poll::Ready(result), _) => return Poll::Ready(end_of(result, &link)),
                (Poll::Pending, Ok(true)) => {}
                (Poll::Pending, Ok(false)) => break,
            }
        }
        // As long as bytes of a next request wait, hyper does not see that the client is gone.
        while link.is_waiting() && !link.ended() {
            match source.poll_ahead(cx).map(|read| read.and_then(|bytes| link.arrived(bytes))) {
                Poll::Ready(Ok(())) if link.ended() => return Poll::Ready(End::Lost),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(end_of(Ok(()), &link)),
                Poll::Pending => break,
            }
        }
        watch.poll(&link, sleep.as_mut(), cx)
    })
    .await;

    match end {
        End::HeadTimeout if link.view().phase != Phase::New => link.push(own.late_head().as_bytes()),
        End::TooMuch if !link.is_amid_answer() => link.push(own.too_much().as_bytes()),
        _ => {}
    }
    link.forget();
    let linger = if drained { LINGER_DRAINING } else { LINGER };
    if !matches!(end, End::Lost | End::IdleTimeout | End::AnswerTimeout) {
        drop(connection);
        let _ = timeout(linger, close(source, &mut write, &link)).await;
    }
    end
}

fn end_of(result: hyper::Result<()>, link: &Link) -> End {
    match result {
        _ if link.is_too_much() => End::TooMuch,
        Ok(()) => End::Done,
        Err(error) if is_malformed(&error, link) => End::Malformed,
        Err(_) => End::Lost,
    }
}

/// Whether a head cannot be read: it is not HTTP, or the client closed its side in the middle of it.
fn is_malformed(error: &hyper::Error, link: &Link) -> bool {
    error.is_parse()
        || (error.is_incomplete_message() && matches!(link.view().phase, Phase::First | Phase::Head))
}

/// Sends what is left and lets the client read it: a socket that is closed while unread bytes are in it resets the
/// connection, and the client loses the answer.
async fn close<R, W>(read: R, write: &mut W, link: &Link) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    poll_fn(|cx| match link.send(write, cx) {
        Ok(_) if link.unsent() => Poll::Pending,
        Ok(_) => Poll::Ready(Ok(())),
        Err(error) => Poll::Ready(Err(error)),
    })
    .await?;
    write.shutdown().await?;
    if !link.ended() {
        discard(read, LINGER_BYTES).await?;
    }
    Ok(())
}

/// Reads to the end of what a client sends, `limit` bytes at most.
pub(super) async fn discard<R: AsyncRead + Unpin>(read: R, limit: u64) -> io::Result<()> {
    let mut read = read.take(limit);
    // Not in the future, of which every connection has one.
    let mut scratch = vec![0; 4096];
    while read.read(&mut scratch).await? > 0 {}
    Ok(())
}

/// When the client must have done something. Its timer is set anew only if it would ring too late: most requests
/// leave it alone.
struct Watch {
    patience: Patience,
    since: Instant,
    turn: u32,
}

impl Watch {
    fn new(patience: Patience) -> Self {
        Self { patience, since: Instant::now(), turn: 0 }
    }

    fn poll(&mut self, link: &Link, mut sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<End> {
        let view = link.view();
        if view.turn != self.turn {
            self.turn = view.turn;
            // The time for the first head counts from the connection's opening.
            if view.phase != Phase::First {
                self.since = Instant::now();
            }
        }
        let (due, end) = match view.phase {
            Phase::New | Phase::First | Phase::Head => {
                (Some(self.since + self.patience.head), End::HeadTimeout)
            }
            Phase::Idle | Phase::Busy if link.unsent() => {
                (Some(self.since + self.patience.answer), End::AnswerTimeout)
            }
            Phase::Busy => (None, End::IdleTimeout),
            Phase::Idle => (Some(self.since + self.patience.idle), End::IdleTimeout),
        };
        if let Some(due) = due
            && due < sleep.deadline()
        {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            let now = Instant::now();
            match due {
                Some(due) if due <= now => return Poll::Ready(end),
                Some(due) => sleep.as_mut().reset(due),
                None => sleep.as_mut().reset(now + self.patience.answer.min(self.patience.idle)),
            }
        }
    }
}
