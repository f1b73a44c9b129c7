//! Semaphores whose deadlocks are detected.

use crate::support::Server;

#[test]
fn a_request_that_would_wait_for_ever_is_refused_with_the_chain_of_peers() {
    let server = Server::start(
        "[semaphores]\nX = { max = 1, deadlock = 'detect' }\nY = { max = 1, deadlock = 'detect' }",
    );
    let ann = server.holder("X", 1, "5m");
    let bob = server.holder("Y", 1, "5m");
    assert_eq!(server.lock(ann, "Y", 1).status, 202, "levels do not matter here");
    let path = format!("/v1/peers/{bob}/locks");
    let detail = server.put(&path, r#"{"locks": {"X": 1}}"#).problem(409, "deadlock");
    let chain = "this peer waits for \"X\", which is held by peer #2; peer #2 waits for \"Y\", which is held by this peer";
    assert!(detail.contains(chain), "{detail}");
    assert!(!detail.contains(&ann.to_string()), "whoever knows an id can end the peer: {detail}");
    let old = server.lock(bob, "X", 1);
    assert_eq!(old.status, 409);
    assert!(old.text().starts_with("Deadlock"), "{}", old.text());
    server.release(bob, "Y");
    assert_eq!(server.lock(bob, "X", 1).status, 202, "without what the other waits for it is none");
}
