//! Bodies in and out.

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use deployctl_core::ask::{Refused, RefusedKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An answer in JSON: what was asked for, or why not.
pub(crate) struct Answered<T>(Result<T, Refused>);

impl<T> Answered<T> {
    pub(crate) fn of(result: Result<T, Refused>) -> Self {
        Self(result)
    }
}

impl<T: Serialize> IntoResponse for Answered<T> {
    fn into_response(self) -> Response {
        match self.0 {
            Ok(value) => (StatusCode::OK, body(&value)).into_response(),
            Err(refused) => refusal(&refused),
        }
    }
}

pub(crate) fn refusal(refused: &Refused) -> Response {
    let status = match refused.kind {
        RefusedKind::Usage => StatusCode::BAD_REQUEST,
        RefusedKind::Denied => StatusCode::FORBIDDEN,
        RefusedKind::Conflict => StatusCode::CONFLICT,
        RefusedKind::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        RefusedKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, body(refused)).into_response()
}

fn body(value: &impl Serialize) -> ([(header::HeaderName, &'static str); 1], Vec<u8>) {
    let json = serde_json::to_vec(value).unwrap_or_else(|e| format!("{{\"message\":\"{e}\"}}").into_bytes());
    ([(header::CONTENT_TYPE, "application/json")], json)
}

/// A body in JSON.
pub(crate) struct Body<T>(pub(crate) T);

/// Why a body cannot be read.
pub(crate) struct Failure(pub(crate) String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        refusal(&self.into())
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(|e| Failure(e.to_string()))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|e| Failure(format!("the request cannot be read: {e}")))
    }
}
