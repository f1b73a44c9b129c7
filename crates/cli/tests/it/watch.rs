//! `throttle status --watch`, by the keys and the screen of a terminal.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{Launch, Proxy, Server, Terminal, free_port, id};

const FILE: &str = "[semaphores]\nA = 1\nB = 5\n[expiry]\nmargin = '0s'";

/// Watches in an ordinary terminal, and tells how it ended and how it left the terminal.
const WATCH: &str = "stty rows 24 cols 80; sh -c 'echo pid $$; exec \"$0\" status --watch' \"$0\"; \
                     echo code $?; stty -a | grep -o -- '-*icanon'; stty -a | grep -o -- '-*echo '";

fn watch_at(port: u16, variables: &[(&str, &str)]) -> Terminal {
    let url = format!("http://127.0.0.1:{port}");
    let variables = [&[("THROTTLE_URL", url.as_str()), ("USER", "jane")], variables].concat();
    Terminal::open_with(&variables, &["sh", "-c", WATCH, env!("CARGO_BIN_EXE_throttle")])
}

fn watch(server: &Server) -> Terminal {
    watch_at(server.port, &[])
}

/// It has ended well, and the terminal is as it was before.
fn has_ended(terminal: &mut Terminal) {
    terminal.see("\x1b[?1049l");
    terminal.see("code 0\r\n");
    terminal.see("icanon\r\n");
    terminal.see("echo \r\n");
    assert_eq!(terminal.exit_code(), Some(0));
}

/// A new peer with labels that has asked for A.
fn peer(server: &Server, host: &str, status: u16) -> String {
    let labels = json!({"host": host, "program": "import.sh"});
    let body = json!({"locks": {"A": 1}, "expires_in": "10m", "labels": labels});
    id(&server.post("/v1/locks", &body.to_string()).shape(status))
}

#[test]
fn the_head_of_a_queue_waits_for_another_semaphore() {
    let server = Server::start(FILE);
    peer(&server, "w1", 201);
    let labels = json!({"host": "w2", "user": "jane", "program": "train.py"});
    let both = json!({"locks": {"A": 1, "B": 2}, "expires_in": "10m", "labels": labels});
    let first = id(&server.post("/v1/locks", &both.to_string()).shape(202));
    let mut terminal = watch(&server);
    terminal.shows(&["SEMAPHORE"]);
    terminal.press("/b\r\r");
    terminal.shows(&["The first waits for 1 of A: import.sh @w1 holds it."]);
    // Who it is comes first, and the rest has room for it in an ordinary terminal.
    terminal.shows(&[&format!("1     train.py jane@w2          {first}")]);
    terminal.press("q");
    has_ended(&mut terminal);
}

#[test]
fn an_absent_waiter_is_marked() {
    let server = Server::start("[semaphores]\nA = 1\n[queue]\nabsent_after = '0s'");
    peer(&server, "w1", 201);
    let body = json!({"locks": {"A": 1}, "expires_in": "10m", "wait": "1ms"});
    server.post("/v1/locks", &body.to_string()).shape(202);
    let mut terminal = watch(&server);
    terminal.shows(&["SEMAPHORE"]);
    terminal.press("\r");
    terminal.shows(&["QUEUE: 1", "absent"]);
    terminal.press("q");
    has_ended(&mut terminal);
}

