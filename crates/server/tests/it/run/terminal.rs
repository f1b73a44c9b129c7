use std::{
    io::{Read, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use super::SEMAPHORES;
use crate::support::Server;

const PATIENCE: Duration = Duration::from_secs(30);
const THROTTLE: &str = env!("CARGO_BIN_EXE_throttle");

/// A command on a pseudo terminal of its own, which Python makes: it is what is there wherever the tests run.
struct Terminal {
    python: Child,
    keys: ChildStdin,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn open(server: &Server, command: &[&str]) -> Self {
        let spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
        let mut python = Command::new("python3")
            .args(["-c", spawn])
            .args(command)
            .env("THROTTLE_URL", format!("http://127.0.0.1:{}", server.port))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is there");
        let keys = python.stdin.take().expect("piped");
        let mut output = python.stdout.take().expect("piped");
        let (send, screen) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                if send.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { python, keys, screen, seen: String::new() }
    }

    /// Waits until `text` has come, and drops all up to its end.
    fn see(&mut self, text: &str) {
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let more = self.screen.recv_timeout(PATIENCE);
            let more = more.unwrap_or_else(|_| panic!("{text:?} is not in {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&more));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("taken");
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.python.wait().expect("ended").code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}

#[test]
fn says_what_it_waits_for_and_wipes_that_out() {
    let server = Server::start(SEMAPHORES);
    let holder = server.holder("A", 1, "1h");
    let mut terminal = Terminal::open(&server, &[THROTTLE, "run", "-s", "A", "--", "echo", "it runs"]);
    terminal.see("throttle run: waiting for A since 20");
    terminal.see("(1s)");
    server.release(holder, "A");
    terminal.see("\r\x1b[Kit runs\r\n");
    assert_eq!(terminal.exit_code(), Some(0));
}

#[test]
fn ctrl_c_ends_the_wait() {
    let server = Server::start(SEMAPHORES);
    server.holder("A", 1, "1h");
    let mut terminal = Terminal::open(&server, &[THROTTLE, "run", "-s", "A", "--", "echo", "it runs"]);
    terminal.see("waiting for A");
    terminal.press("\x03");
    assert_eq!(terminal.exit_code(), Some(130));
    server.until_waiting("A", 0);
}

#[test]
fn the_command_reads_from_the_terminal_and_gets_ctrl_c() {
    let server = Server::start(SEMAPHORES);
    let script = "trap 'echo interrupted; exit 9' INT; echo ready; read x; echo got $x; read x";
    let mut terminal = Terminal::open(&server, &[THROTTLE, "run", "-s", "A", "--", "sh", "-c", script]);
    terminal.see("ready");
    terminal.press("hello\n");
    terminal.see("got hello");
    terminal.press("\x03");
    terminal.see("interrupted");
    assert_eq!(terminal.exit_code(), Some(9));
}

#[test]
fn the_command_is_in_front_from_its_start() {
    let server = Server::start(SEMAPHORES);
    let look = "import os; print('in front', os.tcgetpgrp(0) == os.getpgrp() != os.getpgid(os.getppid()))";
    let mut terminal = Terminal::open(&server, &[THROTTLE, "run", "-s", "A", "--", "python3", "-c", look]);
    terminal.see("in front True");
    assert_eq!(terminal.exit_code(), Some(0));
}

#[test]
fn ctrl_z_suspends_both_and_the_shell_continues_them() {
    let server = Server::start(SEMAPHORES);
    let mut terminal = Terminal::open(&server, &["bash", "--norc", "--noprofile", "-i"]);
    // What is typed comes back, so it must not look like what is waited for.
    let script = "echo rea''dy; read x; echo go''t $x";
    terminal
        .press(&format!("{THROTTLE} run -s A -- sh -c \"{script}\"\n", script = script.replace('$', "\\$")));
    terminal.see("ready");
    terminal.press("\x1a");
    terminal.see("Stopped");
    assert_eq!(server.remainder("A"), 0, "still held");
    terminal.press("fg\n");
    terminal.see("fg\r\n");
    terminal.see("run -s A");
    terminal.press("hello\n");
    terminal.see("got hello");
    terminal.press("exit $?\n");
    assert_eq!(terminal.exit_code(), Some(0));
}

#[test]
fn a_lock_that_was_lost_while_suspended_is_not_worked_under() {
    let server = Server::start(SEMAPHORES);
    let mut terminal = Terminal::open(&server, &["bash", "--norc", "--noprofile", "-i"]);
    let script = "echo rea''dy; read x; echo go''t $x";
    terminal.press(&format!(
        "{THROTTLE} run -s A --ttl 1s -- sh -c \"{script}\"\n",
        script = script.replace('$', "\\$")
    ));
    terminal.see("ready");
    terminal.press("\x1a");
    terminal.see("Stopped");
    let other = server.peer("1h");
    assert_eq!(server.send("PUT", &format!("/peers/{other}/A?block_for=1h"), "1").answer().status, 200);
    terminal.press("fg\n");
    terminal.see("throttle run: lost the lock");
    terminal.press("echo code $?\n");
    terminal.see("code 76");
    terminal.press("exit\n");
}
