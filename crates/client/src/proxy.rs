//! The HTTP proxy that the environment puts before a server. The connections find it themselves; this says which one it
//! is where it fails.

use std::env;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

/// The proxy for the server at `url`, with the variable that names it, such as `http://proxy:3128 (HTTP_PROXY)`.
pub(crate) fn describe(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    // What it gives is without the password.
    let proxy = Matcher::from_system().intercept(&url.as_str().parse().ok()?)?;
    let own =
        if url.scheme() == "https" { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let names = own.into_iter().chain(["ALL_PROXY", "all_proxy"]);
    let named_by = names.into_iter().find(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
    let address = proxy.uri().to_string();
    Some(format!("{} ({})", address.trim_end_matches('/'), named_by.unwrap_or("a setting of this system")))
}