#[test]
fn a_stuck_holder_is_found_and_released() {
    let server = Server::start(FILE);
    let stuck = peer(&server, "w1", 201);
    let (first, second) = (peer(&server, "w2", 202), peer(&server, "w3", 202));
    let mut terminal = watch(&server);
    terminal.shows(&["SEMAPHORE", "1/1       2       2", "0/5", "1 waited for"]);
    terminal.press("\r");
    terminal.shows(&["HOLDERS: 1", &stuck, "@w1", "QUEUE: 2", &first, "@w2", &second, "@w3"]);
    terminal.press("r");
    terminal.shows(&[&format!("Why is import.sh @w1 (peer {stuck})"), "> throttle status --watch, by jane"]);
    terminal.press("\x7f\x7f\x7f\x7fjoe\r");
    terminal.shows(&[&format!("Release import.sh @w1 (peer {stuck})?"), "It loses 1 of \"A\"", "y yes"]);
    assert!(server.get(&format!("/v1/peers/{stuck}")).status == 200, "not before it is answered");
    terminal.press("y");
    terminal.shows(&[&format!("Peer {stuck} is released."), "HOLDERS: 1", "QUEUE: 1"]);
    terminal.until_screen("the first has it", |screen| {
        let contents = screen.contents();
        let (holders, queue) = contents.split_once("QUEUE").unwrap_or_default();
        holders.contains(&first) && queue.contains(&second) && !contents.contains("@w1")
    });
    let detail = server.get(&format!("/v1/peers/{stuck}")).problem(410, "peer_gone");
    assert!(detail.contains("throttle status --watch, by joe"), "{detail}");
    // What happens elsewhere is seen, too.
    server.delete(&format!("/v1/peers/{first}")).is_empty();
    terminal.shows(&["QUEUE: 0"]);
    terminal.press("q");
    has_ended(&mut terminal);
}

#[test]
fn a_semaphore_is_paused_and_resized() {
    let server = Server::start(FILE);
    let mut terminal = watch(&server);
    let max = || server.get("/v1/semaphores/B").shape(200)["max"].clone();
    terminal.shows(&["0/5"]);
    terminal.press("/b\rp");
    terminal.shows(&["Pause \"B\"?"]);
    terminal.press("n");
    terminal.press("p");
    terminal.shows(&["Pause \"B\"?"]);
    assert_eq!(max(), 5);
    terminal.press("y");
    terminal.shows(&["\"B\" is paused.", "0 held, PAUSED"]);
    assert_eq!(max(), 0);
    // Any other key wipes out what was told, and shows the keys again.
    terminal.press("j");
    terminal.shows(&["p resume"]);
    terminal.press("p");
    terminal.shows(&["What is the full count of \"B\" to be? Before the pause it was 5.", "> 5"]);
    terminal.press("\x7f7\r");
    terminal.shows(&["Set the full count of \"B\" from 0 to 7?"]);
    terminal.press("y");
    terminal.shows(&["The full count of \"B\" is 7.", "0 of 7 held"]);
    assert_eq!(max(), 7);
    // A refusal is told.
    terminal.press("m");
    terminal.shows(&["What is the full count"]);
    terminal.press("9\r");
    terminal.shows(&["from 7 to 9?"]);
    server.delete("/v1/semaphores/B").is_empty();
    terminal.press("y");
    terminal.shows(&["No semaphore is called \"B\""]);
    terminal.press("q");
    has_ended(&mut terminal);
}

#[test]
fn a_restart_of_the_server_is_told_and_survived() {
    let port = free_port();
    let launch =
        || Server::launch(Launch::new(&["--port", &port.to_string()]).file(FILE).env("THROTTLE_LOG", "info"));
    let server = launch();
    peer(&server, "w1", 201);
    let mut terminal = watch(&server);
    terminal.shows(&["1/1"]);
    terminal.press("\r");
    terminal.shows(&["HOLDERS: 1", "@w1"]);
    drop(server);
    terminal.shows(&["NO CONNECTION for", "trying again; what is below is old", "@w1"]);
    let server = launch();
    terminal.until_screen("it is connected again", |screen| {
        let contents = screen.contents();
        !contents.contains("NO CONNECTION") && contents.contains("HOLDERS: 0")
    });
    peer(&server, "w9", 201);
    terminal.shows(&["HOLDERS: 1", "@w9"]);
    terminal.press("q");
    has_ended(&mut terminal);
}

