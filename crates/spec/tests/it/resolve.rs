//! What a specification comes to.

use super::{api, parse, resolve, resolved};
use deployctl_core::config::{
    Amount, ArtifactSource, Check, EnvValue, LatePart, LateText, Restart, SecretRef, Strategy, TargetConfig,
};
use deployctl_core::id::{AppName, EnvName, RegionName, Version};
use deployctl_core::time::Span;
use deployctl_spec::{Build, Source, Spec};
use std::path::Path;

const SKETCH: &str = include_str!("../cases/sketch.yaml");

fn process(app: &deployctl_spec::ResolvedApp) -> &deployctl_core::config::ProcessConfig {
    match &app.config.target {
        TargetConfig::Process(process) => process,
        TargetConfig::Docker(_) | TargetConfig::Kubernetes(_) => panic!("an app of processes"),
    }
}

fn text(text: &str) -> LatePart {
    LatePart::Text(text.into())
}

#[test]
fn the_smallest_app_has_sensible_defaults() {
    let app = api("{ project: p, environments: { dev: {} }, apps: { api: { command: [./api, '{{ port }}'] } } }");
    let config = &app.config;
    assert_eq!(config.instances, 1);
    assert_eq!(config.strategy, Strategy::Rolling { surge: Amount::Percent(25), unavailable: Amount::Count(0) });
    assert_eq!(config.drain, Span::secs(30));
    assert_eq!(config.deadline, Span::secs(600));
    assert_eq!(config.bake, Span::ms(0));
    let health = config.health.as_ref().expect("a port is checked");
    assert_eq!(health.check, Check::Tcp);
    assert_eq!((health.within, health.interval, health.timeout), (Span::secs(30), Span::secs(1), Span::secs(2)));
    assert_eq!(health.failures, 3);
    assert!(process(&app).port);
    assert_eq!(process(&app).command, [LateText::plain("./api"), LateText(vec![LatePart::Port])]);
    assert_eq!(process(&app).restart, Restart::default());
    assert_eq!(process(&app).log_bytes_max, 16 << 20);
    assert_eq!((app.artifact, app.build, app.pinned), (None, None, None));
    assert_eq!(app.version.as_str(), "v1");
    assert_eq!(app.region.as_str(), "default");
}

#[test]
fn a_worker_without_a_port_has_no_health_check() {
    let app = api("{ project: p, environments: { dev: {} }, apps: { api: { command: [./worker] } } }");
    assert_eq!(app.config.health, None);
    assert!(!process(&app).port);
}

#[test]
fn data_makes_recreate_the_default() {
    let app = api("{ project: p, environments: { dev: {} }, apps: { api: { command: [./db, '{{ data }}'] } } }");
    assert_eq!(app.config.strategy, Strategy::Recreate);
}

#[test]
fn the_sketch_comes_to_what_it_says() {
    let app = resolved(SKETCH, "dev", "api");
    assert_eq!(app.artifact, Some(ArtifactSource::Path("/project/dist/shop-v1.tar.gz".into())));
    let build = Build::Command(vec!["cargo".into(), "build".into(), "--release".into()]);
    assert_eq!(app.build, Some(build));
    assert_eq!(app.secrets, [SecretRef("env:API_KEY".into())]);
    let db: AppName = "db".parse().expect("a name");
    let address = EnvValue::Text(LateText(vec![LatePart::Address(db.clone())]));
    assert_eq!(process(&app).env["DB"], address);
    assert_eq!(process(&app).env["API_KEY"], EnvValue::Secret(SecretRef("env:API_KEY".into())));
    assert_eq!(app.config.depends_on, [db]);
    let Strategy::Canary(canary) = &app.config.strategy else { panic!("{:?}", app.config.strategy) };
    assert_eq!(canary.steps, [1_000, 5_000]);
    assert_eq!(canary.hold, Span::secs(30));
    let route = app.config.route.expect("a route");
    assert_eq!((route.hosts, route.path), (vec!["shop.localhost".to_string()], "/".to_string()));
    assert_eq!((app.approvals, app.after), (0, None));

    let prod = resolved(SKETCH, "prod", "api");
    assert_eq!(prod.config.instances, 8);
    assert_eq!(prod.config.strategy, Strategy::Rolling { surge: Amount::Percent(25), unavailable: Amount::Count(0) });
    assert_eq!((prod.approvals, prod.region.as_str()), (2, "eu"));
    assert_eq!(prod.after.as_ref().map(EnvName::as_str), Some("test"));
}

#[test]
fn environments_come_in_order_of_promotion() {
    let spec = parse(
        "{ project: p, environments: { prod: { after: test }, test: { after: dev }, dev: , other: {} },
           apps: { a: { command: [x] } } }",
    )
    .expect("fine");
    let names: Vec<&str> = spec.environments.iter().map(|environment| environment.name.as_str()).collect();
    assert_eq!(names, ["dev", "test", "prod", "other"]);
}

