//! An implementation of the Gateway API on the node: Traefik, and the definitions of the API's kinds.

use super::{Cluster, children, log};
use crate::built;
use crate::stage::kill;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

const GO_MOD: &str = include_str!("../../traefik/go.mod");
const MODULE: &str = "github.com/traefik/traefik/v3";
/// Where its gateway listens.
const PORT: u16 = 8000;
/// The Gateway that routes name, and its class.
const GATEWAY: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: { name: traefik }\nspec: { controllerName: \
                       traefik.io/gateway-controller }\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: \
                       web, namespace: default }\nspec:\n  gatewayClassName: traefik\n  listeners: [{ name: web, port: 8000, protocol: \
                       HTTP, allowedRoutes: { namespaces: { from: All } } }]\n";

/// The folder with `traefik` and, in `gateway-api`, the definitions; none if `cargo xtask kube build` did not build it.
pub fn traefik() -> Option<PathBuf> {
    built::folder("traefik", GO_MOD, MODULE, "traefik").filter(|folder| folder.join("gateway-api").is_dir())
}

/// Traefik, which has the Gateway `default/web`. Dropping it ends it.
pub struct Gateway {
    nsenter: Child,
    address: String,
}

impl Cluster {
    /// Starts Traefik from the folder that [`traefik`] gives, and waits until it has the Gateway.
    pub fn gateway_api(&self, folder: &Path) -> Result<Gateway, String> {
        let definitions = folder.join("gateway-api").display().to_string();
        self.kubectl(&["apply", "--server-side", "-f", &definitions])?;
        let log = log(&self.folder, "traefik")?;
        let address = format!("{}:{PORT}", self.network.inside());
        let mut command = self.inside(&folder.join("traefik"));
        let gateway = "--providers.kubernetesgateway";
        command.args([
            format!("--entrypoints.web.address={address}"),
            gateway.into(),
            format!("{gateway}.endpoint={}", self.server()),
            format!("{gateway}.token=admin-token"),
            format!("{gateway}.certauthfilepath={}", self.folder.join("ca.crt").display()),
            // A change counts at once.
            format!("{gateway}.throttleduration=0s"),
            "--providers.providersthrottleduration=0s".into(),
            "--global.checknewversion=false".into(),
            "--global.sendanonymoususage=false".into(),
        ]);
        // Neither another cluster nor a proxy of this machine's user.
        command.env_clear().env("PATH", super::programs::PATH).env("HOME", &self.folder);
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(|e| e.to_string())?).stderr(log);
        let nsenter = command.spawn().map_err(|e| format!("traefik cannot be started: {e}"))?;
        let mut gateway = Gateway { nsenter, address };
        self.wait_for("the definitions", |cluster| cluster.apply(GATEWAY).ok())?;
        let ready = r#"jsonpath={.status.conditions[?(@.type=="Programmed")].status}"#;
        self.wait_for("the gateway", |cluster| {
            if let Ok(Some(status)) = gateway.nsenter.try_wait() {
                return Some(Err(format!("traefik ended with {status}: {}", cluster.written("traefik"))));
            }
            let said = cluster.kubectl(&["get", "gateway", "web", "-o", ready]).ok()?;
            (said == "True").then_some(Ok(()))
        })??;
        Ok(gateway)
    }
}

impl Gateway {
    /// Where it takes requests, from this machine.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        children(self.nsenter.id()).into_iter().for_each(kill);
        let _ = self.nsenter.wait();
    }
}
