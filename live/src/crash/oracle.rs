//! What must hold after any crash, once things have settled.

use super::containers::Container;
use super::flow::{Ends, Flow};
use super::procs::{self, Role};
use super::world::{World, get, poll};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// A deployment that has not ended and come to rest by then never will: twice its deadline, and what a stop takes.
const SETTLE: Duration = Duration::from_secs(110);

/// Between two looks at a cluster.
const BETWEEN: Duration = Duration::from_millis(700);

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// As without a crash.
    AsAlways,
    /// Turned back, and what ran before runs again.
    Back,
    /// It never began: nobody had accepted it.
    Never,
    /// It failed and says why: nobody knows how a job ended that must not run twice, so a person has to look.
    Asks,
}

/// What can be seen of a world that has come to rest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) status: Vec<Value>,
    pub(crate) history: Vec<Value>,
}

fn list(value: Value) -> Vec<Value> {
    if let Value::Array(all) = value { all } else { Vec::new() }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}

/// Waits until everything has ended and all is as status says, and gives that.
pub(crate) fn settled(world: &World) -> Result<Seen, String> {
    let mut why = String::new();
    let seen = poll(SETTLE, || match look(world) {
        Ok(seen) => Some(seen),
        Err(error) => {
            why = error;
            // What is asked then takes its time.
            std::thread::sleep(if world.binaries.cluster.is_some() { BETWEEN } else { Duration::ZERO });
            None
        }
    });
    seen.ok_or_else(|| format!("does not come to rest: {why}"))
}

