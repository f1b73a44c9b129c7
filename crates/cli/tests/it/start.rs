//! How the process starts, or says why it cannot.

use std::{
    fs,
    net::{TcpListener, TcpStream},
};

use crate::support::{Launch, Server, Terminal, free_port, until};

#[test]
fn a_missing_file_is_no_reason_not_to_serve() {
    let port = free_port();
    let process = Launch::new(&["--port", &port.to_string()]).start();
    let line = process.stderr.line("No semaphores configured.");
    assert!(line.starts_with('['), "{line}");
    assert!(line.ends_with("Z WARN  throttle] No semaphores configured."), "{line}");
    until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let server = Server { process, port };
    server.get("/health").is(200, "Ok");
    let peer = server.peer("5m");
    server.lock(peer, "A", 1).is(400, "Unknown semaphore");
}

#[test]
fn the_file_says_where_to_listen_and_the_command_line_says_it_louder() {
    let (wrong, right) = (free_port(), free_port());
    let file = format!("address = '127.0.0.1'\nport = {wrong}\n[semaphores]\nA = 1\nB = 1");
    let launch = Launch::new(&["--port", &right.to_string(), "--semaphore", "A=7", "--semaphore", "k=v=2"]);
    let server = Server::launch(launch.file(&file).env("THROTTLE_LOG", "info"));
    assert_eq!(server.port, right);
    assert_eq!((server.remainder("A"), server.remainder("B"), server.remainder("k%3Dv")), (7, 1, 2));
    drop(server);
    let launch = Launch::new(&[]).file(&file).env("THROTTLE_PORT", "0").env("THROTTLE_LOG", "info");
    let server = Server::launch(launch);
    assert_ne!(server.port, wrong);
}

#[cfg(unix)]
#[test]
fn on_a_terminal_a_line_says_where_it_listens_at_every_level() {
    for level in ["off", "warn", "info"] {
        let command = ["--port", "0", "--semaphore", "A=1"];
        let command = [&[env!("CARGO_BIN_EXE_throttle")], &command[..]].concat();
        let variables = [("THROTTLE_LOG", level), ("THROTTLE_CONFIGURATION", "/dev/null")];
        let mut terminal = Terminal::open_with(&variables, &command);
        terminal.see("istening on http://127.0.0.1:");
        terminal.see("\r\n");
        terminal.press("\x03");
        assert_eq!(terminal.exit_code(), Some(0));
        assert!(!terminal.rest().contains("istening on"), "it is said once");
    }
    // Elsewhere nothing is said that was not said before.
    let port = free_port();
    let process = Launch::new(&["--port", &port.to_string(), "--semaphore", "A=1"]).start();
    until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let mut server = Server { process, port };
    server.get("/health").is(200, "Ok");
    server.process.signal(rustix::process::Signal::TERM);
    server.process.wait();
    assert_eq!((server.process.stdout.all(), server.process.stderr.all()), (Vec::new(), Vec::new()));
}

#[test]
fn semaphores_without_any_file() {
    let launch = Launch::new(&["--port", "0", "--semaphore", "A=3", "--semaphore", "paused=0"]);
    let server = Server::launch(launch.env("THROTTLE_LOG", "info"));
    server.process.stderr.line("There is no file throttle.toml; the defaults apply.");
    assert_eq!((server.remainder("A"), server.remainder("paused")), (3, 0));
}

#[test]
fn the_configuration_may_be_elsewhere() {
    let launch = Launch::new(&["--port", "0", "-c", "sub/other.toml"]).env("THROTTLE_LOG", "info");
    fs::create_dir(launch.path("sub")).expect("made");
    fs::write(launch.path("sub/other.toml"), "[semaphores]\nA = 9").expect("written");
    assert_eq!(Server::launch(launch).remainder("A"), 9);
}

