//! The connection to the engine, and what its answers mean.

use crate::address::Address;
use crate::connect::Connector;
use crate::known;
use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker as Api};
use deployctl_core::fault::{Applied, Fault, FaultKind, Retry};
use deployctl_runner::say;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// An engine that does not say how things are for so long is in trouble.
pub(crate) const USUAL: Duration = Duration::from_secs(10);
/// Nor does it do anything in more than this.
pub(crate) const WORK: Duration = Duration::from_secs(120);
/// The API that everything here needs: that of Docker 20.10.
const OLDEST: (usize, usize) = (1, 41);
/// Longer than any call; the calls have limits of their own.
const NO_LIMIT: u64 = 24 * 3600;

/// Connections to an engine elsewhere take long to be made: so many are kept, unused, for so long.
const IDLE_MAX: usize = 4;
const IDLE: Duration = Duration::from_secs(30);

/// In a message of the engine, whose other words differ each time.
pub(crate) const FULL: &str = "no space left on device";

/// An engine.
#[derive(Debug)]
pub(crate) struct Client {
    address: Address,
    /// Where it stands which engine answered there first.
    first: Option<PathBuf>,
    current: Mutex<Option<Api>>,
}

/// Why a call did not do what it should.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The engine said no.
    Said {
        /// The HTTP status.
        status: u16,
        /// In its words.
        message: String,
    },
    /// It could not be asked.
    Away(Fault),
}

impl Trouble {
    /// Whether what was asked about is not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Said { status: 404, .. })
    }

    /// Whether the name is taken, or what is asked is under way.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Said { status: 409, .. })
    }

    /// As a fault; `what` is what was tried, such as `the container x cannot be created`.
    pub(crate) fn fault(self, what: &str) -> Fault {
        match self {
            Self::Away(fault) => fault,
            Self::Said { message, .. } if message.contains(FULL) => Fault::platform(format!("{what}: {FULL}"))
                .hint("free some space where the Docker Engine keeps its data: `docker system df` shows what takes it"),
            Self::Said { status: 400, message } => Fault::refused(FaultKind::Spec, format!("{what}: {message}")),
            Self::Said { status: 403, message } => Fault::refused(FaultKind::Denied, format!("{what}: {message}")),
            Self::Said { message, .. } => Fault::platform(format!("{what}: {message}")),
        }
    }
}

impl Client {
    /// A client for the engine at `address`; in the file `first` it is kept which engine answered there first. Contacts
    /// nobody yet.
    pub(crate) fn new(address: Address, first: Option<PathBuf>) -> Self {
        Self { address, first, current: Mutex::default() }
    }

    /// Where the engine is.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Where the engine is, for people.
    pub(crate) fn place(&self) -> String {
        self.address.to_string()
    }

    /// The next call asks anew what the engine speaks: it may be another one.
    pub(crate) fn forget(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A connection in the version that both sides speak.
    pub(crate) async fn api(&self) -> Result<Api, Trouble> {
        if let Some(api) = self.current.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            return Ok(api.clone());
        }
        let api = open(&self.address).map_err(|e| self.trouble(e))?;
        let api = match tokio::time::timeout(USUAL, api.negotiate_version()).await {
            Ok(done) => done.map_err(|e| self.trouble(e))?,
            Err(_) => return Err(self.slow(USUAL)),
        };
        let version = api.client_version();
        if (version.major_version, version.minor_version) < OLDEST {
            let message = format!("the Docker Engine at {} is too old: it speaks API {version}", self.place());
            let fault = Fault::refused(FaultKind::Denied, message);
            return Err(Trouble::Away(fault.hint("Docker 20.10 or newer is needed (API 1.41)")));
        }
        self.is_the_one(&api).await?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(api.clone());
        Ok(api)
    }

    /// Whether an engine elsewhere is the one that is meant.
    async fn is_the_one(&self, api: &Api) -> Result<(), Trouble> {
        if self.address.is_here() {
            return Ok(());
        }
        let info = match tokio::time::timeout(USUAL, api.info()).await {
            Ok(done) => done.map_err(|e| self.trouble(e))?,
            Err(_) => return Err(self.slow(USUAL)),
        };
        known::is_the_one(&self.address, &info, self.first.as_deref()).map_err(Trouble::Away)
    }

