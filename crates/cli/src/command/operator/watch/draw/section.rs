//! A part of a page: a title, a head, and rows of which one may be selected.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::Style,
    text::{Line, Text},
    widgets::{self as tui, Row, Table, TableState},
};

use super::palette::Palette;
use crate::command::operator::cut;

/// Between two columns.
const GAP: u16 = 1;

/// A table with its title.
pub(super) struct Section {
    pub(super) title: String,
    /// What there is to say of it, in a line below the title; often nothing.
    pub(super) note: String,
    pub(super) head: Vec<&'static str>,
    pub(super) widths: Vec<Constraint>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// One text of a table.
pub(super) struct Cell {
    text: String,
    style: Style,
    alignment: Alignment,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, style: Style::new(), alignment: Alignment::Left }
    }
}

impl Cell {
    /// With a look of its own.
    pub(super) fn styled(text: String, style: Style) -> Self {
        Self { style, ..text.into() }
    }

    /// At the right edge of its column.
    pub(super) fn right(self) -> Self {
        Self { alignment: Alignment::Right, ..self }
    }

    /// As it is seen in a column of this width: what has no room ends with an ellipsis.
    fn fitted(self, width: u16) -> tui::Cell<'static> {
        let text = Text::raw(cut(&self.text, width.into())).alignment(self.alignment);
        tui::Cell::from(text).style(self.style)
    }
}

impl Section {
    /// How many rows it needs on the screen: the title and the head, too.
    fn need(&self) -> u16 {
        let rows = u16::try_from(self.rows.len()).unwrap_or(u16::MAX);
        let above = 1 + self.note_rows();
        if self.rows.is_empty() { above } else { rows.saturating_add(above + 1) }
    }

    fn note_rows(&self) -> u16 {
        u16::from(!self.note.is_empty())
    }
}

/// Draws sections below each other. `selected` counts through all of their rows.
pub(super) fn draw(
    sections: Vec<Section>,
    selected: Option<usize>,
    palette: &Palette,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let needs: Vec<u16> = sections.iter().map(Section::need).collect();
    let areas =
        Layout::vertical(heights(&needs, area.height).into_iter().map(Constraint::Length)).split(area);
    let mut first = 0;
    for (section, area) in sections.into_iter().zip(areas.iter()) {
        let count = section.rows.len();
        let at = selected.and_then(|at| at.checked_sub(first)).filter(|at| *at < count);
        first += count;
        let heights = [Constraint::Length(1), Constraint::Length(section.note_rows()), Constraint::Fill(1)];
        let [title, note, rows] = Layout::vertical(heights).areas(*area);
        frame.render_widget(Line::styled(section.title, palette.heading), title);
        frame.render_widget(Line::styled(section.note, palette.busy), note);
        if count > 0 {
            table(Row::new(section.head), section.widths, section.rows, at, palette, frame, rows);
        }
    }
}

/// Draws a table with a head, such that the selected row is seen.
pub(super) fn table(
    head: Row<'_>,
    widths: Vec<Constraint>,
    rows: Vec<Vec<Cell>>,
    selected: Option<usize>,
    palette: &Palette,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let columns = Layout::horizontal(&widths).spacing(GAP).split(area);
    let rows = rows.into_iter().map(|cells| {
        let cells = cells.into_iter().zip(columns.iter());
        Row::new(cells.map(|(cell, column)| cell.fitted(column.width)))
    });
    let table = Table::new(rows, widths)
        .header(head.style(palette.head))
        .column_spacing(GAP)
        .row_highlight_style(palette.selected);
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(selected));
}

/// Shares a height: each gets what it needs if that fits, and those that need more share the rest evenly.
fn heights(needs: &[u16], height: u16) -> Vec<u16> {
    let mut given = vec![0; needs.len()];
    let mut left = height;
    loop {
        let open: Vec<usize> = (0..needs.len()).filter(|&at| given.get(at) < needs.get(at)).collect();
        let Some(share) = u16::try_from(open.len()).ok().and_then(|count| left.checked_div(count)) else {
            break;
        };
        // What does not divide goes to the first.
        let share = share.max(u16::from(left > 0));
        if share == 0 {
            break;
        }
        for at in open {
            if let (Some(has), Some(need)) = (given.get_mut(at), needs.get(at)) {
                let more = share.min(need.saturating_sub(*has)).min(left);
                *has += more;
                left -= more;
            }
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_shared() {
        assert_eq!(heights(&[3, 4], 20), [3, 4]);
        assert_eq!(heights(&[3, 40], 20), [3, 17]);
        assert_eq!(heights(&[100, 100], 21), [11, 10]);
        assert_eq!(heights(&[1, 100, 100], 0), [0, 0, 0]);
        assert_eq!(heights(&[], 5), [0; 0]);
    }
}