#[test]
fn the_data_directory_may_come_from_the_environment() {
    let launch = |arguments: &[&str], value: &str| {
        let arguments = [&["--port", "0", "--semaphore", "A=1"], arguments].concat();
        Launch::new(&arguments).env("THROTTLE_DATA_DIR", value).env("THROTTLE_LOG", "info")
    };
    let named = launch(&[], "data");
    let journal = named.path("data").join("journal.db");
    let _server = Server::launch(named);
    assert!(journal.exists());
    // As a container is told that sets one, and is not to use it.
    let empty = launch(&[], "");
    let directory = empty.path("");
    let _server = Server::launch(empty);
    assert_eq!(fs::read_dir(directory).expect("readable").count(), 0);
    let (code, _, stderr) = launch(&["--data-dir", ""], "data").run();
    assert_eq!(code, 2, "{stderr}");
}

#[test]
fn what_the_environment_says_of_a_server_is_nothing_to_the_subcommands() {
    // As Kubernetes has it for every pod beside a Service called `throttle`.
    let kubernetes = ("THROTTLE_PORT", "tcp://10.0.0.1:8000");
    for (name, value) in
        [kubernetes, ("THROTTLE_PORT", "x"), ("THROTTLE_PORT", ""), ("THROTTLE_CONFIGURATION", "")]
    {
        let (code, out, stderr) = Launch::new(&["completions", "bash"]).env(name, value).run();
        assert_eq!((code, out.is_empty()), (0, false), "{name}={value}: {stderr}");
    }
    let served = Launch::new(&["--port", "0", "--semaphore", "A=4"]).env("THROTTLE_LOG", "info");
    assert_eq!(Server::launch(served.env(kubernetes.0, kubernetes.1)).remainder("A"), 4);
    let (code, _, stderr) = Launch::new(&[]).env("THROTTLE_PORT", "x").run();
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("THROTTLE_PORT is \"x\"; allowed: an integer from 0 to 65535"), "{stderr}");
}

#[test]
fn a_file_that_somebody_named_must_be_there() {
    let missing = "no.toml: there is no such file. Make it, or name another with -c (--configuration).";
    for launch in [
        Launch::new(&["--port", "0", "-c", "no.toml"]),
        Launch::new(&["--port", "0", "--semaphore", "A=1", "--configuration=no.toml"]),
        Launch::new(&["--port", "0"]).env("THROTTLE_CONFIGURATION", "no.toml"),
    ] {
        assert_eq!(launch.file("[semaphores]\nA = 1").fails(), missing);
    }
    let line = Launch::new(&["--port", "0", "-c", "throttle.toml"]).fails();
    assert!(
        line.starts_with("throttle.toml: there is no such file."),
        "the name of the default, but named: {line}"
    );
    // One without anything in it is there.
    let launch = Launch::new(&["--port", "0", "-c", "empty.toml", "--semaphore", "A=1"]);
    fs::write(launch.path("empty.toml"), "").expect("written");
    let server = Server::launch(launch.env("THROTTLE_LOG", "info"));
    assert_eq!(server.remainder("A"), 1);
    server.post("/v1/reload", "").shape(200);
}

#[test]
fn a_wrong_file_stops_the_start() {
    for (text, parts) in [
        ("[semaphors]\nA = 1", &["throttle.toml:1: ", "semaphors", "semaphores"][..]),
        ("[semaphores]\nA = 1\nB = { max = 1, levle = 1 }", &["throttle.toml:3: ", "levle", "level"]),
        ("[semaphores]\nA = -1", &["throttle.toml:2: semaphores.A: ", "-1", "from 0 to 9223372036854775807"]),
        ("[semaphores]\nA = 'x'", &["throttle.toml:2: semaphores.A: ", "\"x\"", "allowed"]),
        ("[semaphores\nA = 1", &["throttle.toml:1: not valid TOML"]),
        ("[semaphores]\nA = 1\nA = 2", &["throttle.toml:3: semaphores.A: duplicate key", "line 2"]),
        (
            "[http]\nhosts = ['http://a']",
            &["throttle.toml:2: http.hosts: ", "\"http://a\" as entry 1", "a host name"],
        ),
        ("[limits]\nconnections = 1", &["throttle.toml:2: limits.connections: ", "16"]),
        ("[logging.stderr]\nlevel = 'LOUD'", &["throttle.toml:2: ", "LOUD", "WARN"]),
        ("[logging.gelf]\nname = 'x'", &["throttle.toml:1: logging.gelf.host: missing"]),
        ("litter_collection_interval = 'often'", &["throttle.toml:1: ", "often", "30s"]),
    ] {
        let line = Launch::new(&["--port", "0"]).file(text).fails();
        for part in parts {
            assert!(line.contains(part), "{part:?} is not in {line:?}");
        }
    }
    let line = Launch::new(&["--port", "0"]).file([b'#', b'\n', 0xff]).fails();
    assert!(line.starts_with("throttle.toml:2: not UTF-8"), "{line}");
}

