//! One semaphore: who holds it, and who waits for it in which order.

use std::time::SystemTime;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Row,
};

use super::{
    super::data::{Detail, Figures as _, Semaphore},
    palette::Palette,
    section::{self, Section},
    text::{age, bar, count, span, until, who},
};
use throttle_api::{Deadlock, Open, Origin};
use throttle_service::printable::printable;

const BAR: usize = 20;

pub(super) fn draw(
    detail: &Detail,
    selected: Option<usize>,
    now: SystemTime,
    palette: &Palette,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let [figures, spec, _, below] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
    ])
    .areas(area);
    frame.render_widget(self::figures(&detail.semaphore, palette), figures);
    frame.render_widget(Line::styled(self::spec(&detail.semaphore), palette.faint), spec);
    section::draw(vec![holders(detail, now), queue(detail, now)], selected, palette, frame, below);
}

fn figures(semaphore: &Semaphore, palette: &Palette) -> Line<'static> {
    let over = semaphore.over();
    let (style, of_figures) =
        if over > 0 { (palette.alarm, palette.alarm) } else { (palette.used, Style::new()) };
    let mut spans = vec![
        Span::styled(bar(semaphore.share(), BAR), style),
        Span::styled(format!(" {} of {} held", count(semaphore.acquired), count(semaphore.max)), of_figures),
    ];
    if over > 0 {
        spans.push(Span::styled(format!(", {} more than there is", count(over)), palette.alarm));
    }
    if semaphore.is_paused() {
        spans.push(Span::styled(", PAUSED", palette.busy));
    }
    if semaphore.cooling > 0 {
        spans.push(Span::raw(format!(", {} not yet due back", count(semaphore.cooling))));
    }
    if semaphore.waiting > 0 {
        let wait = span(semaphore.longest_wait.0);
        let text = format!(", {} wait for {}, up to {wait}", semaphore.waiting, count(semaphore.pending));
        spans.push(Span::styled(text, palette.busy));
    }
    Line::from(spans)
}

fn spec(semaphore: &Semaphore) -> String {
    let origin = match &semaphore.origin {
        Open::Known(Origin::File) => "from the file",
        Open::Known(Origin::Runtime) => "by a request",
        Open::Known(Origin::Pattern) => "by a pattern",
        Open::Other(other) => other,
    };
    let deadlock =
        if semaphore.deadlock == Deadlock::Detect { "deadlocks detected" } else { "no deadlocks by levels" };
    let per = semaphore.per.as_ref().map(|per| format!(", count comes back after {}", printable(per)));
    format!(
        "level {}, declared {}, {deadlock}{}",
        semaphore.level,
        printable(origin),
        per.unwrap_or_default()
    )
}

/// How many are shown of how many.
fn shown(what: &str, shown: usize, total: usize) -> String {
    if shown < total { format!("{what}: the first {shown} of {total}") } else { format!("{what}: {total}") }
}

fn holders(detail: &Detail, now: SystemTime) -> Section<'static> {
    let rows = detail.holders.iter().map(|holder| {
        Row::new([
            holder.peer.to_string(),
            count(holder.count),
            holder.token.map_or_else(|| "-".to_owned(), |token| token.to_string()),
            age(holder.since, now),
            until(holder.expires_at, now),
            who(&holder.labels),
        ])
    });
    Section {
        title: shown("HOLDERS", detail.holders.len(), detail.holders_total),
        head: vec!["PEER", "COUNT", "TOKEN", "SINCE", "EXPIRES", "WHO"],
        widths: widths([20, 5, 16, 7, 7]),
        rows: rows.collect(),
    }
}

fn queue(detail: &Detail, now: SystemTime) -> Section<'static> {
    let rows = detail.queue.iter().map(|waiter| {
        Row::new([
            waiter.position.to_string(),
            waiter.peer.to_string(),
            count(waiter.count),
            waiter.priority.to_string(),
            age(waiter.since, now),
            match waiter.estimated_wait {
                _ if waiter.absent => "absent".to_owned(),
                Some(wait) => span(wait.0),
                None => "-".to_owned(),
            },
            who(&waiter.labels),
        ])
    });
    Section {
        title: shown("QUEUE", detail.queue.len(), detail.queue_total),
        head: vec!["PLACE", "PEER", "COUNT", "PRIO", "AGE", "IN ABOUT", "WHO"],
        widths: widths([5, 20, 5, 4, 7, 8]),
        rows: rows.collect(),
    }
}

/// The last column has what is left.
fn widths<const N: usize>(widths: [u16; N]) -> Vec<Constraint> {
    widths.into_iter().map(Constraint::Length).chain([Constraint::Fill(1)]).collect()
}
