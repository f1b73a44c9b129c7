//! One answer, read to its end.

use std::io::{self, BufRead, ErrorKind, Read};

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads one answer. `bodiless`: the answer to a `HEAD`.
    pub(crate) fn read(from: &mut impl BufRead, bodiless: bool) -> io::Result<Self> {
        let first = line(from)?;
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| wrong(format!("status line {first:?}")))?;
        let mut headers = Vec::new();
        loop {
            let header = line(from)?;
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(": ").ok_or_else(|| wrong(format!("header {header:?}")))?;
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut answer = Self { status, headers, body: Vec::new() };
        if bodiless {
            return Ok(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = Self::chunk(from)? {
                answer.body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_| wrong(format!("length {length:?}")))?;
            answer.body = vec![0; length];
            from.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Reads a part of a body without a length; `None` at its end.
    pub(crate) fn chunk(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
        let size = line(from)?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| wrong(format!("chunk {size:?}")))?;
        let mut chunk = vec![0; size];
        from.read_exact(&mut chunk)?;
        line(from)?;
        Ok((size > 0).then_some(chunk))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| &**value);
        let first = found.next();
        assert_eq!(found.next(), None, "{name} is there twice");
        first
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// Status and body at once.
    pub(crate) fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.text()), (status, body));
    }

    /// Status, and a part of the body.
    pub(crate) fn says(&self, status: u16, part: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.text().contains(part), "{:?} is not in {:?}", part, self.text());
    }

    /// An answer at a limit, as clients of the old dialects take it for a reason to try again.
    pub(crate) fn is_limit(&self) {
        self.says(503, " limit of ");
        let seconds: u64 = self.header("retry-after").expect("Retry-After").parse().expect("seconds");
        assert!((1..=60).contains(&seconds));
    }

    pub(crate) fn number<T: std::str::FromStr>(&self) -> T {
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.text().parse().unwrap_or_else(|_| panic!("{:?} is no such number", self.text()))
    }

    pub(crate) fn token(&self) -> u64 {
        self.header("throttle-fencing-token").expect("a grant has a token").parse().expect("a number")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(1 << 20).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => String::from_utf8(line.to_vec()).map_err(|_| wrong("no UTF-8".to_owned())),
        None => Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection ended within an answer")),
    }
}

fn wrong(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
