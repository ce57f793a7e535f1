//! Kustomize overlays and Helm charts, rendered by their own programs.

use super::{WEB, cluster, image, settles, world};
use crate::it::world::World;
use deployctl_live::kube;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A chart of the web server: its image and how often it runs are values.
pub(super) const CHART: &[(&str, &str)] = &[
    ("Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n"),
    ("values.yaml", "tag: none\nreplicas: 1\nmode: plain\nmotd: \"\"\n"),
    ("templates/web.yaml", TEMPLATE),
    (
        "templates/config.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-config\n  \
         labels: { app.kubernetes.io/managed-by: {{ .Release.Service }} }\ndata:\n  mode: {{ .Values.mode | quote }}\n\
         {{- with .Values.motd }}\n  motd: {{ . | quote }}\n{{- end }}\n",
    ),
    (
        "templates/tests/answers.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: answers\n  annotations: { helm.sh/hook: test }\nspec:\n  \
         containers: [{ name: test, image: deployctl.test/web:v1 }]\n",
    ),
];

const TEMPLATE: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: { app.kubernetes.io/managed-by: {{ .Release.Service }} }
spec:
  replicas: {{ .Values.replicas }}
  progressDeadlineSeconds: 15
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web, in: {{ .Release.Namespace }} } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: "deployctl.test/web:{{ required "a tag is needed" .Values.tag }}"
          command: [/pod, serve, "8080"]
          readinessProbe: { httpGet: { path: /healthz, port: 8080 }, periodSeconds: 1 }
"#;

pub(super) const HELM: &str = r#"
project: p
environments: { dev: {} }
apps:
  NAME:
    target: kubernetes
    context: test
    namespace: NAME
    helm:
      chart: chart
      values: ["values-{{ environment }}.yaml"]
      set: { tag: "{{ version }}" }
      release: shop
    pin_tags: false
    patience: 5s
    deadline: 3m
"#;

pub(super) const OVERLAY: &str = r#"
project: p
environments: { dev: {} }
apps:
  NAME:
    target: kubernetes
    context: test
    namespace: NAME
    kustomize: "kubernetes/overlays/{{ environment }}"
    images: { web: "deployctl.test/web:{{ version }}" }
    pin_tags: false
    patience: 5s
    deadline: 3m
"#;

/// `PATH` with these folders first.
pub(super) fn path(first: &[PathBuf]) -> OsString {
    let usual = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(first.iter().cloned().chain(std::env::split_paths(&usual))).expect("a path")
}

/// A program that `cargo xtask kube build` makes; none, with a word about it, where it was not built.
pub(super) fn built(name: &str, folder: Option<PathBuf>) -> Option<PathBuf> {
    if folder.is_none() {
        assert!(std::env::var("DEPLOYCTL_LIVE").is_err(), "the tests need {name}: `cargo xtask kube build`");
        eprintln!("skipped: {name} is not there, which `cargo xtask kube build` makes");
    }
    folder
}

pub(super) fn write_chart(world: &World) {
    CHART.iter().for_each(|(name, text)| world.write(&format!("p/chart/{name}"), text));
    world.write("p/values-dev.yaml", "replicas: 2\n");
}

pub(super) fn write_overlay(world: &World) {
    world.write("p/kubernetes/base/kustomization.yaml", "resources: [web.yaml]\n");
    world.write("p/kubernetes/base/web.yaml", WEB);
    let overlay = "resources: [../../base]\nconfigMapGenerator: [{ name: conf, literals: [mode=plain] }]\n\
                   replicas: [{ name: web, count: 1 }]\n";
    world.write("p/kubernetes/overlays/dev/kustomization.yaml", overlay);
}

/// A project without a cluster: enough to be rendered.
fn project(spec: &str, programs: &Path) -> World {
    let mut world = World::new(&spec.replace("NAME", "shop"));
    world.var("PATH", path(&[programs.to_path_buf()]));
    write_chart(&world);
    write_overlay(&world);
    world
}

#[test]
fn kube_a_program_that_is_not_there_is_told_with_what_to_install() {
    let nothing = tempfile::tempdir().expect("a folder");
    for (spec, what, install) in [
        (HELM, "Helm is needed to render the chart: there is no `helm` in `PATH`", "install `helm`, 3 or 4"),
        (OVERLAY, "neither `kustomize` nor `kubectl` in `PATH`", "install `kustomize`, or `kubectl`"),
    ] {
        let mut world = project(spec, nothing.path());
        world.var("PATH", nothing.path());
        let why = world.run("validate").code(2);
        assert!(why.last().contains("error[renderer-missing]") && why.last().contains(what), "{}", why.err);
        assert!(why.last().contains("nothing was changed") && why.last().contains(install), "{}", why.err);
    }
}

#[test]
fn kube_a_chart_that_does_not_render_is_told_in_helms_words() {
    let Some(helm) = built("helm", kube::helm()) else { return };
    let world = project(HELM, &helm);
    world.ok("validate");
    let wrong = |file: &str, text: &str, wanted: &[&str]| {
        let before = world.read(file);
        world.write(file, text);
        let why = world.run("validate").code(2);
        for wanted in ["error[render-failed]", "chart` does not render: ", "nothing was changed"].iter().chain(wanted) {
            assert!(why.last().contains(wanted), "wanted `{wanted}` in:\n{}", why.err);
        }
        world.write(file, &before);
    };
    wrong(
        "p/chart/templates/config.yaml",
        "a: 1\nb: {{ nothing }}\n",
        &["shop/templates/config.yaml:2", "\"nothing\" not defined"],
    );
    wrong("p/chart/templates/config.yaml", "a: 1\n{{ fail \"no mode\" }}\n", &["config.yaml:2", "no mode"]);
    wrong("p/chart/templates/config.yaml", "a: [1\n", &["shop/templates/config.yaml", "yaml"]);
    wrong("p/chart/Chart.yaml", "name: [", &["yaml"]);
    std::fs::remove_file(world.path("p/values-dev.yaml")).expect("the file");
    let why = world.run("validate").code(2);
    assert!(why.last().contains("values-dev.yaml: no such file"), "{}", why.err);
}

