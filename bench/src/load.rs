//! The load: one thread, one poll, many connections that are kept open. Each connection has a script, and
//! sends its next request when the answer to the one before is there (closed loop), or keeps a fixed number
//! of them open.
//!
//! It shares the machine with the server, so it does little: requests are bytes that are copied, answers are
//! looked at just as far as needed, and all connections share their buffers.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::{ClientConfig, ClientConnection};

use crate::http::{self, Answer};
use crate::{Result, now};

/// What one connection says. Requests may run ahead of their answers by the depth of the pipeline.
pub(crate) trait Script {
    /// Appends the next request, or leaves `out` alone if there is none for now.
    fn request(&mut self, out: &mut Vec<u8>);
    /// Takes the answer to the oldest open request; says how many operations are complete by it.
    fn answer(&mut self, answer: &Answer<'_>) -> std::result::Result<u64, String>;
    /// Whether it may end after the requests made so far.
    fn may_stop(&self) -> bool {
        true
    }
    /// Peers that it has left on the server, to be removed after the measurement.
    fn left_behind(&mut self) -> Vec<u64> {
        Vec::new()
    }
}

/// How connections are encrypted, if they are.
pub(crate) type Tls = Option<Arc<ClientConfig>>;

/// One connection: a socket, and the bytes that were cut off on either way.
pub(crate) struct Connection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    received: Vec<u8>,
    unsent: Vec<u8>,
}

impl Connection {
    /// Connects, and registers with `poll` under `token` for as long as it lives.
    pub(crate) fn open(address: SocketAddr, poll: &Poll, token: usize, tls: &Tls) -> Result<Self> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let tls = tls.as_ref().map(|config| encrypt(config, &mut stream)).transpose()?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, tls, received: Vec::new(), unsent: Vec::new() })
    }

    /// Sends what the socket takes and keeps the rest until it takes more.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            return write_encrypted(tls, &mut self.stream);
        }
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return self.flush();
        }
        let written = write_some(&mut self.stream, bytes)?;
        self.unsent.extend_from_slice(bytes.get(written..).unwrap_or_default());
        Ok(())
    }

    /// Sends what was kept. To be called when the socket takes bytes again.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if let Some(tls) = &mut self.tls {
            return write_encrypted(tls, &mut self.stream);
        }
        if !self.unsent.is_empty() {
            let written = write_some(&mut self.stream, &self.unsent)?;
            self.unsent.drain(..written);
        }
        Ok(())
    }

    /// Reads all that is there and hands over each complete answer. `scratch` is any buffer.
    pub(crate) fn receive(
        &mut self,
        scratch: &mut [u8],
        mut take: impl FnMut(&Answer<'_>) -> Result<()>,
    ) -> Result<()> {
        loop {
            let read = match &mut self.tls {
                None => self.stream.read(scratch),
                Some(tls) => read_encrypted(tls, &mut self.stream, scratch),
            };
            let count = match read {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let fresh = scratch.get(..count).unwrap_or_default();
            if self.received.is_empty() {
                // The usual case: whole answers, read where they are.
                let used = take_all(fresh, &mut take)?;
                self.received.extend_from_slice(fresh.get(used..).unwrap_or_default());
            } else {
                self.received.extend_from_slice(fresh);
                let used = take_all(&self.received, &mut take)?;
                self.received.drain(..used);
            }
            // A short read has emptied the socket: the poll tells when there is more.
            if count < scratch.len() && self.tls.is_none() {
                return Ok(());
            }
        }
    }
}

/// Agrees with a server on keys.
fn encrypt(config: &Arc<ClientConfig>, stream: &mut std::net::TcpStream) -> Result<Box<ClientConnection>> {
    let name = IpAddr::V4(Ipv4Addr::LOCALHOST).into();
    let mut tls = Box::new(ClientConnection::new(Arc::clone(config), name)?);
    while tls.is_handshaking() {
        tls.complete_io(stream)?;
    }
    Ok(tls)
}

fn write_encrypted(tls: &mut ClientConnection, stream: &mut TcpStream) -> Result<()> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn read_encrypted(tls: &mut ClientConnection, stream: &mut TcpStream, to: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(to) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            read => return read,
        }
        if tls.read_tls(stream)? == 0 {
            return Ok(0);
        }
        tls.process_new_packets().map_err(io::Error::other)?;
    }
}

