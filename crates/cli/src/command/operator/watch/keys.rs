//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    super::ask::by,
    dialog::{Act, Dialog},
    state::{Effect, Order, Outcome, Page, Sight, State, Target},
};

/// How many rows a page of the keyboard is.
const LEAP: usize = 10;
/// The longest search, in characters.
const SEARCH_LENGTH: usize = 100;

impl State {
    /// A key was pressed.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Effect> {
        let effect = if is_interrupt(key) {
            Some(Effect::Quit)
        } else if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
            None
        } else if self.is_helping {
            self.is_helping = false;
            None
        } else if self.dialog.is_some() {
            self.press_in_dialog(key.code)
        } else if self.is_searching {
            self.press_in_search(key.code);
            None
        } else {
            self.outcome = None;
            self.press_on_page(key.code)
        };
        self.hold_on();
        effect
    }

    fn press_on_page(&mut self, key: KeyCode) -> Option<Effect> {
        let (at, last) = (self.selected().unwrap_or(0), self.targets().len().saturating_sub(1));
        match key {
            KeyCode::Char('q') => return Some(Effect::Quit),
            KeyCode::Char('?') => self.is_helping = true,
            KeyCode::Down | KeyCode::Char('j') => self.select(at + 1),
            KeyCode::Up | KeyCode::Char('k') => self.select(at.saturating_sub(1)),
            KeyCode::PageDown => self.select(at + LEAP),
            KeyCode::PageUp => self.select(at.saturating_sub(LEAP)),
            KeyCode::Home | KeyCode::Char('g') => self.select(0),
            KeyCode::End | KeyCode::Char('G') => self.select(last),
            KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => {
                if let Some(target) = self.selected_target() {
                    self.open(target.page());
                }
            }
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left | KeyCode::Char('h') => self.go_back(),
            KeyCode::Char('/') => {
                while self.leave() {}
                self.is_searching = true;
            }
            KeyCode::Char('s') if self.page() == Page::List => {
                self.order = match self.order {
                    Order::Name => Order::LongestWait,
                    Order::LongestWait => Order::Use,
                    Order::Use => Order::Name,
                };
                self.sort();
                self.select(0);
            }
            KeyCode::Char('r') => self.ask_to_release(),
            KeyCode::Char('m') => self.ask_for_max(),
            KeyCode::Char('p') => self.ask_to_pause(),
            _ => {}
        }
        None
    }

    fn press_in_search(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter | KeyCode::Down | KeyCode::Up => self.is_searching = false,
            KeyCode::Esc => {
                self.search.clear();
                self.is_searching = false;
            }
            KeyCode::Backspace => {
                self.search.pop();
            }
            KeyCode::Char(letter) if self.search.chars().count() < SEARCH_LENGTH => self.search.push(letter),
            _ => {}
        }
    }

    fn press_in_dialog(&mut self, key: KeyCode) -> Option<Effect> {
        let dialog = self.dialog.as_mut()?;
        match (key, dialog) {
            (KeyCode::Esc, _) | (KeyCode::Char('n' | 'N' | 'q'), Dialog::Confirm(_)) => self.dialog = None,
            (KeyCode::Char('y' | 'Y'), Dialog::Confirm(act)) => {
                let act = act.clone();
                // Nobody agrees to what is not yet known.
                if self.dialog.as_ref().is_some_and(|dialog| dialog.question(self).is_some()) {
                    self.dialog = None;
                    if matches!(act, Act::Release { .. }) {
                        // Where one came from, the queue is seen to move.
                        self.leave();
                    }
                    return Some(Effect::Act(act));
                }
            }
            (KeyCode::Enter, Dialog::Reason { .. } | Dialog::Max { .. }) => {
                self.dialog = self.dialog.take().map(Dialog::next);
            }
            (KeyCode::Backspace, dialog) => {
                if let Some(text) = dialog.text_mut() {
                    text.pop();
                }
            }
            (KeyCode::Char(letter), dialog) => dialog.write(letter),
            _ => {}
        }
        None
    }

    fn go_back(&mut self) {
        if !self.leave() {
            self.search.clear();
        }
    }

    /// Opens the peer's page, so that it is seen what the release will come to.
    fn ask_to_release(&mut self) {
        let peer = match (self.page(), self.selected_target()) {
            (Page::Peer(peer), _) | (Page::Semaphore(_), Some(Target::Peer(peer))) => peer,
            (Page::List, _) => return self.advise("Open a semaphore first; peers are released there."),
            _ => return self.advise("Nobody is selected who could be released."),
        };
        self.open(Page::Peer(peer.clone()));
        if matches!(self.sight(), Some(Sight::Missing(_))) {
            return self.advise("That peer is gone already.");
        }
        let text = by("throttle status --watch", &self.user);
        self.dialog = Some(Dialog::Reason { peer, text });
    }

    fn ask_for_max(&mut self) {
        if let Some(semaphore) = self.open_selected_semaphore() {
            self.dialog = Some(Dialog::Max { semaphore, text: String::new() });
        }
    }

    /// Offers what it was before the pause.
    fn ask_to_resume(&mut self) {
        if let Some(semaphore) = self.open_selected_semaphore() {
            let text = self.former.get(&semaphore).map(ToString::to_string).unwrap_or_default();
            self.dialog = Some(Dialog::Max { semaphore, text });
        }
    }

    fn ask_to_pause(&mut self) {
        if self.is_paused() {
            return self.ask_to_resume();
        }
        if let Some(semaphore) = self.open_selected_semaphore() {
            self.dialog = Some(Dialog::Confirm(Act::Resize { semaphore, max: 0 }));
        }
    }

    /// Opens the page of the semaphore that is meant, so that it is seen what a change will come to.
    fn open_selected_semaphore(&mut self) -> Option<String> {
        let ((Page::Semaphore(semaphore), _) | (Page::List, Some(Target::Semaphore(semaphore)))) =
            (self.page(), self.selected_target())
        else {
            self.advise("Open a semaphore, or select one in the list; it is resized there.");
            return None;
        };
        self.open(Page::Semaphore(semaphore.clone()));
        Some(semaphore)
    }

    fn advise(&mut self, sentence: &str) {
        self.outcome = Some(Outcome::Failed(sentence.to_owned()));
    }
}

/// On a terminal that passes keys on as they are, this does not make a signal.
fn is_interrupt(key: KeyEvent) -> bool {
    key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'd'))
}
