//! The client: one connection over the engine's socket, a request at a time.

use crate::{Query, SOCKET};
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_sys::socket::SocketPath;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tokio::net::UnixStream;

/// Answers larger than this are not ours.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A connection to an engine.
pub struct Client {
    send: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects to the engine of a state directory; fails at once if none listens.
    pub async fn connect(state: &Path) -> std::io::Result<Self> {
        let path = SocketPath::new(&state.join(SOCKET))?;
        let stream = UnixStream::connect(path.as_path()).await?;
        let (send, connection) = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(async move {
            // How it ends is seen by the request that waits for an answer.
            let _ = connection.await;
        });
        Ok(Self { send })
    }

    /// GET, with an answer in JSON.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str, query: &Query) -> Result<T, Refused> {
        let body = self.request(Method::GET, &format!("{path}{}", query.text()), Bytes::new()).await?;
        read(body).await
    }

    /// POST of JSON, with an answer in JSON.
    pub async fn post<T: DeserializeOwned>(&mut self, path: &str, ask: &impl Serialize) -> Result<T, Refused> {
        let bytes = serde_json::to_vec(ask).map_err(|e| lost(&e.to_string()))?;
        let body = self.request(Method::POST, path, bytes.into()).await?;
        read(body).await
    }

    /// GET of JSON lines.
    pub async fn lines(mut self, path: &str, query: &Query) -> Result<Lines, Refused> {
        let body = self.request(Method::GET, &format!("{path}{}", query.text()), Bytes::new()).await?;
        Ok(Lines { body, rest: Vec::new(), _client: self })
    }

    async fn request(&mut self, method: Method, path: &str, body: Bytes) -> Result<Incoming, Refused> {
        self.send.ready().await.map_err(|e| lost(&e.to_string()))?;
        let request = Request::builder().method(method).uri(path).header("host", "engine");
        let request = request.header("content-type", "application/json").body(Full::new(body));
        let request = request.map_err(|e| lost(&e.to_string()))?;
        let answer = self.send.send_request(request).await.map_err(|e| lost(&e.to_string()))?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let status = answer.status();
        let refused: Result<Refused, _> = read(answer.into_body()).await;
        Err(refused.unwrap_or_else(|_| lost(&format!("it answered {status} without a reason"))))
    }
}

/// The last one of lines that cannot go on: why.
#[derive(Serialize, Deserialize)]
pub struct Broken {
    /// Why.
    pub refused: Refused,
}

fn parsed<T: DeserializeOwned>(line: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(line).map_err(|e| match serde_json::from_slice::<Broken>(line) {
        Ok(broken) => broken.refused,
        Err(_) => lost(&e.to_string()),
    })
}

/// JSON lines as they come.
pub struct Lines {
    body: Incoming,
    rest: Vec<u8>,
    _client: Client,
}

impl Lines {
    /// The next one; none at the end.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Refused> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return parsed(&line).map(Some);
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(lost(&error.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.rest.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, Refused> {
    let limited = http_body_util::Limited::new(body, ANSWER_BYTES_MAX);
    let bytes = limited.collect().await.map_err(|e| lost(&e.to_string()))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|e| lost(&e.to_string()))
}

/// The connection broke; the code by which a caller knows that connecting anew may help.
pub const LOST: &str = "engine-lost";

fn lost(why: &str) -> Refused {
    Refused::new(RefusedKind::Unreachable, LOST, format!("the connection to the engine broke: {why}"))
        .hint("what it accepted goes on by itself; `deployctl status` starts it again and shows how things are")
}

#[cfg(test)]
mod tests {
    use super::{Broken, LOST, parsed};
    use deployctl_core::ask::{Refused, RefusedKind};
    use deployctl_core::instance::LogLine;

    #[test]
    fn lines_that_cannot_go_on_say_why() {
        let refused = Refused::new(RefusedKind::Unreachable, "target-unreachable", "nobody answers".to_owned());
        let line = serde_json::to_vec(&Broken { refused: refused.clone() }).unwrap();
        assert_eq!(parsed::<LogLine>(&line).unwrap_err(), refused);
        assert_eq!(parsed::<LogLine>(b"{}").unwrap_err().code, LOST);
    }
}
