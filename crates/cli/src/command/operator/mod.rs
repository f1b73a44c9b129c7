//! What an operator does from a shell, over `/v1` and its probes: look, release, resize.

#![expect(clippy::indexing_slicing, reason = "a field that JSON lacks reads as null")]

mod ask;
mod cluster;
mod health;
mod peers;
mod release;
mod reload;
mod renew;
mod resume;
mod semaphore;
mod status;
mod table;
mod text;
mod watch;

pub use ask::{Format, Operator};
pub use cluster::ClusterCommand;
pub use health::Health;
pub use peers::Peers;
pub use release::Release;
pub use reload::Reload;
pub use renew::{Lost, Renew};
pub use resume::Resume;
pub use semaphore::SemaphoreCommand;
pub use status::Status;
pub(super) use table::{cut, width_of};
pub(super) use text::name_of;

use std::{error::Error, io};

/// One of the subcommands of this folder.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Operate {
    /// Shows the semaphores: what is acquired of them, who waits and for how long
    Status(Status),
    /// Shows the peers: what they hold, and what they wait for
    Peers(Peers),
    /// Renews a peer, such as one that throttle acquire left
    Renew(Renew),
    /// Releases a peer and all it holds
    Release(Release),
    /// Makes, resizes, pauses or removes a semaphore
    #[command(subcommand)]
    Semaphore(SemaphoreCommand),
    /// Has the server read its configuration file again
    Reload(Reload),
    /// Ends the time after a start in which nothing is granted anew
    Resume(Resume),
    /// Tells whether a server is ready, in one line and by the exit code: 0 or 1
    Health(Health),
}

impl Operate {
    /// Does it. The error is one clear line.
    pub fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        run(async {
            match self {
                Self::Status(status) => status.run(out).await,
                Self::Peers(peers) => peers.run(out).await,
                Self::Renew(renew) => renew.run(out).await,
                Self::Release(release) => release.run(out).await,
                Self::Semaphore(semaphore) => semaphore.run(out).await,
                Self::Reload(reload) => reload.run(out).await,
                Self::Resume(resume) => resume.run(out).await,
                Self::Health(health) => health.run(out).await,
            }
        })
    }
}

/// Runs a command that asks a server.
fn run(command: impl Future<Output = Result<(), Box<dyn Error>>>) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(command) {
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&*error) => Ok(()),
        outcome => outcome,
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
