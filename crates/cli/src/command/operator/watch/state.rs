//! What is seen at this moment. No I/O happens here, and time is an argument.

use std::{collections::BTreeMap, time::SystemTime};

use throttle_api::Labels;

use super::{
    data::{Detail, Figures, Peer, Semaphore, by_name},
    dialog::{Act, Dialog},
};
use crate::command::operator::name_of;

/// What a page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// All semaphores.
    List,
    /// One semaphore: who holds it, and who waits for it.
    Semaphore(String),
    /// One peer: what it holds, and what it waits for.
    Peer(String),
}

/// What was seen on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Semaphores, and whether there are more.
    List(Vec<Semaphore>, bool),
    /// One of them, and who waits first for it.
    Semaphore(Box<Detail>, Option<Box<Peer>>),
    /// A peer.
    Peer(Box<Peer>),
    /// The server has no such thing, or no more; it says why.
    Missing(String),
}

impl Sight {
    /// What the client of a peer tells of it, if it is seen here.
    fn labels_of(&self, id: &str) -> Option<&Labels> {
        match self {
            Self::Semaphore(detail, _) => {
                let holders = detail.holders.iter().map(|holder| (holder.peer, &holder.labels));
                let waiters = detail.queue.iter().map(|waiter| (waiter.peer, &waiter.labels));
                holders.chain(waiters).find(|(peer, _)| peer.to_string() == id).map(|(_, labels)| labels)
            }
            Self::Peer(peer) => (peer.id.to_string() == id).then_some(&peer.labels),
            Self::List(..) | Self::Missing(_) => None,
        }
    }
}

/// What comes from the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The server answered.
    Seen(Page, Sight),
    /// It did not: why.
    Failed(String),
    /// An act is done, or why it is not.
    Done(Result<String, String>),
}

/// What is to be done about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The server is to do something.
    Act(Act),
    /// Enough.
    Quit,
}

/// The connection to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It answers.
    Live,
    /// It does not, since then.
    Gone { since: SystemTime, why: String },
}

/// In which order semaphores are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Name,
    LongestWait,
    Use,
}

/// What the last act came to, for one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done(String),
    Failed(String),
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct State {
    pub(super) url: String,
    pub(super) line: Line,
    pub(super) semaphores: Vec<Semaphore>,
    pub(super) has_more: bool,
    pub(super) order: Order,
    /// Names that do not contain this are not listed.
    pub(super) search: String,
    pub(super) is_searching: bool,
    /// Pages that were left for another; the last one is open.
    pub(super) pages: Vec<Opened>,
    pub(super) dialog: Option<Dialog>,
    pub(super) is_helping: bool,
    pub(super) outcome: Option<Outcome>,
    /// The user at the keys, for the reason of a release.
    pub(super) user: String,
    /// The last full count above 0 that each semaphore was seen with.
    pub(super) former: BTreeMap<String, i64>,
}

/// A page with what was seen on it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) page: Page,
    /// `None` until the server has answered. Not used by the list.
    pub(super) sight: Option<Sight>,
    /// What of it is selected: a name or an id; `index` finds a neighbour when that is gone.
    pub(super) selected: Option<Target>,
    pub(super) index: usize,
}

/// Something to be selected and opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Semaphore(String),
    Peer(String),
}

impl Target {
    pub(super) fn page(&self) -> Page {
        match self {
            Self::Semaphore(name) => Page::Semaphore(name.clone()),
            Self::Peer(id) => Page::Peer(id.clone()),
        }
    }
}

impl Opened {
    fn new(page: Page) -> Self {
        Self { page, sight: None, selected: None, index: 0 }
    }
}

impl State {
    pub(super) fn new(url: String, user: String) -> Self {
        Self {
            url,
            line: Line::Live,
            semaphores: Vec::new(),
            has_more: false,
            order: Order::Name,
            search: String::new(),
            is_searching: false,
            pages: vec![Opened::new(Page::List)],
            dialog: None,
            is_helping: false,
            outcome: None,
            user,
            former: BTreeMap::new(),
        }
    }

    /// The page that is open. The list is always there.
    pub(super) fn page(&self) -> Page {
        self.pages.last().map_or(Page::List, |opened| opened.page.clone())
    }

    pub(super) fn sight(&self) -> Option<&Sight> {
        self.pages.last()?.sight.as_ref()
    }

    /// A peer by its program, user and host, as far as they were seen on a page that is open, and its id.
    pub(super) fn name_of(&self, id: &str) -> String {
        let peer = format!("peer {id}");
        let seen = self.pages.iter().rev().find_map(|opened| opened.sight.as_ref()?.labels_of(id));
        seen.and_then(|labels| name_of(&labels.to_map()))
            .map_or(peer.clone(), |who| format!("{who} ({peer})"))
    }

    /// Whether the semaphore that a key would pause is paused.
    pub(super) fn is_paused(&self) -> bool {
        match (self.page(), self.sight()) {
            (Page::List, _) => {
                self.selected().and_then(|at| self.listed().nth(at)).is_some_and(Figures::is_paused)
            }
            (_, Some(Sight::Semaphore(detail, _))) => detail.semaphore.is_paused(),
            _ => false,
        }
    }

