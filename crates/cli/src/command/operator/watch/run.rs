//! The loop: draw, then wait for a key, for news, or for time to pass.

use std::{
    error::Error,
    io,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use throttle_client::user;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::sleep,
};

use super::{
    draw::{Palette, draw},
    network::Network,
    screen::Screen,
    state::{Effect, News, Page, State},
};
use crate::{command::operator::Operator, environment::variable, platform::Signals};

/// An answer that takes longer is none: then the line is said to be gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// Ages are shown in seconds.
const TICK: Duration = Duration::from_millis(500);
/// Keys that come faster than the screen is drawn wait; none is lost.
const KEYS: usize = 64;

/// Shows the server until the operator has seen enough.
///
/// # Errors
///
/// If the server is out of reach at the beginning or does not know a name, or if the terminal cannot be used.
pub(in crate::command::operator) async fn watch(
    operator: &Operator,
    names: &[String],
    limit: usize,
) -> Result<(), Box<dyn Error>> {
    let client = operator.connection.client().timeout(PATIENCE).build()?;
    let network = Arc::new(Network { client: client.clone(), names: names.to_vec(), limit });
    // A wrong URL, token or name is told in the ordinary way.
    let first = network.first_list().await?;
    let mut signals = Signals::listen()?;
    let mut state = State::new(client.url().to_owned(), user());
    state.learn(News::Seen(Page::List, first), SystemTime::now());
    let palette = Palette::new(variable("NO_COLOR").is_none());

    let (page, seen_page) = watch::channel(Page::List);
    let (send_news, mut news) = mpsc::channel(KEYS);
    let bell = Arc::new(Notify::new());
    tokio::spawn(Arc::clone(&network).keep_looking(seen_page.clone(), Arc::clone(&bell), send_news.clone()));
    tokio::spawn(Arc::clone(&network).listen(seen_page, Arc::clone(&bell)));

    let mut screen = Screen::take()?;
    let mut keys = keys()?;
    loop {
        screen.terminal.draw(|frame| draw(&state, client.server_time(), &palette, frame))?;
        let effect = tokio::select! {
            biased;
            _ = signals.next() => return Ok(()),
            event = keys.recv() => match event {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => state.press(key),
                Some(_) => None,
                // The terminal is gone.
                None => return Ok(()),
            },
            Some(news) = news.recv() => {
                state.learn(news, client.server_time());
                None
            }
            () = sleep(TICK) => None,
        };
        match effect {
            Some(Effect::Quit) => return Ok(()),
            Some(Effect::Act(act)) => {
                let (network, send_news, bell) = (Arc::clone(&network), send_news.clone(), Arc::clone(&bell));
                tokio::spawn(async move {
                    // Nobody listens any more once this has ended.
                    let _ = send_news.send(network.act(act).await).await;
                    bell.notify_one();
                });
            }
            None => {}
        }
        page.send_if_modified(|page| {
            let open = state.page();
            let is_other = *page != open;
            *page = open;
            is_other
        });
    }
}

/// What is typed, read by a thread of its own.
fn keys() -> io::Result<mpsc::Receiver<Event>> {
    let (send, keys) = mpsc::channel(KEYS);
    thread::Builder::new().name("throttle-keys".to_owned()).spawn(move || {
        while let Ok(event) = event::read() {
            if send.blocking_send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(keys)
}
