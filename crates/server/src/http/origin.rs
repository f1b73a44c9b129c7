//! Keeps pages of other origins from driving the server by way of somebody's browser.
//!
//! Browsers say where a request comes from, by `Origin` or `Sec-Fetch-Site`. A request that carries neither is no
//! browser's doing and is let through after two look-ups. One that does must come from a page of this very
//! server, and reach it under a name that is surely its own: with DNS rebinding, a foreign page's name leads here.

use std::{net::IpAddr, sync::Arc};

use axum::{
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Request,
        header::{ACCEPT, HOST, ORIGIN},
        uri::Authority,
    },
    response::{IntoResponse as _, Response},
};
use throttle_api::Code;

use super::{dashboard, v1::Problem};

pub(super) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The names under which this server is reached.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    names: Arc<[String]>,
    /// What the machine calls itself, where that is the server's name, too.
    own: Option<Arc<str>>,
}

impl Hosts {
    /// These, beside literal addresses and `localhost`; and what the machine calls itself, up to the first dot, if
    /// other machines can reach the server.
    ///
    /// A name without a dot is nobody's on the internet, so no foreign page can be at it. Whoever makes it lead
    /// elsewhere in this network can reach the server without a browser, too. That is not so where it listens on
    /// loopback only: there the machine may even be called as a foreign network says.
    pub fn new(names: &[String], machine: Option<&str>) -> Self {
        let label = machine.and_then(|name| name.split('.').next()).filter(|label| is_label(label));
        Self { names: names.into(), own: label.map(Into::into) }
    }

    /// By which names browsers know the server, beside its addresses, for people.
    pub fn shown(&self) -> String {
        let names = self.own.as_deref().into_iter().chain(self.names.iter().map(String::as_str));
        names.chain(["localhost"]).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
    }

    /// The setting that has the server take a name for its own, beside those that it knows.
    fn setting(&self, name: &str) -> String {
        let names: Vec<_> = self.names.iter().map(String::as_str).chain([name]).collect();
        format!("[http]\nhosts = {names:?}")
    }

    /// Refuses a request that reached the server under another name.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let text = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let is_own = Authority::try_from(text).is_ok_and(|authority| {
            let host = authority.host();
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            bare.parse::<IpAddr>().is_ok()
                || host.eq_ignore_ascii_case("localhost")
                || self.own.as_deref().is_some_and(|own| host.eq_ignore_ascii_case(own))
                || self.names.iter().any(|name| host.eq_ignore_ascii_case(name))
        });
        if is_own {
            return Ok(());
        }
        let advice = match self.missing(headers) {
            Some(setting) => {
                format!(
                    "write this into its configuration file, and start it anew: {}",
                    setting.replace('\n', " ")
                )
            }
            None => "add its name, without a port, to hosts in the section [http] of its configuration file."
                .to_owned(),
        };
        let sentence = format!(
            "The browser knows this server as {text:?}, and the server does not know that name as its own. Open it by \
             its address, or {advice}"
        );
        Err(Problem::new(Code::UnknownHost, sentence))
    }

    /// The setting that has the server know the name by which a request reached it, if that can be one.
    fn missing(&self, headers: &HeaderMap) -> Option<String> {
        let authority: Authority = headers.get(HOST)?.to_str().ok()?.parse().ok()?;
        let name = authority.host();
        let is_name = name.split('.').all(is_label) && authority.as_str().contains(name);
        is_name.then(|| self.setting(&name.to_ascii_lowercase()))
    }
}

/// Whether a text can be a part of a host name between dots.
fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// What a request of a foreign page is told.
pub(super) fn refusal<B>(request: &Request<B>, hosts: &Hosts) -> Option<Response> {
    let headers = request.headers();
    let (origin, site) = (headers.get(ORIGIN), headers.get(SEC_FETCH_SITE));
    if origin.is_none() && site.is_none() {
        return None;
    }
    let problem = check(request, origin, site, hosts).err()?;
    let is_page = dashboard::is_wanted(headers.get(ACCEPT));
    let setting = hosts.missing(headers).filter(|_| problem.code() == Code::UnknownHost);
    Some(if is_page { dashboard::refusal(&problem, setting.as_deref()) } else { problem.into_response() })
}

fn check<B>(
    request: &Request<B>,
    origin: Option<&HeaderValue>,
    site: Option<&HeaderValue>,
    hosts: &Hosts,
) -> Result<(), Problem> {
    let headers = request.headers();
    let is_own_site = site.is_none_or(|site| site == "same-origin" || site == "none");
    if is_own_site && dashboard::is_file(request.method(), request.uri().path()) {
        // Browsers send `Origin` with modules even to their own origin. The files tell nothing, and without them the
        // page could not tell its visitor what is wrong with the name or the proxy.
        return Ok(());
    }
    let is_own_origin = origin.is_none_or(|origin| is_of(origin, headers.get(HOST)));
    if is_own_origin && (is_own_site || is_followed_link(request)) {
        return hosts.check(headers);
    }
    let from = origin.or(site).and_then(|from| from.to_str().ok()).unwrap_or_default();
    let sentence = format!(
        "The request comes from a web page of another origin ({from:?}). From browsers this server takes requests of \
         its own pages only. A proxy in front of it must pass the header Host on as it is."
    );
    Err(Problem::new(Code::CrossOrigin, sentence))
}

/// Whether `origin` is that of the pages of `host`. Which scheme browsers use, only a proxy in front may know.
fn is_of(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), host.map(HeaderValue::to_str)) else { return false };
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| !authority.is_empty() && authority.eq_ignore_ascii_case(host))
}

/// Whether somebody came here by a link on another page: the front page opens, in a place of its own.
fn is_followed_link<B>(request: &Request<B>) -> bool {
    let has = |name, value| request.headers().get(name).is_some_and(|found| found == value);
    matches!(*request.method(), Method::GET | Method::HEAD)
        && request.uri().path() == "/"
        && has(SEC_FETCH_MODE, "navigate")
        && has(SEC_FETCH_DEST, "document")
}
