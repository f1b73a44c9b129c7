//! What the command line and the environment say at the start, over what the file says.

use std::path::{Path, PathBuf};

use super::{
    error::ConfigError,
    load::{Content, Loaded, load},
    model::Config,
};

/// The configuration file that is read if none is named.
pub const DEFAULT_CONFIGURATION: &str = "throttle.toml";
/// Where a server listens if nothing says otherwise: only this machine can reach it.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1";
/// The TCP port a server listens on if nothing says otherwise.
pub const DEFAULT_PORT: u16 = 8000;

/// How the server is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// The address or host name to listen on.
    pub address: Option<String>,
    /// The TCP port to listen on; 0 lets the system choose one.
    pub port: Option<u16>,
    /// The configuration file; only the default may be missing.
    pub configuration: Option<PathBuf>,
    /// The directory of the journal.
    pub data_dir: Option<PathBuf>,
    /// Semaphores and their full counts.
    pub semaphores: Vec<(String, i64)>,
    /// The URL of an OpenTelemetry collector that gets traces.
    pub otlp_endpoint: Option<String>,
}

impl Start {
    /// The path of the configuration file.
    pub fn file(&self) -> &Path {
        self.configuration.as_deref().unwrap_or_else(|| Path::new(DEFAULT_CONFIGURATION))
    }

    /// The configuration: what the file says, below what the command line and the environment say.
    ///
    /// # Errors
    ///
    /// If the file is not right, or there is none at a path that somebody named.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut loaded = load(self.file())?;
        if loaded.content == Content::Missing && self.configuration.is_some() {
            return Err(ConfigError::missing(self.file()));
        }
        self.apply(&mut loaded.config);
        Ok(loaded)
    }

    /// Writes what the command line and the environment say over what the file says.
    pub fn apply(&self, config: &mut Config) {
        if self.address.is_some() {
            config.address.clone_from(&self.address);
        }
        config.port = self.port.or(config.port);
        if self.data_dir.is_some() {
            config.durability.data_dir.clone_from(&self.data_dir);
        }
        // To an environment an empty value is none.
        if let Some(endpoint) = self.otlp_endpoint.as_ref().filter(|endpoint| !endpoint.is_empty()) {
            config.telemetry.otlp.endpoint = Some(endpoint.clone());
        }
        for (name, max) in &self.semaphores {
            config.set_semaphore(name, *max);
        }
    }
}
