//! TLS to an engine, with the three files that Docker's client has: who it must be, and who we are.

use super::{denied, unreachable};
use crate::address::{Address, Tcp};
use deployctl_core::fault::Fault;
use rustls::crypto::ring;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const AUTHORITY: &str = "ca.pem";
const OURS: &str = "cert.pem";
const KEY: &str = "key.pem";

/// Has the engine prove who it is, and tells it who we are. The files are read each time: they may be renewed.
pub(crate) async fn connect(
    stream: TcpStream,
    tcp: &Tcp,
    folder: &Path,
    at: &Address,
) -> Result<TlsStream<TcpStream>, Fault> {
    let config = config(folder, at)?;
    let name = ServerName::try_from(tcp.host.clone());
    let name = name.map_err(|_| unreachable(at, &format!("no certificate is made out to `{}`", tcp.host)))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|e| trouble(&e, tcp, folder, at))
}

fn config(folder: &Path, at: &Address) -> Result<ClientConfig, Fault> {
    let unusable = |name: &str, why: &str| {
        let path = folder.join(name);
        denied(at, &format!("{} cannot be used: {why}", path.display()))
            .hint("TLS needs ca.pem, cert.pem and key.pem of the engine's authority in that folder")
    };
    let certificates = |name: &str| -> Result<Vec<CertificateDer<'static>>, Fault> {
        let all = CertificateDer::pem_file_iter(folder.join(name)).and_then(Iterator::collect);
        let all: Vec<_> = all.map_err(|e| unusable(name, &e.to_string()))?;
        if all.is_empty() { Err(unusable(name, "there is no certificate in it")) } else { Ok(all) }
    };
    let mut roots = RootCertStore::empty();
    for root in certificates(AUTHORITY)? {
        roots.add(root).map_err(|e| unusable(AUTHORITY, &e.to_string()))?;
    }
    let ours = certificates(OURS)?;
    let key = PrivateKeyDer::from_pem_file(folder.join(KEY)).map_err(|e| unusable(KEY, &e.to_string()))?;
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let versions = versions.with_safe_default_protocol_versions().map_err(|e| unreachable(at, &e.to_string()))?;
    let mut config = versions
        .with_root_certificates(roots)
        .with_client_auth_cert(ours, key)
        .map_err(|e| unusable(KEY, &e.to_string()))?;
    // What is renewed counts at once, and so does what is taken back.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// What is wrong with a connection, and with whose certificate.
pub(crate) fn trouble(error: &io::Error, tcp: &Tcp, folder: &Path, at: &Address) -> Fault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let file = |name: &str| folder.join(name).display().to_string();
    match inner {
        Some(Error::InvalidCertificate(why)) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                denied(at, "its certificate expired")
                    .hint("have it renewed there; look at the clock of this machine too")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                denied(at, "its certificate does not hold yet").hint("look at the clocks of both machines")
            }
            // An authority of the same name that is another one.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                denied(at, &format!("its certificate is from nobody in {}", file(AUTHORITY)))
                    .hint("either that is not the engine, or its authority's certificate is missing in that file")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                denied(at, &format!("its certificate is not made out to {}", tcp.host))
                    .hint("either that is not the engine, or it is named otherwise in its certificate")
            }
            other => denied(at, &format!("its certificate cannot be believed: {other}")),
        },
        Some(Error::AlertReceived(alert)) => {
            let why = match alert {
                AlertDescription::CertificateExpired => "it has expired",
                AlertDescription::UnknownCA => "it is from no authority that the engine knows",
                AlertDescription::CertificateRevoked => "it was revoked",
                AlertDescription::BadCertificate
                | AlertDescription::CertificateRequired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::AccessDenied => "it is not one that the engine lets in",
                other => return unreachable(at, &format!("it ends TLS: {other:?}")),
            };
            denied(at, &format!("it does not take our certificate {}: {why}", file(OURS)))
                .hint("use one for clients, from the authority that the engine was told of by --tlscacert")
        }
        Some(Error::InvalidMessage(_)) => {
            unreachable(at, "it does not speak TLS there").hint("look at the port; with TLS it is 2376 by custom")
        }
        Some(other) => unreachable(at, &other.to_string()),
        None => unreachable(at, &error.to_string()),
    }
}
