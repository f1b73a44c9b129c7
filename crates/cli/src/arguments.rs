//! The command line of `throttle`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use throttle_service::config::Start;

use crate::{
    command::{
        self, Acquire, Backup, Check, Completions, JournalCommand, TokenCommand,
        operator::{ClusterCommand, Operate},
        run::Run,
        usage::Usage,
    },
    environment::variable,
};

const LONG_ABOUT: &str = "\
Serves counting semaphores over HTTP.

Processes on many machines ask this server for permission before they use a limited resource, and give it back when \
they are done or when their lease ends. Without a subcommand, throttle starts the server. It runs until Ctrl+C or \
SIGTERM; then it answers every request that still waits and exits within a second.

Each setting is looked for on the command line, then in the environment, then in the configuration file.";

const AFTER_LONG_HELP: &str = "\
Examples:
  throttle
          Serve what throttle.toml in the current directory configures, on http://127.0.0.1:8000
  throttle --semaphore database=20 --semaphore licence=4
          Serve two semaphores without any file
  throttle --address 0.0.0.0 --port 8000 -c /etc/throttle.toml
          Serve other machines as well
  throttle run --semaphore database -- ./import.sh
          Run a command while it holds a lock of a server
  throttle check -c throttle.toml
          Say what a configuration file means, or what is wrong with it

A configuration file:
  [semaphores]
  database = 20
  bucket = { max = 1, level = 1 }

  [logging.stderr]
  level = \"INFO\"

Environment variables:
  THROTTLE_LOG  What is written to standard error, above what the file says: a level (ERROR, WARN, INFO, DEBUG, \
TRACE, OFF), or levels for parts, such as \"warn,throttle=debug\"

Exit codes (throttle run and throttle acquire have their own):
  0  The server was asked to stop, and did
  1  It could not start: a wrong configuration file, or an address that cannot be listened on; or the server that was \
asked refused
  2  A wrong command line
  69 The server is out of reach (the subcommands that ask one, but for throttle health)
  76 The peer that was to be renewed is gone (throttle renew)";

const ADDRESS: &str = "THROTTLE_ADDRESS";
const PORT: &str = "THROTTLE_PORT";
const CONFIGURATION: &str = "THROTTLE_CONFIGURATION";
const DATA_DIR: &str = "THROTTLE_DATA_DIR";

/// The arguments of `throttle`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "throttle",
    version,
    about = "Semaphores for distributed systems, over HTTP",
    long_about = LONG_ABOUT,
    after_long_help = AFTER_LONG_HELP,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What else to do than to serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub serve: Serve,
}

/// The subcommands. Without one, the server starts.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Runs a command while locks are held
    #[command(long_about = command::run::LONG_ABOUT)]
    Run(Box<Run>),
    /// Acquires locks and leaves them held
    #[command(long_about = command::acquire::LONG_ABOUT)]
    Acquire(Box<Acquire>),
    /// What an operator does over `/v1`.
    #[command(flatten)]
    Operate(Box<Operate>),
    /// Looks at the servers of a cluster, and moves what it has
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Copies a data directory, also while a server uses it
    Backup(Backup),
    /// Looks into a data directory
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Makes tokens for a server, and tells whether one is right
    #[command(subcommand)]
    Token(TokenCommand),
    /// Checks a configuration file and says what it would serve
    Check(Check),
    /// Writes what a shell needs to complete this command line
    Completions(Completions),
}