#[test]
fn a_dead_line_holds_up_no_key() {
    let server = Server::start(FILE);
    let proxy = Proxy::to(server.port);
    let mut terminal = watch_at(proxy.port, &[]);
    terminal.shows(&["SEMAPHORE"]);
    proxy.cut();
    terminal.press("\r");
    terminal.shows(&["Asking the server"]);
    terminal.press("?");
    terminal.shows(&["any key closes this"]);
    terminal.press("x");
    terminal.shows(&["NO CONNECTION for"]);
    terminal.press("q");
    has_ended(&mut terminal);
}

#[test]
fn without_events_it_is_live_all_the_same() {
    let server = Server::start(&format!("{FILE}\n[limits]\nevent_streams = 0"));
    let mut terminal = watch(&server);
    terminal.shows(&["0/1"]);
    let holder = server.v1_holder(&json!({"A": 1}));
    terminal.shows(&["1/1"]);
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    terminal.shows(&["0/1"]);
}

#[test]
fn signals_give_the_terminal_back() {
    let server = Server::start(FILE);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut terminal = watch(&server);
        terminal.see("pid ");
        terminal.shows(&["SEMAPHORE"]);
        let pid = terminal.number_seen();
        kill_process(pid.and_then(Pid::from_raw).expect("a process id"), signal).expect("it runs");
        has_ended(&mut terminal);
    }
    let mut terminal = watch(&server);
    terminal.shows(&["SEMAPHORE"]);
    terminal.press("\x03");
    has_ended(&mut terminal);
}

#[test]
fn colours_are_left_out_if_nobody_wants_them() {
    let server = Server::start(FILE);
    for peer in [7, 8] {
        let body = format!(r#"{{"expires_in":"10m","peer_id":{peer},"acquired":{{"A":1}}}}"#);
        server.post("/restore", &body).is(200, "Ok");
    }
    let is_coloured = |screen: &vt100::Screen| {
        let cells = (0..24).flat_map(|row| (0..80).filter_map(move |column| screen.cell(row, column)));
        cells.into_iter().any(|cell| cell.fgcolor() != vt100::Color::Default)
    };
    for (variables, expected) in
        [(&[] as &[_], true), (&[("NO_COLOR", "")], true), (&[("NO_COLOR", "1")], false)]
    {
        let mut terminal = watch_at(server.port, variables);
        terminal.until_screen("all is drawn", |screen| {
            let contents = screen.contents();
            contents.contains("over 1") && contents.contains("q quit") && is_coloured(screen) == expected
        });
    }
}

#[test]
fn a_terminal_that_can_only_write_lines_gets_lines() {
    let server = Server::start(FILE);
    let mut terminal = watch_at(server.port, &[("TERM", "dumb")]);
    terminal.see("SEMAPHORE  ACQUIRED");
    terminal.see("A          0/1");
    server.v1_holder(&json!({"A": 1}));
    terminal.see("A          1/1");
}

#[test]
fn a_name_that_is_unknown_is_told_as_by_other_commands() {
    let server = Server::start("[semaphores]\nimport = 1");
    let script = "\"$0\" status --watch imports; echo code $?";
    let mut terminal = Terminal::open(&server, &["sh", "-c", script, env!("CARGO_BIN_EXE_throttle")]);
    terminal.see("No semaphore is called \"imports\". Known names that are near: \"import\".");
    terminal.see("code 1");
}

#[test]
fn a_name_that_has_no_room_ends_with_an_ellipsis() {
    let name = "a/rather/long/name/for/a/semaphore";
    let server = Server::start(&format!("[semaphores]\nA = 1\n'{name}' = 1"));
    let mut terminal = watch(&server);
    terminal.shows(&["2 semaphores,", "a/rather/long/name/f… "]);
}

#[test]
fn a_server_out_of_reach_is_told_as_by_other_commands() {
    let mut terminal = watch_at(free_port(), &[]);
    terminal.see("no connection to the server");
    terminal.see("code 69");
}
