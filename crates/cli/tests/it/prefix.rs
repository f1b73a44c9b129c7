//! The commands, where a proxy serves the server below a path.

use crate::{
    run::gateway::{Gateway, Rules},
    support::{Launch, Server, Terminal},
};

const WATCH: &str = "stty rows 24 cols 80; exec \"$0\" status --watch";

/// The server, and its address by way of the proxy, with and without the slash at its end.
fn start() -> (Server, [String; 2]) {
    let server = Server::start("[semaphores]\nA = 1");
    let gateway = Gateway::new(server.port, Rules { below: "/team/throttle", ..Rules::default() });
    let url = format!("{}/team/throttle", gateway.url());
    (server, [format!("{url}/"), url])
}

#[test]
fn every_command_keeps_the_path_of_the_url() {
    let (server, urls) = start();
    for url in urls {
        let holder = server.holder("A", 1, "5m").to_string();
        let script = "echo $THROTTLE_FENCING_TOKEN";
        for (arguments, expected) in [
            (&["status"] as &[&str], "A          1/1"),
            (&["status", "A"], "A          1/1"),
            (&["peers"], &holder),
            (&["release", &holder, "--reason", "stuck"], &holder),
            (&["semaphore", "set", "B", "--max", "3"], "B"),
            (&["semaphore", "rm", "B"], "B"),
            (&["reload"], "none"),
            (&["resume"], ""),
            (&["run", "-s", "A", "--", "sh", "-c", script], "1"),
        ] {
            let option = ["--url", &url];
            let at = arguments.iter().position(|&argument| argument == "--").unwrap_or(arguments.len());
            let all = [&arguments[..at], &option, &arguments[at..]].concat();
            let (code, stdout, stderr) = Launch::new(&all).run();
            assert_eq!((code, stderr.as_str()), (0, ""), "{all:?}: {stdout}");
            assert!(stdout.contains(expected), "{all:?}: {stdout}");
        }
        assert_eq!(server.remainder("A"), 1);
    }
}

#[test]
fn watch_keeps_the_path_of_the_url() {
    let (server, urls) = start();
    for url in urls {
        let holder = server.holder("A", 1, "5m").to_string();
        let command = ["sh", "-c", WATCH, env!("CARGO_BIN_EXE_throttle")];
        let mut terminal = Terminal::open_with(&[("THROTTLE_URL", &url)], &command);
        terminal.shows(&["SEMAPHORE", "1/1"]);
        terminal.press("\r");
        terminal.shows(&["HOLDERS: 1", &holder]);
        terminal.press("r");
        terminal.shows(&["Why is peer"]);
        terminal.press("\r");
        terminal.shows(&["Release peer", "y yes"]);
        terminal.press("y");
        terminal.shows(&["HOLDERS: 0"]);
        terminal.press("q");
        assert_eq!(terminal.exit_code(), Some(0));
    }
}

#[test]
fn the_address_of_a_new_peer_is_relative() {
    let (server, urls) = start();
    let made = server.post("/v1/peers", r#"{"expires_in":"5m"}"#);
    let location = made.header("location").expect("an address").to_owned();
    let peer = made.shape(201)["id"].as_str().expect("an id").to_owned();
    let url = reqwest::Url::parse(&urls[1]).expect("a URL");
    let there = url.join("throttle/v1/peers").and_then(|url| url.join(&location)).expect("an address");
    assert_eq!(there.path(), format!("/team/throttle/v1/peers/{peer}"));
}
