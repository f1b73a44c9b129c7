//! Where the server is, for the subcommands that are its clients.

use std::path::PathBuf;

use throttle_client::{Client, ClientBuilder};

/// Which server to ask. The bearer token is read from `THROTTLE_TOKEN` or a file only, as every user of a machine
/// can see the arguments of every process.
#[derive(Debug, Clone, clap::Args)]
pub struct Connection {
    /// The server
    #[arg(long, env = "THROTTLE_URL", value_name = "URL", default_value = "http://127.0.0.1:8000")]
    pub url: String,
    /// A file with the bearer token; beats what the environment says.
    // The variable is for the client to read: it comes behind `THROTTLE_TOKEN`, this argument before it.
    #[arg(
        long,
        value_name = "FILE",
        help = "A file with the bearer token; it is read anew for each request [env: THROTTLE_TOKEN_FILE]"
    )]
    pub token_file: Option<PathBuf>,
    /// A PEM file with the only authorities that are trusted for TLS.
    #[arg(long, env = "THROTTLE_CACERT", value_name = "FILE")]
    pub cacert: Option<PathBuf>,
}

impl Connection {
    /// A client of that server, with its other settings still to be made.
    pub fn client(&self) -> ClientBuilder {
        let mut builder = Client::builder().url(&self.url);
        if let Some(file) = &self.token_file {
            builder = builder.token_file(file);
        }
        if let Some(file) = &self.cacert {
            builder = builder.cacert(file);
        }
        builder
    }
}
