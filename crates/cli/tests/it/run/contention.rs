use std::{fs, path::Path};

use super::{SEMAPHORES, run};
use crate::support::Server;

#[test]
fn no_more_run_than_the_semaphore_allows() {
    let server = Server::start(SEMAPHORES);
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("contention-{}", std::process::id()));
    let script = format!("echo in >> {0}; sleep 0.1; echo out >> {0}", log.display());
    let mut processes: Vec<_> =
        (0..10).map(|_| run(&server, &["-s", "B", "--", "sh", "-c", &script]).start()).collect();
    for process in &mut processes {
        assert_eq!(process.wait().code(), Some(0));
    }
    let (mut inside, mut entered) = (0, 0);
    for line in fs::read_to_string(&log).expect("text").lines() {
        inside += if line == "in" { 1 } else { -1 };
        entered += i32::from(line == "in");
        assert!((0..=3).contains(&inside), "{inside} inside");
    }
    assert_eq!((inside, entered), (0, 10));
    assert_eq!(server.remainder("B"), 3);
    fs::remove_file(log).expect("there");
}
