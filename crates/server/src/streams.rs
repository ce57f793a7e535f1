//! Answers that go on: JSON lines.

use crate::answer::refusal;
use crate::{Shared, selection};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query as UrlQuery, State};
use axum::response::{IntoResponse, Response};
use deployctl_api::{Query, client::Broken};
use deployctl_core::ask::Refused;
use deployctl_core::instance::LogQuery;
use futures_util::{Stream, StreamExt};
use serde::Serialize;

/// How many lines `logs` begins with unless told otherwise.
const TAIL: usize = 100;

pub(crate) async fn watch(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    let found = async {
        let id = shared.engine.deployment_id(&id).await?;
        shared.engine.watch(&id).await
    };
    let receiver = match found.await {
        Ok(receiver) => receiver,
        Err(refused) => return refusal(&refused),
    };
    // The first item is what stands there now; the last one has the verdict.
    let views = futures_util::stream::unfold((receiver, true, false), |(mut receiver, first, ended)| async move {
        if ended || (!first && receiver.changed().await.is_err()) {
            return None;
        }
        let view = receiver.borrow_and_update().clone();
        let ended = view.closed.is_some();
        Some((view, (receiver, false, ended)))
    });
    lines(views.map(Ok))
}

pub(crate) async fn logs(State(shared): State<Shared>, query: UrlQuery<Query>) -> Response {
    let wanted = LogQuery { tail: query.tail.unwrap_or(TAIL), follow: query.follow.unwrap_or(false) };
    match shared.engine.logs(&selection(&query), &wanted) {
        Ok(stream) => lines(stream),
        Err(refused) => refusal(&refused),
    }
}

fn lines<T: Serialize>(items: impl Stream<Item = Result<T, Refused>> + Send + 'static) -> Response {
    // A connection that only breaks off does not say why: so that is a line as well, and the last one.
    let bytes = items.map(|item| {
        let mut line = match &item {
            Ok(item) => serde_json::to_vec(item),
            Err(refused) => serde_json::to_vec(&Broken { refused: refused.clone() }),
        }
        .unwrap_or_default();
        line.push(b'\n');
        Ok::<_, Refused>(Bytes::from(line))
    });
    ([("content-type", "application/x-ndjson")], Body::from_stream(bytes)).into_response()
}
