//! What an app says about traffic.

use super::*;

/// Which requests an app takes from the proxy, and how they are treated.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// The host name; `*.example.com` takes any one label in place of the star. Without it, any host.
    #[schemars(extend("examples" = ["shop.example.com"]))]
    pub(crate) host: Option<At<Text>>,
    /// Several host names, instead of `host`.
    #[schemars(extend("examples" = [["shop.example.com", "*.shop.example.com"]]))]
    pub(crate) hosts: Option<At<Vec<At<Text>>>>,
    /// Host names from which requests are redirected to the first host.
    #[schemars(extend("default" = [], "examples" = [["www.shop.example.com"]]))]
    pub(crate) redirect_hosts: Option<At<Vec<At<Text>>>>,
    /// The path prefix, matched at whole segments.
    #[schemars(extend("default" = "/", "examples" = ["/api"]))]
    pub(crate) path: Option<At<Text>>,
    /// Whether the prefix is taken off before the request is passed on.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub(crate) strip: Option<bool>,
    /// Whether plain HTTP is redirected to HTTPS. Needs `tls`, and an `https://` address under `listen`.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub(crate) https_only: Option<At<bool>>,
    /// Certificate and key for these hosts.
    #[schemars(extend("examples" = [{"certificate": "tls/shop.crt", "key": "tls/shop.key"}]))]
    pub(crate) tls: Option<At<Tls>>,
    /// The largest request body; larger ones are answered 413. Without it there is no limit.
    #[schemars(extend("examples" = ["10MiB"]))]
    pub(crate) body_max: Option<At<SizeText>>,
    /// How long an instance may take until its answer begins.
    #[schemars(extend("default" = "60s", "examples" = ["5m"]))]
    pub(crate) timeout: Option<At<SpanText>>,
    /// How long requests are held while no instance is there (recreate), before they are answered 503.
    #[schemars(extend("default" = "30s", "examples" = ["10s"]))]
    pub(crate) hold: Option<At<SpanText>>,
    /// Whether instances speak HTTP/2 without TLS (gRPC).
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub(crate) h2: Option<bool>,
    /// Files with pages for errors of the proxy itself, by status: `503: down.html`.
    #[schemars(extend("examples" = [{"503": "pages/down.html"}]))]
    pub(crate) error_pages: Option<Entries<At<Text>>>,
    /// Whether requests are logged.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub(crate) access_log: Option<bool>,
}

/// Certificate and key, relative to the project.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The file with the certificate and its chain, PEM.
    #[schemars(extend("examples" = ["tls/shop.crt"]))]
    pub(crate) certificate: At<Text>,
    /// The file with the private key, PEM.
    #[schemars(extend("examples" = ["tls/shop.key"]))]
    pub(crate) key: At<Text>,
}
