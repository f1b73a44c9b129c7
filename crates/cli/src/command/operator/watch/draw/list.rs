//! All semaphores.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Rect},
    style::Style,
    text::{Line, Text},
    widgets::{Paragraph, Row},
};

use super::{
    super::{
        data::{Figures as _, Semaphore},
        state::{Order, State},
    },
    palette::Palette,
    section::{self, Cell},
};
use crate::command::operator::text::{bar, count, span};
use throttle_core::counted;
use throttle_service::printable::printable;

const BAR: u16 = 10;

pub(super) fn draw(state: &State, palette: &Palette, frame: &mut Frame<'_>, area: Rect) {
    let rows: Vec<_> = state.listed().map(|semaphore| row(semaphore, palette)).collect();
    if rows.is_empty() {
        let empty = if state.search.is_empty() {
            "No semaphores. Members of patterns are listed while they are in use."
        } else {
            "No name contains that. Esc ends the search."
        };
        frame.render_widget(Paragraph::new(empty), area);
        return;
    }
    let figures = ["ACQUIRED", "PENDING", "WAITING", "LONGEST"].map(right);
    let head = ["SEMAPHORE", "USE"].map(Text::from).into_iter().chain(figures).chain([Text::from("NOTE")]);
    let widths = [12, BAR, 13, 7, 7, 8, 8];
    let mut widths: Vec<_> = widths.into_iter().map(Constraint::Length).collect();
    if let Some(first) = widths.first_mut() {
        *first = Constraint::Fill(1);
    }
    section::table(Row::new(head), widths, rows, state.selected(), palette, frame, area);
}

fn row(semaphore: &Semaphore, palette: &Palette) -> Vec<Cell> {
    let over = semaphore.over();
    let in_use = if over > 0 { palette.alarm } else { palette.used };
    let is_waited_for = semaphore.waiting > 0;
    let waiting = if is_waited_for { palette.busy } else { palette.faint };
    let (note, of_note) = note(semaphore, palette);
    let acquired = format!("{}/{}", count(semaphore.acquired), count(semaphore.max));
    let longest = if is_waited_for { span(semaphore.longest_wait.0) } else { "-".to_owned() };
    vec![
        printable(&semaphore.name).into(),
        Cell::styled(bar(semaphore.share(), BAR.into()), in_use),
        Cell::styled(acquired, if over > 0 { palette.alarm } else { Style::new() }).right(),
        Cell::styled(count(semaphore.pending), waiting).right(),
        Cell::styled(semaphore.waiting.to_string(), waiting).right(),
        Cell::styled(longest, waiting).right(),
        Cell::styled(note, of_note),
    ]
}

fn right<'a>(text: impl Into<Text<'a>>) -> Text<'a> {
    text.into().alignment(Alignment::Right)
}

fn note(semaphore: &Semaphore, palette: &Palette) -> (String, Style) {
    if semaphore.is_paused() {
        ("paused".to_owned(), palette.busy)
    } else if semaphore.over() > 0 {
        (format!("over {}", count(semaphore.over())), palette.alarm)
    } else if let Some(per) = &semaphore.per {
        (format!("per {}", printable(per)), palette.faint)
    } else {
        (String::new(), palette.faint)
    }
}

/// All of them in one line.
pub(super) fn summary(state: &State) -> Line<'static> {
    let listed = state.listed().count();
    let waited_for = state.listed().filter(|semaphore| semaphore.waiting > 0).count();
    let over = state.listed().filter(|semaphore| semaphore.over() > 0).count();
    let more = if state.has_more { " (there are more; --limit says how many are shown)" } else { "" };
    let order = match state.order {
        Order::Name => "by name",
        Order::LongestWait => "longest wait first",
        Order::Use => "fullest first",
    };
    let listed = counted(listed, "semaphore");
    let mut text = format!(" {listed}{more}, {waited_for} waited for, {over} overcommitted, {order}");
    if !state.search.is_empty() {
        text = format!("{text}, with {:?}", printable(&state.search));
    }
    Line::raw(text)
}
