//! The servers of a cluster.

use std::sync::Arc;

use axum::{Json, extract::State, response::IntoResponse as _};
use throttle_api::{ClusterStatus, Code};

use super::{
    documented,
    problem::{Answer, Problem},
};
use crate::http::App;

/// Tells who leads, how far each server is with the log, and how etcd's members are.
///
/// Every server answers this for itself, also while nobody leads.
#[utoipa::path(
    get,
    path = "/v1/cluster",
    operation_id = "get_cluster",
    tag = documented::SERVER,
    responses((status = 200, body = ClusterStatus, description = "The cluster."), documented::GetCluster)
)]
pub(in crate::http) async fn status(State(app): State<Arc<App>>) -> Answer {
    match &app.cluster {
        Some(cluster) => Ok(Json(cluster.status().await).into_response()),
        None => Err(Problem::new(
            Code::NotFound,
            "This server is the only one of its semaphores: its configuration has no [cluster].",
        )),
    }
}
