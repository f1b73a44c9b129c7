//! What a process writes, line by line as it comes.

use std::{
    io::{BufRead as _, BufReader, Read},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Lines {
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

pub(crate) struct Log {
    lines: Arc<Lines>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    pub(crate) fn read(from: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Lines::default());
        let to = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in BufReader::new(from).lines() {
                to.lines.lock().expect("no panic").0.push(line.expect("text"));
                to.more.notify_all();
            }
            to.lines.lock().expect("no panic").1 = true;
            to.more.notify_all();
        });
        Self { lines, reader: Some(reader) }
    }

    /// The first line that contains `part`, now or as soon as it is written.
    pub(crate) fn line(&self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.lines.lines.lock().expect("no panic");
        loop {
            if let Some(line) = lines.0.iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            if lines.1 || left.is_zero() {
                let found = lines.0.clone();
                // What a failed test prints at its end is in there, too.
                drop(lines);
                panic!("no line contains {part:?}: {found:#?}");
            }
            lines = self.lines.more.wait_timeout(lines, left).expect("no panic").0;
        }
    }

    /// Waits until so many lines contain `part`.
    #[cfg(unix)]
    pub(crate) fn until(&self, part: &str, count: usize) {
        let found = |lines: &[String]| lines.iter().filter(|line| line.contains(part)).count();
        super::until(&format!("{count} lines contain {part:?}"), || {
            found(&self.lines.lines.lock().expect("no panic").0) >= count
        });
    }

    /// Whether there is such a line by now.
    #[cfg(target_os = "linux")]
    pub(crate) fn has(&self, part: &str) -> bool {
        self.lines.lines.lock().expect("no panic").0.iter().any(|line| line.contains(part))
    }

    /// The first line that contains `part`, as soon as it is written. None: the process ended without it.
    #[cfg(target_os = "linux")]
    pub(crate) fn either(&self, part: &str) -> Option<String> {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.lines.lines.lock().expect("no panic");
        loop {
            if let Some(line) = lines.0.iter().find(|line| line.contains(part)) {
                return Some(line.clone());
            }
            if lines.1 {
                return None;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line contains {part:?}, and the process goes on: {:#?}", lines.0);
            lines = self.lines.more.wait_timeout(lines, left).expect("no panic").0;
        }
    }

    /// All lines, once the process has ended.
    pub(crate) fn all(&mut self) -> Vec<String> {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no panic");
        }
        self.lines.lines.lock().expect("no panic").0.clone()
    }
}