/// How the server is started.
// Variables that may be wrong are read by hand, in `start`: here one would be refused to the subcommands, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[expect(clippy::doc_markdown, reason = "the help shows variables as clap does")]
pub struct Serve {
    /// The address or host name to listen on [default: 127.0.0.1] [env: THROTTLE_ADDRESS]
    ///
    /// 127.0.0.1 serves this machine only, 0.0.0.0 every IPv4 network of it, and :: IPv6 as well.
    ///
    /// [default: 127.0.0.1] [env: THROTTLE_ADDRESS]
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// The TCP port to listen on; 0 lets the system choose one [default: 8000] [env: THROTTLE_PORT]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// The configuration file; only the default may be missing [default: throttle.toml] [env: THROTTLE_CONFIGURATION]
    #[arg(short, long, value_name = "FILE")]
    pub configuration: Option<PathBuf>,
    /// The directory of the journal: with it, a restart forgets nothing [env: THROTTLE_DATA_DIR]
    ///
    /// It is made if it is not there. Without it the server keeps its state in memory, and clients bring back what they
    /// hold after a restart. An empty variable is none, so that one that a container image sets can be taken back.
    ///
    /// [env: THROTTLE_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// A semaphore and its full count; can be given many times
    ///
    /// Overrides the count of a semaphore of this name in the file. A name that contains `*` is a pattern, and a
    /// count of 0 pauses the semaphore.
    #[arg(long, value_name = "NAME=MAX", value_parser = semaphore)]
    pub semaphore: Vec<(String, i64)>,
    /// The URL of an OpenTelemetry collector that gets traces [default: none]
    ///
    /// By OTLP over HTTP, so usually port 4318; `/v1/traces` is added to it.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

impl Serve {
    /// The same, for the server, with what the environment says where the command line says nothing; or why that is
    /// wrong.
    pub fn start(&self) -> Result<Start, Usage> {
        let Self { address, port, configuration, data_dir, semaphore, otlp_endpoint } = self.clone();
        let address = match address {
            None => variable(ADDRESS).map(|address| address.to_string_lossy().into_owned()),
            given => given,
        };
        let port = match port {
            None => variable(PORT).map_or(Ok(None), |port| port_of(&port.to_string_lossy()))?,
            given => given,
        };
        let configuration = configuration.or_else(|| variable(CONFIGURATION).map(Into::into));
        let data_dir = data_dir.or_else(|| variable(DATA_DIR).map(Into::into));
        Ok(Start { address, port, configuration, data_dir, semaphores: semaphore, otlp_endpoint })
    }
}

/// The port that the environment names. Kubernetes has something else of the same name for every pod beside a Service
/// called `throttle`: its URL, which begins with its protocol.
fn port_of(text: &str) -> Result<Option<u16>, Usage> {
    if text.starts_with("tcp://") || text.starts_with("udp://") {
        return Ok(None);
    }
    match text.parse() {
        Ok(port) => Ok(Some(port)),
        Err(_) => Err(Usage(format!("{PORT} is {text:?}; allowed: an integer from 0 to {}", u16::MAX))),
    }
}

// The last `=` divides, so that a name may contain one.
fn semaphore(argument: &str) -> Result<(String, i64), String> {
    let (name, max) = argument.rsplit_once('=').ok_or("write NAME=MAX, such as database=20")?;
    if name.is_empty() {
        return Err("the name before `=` is missing".to_owned());
    }
    match max.parse() {
        Ok(max) if max >= 0 => Ok((name.to_owned(), max)),
        _ => Err(format!("found {max:?} as the full count; allowed: an integer from 0 to {}", i64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;
    use throttle_service::config;

    use super::*;

    fn serve(arguments: &[&str]) -> Serve {
        Cli::try_parse_from([&["throttle"], arguments].concat()).expect("valid arguments").serve
    }

    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nothing_means_the_default_file() {
        let start = serve(&[]).start().unwrap();
        assert_eq!((start.file(), &start.configuration), (Path::new("throttle.toml"), &None));
        assert_eq!((start.address, start.port), (None, None));
    }

    #[test]
    fn a_port_of_the_environment_is_a_number_or_what_kubernetes_has() {
        for (text, expected) in [
            ("0", Ok(Some(0))),
            ("65535", Ok(Some(65535))),
            ("tcp://10.0.0.1:8000", Ok(None)),
            ("65536", Err("THROTTLE_PORT is \"65536\"; allowed: an integer from 0 to 65535".to_owned())),
            ("x", Err("THROTTLE_PORT is \"x\"; allowed: an integer from 0 to 65535".to_owned())),
        ] {
            assert_eq!(port_of(text).map_err(|why| why.0), expected, "{text}");
        }
    }

    #[test]
    fn semaphores_split_at_the_last_equals_sign() {
        let serve = serve(&["--semaphore", "A=3", "--semaphore", "k=v=0"]);
        assert_eq!(serve.semaphore, [("A".to_owned(), 3), ("k=v".to_owned(), 0)]);
    }

    #[test]
    fn wrong_semaphores_are_refused() {
        for wrong in ["A", "=1", "A=-1", "A=x", "A=", "A=9223372036854775808"] {
            let error = Cli::try_parse_from(["throttle", "--semaphore", wrong]).expect_err(wrong);
            assert_eq!(error.exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn the_command_line_beats_the_file() {
        let mut config = config::parse(
            "throttle.toml",
            "address = \"::1\"\nport = 1\n[semaphores]\nA = { max = 1, level = 7 }",
        )
        .expect("valid file");
        serve(&["--port", "9", "--semaphore", "A=2", "--semaphore", "B=1"])
            .start()
            .unwrap()
            .apply(&mut config);
        assert_eq!(config.address.as_deref(), Some("::1"));
        assert_eq!(config.port, Some(9));
        let found: Vec<_> = config.semaphores.iter().map(|s| (s.name.as_str(), s.max, s.level)).collect();
        assert_eq!(found, [("A", 2, 7), ("B", 1, 0)]);
    }
}
