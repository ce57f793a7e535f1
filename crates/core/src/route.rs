//! The route table: what the data plane knows. One writer, one generation number, published whole.

use crate::config::Sticky;
use crate::fault::Fault;
use crate::id::{Fence, InstanceId, Revision, Scope};
use crate::time::Span;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that the data plane knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Grows by one with every publication.
    pub generation: u64,
    /// The highest fence of its writer.
    pub fence: Fence,
    /// Addresses to listen on.
    pub listeners: Vec<Listener>,
    /// Who takes which requests; at most one service per scope.
    pub services: Vec<Service>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// `IP:PORT`.
    pub address: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// If set, every request here goes to this scope's service, whatever its host (and without its prefix or redirects).
    pub only: Option<Scope>,
    /// The environment whose services it serves, as `PROJECT/ENVIRONMENT`, where `only` is none.
    pub environment: String,
    /// Whether it is there only as long as its scope asks for this very address; else it is the scope's own for good.
    #[serde(default, skip_serializing_if = "is_false")]
    pub published: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_false(value: &bool) -> bool {
    !value
}

/// An app as the data plane sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Whose it is.
    pub scope: Scope,
    /// Which requests, and how they are treated.
    pub route: crate::config::Route,
    /// What is done with them.
    pub mode: Mode,
    /// The sides that share the traffic.
    pub sides: BTreeMap<Revision, Side>,
    /// Of several sides the one that came last, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Revision>,
    /// How a client is kept on one side.
    pub sticky: Option<Sticky>,
    /// How healthy instances are told from others while they have traffic; the path of an HTTP check, if there is one.
    pub check: Option<ProxyCheck>,
    /// How long connections to an instance that leaves may go on.
    pub drain: Span,
}

/// An active check by the data plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyCheck {
    /// GET of this path, 2xx and 3xx are healthy; a TCP connection if none.
    pub path: Option<String>,
    /// The pause between two checks.
    pub interval: Span,
    /// How long one may take.
    pub timeout: Span,
    /// So many failures in a row take an instance out, unless it is the last one.
    pub failures: u32,
}

/// What a service does with requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Passes them on.
    Open,
    /// Holds them, up to the route's hold time and a bounded number, until it is open again.
    Paused,
    /// Answers 503 with `Retry-After` and the maintenance page.
    Maintenance {
        /// For `Retry-After`.
        retry_after: Span,
        /// The page, HTML; a built-in one if none.
        page: Option<String>,
    },
}

/// A revision's part in a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Its weight among the sides; 0 takes only forced requests.
    pub weight: u32,
    /// Its instances.
    pub instances: BTreeMap<InstanceId, String>,
}

/// Counters of one revision of one scope since the data plane process started counting them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideStats {
    /// Requests answered.
    pub requests: u64,
    /// Of them, answers 5xx or none at all.
    pub errors: u64,
    /// Time to the head of the answer: how many requests fell into each bucket of [`LATENCY_BUCKETS_MS`], and above.
    pub latency: Vec<u64>,
}

/// Upper bounds of the latency buckets, in milliseconds.
pub const LATENCY_BUCKETS_MS: [u64; 16] = [1, 2, 3, 5, 7, 10, 20, 30, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

/// What every data plane process together says about traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// The lowest generation that any process works by; none if no process runs.
    pub generation: Option<u64>,
    /// Requests and upgraded connections in flight per instance, over all processes, those left out of the table included.
    pub in_flight: BTreeMap<InstanceId, u64>,
    /// Counters per scope (as text) and revision.
    pub stats: BTreeMap<String, BTreeMap<Revision, SideStats>>,
    /// Instances that are taken out because they fail checks or requests.
    pub ejected: Vec<InstanceId>,
    /// Requests held, per scope (as text).
    pub held: BTreeMap<String, u64>,
}

/// The data plane, seen from the control plane.
#[async_trait]
pub trait Router: Send + Sync {
    /// The table that was published last, from its durable copy.
    async fn table(&self) -> Result<RouteTable, Fault>;
    /// Publishes `table`, durably, and returns when **every** data plane process works by it (starting one if none runs).
    /// Refused as a conflict if `table.generation` is not exactly one above the published one or its fence is lower.
    async fn publish(&self, table: RouteTable) -> Result<(), Fault>;
    /// Whether the data plane listens on an address already, or could: a conflict that names the owner if another
    /// process has it. Changes nothing.
    async fn can_listen(&self, _address: &str) -> Result<(), Fault> {
        Ok(())
    }
    /// What goes on.
    async fn traffic(&self) -> Result<Traffic, Fault>;
    /// Returns when in-flight counts may have reached zero or health may have changed. Cancel-safe.
    async fn changed(&self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_older_tables_are_read() {
        let text = r#"{"scope":{"project":"shop","environment":"dev","region":"default","app":"api"},
            "route":{"listen":[],"hosts":[],"redirect_hosts":[],"path":"/","strip":false,"https_only":false,"tls":null,
            "body_bytes_max":null,"timeout":60000,"hold":30000,"h2":false,"error_pages":{},"access_log":false},
            "mode":"open","sides":{},"sticky":null,"check":null,"drain":10000}"#;
        let service: Service = serde_json::from_str(text).unwrap();
        assert_eq!(service.newest, None);
        let again = serde_json::to_string(&service).unwrap();
        assert!(!again.contains("newest"), "what is not known is not said: {again}");
    }
}
