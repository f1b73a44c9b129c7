use super::{SEMAPHORES, gateway::Gateway, run};
use crate::support::{Server, until};

#[test]
fn a_server_without_v1() {
    let server = Server::start(SEMAPHORES);
    let gateway = Gateway::as_0_5(server.port);
    let script = "echo ready; read x; exit 7";
    let arguments =
        ["-s", "B", "-s", "A", "--ttl", "3s", "--priority", "3", "--label", "a=b", "--", "sh", "-c", script];
    let mut process = run(&server, &arguments)
        .env("THROTTLE_URL", &gateway.url())
        .stdin(std::process::Stdio::piped())
        .start();
    process.stdout.line("ready");
    assert_eq!((server.remainder("A"), server.remainder("B")), (0, 2));
    let heartbeats = || {
        let requests = gateway.requests().into_iter();
        requests
            .filter(|request| request.starts_with("PUT /peers/") && request.matches('/').count() == 2)
            .count()
    };
    // Each comes after a third of the lease.
    until("the lease was renewed for longer than it is", || heartbeats() >= 4);
    assert_eq!((server.remainder("A"), server.remainder("B")), (0, 2));
    process.close_stdin();
    assert_eq!(process.wait().code(), Some(7));
    assert_eq!((server.remainder("A"), server.remainder("B")), (1, 3));
    assert_eq!(gateway.requests().iter().filter(|request| request.contains("/v1/")).count(), 1);
}
