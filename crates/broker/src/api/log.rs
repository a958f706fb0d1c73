//! The log as anyone may read it: checkpoint, tiles, entry bundles (C2SP tlog-tiles), and consistency proofs.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tlog::Tile;
use wire::messages::Consistency;

use super::{Answer, Failure};
use crate::{receipts, refusal::Refusal, service::Broker, store::StoreError};

/// The newest signed checkpoint.
pub(super) async fn checkpoint(State(broker): State<Arc<Broker>>) -> Result<Response, Failure> {
    let checkpoint = broker.store.checkpoint().map_err(|error| Failure::to_anyone(error.into()))?;
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, checkpoint).into_response())
}

/// A tile of hashes, or an entry bundle; it never changes.
pub(super) async fn tile(State(broker): State<Arc<Broker>>, Path(path): Path<String>) -> Result<Response, Failure> {
    let tile: Tile = format!("tile/{path}").parse().map_err(|_| Failure::to_owner(not_a_tile()))?;
    let bytes = broker.store.tile(&tile).map_err(|error| match error {
        StoreError::Log(_) => Failure::to_anyone(Refusal::NotFound),
        other => Failure::to_anyone(other.into()),
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, bytes).into_response())
}

/// Between which sizes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sizes {
    from: u64,
    /// The newer size is always the newest; a client that names one names that.
    to: Option<u64>,
}

/// That the log only grew.
pub(super) async fn consistency(
    State(broker): State<Arc<Broker>>,
    Query(sizes): Query<Sizes>,
) -> Result<Answer<Consistency>, Failure> {
    let newest = broker.store.size().map_err(|error| Failure::to_anyone(error.into()))?;
    if sizes.to.is_some_and(|to| to > newest) {
        return Err(Failure::to_owner(Refusal::Malformed("the log has no such size".to_owned())));
    }
    receipts::consistency(&broker.store, sizes.from).map(Answer).map_err(Failure::to_owner)
}

fn not_a_tile() -> Refusal {
    Refusal::Malformed("this is not the path of a tile in its shortest form".to_owned())
}