    /// Takes note of what the network brought.
    pub(super) fn learn(&mut self, news: News, now: SystemTime) {
        match news {
            News::Seen(page, sight) => {
                self.line = Line::Live;
                self.see(&page, sight);
            }
            News::Failed(why) => {
                let since = match self.line {
                    Line::Gone { since, .. } => since,
                    Line::Live => now,
                };
                self.line = Line::Gone { since, why };
            }
            News::Done(Ok(what)) => self.outcome = Some(Outcome::Done(what)),
            News::Done(Err(why)) => self.outcome = Some(Outcome::Failed(why)),
        }
        self.hold_on();
    }

    fn see(&mut self, page: &Page, sight: Sight) {
        let seen = match &sight {
            Sight::List(semaphores, _) => &semaphores[..],
            Sight::Semaphore(detail, _) => std::slice::from_ref(&detail.semaphore),
            _ => &[],
        };
        let running = seen.iter().filter(|semaphore| !semaphore.is_paused());
        self.former.extend(running.map(|semaphore| (semaphore.name.to_string(), semaphore.max)));
        if let Sight::List(semaphores, has_more) = sight {
            (self.semaphores, self.has_more) = (semaphores, has_more);
            self.sort();
        } else if let Some(opened) = self.pages.iter_mut().rev().find(|opened| opened.page == *page) {
            opened.sight = Some(sight);
        }
    }

    /// Puts the semaphores into the order that is wanted.
    pub(super) fn sort(&mut self) {
        let order = self.order;
        self.semaphores.sort_by(|a, b| {
            let by_order = match order {
                Order::Name => std::cmp::Ordering::Equal,
                Order::LongestWait => b.longest_wait.cmp(&a.longest_wait),
                Order::Use => b.share().total_cmp(&a.share()),
            };
            by_order.then_with(|| a.name.cmp(&b.name))
        });
    }

    /// The semaphores that are listed.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Semaphore> {
        let wanted = self.search.to_lowercase();
        self.semaphores.iter().filter(move |semaphore| semaphore.name.to_lowercase().contains(&wanted))
    }

    /// All of the open page that can be selected, in order.
    pub(super) fn targets(&self) -> Vec<Target> {
        match (self.page(), self.sight()) {
            (Page::List, _) => {
                self.listed().map(|semaphore| Target::Semaphore(semaphore.name.to_string())).collect()
            }
            (_, Some(Sight::Semaphore(detail, _))) => {
                let holders = detail.holders.iter().map(|holder| holder.peer);
                let waiters = detail.queue.iter().map(|waiter| waiter.peer);
                holders.chain(waiters).map(|peer| Target::Peer(peer.to_string())).collect()
            }
            (_, Some(Sight::Peer(peer))) => {
                let held = peer.locks.iter().map(|lock| Target::Semaphore(lock.semaphore.to_string()));
                let pending = peer.pending.iter();
                let asked = pending
                    .clone()
                    .flat_map(|p| by_name(p).map(|(name, _)| Target::Semaphore(name.to_owned())));
                let blockers = pending.flat_map(|p| &p.blocked_by).map(|by| match by.peer {
                    Some(peer) => Target::Peer(peer.to_string()),
                    None => Target::Semaphore(by.semaphore.to_string()),
                });
                held.chain(asked).chain(blockers).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Which of the targets is selected.
    pub(super) fn selected(&self) -> Option<usize> {
        let count = self.targets().len();
        let opened = self.pages.last()?;
        (count > 0).then(|| opened.index.min(count - 1))
    }

    pub(super) fn selected_target(&self) -> Option<Target> {
        self.targets().into_iter().nth(self.selected()?)
    }

    /// Selects another one.
    pub(super) fn select(&mut self, index: usize) {
        let targets = self.targets();
        let index = index.min(targets.len().saturating_sub(1));
        if let Some(opened) = self.pages.last_mut() {
            opened.index = index;
            opened.selected = targets.into_iter().nth(index);
        }
    }

    /// Keeps the selection on the same thing when others come and go around it.
    pub(super) fn hold_on(&mut self) {
        let targets = self.targets();
        let Some(opened) = self.pages.last_mut() else { return };
        let is_there = opened.selected.is_some() && targets.get(opened.index) == opened.selected.as_ref();
        if !is_there
            && let Some(index) = targets.iter().position(|target| Some(target) == opened.selected.as_ref())
        {
            opened.index = index;
        } else if !is_there {
            opened.index = opened.index.min(targets.len().saturating_sub(1));
            opened.selected = targets.into_iter().nth(opened.index);
        }
    }

    /// Opens a page on top of those that are open.
    pub(super) fn open(&mut self, page: Page) {
        /// A user who goes round in circles does not pile up pages.
        const MOST: usize = 32;
        if self.page() == page {
            return;
        }
        if self.pages.len() >= MOST {
            self.pages.remove(1);
        }
        self.pages.push(Opened::new(page));
    }

    /// Leaves the open page. `false` if it is the list.
    pub(super) fn leave(&mut self) -> bool {
        let is_list = self.pages.len() <= 1;
        if !is_list {
            self.pages.pop();
        }
        self.hold_on();
        !is_list
    }
}
