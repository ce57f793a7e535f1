//! Manifests of Kubernetes: which files are read, what becomes of them, what is wrong with them and where.

use deployctl_core::config::{KubernetesConfig, TargetConfig};
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
    let said = Project::new(SPEC, &[("kubernetes/dev/s.yaml", secret)]).wrong();
    assert!(said.contains("Secret/s: secrets in manifests are not built yet"), "{said}");
    assert!(said.contains("kubernetes/dev/s.yaml:1") && !said.contains("hunter2"), "{said}");
    let broken = format!("{secret}  other: [hunter3\n");
    let said = Project::new(SPEC, &[("kubernetes/dev/s.yaml", &broken)]).wrong();
    assert!(said.contains("this is not YAML") && !said.contains("hunter"), "{said}");
}

#[test]
fn a_version_that_changes_nothing_is_warned_of() {
    let spec = SPEC.replace("shop:{{ version }}", "shop:v1");
    let project = Project::new(&spec, &[("kubernetes/dev/web.yaml", WEB)]);
    let warned = project.load().expect("it is whole").warnings.to_string();
    assert!(warned.contains("no image has the version in it: every version runs the same"), "{warned}");
}
