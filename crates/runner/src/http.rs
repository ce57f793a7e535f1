//! One GET request, for health checks and smoke tests.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body, if it was asked for.
    pub body: Vec<u8>,
}

impl Answer {
    /// Such as `503 Service Unavailable`.
    pub fn status_text(&self) -> String {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        reason.map_or_else(|| self.status.to_string(), |reason| format!("{} {reason}", self.status))
    }
}

/// Makes a GET request over `stream` and reads the head of the answer, and up to `body_max` bytes of its body. The
/// caller limits the time; dropping the future closes the connection.
pub async fn get(stream: TcpStream, host: &str, path: &str, h2: bool, body_max: usize) -> Result<Answer, String> {
    let target = if h2 { format!("http://{host}{path}") } else { path.to_owned() };
    let mut request = Request::get(target).header("user-agent", "deployctl").header("accept", "*/*");
    if !h2 {
        request = request.header("host", host).header("connection", "close");
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| format!("`{path}` cannot be asked for: {e}"))?;
    let io = TokioIo::new(stream);
    if h2 {
        let shake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.map_err(say)?;
        let (mut sender, connection) = shake;
        drive(connection, async move { read(sender.send_request(request).await, body_max).await }).await
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(say)?;
        drive(connection, async move { read(sender.send_request(request).await, body_max).await }).await
    }
}

/// Runs the connection beside the exchange, in this task: nothing is left behind when it is dropped.
async fn drive<C, T>(connection: C, exchange: impl Future<Output = Result<T, String>>) -> Result<T, String>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    tokio::pin!(connection, exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The connection ends before or with the exchange; what the exchange says is what counts.
        _ = &mut connection => exchange.await,
    }
}

async fn read(
    response: Result<hyper::Response<hyper::body::Incoming>, hyper::Error>,
    body_max: usize,
) -> Result<Answer, String> {
    let response = response.map_err(say)?;
    let status = response.status().as_u16();
    if body_max == 0 {
        return Ok(Answer { status, body: Vec::new() });
    }
    let body = Limited::new(response.into_body(), body_max).collect().await;
    let body = body.map_err(|e| format!("the body of the answer: {e}"))?.to_bytes().to_vec();
    Ok(Answer { status, body })
}

fn say(error: hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() {
        return "the connection was closed before the answer".into();
    }
    if error.is_parse() {
        return "the answer is not HTTP".into();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