#[test]
fn apps_come_after_what_they_depend_on() {
    let spec = parse(
        "{ project: p, environments: { dev: {}, prod: {} }, apps: {
             web: { command: [x], depends_on: [api] }, cron: { command: [x] },
             api: { command: [x], depends_on: [db], in: { prod: { depends_on: [] } } }, db: { command: [x] } } }",
    )
    .expect("fine");
    let order = |environment: &str| -> Vec<String> {
        let environment = environment.parse().expect("a name");
        spec.order(&environment).iter().map(ToString::to_string).collect()
    };
    assert_eq!(order("dev"), ["cron", "db", "api", "web"]);
    assert_eq!(order("prod"), ["cron", "api", "web", "db"]);
}

#[test]
fn a_pinned_version_stays() {
    let app = resolved(SKETCH, "dev", "db");
    assert_eq!(app.version.as_str(), "v1.0.0");
    assert_eq!(app.pinned.as_ref().map(Version::as_str), Some("v1.0.0"));
}

#[test]
fn without_a_version_nothing_is_resolved() {
    let spec = parse(SKETCH).expect("fine");
    let (dev, region) = ("dev".parse().expect("a name"), RegionName::default_region());
    let error = spec.resolve(&dev, &"api".parse().expect("a name"), &region, None).expect_err("no version");
    let said = error.to_string();
    assert!(said.starts_with("error[spec-version]: `api` needs a version"), "{said}");
    assert!(said.contains("= help: say `--version V`, or pin one with `version:`"), "{said}");
    assert!(spec.resolve(&dev, &"db".parse().expect("a name"), &region, None).is_ok());
}

#[test]
fn unknown_names_are_told_with_the_nearest() {
    let spec = parse(SKETCH).expect("fine");
    let said = spec.environment("pord").expect_err("unknown").to_string();
    assert_eq!(said, "error[spec-unknown-name]: there is no environment `pord`\n = help: did you mean `prod`?\n");
    let said = spec.app("nothing").expect_err("unknown").to_string();
    assert_eq!(said, "error[spec-unknown-name]: there is no app `nothing`\n = help: possible here: `db` or `api`\n");
    let (prod, api) = ("prod".parse().expect("a name"), "api".parse().expect("a name"));
    let version = "v1".parse().expect("a version");
    let said = spec.resolve(&prod, &api, &RegionName::default_region(), Some(&version)).expect_err("no such region");
    assert!(said.to_string().contains("there is no region of `prod` `default`"), "{said}");
}

#[test]
fn what_is_nearer_goes_before() {
    let text = "
project: p
vars: { a: project, b: project, c: project, d: project }
environments:
  dev:
    vars: { b: environment, c: environment, d: environment }
    defaults: { instances: 5, drain: 5s, env: { X: default, Y: default }, strategy: blue-green }
apps:
  api:
    command: [./api, '{{ vars.a }} {{ vars.b }} {{ vars.c }} {{ vars.d }}']
    vars: { c: app, d: app }
    drain: 6s
    env: { Y: app }
    in:
      dev: { vars: { d: in }, bake: 1s, strategy: { rolling: { surge: 2 } } }
";
    let app = api(text);
    assert_eq!(process(&app).command[1], LateText::plain("project environment app in"));
    assert_eq!(app.config.instances, 5);
    assert_eq!(app.config.drain, Span::secs(6));
    assert_eq!(app.config.bake, Span::secs(1));
    assert_eq!(app.config.strategy, Strategy::Rolling { surge: Amount::Count(2), unavailable: Amount::Count(0) });
    assert_eq!(process(&app).env["X"], EnvValue::Text(LateText::plain("default")));
    assert_eq!(process(&app).env["Y"], EnvValue::Text(LateText::plain("app")));
}

