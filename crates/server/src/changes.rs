//! Files that are taken up again when they change.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use tokio::time::sleep;

/// How often they are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Calls `changed` each time that one of these files is another than before, for as long as the server runs.
pub(crate) async fn each(files: &[&Path], changed: impl Fn()) {
    let state = || files.iter().map(|path| state(path)).collect::<Vec<_>>();
    let mut seen = state();
    loop {
        sleep(LOOK_EVERY).await;
        let now = state();
        if now != seen {
            seen = now;
            changed();
        }
    }
}

/// By this a change shows.
fn state(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