    /// Makes a call that takes at most `limit`.
    pub(crate) async fn call<T, F>(&self, limit: Duration, ask: impl FnOnce(Api) -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let api = self.api().await?;
        match tokio::time::timeout(limit, ask(api)).await {
            Ok(done) => done.map_err(|e| self.trouble(e)),
            Err(_) => Err(self.slow(limit)),
        }
    }

    fn slow(&self, limit: Duration) -> Trouble {
        let message = format!("the Docker Engine at {} does not answer within {}", self.place(), say(limit));
        Trouble::Away(Fault::platform(message).hint("nothing that runs is affected; look at the engine's own log"))
    }

    /// What an error of the library means.
    pub(crate) fn trouble(&self, error: Error) -> Trouble {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                if message.contains("client version") {
                    self.forget();
                    return Trouble::Away(Fault::platform(format!("the Docker Engine at {}: {message}", self.place())));
                }
                Trouble::Said { status: status_code, message: one_line(&message) }
            }
            Error::DockerStreamError { error } => Trouble::Said { status: 500, message: one_line(&error) },
            Error::RequestTimeoutError => self.slow(USUAL),
            other => {
                self.forget();
                Trouble::Away(self.away(&other))
            }
        }
    }

    fn away(&self, error: &(dyn std::error::Error + 'static)) -> Fault {
        let mut text = error.to_string();
        let mut kind = None;
        let mut source = Some(error);
        while let Some(cause) = source {
            if let Some(fault) = cause.downcast_ref::<Fault>() {
                return fault.clone();
            }
            text = cause.to_string();
            kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind).or(kind);
            source = cause.source();
        }
        let place = self.place();
        let missing = text.contains("Socket not found") || kind == Some(std::io::ErrorKind::NotFound);
        if kind == Some(std::io::ErrorKind::PermissionDenied) {
            let message = format!("the Docker Engine at {place} cannot be asked: {text}");
            let fault = Fault { kind: FaultKind::Denied, applied: Applied::No, ..Fault::platform(message) };
            return fault.hint("the engine of deployctl must run as root or as a user of the group `docker`");
        }
        let why = if missing { "there is no socket" } else { text.as_str() };
        if !self.address.is_here() {
            // It may have done what it was asked: only the answer is lost.
            let message = format!("the connection to the Docker Engine at {place} was cut: {why}");
            return Fault::platform(message).hint("what runs there is not affected; it is asked again");
        }
        let message = format!("the Docker Engine at {place} cannot be reached: {why}");
        Fault { retry: Retry::Soon, ..Fault::platform(message) }
            .hint("start it (`systemctl start docker`), or say where it is with DOCKER_HOST=unix://PATH")
    }
}

/// The library over a connection to an engine. Contacts nobody yet.
fn open(address: &Address) -> Result<Api, Error> {
    if let Address::Socket { socket } = address {
        return Api::connect_with_unix(&socket.to_string_lossy(), NO_LIMIT, API_DEFAULT_VERSION);
    }
    let mut client = legacy::Client::builder(TokioExecutor::new());
    client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(IDLE_MAX);
    let client = client.build(Connector::new(address.clone()));
    let transport = move |request: BollardRequest| {
        let answer = client.request(request);
        async move { answer.await.map_err(Error::from) }
    };
    Api::connect_with_custom_transport(transport, Some("http://docker"), NO_LIMIT, API_DEFAULT_VERSION)
}

/// A message of the engine in one line.
fn one_line(message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn who_may_not_ask_is_told_how_to() {
        let client = Client::new(Address::Socket { socket: "/x/s".into() }, None);
        let fault = client.away(&std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        assert_eq!((fault.kind, fault.applied), (FaultKind::Denied, Applied::No));
        assert_eq!(fault.message, "the Docker Engine at unix:///x/s cannot be asked: permission denied");
        assert!(fault.hint.unwrap().contains("group `docker`"));
    }

    /// A fake engine: no real one that is so old is to be had.
    #[tokio::test]
    async fn an_engine_that_is_too_old_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let fake = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked).await;
                let body = r#"{ "ApiVersion": "1.40", "MinAPIVersion": "1.12", "Version": "19.03" }"#;
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
                let _ = stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n{body}").as_bytes()).await;
            }
        });
        let Err(Trouble::Away(fault)) = Client::new(Address::Socket { socket }, None).api().await else {
            panic!("it is too old")
        };
        assert_eq!(fault.kind, FaultKind::Denied);
        assert!(fault.message.ends_with("is too old: it speaks API 1.40"), "{fault}");
        assert!(fault.hint.unwrap().contains("20.10"));
        fake.abort();
    }
}
