//! Keys that people know from other tools.

/// What to say about `key`, if it is a word of another tool for something that is here, or will be.
pub(crate) fn known_elsewhere(key: &str, fields: &[&str]) -> Option<String> {
    let here = |name: &str| fields.contains(&name).then(|| format!("here it is called `{name}`"));
    match key {
        "replicas" | "scale" | "count" => here("instances"),
        "environment" | "environ" => here("env"),
        "cmd" | "run" | "entrypoint" | "exec" | "args" => here("command"),
        "healthcheck" | "livenessProbe" | "readinessProbe" | "probe" => here("health"),
        "needs" | "requires" | "dependsOn" => here("depends_on"),
        "resources" | "deploy" => here("limits"),
        "ingress" | "domain" | "domains" | "hostname" | "routes" => here("route").or_else(|| here("host")),
        "ports" | "expose" if fields.contains(&"command") => {
            let process = "each process is given one: use `{{ port }}` in `command` or `env`";
            Some(format!("{process}; for a container say `port`, where it listens inside"))
        }
        "services" | "applications" => here("apps"),
        "stages" | "envs" | "env" => here("environments").or_else(|| here("env")),
        "name" => here("project"),
        "chart" if fields.contains(&"helm") => Some("it goes under `helm`: `helm: { chart: DIRECTORY }`".into()),
        "hosts" | "playbook" | "function" if fields.contains(&"command") && !fields.contains(&"host") => Some(
            "it belongs to a target that is not built yet; today `process`, `docker`, `compose` and `kubernetes` are"
                .into(),
        ),
        _ => None,
    }
}
