//! A disk that does what a test wants: calls on the files of a data directory fail, or wait.

use std::{fs, path::PathBuf};

use super::home::Home;
use crate::support::{Launch, shim, until};

/// What is to go wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault<'a> {
    /// The kind of call, and the file.
    pub(super) call: &'a str,
    /// Which of these calls, from 1.
    pub(super) at: usize,
    /// See `shim.c`.
    pub(super) kind: &'a str,
}

/// The library that makes calls fail, and its files.
pub(super) struct Disk(Home);

impl Disk {
    pub(super) fn new() -> Self {
        let home = Home::new();
        shim::compile("durable/shim.c", &home.file("shim.so"));
        Self(home)
    }

    /// Has a server run on it.
    pub(super) fn under(&self, launch: Launch, home: &Home, fault: Fault<'_>) -> Launch {
        let _ = fs::remove_file(self.log());
        launch
            .env("LD_PRELOAD", self.0.file("shim.so").to_str().expect("text"))
            .env("FAULT_DIR", home.path().to_str().expect("text"))
            .env("FAULT_CALL", fault.call)
            .env("FAULT_AT", &fault.at.to_string())
            .env("FAULT_KIND", fault.kind)
            .env("FAULT_HOLD", self.0.file("hold").to_str().expect("text"))
            .env("FAULT_LOG", self.log().to_str().expect("text"))
    }

    fn log(&self) -> PathBuf {
        self.0.file("log")
    }

    /// Every call on the files since the last start, in order.
    pub(super) fn calls(&self) -> Vec<String> {
        fs::read_to_string(self.log()).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// From now on, calls wait.
    pub(super) fn hold(&self) {
        fs::write(self.0.file("hold"), "").expect("written");
    }

    /// Whether a call waits.
    pub(super) fn is_held(&self) -> bool {
        self.0.file("hold.held").exists()
    }

    /// Waits until a call waits.
    pub(super) fn until_held(&self) {
        until("a call waits", || self.is_held());
    }

    /// Lets all calls through.
    pub(super) fn let_go(&self) {
        fs::remove_file(self.0.file("hold")).expect("removed");
        // The process that waited may have been killed.
        let _ = fs::remove_file(self.0.file("hold.held"));
    }
}
