//! A network that can be cut.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread,
};

/// A proxy. While it is cut it takes bytes and passes none on, as a dead link does.
pub(crate) struct Network {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    target: AtomicU16,
    is_cut: AtomicBool,
    connections: Mutex<HashMap<u64, [TcpStream; 2]>>,
}

impl Network {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared::default());
        shared.target.store(port, Ordering::SeqCst);
        let network = Self { port: listener.local_addr().unwrap().port(), shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for (number, client) in (0..).zip(listener.incoming().map_while(Result::ok)) {
                shared.connect(number, client);
            }
        });
        network
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
    }

    /// Passes bytes again; connections that lost some are gone, as after a long cut.
    pub(crate) fn heal(&self) {
        self.shared.is_cut.store(false, Ordering::SeqCst);
        self.drop_connections();
    }

    /// Leads to another server from now on.
    pub(crate) fn lead_to(&self, port: u16) {
        self.shared.target.store(port, Ordering::SeqCst);
        self.drop_connections();
    }

    fn drop_connections(&self) {
        for stream in self.shared.connections.lock().unwrap().drain().flat_map(|(_, pair)| pair) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, number: u64, client: TcpStream) {
        // Nobody listens: the connection ends at once.
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.target.load(Ordering::SeqCst))) else {
            return;
        };
        let pair = [client.try_clone().unwrap(), server.try_clone().unwrap()];
        self.connections.lock().unwrap().insert(number, pair);
        for (from, to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
            let shared = Arc::clone(self);
            thread::spawn(move || shared.pass(number, from, to));
        }
    }

    fn pass(&self, number: u64, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if !self.is_cut.load(Ordering::SeqCst) && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        if !self.is_cut.load(Ordering::SeqCst) {
            let _ = to.shutdown(Shutdown::Both);
            self.connections.lock().unwrap().remove(&number);
        }
    }
}
