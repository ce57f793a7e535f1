//! One try to get an answer from one instance that speaks HTTP/2.

use crate::exchange::{Attempt, Exchanged};
use crate::flight::Ended;
use crate::forward::keep_client;
use crate::headers;
use crate::own;
use crate::pick::Picked;
use crate::reply::Turn;
use crate::upstream::Failure;
use crate::upstream::body::{AnswerBody, RequestBody};
use crate::upstream::h2;
use http::header::{self, HeaderValue};
use http::{Request, Uri, Version};
use std::future::{Future, poll_fn};
use std::task::Poll;

impl Attempt<'_> {
    pub(crate) async fn run_h2(&self, picked: Picked, body: &mut Option<RequestBody>, turn: &mut Turn) -> Exchanged {
        let had_body = body.is_some();
        let Some(request) = self.h2_request(body.take()) else {
            return Exchanged::Answer(own::answer(400, "the request target is malformed", Some(self.service)));
        };
        let sent = {
            let mut sending = std::pin::pin!(h2::send(&picked.pool, request));
            poll_fn(|cx| match picked.flight.ended(cx) {
                Some(Ended::Late) => Poll::Ready(Err((Failure::Timeout, None))),
                Some(Ended::Cut) => Poll::Ready(Err((Failure::Cut, None))),
                None => sending.as_mut().poll(cx),
            })
            .await
        };
        match sent {
            Ok(answer) => {
                let (mut parts, incoming) = answer.into_parts();
                let Picked { side, flight, bucket, .. } = picked;
                self.passed(side, &flight, parts.status.as_u16(), turn);
                headers::strip_hop_by_hop(&mut parts.headers);
                parts.version = Version::HTTP_11;
                keep_client(&mut parts.headers, self.service, bucket, self.conn.bound.tls);
                Exchanged::Answer(http::Response::from_parts(parts, AnswerBody::H2(incoming, flight)))
            }
            Err((failure, back)) => {
                let (whole, failure) = match back {
                    Some(request) => {
                        *body = had_body.then(|| request.into_body());
                        (
                            true,
                            if matches!(failure, Failure::Connect(_)) {
                                failure
                            } else {
                                Failure::Closed { sent: false }
                            },
                        )
                    }
                    None => (false, failure),
                };
                if matches!(failure, Failure::Connect(_)) {
                    self.blame(&picked);
                }
                self.failed_h2(&picked, failure, whole, turn)
            }
        }
    }

    fn h2_request(&self, body: Option<RequestBody>) -> Option<Request<RequestBody>> {
        let parts = &self.asked.parts;
        let target = self.asked.target(self.service);
        let uri =
            Uri::builder().scheme("http").authority(self.asked.host.as_str()).path_and_query(&*target).build().ok()?;
        let mut request = Request::new(body.unwrap_or_else(RequestBody::none));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        let mut map = parts.headers.clone();
        let trailers = headers::takes_trailers(&map);
        headers::strip_hop_by_hop(&mut map);
        map.remove(header::HOST);
        map.remove(header::EXPECT);
        if trailers {
            map.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        headers::set_origin(&mut map, &self.conn.origin(&self.asked.host));
        *request.headers_mut() = map;
        Some(request)
    }
}