#[test]
fn a_directory_is_no_file() {
    let line = Launch::new(&["--port", "0", "-c", "."]).fails();
    assert_eq!(line, ".: is a directory; name a file with -c (--configuration).");
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt as _;

    let launch = Launch::new(&["--port", "0"]).file("");
    let file = launch.path("throttle.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("changed");
    if fs::read(&file).is_ok() {
        // Who runs this as root may read everything: what is left to try is no file at all.
        drop(launch);
        let line = Launch::new(&["--port", "0", "-c", "/dev/null/throttle.toml"]).fails();
        assert!(line.starts_with("/dev/null/throttle.toml: cannot be read: "), "{line}");
        return;
    }
    assert_eq!(
        launch.fails(),
        "throttle.toml: no permission to read it; let the user of this process read it."
    );
}

#[test]
fn a_port_in_use() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("bound").port();
    let launch = Launch::new(&["--port", &port.to_string(), "--semaphore", "A=1"]);
    let line = launch.fails();
    assert!(line.starts_with(&format!("Cannot listen on 127.0.0.1:{port}: the port is in use.")), "{line}");
    let launch = Launch::new(&["--address", "203.0.113.7", "--port", "0", "--semaphore", "A=1"]);
    let line = launch.fails();
    assert!(line.starts_with("Cannot listen on 203.0.113.7:0: no network interface"), "{line}");
}

#[test]
fn help_and_version() {
    let (code, stdout, stderr) = Launch::new(&["--version"]).run();
    assert_eq!((code, &*stdout, &*stderr), (0, concat!("throttle ", env!("CARGO_PKG_VERSION")), ""));
    let (code, stdout, stderr) = Launch::new(&["--help"]).run();
    assert_eq!((code, &*stderr), (0, ""));
    for part in
        ["--address", "127.0.0.1", "--port", "8000", "-c, --configuration", "--semaphore", "THROTTLE_LOG"]
    {
        assert!(stdout.contains(part), "{part} is not in the help");
    }
}

#[test]
fn a_wrong_command_line() {
    for arguments in [&["--prot", "1"][..], &["--port", "65536"], &["--semaphore", "A=-1"], &["serve"]] {
        let (code, stdout, stderr) = Launch::new(arguments).run();
        assert_eq!((code, &*stdout), (2, ""));
        assert!(stderr.starts_with("error: ") && stderr.contains("--help"), "{stderr}");
    }
}

#[test]
fn an_old_setting_is_accepted_and_explained() {
    let server = Server::start("litter_collection_interval = '5min'\n[semaphores]\nA = 1");
    let line = server.process.stderr.line("litter_collection_interval");
    assert!(line.contains(" INFO  throttle] ") && line.contains("changes nothing"), "{line}");
}

#[cfg(unix)]
#[test]
fn a_signal_right_after_the_start_ends_it_in_order() {
    for _ in 0..5 {
        let lines = Server::start("[semaphores]\nA = 1").stop();
        assert!(lines.last().is_some_and(|line| line.ends_with("Shutdown complete")), "{lines:?}");
    }
}
