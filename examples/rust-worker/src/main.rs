//! A worker that writes to a store which bears only so many writers at once.
//!
//! Each line of standard input is a job. A job runs while its lock is held, passes the fencing token on to the
//! store, and stops at once when the lock is lost; it is then tried again under a new lock.
//!
//! ```shell
//! export THROTTLE_URL=http://localhost:8000 SEMAPHORE=A STORE=/tmp/store.txt
//! printf 'one\ntwo\n' | cargo run -p rust-worker
//! ```

use std::{env, error::Error, time::Duration};

use throttle_client::{Client, Guard};
use tokio::{
    fs::OpenOptions,
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, stdin},
    time::sleep,
};

type Failure = Box<dyn Error>;

/// How long the lock outlives this process if it dies, and how long the server may be out of reach.
const TTL: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let client = Client::from_env()?;
    let semaphore = env::var("SEMAPHORE").unwrap_or_else(|_| "A".to_owned());
    let store = env::var("STORE").unwrap_or_else(|_| "store.txt".to_owned());
    let mut jobs = BufReader::new(stdin()).lines();
    while let Some(job) = jobs.next_line().await? {
        while !try_job(&client, &semaphore, &store, &job).await? {
            eprintln!("job {job:?} is tried again");
        }
        println!("done {job}");
    }
    Ok(())
}

/// Does a job under the lock; `false` if the lock was lost before it was done.
async fn try_job(client: &Client, semaphore: &str, store: &str, job: &str) -> Result<bool, Failure> {
    let name = job.to_owned();
    let request = client.lock(semaphore).ttl(TTL);
    let guard = request
        .on_wait(move |waiting_for| eprintln!("job {name:?} waits for {}", waiting_for.semaphore))
        .acquire()
        .await?;
    let lost = guard.cancellation_token();
    // What the job has not written when the lock is lost, it never writes.
    match lost.run_until_cancelled(work(&guard, store, job)).await {
        Some(outcome) => outcome?,
        None => return Ok(false),
    }
    match guard.release().await {
        Ok(()) => Ok(true),
        Err(throttle_client::Error::Lost(loss)) => {
            eprintln!("{loss}");
            Ok(false)
        }
        // The job is done; the lock is released in the background, or expires.
        Err(error) => {
            eprintln!("{error}");
            Ok(true)
        }
    }
}

/// The job itself: prepares something for a while, then writes one line with the fencing token, by which the
/// store could turn down a writer that was overtaken.
async fn work(guard: &Guard, store: &str, job: &str) -> Result<(), Failure> {
    println!("begun {job}");
    sleep(Duration::from_millis(300)).await;
    let token = guard.token().map_or_else(|| "none".to_owned(), |token| token.to_string());
    let mut file = OpenOptions::new().create(true).append(true).open(store).await?;
    file.write_all(format!("{token} {job}\n").as_bytes()).await?;
    file.flush().await?;
    Ok(())
}
