//! The text of a configuration file.

use throttle_service::config;

/// It is read, or refused with a sentence that names the file.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Err(error) = config::parse("throttle.toml", text) {
        let sentence = error.to_string();
        assert!(sentence.starts_with("throttle.toml"), "{sentence}");
    }
}