#[test]
fn overlays_are_laid_over_in_their_order() {
    let base = "
project: p
environments: { dev: {} }
apps:
  api:
    command: [./api, '{{ port }}']
    env: { A: base, B: base, C: base }
    instances: 2
    health: { http: /healthz, within: 5s }
    strategy: { canary: { steps: [1%] } }
    route: { host: a.example.com, path: /x }
    smoke: [{ http: /a }, { http: /b }]
";
    let first = "apps: { api: { env: { B: first, C: first }, instances: 3, route: { hosts: [b.example.com] } } }";
    let second = "
apps:
  api: { env: { C: second }, health: { tcp: true }, strategy: { rolling: {} }, smoke: [{ http: /c }] }
  extra: { command: [./extra] }
environments: { prod: { after: dev } }
";
    let source = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
    let sources = vec![source("deployctl.yaml", base), source("first", first), source("second", second)];
    let spec = Spec::parse(Path::new("/project"), sources.clone()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(spec.sources(), sources, "kept, so that they can be stored with the release");
    assert_eq!(spec.apps().len(), 2);
    assert_eq!(spec.environments.len(), 2);
    let app = resolve(&spec, "dev", "api");
    let env: Vec<_> = process(&app).env.values().cloned().collect();
    assert_eq!(env, ["base", "first", "second"].map(|text| EnvValue::Text(LateText::plain(text))));
    assert_eq!(app.config.instances, 3);
    let health = app.config.health.as_ref().expect("a check");
    assert_eq!((&health.check, health.within), (&Check::Tcp, Span::secs(5)), "another check, the same settings");
    assert!(matches!(app.config.strategy, Strategy::Rolling { .. }), "another strategy takes the place of the first");
    let route = app.config.route.as_ref().expect("a route");
    assert_eq!((route.hosts[0].as_str(), route.path.as_str()), ("b.example.com", "/x"));
    assert_eq!(app.config.smoke.len(), 1, "a list is replaced");
}

#[test]
fn null_takes_back() {
    let text = include_str!("../cases/null-takes-back.yaml");
    let app = resolved(text, "dev", "api");
    assert_eq!(app.config.instances, 1);
    assert_eq!(app.config.health.expect("the default").check, Check::Tcp);
}

#[test]
fn nothing_changes_nothing() {
    let text = "\u{feff}project: p\r\nenvironments: { dev: }\r\napps:\r\n  api:\r\n    command: [./x]\r\n    in:\r\n      dev:\r\n";
    assert_eq!(process(&api(text)).command, [LateText::plain("./x")]);
}

#[test]
fn values_are_taken_as_they_are_written() {
    let app =
        api("{ project: p, environments: { dev: {} }, apps: { api: { command: [./x, 5, 1.0, 0x10, no, 1e3, .INF, '~'],
           env: { A: true, B: 010, C: '', D: 2026-11-21 } } } }");
    let words: Vec<LateText> = ["./x", "5", "1.0", "0x10", "no", "1e3", ".inf", "~"].map(LateText::plain).to_vec();
    assert_eq!(process(&app).command, words);
    let env: Vec<_> = process(&app).env.values().cloned().collect();
    assert_eq!(env, ["true", "010", "", "2026-11-21"].map(|text| EnvValue::Text(LateText::plain(text))));
}

#[test]
fn templates_see_where_they_are() {
    let app = resolved(
        "{ project: p, environments: { dev: {}, prod: { regions: [eu] } }, apps: { db: {
             command: [./db, '{{ port }}'], strategy: recreate }, api: { depends_on: [db],
             command: ['{{ project }}/{{ app }}/{{environment}}/{{ region }}/{{ version | upper }}',
                       \"{{ 'big' if environment == 'prod' else 'small' }}\", 'a{{ port }}b{{ slot }}{{folder}}',
                       '{{ \"{{\" }} {% raw %} {# no comment #}', '{{ apps[\"db\"].address }}'] } } }",
        "prod",
        "api",
    );
    let command = &process(&app).command;
    assert_eq!(command[0], LateText::plain("p/api/prod/eu/V1"));
    assert_eq!(command[1], LateText::plain("big"));
    assert_eq!(command[2].0, [text("a"), LatePart::Port, text("b"), LatePart::Slot, LatePart::Folder]);
    assert_eq!(command[3], LateText::plain("{{ {% raw %} {# no comment #}"));
    assert_eq!(command[4].0, [LatePart::Address("db".parse().expect("a name"))]);
}

#[test]
fn paths_are_relative_to_the_project() {
    let app = api(
        "{ project: p, environments: { dev: { listen: ['https://127.0.0.1:8443', '127.0.0.1:8080'] } }, apps: { api: {
             command: [./x, '{{ port }}'], artifact: ./dist, env: { K: { secret: 'file:key' } },
             route: { host: a.b, path: /x/, tls: { certificate: c.pem, key: /etc/k.pem }, error_pages: { 503: d.html } }
           } } }",
    );
    assert_eq!(app.artifact, Some(ArtifactSource::Path("/project/dist".into())));
    assert_eq!(app.secrets, [SecretRef("file:key".into())]);
    let route = app.config.route.expect("a route");
    let tls = route.tls.expect("a certificate");
    assert_eq!((tls.certificate.as_str(), tls.key.as_str()), ("/project/c.pem", "/etc/k.pem"));
    assert_eq!(route.error_pages[&503], "/project/d.html");
    assert_eq!(route.path, "/x");
    let listen: Vec<(&str, bool)> = route.listen.iter().map(|listen| (listen.address.as_str(), listen.tls)).collect();
    assert_eq!(listen, [("127.0.0.1:8443", true), ("127.0.0.1:8080", false)]);
}

#[test]
fn artifacts_by_address_and_digest() {
    let digest = "ab".repeat(32);
    let app = api(&format!(
        "{{ project: p, environments: {{ dev: {{}} }}, apps: {{ api: {{ command: [./x],
             artifact: {{ url: 'https://example.com/{{{{ version }}}}.zip', sha256: {digest} }} }} }} }}"
    ));
    assert_eq!(app.artifact, Some(ArtifactSource::Url("https://example.com/v1.zip".into())));
    assert_eq!(app.artifact_sha256.map(String::from), Some(digest));
}
