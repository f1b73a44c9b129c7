//! The ways of etcd's members to each other, which can be cut.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use tokio::net::TcpListener;

use super::{etcd::MEMBERS, relay::Link};

/// The processes of the members; 0 while one does not run.
pub(super) type Processes = Arc<[AtomicU32; MEMBERS]>;

/// The ways to one member, from each of them.
#[derive(Clone)]
pub(super) struct Ways([Link; MEMBERS]);

impl Ways {
    pub(super) fn to(port: u16) -> Self {
        Self(std::array::from_fn(|_| Link::to(Arc::new(port.into()))))
    }

    /// Cuts or mends the way from one of them.
    pub(super) fn cut(&self, from: usize, is_cut: bool) {
        if let Some(link) = self.0.get(from) {
            link.cut(is_cut);
        }
    }

    /// Carries what comes to this listener on the way of the member that it comes from.
    pub(super) fn carry(self, listener: TcpListener, processes: Processes) {
        tokio::spawn(async move {
            let Ok(port) = listener.local_addr().map(|address| address.port()) else { return };
            while let Ok((near, from)) = listener.accept().await {
                // One that nobody made who is still there needs no answer.
                let Ok(Some(member)) = whose(from.port(), port, &processes) else { continue };
                let Some(link) = self.0.get(member).cloned() else { continue };
                tokio::spawn(async move { link.forward(near).await });
            }
        });
    }
}

/// The member whose connection has these ports, seen from its side: all members have one address.
fn whose(from: u16, to: u16, processes: &Processes) -> io::Result<Option<usize>> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    let ends = [format!(":{from:04X}"), format!(":{to:04X}")];
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let inode = lines.find_map(|line| {
        let is_it = line.iter().skip(1).zip(&ends).all(|(address, end)| address.ends_with(end.as_str()));
        line.get(9).filter(|_| is_it).map(|inode| format!("socket:[{inode}]"))
    });
    let Some(inode) = inode else { return Ok(None) };
    for (member, process) in processes.iter().enumerate() {
        // It may have ended just now.
        let Ok(files) = fs::read_dir(format!("/proc/{}/fd", process.load(Relaxed))) else { continue };
        let is_it = |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*inode);
        if files.flatten().any(is_it) {
            return Ok(Some(member));
        }
    }
    Ok(None)
}
