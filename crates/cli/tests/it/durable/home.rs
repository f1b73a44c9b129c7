//! A data directory that outlives the processes that use it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Launch, Server};

/// A data directory, removed at the end.
pub(super) struct Home(PathBuf);

impl Home {
    /// One that is not there yet.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("home-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    /// A copy of another directory, but for what SQLite makes anew.
    pub(super) fn copy(from: &Path) -> Self {
        let home = Self::new();
        fs::create_dir_all(&home.0).expect("made");
        for entry in fs::read_dir(from).expect("a directory") {
            let name = entry.expect("readable").file_name();
            if !is_shared_memory(&name.to_string_lossy()) {
                fs::copy(from.join(&name), home.0.join(&name)).expect("copied");
            }
        }
        home
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A server on this directory, with `text` as its configuration file.
    pub(super) fn launch(&self, text: &str) -> Launch {
        self.launch_at(0, text)
    }

    /// The same, on a port that the test knows.
    pub(super) fn launch_at(&self, port: u16, text: &str) -> Launch {
        self.launch_with(&["--port", &port.to_string()]).file(text)
    }

    /// A server on this directory, with these arguments and no configuration file.
    pub(super) fn launch_with(&self, arguments: &[&str]) -> Launch {
        let path = self.0.to_str().expect("text");
        let launch = Launch::new(&[arguments, &["--data-dir", path]].concat());
        launch.env("THROTTLE_LOG", "warn,throttle=debug")
    }

    pub(super) fn start(&self, text: &str) -> Server {
        Server::launch(self.launch(text))
    }

    /// What a server that refuses this directory says. Nothing in it changes.
    #[track_caller]
    pub(super) fn refused(&self) -> String {
        let before = self.bytes();
        let line = self.launch("").env("THROTTLE_LOG", "error").fails();
        assert!(self.bytes() == before, "files were changed: {line}");
        assert!(line.starts_with(&format!("The data directory {}: ", self.0.display())), "{line}");
        line
    }

    /// All that is in the files.
    pub(super) fn bytes(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(&self.0).expect("a directory");
        let names = entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
        // The lock may have been made by the start that is looked at; nothing is ever in it.
        names
            .filter(|name| !is_shared_memory(name) && name != "lock")
            .map(|name| (name.clone(), fs::read(self.0.join(name)).expect("readable")))
            .collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_shared_memory(name: &str) -> bool {
    name.ends_with("-shm")
}

impl Server {
    /// Ends it as a power cut would, as far as a process can be.
    pub(super) fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait();
    }

    /// All peers as `/v1` shows them, but for what a restart moves.
    pub(super) fn peers(&self) -> BTreeMap<String, Value> {
        let (mut ids, mut query) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/v1/peers?limit=1000{query}")).shape(200);
            ids.extend(page["items"].as_array().expect("a list").iter().map(|peer| peer["id"].clone()));
            let Some(next) = page["next"].as_str() else { break };
            query = format!("&cursor={next}");
        }
        let known = ids.iter().map(|id| {
            let mut peer = self.get(&format!("/v1/peers/{}", id.as_str().expect("an id"))).shape(200);
            peer.as_object_mut().expect("a peer").remove("expires_at");
            if let Some(pending) = peer["pending"].as_object_mut() {
                pending.remove("estimated_wait");
            }
            (peer["id"].as_str().expect("an id").to_owned(), peer)
        });
        known.collect()
    }
}
