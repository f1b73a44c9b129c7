//! A connection whose bytes the test chooses.

use std::{
    io::{BufReader, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use super::answer::Answer;

/// Longer than anything should take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("settable");
        stream.set_write_timeout(Some(PATIENCE)).expect("settable");
        stream.set_nodelay(true).expect("settable");
        Self { stream: BufReader::new(stream) }
    }

    /// Sends bytes as they are. That the server may close while a large body is on its way is for the answer to
    /// tell.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        if let Err(error) = self.stream.get_mut().write_all(bytes.as_ref()) {
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
                ),
                "{error}"
            );
        }
        self
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) -> &mut Self {
        self.stream.get_mut().shutdown(Shutdown::Write).expect("open");
        self
    }

    pub(crate) fn answer(&mut self) -> Answer {
        Answer::read(&mut self.stream, false).expect("an answer")
    }

    /// An answer, if one comes before the connection ends.
    #[cfg(unix)]
    pub(crate) fn try_answer(&mut self) -> Option<Answer> {
        Answer::read(&mut self.stream, false).ok()
    }

    pub(crate) fn answer_to_head(&mut self) -> Answer {
        Answer::read(&mut self.stream, true).expect("an answer")
    }

    /// The next part of a body without a length; `None` at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        Answer::chunk(&mut self.stream).expect("a part of a body")
    }

    /// Everything up to the end, which must not be a reset.
    pub(crate) fn rest(&mut self) -> String {
        let mut text = String::new();
        self.stream.read_to_string(&mut text).expect("an orderly end");
        text
    }

    /// Whether no byte of an answer is here yet.
    pub(crate) fn is_silent(&mut self) -> bool {
        assert!(self.stream.buffer().is_empty(), "more than one answer came");
        let stream = self.stream.get_mut();
        stream.set_nonblocking(true).expect("settable");
        let looked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).expect("settable");
        matches!(looked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

/// A request with a JSON body, or none if `body` is empty.
pub(crate) fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    if body.is_empty() {
        format!("{method} {path} HTTP/1.1\r\nhost: throttle\r\n\r\n")
    } else {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: throttle\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
    }
}
