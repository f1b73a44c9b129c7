//! The terminal that this process was started from, and which process group has it.

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    os::fd::{AsFd as _, BorrowedFd},
};

use rustix::{
    process::{Pid, getpgrp},
    termios::{tcgetpgrp, tcsetpgrp},
};

pub(super) struct Terminal {
    tty: File,
}

impl Terminal {
    /// The controlling terminal, if there is one.
    pub(super) fn controlling() -> Option<Self> {
        let tty = File::options().read(true).write(true).open("/dev/tty").ok()?;
        Some(Self { tty })
    }

    /// Whether a command that is started now should have the terminal at once. In a pipeline it should not, as
    /// other parts of it may read from the terminal.
    pub(super) fn suits(&self) -> bool {
        self.is_ours() && io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    pub(super) fn is_ours(&self) -> bool {
        self.belongs_to(getpgrp())
    }

    /// Gives it to a process group. Without effect on a terminal that is gone.
    pub(super) fn give(&self, group: Pid) {
        let _ = tcsetpgrp(&self.tty, group);
    }

    /// Takes it back from this group. `false` if that did not have it.
    pub(super) fn take_from(&self, group: Pid) -> bool {
        let had = self.belongs_to(group);
        if had {
            self.give(getpgrp());
        }
        had
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.tty.as_fd()
    }

    fn belongs_to(&self, group: Pid) -> bool {
        tcgetpgrp(&self.tty).is_ok_and(|found| found == group)
    }
}
