//! What a request shows, and the file of tokens.

use std::{path::Path, time::SystemTime};

use axum::http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};
use throttle_service::security::{Tokens, shown, token};

/// The first line is a header, and tells which; the rest is a file of tokens. What is shown is not known by chance, and
/// a file that is read says the same when it is asked twice.
pub fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (line, file) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(file) = str::from_utf8(file) else { return };
    let tokens = Tokens::parse(Path::new("tokens.toml"), file);
    if let Err(error) = &tokens {
        let sentence = error.to_string();
        assert!(sentence.starts_with("tokens.toml"), "{sentence}");
        assert!(!sentence.contains('\n') || file.contains('\n'), "{sentence}");
    }
    let (name, value) = match line.split_first() {
        Some((b'c', value)) => (COOKIE, value),
        Some((_, value)) => (AUTHORIZATION, value),
        None => return,
    };
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(name, value);
    let (Some(token), Ok(tokens)) = (shown(&headers), tokens) else { return };
    let now = SystemTime::UNIX_EPOCH;
    if let Some(caller) = tokens.find(&token, now) {
        // Nobody finds a token by its hash.
        assert!(file.contains(&token::Hash::of(&token).to_string()));
        let identity = caller.identity().expect("somebody");
        assert_eq!(tokens.rights_of(identity).to_string(), caller.rights().to_string());
    }
}
