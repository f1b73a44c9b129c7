//! Rotation under load: tokens are replaced while clients work, and no request is refused.

use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use serde_json::json;
use throttle_service::security::token::Hash;

use super::{Secured, make};
use crate::support::{id, until};

/// How often the token changes, and how many requests are answered before it does so again.
const TOKENS: usize = 4;
const REQUESTS: usize = 200;

#[test]
fn a_token_is_replaced_under_load_without_a_refusal() {
    let secured = Secured::start(&[("etl", &["acquire", "read"])]);
    let peer = secured.holder("etl", &json!({"etl/a": 1}));
    let current = Mutex::new(secured.tokens["etl"].clone());
    let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ask = |token: &str| {
        let head = format!("authorization: Bearer {token}\r\n");
        secured.server.ask_with("POST", &format!("/v1/peers/{peer}/heartbeat"), &head, "").status
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut refused = 0;
                    while !is_over.load(SeqCst) {
                        // As a client does it: with the token that its file has now.
                        let token = current.lock().expect("no panic").clone();
                        refused += usize::from(ask(&token) != 200);
                        answered.fetch_add(1, SeqCst);
                    }
                    refused
                })
            })
            .collect();
        let file = secured.directory.join("tokens.toml");
        for _ in 0..TOKENS {
            let old = current.lock().expect("no panic").clone();
            // The new one is added, and counts; clients get it; then the old one goes.
            let new = make(&secured.directory, "etl", &[]);
            until("the new token counts", || ask(&new) == 200);
            new.clone_into(&mut current.lock().expect("no panic"));
            let before = answered.load(SeqCst);
            until("clients work on", || answered.load(SeqCst) >= before + REQUESTS);
            let text = format!(
                "[[token]]\nidentity = \"etl\"\nhash = \"{}\"\n[[identity]]\nname = \"etl\"\nallow = [\"acquire\", \
                 \"read\"]\n",
                Hash::of(&new)
            );
            fs::write(file.with_extension("new"), text).expect("writable");
            fs::rename(file.with_extension("new"), &file).expect("movable");
            until("the old token counts no more", || ask(&old) == 401);
        }
        is_over.store(true, SeqCst);
        let refused: usize = workers.into_iter().map(|worker| worker.join().expect("no panic")).sum();
        assert_eq!(refused, 0, "of {} requests", answered.load(SeqCst));
    });
    // The lock was held all the while.
    let session = json!({"expires_in": "1m", "locks": {"etl/a": 1}});
    let head = format!("authorization: Bearer {}\r\n", current.lock().expect("no panic"));
    let second = secured.server.ask_with("POST", "/v1/locks", &head, &session.to_string()).shape(202);
    assert_ne!(id(&second), peer);
}
