//! Keys, certificates and tokens of one cluster. They are worth nothing when it is gone.

use super::network::Network;
use super::programs::PATH;
use std::path::Path;
use std::process::Command;

/// Who is who: token, user, groups. Whoever has the first may do everything.
pub(super) const WHO: &[(&str, &str, &str)] = &[
    ("admin", "admin", "system:masters"),
    ("controllers", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("node", "system:node:node", "system:nodes"),
    ("proxy", "system:kube-proxy", ""),
];

/// Makes them all.
pub(super) fn make(folder: &Path, network: &Network) -> Result<(), String> {
    let tokens = WHO.iter().map(|(token, user, groups)| format!("{token}-token,{user},{token},\"{groups}\"\n"));
    super::write(&folder.join("tokens.csv"), &tokens.collect::<String>())?;
    let settings = format!(
        "[req]\ndistinguished_name = name\nprompt = no\n[name]\n\
         [ca]\nbasicConstraints = critical, CA:true\nkeyUsage = critical, keyCertSign, cRLSign\n\
         [server]\nextendedKeyUsage = serverAuth\nsubjectAltName = DNS:kubernetes.default.svc, DNS:localhost, \
         IP:127.0.0.1, IP:{}, IP:{}\n[client]\nextendedKeyUsage = clientAuth\n",
        network.inside(),
        network.api_service()
    );
    super::write(&folder.join("openssl.cnf"), &settings)?;
    let certificate = |name: &str, subject: &str, kind: &str| {
        let (key, file) = (format!("{name}.key"), format!("{name}.crt"));
        let mut args = vec!["req", "-x509", "-config", "openssl.cnf", "-extensions", kind, "-nodes", "-days", "3"];
        args.extend(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject]);
        args.extend(["-keyout", &key, "-out", &file]);
        if kind != "ca" {
            args.extend(["-CA", "ca.crt", "-CAkey", "ca.key"]);
        }
        openssl(folder, &args)
    };
    certificate("ca", "/CN=deployctl-kube", "ca")?;
    certificate("server", "/CN=kube-apiserver", "server")?;
    certificate("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", "client")?;
    certificate("front-proxy", "/CN=front-proxy-client", "client")?;
    openssl(folder, &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "accounts.key"])?;
    openssl(folder, &["pkey", "-in", "accounts.key", "-pubout", "-out", "accounts.pub"])
}

fn openssl(folder: &Path, args: &[&str]) -> Result<(), String> {
    let mut command = Command::new("openssl");
    command.args(args).current_dir(folder).env("PATH", PATH);
    super::printed(command.output(), &format!("openssl {}", args.join(" "))).map(drop)
}
