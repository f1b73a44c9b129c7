//! What a client tells the server of itself, so that people see who holds a lock.

use std::{collections::BTreeMap, env, path::Path};

use crate::{Error, user::user};

/// How many labels a peer has at most.
const MOST: usize = 16;
/// The longest key, in characters.
const LONGEST_KEY: usize = 63;
/// The longest value, in characters.
const LONGEST_VALUE: usize = 255;

/// Labels of every peer that a client makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    /// All of them.
    pub(crate) all: BTreeMap<String, String>,
    /// Those that were set by hand.
    pub(crate) own: BTreeMap<String, String>,
}

impl Labels {
    /// Those set by hand, and beside them those `usual` ones that have room.
    pub(crate) fn new(
        own: BTreeMap<String, String>,
        usual: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, Error> {
        check(&own)?;
        let mut all = own.clone();
        for (key, value) in usual {
            if all.len() < MOST && !all.contains_key(key) {
                all.insert(key.to_owned(), value.chars().take(LONGEST_VALUE).collect());
            }
        }
        Ok(Self { all, own })
    }
}

fn check(own: &BTreeMap<String, String>) -> Result<(), Error> {
    if own.len() > MOST {
        let found = own.len();
        return Err(Error::Configuration(format!("there are {found} labels; a peer has at most {MOST}")));
    }
    for (key, value) in own {
        if !(1..=LONGEST_KEY).contains(&key.chars().count()) || key.contains(':') {
            return Err(Error::Configuration(format!(
                "the label {key:?} is named wrongly: its key has 1 to {LONGEST_KEY} characters and no colon"
            )));
        }
        let length = value.chars().count();
        if length > LONGEST_VALUE {
            return Err(Error::Configuration(format!(
                "the label {key:?} is too long: its value has {length} characters, and at most {LONGEST_VALUE} \
                 are kept"
            )));
        }
    }
    Ok(())
}

/// A peer in the words of its labels, the usual ones first: `import.sh jane@w1 pid 7 team=blue`. `None` if it has none.
pub fn who(labels: &BTreeMap<String, String>) -> Option<String> {
    const USUAL: [&str; 4] = ["program", "user", "host", "pid"];
    let get = |key: &str| labels.get(key);
    let mut words = Vec::new();
    words.extend(get("program").cloned());
    words.extend(match (get("user"), get("host")) {
        (Some(user), Some(host)) => Some(format!("{user}@{host}")),
        (None, Some(host)) => Some(format!("@{host}")),
        (user, None) => user.cloned(),
    });
    words.extend(get("pid").map(|pid| format!("pid {pid}")));
    let others = labels.iter().filter(|(key, _)| !USUAL.contains(&key.as_str()));
    words.extend(others.map(|(key, value)| format!("{key}={value}")));
    (!words.is_empty()).then(|| words.join(" "))
}

/// What can be told of this process without being asked for. What cannot be found out is left out.
pub(crate) fn usual() -> impl Iterator<Item = (&'static str, String)> {
    let pid = std::process::id().to_string();
    let labels = [("host", host()), ("pid", pid), ("user", user()), ("program", program())];
    labels.into_iter().filter(|(_, value)| !value.is_empty())
}

fn program() -> String {
    let path = env::args_os().next().unwrap_or_default();
    Path::new(&path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    env::var("COMPUTERNAME").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn those_set_by_hand_come_first() {
        let usual = [("host", "w1".to_owned()), ("pid", "7".to_owned())];
        let labels = Labels::new(own(&[("host", "mine")]), usual.clone()).unwrap();
        assert_eq!(labels.all, own(&[("host", "mine"), ("pid", "7")]));
        assert_eq!(labels.own, own(&[("host", "mine")]));

        let many: BTreeMap<_, _> = (0..MOST).map(|number| (number.to_string(), String::new())).collect();
        assert_eq!(Labels::new(many.clone(), usual).unwrap().all, many, "no room for others");
        let long = [("host", "ü".repeat(300))];
        assert_eq!(Labels::new(BTreeMap::new(), long).unwrap().all["host"].chars().count(), 255);
    }

    #[test]
    fn a_peer_is_named_by_them() {
        let all = [("host", "w1"), ("pid", "7"), ("program", "import"), ("user", "jane"), ("team", "blue")];
        assert_eq!(who(&own(&all)).as_deref(), Some("import jane@w1 pid 7 team=blue"));
        assert_eq!(who(&own(&[("host", "w1")])).as_deref(), Some("@w1"));
        assert_eq!(who(&own(&[("user", "jane")])).as_deref(), Some("jane"));
        assert_eq!(who(&own(&[])), None);
    }

    #[test]
    fn wrong_ones_are_refused() {
        let many: BTreeMap<_, _> = (0..=MOST).map(|number| (number.to_string(), String::new())).collect();
        let long = "x".repeat(256);
        for labels in
            [many, own(&[("", "x")]), own(&[("a:b", "x")]), own(&[(&long, "")]), own(&[("a", &long)])]
        {
            let error = Labels::new(labels.clone(), []).unwrap_err();
            assert!(matches!(error, Error::Configuration(_)), "{labels:?}: {error}");
        }
    }

    #[test]
    fn this_process_has_them() {
        let labels: BTreeMap<_, _> = usual().collect();
        assert_eq!(labels["pid"], std::process::id().to_string());
        assert!(labels.contains_key("host") && labels.contains_key("user"));
        assert!(labels["program"].starts_with("throttle_client"), "{labels:?}");
    }
}