#[test]
fn kube_an_overlay_that_does_not_render_is_told_in_kustomizes_words() {
    let Some(kustomize) = built("kustomize", kube::kustomize()) else { return };
    let world = project(OVERLAY, &kustomize);
    world.ok("validate");
    world.write("p/kubernetes/base/web.yaml", "kind: Pod\n  metadata: [\n");
    let why = world.run("validate").code(2);
    assert!(why.last().contains("error[render-failed]: the overlay `"), "{}", why.err);
    assert!(why.last().contains("web.yaml") && why.last().contains("yaml: line 2"), "{}", why.err);
    std::fs::remove_file(world.path("p/kubernetes/base/web.yaml")).expect("the file");
    let why = world.run("validate").code(2);
    assert!(why.last().contains("web.yaml"), "{}", why.err);
}

#[test]
fn kube_a_chart_of_a_repository_has_the_version_that_is_asked_for() {
    let Some(helm) = built("helm", kube::helm()) else { return };
    let world = project(HELM, &helm);
    let packed = world.command_of(&[]).get_current_dir().map(|dir| {
        let mut helm = std::process::Command::new(helm.join("helm"));
        helm.args(["package", "chart", "-d"]).arg(world.path("repository")).current_dir(dir).output().expect("helm")
    });
    assert!(packed.expect("a folder").status.success());
    let mut index = std::process::Command::new(helm.join("helm"));
    assert!(index.args(["repo", "index"]).arg(world.path("repository")).status().expect("helm").success());
    let address = files(world.path("repository"));
    let of = |version: &str| {
        HELM.replace("chart: chart", &format!("chart: shop\n      repository: {address}\n      version: {version}"))
    };
    world.spec(&of("1.0.0").replace("NAME", "shop"));
    world.ok("validate");
    world.spec(&of("9.9.9").replace("NAME", "shop"));
    let why = world.run("validate").code(2);
    assert!(why.last().contains("error[render-failed]: the chart `shop` does not render"), "{}", why.err);
    assert!(why.last().contains("version \"9.9.9\" not found"), "{}", why.err);
}

/// Serves the files of a folder on loopback as long as the tests run.
fn files(folder: PathBuf) -> String {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("the stream"));
            let _ = reader.read_line(&mut line);
            let mut rest = String::new();
            while reader.read_line(&mut rest).is_ok_and(|bytes| bytes > 2) {
                rest.clear();
            }
            let name = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            let (status, body) = match std::fs::read(folder.join(name)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}

#[test]
fn kube_a_chart_is_deployed_turned_back_and_rolled_back_without_helm() {
    let Some(cluster) = cluster::shared() else { return };
    let Some(helm) = built("helm", kube::helm()) else { return };
    let mut world = world(&cluster, "chart");
    world.spec(&HELM.replace("NAME", "chart"));
    write_chart(&world);
    world.var("PATH", path(&[helm]));
    let plan = world.ok("plan --env dev --all --version v1").out;
    assert!(plan.contains("create Deployment/web") && plan.contains("create ConfigMap/shop-config"), "{plan}");
    assert!(!plan.contains("answers"), "what `helm test` runs is no part of a release: {plan}");
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "chart", "v1 healthy 2");
    assert_eq!(image(&cluster, "chart"), "deployctl.test/web:v1");
    world.ok("deploy --env dev --all --version v2");
    assert_eq!(image(&cluster, "chart"), "deployctl.test/web:v2");
    let why = world.run("deploy --env dev --all --version v404").code(1);
    assert!(why.last().contains("v404 did not"), "{}", why.err);
    assert_eq!(image(&cluster, "chart"), "deployctl.test/web:v2");
    // Neither the program nor the chart is needed for a way back.
    std::fs::remove_dir_all(world.path("p/chart")).expect("the chart");
    world.var("PATH", "/nowhere");
    world.ok("rollback --env dev --app chart --version v1");
    assert_eq!(image(&cluster, "chart"), "deployctl.test/web:v1");
    assert_eq!(cluster.names("chart", "secret"), Vec::<String>::new(), "Helm was not in the cluster");
    world.ok("down --env dev --app chart");
}

#[test]
fn kube_an_overlay_is_deployed() {
    let Some(cluster) = cluster::shared() else { return };
    let Some(kustomize) = built("kustomize", kube::kustomize()) else { return };
    let mut world = world(&cluster, "overlay");
    world.spec(&OVERLAY.replace("NAME", "overlay"));
    write_overlay(&world);
    world.var("PATH", path(&[kustomize]));
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "overlay", "v1 healthy 1");
    assert!(cluster.names("overlay", "configmap").iter().any(|name| name.starts_with("conf-")));
    world.ok("deploy --env dev --all --version v2");
    assert_eq!(image(&cluster, "overlay"), "deployctl.test/web:v2");
    world.ok("down --env dev --app overlay");
}
