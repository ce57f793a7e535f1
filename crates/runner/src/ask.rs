//! The questions of health checks.

use crate::{http, say};
use std::time::Duration;
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

/// A connection to `port`; the error says what is wrong with it.
pub async fn connect(to: impl ToSocketAddrs, port: u16, limit: Duration) -> Result<TcpStream, String> {
    match timeout(limit, TcpStream::connect(to)).await {
        Err(_) => Err(format!("port {port} takes no connection within {}", say(limit))),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(format!("nothing listens on port {port}"))
        }
        Ok(Err(error)) => Err(format!("port {port}: {error}")),
        Ok(Ok(stream)) => Ok(stream),
    }
}

/// GET of `path` over `stream`: 2xx and 3xx are healthy; the error says what came instead.
pub async fn get(stream: TcpStream, host: &str, path: &str, h2: bool, limit: Duration) -> Result<(), String> {
    match timeout(limit, http::get(stream, host, path, h2, 0)).await {
        Err(_) => Err(format!("GET {path}: no answer within {}", say(limit))),
        Ok(Err(why)) => Err(format!("GET {path}: {why}")),
        Ok(Ok(answer)) if (200..400).contains(&answer.status) => Ok(()),
        Ok(Ok(answer)) => Err(format!("GET {path}: {}", answer.status_text())),
    }
}
