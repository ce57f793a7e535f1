//! A lane: one environment of the example, in which one deployment follows another.

use super::Proof;
use crate::On;
use crate::containers::GOOD;
use crate::machine::Random;
use crate::stage::{Done, Stage, free_port, get};
use std::fmt;
use std::time::{Duration, Instant};

/// How many lanes there are; the last one has `recreate`, the others everything else in turn.
pub(super) const LANES: u32 = 4;

const STRATEGIES: [(&str, &str); 5] = [
    ("rolling", "rolling"),
    ("rolling-fast", "{ rolling: { surge: 2, unavailable: 1 } }"),
    ("blue-green", "{ blue-green: { bake: 200ms } }"),
    ("canary", "{ canary: { steps: [20%, 60%], hold: 200ms, analysis: { requests_min: 20 } } }"),
    ("recreate", "recreate"),
];
const BAD: &str = "v1.2.0";
/// Between two deployments by `recreate`.
const BREATH: Duration = Duration::from_millis(500);
/// A deployment whose client lost sight of it has ended by then.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a deployment is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// From v1.0.0 to v1.1.0.
    Forward,
    /// From v1.1.0 to v1.0.0, as a deployment.
    Back,
    /// `rollback`.
    Rollback,
    /// To a version that never becomes healthy: it must be turned back by itself.
    Bad,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "to the newer version",
            Self::Back => "to the older version",
            Self::Rollback => "rollback",
            Self::Bad => "bad version, turned back",
        })
    }
}

/// A deployment that ended.
#[derive(Clone, Debug)]
pub struct Step {
    /// The environment.
    pub lane: String,
    /// The strategy.
    pub strategy: &'static str,
    /// What it was to do.
    pub action: Action,
    /// How long the command took.
    pub took: Duration,
    /// Whether its client lost sight of it, since the engine died or was replaced.
    pub unseen: bool,
    /// What was wrong with its end, if anything.
    pub wrong: Option<String>,
}

impl Step {
    pub(super) fn line(&self) -> String {
        let wrong = self.wrong.as_ref().map_or(String::new(), |why| format!(": WRONG: {why}"));
        let unseen = if self.unseen { " (its client was cut off)" } else { "" };
        let Self { lane, strategy, action, took, .. } = self;
        format!("{lane} {strategy}: {action}, {:.1} s{unseen}{wrong}", took.as_secs_f64())
    }
}

pub(super) fn name(number: u32) -> String {
    format!("lane-{number}")
}

pub(super) fn describe(number: u32) -> String {
    match number {
        LANES => "recreate, with its queue".into(),
        _ => format!("rolling, blue-green and canary in turn, {number}"),
    }
}

/// How long an instance of a good version may take to become healthy: a machine that is busy otherwise turns nothing back.
const PATIENT: &str = "20s";

/// How long one of the bad version may take: it never does.
fn hasty(on: On) -> &'static str {
    match on {
        On::Processes => "700ms",
        On::Docker | On::Compose => "4s",
    }
}

/// Where clients find the lanes, beside the addresses that deployctl chooses itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    /// The first lane by TLS.
    pub(super) tls: u16,
    /// What the Compose file publishes, by lane.
    pub(super) published: [u16; LANES as usize],
}

impl Ports {
    pub(super) fn find() -> Result<Self, String> {
        let mut published = [0; LANES as usize];
        for port in &mut published {
            *port = free_port()?;
        }
        Ok(Self { tls: free_port()?, published })
    }
}

/// Writes the files that are laid over the example's specification: the lanes, a strategy each, and how patient one is.
pub(super) fn write_overlays(stage: &Stage, ports: Ports, on: On) -> Result<(), String> {
    stage.write("tls/shop.crt", crate::stage::CERTIFICATE)?;
    stage.write("tls/shop.key", crate::stage::CERTIFICATE_KEY)?;
    // What is said of the app; of a Compose file's, of its service.
    let app = |said: &str| match on {
        On::Compose => format!("services: {{ web: {{ {said} }} }}"),
        On::Processes | On::Docker => said.to_owned(),
    };
    let mut lanes = format!("environments:\n  lane-1: {{ listen: [\"https://127.0.0.1:{}\"] }}\n", ports.tls);
    (2..=LANES).for_each(|number| lanes.push_str(&format!("  {}: {{}}\n", name(number))));
    lanes.push_str("apps:\n  api:\n    in:\n");
    for (number, port) in (1..=LANES).zip(ports.published) {
        let mut said = match number {
            1 => app("route: { host: shop.localhost, tls: { certificate: tls/shop.crt, key: tls/shop.key } }"),
            // Where all requests wait, they come by a route.
            LANES => app("route: { host: shop.localhost }"),
            _ => String::new(),
        };
        if on == On::Compose {
            said = format!("env: {{ PORT: \"{port}\" }}, {said}");
        }
        lanes.push_str(&format!("      {}: {{ {said} }}\n", name(number)));
    }
    stage.write("lanes.yaml", &lanes)?;
    let write = |overlay: &str, said: &str| {
        let said = match overlay {
            // The other lanes have no queue.
            "recreate" => format!("in: {{ {}: {{ {} }} }}", name(LANES), app(said)),
            _ => app(said),
        };
        stage.write(&format!("{overlay}.yaml"), &format!("apps: {{ api: {{ {said} }} }}\n"))
    };
    write("good", &format!("health: {{ within: {PATIENT} }}"))?;
    write("bad", &format!("health: {{ within: {} }}", hasty(on)))?;
    STRATEGIES.iter().try_for_each(|(name, strategy)| write(name, &format!("strategy: {strategy}")))
}

