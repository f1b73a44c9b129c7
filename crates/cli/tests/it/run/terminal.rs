use super::SEMAPHORES;
use serde_json::json;

use crate::support::{Server, Terminal, free_port, id};

const THROTTLE: &str = env!("CARGO_BIN_EXE_throttle");

#[test]
fn says_what_it_waits_for_and_wipes_that_out() {
    let server = Server::start(SEMAPHORES);
    let holder = server.holder("A", 1, "1h");
    let mut terminal = Terminal::open(&server, &[THROTTLE, "run", "-s", "A", "--", "echo", "it runs"]);
    terminal.see("throttle run: waiting for A (");
    terminal.see("1s)");
    server.release(holder, "A");
    terminal.see("\r\x1b[Kit runs\r\n");
    assert_eq!(terminal.exit_code(), Some(0));
}

#[test]
fn says_at_which_place_it_waits_and_for_whom_in_one_row() {
    let server = Server::start(SEMAPHORES);
    let labels = json!({"host": "w1", "user": "jane", "program": "import.sh"});
    let body = json!({"locks": {"A": 1}, "expires_in": "1h", "labels": labels});
    let holder = id(&server.post("/v1/locks", &body.to_string()).shape(201));
    let script = |columns: u32| format!("stty rows 24 cols {columns}; exec \"$0\" run -s A -- echo it runs");
    let mut wide = Terminal::open_sized(&server, 120, &["sh", "-c", &script(120), THROTTLE]);
    wide.see(&format!("): held by import.sh jane@w1 (peer {holder}), place 1"));
    let mut narrow = Terminal::open_sized(&server, 60, &["sh", "-c", &script(60), THROTTLE]);
    narrow.until_screen("who it is", |screen| {
        screen.contents().contains("waiting for A (2s): held by import.sh jane@w1")
    });
    let written = narrow.screen_rows();
    assert_eq!(written.iter().filter(|row| !row.is_empty()).count(), 1, "{written:?}");
    server.delete(&format!("/v1/peers/{holder}")).is_empty();
    wide.see("it runs");
    narrow.see("it runs");
}

#[test]
fn who_is_in_the_way_of_several_is_kept_in_an_ordinary_terminal() {
    let server = Server::start(SEMAPHORES);
    let labels =
        json!({"host": "worker-17", "user": "jane", "program": "import.sh", "pid": "4711", "team": "blue"});
    let body = json!({"locks": {"a name": 2}, "expires_in": "1h", "labels": labels});
    server.post("/v1/locks", &body.to_string()).shape(201);
    let script = "stty rows 24 cols 80; exec \"$0\" run -s 'a name' -s B -- echo it runs";
    let mut terminal = Terminal::open(&server, &["sh", "-c", script, THROTTLE]);
    terminal.shows(&["s, \"a name\" held by import.sh jane@worker-17"]);
    let mut peers = Terminal::open(&server, &["sh", "-c", "stty rows 24 cols 80; \"$0\" peers", THROTTLE]);
    peers.shows(&["import.sh jane@worker-17", "a name=2"]);
    assert!(peers.screen_rows().iter().all(|row| row.chars().count() <= 80 && !row.contains("4711 team")));
}

#[test]
fn a_server_out_of_reach_is_told_with_the_time_for_which_it_is_tried() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let mut terminal =
        Terminal::open_with(&[("THROTTLE_URL", &url)], &[THROTTLE, "run", "-s", "A", "--", "true"]);
    terminal.see(&format!(
        "throttle run: no connection to the server at {url}: connection refused. It is tried again"
    ));
    terminal.see(" and again, for 1m ");
    terminal.see("waiting for A (");
    terminal.see("s): trying again, for 1m ");
    terminal.press("\x03");
    assert_eq!(terminal.exit_code(), Some(130));
    // To take over what another one left is no other matter.
    let mut terminal =
        Terminal::open_with(&[("THROTTLE_URL", &url)], &[THROTTLE, "run", "--peer", "7", "true"]);
    terminal.see(&format!(
        "throttle run: no connection to the server at {url}: connection refused. It is tried again"
    ));
    terminal.see("waiting for peer 7 (");
    terminal.press("\x03");
    assert_eq!(terminal.exit_code(), Some(130));
}

#[test]
fn ctrl_c_ends_the_wait() {
    let server = Server::start(SEMAPHORES);
    server.holder("A", 1, "1h");
    let mut terminal = Terminal::open(&server, &[THROTTLE, "run", "-s", "A", "--", "echo", "it runs"]);
    terminal.see("waiting for A");
    terminal.press("\x03");
    assert_eq!(terminal.exit_code(), Some(130));
    server.until_waiting("A", 0);
}

#[test]
fn the_command_reads_from_the_terminal_and_gets_ctrl_c() {
    let server = Server::start(SEMAPHORES);
    let script = "trap 'echo interrupted; exit 9' INT; echo ready; read x; echo got $x; read x";
    let mut terminal = Terminal::open(&server, &[THROTTLE, "run", "-s", "A", "--", "sh", "-c", script]);
    terminal.see("ready");
    terminal.press("hello\n");
    terminal.see("got hello");
    terminal.press("\x03");
    terminal.see("interrupted");
    assert_eq!(terminal.exit_code(), Some(9));
}

#[test]
fn the_command_is_in_front_from_its_start() {
    let server = Server::start(SEMAPHORES);
    let look = "import os; print('in front', os.tcgetpgrp(0) == os.getpgrp() != os.getpgid(os.getppid()))";
    let mut terminal = Terminal::open(&server, &[THROTTLE, "run", "-s", "A", "--", "python3", "-c", look]);
    terminal.see("in front True");
    assert_eq!(terminal.exit_code(), Some(0));
}

#[test]
fn ctrl_z_suspends_both_and_the_shell_continues_them() {
    let server = Server::start(SEMAPHORES);
    let mut terminal = Terminal::open(&server, &["bash", "--norc", "--noprofile", "-i"]);
    // What is typed comes back, so it must not look like what is waited for.
    let script = "echo rea''dy; read x; echo go''t $x";
    terminal
        .press(&format!("{THROTTLE} run -s A -- sh -c \"{script}\"\n", script = script.replace('$', "\\$")));
    terminal.see("ready");
    terminal.press("\x1a");
    terminal.see("Stopped");
    assert_eq!(server.remainder("A"), 0, "still held");
    terminal.press("fg\n");
    terminal.see("fg\r\n");
    terminal.see("run -s A");
    terminal.press("hello\n");
    terminal.see("got hello");
    terminal.press("exit $?\n");
    assert_eq!(terminal.exit_code(), Some(0));
}

#[test]
fn a_lock_that_was_lost_while_suspended_is_not_worked_under() {
    let server = Server::start(SEMAPHORES);
    let mut terminal = Terminal::open(&server, &["bash", "--norc", "--noprofile", "-i"]);
    let script = "echo rea''dy; read x; echo go''t $x";
    terminal.press(&format!(
        "{THROTTLE} run -s A --ttl 1s -- sh -c \"{script}\"\n",
        script = script.replace('$', "\\$")
    ));
    terminal.see("ready");
    terminal.press("\x1a");
    terminal.see("Stopped");
    let other = server.peer("1h");
    assert_eq!(server.send("PUT", &format!("/peers/{other}/A?block_for=1h"), "1").answer().status, 200);
    terminal.press("fg\n");
    terminal.see("throttle run: lost the lock");
    terminal.press("echo code $?\n");
    terminal.see("code 76");
    terminal.press("exit\n");
}
