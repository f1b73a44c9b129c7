//! The terminal: taken over, and given back however this ends.

use std::{
    io::{self, Stdout},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};

static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal while it is ours. Dropping it gives it back, and so does a panic before its message is written.
pub(super) struct Screen {
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// If there is none that can be.
    pub(super) fn take() -> io::Result<Self> {
        give_back_on_panic();
        IS_TAKEN.store(true, Ordering::SeqCst);
        // From here on a failure gives back what was taken so far.
        let taken = || {
            enable_raw_mode()?;
            execute!(io::stdout(), EnterAlternateScreen)?;
            Terminal::new(CrosstermBackend::new(io::stdout()))
        };
        match taken() {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// A terminal that is gone cannot be given back, and nobody sees it.
fn give_back() {
    if IS_TAKEN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    }
}

fn give_back_on_panic() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |information| {
            give_back();
            before(information);
        }));
    });
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    #[ignore = "a program for the test below"]
    fn panics() {
        let _screen = Screen::take().expect("a terminal");
        panic!("on purpose");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        let program = std::env::current_exe().expect("a path");
        // A pseudo terminal of its own, whose settings are looked at before and after.
        let script = "stty -a; \"$0\" --exact command::operator::watch::screen::tests::panics --ignored --nocapture; stty -a";
        let spawn = "import pty, sys; pty.spawn(sys.argv[1:])";
        let output = Command::new("python3")
            .args(["-c", spawn, "sh", "-c", script])
            .arg(program)
            .env("TERM", "xterm")
            .stdin(std::process::Stdio::piped())
            .output()
            .expect("Python is there");
        let seen = String::from_utf8_lossy(&output.stdout);
        let at = |text: &str| seen.find(text).unwrap_or_else(|| panic!("no {text:?} in {seen:?}"));
        assert!(
            at("\u{1b}[?1049h") < at("\u{1b}[?1049l") && at("\u{1b}[?1049l") < at("on purpose"),
            "{seen:?}"
        );
        let settings: Vec<&str> = seen.lines().filter(|line| line.contains("icanon")).collect();
        assert_eq!(settings.len(), 2, "{seen:?}");
        assert_eq!(settings[0], settings[1], "what was set is set again");
        assert!(!settings[1].contains("-icanon"));
    }
}
