//! The subcommands that need no server.

use std::fs;

use crate::support::Launch;

#[test]
fn check_says_what_a_right_file_would_serve() {
    let file = "port = 9000\n[semaphores]\nA = 42\nB = { max = 1, level = 1 }";
    let (code, stdout, stderr) = Launch::new(&["check"]).file(file).run();
    assert_eq!((code, &*stderr), (0, ""));
    let expected = "throttle.toml is right.\nIt would listen on 127.0.0.1, port 9000, and serve:\n  \
                    A  max 42\n  B  max 1, level 1";
    assert_eq!(stdout, expected);
}

#[test]
fn check_takes_the_file_from_the_command_line_or_the_environment() {
    for launch in [
        Launch::new(&["check", "-c", "other.toml"]),
        Launch::new(&["check", "--configuration", "other.toml"]),
        Launch::new(&["check", "other.toml"]),
        Launch::new(&["check", "other.toml"]).env("THROTTLE_CONFIGURATION", "no.toml"),
        Launch::new(&["check"]).env("THROTTLE_CONFIGURATION", "other.toml"),
    ] {
        // What nobody named is not looked at.
        let launch = launch.file("wrong");
        fs::write(launch.path("other.toml"), "[semaphores]\nC = 3").expect("written");
        let (code, stdout, _) = launch.run();
        assert_eq!(code, 0);
        assert!(stdout.starts_with("other.toml is right.\n") && stdout.contains("C  max 3"), "{stdout}");
    }
}

#[test]
fn check_says_in_one_line_what_is_wrong() {
    for (text, place, found) in [
        (
            "[semaphores]\nA = 1\nB = { max = 1, level = 'x' }",
            "throttle.toml:3: semaphores.B.level: ",
            "\"x\"",
        ),
        ("[semaphores]\nA = -1", "throttle.toml:2: semaphores.A: ", "-1"),
        ("[semaphores]\nA = 1\n[expiry]\nmargn = '1s'", "throttle.toml:4: ", "margn"),
        ("[semaphores\nA = 1", "throttle.toml:1: ", "not valid TOML"),
    ] {
        let line = Launch::new(&["check"]).file(text).fails();
        assert!(line.starts_with(place), "{line:?} does not start with {place:?}");
        assert!(line.contains(found), "{found:?} is not in {line:?}");
    }
}

#[test]
fn check_reads_the_files_that_are_named() {
    let file = "[semaphores]\nA = 1\n[security]\ntokens = \"tokens.toml\"\n";
    let launch = Launch::new(&["check"]).file(file);
    fs::write(launch.path("tokens.toml"), "[[identity]]\nname = \"a\"\nallow = [\"write\"]\n")
        .expect("written");
    let line = launch.fails();
    assert!(line.starts_with("tokens.toml:1: identity \"a\": \"write\" is no right; allowed: "), "{line}");
    let line = Launch::new(&["check"]).file(file).fails();
    assert!(line.starts_with("tokens.toml: cannot be read: "), "{line}");
    let line =
        Launch::new(&["check"]).file("semaphores.A = 1\ntls = { cert = \"a\", key = \"b\" }\n").fails();
    assert!(line.starts_with("a: holds no certificate: "), "{line}");
}

#[test]
fn check_insists_on_a_file() {
    let line = Launch::new(&["check"]).fails();
    assert!(line.starts_with("throttle.toml: there is no such file."), "{line}");
    let line = Launch::new(&["check", "-c", "other.toml"]).file("").fails();
    assert!(line.starts_with("other.toml: there is no such file."), "{line}");
}

#[test]
fn completions_for_every_shell_know_the_subcommands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, stderr) = Launch::new(&["completions", shell]).run();
        assert_eq!((code, &*stderr), (0, ""), "{shell}");
        for part in ["throttle", "check", "completions", "configuration", "health"] {
            assert!(script.contains(part), "{part} is not in the script for {shell}:\n{script}");
        }
    }
    let (code, stdout, stderr) = Launch::new(&["completions", "tcsh"]).run();
    assert_eq!((code, &*stdout), (2, ""));
    assert!(stderr.contains("tcsh") && stderr.contains("possible values: bash,"), "{stderr}");
}

#[cfg(unix)]
#[test]
fn bash_completes_with_the_script() {
    use std::process::{Command, Output};

    let (_, script, _) = Launch::new(&["completions", "bash"]).run();
    let bash = |option: &str, text: &str| -> Output {
        Command::new("bash").args(["--norc", option, "-c", text]).output().expect("bash runs")
    };
    let read = bash("-n", &script);
    assert!(read.status.success() && read.stderr.is_empty(), "{read:?}");
    let asked =
        "COMP_WORDS=(throttle che); COMP_CWORD=1; _throttle throttle che throttle; echo \"${COMPREPLY[@]}\"";
    let completed = bash("-u", &format!("{script}\n{asked}"));
    assert_eq!(String::from_utf8_lossy(&completed.stdout), "check\n", "{completed:?}");
}
