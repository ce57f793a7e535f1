//! Certificates of a table: which one a client gets, by the name that it asks for.

use crate::table::ListenKey;
use deployctl_core::route::RouteTable;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::sync::Arc;

/// The certificates of one listener.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// What they were made of, to tell whether anything changed.
    source: Vec<(Vec<String>, Vec<u8>, Vec<u8>)>,
    pub(crate) config: Arc<ServerConfig>,
}

#[derive(Debug)]
struct ByName {
    exact: HashMap<String, Arc<CertifiedKey>>,
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

impl ByName {
    fn find(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let Some(name) = name.map(str::to_ascii_lowercase) else { return self.first.clone() };
        let wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(wildcard).unwrap_or(&self.first).clone()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.find(hello.server_name()))
    }
}

/// Reads the certificates of all TLS listeners of `table`; what did not change is taken over from `previous`, with the
/// sessions of its clients.
pub(crate) fn load(
    table: &RouteTable,
    previous: &HashMap<ListenKey, Arc<Certificates>>,
) -> Result<HashMap<ListenKey, Arc<Certificates>>, String> {
    let mut all = HashMap::new();
    for listener in table.listeners.iter().filter(|listener| listener.tls) {
        let key = ListenKey { only: listener.only.clone(), environment: listener.environment.clone() };
        let mut source = Vec::new();
        for service in &table.services {
            let environment = format!("{}/{}", service.scope.project, service.scope.environment);
            let here = match &listener.only {
                Some(scope) => *scope == service.scope,
                None => environment == listener.environment,
            };
            let Some(files) = service.route.tls.as_ref().filter(|_| here) else { continue };
            let read =
                |path: &str| std::fs::read(path).map_err(|e| format!("cannot read {path} of {}: {e}", service.scope));
            let mut hosts = service.route.hosts.clone();
            hosts.extend(service.route.redirect_hosts.iter().cloned());
            source.push((hosts, read(&files.certificate)?, read(&files.key)?));
        }
        if source.is_empty() {
            return Err(format!("{} speaks TLS, but no service behind it has a certificate", listener.address));
        }
        let same = previous.get(&key).filter(|certificates| certificates.source == source);
        let certificates = match same {
            Some(same) => same.clone(),
            None => Arc::new(build(source).map_err(|why| format!("certificates for {}: {why}", listener.address))?),
        };
        all.insert(key, certificates);
    }
    Ok(all)
}

fn build(source: Vec<(Vec<String>, Vec<u8>, Vec<u8>)>) -> Result<Certificates, String> {
    let provider = ring::default_provider();
    let (mut exact, mut wildcard, mut first) = (HashMap::new(), HashMap::new(), None);
    for (hosts, chain, key) in &source {
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
        if chain.is_empty() {
            return Err("the certificate file has no certificate".into());
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| format!("the key file has no usable key: {e}"))?;
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|e| format!("certificate and key: {e}"))?;
        let key = Arc::new(key);
        for host in hosts {
            match host.to_ascii_lowercase().strip_prefix("*.") {
                Some(suffix) => wildcard.insert(suffix.to_owned(), key.clone()),
                None => exact.insert(host.to_ascii_lowercase(), key.clone()),
            };
        }
        first.get_or_insert(key);
    }
    let first = first.ok_or("there is no certificate")?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName { exact, wildcard, first }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if let Ok(ticketer) = ring::Ticketer::new() {
        config.ticketer = ticketer;
    }
    Ok(Certificates { source, config: Arc::new(config) })
}
