//! A lock that ended against its holder's will.

use std::fmt;

/// A lock ended before its holder released it: someone else may hold it by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    reason: LossReason,
    semaphores: Vec<String>,
    message: String,
    detail: Option<String>,
}

/// How a lock was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossReason {
    /// No renewal succeeded in the promised time.
    Expired,
    /// The server ended it, by an operator's hand or because it expired there.
    Released,
    /// The server lost its state and did not take the lock back.
    NotRestored,
}

impl LossReason {
    /// The reason in a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Released => "released",
            Self::NotRestored => "not restored",
        }
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Loss {
    pub(crate) fn new(
        reason: LossReason,
        semaphores: Vec<String>,
        message: String,
        detail: Option<String>,
    ) -> Self {
        Self { reason, semaphores, message, detail }
    }

    /// How it was lost.
    pub fn reason(&self) -> LossReason {
        self.reason
    }

    /// The semaphores whose locks were lost.
    pub fn semaphores(&self) -> &[String] {
        &self.semaphores
    }

    /// What the server says of how it ended, with the reason that an operator gave, if the server knows and says
    /// so. It is part of the message, too.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Loss {}
