//! The wall clocks of the servers, which can be set. Their steady clocks go on.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Stands between a process and its clock.
const SOURCE: &str = include_str!("../../../crates/cli/tests/it/support/clock.c");

/// A clock by which a process can go.
#[derive(Clone)]
pub(super) struct Wall {
    library: PathBuf,
    ahead: PathBuf,
}

impl Wall {
    /// Some of them, in this directory. `None`: it cannot be done, as there is no C compiler.
    pub(super) fn some<const N: usize>(directory: &Path) -> io::Result<Option<[Self; N]>> {
        let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
        fs::write(&source, SOURCE)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
        let compiled = compiler.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !cfg!(target_os = "linux") || !compiled.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let clocks = std::array::from_fn(|at| {
            let ahead = directory.join(format!("ahead-{at}"));
            Self { library: library.clone(), ahead }
        });
        for clock in &clocks {
            fs::write(&clock.ahead, 0_i64.to_ne_bytes())?;
        }
        Ok(Some(clocks))
    }

    /// What a process finds in its environment that goes by it.
    pub(super) fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.library.clone()), ("CLOCK_AHEAD", self.ahead.clone())]
    }

    /// Sets it, so many milliseconds ahead of the clock of this machine.
    pub(super) fn set(&self, ahead_ms: i64) -> io::Result<()> {
        // In place, as the process has it in its memory.
        let mut file = File::options().write(true).open(&self.ahead)?;
        file.write_all(&(ahead_ms * 1_000_000).to_ne_bytes())
    }
}
