//! One peer: what it holds, what it waits for, and who is in its way.

use std::time::SystemTime;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::Line,
    widgets::{Paragraph, Wrap},
};

use super::{
    super::data::{Peer, Pending, by_name},
    palette::Palette,
    section::{self, Section},
};
use crate::command::operator::text::{age, count, span, until, who};
use throttle_api::BlockerKind;
use throttle_service::printable::printable;

/// Labels fill no more rows than these.
const LABEL_ROWS: u16 = 4;

pub(super) fn draw(
    peer: &Peer,
    selected: Option<usize>,
    now: SystemTime,
    palette: &Palette,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let labels: Vec<_> =
        peer.labels.iter().map(|(key, value)| format!("{}={}", printable(key), printable(value))).collect();
    let labels = if labels.is_empty() { "no labels".to_owned() } else { labels.join("  ") };
    let rows = labels.chars().count().div_ceil(usize::from(area.width.max(1))) + 1;
    let rows = u16::try_from(rows).unwrap_or(LABEL_ROWS).min(LABEL_ROWS);
    let [lease, of_labels, below] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(rows), Constraint::Fill(1)]).areas(area);
    let text = format!(
        "made {} ago, its lease ends in {} unless it is renewed",
        age(peer.created_at, now),
        until(peer.expires_at, now)
    );
    frame.render_widget(Line::raw(text), lease);
    frame.render_widget(Paragraph::new(labels).wrap(Wrap { trim: true }), of_labels);
    let mut sections = vec![holds(peer, now)];
    match &peer.pending {
        Some(pending) => sections.extend([waits_for(pending, now), blocked_by(pending, now)]),
        None => sections.push(Section {
            title: "WAITS FOR: nothing".to_owned(),
            note: String::new(),
            head: Vec::new(),
            widths: Vec::new(),
            rows: Vec::new(),
        }),
    }
    section::draw(sections, selected, palette, frame, below);
}

fn holds(peer: &Peer, now: SystemTime) -> Section {
    let rows = peer.locks.iter().map(|lock| {
        let cells = [
            count(lock.count),
            lock.token.map_or_else(|| "-".to_owned(), |token| token.to_string()),
            age(lock.since, now),
            printable(&lock.semaphore),
        ];
        cells.map(Into::into).into()
    });
    Section {
        title: if peer.locks.is_empty() { "HOLDS: nothing".to_owned() } else { "HOLDS".to_owned() },
        note: String::new(),
        head: vec!["COUNT", "TOKEN", "SINCE", "SEMAPHORE"],
        widths: [5, 16, 7].map(Constraint::Length).into_iter().chain([Constraint::Fill(1)]).collect(),
        rows: rows.collect(),
    }
}

fn waits_for(pending: &Pending, now: SystemTime) -> Section {
    let rows = by_name(pending)
        .map(|(semaphore, number)| [count(number), printable(semaphore)].map(Into::into).into());
    let estimate = pending.estimated_wait.map(|wait| format!(", perhaps {} more", span(wait.0)));
    Section {
        title: format!(
            "WAITS FOR, for {}, at place {}, priority {}{}",
            age(pending.since, now),
            pending.position,
            pending.priority,
            estimate.unwrap_or_default()
        ),
        note: String::new(),
        head: vec!["COUNT", "SEMAPHORE"],
        widths: vec![Constraint::Length(5), Constraint::Fill(1)],
        rows: rows.collect(),
    }
}

fn blocked_by(pending: &Pending, now: SystemTime) -> Section {
    let rows = pending.blocked_by.iter().map(|by| {
        let how = match by.kind.known() {
            Some(BlockerKind::Holder) => "holds",
            Some(BlockerKind::Ahead) => "ahead",
            Some(BlockerKind::Paused) => "paused",
            Some(BlockerKind::Rate) => "rate",
            _ => "-",
        };
        let since = match (by.since, by.until) {
            (Some(since), _) => age(since, now),
            (None, Some(due)) => format!("in {}", until(due, now)),
            (None, None) => "-".to_owned(),
        };
        let cells = [
            who(&by.labels),
            how.to_owned(),
            by.peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string()),
            count(by.count),
            since,
            printable(&by.semaphore),
        ];
        cells.map(Into::into).into()
    });
    let is_empty = pending.blocked_by.is_empty();
    Section {
        title: if is_empty { "IN ITS WAY: nobody".to_owned() } else { "IN ITS WAY".to_owned() },
        note: String::new(),
        head: vec!["WHO", "HOW", "PEER", "COUNT", "SINCE", "SEMAPHORE"],
        widths: [Constraint::Fill(1)].into_iter().chain([6, 20, 5, 7, 16].map(Constraint::Length)).collect(),
        rows: rows.collect(),
    }
}
