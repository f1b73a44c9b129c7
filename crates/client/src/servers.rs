//! The servers that a client may ask: one, or those of one cluster, which all serve the same semaphores. Which of them
//! is asked is decided here; nothing here does I/O.

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::Url;

use crate::{Error, proxy};

/// As many as a [`Round`] can tick off.
const MOST: usize = 64;

/// A server as its user names it.
pub(crate) struct Server {
    /// Without a slash at the end.
    pub(crate) url: String,
    /// The same without a password, for people.
    pub(crate) shown: String,
    /// The HTTP proxy before it, and where that is named.
    pub(crate) proxy: Option<String>,
}

/// All of them, in the order in which they were given.
pub(crate) struct Servers {
    first: Server,
    others: Vec<Server>,
    shown: String,
}

impl Servers {
    /// Reads URLs with commas between them.
    pub(crate) fn read(text: &str) -> Result<Self, Error> {
        let mut all: Vec<Server> = Vec::new();
        let (mut rest, mut count) = (Some(text), 0);
        while let Some(text) = rest {
            let (entry, others) =
                text.split_once(',').map_or((text, None), |(entry, others)| (entry, Some(others)));
            count += 1;
            let number = (count > 1 || others.is_some()).then_some(count);
            let url = normalize(entry).map_err(|why| wrong(entry, text, &why, number))?;
            if all.iter().all(|known| known.url != url) {
                let (shown, proxy) = (without_password(&url), proxy::describe(&url));
                all.push(Server { url, shown, proxy });
            }
            rest = others;
        }
        if all.len() > MOST {
            let count = all.len();
            return Err(Error::Configuration(format!("{count} servers are given; {MOST} are possible")));
        }
        let shown = all.iter().map(|server| &*server.shown).collect::<Vec<_>>().join(",");
        let mut all = all.into_iter();
        let first = all.next().ok_or_else(|| Error::Configuration("no server given".to_owned()))?;
        Ok(Self { first, others: all.collect(), shown })
    }

    pub(crate) fn len(&self) -> usize {
        self.others.len() + 1
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Server> {
        iter::once(&self.first).chain(&self.others)
    }

    /// All of them without passwords, with commas between them.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// As [`Servers::read`] takes them.
    pub(crate) fn text(&self) -> String {
        self.iter().map(|server| &*server.url).collect::<Vec<_>>().join(",")
    }

    /// Whether a list in the form of [`Servers::text`] has one of these.
    pub(crate) fn has_one_of(&self, text: &str) -> bool {
        text.split(',').any(|url| self.iter().any(|server| server.url == url))
    }

    /// The one that is asked first at this moment.
    pub(crate) fn favourite(&self, favourite: &Favourite) -> &Server {
        self.get(favourite.number.load(Ordering::Relaxed))
    }

    /// Begins a request.
    pub(crate) fn round<'a>(&'a self, favourite: &'a Favourite) -> Round<'a> {
        let at = favourite.number.load(Ordering::Relaxed);
        Round { servers: self, favourite, at, tried: 0, was_redirected: false, is_first: true }
    }

    fn get(&self, number: usize) -> &Server {
        number.checked_sub(1).and_then(|number| self.others.get(number)).unwrap_or(&self.first)
    }
}

/// The number of the server that answered last. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Favourite {
    number: Arc<AtomicUsize>,
}

/// The servers that one request was sent to since it paused.
pub(crate) struct Round<'a> {
    servers: &'a Servers,
    favourite: &'a Favourite,
    at: usize,
    /// A bit for each server.
    tried: u64,
    was_redirected: bool,
    is_first: bool,
}

/// What becomes of a request that a server redirects.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// The server of this round is now the one that was named.
    Followed,
    /// To this server of the list, which was no good, or after another redirect: nobody leads at this moment.
    Vain(String),
    /// To somebody who is not in the list, and who gets nothing from here.
    Stranger(String),
}

impl Round<'_> {
    /// The one to be asked.
    pub(crate) fn server(&self) -> &Server {
        self.servers.get(self.at)
    }

    /// Whether none was asked twice.
    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }

    /// It answered, so others ask it first, too.
    pub(crate) fn answered(&self) {
        self.favourite.number.store(self.at, Ordering::Relaxed);
    }

    /// It did not answer, or cannot serve the request. Returns whether there is one that was not asked yet in this
    /// round: then it is the next. If there is none, a pause is due, and another round begins.
    pub(crate) fn move_on(&mut self) -> bool {
        let count = self.servers.len();
        self.was_redirected = false;
        self.tick_off();
        // Whoever fails at the same server does not skip the next one.
        let next = (self.at + 1) % count;
        let favourite = &self.favourite.number;
        let favourite = match favourite.compare_exchange(self.at, next, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => next,
            Err(other) => other,
        };
        let in_turn = (1..count).map(|step| (self.at + step) % count);
        let untried = iter::once(favourite).chain(in_turn).find(|number| self.tried & bit(*number) == 0);
        self.at = untried.unwrap_or(favourite);
        if untried.is_none() {
            self.tried = 0;
            self.is_first = false;
        }
        untried.is_some()
    }

    /// It says that another one is to be asked for this path.
    pub(crate) fn redirect(&mut self, location: &str, path: &str) -> Redirect {
        let of = |server: &Server| Url::parse(&format!("{}{path}", server.url));
        let Some(target) = of(self.server()).ok().and_then(|from| from.join(location).ok()) else {
            return Redirect::Stranger(location.to_owned());
        };
        // The request goes to the URL that the list has, so its password and its path are those of the list.
        let is_it = |server: &Server| {
            of(server).is_ok_and(|url| {
                url.origin() == target.origin() && (target.path() == url.path() || target.path() == path)
            })
        };
        match self.servers.iter().position(is_it) {
            Some(_) if self.servers.len() == 1 => Redirect::Stranger(shown(target)),
            Some(number) if self.was_redirected || number == self.at || self.tried & bit(number) != 0 => {
                Redirect::Vain(shown(target))
            }
            Some(number) => {
                self.tick_off();
                self.at = number;
                self.was_redirected = true;
                Redirect::Followed
            }
            None => Redirect::Stranger(shown(target)),
        }
    }

    fn tick_off(&mut self) {
        self.tried |= bit(self.at);
    }
}

