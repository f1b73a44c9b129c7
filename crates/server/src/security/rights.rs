//! Rights, and the names of semaphores that they are over.

use std::{fmt, str::FromStr};

/// What a caller must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Nothing: probes and pages.
    None,
    /// Any at all: what is shown is the caller's own, or depends on what he may look at.
    Any,
    /// To look.
    Read,
    /// To make peers, take and renew locks.
    Acquire,
    /// To release: one's own, or what others hold; so this is there with `acquire` and with `operate`.
    Release,
    /// To release what others hold, to make, change and remove semaphores.
    Operate,
    /// To reload and resume; has all others.
    Admin,
}

impl Right {
    /// Those that can be given.
    const GIVEN: [Self; 4] = [Self::Read, Self::Acquire, Self::Operate, Self::Admin];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Any | Self::Read => "read",
            Self::Acquire | Self::Release => "acquire",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// A name, or all names that begin and end so: one `*` stands for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    start: Box<str>,
    /// What stands after the star, if there is one.
    end: Option<Box<str>>,
}

impl NamePattern {
    /// Whether it stands for this name.
    pub fn matches(&self, name: &str) -> bool {
        match &self.end {
            None => name == &*self.start,
            Some(end) => name.strip_prefix(&*self.start).is_some_and(|rest| rest.ends_with(&**end)),
        }
    }

    /// How many characters of a name it leaves open to say the least: of two that match, the one with more is narrower.
    pub(super) fn length(&self) -> (bool, usize) {
        (self.end.is_none(), self.start.len() + self.end.as_ref().map_or(0, |end| end.len()))
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.start)?;
        self.end.as_ref().map_or(Ok(()), |end| write!(f, "*{end}"))
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (start, end) = match text.split_once('*') {
            None => (text, None),
            Some((_, end)) if end.contains('*') => {
                return Err(format!(
                    "{text:?} has more than one `*`; allowed: one, for any run of characters"
                ));
            }
            Some((start, end)) => (start, Some(end)),
        };
        if text.is_empty() {
            return Err("a name is empty".to_owned());
        }
        Ok(Self { start: start.into(), end: end.map(Into::into) })
    }
}

/// A right, over all names or over some.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    right: Right,
    over: Option<NamePattern>,
}

/// All that somebody may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights(Vec<Grant>);

impl Rights {
    /// All of them, over everything.
    pub fn all() -> Self {
        Self(vec![Grant { right: Right::Admin, over: None }])
    }

    /// Just to look at everything.
    pub fn to_read() -> Self {
        Self(vec![Grant { right: Right::Read, over: None }])
    }

    /// Adds what an entry such as `"read"` or `"acquire:etl/*"` gives.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub fn allow(&mut self, text: &str) -> Result<(), String> {
        let (name, over) = match text.split_once(':') {
            Some((name, over)) => (name, Some(over)),
            None => (text, None),
        };
        let right = Right::GIVEN.into_iter().find(|right| right.name() == name).ok_or_else(|| {
            format!("{text:?} is no right; allowed: \"read\", \"acquire\", \"operate\", each alone or with names as in \"acquire:etl/*\", and \"admin\"")
        })?;
        if right == Right::Admin && over.is_some() {
            return Err(format!("{text:?}: admin is over everything; allowed: \"admin\""));
        }
        self.0.push(Grant { right, over: over.map(str::parse).transpose()? });
        Ok(())
    }

    /// Whether there is this right over this semaphore.
    pub fn covers(&self, right: Right, semaphore: &str) -> bool {
        self.of(right).any(|grant| grant.over.as_ref().is_none_or(|over| over.matches(semaphore)))
    }

    /// Whether there is this right over every semaphore there may be.
    pub fn covers_all(&self, right: Right) -> bool {
        self.of(right).any(|grant| grant.over.is_none())
    }

    /// The names over which there is this right, as they are written.
    pub fn over(&self, right: Right) -> Vec<String> {
        let all = || "*".to_owned();
        self.of(right).map(|grant| grant.over.as_ref().map_or_else(all, ToString::to_string)).collect()
    }

    /// Whether there is this right over anything at all.
    pub fn has(&self, right: Right) -> bool {
        right == Right::None || self.of(right).next().is_some()
    }

    fn of(&self, right: Right) -> impl Iterator<Item = &Grant> {
        self.0.iter().filter(move |grant| match (right, grant.right) {
            (Right::Any, _) | (_, Right::Admin) => true,
            (Right::Release, given) => matches!(given, Right::Acquire | Right::Operate),
            (right, given) => right == given,
        })
    }
}

/// The rights as they are written.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Grant { right, over }) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            f.write_str(right.name())?;
            if let Some(over) = over {
                write!(f, ":{over}")?;
            }
        }
        Ok(())
    }
}

/// A caller lacks a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forbidden {
    /// The right.
    pub right: Right,
    /// The semaphore that he named, if it is over one.
    pub semaphore: Option<String>,
    /// Who he is.
    pub identity: String,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { right, semaphore, identity } = self;
        write!(f, "{identity:?} lacks the right {:?}", right.name())?;
        if let Some(semaphore) = semaphore {
            write!(f, " over semaphore {semaphore:?}")?;
        }
        f.write_str(". It is given by allow in the section [[identity]] of the file of tokens.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(texts: &[&str]) -> Rights {
        let mut rights = Rights::default();
        for text in texts {
            rights.allow(text).unwrap();
        }
        rights
    }

    #[test]
    fn a_right_is_over_the_names_that_it_says() {
        let some = rights(&["read", "acquire:etl/*", "operate:*/in", "acquire:one"]);
        assert!(some.covers(Right::Read, "anything") && some.covers_all(Right::Read));
        assert!(some.covers(Right::Acquire, "etl/") && some.covers(Right::Acquire, "one"));
        assert!(!some.covers(Right::Acquire, "etl") && !some.covers(Right::Acquire, "ones"));
        assert!(some.covers(Right::Operate, "a/in") && !some.covers(Right::Operate, "a/out"));
        assert!(some.has(Right::Operate) && !some.covers_all(Right::Operate) && !some.has(Right::Admin));
        assert_eq!(some.to_string(), "read, acquire:etl/*, operate:*/in, acquire:one");
        // Start and end of a pattern do not overlap.
        assert!(!rights(&["read:aba*ba"]).covers(Right::Read, "aba"));
    }

    #[test]
    fn admin_has_all_others() {
        for right in [Right::Read, Right::Acquire, Right::Operate, Right::Admin] {
            assert!(Rights::all().covers(right, "A") && Rights::all().covers_all(right));
            assert!(!Rights::default().has(right));
        }
        assert!(Rights::default().has(Right::None));
        assert!(!Rights::to_read().has(Right::Acquire));
    }

    #[test]
    fn what_is_no_right_is_refused() {
        for wrong in ["", "write", "read:", "acquire:a*b*", "admin:*", "none"] {
            assert!(Rights::default().allow(wrong).is_err(), "{wrong}");
        }
    }
}
