//! What is asked of the operator, and help, over the page.

use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    text::{Line, Span, Text},
    widgets::{Block, Clear, Paragraph, Wrap},
};

use super::{
    super::{
        dialog::Dialog,
        state::{Sight, State},
    },
    palette::Palette,
};
use throttle_service::printable::printable;

const HELP: &str = "\
↑ ↓, j k            select the next, the one before
PgUp PgDn, g G      by ten, to the first, to the last
Enter, →, l         open what is selected
Esc, ←, h           back; on the list: end the search
/                   search by name; Enter keeps it
s                   sort: by name, longest wait, use
r                   release a peer
m                   resize a semaphore
p                   pause a semaphore; resume a paused one
q, Ctrl+C           quit

Nothing is done before it is said what it will come to,
and answered with y.";

pub(super) fn draw(state: &State, palette: &Palette, frame: &mut Frame<'_>) {
    if state.is_helping {
        let block = Block::bordered().title(" Keys ").title_bottom(" any key closes this ");
        show(Text::raw(HELP), block, 62, 15, frame);
        return;
    }
    let Some(dialog) = &state.dialog else { return };
    let question = dialog.question(state).unwrap_or_else(|| match state.sight() {
        Some(Sight::Missing(why)) => why.clone(),
        _ => "Asking the server what this will come to …".to_owned(),
    });
    let (title, keys) = match dialog {
        Dialog::Confirm(_) => (" Really? ", " y yes   n no "),
        Dialog::Reason { .. } => (" Release ", " Enter goes on   Esc does not "),
        Dialog::Max { .. } => (" Resize ", " Enter goes on   Esc does not "),
    };
    let mut text = Text::raw(printable(&question));
    let width = frame.area().width.clamp(4, 74);
    if let Dialog::Reason { text: typed, .. } | Dialog::Max { text: typed, .. } = dialog {
        // Of a long one the end is seen, where it is typed.
        let typed = printable(typed);
        let hidden = typed.chars().count().saturating_sub(usize::from(width.saturating_sub(8)));
        let typed: String = typed.chars().skip(hidden).collect();
        text.push_line(Line::default());
        text.push_line(Line::from(vec![
            Span::raw(format!("> {typed}")),
            Span::styled(" ", palette.selected),
        ]));
    }
    let block = Block::bordered().title(title).title_bottom(keys).border_style(palette.busy);
    show(text, block, width, 12, frame);
}

fn show(text: Text<'_>, block: Block<'_>, width: u16, height: u16, frame: &mut Frame<'_>) {
    let area: Rect = frame.area().centered(Constraint::Max(width), Constraint::Max(height));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }).block(block), area);
}
