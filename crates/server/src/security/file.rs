//! The file of tokens: which hash is whose, and what each identity may do.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use crate::{
    config::{ConfigError, Source, duplicate},
    printable::printable,
};

use super::{
    caller::Caller,
    quota::{QuotaEntry, Quotas},
    rights::{NamePattern, Rights},
    token::Hash,
};

/// The longest file that is read.
const BYTES_MAX: u64 = 16 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<toml::Spanned<TokenEntry>>,
    #[serde(default)]
    identity: Vec<toml::Spanned<IdentityEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    identity: String,
    hash: String,
    expires: Option<toml::value::Datetime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityEntry {
    name: String,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    quota: QuotaEntry,
}

/// What an identity may do, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What it may do.
    pub rights: Rights,
    /// How much it may use.
    pub quotas: Quotas,
}

/// The tokens that are known, each with whose it is.
#[derive(Debug)]
pub struct Tokens {
    by_hash: HashMap<[u8; 8], Vec<Known>>,
    identities: Vec<(NamePattern, Terms)>,
    /// For those of whom the file says nothing.
    usual: Terms,
}

#[derive(Debug)]
struct Known {
    hash: Hash,
    caller: Arc<Caller>,
    expires: Option<SystemTime>,
}

impl Tokens {
    /// Reads the file, all of it or nothing. Identities whose quota it does not say have the `usual` one.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not right: where, what was found, and what is allowed. It names no hash and no
    /// token.
    pub fn read(path: &Path, usual: Quotas) -> Result<Self, ConfigError> {
        let error = |message: String| ConfigError::file(&path.display().to_string(), message);
        let unreadable = |source: io::Error| error(format!("cannot be read: {source}"));
        if fs::metadata(path).map_err(unreadable)?.len() > BYTES_MAX {
            return Err(error(format!("is larger than {BYTES_MAX} bytes")));
        }
        Self::parse(path, &fs::read_to_string(path).map_err(unreadable)?, usual)
    }

    /// Reads this text as such a file.
    ///
    /// # Errors
    ///
    /// As [`Tokens::read`].
    pub fn parse(path: &Path, text: &str, usual: Quotas) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let source = Source { file: &name, text };
        let at = |offset: usize, message: String| source.error(offset, message);
        let file: File = toml::from_str(text).map_err(|error| match (error.message(), error.span()) {
            ("duplicate key", Some(place)) => duplicate(source, place),
            // Not as the error shows itself: that repeats a line of the file.
            (message, place) => at(
                place.map_or(0, |place| place.start),
                format!("{}.", printable(message.trim_end_matches('.'))),
            ),
        })?;
        let usual = Terms { rights: Rights::default(), quotas: usual };
        let mut tokens = Self { by_hash: HashMap::new(), identities: Vec::new(), usual };
        for entry in file.identity {
            let (span, IdentityEntry { name, allow, quota }) = (entry.span(), entry.into_inner());
            let wrong = |message: String| at(span.start, format!("identity {name:?}: {message}."));
            let pattern = name.parse().map_err(wrong)?;
            let mut rights = Rights::default();
            allow.iter().try_for_each(|text| rights.allow(text)).map_err(wrong)?;
            let quotas = quota.or(tokens.usual.quotas);
            if tokens.identities.iter().any(|(known, _)| *known == pattern) {
                return Err(wrong("it comes twice; allowed: one entry with all that it may do".to_owned()));
            }
            tokens.identities.push((pattern, Terms { rights, quotas }));
        }
        for (index, entry) in file.token.into_iter().enumerate() {
            let (span, TokenEntry { identity, hash, expires }) = (entry.span(), entry.into_inner());
            let wrong =
                |message: &str| at(span.start, format!("token {} of {identity:?}: {message}.", index + 1));
            if identity.is_empty() || identity.contains('*') || identity.chars().any(char::is_control) {
                return Err(wrong(
                    "its identity is no name; allowed: text without `*` and control characters",
                ));
            }
            let hash = Hash::parse(&hash).ok_or_else(|| {
                wrong("its hash is not right; allowed: \"sha256:\" and 64 hexadecimal digits")
            })?;
            let expires =
                expires.map(|time| humantime::parse_rfc3339(&time.to_string())).transpose().map_err(
                    |_| wrong("expires is not right; allowed: a time in UTC, such as 2027-01-01T00:00:00Z"),
                )?;
            let caller = Arc::new(Caller::new(&identity, tokens.terms_of(&identity).clone(), expires));
            let known = tokens.by_hash.entry(start_of(&hash)).or_default();
            if known.iter().any(|other| other.hash == hash) {
                return Err(wrong("its hash comes twice; allowed: each token once"));
            }
            known.push(Known { hash, caller, expires });
        }
        Ok(tokens)
    }

    /// Whose this token is, unless it has expired. Nothing tells a token that has from one that never was.
    pub fn find(&self, token: &str, now: SystemTime) -> Option<Arc<Caller>> {
        self.find_hash(&Hash::of(token), now)
    }

    /// The same for whoever has its hash already.
    pub(super) fn find_hash(&self, hash: &Hash, now: SystemTime) -> Option<Arc<Caller>> {
        let candidates = self.by_hash.get(&start_of(hash))?;
        let mut found = None;
        for known in candidates {
            let is_same: bool = known.hash.bytes().ct_eq(hash.bytes()).into();
            if is_same && known.expires.is_none_or(|expires| now < expires) {
                found = Some(known.caller.clone());
            }
        }
        found
    }

    /// When this token expires, if it does, whether that is over or not.
    pub fn expiry(&self, token: &str) -> Option<SystemTime> {
        let hash = Hash::of(token);
        self.by_hash.get(&start_of(&hash))?.iter().find(|known| known.hash == hash)?.expires
    }

    /// How many tokens there are, and how many of them expire within this time.
    pub fn count(&self, now: SystemTime, within: Duration) -> (usize, usize) {
        let all = self.by_hash.values().flatten();
        let soon = |known: &&Known| known.expires.is_some_and(|expires| expires < now + within);
        (all.clone().count(), all.filter(soon).count())
    }

    /// What somebody of this name may do: what the narrowest entry says that stands for it.
    pub fn terms_of(&self, identity: &str) -> &Terms {
        let entries = self.identities.iter().filter(|(name, _)| name.matches(identity));
        entries.max_by_key(|(name, _)| name.length()).map_or(&self.usual, |(_, terms)| terms)
    }
}

