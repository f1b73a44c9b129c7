//! The dashboard's sign-in: a token that is known is kept by the browser, in a cookie that no script can read.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::SET_COOKIE},
    response::{IntoResponse as _, Response},
};
use throttle_api::{Code, SignInBody};

use super::{
    documented,
    problem::{Answer, Problem},
    read,
};
use crate::{http::App, security::COOKIE_NAME};

const EXAMPLE: &str = r#"{"token": "thr_…"}"#;

/// Signs in: the answer sets a cookie with the token, which stands for it in later requests of the same browser.
#[utoipa::path(
    post,
    path = "/v1/session",
    operation_id = "sign_in",
    tag = documented::SERVER,
    request_body = SignInBody,
    responses((status = 204, description = "The token is known."), documented::SignIn)
)]
pub(in crate::http) async fn sign_in(State(app): State<Arc<App>>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let (SignInBody { token }, _) = read::body(&app, &parts.headers, body, EXAMPLE).await?;
    if app.guard.is_open() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if app.guard.whose(&token).await.is_err() {
        let detail = "The token is not known here, or no longer.";
        return Err(Problem::new(Code::Unauthenticated, detail));
    }
    // A browser forgets it when it is closed.
    Ok(cookie(&app, &token, ""))
}

/// Signs out: the browser forgets the token.
#[utoipa::path(
    delete,
    path = "/v1/session",
    operation_id = "sign_out",
    tag = documented::SERVER,
    responses((status = 204, description = "The browser forgets the token."))
)]
pub(in crate::http) async fn sign_out(State(app): State<Arc<App>>) -> Response {
    cookie(&app, "", "; Max-Age=0")
}

fn cookie(app: &App, token: &str, more: &str) -> Response {
    let secure = if app.is_encrypted { "; Secure" } else { "" };
    let text = format!("{COOKIE_NAME}={token}; HttpOnly; SameSite=Strict; Path=/{secure}{more}");
    let mut response = StatusCode::NO_CONTENT.into_response();
    // A token that is known has letters and digits only.
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().insert(SET_COOKIE, value);
    }
    response
}
