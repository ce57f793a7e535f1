//! HTTP/2 connections to instances, without TLS, by prior knowledge: one per worker and address, shared by its requests.

use super::body::RequestBody;
use super::pool::{self, Pool};
use super::{BodyFault, Failure};
use crate::spawn::Local;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::error::Error;
use std::time::Duration;

/// Sends requests on one connection.
pub(crate) type Sender = http2::SendRequest<RequestBody>;

/// The connection of `pool`, made if there is none.
async fn sender(pool: &Pool) -> Result<Sender, Failure> {
    if let Some(sender) = pool.h2.borrow().as_ref().filter(|sender| !sender.is_closed()) {
        return Ok(sender.clone());
    }
    let stream = pool::connect(pool.address).await?;
    let (sender, connection) = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_header_list_size(crate::limits::ANSWER_HEAD_BYTES_MAX as u32)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Failure::Closed { sent: false })?;
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    pool.h2.replace(Some(sender.clone()));
    Ok(sender)
}

/// Sends a request; on failure it comes back if it was not sent.
pub(crate) async fn send(
    pool: &Pool,
    request: Request<RequestBody>,
) -> Result<Response<Incoming>, (Failure, Option<Request<RequestBody>>)> {
    let mut sender = match sender(pool).await {
        Ok(sender) => sender,
        Err(failure) => return Err((failure, Some(request))),
    };
    if let Err(error) = sender.ready().await {
        return Err((failure(&error), Some(request)));
    }
    match sender.try_send_request(request).await {
        Ok(answer) => Ok(answer),
        Err(mut error) => {
            let request = error.take_message();
            Err((failure(error.error()), request))
        }
    }
}

fn failure(error: &hyper::Error) -> Failure {
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = source {
        if let Some(fault) = cause.downcast_ref::<BodyFault>() {
            return Failure::Body(*fault);
        }
        source = cause.source();
    }
    if error.is_parse() { Failure::Malformed("its HTTP/2 is malformed") } else { Failure::Closed { sent: true } }
}
