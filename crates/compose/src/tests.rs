//! From a document to services.

use crate::document::{Document, MARKER};
use crate::service::{Condition, Service};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A project as Compose prints it, with these services.
fn document(services: Value) -> Document {
    Document::new(json!({
        "name": "shop",
        "services": services,
        "networks": {
            "default": { "name": "shop_default", "ipam": {} },
            "back": { "name": "shop_back", "internal": true },
        },
        "volumes": { "data": { "name": "shop_data" }, "other": { "name": "theirs", "external": true } },
        "secrets": { "key": { "name": "shop_key", "file": "/p/key" }, "tok": { "name": "shop_tok", "environment": "TOK" } },
        "configs": { "conf": { "name": "shop_conf", "file": "/p/conf" } },
    }))
}

fn services(services: Value) -> BTreeMap<String, Service> {
    let all = document(services).services("v1", &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems:?}"));
    all.into_iter().map(|service| (service.name.clone(), service)).collect()
}

/// The first thing that is wrong with a service that says this.
fn refused(key: &str, value: Value) -> (String, String) {
    let mut service = json!({ "image": "x:1" });
    service[key] = value;
    let problems = document(json!({ "web": service })).services("v1", &BTreeMap::new()).expect_err(key);
    (problems[0].path.join("."), problems[0].message.clone())
}

#[test]
fn a_service_becomes_a_container() {
    let all = services(json!({ "web": {
        "image": format!("shop:{MARKER}"),
        "command": ["run", "$$HOME"],
        "entrypoint": null,
        "environment": { "A": "b", "NONE": null },
        "networks": { "back": { "aliases": ["w"] }, "default": null },
        "volumes": [
            { "type": "volume", "source": "data", "target": "/data", "volume": {} },
            { "type": "bind", "source": "/p/x", "target": "/y", "read_only": true, "bind": {} },
            { "type": "tmpfs", "target": "/t", "tmpfs": { "size": "1024" } },
        ],
        "secrets": [{ "source": "key", "target": "/run/secrets/key" }, { "source": "tok", "target": "other" }],
        "configs": [{ "source": "conf", "target": "/etc/conf" }],
        "healthcheck": { "test": ["CMD-SHELL", "x"], "interval": "1m30s", "retries": 2 },
        "deploy": { "replicas": 2, "resources": { "limits": { "cpus": 0.5, "memory": "1024", "pids": 9 } }, "placement": {} },
        "ulimits": { "nofile": 100 },
        "cap_add": ["CAP_NET_ADMIN"],
        "extra_hosts": ["a=1.2.3.4"],
        "stop_grace_period": "1m0s",
        "logging": { "driver": "json-file", "options": { "max-size": "10m", "max-file": "3" } },
    } }));
    let web = &all["web"];
    assert_eq!((web.image.reference.as_str(), web.image.repository.as_str()), ("shop:v1", "shop"));
    assert!(web.changes && !web.one_off && web.keeps_data());
    assert_eq!((web.replicas, web.grace), (Some(2), Some(std::time::Duration::from_secs(60))));
    insta::assert_snapshot!(serde_json::to_string_pretty(&web.docker).expect("it is JSON"));
}

#[test]
fn what_no_version_changes_is_named_by_its_image() {
    let all = services(json!({
        "store": { "image": "registry.example.com/redis:7" },
        "plain": { "image": "redis" },
        "told": { "image": "redis:7", "environment": { "FOR": MARKER } },
        "built": { "build": { "context": "/p" } },
    }));
    let fixed = |name: &str| all[name].fixed_version();
    assert_eq!(fixed("store").as_deref(), Some("registry.example.com-redis-7"));
    assert_eq!(fixed("plain").as_deref(), Some("redis-latest"));
    assert_eq!((fixed("told"), fixed("built")), (None, None));
    assert_eq!(all["built"].image.reference, "shop-built:v1");
}

#[test]
fn images_of_the_specification_go_before_the_file() {
    let services = json!({ "web": { "image": "x:1", "build": { "context": "/p" } }, "db": { "image": "db:1" } });
    let images = [("web".to_owned(), format!("registry.example.com/web:{MARKER}"))].into();
    let all = document(services).services("v1", &images).expect("they are whole");
    let web = all.iter().find(|service| service.name == "web").expect("it is there");
    assert_eq!(
        (web.image.reference.as_str(), web.build.is_none(), web.changes),
        ("registry.example.com/web:v1", true, true)
    );
    assert!(!all.iter().any(|service| service.name == "db" && service.changes));
}

#[test]
fn what_is_waited_for_to_complete_is_a_job() {
    let on = |name: &str, condition: &str| json!({ name: { "condition": condition, "required": true } });
    let all = services(json!({
        "web": { "image": "x:1", "depends_on": on("migrate", "service_completed_successfully") },
        "migrate": { "image": "x:1", "depends_on": on("db", "service_healthy") },
        "db": { "image": "x:1", "restart": "no" },
        "seed": { "image": "x:1", "restart": "no" },
        "front": { "image": "x:1", "restart": "no", "ports": [{ "target": 80, "published": "80", "protocol": "tcp" }] },
    }));
    let jobs: Vec<&str> = all.values().filter(|service| service.one_off).map(|service| service.name.as_str()).collect();
    assert_eq!(jobs, ["migrate", "seed"]);
    assert_eq!(all["migrate"].depends_on[0].condition, Condition::Healthy);
}

#[test]
fn what_cannot_be_done_is_refused_by_its_path() {
    let refusals = [
        ("network_mode", json!("host"), "services.web.network_mode", "not built yet"),
        ("devices", json!([{ "source": "/dev/fuse" }]), "services.web.devices", "not built yet"),
        ("tty", json!(true), "services.web.tty", "not built yet"),
        ("links", json!(["db"]), "services.web.links", "not built yet"),
        ("platform", json!("plan9/mips"), "services.web.platform", "not built yet"),
        ("volumes", json!([{ "type": "volume", "target": "/x" }]), "services.web.volumes.0", "a volume without a name"),
        ("volumes", json!([{ "type": "npipe", "target": "/x" }]), "services.web.volumes.0", "not built yet"),
        ("secrets", json!([{ "source": "key", "mode": "0400" }]), "services.web.secrets.0.mode", "not built yet"),
        (
            "networks",
            json!({ "default": { "ipv4_address": "10.0.0.2" } }),
            "services.web.networks.default.ipv4_address",
            "not built",
        ),
        (
            "ports",
            json!([{ "target": 80, "published": "80-90", "protocol": "tcp" }]),
            "services.web.ports.0.published",
            "not built",
        ),
        (
            "ports",
            json!([{ "target": 80, "published": "80", "protocol": "sctp" }]),
            "services.web.ports.0.protocol",
            "not built",
        ),
        ("deploy", json!({ "mode": "global" }), "services.web.deploy.mode", "not built yet"),
        ("logging", json!({ "driver": "syslog" }), "services.web.logging.driver", "not built yet"),
        ("healthcheck", json!({ "interval": "often" }), "services.web.healthcheck.interval", "is not a duration"),
        ("image", Value::Null, "services.web", "has no image"),
        ("surprise", json!(1), "services.web.surprise", "not built yet"),
    ];
    for (key, value, path, message) in refusals {
        let said = refused(key, value);
        assert!(said.0 == path && said.1.contains(message), "{key}: {said:?}");
    }
}
