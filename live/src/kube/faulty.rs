//! What stands before an API server and does wrong, as the trouble of a network, a proxy or the server itself would look.

use super::Cluster;
use crate::wire::{Target, Wire};
use serde_json::{Value, json};
use std::net::TcpListener as Listener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Nothing of this takes longer.
const LIMIT: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Everything.
    All,
    /// What reads, and ends.
    Reads,
    /// What writes.
    Writes,
    /// Server-side apply, dry runs left out.
    Applies,
    /// What goes on telling of changes.
    Watches,
}

/// What is done wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Answers with this status, these lines among the headers, and this reason in the words of an API server.
    Says(u16, &'static str, &'static str),
    /// Passes the question on, and closes the connection instead of answering.
    Swallows,
    /// Answers well, so much later.
    Slow(Duration),
    /// Takes the question and never answers.
    Hangs,
    /// Closes the connection at once.
    Closes,
    /// Answers well, and closes the connection so much later, whether all was said or not.
    Cuts(Duration),
    /// Answers with this event, as a watch does, and ends.
    Tells(&'static str),
}

/// An API server with something before it, by plain HTTP on loopback.
#[derive(Debug)]
pub struct Faulty {
    address: String,
    inner: Arc<Inner>,
    /// Connections of another time than this end.
    times: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    server: Target,
    wrongs: Mutex<Wrongs>,
}

#[derive(Debug, Default)]
struct Wrongs {
    all: Vec<(Of, Wrong, Option<usize>)>,
    met: usize,
}

impl Faulty {
    /// Before the API server of this cluster; does nothing wrong yet.
    pub fn before(cluster: &Cluster) -> Result<Self, String> {
        let listener = Listener::bind(("127.0.0.1", 0)).map_err(|e| e.to_string())?;
        listener.set_nonblocking(true).map_err(|e| e.to_string())?;
        let address = listener.local_addr().map_err(|e| e.to_string())?.to_string();
        let inner = Arc::new(Inner { server: Target::parse(&cluster.server())?, wrongs: Mutex::default() });
        let (times, now) = watch::channel(0);
        let serving = Arc::clone(&inner);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        std::thread::spawn(move || runtime.block_on(serve(listener, serving, now)));
        Ok(Self { address, inner, times })
    }

    /// The URL for a kubeconfig.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on does this as well, what was said first before what comes later.
    pub fn does(&self, of: Of, wrong: Wrong) {
        self.wrongs().all.push((of, wrong, None));
    }

    /// Does this so often.
    pub fn does_times(&self, of: Of, wrong: Wrong, times: usize) {
        self.wrongs().all.push((of, wrong, Some(times)));
    }

    /// From now on does nothing wrong.
    pub fn is_well(&self) {
        self.wrongs().all.clear();
    }

    /// How often something was done wrong.
    pub fn met(&self) -> usize {
        self.wrongs().met
    }

    /// Closes all that is open.
    pub fn cut(&self) {
        self.times.send_modify(|time| *time += 1);
    }

    fn wrongs(&self) -> std::sync::MutexGuard<'_, Wrongs> {
        self.inner.wrongs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Of {
    fn is_of(self, method: &str, path: &str) -> bool {
        let watches = path.contains("watch=1") || path.contains("watch=true");
        match self {
            Self::All => true,
            Self::Reads => method == "GET" && !watches,
            Self::Writes => method != "GET",
            Self::Applies => method == "PATCH" && !path.contains("dryRun"),
            Self::Watches => watches,
        }
    }
}

impl Inner {
    fn wrong(&self, method: &str, path: &str) -> Option<Wrong> {
        let mut wrongs = self.wrongs.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |(of, _, left): &&mut (Of, Wrong, Option<usize>)| of.is_of(method, path) && *left != Some(0);
        let (_, wrong, left) = wrongs.all.iter_mut().find(is_due)?;
        *left = left.map(|left| left - 1);
        let wrong = wrong.clone();
        wrongs.met += 1;
        Some(wrong)
    }
}

/// Until the other end of `now` is gone.
async fn serve(listener: Listener, inner: Arc<Inner>, now: watch::Receiver<u64>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut open = now.clone();
    let accept = async {
        while let Ok((client, _)) = listener.accept().await {
            let (inner, mut time) = (Arc::clone(&inner), now.clone());
            time.mark_unchanged();
            tokio::spawn(async move {
                tokio::select! {
                    done = answer(client, &inner) => drop(done),
                    _ = time.changed() => {}
                }
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = async { while open.changed().await.is_ok() {} } => {}
    }
}

/// One request on one connection.
async fn answer(mut client: TcpStream, inner: &Inner) -> std::io::Result<()> {
    let Some((head, body)) = request(&mut client).await? else { return Ok(()) };
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut limit, mut swallows) = (None, false);
    match inner.wrong(method, path) {
        Some(Wrong::Closes) => return Ok(()),
        Some(Wrong::Hangs) => return client.read_u8().await.map(drop),
        Some(Wrong::Says(status, headers, reason)) => {
            let said = said(status, reason).to_string();
            return say(&mut client, status, headers, &said).await;
        }
        Some(Wrong::Tells(event)) => return say(&mut client, 200, "", &format!("{event}\n")).await,
        Some(Wrong::Slow(pause)) => tokio::time::sleep(pause).await,
        Some(Wrong::Cuts(after)) => limit = Some(after),
        Some(Wrong::Swallows) => swallows = true,
        None => {}
    }
    let lost = |_| std::io::Error::other("the API server cannot be reached");
    let mut server = Wire::connect(&inner.server, "http/1.1", LIMIT).await.map_err(lost)?;
    let lines = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head: String = lines.map(|line| format!("{line}\r\n")).collect();
    server.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await?;
    server.write_all(&body).await?;
    server.flush().await?;
    if swallows {
        return server.read_to_end(&mut Vec::new()).await.map(drop);
    }
    let copied = tokio::io::copy_bidirectional(&mut client, &mut server);
    match limit {
        Some(limit) => drop(tokio::time::timeout(limit, copied).await),
        None => drop(copied.await),
    }
    Ok(())
}

/// The lines of a request, and its body.
async fn request(client: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if client.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some((head, body)))
}

fn said(status: u16, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": reason,
        "message": format!("{reason}, in its words"),
    })
}

async fn say(client: &mut TcpStream, status: u16, headers: &str, body: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    client.write_all(format!("{head}{body}").as_bytes()).await?;
    client.flush().await
}