fn bit(number: usize) -> u64 {
    1 << (number % MOST)
}

/// Where a redirect leads, for people: without what may be secret.
fn shown(mut url: Url) -> String {
    url.set_query(None);
    url.set_fragment(None);
    without_password(url.as_str())
}

fn normalize(url: &str) -> Result<String, String> {
    let text = url.trim();
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let parsed = Url::parse(&text).map_err(|error| format!(" ({error})"))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(String::new());
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(" and has a query or a fragment".to_owned());
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

/// What is wrong with an entry, which `rest` begins with: that of this number, if it is one of several.
fn wrong(entry: &str, rest: &str, why: &str, number: Option<usize>) -> Error {
    // It may be cut off at a comma in its password.
    let all = without_password(rest);
    let shown = if entry.contains('@') || all == rest { without_password(entry) } else { all };
    Error::Configuration(match number {
        None => {
            format!("the server URL is {shown:?}{why}; something like http://localhost:8000 is needed")
        }
        Some(number) => format!(
            "server {number} of the list is {shown:?}{why}; something like http://a:8000,http://b:8000 is needed, and a \
             comma within a URL is written %2C"
        ),
    })
}

/// URLs as they are shown to people, also wrong ones.
pub(crate) fn without_passwords(urls: &str) -> String {
    let mut shown = String::new();
    for entry in urls.split_inclusive(',') {
        shown.push_str(entry);
        // Of a password with a comma, what comes before it is in the entry before.
        shown = match shown.rsplit_once("://") {
            Some((before, _)) => {
                let start = before.rfind(',').map_or(0, |comma| comma + 1);
                let (done, last) = shown.split_at(start);
                [done, &without_password(last)].concat()
            }
            None => without_password(&shown),
        };
    }
    shown
}

/// A URL as it is shown to people, also one that is wrong.
fn without_password(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return url.to_owned() };
    let Some((name, password)) = user.split_once(':') else { return url.to_owned() };
    let start = url.len() - rest.len() + name.len();
    let end = start + 1 + password.len();
    [url.get(..start).unwrap_or_default(), url.get(end..).unwrap_or_default()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(text: &str) -> Vec<String> {
        Servers::read(text).unwrap().iter().map(|server| server.url.clone()).collect()
    }

    fn refusal(text: &str) -> String {
        Servers::read(text).err().unwrap().to_string()
    }

    #[test]
    fn a_url_needs_no_scheme() {
        for (given, expected) in [
            ("localhost:8000", "http://localhost:8000"),
            ("http://localhost:8000/", "http://localhost:8000"),
            (" https://locks.example.org/team/ ", "https://locks.example.org/team"),
            ("127.0.0.1", "http://127.0.0.1"),
        ] {
            assert_eq!(urls(given), [expected]);
        }
        for wrong in ["", "ftp://host", "http://", "http://host:port", "http://host/?a=1"] {
            assert!(refusal(wrong).starts_with(&format!("the server URL is {wrong:?}")), "{wrong}");
        }
    }

    #[test]
    fn several_are_a_list() {
        assert_eq!(
            urls("a:8000, https://b/team/ ,http://a:8000"),
            ["http://a:8000", "https://b/team"],
            "each once"
        );
        for (wrong, number, entry) in
            [("a,,b", 2, ""), ("a,", 2, ""), (",a", 1, ""), ("a,http://b:port,c", 2, "http://b:port")]
        {
            let message = refusal(wrong);
            assert!(
                message.starts_with(&format!("server {number} of the list is {entry:?} (")),
                "{wrong}: {message}"
            );
        }
        assert!(Servers::read(&vec!["a"; 100].join(",")).is_ok());
        let many: Vec<_> = (0..=MOST).map(|number| format!("a:{number}")).collect();
        assert!(refusal(&many.join(",")).starts_with("65 servers are given; 64"));
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        for (url, shown) in [
            ("http://etl:secret@host:8000/a@b", "http://etl@host:8000/a@b"),
            ("etl:se@cret@host", "etl@host"),
            ("http://etl@host:8000", "http://etl@host:8000"),
            ("http://host:8000", "http://host:8000"),
            ("http://a:8000,http://etl:secret@b", "http://a:8000,http://etl@b"),
            ("http://etl:sec,ret@a,http://etl:secret@b", "http://etl@a,http://etl@b"),
        ] {
            assert_eq!(without_passwords(url), shown);
        }
        let servers = Servers::read("http://etl:secret@a,http://etl:secret@b").unwrap();
        assert_eq!(servers.shown(), "http://etl@a,http://etl@b");
        assert_eq!(servers.text(), "http://etl:secret@a,http://etl:secret@b");
        for wrong in [
            "http://etl:secret@host:port",
            "http://a,http://etl:secret@host:port",
            "http://etl:secret,more@host",
        ] {
            let message = refusal(wrong);
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn whoever_fails_moves_on_until_each_was_asked() {
        let servers = Servers::read("a,b,c").unwrap();
        let favourite = Favourite::default();
        let mut round = servers.round(&favourite);
        assert_eq!(round.server().url, "http://a");
        assert!(round.move_on() && round.is_first());
        assert_eq!(servers.favourite(&favourite).url, "http://b");
        // Others that failed at the same one do not skip the next.
        let unknown = Favourite::default();
        let mut late = servers.round(&unknown);
        late.favourite = &favourite;
        assert!(late.move_on());
        assert_eq!((&*late.server().url, &*round.server().url), ("http://b", "http://b"));
        assert!(round.move_on());
        assert!(!round.move_on() && !round.is_first());
        assert_eq!(round.server().url, "http://a");
        round.answered();
        assert_eq!(servers.favourite(&favourite).url, "http://a");
        // One that another request found good goes first.
        let mut round = servers.round(&favourite);
        favourite.number.store(2, Ordering::Relaxed);
        assert!(round.move_on());
        assert_eq!(round.server().url, "http://c");
        assert!(round.move_on());
        assert_eq!(round.server().url, "http://b");
        assert!(!round.move_on());
    }

    #[test]
    fn one_server_is_asked_again_and_again() {
        let servers = Servers::read("a").unwrap();
        let favourite = Favourite::default();
        let mut round = servers.round(&favourite);
        for _ in 0..3 {
            assert!(!round.move_on());
            assert_eq!(round.server().url, "http://a");
        }
        let stranger = Redirect::Stranger("http://a/v1/peers".to_owned());
        assert_eq!(round.redirect("http://a/v1/peers", "/v1/peers"), stranger);
    }

    #[test]
    fn a_redirect_leads_to_nobody_but_a_server_of_the_list() {
        let servers = Servers::read("http://a:8000,http://etl:secret@b:8000/team,https://c").unwrap();
        let favourite = Favourite::default();
        let redirect = |location: &str| {
            let mut round = servers.round(&favourite);
            (round.redirect(location, "/v1/peers/7"), round.server().url.clone())
        };
        for (location, url) in [
            ("http://B:8000/v1/peers/7?reason=x", "http://etl:secret@b:8000/team"),
            ("http://b:8000/team/v1/peers/7", "http://etl:secret@b:8000/team"),
            ("https://c:443/v1/peers/7", "https://c"),
        ] {
            assert_eq!(redirect(location), (Redirect::Followed, url.to_owned()), "{location}");
        }
        let itself = Redirect::Vain("http://a:8000/v1/peers/7".to_owned());
        assert_eq!(redirect("/v1/peers/7").0, itself);
        for stranger in [
            "http://b/v1/peers/7",
            "https://b:8000/v1/peers/7",
            "http://d:8000/v1/peers/7",
            "http://b:8000/login",
            "//d/v1/peers/7",
            "http://a:8000.d/v1/peers/7",
            "http://a:8000@d/v1/peers/7",
        ] {
            let (followed, url) = redirect(stranger);
            assert!(matches!(followed, Redirect::Stranger(_)), "{stranger}: {followed:?}");
            assert_eq!(url, "http://a:8000");
        }
        let told = redirect("http://me:secret@d/v1/peers/7?token=secret").0;
        assert_eq!(told, Redirect::Stranger("http://me@d/v1/peers/7".to_owned()));
    }

    #[test]
    fn one_redirect_is_followed_and_none_to_a_server_that_failed() {
        let servers = Servers::read("a,b,c").unwrap();
        let favourite = Favourite::default();
        let mut round = servers.round(&favourite);
        assert_eq!(round.redirect("http://b/x", "/x"), Redirect::Followed);
        let vain = |name: &str| Redirect::Vain(format!("http://{name}/x"));
        assert_eq!(round.redirect("http://c/x", "/x"), vain("c"), "a second one");
        assert!(round.move_on());
        assert_eq!(round.server().url, "http://c");
        assert_eq!(round.redirect("http://b/x", "/x"), vain("b"), "it was asked already");
        assert!(!round.move_on());
        assert_eq!(round.redirect("http://b/x", "/x"), Redirect::Followed, "in another round");
    }
}
