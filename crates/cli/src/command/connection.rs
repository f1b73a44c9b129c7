//! Where the server is, for the subcommands that are its clients.

use std::{net::IpAddr, path::PathBuf};

use reqwest::Url;
use throttle_client::{Client, ClientBuilder, Error};

use crate::environment::variable;

/// Which server to ask. The bearer token is read from `THROTTLE_TOKEN` or a file only, as every user of a machine
/// can see the arguments of every process.
#[derive(Debug, Clone, clap::Args)]
pub struct Connection {
    /// The server, or the servers of one cluster with commas between them: http://a:8000,http://b:8000
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
    /// A client of that server, or of those servers, with its other settings still to be made.
    pub fn client(&self) -> ClientBuilder {
        self.warn_of_readable_token();
        let mut builder = Client::builder().url(&self.url);
        if let Some(file) = &self.token_file {
            builder = builder.token_file(file);
        }
        if let Some(file) = &self.cacert {
            builder = builder.cacert(file);
        }
        builder
    }

    fn warn_of_readable_token(&self) {
        let has_token = self.token_file.is_some()
            || ["THROTTLE_TOKEN", "THROTTLE_TOKEN_FILE"].iter().any(|name| variable(name).is_some());
        if has_token && self.url.split(',').map(str::trim).any(is_readable_on_the_way) {
            eprintln!(
                "throttle: the token goes to the server without encryption, so others on the way can read it; use https"
            );
        }
    }
}

/// An error with the URL to blame, if no Throttle server is there.
pub(crate) fn located(client: &Client, error: Error) -> Error {
    let what = match error {
        Error::Server { status: 404, what, .. } => what,
        Error::Problem { ref code, ref detail, .. }
            if code == "not_found" && detail.starts_with("There is no route") =>
        {
            "It".to_owned()
        }
        error => return error,
    };
    let url = client.url();
    let bare = Url::parse(url).ok().filter(|url| url.path() != "/").map(|mut bare| {
        bare.set_path("");
        format!("; is its path right? Without it, it would be {}", bare.as_str().trim_end_matches('/'))
    });
    let message = format!("no Throttle server of this version is at {url}{}", bare.unwrap_or_default());
    Error::Server { what, status: 404, message }
}

/// Whether what is sent to this URL leaves the machine without encryption. One that is wrong is sent nothing.
fn is_readable_on_the_way(url: &str) -> bool {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let Ok(url) = Url::parse(&url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host.parse::<IpAddr>().map_or(host == "localhost", |ip| ip.is_loopback());
    url.scheme() == "http" && !is_here
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_machine_is_readable_without_tls() {
        for url in [
            "http://locks.example:8000",
            "locks",
            "http://u:p@10.0.0.1/a",
            "http://[2001:db8::1]:8000",
            "HTTP://Locks",
        ] {
            assert!(is_readable_on_the_way(url), "{url}");
        }
        for url in [
            "https://locks.example",
            "http://127.0.0.1:8000",
            "localhost:8000",
            "http://u@[::1]:8000/a",
            "http://host:port",
        ] {
            assert!(!is_readable_on_the_way(url), "{url}");
        }
    }
}
