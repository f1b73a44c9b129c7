//! A terminal with a person before it.

use std::{
    io::{Read as _, Write as _},
    num::NonZero,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use super::server::Server;

const PATIENCE: Duration = Duration::from_secs(30);

/// A command on a pseudo terminal of its own, which Python makes: it is what is there wherever the tests run.
pub(crate) struct Terminal {
    python: Child,
    keys: ChildStdin,
    output: Receiver<Vec<u8>>,
    seen: String,
    screen: vt100::Parser,
}

impl Terminal {
    pub(crate) fn open(server: &Server, command: &[&str]) -> Self {
        Self::open_with(&[("THROTTLE_URL", &format!("http://127.0.0.1:{}", server.port))], command)
    }

    /// With these variables in its environment.
    pub(crate) fn open_with(variables: &[(&str, &str)], command: &[&str]) -> Self {
        Self::open_wide(80, variables, command)
    }

    /// With a screen of so many columns; that the terminal has them is for the command to say, by `stty`.
    pub(crate) fn open_sized(server: &Server, columns: u16, command: &[&str]) -> Self {
        let url = format!("http://127.0.0.1:{}", server.port);
        Self::open_wide(columns, &[("THROTTLE_URL", &url)], command)
    }

    fn open_wide(columns: u16, variables: &[(&str, &str)], command: &[&str]) -> Self {
        let spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
        let mut python = Command::new("python3")
            .args(["-c", spawn])
            .args(command)
            .env_remove("NO_COLOR")
            .env("TERM", "xterm-256color")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is there");
        let keys = python.stdin.take().expect("piped");
        let mut stdout = python.stdout.take().expect("piped");
        let (send, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                if send.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let [rows, columns] = [24, columns].map(|size| NonZero::new(size).expect("not zero"));
        let screen = vt100::Parser::new(rows, columns, 0);
        Self { python, keys, output, seen: String::new(), screen }
    }

    /// Waits until `text` has come, and drops all up to its end.
    pub(crate) fn see(&mut self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            self.read(text, end);
        }
        let at = self.seen.find(text).expect("it is there");
        self.seen.drain(..at + text.len());
    }

    /// What comes before `text`, which is waited for, without the signs of the terminal's own lines.
    pub(crate) fn text_until(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            self.read(text, end);
        }
        let (before, _) = self.seen.split_once(text).expect("it is there");
        before.replace('\r', "")
    }

    /// What is still to come, until the command has ended.
    pub(crate) fn rest(&mut self) -> String {
        while let Ok(more) = self.output.recv_timeout(PATIENCE) {
            self.seen.push_str(&String::from_utf8_lossy(&more));
        }
        std::mem::take(&mut self.seen)
    }

    /// The number that what has come begins with.
    pub(crate) fn number_seen(&self) -> Option<i32> {
        self.seen.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    }

    /// Waits until the screen, as a person sees it, has all of these texts.
    #[track_caller]
    pub(crate) fn shows(&mut self, texts: &[&str]) {
        self.until_screen(&format!("{texts:?}"), |screen| {
            let contents = screen.contents();
            texts.iter().all(|text| contents.contains(text))
        });
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub(crate) fn until_screen(&mut self, what: &str, is_so: impl Fn(&vt100::Screen) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self.screen.screen()) {
            self.read(what, end);
        }
    }

    /// The rows of the screen at this moment.
    pub(crate) fn screen_rows(&self) -> Vec<String> {
        self.screen.screen().contents().lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn read(&mut self, what: &str, end: Instant) {
        // A screen that is drawn again and again is no sign of hope.
        let more = self.output.recv_timeout(end.saturating_duration_since(Instant::now()));
        let more = more.unwrap_or_else(|_| {
            panic!("{what} is not in {:?}, and not on\n{}", self.seen, self.screen.screen().contents())
        });
        self.screen.process(&more);
        self.seen.push_str(&String::from_utf8_lossy(&more));
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("taken");
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.python.wait().expect("ended").code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}
