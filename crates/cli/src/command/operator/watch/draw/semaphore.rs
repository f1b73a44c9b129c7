//! One semaphore: who holds it, and who waits for it in which order.

use std::time::SystemTime;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
};

use super::{
    super::data::{Detail, Figures as _, Peer, Semaphore, by_name},
    palette::Palette,
    section::{self, Section},
};
use crate::command::operator::text::{age, bar, count, name_of, span, until, verb, who};
use throttle_api::{BlockerKind, Deadlock, Open, Order, Origin};
use throttle_service::printable::printable;

const BAR: usize = 20;
/// In fewer columns, fencing tokens would take the room of who holds it. The page of a peer has them.
const WITH_TOKENS: u16 = 110;

pub(super) fn draw(
    detail: &Detail,
    first: Option<&Peer>,
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
    let has_tokens = area.width >= WITH_TOKENS;
    let sections = vec![holders(detail, has_tokens, now), queue(detail, first, now)];
    section::draw(sections, selected, palette, frame, below);
}

fn figures(semaphore: &Semaphore, palette: &Palette) -> Line<'static> {
    let over = semaphore.over();
    let (style, of_figures) =
        if over > 0 { (palette.alarm, palette.alarm) } else { (palette.used, Style::new()) };
    let acquired = count(semaphore.acquired);
    let held = if semaphore.is_paused() {
        format!("{acquired} held")
    } else {
        format!("{acquired} of {} held", count(semaphore.max))
    };
    let mut spans =
        vec![Span::styled(bar(semaphore.share(), BAR), style), Span::styled(format!(" {held}"), of_figures)];
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
        let (number, pending) = (semaphore.waiting, count(semaphore.pending));
        let text = format!(", {number} {} for {pending}, up to {wait}", verb(number, "waits", "wait"));
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
    let detects = semaphore.deadlock == Deadlock::Detect;
    let deadlock = if detects { "deadlocks detected" } else { "levels keep it from deadlocks" };
    // Where deadlocks are detected, the level that every semaphore has says nothing.
    let level =
        if detects && semaphore.level == 0 { String::new() } else { format!("level {}, ", semaphore.level) };
    let per = semaphore.per.as_ref().map(|per| format!(", count comes back after {}", printable(per)));
    let order = if semaphore.order == Order::Pass { ", requests may pass" } else { "" };
    format!("{level}declared {}, {deadlock}{order}{}", printable(origin), per.unwrap_or_default())
}

/// How many are shown of how many.
fn shown(what: &str, shown: usize, total: usize) -> String {
    if shown < total { format!("{what}: the first {shown} of {total}") } else { format!("{what}: {total}") }
}

fn holders(detail: &Detail, has_tokens: bool, now: SystemTime) -> Section {
    let rows = detail.holders.iter().map(|holder| {
        let token = holder.token.map_or_else(|| "-".to_owned(), |token| token.to_string());
        let cells = [
            who(&holder.labels),
            holder.peer.to_string(),
            count(holder.count),
            age(holder.since, now),
            until(holder.expires_at, now),
        ];
        cells.into_iter().chain(has_tokens.then_some(token)).map(Into::into).collect()
    });
    let head = ["WHO", "PEER", "COUNT", "SINCE", "EXPIRES"];
    let widths = [20, 5, 7, 7].into_iter().chain(has_tokens.then_some(16));
    Section {
        title: shown("HOLDERS", detail.holders.len(), detail.holders_total),
        note: String::new(),
        head: head.into_iter().chain(has_tokens.then_some("TOKEN")).collect(),
        widths: [Constraint::Fill(1)].into_iter().chain(widths.map(Constraint::Length)).collect(),
        rows: rows.collect(),
    }
}

fn queue(detail: &Detail, first: Option<&Peer>, now: SystemTime) -> Section {
    let rows = detail.queue.iter().map(|waiter| {
        let cells = [
            waiter.position.to_string(),
            who(&waiter.labels),
            waiter.peer.to_string(),
            count(waiter.count),
            waiter.priority.to_string(),
            age(waiter.since, now),
            match waiter.estimated_wait {
                _ if waiter.absent => "absent".to_owned(),
                Some(wait) => span(wait.0),
                None => "-".to_owned(),
            },
        ];
        cells.map(Into::into).into()
    });
    let widths = [20, 5, 4, 7, 8].map(Constraint::Length);
    Section {
        title: shown("QUEUE", detail.queue.len(), detail.queue_total),
        note: reason(detail, first).unwrap_or_default(),
        head: vec!["PLACE", "WHO", "PEER", "COUNT", "PRIO", "AGE", "IN ABOUT"],
        widths: [Constraint::Length(5), Constraint::Fill(1)].into_iter().chain(widths).collect(),
        rows: rows.collect(),
    }
}

/// Why the first of the queue waits.
fn reason(detail: &Detail, first: Option<&Peer>) -> Option<String> {
    let (semaphore, waiter) = (&detail.semaphore, detail.queue.first()?);
    let (max, wanted) = (semaphore.max, waiter.count);
    let free = max.saturating_sub(semaphore.acquired).saturating_sub(semaphore.cooling);
    if semaphore.is_paused() {
        return Some("Nobody gets it while it is paused.".to_owned());
    }
    if waiter.absent {
        return Some("The first is absent, and passed over until it asks again.".to_owned());
    }
    if wanted > max {
        return Some(format!(
            "The first asks for {}, more than there is, and is passed over.",
            count(wanted)
        ));
    }
    if free < wanted {
        let rate = if semaphore.cooling > 0 { "; more comes back by its rate" } else { "" };
        let (free, is) = (count(free.max(0)), verb(free, "is", "are"));
        return Some(format!("The first waits for {}, and {free} {is} free{rate}.", count(wanted)));
    }
    // There is enough of it here, so it waits for something else.
    let pending = first?.pending.as_ref()?;
    let by = pending.blocked_by.iter().find(|by| by.semaphore != semaphore.name)?;
    let asked = by_name(pending).find(|(name, _)| *name == &*by.semaphore).map_or(1, |(_, count)| count);
    let other = printable(&by.semaphore);
    let who = name_of(&by.labels.to_map()).map(printable);
    let who = who.or_else(|| by.peer.as_ref().map(|peer| format!("peer {peer}"))).unwrap_or_default();
    let more = pending.blocked_by.iter().filter(|more| more.semaphore == by.semaphore).count() - 1;
    let why = match (by.kind.known(), more) {
        (Some(BlockerKind::Holder), 0) => format!("{who} holds it"),
        (Some(BlockerKind::Holder), more) => format!("{who} and {more} more hold it"),
        (Some(BlockerKind::Ahead), _) => format!("{who} is before it"),
        (Some(BlockerKind::Paused), _) => "it is paused".to_owned(),
        (Some(BlockerKind::Rate), _) => "more comes back by its rate".to_owned(),
        _ => "it is not to be had yet".to_owned(),
    };
    let idle = match detail.queue_total - 1 {
        0 => String::new(),
        behind => {
            let (lie, wait) = (verb(free, "lies", "lie"), verb(behind, "waits", "wait"));
            let pass = if semaphore.order == Order::Pass { ", and may pass for a while" } else { "" };
            format!(" {} {lie} idle; {behind} {wait} behind it{pass}.", count(free))
        }
    };
    Some(format!("The first waits for {} of {other}: {why}.{idle}", count(asked)))
}
