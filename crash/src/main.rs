//! The crash test: clients with random operations against a real server that is killed at random moments. After every
//! start, what it shows is compared with what was acknowledged.

mod check;
mod clock;
#[cfg(unix)]
mod cluster;
mod http;
mod late;
mod learn;
mod ledger;
mod model;
mod plan;
mod run;
mod server;
mod view;
mod world;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

/// Kills a server at random moments, and proves that it keeps what it acknowledged.
#[derive(Parser)]
struct Arguments {
    /// Tests three servers on an etcd of three members.
    #[arg(long)]
    cluster: bool,
    /// What happens to a cluster in each round; by default everything in turn.
    #[cfg(unix)]
    #[arg(long, requires = "cluster")]
    only: Option<cluster::Act>,
    /// How often the server is killed or stopped while clients use it.
    #[arg(long, default_value_t = 200)]
    rounds: u64,
    /// Repeats a run, as far as two processes can be repeated.
    #[arg(long)]
    seed: Option<u64>,
    /// How many clients there are.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// The server; by default the one that lies beside this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Where the directory of the run is made. It is left there if something is wrong.
    #[arg(long)]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("seed {seed}: {} rounds with {} clients", arguments.rounds, arguments.clients);
    match run::run(&arguments, seed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            eprintln!(
                "To repeat: {}--seed {seed} --rounds {} --clients {}",
                if arguments.cluster { "--cluster " } else { "" },
                arguments.rounds,
                arguments.clients
            );
            ExitCode::FAILURE
        }
    }
}