fn take_all(bytes: &[u8], take: &mut impl FnMut(&Answer<'_>) -> Result<()>) -> Result<usize> {
    let mut used = 0;
    while let Some((answer, count)) = http::parse(bytes.get(used..).unwrap_or_default())? {
        take(&answer)?;
        used += count;
        if used == bytes.len() {
            break;
        }
    }
    Ok(used)
}

fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// One request on a connection of its own, for setting up; gives back the body.
pub(crate) fn exchange(address: SocketAddr, tls: &Tls, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    match tls {
        None => ask(stream, request),
        Some(config) => ask(rustls::StreamOwned::new(*encrypt(config, &mut stream)?, stream), request),
    }
}

fn ask(mut stream: impl io::Read + io::Write, request: &[u8]) -> Result<Vec<u8>> {
    stream.write_all(request)?;
    let mut received = Vec::new();
    let mut scratch = [0; 16 * 1024];
    loop {
        if let Some((answer, _)) = http::parse(&received)? {
            answer.expect(200)?;
            return Ok(answer.body.to_vec());
        }
        let count = stream.read(&mut scratch)?;
        if count == 0 {
            return Err("the server closed the connection".into());
        }
        received.extend_from_slice(scratch.get(..count).unwrap_or_default());
    }
}

/// How many operations were done and how long that took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    /// Complete operations within the time.
    pub(crate) operations: u64,
    /// The time.
    pub(crate) seconds: f64,
}

/// A set of connections to one server.
pub(crate) struct Load {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    scratch: Vec<u8>,
    out: Vec<u8>,
}

/// A server that takes longer than this for any answer is given up on.
const PATIENCE: Duration = Duration::from_mins(1);

impl Load {
    /// Opens `count` connections.
    pub(crate) fn connect(address: SocketAddr, tls: &Tls, count: usize) -> Result<Self> {
        let poll = Poll::new()?;
        let connections =
            (0..count).map(|token| Connection::open(address, &poll, token, tls)).collect::<Result<_>>()?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            connections,
            scratch: vec![0; 64 * 1024],
            out: Vec::with_capacity(64 * 1024),
        })
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Runs one script on each connection, with up to `depth` requests open on each, until `time` is over or
    /// all scripts have nothing more to say. `at_end` is called at the end of the time; after that the
    /// scripts go on uncounted to a point where they may stop, so that the next run finds the server as this
    /// one did.
    pub(crate) fn run(
        &mut self,
        scripts: &mut [Box<dyn Script>],
        depth: usize,
        time: Duration,
        at_end: impl FnOnce(),
    ) -> Result<Done> {
        let Self { poll, events, connections, scratch, out } = self;
        let mut open = vec![0_usize; connections.len()];
        let mut at_end = Some(at_end);
        let mut done = None;
        let mut operations = 0;
        let begin = now();
        for ((connection, script), open) in connections.iter_mut().zip(scripts.iter_mut()).zip(&mut open) {
            top_up(connection, script.as_mut(), open, depth, false, out)?;
        }
        let mut waiting: usize = open.iter().sum();
        loop {
            let elapsed = begin.elapsed();
            if done.is_none() && (elapsed >= time || waiting == 0) {
                done = Some(Done { operations, seconds: elapsed.as_secs_f64() });
                if let Some(at_end) = at_end.take() {
                    at_end();
                }
            }
            if let Some(done) = done.filter(|_| waiting == 0) {
                return Ok(done);
            }
            if elapsed > time + PATIENCE {
                return Err(format!("{waiting} requests have no answer after {PATIENCE:?}").into());
            }
            let pause = if done.is_none() { time.saturating_sub(elapsed) } else { Duration::from_secs(1) };
            if let Err(error) = poll.poll(events, Some(pause)) {
                if error.kind() == ErrorKind::Interrupted {
                    continue;
                }
                return Err(error.into());
            }
            for event in events.iter() {
                let index = event.token().0;
                let (Some(connection), Some(script), Some(open)) =
                    (connections.get_mut(index), scripts.get_mut(index), open.get_mut(index))
                else {
                    continue;
                };
                if event.is_writable() {
                    connection.flush()?;
                }
                if event.is_readable() {
                    let before = *open;
                    connection.receive(scratch, |answer| {
                        *open = open.checked_sub(1).ok_or("an answer to no request")?;
                        operations += script.answer(answer)?;
                        Ok(())
                    })?;
                    top_up(connection, script.as_mut(), open, depth, done.is_some(), out)?;
                    waiting = waiting + *open - before;
                }
            }
        }
    }
}

fn top_up(
    connection: &mut Connection,
    script: &mut dyn Script,
    open: &mut usize,
    depth: usize,
    stopping: bool,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.clear();
    while *open < depth && !(stopping && script.may_stop()) {
        let before = out.len();
        script.request(out);
        if out.len() == before {
            break;
        }
        *open += 1;
    }
    if out.is_empty() { Ok(()) } else { connection.send(out) }
}
