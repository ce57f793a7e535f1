//! Manifests of Kubernetes: which files are read, what becomes of them, what is wrong with them and where.

use deployctl_core::config::{KubernetesConfig, SecretRef, TargetConfig};
use deployctl_core::id::Version;
use deployctl_core::time::Span;
use deployctl_spec::Spec;
use serde_json::json;

const SPEC: &str = "
project: p
environments: { dev: {} }
apps:
  web:
    target: kubernetes
    context: here
    namespace: shop
    manifests: kubernetes/{{ environment }}
    images: { web: 'shop:{{ version }}' }
";
const WEB: &str =
    "# one\n\nkind: Pod\napiVersion: v1\nmetadata: { name: web }\nspec: { containers: [{ name: web, image: x }] }\n";

/// A specification, files, and what is said about them.
type Wrong<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

/// Keys of an app, files, and what is said about them.
type As<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

struct Project(tempfile::TempDir);

impl Project {
    fn new(spec: &str, files: &[(&str, &str)]) -> Self {
        let project = Self(tempfile::tempdir().expect("a directory"));
        project.write("deployctl.yaml", spec);
        files.iter().for_each(|(name, text)| project.write(name, text));
        project
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    fn load(&self) -> Result<Spec, String> {
        Spec::load(self.0.path(), &[]).map_err(|why| why.to_string())
    }

    fn wrong(&self) -> String {
        self.load().expect_err("it is wrong")
    }
}

fn resolved(spec: &Spec) -> KubernetesConfig {
    let environment = &spec.environments[0];
    let version = Version::new("v7").expect("a version");
    let app = &spec.apps()[0];
    let apps = spec.resolve(&environment.name, app, &environment.regions[0], Some(&version)).expect("it is whole");
    let [app] = &apps[..] else { panic!("one app") };
    match &app.config.target {
        TargetConfig::Kubernetes(kubernetes) => kubernetes.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn recreate_is_that_of_every_deployment() {
    let object = |kind: &str| {
        format!(
            "kind: {kind}\napiVersion: apps/v1\nmetadata: {{ name: {} }}\nspec:\n  strategy: {{ rollingUpdate: {{ maxSurge: 1 }} }}\n  \
             template: {{ spec: {{ containers: [{{ name: web, image: x }}] }} }}\n",
            kind.to_lowercase()
        )
    };
    let all = [object("DaemonSet"), object("Deployment")].join("---\n");
    for (keys, wanted) in [
        ("    strategy: recreate\n", json!({ "type": "Recreate" })),
        ("    strategy: { recreate: {} }\n", json!({ "type": "Recreate" })),
        ("    strategy: rolling\n", json!({ "rollingUpdate": { "maxSurge": 1 } })),
        ("", json!({ "rollingUpdate": { "maxSurge": 1 } })),
    ] {
        let project = Project::new(&format!("{SPEC}{keys}"), &[("kubernetes/dev/all.yaml", &all)]);
        let objects = resolved(&project.load().expect("it is whole")).objects;
        let strategy = |at: usize| objects[at].object["spec"]["strategy"].clone();
        assert_eq!((strategy(0), strategy(1)), (json!({ "rollingUpdate": { "maxSurge": 1 } }), wanted), "{keys}");
    }
}

#[test]
fn files_become_objects_with_their_places_and_images() {
    let more = "kind: ConfigMap\napiVersion: v1\nmetadata: { name: b }\n---\n---\n# c\n{ kind: ConfigMap, apiVersion: v1, metadata: { name: c } }\n";
    let files = [
        ("kubernetes/dev/web.yaml", WEB),
        ("kubernetes/dev/deep/er/b.yml", more),
        ("kubernetes/dev/.hidden.yaml", "["),
        ("kubernetes/dev/notes.txt", "["),
        ("kubernetes/prod/web.yaml", "["),
    ];
    let project = Project::new(SPEC, &files);
    let config = resolved(&project.load().expect("it is whole"));
    assert_eq!((config.context.as_deref(), config.namespace.as_str()), (Some("here"), "shop"));
    assert_eq!(config.patience, Span::secs(60));
    let places: Vec<(&str, &str)> = config
        .objects
        .iter()
        .map(|object| (object.from.as_str(), object.object["metadata"]["name"].as_str().expect("a name")))
        .collect();
    let wanted = [
        ("kubernetes/dev/deep/er/b.yml:1", "b"),
        ("kubernetes/dev/deep/er/b.yml:7", "c"),
        ("kubernetes/dev/web.yaml:3", "web"),
    ];
    assert_eq!(places, wanted);
    assert_eq!(config.objects[2].object["spec"]["containers"], json!([{ "name": "web", "image": "shop:v7" }]));
}

#[test]
fn what_was_kept_needs_no_file() {
    let project = Project::new(SPEC, &[("kubernetes/dev/web.yaml", WEB)]);
    let spec = project.load().expect("it is whole");
    let (sources, manifests, dir) = (spec.sources().to_vec(), spec.manifests(), spec.dir().to_path_buf());
    drop(project);
    let again = Spec::parse(&dir, sources).and_then(|spec| spec.with_manifests(manifests)).expect("it is whole");
    assert_eq!(resolved(&again), resolved(&spec));
}

#[test]
fn what_is_wrong_is_told_with_file_and_line() {
    let images = |name: &str| SPEC.replace("{ web:", &format!("{{ {name}:"));
    let cases: &[Wrong<'_>] = &[
        (SPEC, &[("kubernetes/dev/a.yaml", "a: 1\n---\nb: [\n")], &["spec-syntax", "kubernetes/dev/a.yaml:"]),
        (
            SPEC,
            &[("kubernetes/dev/a.yaml", "kind: Pod\n---\n\n# x\nkind: Pod\n")],
            &["this object has no `apiVersion`", "a.yaml:5"],
        ),
        (
            SPEC,
            &[("kubernetes/dev/a.yaml", WEB), ("kubernetes/dev/b.yaml", WEB)],
            &["Pod/web stands in kubernetes/dev/a.yaml:3 too", "kubernetes/dev/b.yaml:3"],
        ),
        (
            SPEC,
            &[("kubernetes/dev/kustomization.yaml", "resources: []")],
            &["this is a Kustomize overlay", "`kustomize`"],
        ),
        (SPEC, &[("kubernetes/dev/Chart.yaml", "name: x")], &["this is a Helm chart", "`chart: DIRECTORY`"]),
        (SPEC, &[], &["cannot read the manifests in `kubernetes/dev`"]),
        (SPEC, &[("kubernetes/dev/a.yaml", "# nothing\n")], &["spec-empty", "there is no object in"]),
        (
            &images("wbe"),
            &[("kubernetes/dev/a.yaml", WEB)],
            &["no container in the manifests is called `wbe`", "deployctl.yaml:10", "`web`"],
        ),
    ];
    for (spec, files, wanted) in cases {
        let said = Project::new(spec, files).wrong();
        for wanted in *wanted {
            assert!(said.contains(wanted), "wanted `{wanted}` in:\n{said}");
        }
    }
}

#[test]
fn values_of_secrets_are_neither_shown_nor_kept() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: { name: s }\nstringData:\n  key: hunter2\n";
    let web = format!(
        "{WEB}---\n# the old one was hunter1\n{secret}---\nkind: Pod\napiVersion: v1\nmetadata: {{ name: after }}\n"
    );
    let project = Project::new(SPEC, &[("kubernetes/dev/s.yaml", &web)]);
    let spec = project.load().expect("it is whole");
    let reference = SecretRef("manifests:kubernetes/dev/s/key".into());
    assert_eq!(spec.secret_values().0[&reference].as_ref(), b"hunter2");
    assert_eq!(spec.read_again().expect("they are there").secret_values().0, spec.secret_values().0);
    let config = resolved(&spec);
    let object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": { "key": { "secret": reference } } });
    assert_eq!(config.objects[1].object, object);
    let places: Vec<&str> = config.objects.iter().map(|object| object.from.as_str()).collect();
    assert_eq!(places, ["kubernetes/dev/s.yaml:3", "kubernetes/dev/s.yaml:9", "kubernetes/dev/s.yaml:15"]);
    // What is kept reads the same, in the same places, and has no value.
    let kept = serde_json::to_string(&spec.manifests()).expect("JSON");
    assert!(!kept.contains("hunter") && !format!("{spec:?}").contains("hunter"), "{kept}");
    let again =
        Spec::parse(spec.dir(), spec.sources().to_vec()).and_then(|again| again.with_manifests(spec.manifests()));
    let again = again.expect("it is whole");
    assert_eq!(resolved(&again), config);
    assert_eq!((again.secret_values().0.len(), again.manifests()), (0, spec.manifests()));
    let odd = secret.replace("hunter2", "[hunter2]");
    let said = Project::new(SPEC, &[("kubernetes/dev/s.yaml", &odd)]).wrong();
    assert!(said.contains("Secret/s: the value of `key` is no text"), "{said}");
    assert!(said.contains("kubernetes/dev/s.yaml:1") && !said.contains("hunter2"), "{said}");
    let broken = format!("{secret}  other: [hunter3\n");
    let said = Project::new(SPEC, &[("kubernetes/dev/s.yaml", &broken)]).wrong();
    assert!(said.contains("this is not YAML") && !said.contains("hunter"), "{said}");
}

#[test]
fn secrets_of_the_specification_are_keys_of_secrets() {
    let given = |key: &str| format!("{SPEC}    secrets: {{ s/key: 'env:KEY', {key}: 'file:x.pem' }}\n");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: { name: s }\nstringData: { key: changeme, user: me }\n";
    let files = [("kubernetes/dev/web.yaml", WEB), ("kubernetes/dev/s.yaml", secret)];
    let config = resolved(&Project::new(&given("tls/tls.key"), &files).load().expect("it is whole"));
    let data = json!({ "key": { "secret": "env:KEY" }, "user": { "secret": "manifests:kubernetes/dev/s/user" } });
    assert_eq!(config.objects[0].object["data"], data);
    let made = config.objects.last().expect("one more");
    assert_eq!((made.from.as_str(), &made.object["metadata"]["name"]), ("deployctl.yaml:11", &json!("tls")));
    assert_eq!(made.object["data"], json!({ "tls.key": { "secret": "file:x.pem" } }));
    let said = Project::new(&given("tls"), &files).wrong();
    assert!(said.contains("`tls` is not a key of a Secret") && said.contains("write `SECRET/KEY`"), "{said}");
}

#[test]
fn a_version_that_changes_nothing_is_warned_of() {
    let spec = SPEC.replace("shop:{{ version }}", "shop:v1");
    let project = Project::new(&spec, &[("kubernetes/dev/web.yaml", WEB)]);
    let warned = project.load().expect("it is whole").warnings.to_string();
    assert!(warned.contains("no image has the version in it: every version runs the same"), "{warned}");
}

#[test]
fn tags_that_nobody_pins_are_warned_of() {
    let two =
        WEB.replace("image: x }", "image: x }, { name: proxy, image: envoy:1 }, { name: own, image: 'o@sha256:ab' }");
    let files = [("kubernetes/dev/web.yaml", two.as_str())];
    let warned = Project::new(SPEC, &files).load().expect("it is whole").warnings.to_string();
    assert!(
        warned.contains("may come to mean others: proxy (envoy:1)") && warned.contains("under `images`"),
        "{warned}"
    );
    let left =
        Project::new(&format!("{SPEC}    pin_tags: false\n"), &files).load().expect("it is whole").warnings.to_string();
    assert!(!left.contains("envoy"), "{left}");
}

#[test]
fn commands_run_as_a_container_that_is_there() {
    let workload = |kind: &str, name: &str, containers: &str| {
        format!(
            "kind: {kind}\napiVersion: apps/v1\nmetadata: {{ name: {name} }}\nspec: {{ template: {{ spec: {{ containers: [{containers}] }} }} }}\n"
        )
    };
    let web = workload("Deployment", "web", "{ name: web, image: x }, { name: log, image: y }");
    let db = workload("StatefulSet", "db", "{ name: db, image: x }");
    let spec = |keys: &str| format!("{SPEC}    migrate: {{ run: [up] }}\n{keys}");
    let both = [("kubernetes/dev/web.yaml", web.as_str()), ("kubernetes/dev/db.yaml", db.as_str())];
    let like = |keys: &str| {
        let found = resolved(&Project::new(&spec(keys), &both).load().expect("it is whole")).jobs.expect("one");
        (found.workload, found.container)
    };
    assert_eq!(like("    jobs_as: db\n"), ("db".into(), "db".into()));
    assert_eq!(like("    jobs_as: web/web\n"), ("web".into(), "web".into()));
    let cases: &[As<'_>] = &[
        ("", &both, "there are several workloads that commands could run as: db, web"),
        ("", &both[..1], "`web` has several containers: web, log"),
        ("    jobs_as: wbe\n", &both, "no Deployment, StatefulSet or DaemonSet is called `wbe`"),
        ("    jobs_as: web/x\n", &both, "`web` has no container `x`"),
        ("", &[("kubernetes/dev/web.yaml", WEB)], "and the manifests have none"),
        (
            "    jobs_as: db\n    smoke: [{ http: /x }]\n",
            &both,
            "on which port the pods of `db` answer is nowhere said",
        ),
        ("    jobs_as: db\n    hooks: { before: [[x, '{{ data }}']] }\n", &both, "commands in a cluster have no"),
    ];
    for (keys, files, wanted) in cases {
        let said = Project::new(&spec(keys), files).wrong();
        assert!(said.contains(wanted), "wanted `{wanted}` in:\n{said}");
    }
    let asked = workload("StatefulSet", "db", "{ name: db, image: x, ports: [{ containerPort: 5432 }] }");
    let files = [both[0], ("kubernetes/dev/db.yaml", asked.as_str())];
    let port = |keys: &str| resolved(&Project::new(&spec(keys), &files).load().expect("it is whole")).smoke_port;
    assert_eq!((port("    jobs_as: db\n    smoke: [{ http: /x }]\n"), port("    jobs_as: db\n")), (Some(5432), None));
}
