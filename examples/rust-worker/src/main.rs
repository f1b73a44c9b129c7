//! A worker whose jobs need a resource that bears only so many users at once.
//!
//! Each line of standard input is a job, a command for the shell. It runs while its lock is held, finds the
//! fencing token in `FENCING_TOKEN`, to be passed on to whatever it writes to, and is killed at once when the
//! lock is lost. Then it is tried again under a new lock.
//!
//! ```shell
//! export THROTTLE_URL=http://localhost:8000
//! echo 'echo "$FENCING_TOKEN" >> tokens.txt' | cargo run -p rust-worker -- A
//! ```

use std::{env, error::Error, process::ExitStatus, time::Duration};

use throttle_client::{Client, Guard};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, stdin},
    process::Command,
};

type Failure = Box<dyn Error>;

/// How long the lock outlives this process if it dies, and how long the server may be out of reach.
const TTL: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let semaphore = env::args().nth(1).ok_or("usage: rust-worker SEMAPHORE")?;
    let client = Client::from_env()?;
    let mut jobs = BufReader::new(stdin()).lines();
    while let Some(job) = jobs.next_line().await? {
        let status = loop {
            match try_job(&client, &semaphore, &job).await? {
                Some(status) => break status,
                None => eprintln!("{job}: tried again"),
            }
        };
        println!("{job}: {status}");
    }
    Ok(())
}

/// Does a job under the lock; `None` if the lock was lost before it was done.
async fn try_job(client: &Client, semaphore: &str, job: &str) -> Result<Option<ExitStatus>, Failure> {
    let guard = client
        .lock(semaphore)
        .ttl(TTL)
        .on_wait(|waiting_for| eprintln!("waiting for {}", waiting_for.semaphore))
        .acquire()
        .await?;
    let lost = guard.cancellation_token();
    let Some(status) = lost.run_until_cancelled(run(job, &guard)).await else {
        return Ok(None);
    };
    match guard.release().await {
        Ok(()) => {}
        Err(throttle_client::Error::Lost(loss)) => {
            eprintln!("{loss}");
            return Ok(None);
        }
        // The job is done, and the lock is released in the background, or expires.
        Err(error) => eprintln!("{error}"),
    }
    Ok(Some(status?))
}

/// The job itself. It is killed when its future is dropped.
async fn run(job: &str, guard: &Guard) -> Result<ExitStatus, Failure> {
    let token = guard.token().map(|token| token.to_string()).unwrap_or_default();
    let mut command = Command::new("sh");
    command.args(["-c", job]).env("FENCING_TOKEN", token).kill_on_drop(true);
    Ok(command.status().await?)
}