/// Finds candidates. That takes no longer for a better guess: nobody can choose a hash.
fn start_of(hash: &Hash) -> [u8; 8] {
    let mut start = [0; 8];
    start.iter_mut().zip(hash.bytes()).for_each(|(to, from)| *to = *from);
    start
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::{Right, token::Secret};

    fn parse(text: &str) -> Result<Tokens, ConfigError> {
        Tokens::parse(Path::new("tokens.toml"), text, Quotas::NONE)
    }

    #[test]
    fn a_token_is_found_until_it_expires() {
        let [etl, old] = [[1; 32], [2; 32]].map(|random| Secret::of(&random));
        let text = format!(
            "[[token]]\nidentity = \"etl\"\nhash = \"{}\"\n[[token]]\nidentity = \"etl\"\nhash = \"{}\"\nexpires = \
             2027-01-01T00:00:00Z\n[[identity]]\nname = \"e*\"\nallow = [\"read\"]\n[[identity]]\nname = \
             \"etl\"\nallow = [\"acquire:etl/*\"]",
            etl.hash(),
            old.hash()
        );
        let tokens = parse(&text).unwrap();
        let new_year = humantime::parse_rfc3339("2027-01-01T00:00:00Z").unwrap();
        let before = new_year - Duration::from_secs(1);
        let caller = tokens.find(etl.reveal(), new_year).unwrap();
        assert_eq!(caller.identity(), Some("etl"));
        // The narrower entry counts, and it alone.
        assert!(caller.may(Right::Acquire, "etl/a") && !caller.may(Right::Read, "etl/a"));
        assert!(tokens.find(old.reveal(), before).is_some() && tokens.find(old.reveal(), new_year).is_none());
        assert!(tokens.find("thr_", before).is_none());
        assert_eq!(tokens.expiry(old.reveal()), Some(new_year));
        assert_eq!(tokens.count(before, Duration::from_secs(2)), (2, 1));
        let rights_of = |name| &tokens.terms_of(name).rights;
        assert!(rights_of("e2").has(Right::Read) && !rights_of("x").has(Right::Read));
    }

    #[test]
    fn a_wrong_file_is_refused_with_its_line_and_without_its_secrets() {
        let hash = Secret::of(&[1; 32]).hash();
        let token = format!("[[token]]\nidentity = \"a\"\nhash = \"{hash}\"\n");
        for (text, expected) in [
            (
                "tokens = 1".to_owned(),
                "tokens.toml:1: unknown field `tokens`, expected `token` or `identity`.",
            ),
            (
                format!("{token}identity = \"b\""),
                "tokens.toml:4: token.identity: duplicate key; it is in line 2 already; keep one of the two.",
            ),
            (
                "[\"\\nfield\"]".to_owned(),
                "tokens.toml:1: unknown field `\\nfield`, expected `token` or `identity`.",
            ),
            (
                format!("{token}expires = 2027-01-01"),
                "tokens.toml:1: token 1 of \"a\": expires is not right; allowed: a time in UTC, such as \
                 2027-01-01T00:00:00Z.",
            ),
            (
                token.replace("sha256", "md5"),
                "tokens.toml:1: token 1 of \"a\": its hash is not right; allowed: \"sha256:\" and 64 hexadecimal \
                 digits.",
            ),
            (
                format!("{token}{token}"),
                "tokens.toml:4: token 2 of \"a\": its hash comes twice; allowed: each token once.",
            ),
            (
                "[[identity]]\nname = \"a\"\nallow = [\"admin:x\"]".to_owned(),
                "tokens.toml:1: identity \"a\": \"admin:x\": admin is over everything; allowed: \"admin\".",
            ),
            (
                "[[identity]]\nname = \"a\"\n[[identity]]\nname = \"a\"".to_owned(),
                "tokens.toml:3: identity \"a\": it comes twice; allowed: one entry with all that it may do.",
            ),
            (
                "[[identity]]\nname = \"a\"\nquota = { rate = \"fast\" }".to_owned(),
                "tokens.toml:3: \"fast\" is no rate; allowed: a count and a time such as \
                 \"200/s\" or \"1000/10min\".",
            ),
            (
                "[[identity]]\nname = \"a\"\nquota = { peer = 1 }".to_owned(),
                "tokens.toml:3: unknown field `peer`, expected one of `peers`, `pending`, `blocked`, `semaphores`, \
                 `rate`.",
            ),
            (
                token.replace("\"a\"", "\"a*\""),
                "tokens.toml:1: token 1 of \"a*\": its identity is no name; allowed: text without `*` and control \
                 characters.",
            ),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert_eq!(error, expected);
            assert!(!error.contains("sha256:4") && !error.contains(&hash.to_string()));
        }
        let error = parse(&token.replace('"', "'").replace("hash = '", "hash = ")).unwrap_err().to_string();
        assert!(error.starts_with("tokens.toml:3: ") && !error.contains(&hash.to_string()), "{error}");
    }
}
