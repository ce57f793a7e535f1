//! The binary as a person or a pipeline sees it: commands in, exit codes, messages, JSON, processes and answers out.

mod it {
    mod artifact;
    mod checks;
    mod compose;
    mod contract;
    mod deploy;
    mod docker;
    mod http;
    mod jobs;
    mod kubernetes;
    mod looking;
    mod places;
    mod plan;
    mod promote;
    mod rollback;
    mod secrets;
    mod state;
    mod steering;
    mod strategies;
    mod survival;
    mod terminal;
    mod versions;
    mod world;

    /// An HTTP app `api` in `dev`, whose versions are folders.
    const API: &str = r#"
project: p
environments: { dev: {} }
apps:
  api:
    artifact: dist/{{ version }}
    command: [APP, "{{ port }}"]
    route: {}
    health: { http: /healthz, within: 5s, interval: 200ms }
    drain: 1s
"#;
}
