//! A start for each kind of project validates, and says what is missing.

use super::parse;
use deployctl_spec::{Listing, Spec, init};

fn start(name: &str, files: &[(&str, &str)]) -> (String, Spec) {
    let files = files.iter().map(|(path, text)| ((*path).to_string(), (*text).to_string())).collect();
    let text = init(&Listing { name: name.into(), files });
    let spec = parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    assert!(spec.warnings.0.is_empty(), "{}\n{text}", spec.warnings);
    (text, spec)
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "`{line}` is not in:\n{text}");
    }
}

#[test]
fn an_empty_directory() {
    let (text, spec) = start("My Shop", &[]);
    has(&text, &["project: my-shop\n", "command: [./my-shop, --port, \"{{ port }}\"]"]);
    assert_eq!(spec.environments.len(), 2);
    start("", &[]);
}

#[test]
fn cargo() {
    let (text, _) = start("x", &[("Cargo.toml", "[package]\nname = \"shop-api\"\nversion = \"1.0.0\"\n")]);
    has(
        &text,
        &["  shop-api: # from Cargo.toml", "artifact: target/release/shop-api", "build: [cargo, build, --release]"],
    );
    let (text, _) = start("work", &[("Cargo.toml", "[workspace]\nmembers = []\n")]);
    has(&text, &["  work: # from Cargo.toml"]);
}

