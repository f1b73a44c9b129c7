//! Files that are taken up again when they change.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use tokio::time::sleep;

/// How often they are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files, and what they were like when they were looked at last.
pub(crate) struct Changes<'a> {
    files: Vec<&'a Path>,
    seen: Vec<State>,
}

impl<'a> Changes<'a> {
    pub(crate) fn of(files: Vec<&'a Path>) -> Self {
        let seen = files.iter().map(|path| state(path)).collect();
        Self { files, seen }
    }

    /// Waits until one of them is another than before.
    pub(crate) async fn next(&mut self) {
        loop {
            sleep(LOOK_EVERY).await;
            let now: Vec<State> = self.files.iter().map(|path| state(path)).collect();
            if now != self.seen {
                self.seen = now;
                return;
            }
        }
    }
}

/// By this a change shows.
type State = Option<(SystemTime, u64)>;

fn state(path: &Path) -> State {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
