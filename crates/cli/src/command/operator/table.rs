//! Columns of text, as wide as the terminal allows.

use std::io;

use ratatui::{crossterm::terminal, text::Span};

/// Narrower than this, texts are cut off only once nothing else can go.
const NARROW: usize = 16;
/// Shorter ones say nothing.
const NARROWEST: usize = 8;
const GAP: usize = 2;

/// What may happen to a column for which there is no room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// Nothing: it is shown as it is.
    Whole(&'static str),
    /// Its texts are cut off.
    Cut(&'static str),
    /// Its texts are cut off once nothing else can give way.
    Kept(&'static str),
    /// It is left out; the last of them first.
    Spare(&'static str),
}

impl Column {
    fn head(self) -> &'static str {
        let (Self::Whole(head) | Self::Cut(head) | Self::Kept(head) | Self::Spare(head)) = self;
        head
    }
}

/// The width of the terminal that the output goes to. `None`: it goes elsewhere, and may be as wide as it likes.
pub(in crate::command) fn width_of(output: &impl io::IsTerminal) -> Option<usize> {
    if !output.is_terminal() {
        return None;
    }
    let (columns, _) = terminal::size().ok()?;
    Some(usize::from(columns)).filter(|columns| *columns > 0)
}

/// Rows under a head, each column as wide as its widest cell, but all of them together no wider than the terminal if
/// the standard output is one.
pub(super) fn table<const N: usize>(
    columns: [Column; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    fitted(columns, rows, width_of(&io::stdout()))
}

fn fitted<const N: usize>(
    columns: [Column; N],
    rows: impl IntoIterator<Item = [String; N]>,
    room: Option<usize>,
) -> String {
    let head = columns.map(|column| column.head().to_owned());
    let rows: Vec<[String; N]> = std::iter::once(head).chain(rows).collect();
    let natural = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
    };
    let mut shown: Vec<(usize, Column, usize)> =
        columns.into_iter().enumerate().map(|(at, column)| (at, column, natural(at))).collect();
    if let Some(room) = room {
        squeeze(&mut shown, room);
    }
    let line = |row: &[String; N]| {
        let cells = shown.iter().filter_map(|(at, _, wide)| Some((row.get(*at)?, *wide)));
        let cells = cells.map(|(cell, wide)| {
            let cell = cut(cell, wide);
            let padding = wide.saturating_sub(width(&cell));
            cell + &" ".repeat(padding)
        });
        format!("{}\n", cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end())
    };
    rows.iter().map(line).collect()
}

/// Makes columns narrower, or leaves them out, until they have room.
fn squeeze(shown: &mut Vec<(usize, Column, usize)>, room: usize) {
    let gaps = |count: usize| GAP * count.saturating_sub(1);
    let total = |shown: &[(usize, Column, usize)]| {
        shown.iter().map(|(_, _, wide)| wide).sum::<usize>() + gaps(shown.len())
    };
    let at_least = |shown: &[(usize, Column, usize)]| {
        let widths = shown.iter().map(|(_, column, wide)| match column {
            Column::Cut(_) => (*wide).min(NARROW),
            _ => *wide,
        });
        widths.sum::<usize>() + gaps(shown.len())
    };
    while at_least(shown) > room
        && let Some(spare) = shown.iter().rposition(|(_, column, _)| matches!(column, Column::Spare(_)))
    {
        shown.remove(spare);
    }
    while total(shown) > room {
        let gives_way = shown.iter_mut().filter_map(|(_, column, wide)| match column {
            _ if *wide <= NARROWEST => None,
            Column::Cut(_) => Some((1, wide)),
            // Once nothing else can.
            Column::Kept(_) => Some((0, wide)),
            Column::Whole(_) | Column::Spare(_) => None,
        });
        match gives_way.max_by_key(|(rank, wide)| (*rank, **wide)) {
            Some((_, wide)) => *wide -= 1,
            None => return,
        }
    }
}

/// How many cells of a terminal it fills.
fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text, with an ellipsis for what has no room.
pub(in crate::command) fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    for letter in text.chars() {
        kept.push(letter);
        if width(&kept) >= room {
            kept.pop();
            break;
        }
    }
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::{Column::*, *};

    fn shown(room: Option<usize>) -> Vec<String> {
        let row = ["7", "a rather long name", "日本語 and more", "more"].map(str::to_owned);
        let text = fitted([Whole("PEER"), Cut("NAME"), Cut("WHO"), Spare("ORIGIN")], [row], room);
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        assert_eq!(
            shown(None),
            [
                "PEER  NAME                WHO              ORIGIN",
                "7     a rather long name  日本語 and more  more"
            ]
        );
    }

    #[test]
    fn what_has_no_room_goes() {
        assert_eq!(shown(Some(49)), shown(None));
        assert_eq!(
            shown(Some(41)),
            ["PEER  NAME                WHO", "7     a rather long name  日本語 and more"]
        );
        assert_eq!(shown(Some(30)), ["PEER  NAME         WHO", "7     a rather l…  日本語 and…"]);
        assert_eq!(
            shown(Some(3)),
            ["PEER  NAME      WHO", "7     a rathe…  日本語 …"],
            "no narrower than this"
        );
    }

    #[test]
    fn what_is_kept_gives_way_last() {
        let row = ["train.py jane@worker", "12345678", "a long name=1", "in 5m"].map(str::to_owned);
        let columns = [Kept("WHO"), Whole("PEER"), Cut("HOLDS"), Spare("EXPIRES")];
        let shown = |room| {
            let text = fitted(columns, [row.clone()], Some(room));
            text.lines().nth(1).unwrap_or_default().to_owned()
        };
        assert_eq!(shown(60), "train.py jane@worker  12345678  a long name=1  in 5m");
        assert_eq!(shown(50), "train.py jane@worker  12345678  a long name=1");
        assert_eq!(shown(40), "train.py jane@worker  12345678  a long …");
        assert_eq!(shown(36), "train.py jane@w…  12345678  a long …");
        assert_eq!(shown(10), "train.p…  12345678  a long …", "no narrower than this");
    }

    #[test]
    fn what_is_cut_ends_with_an_ellipsis() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 0), "…");
    }
}
