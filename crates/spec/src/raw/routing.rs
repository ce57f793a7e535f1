//! What an app says about traffic.

use super::*;

/// Which requests an app takes from the proxy, and how they are treated.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// The host name; `*.example.com` takes any one label in place of the star. Without it, any host.
    #[serde(default)]
    pub(crate) host: Option<At<Text>>,
    /// Several host names, instead of `host`.
    #[serde(default)]
    pub(crate) hosts: Option<At<Vec<At<Text>>>>,
    /// Host names from which requests are redirected to the first host.
    #[serde(default)]
    pub(crate) redirect_hosts: Option<At<Vec<At<Text>>>>,
    /// The path prefix, matched at whole segments.
    #[serde(default)]
    pub(crate) path: Option<At<Text>>,
    /// Whether the prefix is taken off before the request is passed on.
    #[serde(default)]
    pub(crate) strip: Option<bool>,
    /// Whether plain HTTP is redirected to HTTPS. Needs `tls`, and an `https://` address under `listen`.
    #[serde(default)]
    pub(crate) https_only: Option<At<bool>>,
    /// Certificate and key for these hosts.
    #[serde(default)]
    pub(crate) tls: Option<At<Tls>>,
    /// The largest request body; larger ones are answered 413. Without it there is no limit.
    #[serde(default)]
    pub(crate) body_max: Option<At<SizeText>>,
    /// How long an instance may take until its answer begins.
    #[serde(default)]
    pub(crate) timeout: Option<At<SpanText>>,
    /// How long requests are held while no instance is there (recreate), before they are answered 503.
    #[serde(default)]
    pub(crate) hold: Option<At<SpanText>>,
    /// Whether instances speak HTTP/2 without TLS (gRPC).
    #[serde(default)]
    pub(crate) h2: Option<bool>,
    /// Files with pages for errors of the proxy itself, by status: `503: down.html`.
    #[serde(default)]
    pub(crate) error_pages: Option<Entries<At<Text>>>,
    /// Whether requests are logged.
    #[serde(default)]
    pub(crate) access_log: Option<bool>,
}

/// Certificate and key, relative to the project.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The file with the certificate and its chain, PEM.
    pub(crate) certificate: At<Text>,
    /// The file with the private key, PEM.
    pub(crate) key: At<Text>,
}
