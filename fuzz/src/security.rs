//! What a request shows, the file of tokens, and tokens and keys of an issuer.

use std::{env, fs, path::Path, process, sync::LazyLock, time::SystemTime};

use axum::http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use throttle_service::security::{Guard, JwtConfig, KeySet, KeySource, Quotas, Tokens, shown, token};
use tokio::runtime::Runtime;

/// A key that nobody here has the other half of: that of RFC 7515, A.3.
const KEYS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "one",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// A server that trusts an issuer.
static TRUSTING: LazyLock<(Runtime, Guard)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let file = |name: &str, text: &str| {
        let path = env::temp_dir().join(format!("throttle-fuzz-{}-{name}", process::id()));
        fs::write(&path, text).expect("writable");
        path
    };
    let (issuer, audience) = ("https://issuer.example".to_owned(), "throttle".to_owned());
    let keys = KeySource::File(file("keys", KEYS));
    let jwt = JwtConfig { issuer, audience, keys, identity: "sub".to_owned(), ca: None };
    let guard = Guard::open(None).with_tokens(file("tokens", ""), Quotas::NONE, Vec::new());
    (runtime, guard.and_then(|guard| guard.with_issuer(jwt)).expect("right files"))
});

/// A token with this head and these claims, or these parts as they are: nobody can sign it.
fn issued(head: &[u8], claims: &[u8], is_encoded: bool) {
    let (runtime, guard) = &*TRUSTING;
    let mut parts = [head.to_vec(), claims.to_vec(), b"c2lnbmVk".to_vec()];
    if !is_encoded {
        parts.iter_mut().take(2).for_each(|part| *part = BASE64_URL_SAFE_NO_PAD.encode(&*part).into_bytes());
    }
    if let Ok(token) = String::from_utf8(parts.join(&b'.')) {
        assert!(runtime.block_on(guard.whose(&token)).is_err(), "{token}");
    }
}

/// The first line is a header, and tells which; the rest is a file of tokens. Or the first line is the head of a token
/// and the rest its claims, or the rest is a set of keys. What is shown is not known by chance, and a file that is read
/// says the same when it is asked twice.
pub fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (line, file) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match line.split_first() {
        Some((b'j', head)) => return issued(head, file, false),
        Some((b'J', head)) => return issued(head, file, true),
        Some((b'k', _)) => return drop(KeySet::parse(file)),
        _ => {}
    }
    let Ok(file) = str::from_utf8(file) else { return };
    let tokens = Tokens::parse(Path::new("tokens.toml"), file, Quotas::NONE);
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
        // Nobody finds a token by its hash. TOML has other ways to write a letter.
        let hash = token::Hash::of(&token).to_string();
        assert!(file.to_ascii_lowercase().contains(&hash) || file.contains('\\'));
        let identity = caller.identity().expect("somebody");
        assert_eq!(&tokens.terms_of(identity).rights, caller.rights());
    }
}
