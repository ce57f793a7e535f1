//! Overlays and charts: what is asked for, what becomes of the answer, what is wrong and where.

use deployctl_core::config::{KubernetesConfig, TargetConfig};
use deployctl_core::id::Version;
use deployctl_spec::{ManifestSource, Manifests, Source, Spec};
use serde_json::json;
use std::path::Path;

const HELM: &str = "
project: p
environments: { dev: {}, prod: {} }
apps:
  web:
    target: kubernetes
    context: here
    namespace: shop
    helm:
      chart: ./charts/shop
      values: [values.yaml, 'values-{{ environment }}.yaml']
      set: { image.tag: '{{ version }}', replicas: 3, image.pull: true, name: web }
";
const WEB: &str = "# Source: shop/templates/web.yaml\nkind: Pod\napiVersion: v1\nmetadata: { name: web }\n\
                   spec: { containers: [{ name: web, image: 'shop:v7' }] }\n";

fn version() -> Version {
    Version::new("v7").expect("a version")
}

fn parse(text: &str) -> Result<Spec, String> {
    let source = Source { name: "deployctl.yaml".into(), text: text.into() };
    Spec::parse(Path::new("/p"), vec![source]).map_err(|why| why.to_string())
}

fn sources(text: &str, version: Option<Version>) -> Result<Vec<ManifestSource>, String> {
    parse(text)?.for_version(version).manifest_sources(None).map_err(|why| why.to_string())
}

/// The specification with this for every source.
fn with(text: &str, rendered: &str) -> Result<Spec, String> {
    let spec = parse(text)?.for_version(Some(version()));
    let sources = spec.manifest_sources(None).map_err(|why| why.to_string())?;
    let file = Source { name: "rendered shop/templates/web.yaml".into(), text: rendered.into() };
    let all = sources.into_iter().map(|from| Manifests { from, files: vec![file.clone()] });
    spec.with_manifests(all.collect()).map_err(|why| why.to_string())
}

