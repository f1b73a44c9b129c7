//! Attacks on a server of Throttle, each played on a real server of its own, while an honest client renews its lease
//! and takes locks. Prints what each attack sent, what the server needed, and how long the honest client waited.
//!
//! - [`attacks`]: the attacks.
//! - [`server`]: a server, as a process. [`honest`]: the honest client. [`client`]: HTTP as attackers speak it.

mod attacks;
mod client;
mod honest;
mod server;

use std::{error::Error, fmt::Write as _, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;

use crate::{
    attacks::{ATTACKS, Attack, Scale},
    client::Sent,
    honest::{Honest, Waits},
    server::Server,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Plays attacks on a server, and shows what an honest client notices of them.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The server to attack.
    #[arg(long, default_value = "target/release/throttle")]
    server: PathBuf,
    /// Only the attacks with one of these in their names.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Smaller attacks: a look in a minute.
    #[arg(long)]
    quick: bool,
    /// The most memory that the server may need, in MiB; more is an error.
    #[arg(long)]
    most_memory: Option<u64>,
}

/// What came of an attack.
struct Line {
    attack: &'static Attack,
    sent: (u64, u64),
    peak_bytes: u64,
    waits: Waits,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Outcome<bool> {
    let most = server::raise_open_files();
    let mut scale = if options.quick { Scale::QUICK } else { Scale::FULL };
    scale.connections = scale.connections.min(most);
    let is_wanted = |attack: &&Attack| {
        options.only.is_empty() || options.only.iter().any(|only| attack.name.contains(&**only))
    };
    let mut lines = Vec::new();
    for attack in ATTACKS.iter().filter(is_wanted) {
        eprintln!("... {}: {}", attack.name, attack.about);
        lines.push(play(options, attack, scale).await.map_err(|error| format!("{}: {error}", attack.name))?);
    }
    print!("{}", table(&lines));
    Ok(judge(options, &lines))
}

async fn play(options: &Options, attack: &'static Attack, scale: Scale) -> Outcome<Line> {
    let server = Server::start(&options.server, scale.server_connections, attack.asks_for_tokens).await?;
    let honest = Honest::start(server.port, if attack.asks_for_tokens { server::POLITE } else { "" })?;
    let sent = Arc::new(Sent::default());
    // What it holds is open until the honest client has been at work beside it for a while.
    let held = (attack.run)(server.port, scale, sent.clone()).await?;
    tokio::time::sleep(scale.after).await;
    let peak_bytes = server.peak_bytes()?;
    let waits = honest.stop()?;
    drop(held);
    Ok(Line { attack, sent: sent.figures(), peak_bytes, waits })
}

fn table(lines: &[Line]) -> String {
    let mut table = String::from(
        "attack        requests       MB  peak MiB  honest requests  median ms  longest ms\n\
         ------------  --------  -------  --------  ---------------  ---------  ----------\n",
    );
    for Line { attack, sent: (requests, bytes), peak_bytes, waits } in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "{:<12}  {requests:>8}  {:>7.1}  {:>8}  {:>15}  {:>9.2}  {:>10.1}",
            attack.name,
            mega(*bytes),
            peak_bytes >> 20,
            waits.count,
            waits.median.as_secs_f64() * 1e3,
            waits.longest.as_secs_f64() * 1e3,
        );
    }
    table
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Whether the server kept within the bounds that were asked for.
fn judge(options: &Options, lines: &[Line]) -> bool {
    let Some(most) = options.most_memory else { return true };
    let beyond: Vec<_> = lines.iter().filter(|line| line.peak_bytes >> 20 > most).collect();
    for line in &beyond {
        eprintln!(
            "{}: the server needed {} MiB; at most {most} are allowed",
            line.attack.name,
            line.peak_bytes >> 20
        );
    }
    beyond.is_empty()
}
