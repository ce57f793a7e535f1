//! Answers of the proxy itself.

use crate::table::Service;
use crate::upstream::body::AnswerBody;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use std::time::Duration;

/// An answer of the proxy itself: the service's page for `status` if it has one, else `why` as plain text.
pub(crate) fn answer(status: u16, why: &str, service: Option<&Service>) -> Response<AnswerBody> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let page = service.and_then(|service| service.pages.get(&status.as_u16()));
    match page {
        Some(page) => build(status, "text/html; charset=utf-8", page.clone()),
        None => build(status, "text/plain; charset=utf-8", format!("{status}: {why}\n").into()),
    }
}

/// 503 with the maintenance page.
pub(crate) fn maintenance(retry_after: Duration, page: Option<&str>) -> Response<AnswerBody> {
    const PAGE: &str = "<!doctype html><meta charset=utf-8><title>Maintenance</title>\
        <h1>Down for maintenance</h1><p>Please come back in a while.</p>\n";
    let page = Bytes::from(page.unwrap_or(PAGE).to_owned());
    let mut answer = build(StatusCode::SERVICE_UNAVAILABLE, "text/html; charset=utf-8", page);
    retry(&mut answer, retry_after);
    answer
}

/// Says when to come again.
pub(crate) fn retry(answer: &mut Response<AnswerBody>, after: Duration) {
    let seconds = after.as_millis().div_ceil(1000).max(1);
    if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
        answer.headers_mut().insert(header::RETRY_AFTER, value);
    }
}

/// 308 to `location`.
pub(crate) fn redirect(location: &str) -> Response<AnswerBody> {
    let mut answer = build(StatusCode::PERMANENT_REDIRECT, "text/plain; charset=utf-8", Bytes::new());
    match HeaderValue::from_str(location) {
        Ok(location) => drop(answer.headers_mut().insert(header::LOCATION, location)),
        Err(_) => *answer.status_mut() = StatusCode::BAD_REQUEST,
    }
    answer
}

fn build(status: StatusCode, kind: &'static str, body: Bytes) -> Response<AnswerBody> {
    let mut answer = Response::new(AnswerBody::Whole((!body.is_empty()).then_some(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
