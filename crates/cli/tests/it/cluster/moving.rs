//! From a data directory into a cluster, and back.

use serde_json::json;

use super::{Cluster, Plan};
use crate::support::{Launch, Server};

#[test]
fn what_a_directory_has_goes_into_a_cluster_and_back() {
    let single = |directory: &str| {
        let launch =
            Launch::new(&["--port", "0", "--data-dir", directory]).file("[semaphores]\nA = 2\nB = 1\n");
        Server::launch(launch.env("THROTTLE_LOG", "info"))
    };
    let place = Launch::new(&[]);
    let [before, after] = ["before", "after"].map(|name| place.path(name).display().to_string());
    let server = single(&before);
    let holder = server.v1_holder(&json!({"B": 1}));
    let waiter = server.v1_peer("10m");
    server.v1_locks(&waiter, &json!({"B": 1})).shape(202);
    let instance = server.get("/livez").header("throttle-instance").map(str::to_owned);
    let seen = |server: &Server| {
        let seen = server.get("/v1/semaphores/B").shape(200);
        (
            seen["holders"][0]["peer"].clone(),
            seen["holders"][0]["token"].clone(),
            seen["queue"][0]["peer"].clone(),
        )
    };
    let expected = seen(&server);
    assert_eq!(expected.0, json!(holder));
    let mut cluster = Cluster::stopped(&Plan { servers: 2, ..Plan::default() });
    let import = |cluster: &Cluster| {
        Launch::new(&["cluster", "import", "--data-dir", &before]).file(&cluster.launches[0].1)
    };
    // Not while a server uses it.
    assert!(import(&cluster).fails().contains("another process uses it"));
    server.stop();
    let (code, said, stderr) = import(&cluster).run();
    assert_eq!(code, 0, "{stderr}");
    assert!(said.contains("has everything up to batch"), "{said}");
    assert!(import(&cluster).fails().contains("etcd has the state of another cluster already"));
    for at in 0..2 {
        cluster.restart(at);
    }
    let leader = cluster.leader();
    assert_eq!(seen(cluster.server(leader)), expected);
    assert_eq!(cluster.server(leader).get("/livez").header("throttle-instance"), instance.as_deref());
    assert!(import(&cluster).fails().contains("Stop all of them first"));
    // It goes on there.
    cluster.server(leader).delete(&format!("/v1/peers/{holder}")).is_empty();
    let expected = seen(cluster.server(leader));
    assert_eq!(expected.0, json!(waiter));
    // And back, while the servers run.
    let export = || Launch::new(&["cluster", "export", &after]).file(&cluster.launches[1].1);
    let (code, said, stderr) = export().run();
    assert_eq!(code, 0, "{stderr}");
    assert!(said.contains("of the cluster. A server starts from it"), "{said}");
    assert!(export().fails().contains("not empty; name a new directory"));
    let server = single(&after);
    assert_eq!(seen(&server), expected);
    assert_eq!(server.get("/livez").header("throttle-instance"), instance.as_deref());
    server.delete(&format!("/v1/peers/{waiter}")).is_empty();
}

#[test]
fn there_must_be_a_section_and_something_to_move() {
    let place = Launch::new(&[]);
    let nothing = place.path("nothing").display().to_string();
    let error = Launch::new(&["cluster", "import", "--data-dir", &nothing]).file("").fails();
    assert!(error.contains("no [cluster]"), "{error}");
    let cluster = Cluster::stopped(&Plan { servers: 1, ..Plan::default() });
    let text = &cluster.launches[0].1;
    let error = Launch::new(&["cluster", "import", "--data-dir", &nothing]).file(text).fails();
    assert!(error.contains("there is no journal in it"), "{error}");
    let error = Launch::new(&["cluster", "export", &nothing]).file(text).fails();
    assert!(error.contains("etcd has no state of a cluster"), "{error}");
}
