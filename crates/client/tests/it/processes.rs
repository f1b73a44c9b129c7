//! Several processes: contention, a killed holder, and the end of a process that holds a lock.
//!
//! The other processes are this test binary again, running one of the programs at the end.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use throttle_client::Client;

use crate::support::{Server, soon, until};

const PROCESSES: usize = 3;
const TASKS: usize = 4;
const ROUNDS: usize = 5;
const MAX: i32 = 3;

fn start(program: &str, url: &str, log: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("processes::{program}"), "--ignored", "--nocapture"])
        .env("THROTTLE_URL", url)
        .env("LOG", log)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn log_file(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.log", std::process::id()));
    File::create(&path).unwrap();
    path
}

/// The lines of a log: a time and a word.
fn lines(path: &Path) -> Vec<(u128, String)> {
    let lines = BufReader::new(File::open(path).unwrap()).lines().map(Result::unwrap);
    let mut lines: Vec<_> = lines
        .map(|line| {
            let (time, word) = line.split_once(' ').unwrap();
            (time.parse().unwrap(), word.to_owned())
        })
        .collect();
    lines.sort();
    lines
}

/// Appends to the log in one piece.
fn log(word: &str) {
    let path = env::var_os("LOG").unwrap();
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    OpenOptions::new()
        .append(true)
        .open(path)
        .unwrap()
        .write_all(format!("{time} {word}\n").as_bytes())
        .unwrap();
}

#[tokio::test]
async fn contention_never_lets_too_many_in() {
    let server = Server::start();
    let path = log_file("contention");
    let processes: Vec<_> = (0..PROCESSES).map(|_| start("contender", &server.url(), &path)).collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    let (mut inside, mut most) = (0, 0);
    for (_, word) in lines(&path) {
        inside += if word == "in" { 1 } else { -1 };
        most = most.max(inside);
    }
    assert_eq!(lines(&path).len(), 2 * PROCESSES * TASKS * ROUNDS);
    assert_eq!(inside, 0);
    assert!((1..=MAX).contains(&most), "{most} inside at once");
    server.until_no_peers().await;
    fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_killed_holder_frees_its_lock_by_expiry() {
    let server = Server::start();
    let path = log_file("killed");
    let mut holder = start("holder", &server.url(), &path);
    until("the lock is held", || !lines(&path).is_empty()).await;
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(server.remainder("A"), 0);
    soon("the grant", server.client().lock("A").acquire()).await.unwrap().release().await.unwrap();
    fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn the_end_of_a_process_releases_what_it_just_dropped() {
    let server = Server::start();
    let path = log_file("end");
    assert!(start("dropper", &server.url(), &path).wait().unwrap().success());
    assert_eq!(server.peers(), 0, "no expiry was needed");
    fs::remove_file(path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a program for other tests"]
async fn contender() {
    let client = Client::from_env().unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    let guard = client.lock("C").ttl(Duration::from_secs(10)).acquire().await.unwrap();
                    log("in");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    log("out");
                    guard.release().await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
#[ignore = "a program for other tests"]
async fn holder() {
    let _guard = Client::from_env().unwrap().lock("A").ttl(Duration::from_secs(1)).acquire().await.unwrap();
    log("in");
    std::future::pending::<()>().await;
}

#[tokio::test]
#[ignore = "a program for other tests"]
async fn dropper() {
    drop(Client::from_env().unwrap().lock("A").acquire().await.unwrap());
    // An ordinary end, as by `main` returning, with the release hardly begun.
    std::process::exit(0);
}
