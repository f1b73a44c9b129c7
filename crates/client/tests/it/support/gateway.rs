//! A gateway before a server: it takes note of each request, can serve it below a path, can hide routes as an older
//! server lacks them, can decode paths, can lose answers, can cut requests that wait, and can be the standby of
//! another.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::SockRef;

pub(crate) struct Gateway {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: u16,
    rules: Mutex<Rules>,
    requests: Mutex<Vec<String>>,
    /// The header `traceparent` of each of them, if it has one.
    trace_parents: Mutex<Vec<Option<String>>>,
    /// The header `authorization` of each of them, if it has one.
    authorizations: Mutex<Vec<Option<String>>>,
    cuts: AtomicUsize,
}

/// How a request ends for which no answer comes in time.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    /// It is answered with this status.
    Status(u16),
    /// The connection is reset.
    Reset,
    /// The connection is closed in order.
    Fin,
}

/// What it does besides passing on.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rules {
    /// The path below which the server is; it is taken off, as nginx does it. What is not below it is 404.
    pub(crate) below: &'static str,
    /// Requests whose path begins with this are answered with this status, and reach nobody.
    pub(crate) hidden: Option<(&'static str, u16)>,
    /// How many requests that concerns; all if it is not said.
    pub(crate) hidden_for: Option<u32>,
    /// The headers that servers have from 0.6 on are left out of answers.
    pub(crate) without_headers: bool,
    /// `%2F` in a path is passed on as a slash.
    pub(crate) decodes: bool,
    /// So many requests are done, and their answers lost.
    pub(crate) lost_answers: u32,
    /// Requests are redirected to this port.
    pub(crate) leader: Option<u16>,
    /// Requests that wait at the server for longer than this are cut so.
    pub(crate) cut: Option<(Duration, Cut)>,
}

impl Gateway {
    pub(crate) fn new(server: u16, rules: Rules) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared {
            server,
            rules: Mutex::new(rules),
            requests: Mutex::default(),
            trace_parents: Mutex::default(),
            authorizations: Mutex::default(),
            cuts: AtomicUsize::default(),
        };
        let gateway = Self { port, shared: Arc::new(shared) };
        let shared = Arc::clone(&gateway.shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                // Who goes away in the middle of a request gets no answer.
                thread::spawn(move || shared.serve(client).ok());
            }
        });
        gateway
    }

    /// As a server up to 0.5 looks.
    pub(crate) fn as_0_5(server: u16) -> Self {
        let rules = Rules { hidden: Some(("/v1/", 404)), without_headers: true, ..Rules::default() };
        Self::new(server, rules)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, rules: Rules) {
        *self.shared.rules.lock().unwrap() = rules;
    }

    /// Methods and paths of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The header `authorization` of each of them, if it has one.
    pub(crate) fn authorizations(&self) -> Vec<Option<String>> {
        self.shared.authorizations.lock().unwrap().clone()
    }

    /// How many requests were cut so far.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// The header `traceparent` of each of them, if it has one.
    pub(crate) fn trace_parents(&self) -> Vec<Option<String>> {
        self.shared.trace_parents.lock().unwrap().clone()
    }
}

impl Shared {
    /// One request, and the end of the connection.
    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let start = head.len();
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
            let line = head[start..].to_ascii_lowercase();
            length =
                line.strip_prefix("content-length:").map_or(length, |number| number.trim().parse().unwrap());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let (first, headers) = head.split_once("\r\n").unwrap();
        let what = first.strip_suffix(" HTTP/1.1").unwrap();
        let header = |name| headers.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        self.trace_parents.lock().unwrap().push(header("traceparent: "));
        self.authorizations.lock().unwrap().push(header("authorization: "));
        self.requests.lock().unwrap().push(what.to_owned());
        let mut rules = self.rules.lock().unwrap();
        let is_lost = rules.lost_answers > 0;
        rules.lost_answers = rules.lost_answers.saturating_sub(1);
        let Rules { below, without_headers, decodes, cut, leader, .. } = *rules;
        let (method, path) = what.split_once(' ').unwrap();
        let inner = path.strip_prefix(below).filter(|path| path.starts_with('/'));
        let hidden = rules.hidden.filter(|_| rules.hidden_for != Some(0));
        let hidden = hidden.filter(|(prefix, _)| inner.is_some_and(|path| path.starts_with(prefix)));
        if hidden.is_some() {
            rules.hidden_for = rules.hidden_for.map(|count| count - 1);
        }
        drop(rules);
        if let Some(port) = leader {
            let head = "HTTP/1.1 307 Temporary Redirect\r\nconnection: close\r\ncontent-length: 0";
            let location = format!("location: http://127.0.0.1:{port}{path}");
            return client.write_all(format!("{head}\r\n{location}\r\n\r\n").as_bytes());
        }
        if let Some(status) = hidden.map(|(_, status)| status).or(inner.is_none().then_some(404)) {
            let page = "<!DOCTYPE html><p>nothing is here";
            let head = format!("HTTP/1.1 {status} No\r\nconnection: close\r\ncontent-length: {}", page.len());
            return client.write_all(format!("{head}\r\n\r\n{page}").as_bytes());
        }
        let path = inner.unwrap_or(path);
        let (target, query) =
            path.split_once('?').map_or((path, ""), |(target, _)| path.split_at(target.len()));
        let target = if decodes { target.replace("%2F", "/") } else { target.to_owned() };
        let mut server = TcpStream::connect(("127.0.0.1", self.server))?;
        server.write_all(
            format!("{method} {target}{query} HTTP/1.1\r\nconnection: close\r\n{headers}").as_bytes(),
        )?;
        server.write_all(&body)?;
        // On a busy machine, requests that do not wait may take their time.
        let asks_to_wait = path.contains("block_for=") || String::from_utf8_lossy(&body).contains("\"wait\"");
        if let Some((after, cut)) = cut.filter(|_| asks_to_wait) {
            server.set_read_timeout(Some(after))?;
            if server.peek(&mut [0]).is_err() {
                drop(server);
                self.cuts.fetch_add(1, Ordering::SeqCst);
                return match cut {
                    Cut::Status(status) => {
                        let head = format!("HTTP/1.1 {status} No\r\nconnection: close\r\ncontent-length: 0");
                        client.write_all(format!("{head}\r\n\r\n").as_bytes())
                    }
                    // Dropping it then resets the connection.
                    Cut::Reset => SockRef::from(&client).set_linger(Some(Duration::ZERO)),
                    Cut::Fin => Ok(()),
                };
            }
            server.set_read_timeout(None)?;
        }
        // A client that gives up a request takes it back at the server, too.
        let (mut gone, watched) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            while matches!(gone.read(&mut [0]), Ok(1)) {}
            watched.shutdown(Shutdown::Both)
        });
        if !is_lost && !without_headers {
            // As it comes, for it may have no end.
            std::io::copy(&mut server, &mut client)?;
            return client.shutdown(Shutdown::Both);
        }
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        if !is_lost {
            let answer = String::from_utf8(answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
            let kept = |line: &&str| !(without_headers && line.to_ascii_lowercase().starts_with("throttle-"));
            let head: Vec<_> = head.split("\r\n").filter(kept).collect();
            client.write_all(format!("{}\r\n\r\n{body}", head.join("\r\n")).as_bytes())?;
        }
        client.shutdown(Shutdown::Both)
    }
}
