//! Active checks of instances that have traffic.

use crate::shared::Shared;
use crate::table::{Instance, Table};
use crate::upstream::body::RequestBody;
use crate::upstream::h2;
use crate::upstream::pool::Pool;
use deployctl_core::route::ProxyCheck;
use http::{Request, Version};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// The checks that run, one task each.
#[derive(Debug, Default)]
pub(crate) struct Checks(HashMap<(SocketAddr, String), (ProxyCheck, JoinHandle<()>)>);

impl Checks {
    /// Checks what `table` says; checks that are as before go on.
    pub(crate) fn follow(&mut self, table: &Table, shared: &Arc<Shared>) {
        let mut before = std::mem::take(&mut self.0);
        for service in &table.services {
            let Some(check) = &service.config.check else { continue };
            for member in service.sides.iter().flat_map(|side| &side.members) {
                let key = (member.instance.address, member.instance.id.to_string());
                let running = match before.remove(&key) {
                    Some((same, task)) if same == *check => (same, task),
                    other => {
                        if let Some((_, task)) = other {
                            task.abort();
                        }
                        let h2 = service.config.route.h2;
                        let watching = watch(member.instance.clone(), check.clone(), h2, shared.clone());
                        (check.clone(), tokio::task::spawn_local(watching))
                    }
                };
                self.0.insert(key, running);
            }
        }
        for (_, task) in before.into_values() {
            task.abort();
        }
    }

    /// Checks no more.
    pub(crate) fn stop(&mut self) {
        for (_, task) in std::mem::take(&mut self.0).into_values() {
            task.abort();
        }
    }
}

async fn watch(instance: Arc<Instance>, check: ProxyCheck, h2: bool, shared: Arc<Shared>) {
    let mut failures = 0;
    loop {
        tokio::time::sleep(check.interval.0).await;
        let asking = ask(instance.address, check.path.as_deref(), h2);
        let good = matches!(tokio::time::timeout(check.timeout.0, asking).await, Ok(Ok(true)));
        failures = if good { 0 } else { failures + 1 };
        let unhealthy = failures >= check.failures.max(1);
        // One good answer takes it in again; one bad one does not take it out.
        if (good || unhealthy) && instance.unhealthy.swap(unhealthy, Relaxed) != unhealthy {
            shared.changes.tell();
        }
    }
}

async fn ask(address: SocketAddr, path: Option<&str>, h2: bool) -> io::Result<bool> {
    let Some(path) = path else {
        TcpStream::connect(address).await?;
        return Ok(true);
    };
    if h2 {
        let mut request = Request::new(RequestBody::none());
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = format!("http://{address}{path}").parse().map_err(io::Error::other)?;
        let answer = h2::send(&Pool::new(address), request).await.map_err(|(failure, _)| io::Error::other(failure))?;
        return Ok((200..400).contains(&answer.status().as_u16()));
    }
    let mut stream = TcpStream::connect(address).await?;
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: deployctl-proxy\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while answer.len() < 12 {
        if stream.read_buf(&mut answer).await? == 0 {
            return Ok(false);
        }
    }
    Ok(is_good(&answer))
}

/// Whether a status line says 2xx or 3xx.
fn is_good(line: &[u8]) -> bool {
    line.starts_with(b"HTTP/1.") && matches!(line.get(8..12), Some([b' ', b'2' | b'3', b'0'..=b'9', b'0'..=b'9']))
}

#[cfg(test)]
mod tests {
    use super::is_good;

    #[test]
    fn good_status_lines() {
        for (line, good) in [
            ("HTTP/1.1 200 OK", true),
            ("HTTP/1.0 302 Found", true),
            ("HTTP/1.1 404 Not Found", false),
            ("HTTP/1.1 503", false),
            ("SSH-2.0-Open", false),
        ] {
            assert_eq!(is_good(line.as_bytes()), good, "{line}");
        }
    }
}
