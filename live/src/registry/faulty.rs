//! What stands before a registry and does wrong, as the trouble of a network, a proxy or the registry itself would look.

use super::Registry;
use super::call::{self, Answer};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Everything.
    All,
    /// Manifests, by name or by digest.
    Manifests,
    /// Manifests by their digest.
    Pinned,
    /// Blobs: configurations and layers.
    Blobs,
}

/// What is done wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Answers with this status, this line among the headers, and an error in the words of registries with this code.
    Says(u16, &'static str, &'static str),
    /// Takes the question and never answers.
    Hangs,
    /// Closes the connection at once.
    Closes,
    /// Announces all, sends half.
    Halves,
    /// Sends other bytes of the same length.
    Alters,
    /// Answers well, so much later.
    Slow(Duration),
}

/// A registry with something before it.
pub struct Faulty {
    address: String,
    wrong: Arc<Mutex<Option<(Of, Wrong)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Faulty {
    /// Before this registry; does nothing wrong yet.
    pub fn before(registry: &Registry) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (wrong, asked) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(Vec::new())));
        let (does, noted, behind) = (Arc::clone(&wrong), Arc::clone(&asked), registry.address().to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (does, noted, behind) = (Arc::clone(&does), Arc::clone(&noted), behind.clone());
                std::thread::spawn(move || answer(stream, &does, &noted, &behind));
            }
        });
        Self { address, wrong, asked }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on does this.
    pub fn does(&self, of: Of, wrong: Wrong) {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some((of, wrong));
    }

    /// From now on does nothing wrong.
    pub fn is_well(&self) {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What was asked since the last call of this, `METHOD PATH` each.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Of {
    fn is_of(self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Manifests => path.contains("/manifests/"),
            Self::Pinned => path.contains("/manifests/sha256:"),
            Self::Blobs => path.contains("/blobs/"),
        }
    }
}

/// One request on one connection.
fn answer(mut stream: TcpStream, does: &Mutex<Option<(Of, Wrong)>>, asked: &Mutex<Vec<String>>, behind: &str) {
    let Ok(read) = stream.try_clone() else { return };
    let mut reader = BufReader::new(read);
    // The beginning of TLS has no lines: whoever tries that first learns at once that there is none.
    if !reader.fill_buf().is_ok_and(|bytes| bytes.first().is_some_and(u8::is_ascii_uppercase)) {
        return;
    }
    let Some((request, headers, length)) = head(&mut reader) else { return };
    let mut words = request.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
    let mut body = Vec::new();
    let _ = reader.take(length).read_to_end(&mut body);
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{method} {path}"));
    let wrong = does.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let wrong = wrong.filter(|(of, _)| of.is_of(path)).map(|(_, wrong)| wrong);
    match wrong {
        Some(Wrong::Closes) => return,
        Some(Wrong::Hangs) => {
            // Until the other side gives up.
            let _ = stream.read(&mut [0]);
            return;
        }
        Some(Wrong::Says(status, header, code)) => {
            let body = format!(r#"{{"errors":[{{"code":"{code}","message":"in its words"}}]}}"#);
            let head = format!("content-type: application/json\r\n{header}");
            let _ = say(&mut stream, method, status, &head, body.len(), body.as_bytes());
            return;
        }
        Some(Wrong::Slow(pause)) => std::thread::sleep(pause),
        _ => {}
    }
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let Ok(mut good) = call::call(behind, method, path, &headers, &body) else { return };
    let length = good.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(good.body.len());
    match wrong {
        Some(Wrong::Halves) => good.body.truncate(length / 2),
        Some(Wrong::Alters) => good.body.iter_mut().skip(length / 2).take(1).for_each(|byte| *byte ^= 1),
        _ => {}
    }
    let _ = say(&mut stream, method, good.status, &kept(&good), length, &good.body);
}

/// See [`head`].
type Head = (String, Vec<(String, String)>, u64);

/// The first line of a request, its headers, and how long its body is.
fn head(reader: &mut impl BufRead) -> Option<Head> {
    let (mut lines, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? <= 2 {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let mut headers = Vec::new();
    for line in lines.iter().skip(1) {
        let (name, value) = line.split_once(':')?;
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        match name.as_str() {
            "content-length" => length = value.parse().ok()?,
            "host" | "connection" | "accept-encoding" => {}
            _ => headers.push((name, value)),
        }
    }
    Some((lines.first()?.clone(), headers, length))
}

/// The headers of an answer that matter.
fn kept(answer: &Answer) -> String {
    let names =
        ["content-type", "docker-content-digest", "www-authenticate", "location", "docker-upload-uuid", "range"];
    let line = |name: &&str| answer.header(name).map(|value| format!("{name}: {value}\r\n"));
    names.iter().filter_map(line).collect()
}

fn say(
    stream: &mut TcpStream,
    method: &str,
    status: u16,
    headers: &str,
    length: usize,
    body: &[u8],
) -> std::io::Result<()> {
    let version = "docker-distribution-api-version: registry/2.0\r\nconnection: close\r\n";
    let head = format!("HTTP/1.1 {status} Said\r\n{version}content-length: {length}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes())?;
    if method != "HEAD" {
        stream.write_all(body)?;
    }
    stream.flush()
}