#[test]
fn npm() {
    let json = r#"{ "name": "@acme/web", "scripts": { "start": "node ." } }"#;
    let (text, _) = start("x", &[("package.json", json)]);
    has(&text, &["  web: # from package.json", "command: [npm, start]", "PORT: \"{{ port }}\"", "build: [npm, ci]"]);
    let (text, _) = start("x", &[("package.json", r#"{ "main": "lib/index.js" }"#)]);
    has(&text, &["command: [node, lib/index.js]"]);
    start("x", &[("package.json", "not json")]);
}

#[test]
fn python() {
    let (text, _) = start("x", &[("pyproject.toml", "[project]\nname = \"my-app\"\n")]);
    has(&text, &["command: [python3, -m, my_app]"]);
    let (text, spec) = start("x", &[("manage.py", ""), ("requirements.txt", "django\n")]);
    has(&text, &["run: [python3, manage.py, migrate]", "\"127.0.0.1:{{ port }}\""]);
    assert_eq!(spec.apps().len(), 1);
    has(&start("x", &[("requirements.txt", ""), ("app.py", "")]).0, &["command: [python3, app.py]"]);
}

#[test]
fn procfile() {
    let text = "web: bundle exec puma -p $PORT\n# no\nworker: rake jobs\nrelease: rake db:migrate\nbad\n";
    let (text, spec) = start("x", &[("Procfile", text), ("package.json", "{}")]);
    has(&text, &["command: [sh, -c, \"exec bundle exec puma -p $PORT\"]", "run: [sh, -c, \"rake db:migrate\"]"]);
    let apps: Vec<&str> = spec.apps().iter().map(|app| app.as_str()).collect();
    assert_eq!(apps, ["web", "worker"]);
    assert_eq!(text.matches("route:").count(), 1, "only web takes requests");
}

#[test]
fn dockerfile() {
    let text = "FROM debian\n# EXPOSE 1\nexpose 9000/tcp 9001\nHEALTHCHECK CMD /check\nENTRYPOINT [\"/srv/app\"]\n";
    let (text, spec) = start("My App", &[("Dockerfile", text), ("Cargo.toml", "[package]\nname = \"x\"\n")]);
    has(
        &text,
        &[
            "  my-app: # from Dockerfile\n    target: docker\n    image: \"my-app:{{ version }}\"",
            "    build: {} #",
            "port: 9000 #",
            "host: my-app.localhost",
            "the image's own HEALTHCHECK",
        ],
    );
    assert_eq!(spec.apps().len(), 1);
    let (text, _) = start("x", &[("Containerfile", "FROM scratch\nHEALTHCHECK NONE\nEXPOSE $PORT\n")]);
    has(&text, &["port: 8080 # check this", "tcp: true", "build: { dockerfile: Containerfile }"]);
    let (text, _) = start("x", &[("Dockerfile", "FROM scratch\n"), ("Procfile", "web: ./serve\n")]);
    has(&text, &["  web: # from Procfile", "#   Dockerfile: for containers say `target: docker` and `image`"]);
}

#[test]
fn a_compose_file_is_the_app() {
    let compose = "services:\n  web: { image: web }\n  db: { image: postgres }\n";
    let (text, spec) = start("x", &[("compose.yaml", compose), ("Dockerfile", "FROM scratch\n")]);
    has(&text, &["  x: # from compose.yaml: web, db\n    target: compose\n", "# images: { web: \"x:{{ version }}\" }"]);
    assert!(!text.contains("\n    file:") && !text.contains("Dockerfile"), "{text}");
    assert_eq!(spec.compose_asks(None).expect("it is whole").len(), 1);
    let (text, _) = start("x", &[("docker/docker-compose.yml", compose)]);
    has(&text, &["    file: docker/docker-compose.yml\n", "# project_name: "]);
}

const WORKLOAD: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  template:\n    spec:\n      containers:\n        \
                        - { name: cache, image: redis:7 }\n        - { name: web, image: 'registry.example.com:5000/team/web:old' }\n";

#[test]
fn manifests_of_each_environment_are_the_app() {
    let files = [
        ("kubernetes/prod/web.yaml", WORKLOAD),
        ("kubernetes/test/web.yaml", WORKLOAD),
        ("kubernetes/canary/web.yaml", WORKLOAD),
        ("Dockerfile", "FROM scratch\n"),
        ("package.json", "{}"),
    ];
    let (text, spec) = start("My Shop", &files);
    has(
        &text,
        &[
            "  test: {}\n  canary:\n    after: test # only what succeeded in test may come here\n  prod:\n    after: canary",
            "    target: kubernetes\n    context: default # check this",
            "    namespace: my-shop # check this",
            "    manifests: \"kubernetes/{{ environment }}\"\n",
            "    images: { web: \"registry.example.com:5000/team/web:{{ version }}\" }\n",
            "\nstate: kubernetes://default/my-shop # check this",
            "#   Dockerfile: build its image and push it before you deploy\n",
        ],
    );
    assert!(!text.contains("listen:"), "{text}");
    assert_eq!(spec.manifest_sources(None).expect("it is whole").len(), 3);
    let (text, _) = start("x", &[("k8s/web.yaml", WORKLOAD), ("k8s/more/web.yaml", WORKLOAD)]);
    has(&text, &["    manifests: k8s\n", "  prod:\n    after: dev"]);
    let (text, _) = start("x", &[("deploy/notes.yaml", "a: 1\n"), ("Procfile", "web: ./serve\n")]);
    has(&text, &["  web: # from Procfile"]);
}

#[test]
fn an_overlay_or_a_chart_is_the_app() {
    let overlays = [("k8s/base/kustomization.yaml", ""), ("k8s/overlays/prod/kustomization.yaml", "")];
    let files =
        [overlays[0], overlays[1], ("k8s/overlays/dev/kustomization.yaml", ""), ("k8s/base/web.yaml", WORKLOAD)];
    let (text, _) = start("x", &files);
    has(&text, &["    kustomize: \"k8s/overlays/{{ environment }}\"\n", "  dev: {}\n  prod:\n", "{ web: \"registry."]);
    let (text, _) = start("x", &[("deploy/kustomization.yaml", "")]);
    has(&text, &["    kustomize: deploy\n", "    images: { x: \"x:{{ version }}\" } # check this"]);
    for (file, chart) in [("Chart.yaml", "\".\""), ("charts/shop/Chart.yaml", "charts/shop")] {
        let (text, _) = start("x", &[(file, "name: x")]);
        has(&text, &[&format!("    helm:\n      chart: {chart}\n"), "      set: { image.tag: \"{{ version }}\" }"]);
        assert!(!text.contains("images:"), "{text}");
    }
}

#[test]
fn beside_a_compose_file_they_are_named() {
    let (text, _) = start("x", &[("compose.yaml", "services: {}\n"), ("k8s/web.yaml", WORKLOAD)]);
    has(
        &text,
        &["    target: compose\n", "#   k8s: on a cluster an app says `target: kubernetes`; see docs/kubernetes.md\n"],
    );
}

#[test]
fn a_real_directory_is_looked_at() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("Procfile"), "web: ./serve\n").expect("written");
    std::fs::create_dir(dir.path().join("k8s")).expect("made");
    std::fs::write(dir.path().join("k8s/a.yaml"), "kind: Deployment\n").expect("written");
    std::fs::create_dir_all(dir.path().join("charts/web/templates/deep")).expect("made");
    std::fs::write(dir.path().join("charts/web/Chart.yaml"), "name: web\n").expect("written");
    std::fs::write(dir.path().join("charts/web/templates/deep/b.yaml"), "").expect("written");
    std::os::unix::fs::symlink("..", dir.path().join("k8s/round")).expect("linked");
    let listing = Listing::read(dir.path());
    assert_eq!(listing.files.keys().collect::<Vec<_>>(), ["Procfile", "charts/web/Chart.yaml", "k8s/a.yaml"]);
    assert_eq!(listing.files["k8s/a.yaml"], "kind: Deployment\n");
    assert!(parse(&init(&listing)).is_ok());
}
