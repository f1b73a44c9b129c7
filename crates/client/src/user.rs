//! The user of this process.

use std::env;

/// The name of the user of this process, as labels tell it: `USER`, else `LOGNAME`, else what the system calls the
/// user, else its number. On Windows it is `USERNAME`, or nothing.
pub fn user() -> String {
    user_of(|name| env::var(name).ok())
}

#[cfg(unix)]
fn user_of(variable: impl Fn(&str) -> Option<String>) -> String {
    let named =
        ["USER", "LOGNAME"].into_iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
    named.unwrap_or_else(|| {
        let number = rustix::process::getuid().as_raw();
        // In a container there is often no name, but always a number.
        system_name(number).unwrap_or_else(|| number.to_string())
    })
}

#[cfg(not(unix))]
fn user_of(variable: impl Fn(&str) -> Option<String>) -> String {
    variable("USERNAME").unwrap_or_default()
}

/// What the system calls the user with this number.
#[cfg(unix)]
fn system_name(number: libc::uid_t) -> Option<String> {
    use std::{ffi::CStr, mem::MaybeUninit, ptr};

    /// More than any entry has.
    const ROOM: usize = 64 << 10;
    let mut room = vec![0; ROOM];
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let mut found = ptr::null_mut();
    // SAFETY: all four point to memory of ours, of which the length is told, and which outlives what is found in it.
    unsafe { libc::getpwuid_r(number, entry.as_mut_ptr(), room.as_mut_ptr(), room.len(), &raw mut found) };
    if found.is_null() {
        return None;
    }
    // SAFETY: it is not null, so the entry is filled, and its name ends with a zero within `room`.
    let name = unsafe { CStr::from_ptr((*found).pw_name) };
    Some(name.to_string_lossy().into_owned()).filter(|name| !name.is_empty())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> String {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        user_of(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_environment_comes_first_and_then_the_system() {
        assert_eq!(with(&[("USER", "jane"), ("LOGNAME", "joe")]), "jane");
        assert_eq!(with(&[("USER", ""), ("LOGNAME", "joe")]), "joe");
        let id = std::process::Command::new("id").arg("-un").output().unwrap();
        let name = String::from_utf8(id.stdout).unwrap();
        assert_eq!(with(&[("USERNAME", "no")]), name.trim());
    }

    #[test]
    fn one_without_a_name_has_a_number() {
        assert_eq!(system_name(0).as_deref(), Some("root"));
        assert_eq!(system_name(2_147_000_000), None);
    }
}
