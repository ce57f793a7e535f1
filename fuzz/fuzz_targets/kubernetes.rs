//! What clusters, kubectl and Helm say: objects, whose fields are whose, rendered charts. Whatever the bytes, reading them ends, and what is
//! said of them is one word and a reason.
//!
//! `cargo +nightly fuzz run kubernetes -- -max_total_time=60`.
#![no_main]

use deployctl_core::id::Version;
use deployctl_core::instance::SecretValues;
use deployctl_kubernetes::ownership::{self, HELM, Owner};
use deployctl_kubernetes::verdict::{self, Verdict};
use deployctl_kubernetes::{
    applyset, carry, diff, drift, hooks, images, jobs, lint, manifest, permission, pods, progress, same, secrets,
};
use deployctl_spec::{ManifestSource, Manifests, Source, Spec, rendered_files};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::path::Path;

const MANAGER: &str = "deployctl";
const SPEC: &str = "
project: p
environments: { dev: {} }
apps: { web: { target: kubernetes, namespace: shop, helm: { chart: ./shop }, images: { web: 'shop:{{ version }}' } } }
";

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => judge(bytes),
        1 => take(bytes),
        _ => render(bytes),
    }
});

/// `kubectl get -o json | deployctl kubernetes verdict -`, and everything else that looks at objects of a cluster.
fn judge(bytes: &[u8]) {
    let Ok(objects) = verdict::parse(bytes) else { return };
    let since = verdict::of_since(&objects, "2026-01-01T00:00:00Z");
    for found in verdict::of(&objects).iter().chain(&since) {
        let Verdict { reason, .. } = found;
        assert!(!reason.is_empty() && !reason.contains('\n'), "{found:?}");
    }
    for object in &objects {
        drop((pods::of(object), hooks::of(object), hooks::stand(object), progress::is_cause(object)));
        drop((applyset::stranger(object, "set"), secrets::seen(object), secrets::references(object)));
        drop((permission::open(object, &[]), progress::says_deadline(object, MANAGER)));
        drop((carry::stands(object, &objects, &objects), jobs::run(object, &objects, "web")));
        assert!(diff::changes(object, object).is_empty(), "{object}");
        for other in &objects {
            drop((diff::changes(object, other), drift::of(object, other, MANAGER), same::is_as_applied(object, other)));
        }
    }
    drop((lint::of(&objects), progress::of(&objects), images::containers(objects.iter()), secrets::used(&objects)));
}

/// Fields that become ours, and somebody's again.
fn take(bytes: &[u8]) {
    let Ok(object) = serde_json::from_slice::<Value>(bytes) else { return };
    let taken = ownership::taken_over(&object, MANAGER);
    let mut ours = object.clone();
    if !ours["metadata"].is_object() {
        return;
    }
    // Each time those of one version of an API; then there is nothing left to be taken.
    for _ in 0..=taken.managed.len() + 1 {
        ours["metadata"]["managedFields"] = Value::Array(ownership::taken_over(&ours, MANAGER).managed);
    }
    assert_eq!(Value::Array(ownership::taken_over(&ours, MANAGER).managed), ours["metadata"]["managedFields"]);
    let to = taken.owner.unwrap_or(Owner { manager: "kubectl".into(), operation: "Apply".into() });
    drop((ownership::handed_back(&ours, MANAGER, &to, HELM), ownership::lost(&object, &ours, MANAGER)));
}

/// What `helm template` printed.
fn render(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let files = rendered_files(text);
    let source = Source { name: "deployctl.yaml".into(), text: SPEC.into() };
    let version = Version::new("v1").expect("a version");
    let spec = Spec::parse(Path::new("/p"), vec![source]).expect("it is right").for_version(Some(version.clone()));
    let sources: Vec<ManifestSource> = spec.manifest_sources(None).expect("it names a chart");
    let all = sources.into_iter().map(|from| Manifests { from, files: files.clone() });
    let Ok(spec) = spec.with_manifests(all.collect()) else { return };
    let environment = &spec.environments[0];
    drop(spec.resolve(&environment.name, &spec.apps()[0], &environment.regions[0], Some(&version)));
    let said = serde_json::to_string(&spec.manifests()).expect("they have string keys only");
    // Values of Secrets are nowhere else, as far as a value is one that can be told from other words.
    let SecretValues(values) = spec.secret_values();
    for value in values.values().filter(|value| value.len() > 24) {
        let value = std::str::from_utf8(value).unwrap_or_default();
        let elsewhere = text.matches(value).count() > 1;
        assert!(value.is_empty() || elsewhere || !said.contains(value), "{value:?} is kept");
    }
    for document in said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        drop(manifest::objects(document, "shop"));
    }
}
