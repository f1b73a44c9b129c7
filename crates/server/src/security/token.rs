//! Tokens: `thr_`, 43 letters and digits that nobody can guess, and 6 of a checksum.
//!
//! The checksum lets a scanner of secrets, and `throttle token check`, tell a token from a slip of the pen without
//! asking a server. A server keeps the hash of a token only. That has no salt and needs no slow function: a token is
//! 256 random bits, so there is no list of likely ones.

use std::fmt;

use sha2::{Digest as _, Sha256};

const PREFIX: &str = "thr_";
const SECRET_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token. It is shown once, to whoever has it made.
pub struct Secret(String);

impl Secret {
    /// A new one, of these random bytes.
    pub fn of(random: &[u8; 32]) -> Self {
        let mut text = PREFIX.to_owned();
        // The number of these bytes to the base of 62, its last digit first: 43 of them hold 256 bits.
        let mut number = *random;
        for _ in 0..SECRET_LENGTH {
            let mut rest = 0_u32;
            for byte in &mut number {
                let value = rest * 256 + u32::from(*byte);
                *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
                rest = value % 62;
            }
            text.push(digit(rest));
        }
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Self(text)
    }

    /// The token itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What a server keeps of it.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether this text has the form of a token, its checksum included.
pub fn is_well_formed(text: &str) -> bool {
    let length = PREFIX.len() + SECRET_LENGTH;
    text.len() == length + CHECKSUM_LENGTH
        && text.is_ascii()
        && text.starts_with(PREFIX)
        && text.split_at_checked(length).is_some_and(|(body, end)| checksum(body) == end)
}

/// The CRC-32 of what stands before it, to the base of 62.
fn checksum(body: &str) -> String {
    let mut number = crc32fast::hash(body.as_bytes());
    (0..CHECKSUM_LENGTH)
        .map(|_| {
            let rest = number % 62;
            number /= 62;
            digit(rest)
        })
        .collect()
}

fn digit(number: u32) -> char {
    let index = usize::try_from(number).unwrap_or(0);
    DIGITS.get(index).map_or('0', |digit| char::from(*digit))
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Of this token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// As the file of tokens has it: `sha256:` and 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair =
                str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_form_and_its_checksum() {
        for random in [[0; 32], [255; 32], [7; 32]] {
            let secret = Secret::of(&random);
            let token = secret.reveal();
            assert_eq!(token.len(), 53);
            assert!(token.starts_with("thr_") && token[4..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(is_well_formed(token));
            // A slip of the pen does not go unnoticed.
            let wrong = token.replace("thr_", "thr-");
            assert!(!is_well_formed(&wrong) && !is_well_formed(&token[..52]) && !is_well_formed(""));
            let mut swapped = token.as_bytes().to_vec();
            swapped[10] = if swapped[10] == b'x' { b'y' } else { b'x' };
            assert!(!is_well_formed(&String::from_utf8(swapped).unwrap()));
            assert_eq!(format!("{secret:?} {:?}", secret.hash()), "Secret(..) Hash(..)");
        }
        assert_ne!(Secret::of(&[1; 32]).reveal(), Secret::of(&[2; 32]).reveal());
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        // The example of FIPS 180-2.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::of("abc").to_string(), abc);
        assert_eq!(Hash::parse(abc), Some(Hash::of("abc")));
        for wrong in ["", "sha256:", &abc[..70], &abc.replace("ba", "+a"), &abc.replace("sha256", "md5")] {
            assert_eq!(Hash::parse(wrong), None, "{wrong}");
        }
    }
}