/// The world as it is, if it is at rest and as it says.
fn look(world: &World) -> Result<Seen, String> {
    let history = list(world.json(&["history"])?);
    if let Some(open) = history.iter().find(|one| matches!(text(one, "verdict"), "running" | "waiting")) {
        let about = world.run(&["show", text(open, "id")]).map(|ran| ran.out).unwrap_or_default();
        return Err(format!("{} of {} has no end yet: {about}", text(open, "id"), text(open, "version")));
    }
    let status = list(world.json(&["status"])?);
    let procs = procs::of(world.whose());
    // Pods are looked at as the cluster has them.
    let is_elsewhere = world.binaries.cluster.is_some();
    let mut wanted: BTreeMap<String, (u32, String)> = BTreeMap::new();
    for app in &status {
        let version = text(app, "version");
        let instances = app["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
        match version {
            "-" if !instances.is_empty() => return Err(format!("nothing is current, but there is {instances:?}")),
            "-" => {}
            _ if text(app, "health") != "healthy" => {
                return Err(format!("{} is {}: {}", text(app, "app"), text(app, "health"), text(app, "detail")));
            }
            _ if instances.is_empty() => return Err(format!("{} is healthy without instances", text(app, "app"))),
            _ => {}
        }
        for one in instances {
            let pid = one["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
            if text(one, "version") != version {
                return Err(format!("{version} is current, but {} is of {}", text(one, "id"), text(one, "version")));
            }
            if !is_elsewhere {
                wanted.insert(text(one, "id").to_owned(), (pid, text(one, "address").to_owned()));
            }
        }
        if !is_elsewhere {
            serves(app, version, instances)?;
        }
    }
    let has_shims = world.binaries.docker.is_none() && !is_elsewhere;
    world.objects(current(&status), &kept(&history))?;
    for service in world.run_by_compose()? {
        if status.iter().any(|app| text(app, "app") == format!("api.{service}") && text(app, "version") != "-") {
            return Err(format!("what Compose started of {service} runs beside what is current"));
        }
    }
    as_wanted(&procs, &world.containers()?, &wanted, has_shims)?;
    if !world.is_kept_elsewhere() {
        one_engine(&procs)?;
    }
    nothing_left(&world.state(), &wanted)?;
    Ok(Seen { status, history })
}

/// The version of the only app that there is with objects.
fn current(status: &[Value]) -> Option<&str> {
    status.first().map(|app| text(app, "version")).filter(|version| *version != "-")
}

/// The versions that one may go back to: what a deployment ended with since everything was taken down.
fn kept(history: &[Value]) -> BTreeSet<String> {
    let newest = history.iter().take_while(|one| text(one, "version") != "-");
    newest.filter(|one| text(one, "verdict") == "succeeded").map(|one| text(one, "version").to_owned()).collect()
}

/// What is served is what status says: by each instance, and by the proxy.
fn serves(app: &Value, version: &str, instances: &[Value]) -> Result<(), String> {
    let urls = app["urls"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let urls = urls.filter_map(|url| url.strip_prefix("http://")).filter(|_| version != "-");
    for address in urls.chain(instances.iter().map(|one| text(one, "address"))) {
        let said = get(address, "/version")?;
        if said != (200, version.to_owned()) {
            return Err(format!("{version} is current, but {address} says {said:?}"));
        }
    }
    Ok(())
}

/// Exactly the instances that status knows, each under one shim, or as one container; nothing else.
fn as_wanted(
    procs: &[procs::Proc],
    containers: &[Container],
    wanted: &BTreeMap<String, (u32, String)>,
    has_shims: bool,
) -> Result<(), String> {
    let (mut shims, mut instances) = (BTreeMap::new(), BTreeMap::new());
    for one in containers {
        let pid = wanted.get(&one.id).map(|(pid, _)| *pid);
        if !one.is_instance || one.pid.is_none() || pid != one.pid {
            return Err(format!("{one:?} is there, status says {pid:?}"));
        }
        *instances.entry(one.id.clone()).or_insert(0) += 1;
    }
    for one in procs {
        match &one.role {
            Role::Shim(id) => *shims.entry(id.clone()).or_insert(0) += 1,
            Role::Instance(id) => {
                if wanted.get(id).is_some_and(|(pid, _)| *pid != one.pid) {
                    return Err(format!("status says that {id} is pid {}, but {} is", wanted[id].0, one.pid));
                }
                *instances.entry(id.clone()).or_insert(0) += 1;
            }
            // A client may wait on; one that was stopped is looked at when it goes on.
            Role::Client | Role::Engine | Role::Proxy => {}
            Role::JobShim(_) if one.stopped => {}
            Role::JobShim(_) | Role::Other => return Err(format!("{one:?} is left")),
        }
    }
    let once: BTreeMap<String, i32> = wanted.keys().map(|id| (id.clone(), 1)).collect();
    if instances != once {
        return Err(format!("instances {instances:?} run, status says {:?}", wanted.keys()));
    }
    if has_shims && shims != once {
        return Err(format!("shims {shims:?} run, for instances {:?}", wanted.keys()));
    }
    Ok(())
}

/// Of one machine.
fn one_engine(procs: &[procs::Proc]) -> Result<(), String> {
    let count = |role: &Role| procs.iter().filter(|one| one.role == *role).count();
    match (count(&Role::Engine), count(&Role::Proxy)) {
        (1, 0 | 1) => Ok(()),
        (engines, proxies) => Err(format!("{engines} engines and {proxies} proxies run")),
    }
}

/// No temporary file, no half done folder, no socket of a dead process, no folder of a run that is no more.
fn nothing_left(state: &Path, wanted: &BTreeMap<String, (u32, String)>) -> Result<(), String> {
    let mut folders = vec![state.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Records of runs have temporary files of one fixed name, which go with the run.
            let is_temporary = (name.starts_with('.') && name.ends_with(".tmp"))
                || name.ends_with(".new")
                || name.starts_with(".removed-");
            let of_dead = name.strip_suffix(".sock").and_then(|pid| pid.parse::<u32>().ok());
            let of_dead = of_dead.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
            let in_work = folder.ends_with("artifacts/work");
            let no_run = folder == state.join("run") && !name.starts_with('.') && !wanted.contains_key(&name);
            if is_temporary || of_dead || in_work || no_run {
                return Err(format!("{} is left", entry.path().display()));
            }
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && !["trees", "bin", "folder"].contains(&name.as_str()) {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

/// What became of the flow, by all that is known of it; the error says what must not be.
pub(crate) fn judge(world: &World, flow: &Flow, seen: &Seen) -> Result<Outcome, String> {
    let mut outcome = None;
    for app in flow.apps {
        let one = judge_app(flow, seen, app)?;
        if *outcome.get_or_insert(one) != one {
            return Err(format!("the apps ended differently: {:?}", seen.status));
        }
    }
    let outcome = outcome.ok_or("no app")?;
    jobs(world, flow, outcome)?;
    data(world, flow)?;
    world.ok(&["audit", "verify"])?;
    if flow.shape.is_some() {
        drift(world, flow.corrects() && outcome == Outcome::Never)?;
    }
    if flow.deletes_data() && outcome == Outcome::AsAlways && world.has_namespace()? {
        return Err("its namespace is there, which was to go".into());
    }
    Ok(outcome)
}

/// Nothing drifted, but what nobody began to take back.
fn drift(world: &World, is_left: bool) -> Result<(), String> {
    let told = world.run(&["status", "--drift"])?;
    match told.code == Some(i32::from(is_left)) {
        true => Ok(()),
        false => Err(format!("`status --drift` ended with {:?}: {}{}", told.code, told.out, told.err)),
    }
}

fn judge_app(flow: &Flow, seen: &Seen, app: &str) -> Result<Outcome, String> {
    let history: Vec<&Value> = seen.history.iter().filter(|one| text(one, "app") == app).collect();
    let begun = history.len().checked_sub(flow.before.len()).ok_or("history was lost")?;
    let current = seen.status.iter().find(|one| text(one, "app") == app).map_or("-", |one| text(one, "version"));
    let is = |version: Option<&str>| current == version.unwrap_or("-");
    let known = |words: &[&str]| {
        let last = history[0];
        let is_known = words.contains(&text(last, "verdict"));
        if is_known {
            Ok(())
        } else {
            Err(format!("the verdict is {}: {}", text(last, "verdict"), text(last, "reason")))
        }
    };
    let asks = |one: &Value| text(one, "verdict") == "failed" && flow.migration == Some(false);
    let outcome = match begun {
        0 if is(flow.from) => return Ok(Outcome::Never),
        0 => return Err(format!("{current} is current, and no deployment says why")),
        1 if text(history[0], "verdict") == "succeeded" => Outcome::AsAlways,
        1 if asks(history[0]) => return Ok(Outcome::Asks),
        1 if flow.ends == Ends::Back => {
            known(&["rolled_back"])?;
            Outcome::AsAlways
        }
        1 => {
            known(&["rolled_back"])?;
            Outcome::Back
        }
        more => return Err(format!("{more} deployments came of one")),
    };
    let back = outcome == Outcome::Back || flow.ends == Ends::Back;
    if back && history[0]["restored"] != true {
        return Err(format!("it was turned back, and restored is {}", history[0]["restored"]));
    }
    if back && text(history[0], "verdict") == "succeeded" {
        return Err("a bad version succeeded".into());
    }
    if !is(if back { flow.from } else { flow.to }) {
        return Err(format!("{current} is current after {} of {app}", text(history[0], "verdict")));
    }
    Ok(outcome)
}

/// How often each job ran.
fn jobs(world: &World, flow: &Flow, outcome: Outcome) -> Result<(), String> {
    let Some(repeatable) = flow.migration else { return Ok(()) };
    let lines = std::fs::read_to_string(world.path("jobs")).unwrap_or_default();
    let count = |line: String| lines.lines().filter(|said| *said == line).count();
    for version in ["v1", "v2", "bad"] {
        for what in ["run", "undo"] {
            let times = count(format!("{what} {version}"));
            if times > 1 && !repeatable {
                return Err(format!("`{what}` of {version} ran {times} times"));
            }
        }
    }
    let is_rollback = flow.act[0] == "rollback";
    let (forth, version) = if is_rollback { ("undo", "v2") } else { ("run", flow.to.unwrap_or("-")) };
    // A bad version is also turned back because nobody knows how its migration ended.
    if outcome == Outcome::AsAlways && flow.ends != Ends::Back && count(format!("{forth} {version}")) == 0 {
        return Err(format!("it ended as always, and `{forth}` of {version} did not run"));
    }
    if outcome == Outcome::AsAlways
        && flow.ends == Ends::Back
        && count(format!("run {version}")) > 0
        && count(format!("undo {version}")) == 0
    {
        return Err("it was turned back, and the migration was not undone".into());
    }
    Ok(())
}

/// The data folder has every line that was ever written to it, and what a person put there.
fn data(world: &World, flow: &Flow) -> Result<(), String> {
    let app = flow.apps[0];
    let folder = world.data(app);
    if !flow.spec.contains("--data") || flow.from.is_none() {
        return Ok(());
    }
    let starts = std::fs::read_to_string(folder.join("starts")).unwrap_or_default();
    let kept = std::fs::read_to_string(folder.join("kept")).unwrap_or_default();
    if kept != "kept" || !starts.starts_with("v1\n") || !starts.ends_with('\n') {
        return Err(format!("the data folder was changed: {kept:?}, {starts:?}"));
    }
    Ok(())
}

/// Puts a file into the data folder.
pub(crate) fn mark_data(world: &World, flow: &Flow) -> Result<(), String> {
    let folder = world.data(flow.apps[0]);
    if !flow.spec.contains("--data") || flow.from.is_none() {
        return Ok(());
    }
    std::fs::write(folder.join("kept"), "kept").map_err(|e| format!("{}: {e}", folder.display()))
}

/// The next deployment works, and so does going back from it.
pub(crate) fn goes_on(world: &World, flow: &Flow, seen: &Seen) -> Result<(), String> {
    let app = flow.apps[flow.apps.len() - 1];
    let current = seen.status.iter().find(|one| text(one, "app") == app).map_or("-", |one| text(one, "version"));
    if flow.compose_file.is_some() && flow.ends == Ends::Down && current == "-" {
        given_back(world)?;
    }
    world.version("next", None)?;
    world.ok(&["deploy", "--env", "dev", "--app", app, "--version", "next"])?;
    let after = settled(world)?;
    let version = |seen: &Seen| {
        let one = seen.status.iter().find(|one| text(one, "app") == app);
        one.map_or("-", |one| text(one, "version")).to_owned()
    };
    if version(&after) != "next" {
        return Err(format!("{} is current after the next deployment", version(&after)));
    }
    // In a cluster going back has flows of its own: it takes long there.
    if current == "-" || flow.shape.is_some() {
        return Ok(());
    }
    world.ok(&["rollback", "--env", "dev", "--app", app])?;
    let back = settled(world)?;
    if version(&back) != current {
        return Err(format!("{} is current after the rollback of the next deployment", version(&back)));
    }
    Ok(())
}

/// What was taken down is run by Compose again, at its published port; and taken down by it.
fn given_back(world: &World) -> Result<(), String> {
    world.compose_up("v1")?;
    let address = world.published();
    let is_served = || get(&address, "/version").is_ok_and(|said| said == (200, "v1".into())).then_some(());
    poll(SETTLE, is_served).ok_or_else(|| format!("Compose serves nothing at {address}"))?;
    world.compose(&["down", "--timeout", "1"], "v1")
}
