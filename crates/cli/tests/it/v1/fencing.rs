//! A zombie: a writer that goes on after its lease is over. What `docs/fencing.md` says keeps it out.

use serde_json::json;

use crate::support::{Server, id, until};

/// A resource with one writer at a time: it knows the highest token that it has seen.
#[derive(Default)]
struct Exclusive {
    highest: u64,
    writes: Vec<&'static str>,
}

impl Exclusive {
    fn write(&mut self, token: &str, what: &'static str) -> bool {
        let token = token.parse().expect("a number");
        let is_fresh = token >= self.highest;
        if is_fresh {
            self.highest = token;
            self.writes.push(what);
        }
        is_fresh
    }
}

/// A resource with several writers: it asks the server.
struct Shared<'a> {
    server: &'a Server,
    writes: Vec<&'static str>,
}

impl Shared<'_> {
    fn write(&mut self, token: &str, what: &'static str) -> bool {
        let is_live = self.server.get(&format!("/v1/semaphores/pool/tokens/{token}")).status == 200;
        if is_live {
            self.writes.push(what);
        }
        is_live
    }
}

/// A new peer with a lock: its id and its token.
fn writer(server: &Server, semaphore: &str, expires_in: &str) -> (String, String) {
    let body = json!({"locks": {semaphore: 1}, "expires_in": expires_in, "wait": "30s"});
    let peer = server.post("/v1/locks", &body.to_string()).shape(201);
    let token = peer["locks"][0]["token"].as_str().expect("a token").to_owned();
    (id(&peer), token)
}

fn until_gone(server: &Server, peer: &str) {
    until("the lease is over", || server.get(&format!("/v1/peers/{peer}")).status == 410);
}

#[test]
fn the_highest_token_keeps_a_zombie_out_where_max_is_one() {
    let server = Server::start("[semaphores]\nnightly = 1");
    let mut resource = Exclusive::default();
    let (_, old) = writer(&server, "nightly", "100ms");
    assert!(resource.write(&old, "first"));
    // It waits until the lease of the other is over.
    let (_, new) = writer(&server, "nightly", "5m");
    assert!(resource.write(&new, "second"));
    assert!(!resource.write(&old, "zombie"));
    assert_eq!(resource.writes, ["first", "second"]);
}

#[test]
fn asking_keeps_a_zombie_out_where_max_is_above_one() {
    let server = Server::start("[semaphores]\npool = 2");
    let mut resource = Shared { server: &server, writes: Vec::new() };
    let (_, early) = writer(&server, "pool", "5m");
    let (mortal, old) = writer(&server, "pool", "100ms");
    assert!(resource.write(&old, "first"));
    until_gone(&server, &mortal);
    let (released, new) = writer(&server, "pool", "5m");
    assert!(resource.write(&new, "second"));
    assert!(resource.write(&early, "third"), "a smaller token is no zombie here");
    assert!(!resource.write(&old, "zombie"));
    server.delete(&format!("/v1/peers/{released}?reason=stuck")).is(204, "");
    assert!(!resource.write(&new, "released by an operator"));
    assert_eq!(resource.writes, ["first", "second", "third"]);
}
