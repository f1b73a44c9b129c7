//! `throttle check`: says what a configuration file means, without serving it.

use std::{error::Error, fmt::Write as _, io, path::PathBuf};

use throttle_core::{Deadlock, Order};

use throttle_service::{
    config::{
        self, Config, ConfigError, Content, DEFAULT_ADDRESS, DEFAULT_CONFIGURATION, DEFAULT_PORT,
        SemaphoreConfig,
    },
    printable::printable,
    serve,
};

/// Arguments of `throttle check`.
#[derive(Debug, Clone, clap::Args)]
pub struct Check {
    /// The configuration file to check, as -c names it
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The configuration file to check
    #[arg(short, long, env = "THROTTLE_CONFIGURATION", value_name = "FILE", default_value = DEFAULT_CONFIGURATION)]
    pub configuration: PathBuf,
}

/// Writes to `out` what the file would serve. The error is one line that says what is wrong with it.
pub fn check(arguments: &Check, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
    let path = arguments.file.as_ref().unwrap_or(&arguments.configuration);
    let loaded = config::load(path)?;
    if loaded.content == Content::Missing {
        return Err(ConfigError::missing(path).into());
    }
    serve::check_named(&loaded.config)?;
    out.write_all(summary(&path.display().to_string(), &loaded.config).as_bytes())?;
    Ok(())
}

fn summary(file: &str, config: &Config) -> String {
    let mut text = format!("{} is right.\n", printable(file));
    let address = printable(config.address.as_deref().unwrap_or(DEFAULT_ADDRESS));
    let port = config.port.unwrap_or(DEFAULT_PORT);
    // Writing to a string cannot fail, here and below.
    let port = if address.starts_with("unix:") { String::new() } else { format!(", port {port}") };
    let _ = writeln!(text, "It would listen on {address}{port}, and serve:");
    if config.semaphores.is_empty() {
        text.push_str("  no semaphores\n");
    }
    let names: Vec<String> = config.semaphores.iter().map(|semaphore| printable(&semaphore.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, semaphore) in names.iter().zip(&config.semaphores) {
        let _ = writeln!(text, "  {name:width$}  {}", description(semaphore));
    }
    if let Some(path) = &config.durability.data_dir {
        let _ = writeln!(text, "What happens would be kept in {}.", printable(path.display()));
    }
    if let Some(cluster) = &config.cluster {
        let (prefix, members) = (printable(&cluster.prefix), printable(cluster.endpoints.join(", ")));
        let advertise = printable(&cluster.advertise);
        let _ = writeln!(text, "What happens would be kept in etcd below {prefix}, at {members}.");
        let _ = writeln!(text, "Other servers of the cluster would reach it at {advertise}.");
    }
    if config.litter_collection_interval.is_some() {
        text.push_str("litter_collection_interval changes nothing: expiry is exact.\n");
    }
    text
}

fn description(semaphore: &SemaphoreConfig) -> String {
    let mut text = format!("max {}", semaphore.max);
    if semaphore.max == 0 {
        text.push_str(" (paused)");
    }
    if semaphore.level != 0 {
        let _ = write!(text, ", level {}", semaphore.level);
    }
    if let Some(per) = semaphore.per {
        let _ = write!(text, ", per {}", humantime::format_duration(per));
    }
    if semaphore.deadlock == Deadlock::Detect {
        text.push_str(", deadlocks detected");
    }
    if semaphore.order == Order::Pass {
        text.push_str(", requests may pass those that wait for another semaphore");
    }
    if semaphore.is_pattern() {
        text.push_str(", for each name that matches");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_would_be_served() {
        let config = config::parse(
            "f.toml",
            "litter_collection_interval = \"5min\"\n[semaphores]\nA = 42\nB = { max = 1, level = 1 }\n\
             api = { max = 10, per = \"1s\" }\nlong_name = 0\n[durability]\ndata_dir = \"/var/lib/throttle\"",
        );
        let text = summary("f.toml", &config.expect("a right file"));
        let expected = "f.toml is right.\nIt would listen on 127.0.0.1, port 8000, and serve:\n  \
             A          max 42\n  B          max 1, level 1\n  api        max 10, per 1s\n  \
             long_name  max 0 (paused)\nWhat happens would be kept in /var/lib/throttle.\nlitter_collection_interval changes nothing: expiry is exact.\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn says_which_cluster_it_would_be_part_of() {
        let config = config::parse(
            "f.toml",
            "[cluster]\nendpoints = [\"http://a:1\", \"http://b:1\"]\nadvertise = \"http://c:2/\"\nprefix = \"/x/\"",
        );
        let text = summary("f.toml", &config.expect("a right file"));
        assert!(text.contains("kept in etcd below /x/, at http://a:1, http://b:1.\n"), "{text}");
        assert!(text.contains("reach it at http://c:2.\n"), "{text}");
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let arguments = Check { file: None, configuration: PathBuf::from("no/such/file.toml") };
        let error = check(&arguments, &mut Vec::new()).expect_err("there is no such file");
        assert!(error.to_string().starts_with("no/such/file.toml: there is no such file."), "{error}");
    }
}
