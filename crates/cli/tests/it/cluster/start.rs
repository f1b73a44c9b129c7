//! What the configuration may say.

use serde_json::json;

use super::{Cluster, Plan};
use crate::support::Launch;

fn refused(text: &str) -> String {
    Launch::new(&["--port", "0"]).file(text).fails()
}

#[test]
fn a_wrong_section_is_refused_with_its_line() {
    let whole = "[cluster]\nendpoints = [\"http://127.0.0.1:1\"]\nadvertise = \"http://127.0.0.1:8000\"\n";
    for (text, line, part) in [
        ("[cluster]\nadvertise = \"http://a:1\"\n", 1, "cluster.endpoints: missing"),
        ("[cluster]\nendpoints = []\nadvertise = \"http://a:1\"\n", 1, "cluster.endpoints: missing"),
        ("[cluster]\nendpoints = [\"a:1\"]\n", 2, "cluster.endpoints: found string \"a:1\" as entry 1"),
        ("[cluster]\nendpoints = [\"http://a:1\"]\n", 1, "cluster.advertise: missing"),
        ("[cluster]\nendpoints = [\"http://a:1\"]\nadvertise = \"a:1\"\n", 1, "cluster.advertise: missing"),
        (&format!("{whole}lease = \"1s\"\n"), 4, "cluster.lease: found string \"1s\""),
        (&format!("{whole}cert = \"a\"\n"), 1, "cluster.key: missing"),
        (&format!("{whole}password_file = \"a\"\n"), 1, "cluster.username: missing"),
        (&format!("{whole}leese = \"5s\"\n"), 4, "did you mean \"lease\"?"),
        (&format!("{whole}[durability]\ndata_dir = \"d\"\n"), 1, "remove one of them"),
    ] {
        let error = refused(text);
        assert!(error.contains(&format!("line {line}")) || error.contains(&format!(":{line}")), "{error}");
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_server_waits_for_etcd_and_stops_when_it_is_asked() {
    let text = "[cluster]\nendpoints = [\"http://127.0.0.1:1\"]\nadvertise = \"http://127.0.0.1:8000\"\n";
    let mut process = Launch::new(&["--port", "0"]).file(text).start();
    let line = process.stderr.line("The server waits for etcd");
    assert!(line.contains("http://127.0.0.1:1: "), "{line}");
    process.signal(rustix::process::Signal::TERM);
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn a_server_with_another_file_changes_nothing_by_itself() {
    let mut cluster = Cluster::plan(&Plan { servers: 2, ..Plan::default() });
    let (leader, standby) = (cluster.leader(), cluster.standbys()[0]);
    drop(cluster.take(standby));
    cluster.launches[standby].1 = cluster.launches[standby].1.replace("A = 2", "A = 5\nC = 1");
    cluster.restart(standby);
    drop(cluster.take(leader));
    assert_eq!(cluster.leader(), standby);
    let server = cluster.server(standby);
    let line = server.process.stderr.line("declares other semaphores than the cluster has");
    assert!(line.contains("Not there: \"C\"; different: \"A\"; only there: none"), "{line}");
    assert_eq!(server.get("/v1/semaphores/A").shape(200)["max"], 2);
    // Who reloads it means it.
    let reloaded = server.post("/v1/reload", "").shape(200);
    assert_eq!(reloaded["added"]["C"]["max"], json!(1), "{reloaded}");
    assert_eq!(server.get("/v1/semaphores/A").shape(200)["max"], 5);
}
