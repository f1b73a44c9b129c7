//! What things look like.

use ratatui::style::{Color, Modifier, Style};

/// A style for each meaning. Without colours all of them still differ, by brightness or words.
pub(in super::super) struct Palette {
    pub(super) heading: Style,
    pub(super) head: Style,
    pub(super) selected: Style,
    pub(super) faint: Style,
    pub(super) good: Style,
    /// What is in use.
    pub(super) used: Style,
    /// What deserves a look, such as a queue.
    pub(super) busy: Style,
    /// What is wrong.
    pub(super) alarm: Style,
}

impl Palette {
    /// With or without colours.
    pub(in super::super) fn new(has_colours: bool) -> Self {
        let colour = |colour: Color| if has_colours { Style::new().fg(colour) } else { Style::new() };
        Self {
            heading: Style::new().add_modifier(Modifier::BOLD),
            head: Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            selected: Style::new().add_modifier(Modifier::REVERSED),
            faint: Style::new().add_modifier(Modifier::DIM),
            good: colour(Color::Green),
            used: colour(Color::Cyan),
            busy: colour(Color::Yellow),
            alarm: colour(Color::Red).add_modifier(Modifier::BOLD),
        }
    }
}
