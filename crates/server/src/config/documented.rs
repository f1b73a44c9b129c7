//! The tables of `docs/configuration.md` and `docs/cluster.md` against what the file may say.

use super::*;

/// What a section needs before it may be there at all.
const NEEDED: &[(&str, &[&str])] = &[
    ("logging.gelf", &["name = 'a'", "host = 'b'", "port = 1"]),
    ("security.jwt", &["issuer = 'a'", "audience = 'b'", "keys = 'c'"]),
    ("audit", &["file = 'a'"]),
    ("tls", &["cert = 'a'", "key = 'b'"]),
    ("cluster", &["endpoints = ['http://a']", "advertise = 'http://b'"]),
    ("semaphores.A", &["max = 1"]),
];

/// What is known to be none of the sections' keys.
const UNKNOWN: &str = "no_such_key_at_all";

/// Defaults that are not in the model, as a command line comes in between.
const MADE_ELSEWHERE: &[&str] = &["address", "port", "http.socket_mode"];

/// The keys of the tables, in full, with the cell of their defaults.
fn rows() -> Vec<(String, &'static str)> {
    let docs =
        [include_str!("../../../../docs/configuration.md"), include_str!("../../../../docs/cluster.md")];
    let lines = docs.into_iter().flat_map(str::lines);
    let mut rows = Vec::new();
    for line in lines {
        let Some(row) = line.strip_prefix("| ") else { continue };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [keys, default, _, ""] = cells[..] else { continue };
        // Keys of a semaphore stand below the row for `semaphores.NAME`.
        let prefix = if keys.starts_with('…') { "semaphores.A." } else { "" };
        // Several keys may share a row.
        rows.extend(keys.split('`').skip(1).step_by(2).map(|key| (format!("{prefix}{key}"), default)));
    }
    rows
}

/// A file with a section, all that it needs but for `key`, and a line.
fn file(section: &str, key: &str, line: &str) -> String {
    let needed = NEEDED.iter().find(|(name, _)| *name == section).map_or(&[][..], |(_, needed)| needed);
    let is_other = |needed: &&&str| !needed.starts_with(&format!("{key} ="));
    let mut lines: Vec<&str> = needed.iter().filter(is_other).copied().collect();
    let head = format!("[{section}]");
    if !section.is_empty() {
        lines.insert(0, &head);
    }
    lines.push(line);
    lines.join("\n")
}

fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

/// The keys that the server knows in a section: it says so where one is unknown.
fn known(section: &str) -> Vec<String> {
    let text = file(section, "", &format!("{UNKNOWN} = true"));
    let error = parse("throttle.toml", &text).expect_err(&text).to_string();
    let list = error.rsplit_once("Known keys: ").unwrap_or_else(|| panic!("{text}: {error}")).1;
    list.trim_end_matches('.').split(", ").map(str::to_owned).collect()
}

#[test]
fn every_default_is_what_the_document_says() {
    let mut compared = 0;
    for (key, default) in rows() {
        let (section, name) = split(&key);
        let Some(value) = default.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')) else { continue };
        if value.contains('`') || MADE_ELSEWHERE.contains(&key.as_str()) {
            continue;
        }
        let said = file(section, name, &format!("{name} = {value}"));
        let unsaid = file(section, name, "");
        let parsed =
            |text: &str| parse("throttle.toml", text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parsed(&said), parsed(&unsaid), "{key}: {value} is not the default");
        compared += 1;
    }
    assert!(compared > 40, "{compared} defaults were compared");
}

#[test]
fn every_documented_key_is_known() {
    for (key, _) in rows() {
        let (section, name) = split(&key);
        if section != "semaphores" {
            assert!(known(section).contains(&name.to_owned()), "{key}: {section:?} has {:?}", known(section));
        }
    }
}

#[test]
fn every_key_is_documented() {
    let rows = rows();
    let documented = |key: &str| rows.iter().any(|(row, _)| row == key);
    let mut sections = vec![String::new()];
    while let Some(section) = sections.pop() {
        for name in known(&section) {
            let key = if section.is_empty() { name } else { format!("{section}.{name}") };
            let key = if key == "semaphores" { "semaphores.A".to_owned() } else { key };
            if rows.iter().any(|(row, _)| row.starts_with(&format!("{key}."))) {
                sections.push(key);
            } else {
                assert!(documented(&key), "{key} stands in no table");
            }
        }
    }
}
