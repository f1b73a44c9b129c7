//! What is wrong with a configuration, in words that say what would be right.

use std::{fmt, path::Path};

const TO_REMOVE_ALL: &str = "To remove all semaphores, write [semaphores] with nothing below it.";

/// Why a configuration cannot be used. Displays as one line that names the file, the line, the key, what was
/// found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: String,
    line: Option<usize>,
    message: String,
}

impl ConfigError {
    pub(super) fn at(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: Some(line), message: message.into() }
    }

    pub(crate) fn file(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, message: message.into() }
    }

    /// There is no file at a path that must have one.
    pub fn missing(path: &Path) -> Self {
        let file = path.display().to_string();
        Self::file(&file, "there is no such file. Make it, or name another with -c (--configuration).")
    }

    /// A file is gone that was read before.
    pub fn gone(path: &Path) -> Self {
        let file = path.display().to_string();
        Self::file(&file, format!("is gone, though it was read before. Put it back. {TO_REMOVE_ALL}"))
    }

    /// Nothing is left in a file that said something before.
    pub fn emptied(path: &Path) -> Self {
        let file = path.display().to_string();
        let message = format!(
            "is empty, though it said something when it was last read. Write it again, as a whole. {TO_REMOVE_ALL}"
        );
        Self::file(&file, message)
    }

    /// The line of the file, counted from 1; `None` if the file as a whole is meant.
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for ConfigError {}
