//! Reading the file, and laying the flags over it.

use std::{fs, io, path::Path};

use toml::de::DeTable;

use super::{
    Config, ConfigError,
    duplicate::duplicate,
    sections,
    table::{Source, Table},
};

/// A configuration together with where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What the file says, or the default.
    pub config: Config,
    /// Whether there was a file, and anything in it.
    pub content: Content,
}

/// What there was to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// No file.
    Missing,
    /// A file without a single key: nothing in it, or white space and comments.
    Empty,
    /// A file that says something.
    Something,
}

/// Reads the configuration file at `path`. A missing one means the default.
///
/// # Errors
///
/// If the file is there but cannot be read, is not UTF-8, is not TOML, or says something that is not allowed.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let file = path.display().to_string();
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Loaded { config: Config::default(), content: Content::Missing });
        }
        Err(error) => return Err(unreadable(&file, path, &error)),
    };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.split(|&byte| byte == b'\n').count();
            return Err(ConfigError::at(&file, line, "not UTF-8 text; save the file as UTF-8."));
        }
    };
    // Editors on Windows put this mark in front of a file; TOML does not know it.
    read(&file, text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn unreadable(file: &str, path: &Path, error: &io::Error) -> ConfigError {
    if path.is_dir() {
        return ConfigError::file(file, "is a directory; name a file with -c (--configuration).");
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return ConfigError::file(file, "no permission to read it; let the user of this process read it.");
    }
    ConfigError::file(file, format!("cannot be read: {error}."))
}

/// Reads a configuration from `text`; `file` is what messages call it.
///
/// # Errors
///
/// If the text is not TOML or says something that is not allowed.
pub fn parse(file: &str, text: &str) -> Result<Config, ConfigError> {
    read(file, text).map(|loaded| loaded.config)
}

fn read(file: &str, text: &str) -> Result<Loaded, ConfigError> {
    let source = Source { file, text };
    let document = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(text.len(), |span| span.start);
        let reason = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        match error.span() {
            Some(place) if reason == "duplicate key" => duplicate(source, place),
            _ => source.error(offset, format!("not valid TOML: {reason}.")),
        }
    })?;
    let content = if document.get_ref().is_empty() { Content::Empty } else { Content::Something };
    Ok(Loaded { config: sections::config(&Table::top(source, document.get_ref()))?, content })
}
