//! What a deployment of a container takes beyond the engine's own calls for the same work.

use super::tools::median;
use super::{Options, Section};
use crate::On;
use crate::containers::{Containers, GOOD, PORT, answers};
use crate::dockerd;
use crate::stage::{Stage, free_port};
use serde_json::{Value, json};
use std::time::Instant;

const ENV: &str = "dev";
/// Pairs, at the least.
const PAIRS_MIN: usize = 15;

pub(super) fn measure(options: &Options) -> Result<Vec<Section>, String> {
    if let Some(lacking) = dockerd::lacking() {
        eprintln!("containers are left out: {lacking} is not here");
        return Ok(Vec::new());
    }
    let pairs = options.rounds.max(PAIRS_MIN);
    let containers = Containers::start(&options.example)?;
    let mut section = Section::new(
        "Containers",
        &format!(
            "A deployment of one container of the example's API to another version, with nothing else going on: the whole\n\
             command, and the engine's own calls for the same work (create, start, inspect, ask until healthy, stop, remove),\n\
             {pairs} times in turn. *Of its own* is the median of the differences."
        ),
    );
    let mut ons = vec![(On::Docker, "a container of an image")];
    match dockerd::compose() {
        Some(_) => ons.push((On::Compose, "a service of a Compose file")),
        None => eprintln!("a Compose file is left out: `cargo xtask compose` builds Docker Compose"),
    }
    for (on, what) in ons {
        let stage = stage(options, &containers, on)?;
        tell(&mut section, what, &in_turn(&containers, &stage, pairs)?);
    }
    Ok(vec![section])
}

/// One instance of the API.
fn stage(options: &Options, containers: &Containers, on: On) -> Result<Stage, String> {
    let mut stage = Stage::set(&options.binary, &options.example)?;
    containers.host(&mut stage, on)?;
    let one = match on {
        On::Compose => {
            format!(
                "apps: {{ api: {{ env: {{ PORT: \"{}\" }}, services: {{ web: {{ instances: 1 }} }} }} }}",
                free_port()?
            )
        }
        On::Processes | On::Docker => "apps: { api: { instances: 1 } }".into(),
    };
    stage.write("one.yaml", &one)?;
    Ok(stage)
}

/// How long each took, in milliseconds: ours, and the engine's own calls.
fn in_turn(containers: &Containers, stage: &Stage, pairs: usize) -> Result<Vec<(f64, f64)>, String> {
    let place = ["--env", ENV, "--app", "api", "--config", "one.yaml"];
    let deploy = |version: &str| stage.must(&[&["deploy", "--version", version][..], &place].concat());
    deploy(GOOD[0])?;
    let mut current = create(containers, GOOD[0])?;
    let mut took = Vec::new();
    for number in 0..pairs {
        let version = GOOD[(number + 1) % 2];
        let ours = deploy(version)?.took;
        let begun = Instant::now();
        let next = create(containers, version)?;
        let gone = |path: &str| format!("/containers/{current}{path}");
        containers.engine.call("POST", &gone("/stop?t=10"), &Value::Null)?;
        containers.engine.call("DELETE", &gone(""), &Value::Null)?;
        took.push((ours.as_secs_f64() * 1e3, begun.elapsed().as_secs_f64() * 1e3));
        current = next;
    }
    stage.must(&["down", "--env", ENV, "--app", "api"])?;
    containers.engine.docker(&["rm", "-f", &current])?;
    Ok(took)
}

/// A healthy container by the engine's own calls.
fn create(containers: &Containers, version: &str) -> Result<String, String> {
    let wanted = json!({ "Image": format!("shop:{version}"), "Env": [format!("DB={}", containers.store)] });
    let made = containers.engine.call("POST", "/containers/create", &wanted)?;
    let id = made["Id"].as_str().unwrap_or_default().to_owned();
    containers.engine.call("POST", &format!("/containers/{id}/start"), &Value::Null)?;
    let seen = containers.engine.call("GET", &format!("/containers/{id}/json"), &Value::Null)?;
    answers(&format!("{}:{PORT}", seen["NetworkSettings"]["IPAddress"].as_str().unwrap_or_default()))?;
    Ok(id)
}

fn tell(section: &mut Section, what: &str, took: &[(f64, f64)]) {
    let of = |part: fn(&(f64, f64)) -> f64| median(&took.iter().map(part).collect::<Vec<_>>());
    let calls = of(|(_, calls)| *calls);
    section.plain(&format!("the whole command, {what}"), of(|(ours, _)| *ours), " ms");
    section.plain(&format!("the engine's own calls, in turn with {what}"), calls, " ms");
    section.at_most(&format!("of its own, {what}"), of(|(ours, calls)| ours - calls), allowed(calls), " ms");
}

/// 300 ms or a tenth, whichever is larger.
fn allowed(calls_ms: f64) -> f64 {
    (calls_ms / 10.0).round().max(300.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_tenth_of_what_takes_long() {
        assert_eq!(super::allowed(480.0), 300.0);
        assert_eq!(super::allowed(5_004.0), 500.0);
    }
}
