//! A disk that can be frozen: a file system of its own, in a file, for the data of one member.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// How large it seems. The file has holes.
const BYTES: u64 = 2 << 30;

/// Mounts it, freezes and thaws it as it is told, and takes it away when there is nobody left to tell: one that stays
/// frozen could not be got rid of.
const SHELL: &str = r#"
trap '' INT TERM
mkfs.ext4 -q -F "$1.img" && mount -o loop "$1.img" "$1" || exit
trap 'fsfreeze --unfreeze "$1"; umount --lazy "$1"' EXIT
fsfreeze --freeze "$1" && fsfreeze --unfreeze "$1" || exit
echo ready
while read -r what; do if fsfreeze "$what" "$1"; then echo done; else echo failed; fi; done
"#;

pub(super) struct Disk {
    shell: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Disk {
    /// Mounts one on a directory. It needs root, a loop device and the programs for both; `None`: they are not there.
    pub(super) fn mount(directory: &Path) -> io::Result<Option<Self>> {
        if !cfg!(target_os = "linux") {
            return Ok(None);
        }
        fs::create_dir_all(directory)?;
        File::create(directory.with_extension("img"))?.set_len(BYTES)?;
        let mut shell = Command::new("sh")
            .args(["-c", SHELL, "sh"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let none = || io::Error::other("no pipe");
        let orders = Some(shell.stdin.take().ok_or_else(none)?);
        let answers = BufReader::new(shell.stdout.take().ok_or_else(none)?);
        let mut disk = Self { shell, orders, answers };
        Ok((disk.answer()? == "ready").then_some(disk))
    }

    /// Lets nobody write until it is thawed.
    pub(super) fn freeze(&mut self) -> io::Result<()> {
        self.order("--freeze")
    }

    pub(super) fn thaw(&mut self) -> io::Result<()> {
        self.order("--unfreeze")
    }

    fn order(&mut self, what: &str) -> io::Result<()> {
        writeln!(self.orders.as_mut().ok_or_else(|| io::Error::other("no pipe"))?, "{what}")?;
        match &*self.answer()? {
            "done" => Ok(()),
            other => Err(io::Error::other(format!("fsfreeze {what}: {other:?}"))),
        }
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.orders.take());
        // There is nothing more to be done about it.
        let _ = self.shell.wait();
    }
}