/// A lane and where it stands.
pub(super) struct Lane {
    number: u32,
    env: String,
    random: Random,
    current: Current,
    /// What a rollback goes to, if it may be asked for.
    before: Option<Current>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Current {
    version: &'static str,
    strategy: &'static str,
}

impl Lane {
    pub(super) fn new(number: u32, seed: u64) -> Self {
        let strategy = if number == LANES { "recreate" } else { "rolling" };
        let current = Current { version: GOOD[0], strategy };
        let random = Random(seed.wrapping_mul(31).wrapping_add(u64::from(number)));
        Self { number, env: name(number), random, current, before: None }
    }

    /// Deploys the first version of all that the lane needs.
    pub(super) fn begin(&mut self, stage: &Stage, on: On) -> Result<(), String> {
        let apps: &[&str] = match on {
            On::Processes => &["db", "api"],
            // The store is one for all.
            On::Docker | On::Compose => &["api"],
        };
        for app in apps {
            let done = self.deploy(stage, app, self.current)?;
            if done.code != 0 {
                return Err(format!("{} cannot be deployed in {}: {}", app, self.env, done.err));
            }
        }
        Ok(())
    }

    fn deploy(&self, stage: &Stage, app: &str, to: Current) -> Result<Done, String> {
        let strategy = format!("{}.yaml", to.strategy);
        let patience = if to.version == BAD { "bad.yaml" } else { "good.yaml" };
        let place = ["--env", &self.env, "--app", app, "--wait", "2m"];
        let laid_over = ["--config", "lanes.yaml", "--config", &strategy, "--config", patience];
        stage.run(&[&["deploy", "--version", to.version][..], &place, &laid_over].concat())
    }

    /// One deployment after another, for as long as there are any to do.
    pub(super) fn drive(mut self, proof: &Proof<'_>) -> Result<(), String> {
        while proof.take() {
            let step = self.step(&proof.stage)?;
            proof.record(step);
            if self.number == LANES {
                // Who waited in the queue is served before the next one is stopped: a machine that is busy otherwise may
                // not get to all of them in a moment.
                std::thread::sleep(BREATH);
            }
        }
        Ok(())
    }

    fn step(&mut self, stage: &Stage) -> Result<Step, String> {
        let action = match self.random.below(10) {
            0 | 1 => Action::Bad,
            2..=4 if self.before.is_some() => Action::Rollback,
            _ if self.current.version == GOOD[0] => Action::Forward,
            _ => Action::Back,
        };
        let chosen = match self.number {
            LANES => "recreate",
            _ => STRATEGIES[self.random.below(STRATEGIES.len() - 1)].0,
        };
        let to = match (action, self.before) {
            (Action::Rollback, Some(before)) => before,
            (Action::Bad, _) => Current { version: BAD, strategy: chosen },
            (Action::Forward, _) => Current { version: GOOD[1], strategy: chosen },
            _ => Current { version: GOOD[0], strategy: chosen },
        };
        let begun = Instant::now();
        let done = self.ask(stage, action, to)?;
        let (unseen, wrong) = self.judge(stage, action, to, &done)?;
        Ok(Step { lane: self.env.clone(), strategy: to.strategy, action, took: begun.elapsed(), unseen, wrong })
    }

    fn ask(&self, stage: &Stage, action: Action, to: Current) -> Result<Done, String> {
        match action {
            Action::Rollback => stage.run(&["rollback", "--env", &self.env, "--app", "api", "--wait", "2m"]),
            _ => self.deploy(stage, "api", to),
        }
    }

    /// Whether it ended as it should, and where the lane stands now.
    fn judge(
        &mut self,
        stage: &Stage,
        action: Action,
        to: Current,
        done: &Done,
    ) -> Result<(bool, Option<String>), String> {
        let said = done.last_line().to_owned();
        // On a busy machine a good version may look slower than it is; to go back then is right.
        let condemned = done.code == 1 && said.starts_with("rolled back:") && said.contains("the canary ");
        let (ended, expected) = match (action, done.code) {
            (_, 1) if condemned => (true, self.current),
            (Action::Bad, 1) if said.starts_with("rolled back:") => (true, self.current),
            (Action::Bad, _) => (false, self.current),
            (_, 0) => (true, to),
            _ => (false, to),
        };
        let stands = self.rests(stage)?;
        let cut_off = !ended && done.code != 0 && done.code != 1;
        let wrong = match stands.as_str() {
            _ if !ended && !cut_off => Some(said),
            version if version == expected.version => None,
            // Cut off before it was accepted: nothing happened.
            version if cut_off && version == self.current.version => None,
            version => Some(format!("{version} runs, not {}; {said}", expected.version)),
        };
        if stands == to.version && action != Action::Bad && !condemned {
            self.before = (action != Action::Rollback && ended).then_some(self.current);
            self.current = to;
        } else {
            self.before = None;
            self.current.version = GOOD.into_iter().find(|version| *version == stands).unwrap_or(GOOD[0]);
        }
        Ok((cut_off, wrong))
    }

    /// The version that clients get once no deployment is under way.
    fn rests(&self, stage: &Stage) -> Result<String, String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = stage.status(&self.env, "api");
            match status {
                Ok(status) if status["running"].is_null() => {
                    let url = status["urls"][0].as_str().unwrap_or_default();
                    return get(url.trim_start_matches("http://"), "shop.localhost", "/version");
                }
                // The engine was killed while it answered, or works still.
                Ok(_) | Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
                Ok(status) => return Err(format!("a deployment does not end in {}: {status}", self.env)),
                Err(why) => return Err(why),
            }
        }
    }
}
