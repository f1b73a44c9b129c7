//! A network that can be cut: bytes pass, or they wait. Neither side hears of it, and what waited comes late.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// How many bytes may be under way.
const BYTES: usize = 16 * 1024;

/// Where somebody listens; 0 while he does not.
pub(super) type Port = Arc<AtomicU16>;

/// A way to somebody.
#[derive(Clone)]
pub(super) struct Link {
    target: Port,
    is_cut: Arc<watch::Sender<bool>>,
}

impl Link {
    pub(super) fn to(target: Port) -> Self {
        Self { target, is_cut: Arc::new(watch::Sender::new(false)) }
    }

    /// Lets no byte pass, and no word that a connection is closed, until it is mended.
    pub(super) fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }

    async fn passes(&self) {
        // The sender lives as long as this.
        drop(self.is_cut.subscribe().wait_for(|is_cut| !is_cut).await);
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        self.passes().await;
        match self.target.load(Relaxed) {
            0 => Err(io::ErrorKind::ConnectionRefused.into()),
            port => TcpStream::connect(("127.0.0.1", port)).await,
        }
    }

    /// Connects from within this program.
    pub(super) async fn dial(&self) -> io::Result<DuplexStream> {
        let far = self.connect().await?;
        let (near, end) = tokio::io::duplex(BYTES);
        tokio::spawn(self.clone().carry(end, far));
        Ok(near)
    }

    /// A port whose connections take this way.
    pub(super) async fn listen(&self) -> io::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let link = self.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let link = link.clone();
                tokio::spawn(async move { link.forward(near).await });
            }
        });
        Ok(port)
    }

    /// Carries a connection from somewhere else.
    pub(super) async fn forward(self, near: TcpStream) {
        if let Ok(far) = self.connect().await {
            let _ = near.set_nodelay(true);
            self.carry(near, far).await;
        }
    }

    /// Until both sides are through, or one of them breaks off.
    async fn carry(self, near: impl AsyncRead + AsyncWrite, far: TcpStream) {
        let _ = far.set_nodelay(true);
        let (near_read, near_write) = tokio::io::split(near);
        let (far_read, far_write) = far.into_split();
        // However it ends, both are closed then.
        let _ = tokio::try_join!(self.pass(near_read, far_write), self.pass(far_read, near_write));
    }

    async fn pass(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut buffer = vec![0; BYTES];
        loop {
            let read = from.read(&mut buffer).await;
            self.passes().await;
            let bytes = buffer.get(..read?).unwrap_or_default();
            if bytes.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(bytes).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_in_a_cut_comes_late_and_whole() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = Link::to(Arc::new(server.local_addr().unwrap().port().into()));
        let port = link.listen().await.unwrap();
        let mut dialled = link.dial().await.unwrap();
        let (mut first, _) = server.accept().await.unwrap();
        let mut connected = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut second, _) = server.accept().await.unwrap();
        link.cut(true);
        dialled.write_all(b"one").await.unwrap();
        connected.write_all(b"two").await.unwrap();
        drop((dialled, connected));
        let (mut nothing, mut none) = ([0], [0]);
        let nothing = tokio::select! {
            biased;
            read = first.read(&mut nothing) => Some(read),
            read = second.read(&mut none) => Some(read),
            () = tokio::task::yield_now() => None,
        };
        assert!(nothing.is_none());
        link.cut(false);
        let (mut one, mut two) = (String::new(), String::new());
        first.read_to_string(&mut one).await.unwrap();
        second.read_to_string(&mut two).await.unwrap();
        assert_eq!((one.as_str(), two.as_str()), ("one", "two"));
    }

    #[tokio::test]
    async fn whoever_is_not_there_refuses() {
        let refused = Link::to(Port::default()).dial().await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