fn resolved(spec: &Spec) -> KubernetesConfig {
    let environment = &spec.environments[0];
    let apps = spec.resolve(&environment.name, &spec.apps()[0], &environment.regions[0], Some(&version()));
    match &apps.expect("it is whole")[..] {
        [app] => match &app.config.target {
            TargetConfig::Kubernetes(kubernetes) => kubernetes.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{} apps", other.len()),
    }
}

#[test]
fn a_chart_is_asked_for_once_per_environment_at_its_version() {
    let asked = sources(HELM, Some(version())).expect("it is whole");
    let [ManifestSource::Helm(dev), ManifestSource::Helm(prod)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((dev.chart.as_str(), dev.release.as_str(), dev.namespace.as_str()), ("/p/charts/shop", "web", "shop"));
    assert_eq!(dev.values, ["/p/values.yaml", "/p/values-dev.yaml"]);
    assert_eq!(prod.values, ["/p/values.yaml", "/p/values-prod.yaml"]);
    let wanted = json!({ "image": { "tag": "v7", "pull": true }, "replicas": 3, "name": "web" });
    assert_eq!(serde_json::Value::Object(dev.set.clone()), wanted);
    // A version that looks like a number is a text all the same.
    let asked = sources(HELM, Version::new("7").ok()).expect("it is whole");
    assert!(matches!(&asked[0], ManifestSource::Helm(chart) if chart.set["image"]["tag"] == "7"), "{asked:?}");
}

#[test]
fn charts_of_repositories_and_registries_have_versions() {
    let of = |helm: &str| HELM.replace("chart: ./charts/shop", helm);
    let chart = |helm: &str| match &sources(&of(helm), Some(version())).expect("it is whole")[0] {
        ManifestSource::Helm(chart) => chart.clone(),
        other => panic!("{other:?}"),
    };
    let found = chart("chart: shop\n      repository: https://x.test\n      version: 1.2.3");
    assert_eq!((found.chart.as_str(), found.repository.as_deref()), ("shop", Some("https://x.test")));
    assert_eq!(found.version.as_deref(), Some("1.2.3"));
    let moving = "chart: oci://x.test/shop\n      version: '{{ version }}'";
    assert_eq!(chart(moving).version.as_deref(), Some("v7"));
    assert_eq!(sources(&of(moving), None).expect("it is whole"), [], "which chart it is depends on the version");
}

#[test]
fn what_was_rendered_becomes_objects_and_needs_no_program_again() {
    let spec = with(HELM, WEB).expect("it is whole");
    let config = resolved(&spec);
    assert_eq!(config.objects[0].from, "rendered shop/templates/web.yaml:2");
    assert!(!config.adopt);
    let kept = serde_json::to_string(&spec.manifests()).expect("JSON");
    let again = parse(HELM).and_then(|spec| {
        let manifests = serde_json::from_str(&kept).expect("JSON");
        spec.with_manifests(manifests).map_err(|why| why.to_string())
    });
    assert_eq!(resolved(&again.expect("it is whole")), config);
    // What was kept before there was anything to render.
    let old: Manifests = serde_json::from_str(r#"{"directory":"/p/k","files":[]}"#).expect("JSON");
    assert_eq!(old.from, ManifestSource::Directory("/p/k".into()));
}

#[test]
fn values_of_secrets_leave_what_was_rendered() {
    let secret = "kind: Secret\napiVersion: v1\nmetadata: { name: db }\nstringData: { password: hush-hush }\n";
    let spec = with(HELM, &format!("{WEB}---\n{secret}")).expect("it is whole");
    let data = resolved(&spec).objects[1].object["data"]["password"]["secret"].clone();
    let reference = data.as_str().expect("a reference");
    assert!(reference.starts_with("manifests:helm shop/web ") && reference.ends_with("/db/password"), "{reference}");
    // Each environment has its own: the same name, other values.
    let values: Vec<&[u8]> = spec.secret_values().0.values().map(AsRef::as_ref).collect();
    assert_eq!(values, [b"hush-hush", b"hush-hush"]);
    assert!(!serde_json::to_string(&spec.manifests()).expect("JSON").contains("hush"));
    assert!(!format!("{spec:?}").contains("hush"));
    let overlay = HELM.split("    helm:").next().expect("a beginning").to_owned() + "    kustomize: overlays/dev\n";
    let spec = with(&overlay, secret).expect("it is whole");
    let references: Vec<&str> = spec.secret_values().0.keys().map(|reference| reference.0.as_str()).collect();
    assert_eq!(references, ["manifests:kustomize overlays/dev/db/password"]);
}

#[test]
fn hooks_are_kept_and_tests_of_a_chart_are_left_out() {
    let hook = |name: &str, moment: &str| {
        format!(
            "---\nkind: Job\napiVersion: batch/v1\nmetadata: {{ name: {name}, annotations: {{ helm.sh/hook: {moment} }} }}\n"
        )
    };
    let text = format!("{WEB}{}{}", hook("migrate", "pre-install"), hook("asks", "test"));
    let config = resolved(&with(HELM, &text).expect("it is whole"));
    let names: Vec<_> = config.objects.iter().filter_map(|object| object.object["metadata"]["name"].as_str()).collect();
    assert_eq!(names, ["web", "migrate"]);
}

#[test]
fn images_go_into_what_was_rendered_and_adoption_is_asked_for() {
    let text = HELM.replace("    helm:\n", "    adopt: true\n    images: { web: 'other:{{ version }}' }\n    helm:\n");
    let config = resolved(&with(&text, WEB).expect("it is whole"));
    assert_eq!(config.objects[0].object["spec"]["containers"][0]["image"], "other:v7");
    assert!(config.adopt);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let cases = [
        (
            HELM.replace("    helm:", "    manifests: x\n    helm:"),
            "both `manifests` and `helm` say where the objects come from",
        ),
        (
            HELM.replace("./charts/shop", "oci://x/shop\n      repository: https://x"),
            "a chart of a registry has no repository",
        ),
        (
            HELM.replace("./charts/shop", "./charts/shop\n      version: 1.0.0"),
            "a chart of the project has its own version",
        ),
        (HELM.replace("./charts/shop", "--post-renderer"), "this is not a chart"),
        (HELM.replace("image.pull: true", "image: x"), "this does not name one value"),
        (HELM.replace("image.pull: true", "'hosts[0]': x"), "this does not name one value"),
        (HELM.replace("./charts/shop", "./charts/shop\n      release: Shop"), "this is not the name of a Helm release"),
        (HELM.replace("chart:", "chrat:"), "chrat"),
    ];
    for (text, wanted) in cases {
        let said = parse(&text)
            .map(|spec| spec.for_version(Some(version())))
            .and_then(|spec| spec.manifest_sources(None).map_err(|why| why.to_string()));
        let said = said.expect_err(wanted);
        assert!(said.contains(wanted) && said.contains("deployctl.yaml:"), "wanted `{wanted}` in:\n{said}");
    }
    let said = with(HELM, "kind: Pod\nmetadata: { name: x }\n").expect_err("it has no apiVersion");
    assert!(said.contains("this object has no `apiVersion`"), "{said}");
    assert!(said.contains("rendered shop/templates/web.yaml:1"), "{said}");
    let hooked = WEB.replace("{ name: web }", "{ name: web, annotations: { helm.sh/hook: pre-delivery } }");
    let said = with(HELM, &hooked).expect_err("there is no such hook");
    assert!(said.contains("Pod/web: `pre-delivery` is no moment of a hook"), "{said}");
    assert!(with(HELM, "\n").expect_err("nothing").contains("there is no object in the chart `/p/charts/shop`"));
}
