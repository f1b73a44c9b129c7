//! A server in this process, and a connection in memory.

use std::{sync::Arc, time::Duration};

use hyper::header::HeaderValue;
use throttle_core::Core;
use throttle_service::{
    config::{self, Limits},
    http::{self, App, Stage},
    net,
    serve::in_memory,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split},
    runtime::{Builder, Runtime},
    time::timeout,
};

const CONFIGURATION: &str = "
[semaphores]
A = 3
B = { max = 1, level = 1 }
D = { max = 2, deadlock = 'detect' }
R = { max = 2, per = '1s' }
't/*' = 1
[limits]
semaphores = 100
";
/// Peers with locks, so that requests find something.
const BEGINNING: &str = r#"{"expires_in":"1h","peer_id":1,"acquired":{"A":1}}"#;
/// How often, and how long, answers are awaited: for longer than any connection takes whose client sends nothing more.
const LOOKS: usize = 20;
const LOOK: Duration = Duration::from_millis(250);

pub(crate) struct Server {
    runtime: Runtime,
    stage: Stage,
    app: Arc<App>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let config = config::parse("fuzz.toml", CONFIGURATION).expect("right");
        let (stage, app) = in_memory(config).expect("a server");
        let server = Self { runtime, stage, app };
        for peer in 1..=3 {
            let body = BEGINNING.replace("\"peer_id\":1", &format!("\"peer_id\":{peer}"));
            let head = "POST /restore HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
            let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            let answer = server.converse(request.as_bytes());
            assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        }
        server
    }

    /// Sends bytes, and nothing more. Returns what comes back.
    pub(crate) fn converse(&self, bytes: &[u8]) -> Vec<u8> {
        let service = http::service(self.stage.clone(), HeaderValue::from_static("fuzz"));
        let settings = net::Settings::from(&Limits::default());
        self.runtime.block_on(async {
            let (client, server) = duplex(1 << 20);
            let (read, write) = split(server);
            let (mut answers, mut requests) = split(client);
            let serve = net::converse(read, write, service, &settings);
            let speak = async {
                // The server may end the connection before it has read all.
                let _ = requests.write_all(bytes).await;
                let _ = requests.shutdown().await;
                let mut answer = Vec::new();
                for _ in 0..LOOKS {
                    // A stream goes on as long as it is read.
                    let is_over = timeout(LOOK, answers.read_to_end(&mut answer)).await.is_ok();
                    if is_over || has(&answer, b"text/event-stream") {
                        return answer;
                    }
                }
                panic!("a connection whose client sends nothing more ends");
            };
            tokio::pin!(speak);
            tokio::select! {
                () = serve => speak.await,
                answer = &mut speak => answer,
            }
        })
    }

    /// Everything is as it must be, and the server did not fail.
    pub(crate) fn check(&self, answers: &[u8]) {
        assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."), "an answer");
        assert!(!has(answers, b"HTTP/1.1 500 "), "the server did not fail");
        self.app.engine.view(Core::audit).expect("in order");
    }
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
