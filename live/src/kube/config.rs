//! The files that the parts of a cluster read.

use super::keys::WHO;
use super::network::Network;
use super::{NODE, POD};
use serde_json::{Value, json};
use std::path::Path;

/// Writes them all.
pub(super) fn write_all(folder: &Path, network: &Network) -> Result<(), String> {
    let put = |name: &str, value: &Value| super::write(&folder.join(name), &value.to_string());
    for (who, _, _) in WHO {
        put(&format!("{who}.kubeconfig"), &kubeconfig(folder, network, who))?;
    }
    put("kubelet.json", &kubelet(folder, network))?;
    put("proxy.json", &proxy(folder, network))?;
    std::fs::create_dir_all(folder.join("cni")).map_err(|e| e.to_string())?;
    std::fs::create_dir_all(folder.join("registries")).map_err(|e| e.to_string())?;
    put("cni/10-deployctl.conflist", &pod_network(folder, network))?;
    // Nobody answers questions for names.
    super::write(&folder.join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")?;
    super::write(&folder.join("containerd.toml"), &containerd(folder))
}

fn kubeconfig(folder: &Path, network: &Network, who: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "deployctl",
        "clusters": [{ "name": "deployctl", "cluster": {
            "server": format!("https://{}:6443", network.inside()), "certificate-authority": folder.join("ca.crt"),
        } }],
        "users": [{ "name": who, "user": { "token": format!("{who}-token") } }],
        "contexts": [{ "name": "deployctl", "context": { "cluster": "deployctl", "user": who } }],
    })
}

fn kubelet(folder: &Path, network: &Network) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false }, "webhook": { "enabled": true },
            "x509": { "clientCAFile": folder.join("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{}", network.name()), "failCgroupV1": false,
        "containerRuntimeEndpoint": format!("unix://{}", folder.join("containerd.sock").display()),
        "failSwapOn": false,
        "resolvConf": folder.join("resolv.conf"), "podLogsDir": folder.join("pods"),
        // The disk of the machine is for the machine's owner to look after.
        "evictionHard": { "memory.available": "20Mi", "nodefs.available": "0%", "imagefs.available": "0%" },
        "imageGCHighThresholdPercent": 100,
    })
}

fn proxy(folder: &Path, network: &Network) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": folder.join("proxy.kubeconfig") },
        "mode": "iptables", "clusterCIDR": network.pods(), "hostnameOverride": NODE,
        "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": "127.0.0.1:10249",
        // The machine's own limits stay.
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
        "iptables": { "minSyncPeriod": "0s" },
    })
}

fn pod_network(folder: &Path, network: &Network) -> Value {
    json!({
        "cniVersion": "0.4.0", "name": "deployctl", "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "dataDir": folder.join("addresses"),
                    "ranges": [[{ "subnet": network.pods() }]], "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "firewall", "backend": "iptables" },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

/// Registries are asked without TLS where a file below `registries` says so, see the documentation of containerd.
fn containerd(folder: &Path) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
    format!(
        "version = 2\nroot = {root:?}\nstate = {state:?}\n[grpc]\naddress = {socket:?}\n\
         [{cri}]\nsandbox_image = {POD:?}\nrestrict_oom_score_adj = true\ndisable_apparmor = true\n\
         netns_mounts_under_state_dir = true\nstream_server_address = \"127.0.0.1\"\n\
         [{cri}.containerd]\nsnapshotter = \"overlayfs\"\n\
         [{cri}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
         [{cri}.cni]\nbin_dir = {bin:?}\nconf_dir = {cni:?}\n[{cri}.registry]\nconfig_path = {registries:?}\n",
        root = at("containerd"),
        state = at("state"),
        socket = at("containerd.sock"),
        bin = super::programs::CNI,
        cni = at("cni"),
        registries = at("registries"),
    )
}
