//! What one of several servers answers: everything while it leads; otherwise the leader does.

use std::sync::{Arc, PoisonError, RwLock};

use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, StatusCode, header::LOCATION},
    response::{IntoResponse as _, Response},
};
use opentelemetry_sdk::trace::SdkTracer;

use super::{
    app::App,
    dashboard, gate,
    origin::{self, Hosts},
    routes::{Found, find},
    service::Open,
    site::page_of_metrics,
    v0_2::text,
};
use crate::{
    cluster::{Cluster, forward, take_in},
    metrics::Metrics,
    security::Guard,
};

/// One of several servers.
pub struct Several {
    cluster: Arc<Cluster>,
    guard: Arc<Guard>,
    hosts: Hosts,
    tracer: Option<SdkTracer>,
    /// What Prometheus is told while it does not lead.
    metrics: Metrics,
    /// Everything, while it leads.
    open: RwLock<Option<Arc<Open>>>,
}

impl Several {
    /// One that does not lead.
    pub fn new(
        cluster: Arc<Cluster>,
        hosts: Hosts,
        guard: Arc<Guard>,
        metrics: Metrics,
        tracer: Option<SdkTracer>,
    ) -> Arc<Self> {
        Arc::new(Self { cluster, guard, hosts, tracer, metrics, open: RwLock::default() })
    }

    /// From now on it leads.
    pub fn lead(&self, app: Arc<App>) {
        let open = Arc::new(Open::new(app, self.tracer.clone()));
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(open);
    }

    /// From now on it follows.
    pub fn follow(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) async fn answer(&self, mut request: Box<Request>) -> Response {
        let is_passed_on = take_in(&self.cluster, &mut request);
        let found = find(request.method(), request.uri().path());
        let operation = found.route.map(|route| route.operation);
        if is_passed_on && operation == Some("get_cluster") {
            return Json(self.cluster.own_status()).into_response();
        }
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(open) = open {
            return open.answer(request).await;
        }
        if matches!(operation, Some("dashboard" | "dashboard_file"))
            && let Some(part) = self.part_of_dashboard(&request)
        {
            return part;
        }
        match operation {
            Some("livez") => text(StatusCode::OK, "Ok"),
            Some("readyz" | "health") if self.cluster.known().leader.is_some() => {
                let does =
                    if self.cluster.config.forward { "passes requests on" } else { "redirects requests" };
                text(StatusCode::OK, format!("Ok. This server follows; it {does} to the leader"))
            }
            Some("get_cluster" | "metrics") => self.own(found, request).await,
            _ => self.pass_on(found, is_passed_on, request).await,
        }
    }

    /// A part of the dashboard, which is there although nobody leads: it says so.
    fn part_of_dashboard(&self, request: &Request) -> Option<Response> {
        origin::refusal(request, &self.hosts).or_else(|| dashboard::part(request))
    }

    /// Answers what every server answers for itself.
    async fn own(&self, found: Found, mut request: Box<Request>) -> Response {
        if let Some(refusal) = origin::refusal(&request, &self.hosts) {
            return refusal;
        }
        match gate::admit(&self.guard, found, &mut request).await {
            Err(denied) => denied.answer,
            Ok(_) if found.route.is_some_and(|route| route.operation == "metrics") => {
                page_of_metrics(self.metrics.idle())
            }
            Ok(_) => Json(self.cluster.status().await).into_response(),
        }
    }

    /// Passes a request on to the leader, or says who that is.
    async fn pass_on(&self, found: Found, is_passed_on: bool, request: Box<Request>) -> Response {
        let Some(leader) = self.cluster.known().leader.filter(|_| !is_passed_on) else {
            return gate::refusal(found.dialect, "No server of the cluster leads just now. Try again soon.");
        };
        if !self.cluster.config.forward {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let mut response =
                text(StatusCode::TEMPORARY_REDIRECT, format!("Ask the leader: {}", leader.name));
            if let Ok(url) = HeaderValue::try_from(format!("{}{path}", leader.name)) {
                response.headers_mut().insert(LOCATION, url);
            }
            return response;
        }
        match forward(&self.cluster, &leader, *request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!("The leader at {} gave no answer: {error}", leader.name);
                gate::refusal(
                    found.dialect,
                    "The leader of the cluster gave no answer. Whether the request had an effect shows later: ask again.",
                )
            }
        }
    }
}
