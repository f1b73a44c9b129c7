//! The state as a picture. Works in 80 columns and 24 rows, and does not break in fewer.

mod dialog;
mod list;
mod palette;
mod peer;
mod section;
mod semaphore;

use std::time::SystemTime;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::state::{Line as Connection, Outcome, Page, Sight, State};
use crate::command::operator::text::span;
pub(super) use palette::Palette;
use throttle_service::printable::printable;

/// Draws all of it. `now` is the time of the server.
pub(super) fn draw(state: &State, now: SystemTime, palette: &Palette, frame: &mut Frame<'_>) {
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ]);
    let [title, line, body, foot] = areas.areas(frame.area());
    frame.render_widget(heading(state, palette), title);
    frame.render_widget(condition(state, now, palette), line);
    page(state, now, palette, frame, body);
    frame.render_widget(footer(state, palette), foot);
    dialog::draw(state, palette, frame);
}

fn page(state: &State, now: SystemTime, palette: &Palette, frame: &mut Frame<'_>, area: Rect) {
    match (state.page(), state.sight()) {
        (Page::List, _) => list::draw(state, palette, frame, area),
        (_, Some(Sight::Semaphore(detail, first))) => {
            semaphore::draw(detail, first.as_deref(), state.selected(), now, palette, frame, area);
        }
        (_, Some(Sight::Peer(peer))) => peer::draw(peer, state.selected(), now, palette, frame, area),
        (_, Some(Sight::Missing(why))) => {
            frame.render_widget(Paragraph::new(printable(why)).wrap(Wrap { trim: true }), area);
        }
        (_, Some(Sight::List(..)) | None) => frame.render_widget(Paragraph::new("Asking the server …"), area),
    }
}

/// Where one is.
fn heading(state: &State, palette: &Palette) -> Line<'static> {
    let mut path = format!(" throttle at {}", printable(&state.url));
    for opened in &state.pages {
        match &opened.page {
            Page::List => {}
            Page::Semaphore(name) => path = format!("{path} › {}", printable(name)),
            Page::Peer(id) => path = format!("{path} › peer {}", printable(id)),
        }
    }
    Line::styled(path, palette.heading)
}

/// Whether what is seen is of now.
fn condition(state: &State, now: SystemTime, palette: &Palette) -> Line<'static> {
    match &state.line {
        Connection::Live if state.page() == Page::List => list::summary(state),
        Connection::Live => Line::default(),
        Connection::Gone { since, why } => {
            let so_far = span(now.duration_since(*since).unwrap_or_default());
            Line::styled(
                format!(
                    " NO CONNECTION for {so_far}, trying again; what is below is old. {}",
                    printable(why)
                ),
                palette.alarm,
            )
        }
    }
}

fn footer(state: &State, palette: &Palette) -> Line<'static> {
    match &state.outcome {
        Some(Outcome::Done(what)) => Line::styled(format!(" {}", printable(what)), palette.good),
        Some(Outcome::Failed(why)) => Line::styled(format!(" {}", printable(why)), palette.alarm),
        None if state.is_searching => Line::from(vec![
            Span::raw(format!(" /{}", printable(&state.search))),
            Span::styled(" ", palette.selected),
        ]),
        None => {
            let pause = if state.is_paused() { "resume" } else { "pause" };
            let keys = match state.page() {
                Page::List => {
                    format!(" ↑↓ select  Enter open  / search  s sort  m max  p {pause}  ? help  q quit")
                }
                Page::Semaphore(_) => {
                    format!(" ↑↓ select  Enter open  Esc back  r release  m max  p {pause}  ? help  q quit")
                }
                Page::Peer(_) => " ↑↓ select  Enter open  Esc back  r release  ? help  q quit".to_owned(),
            };
            Line::styled(keys, palette.faint)
        }
    }
}
