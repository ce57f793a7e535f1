//! Commands that look, set up and explain; what scripts rely on.

use super::API;
use super::http::get;
use super::world::{World, finish, kill, poll, text};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};

fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> = value.as_object().expect("an object").keys().cloned().collect();
    keys.sort();
    keys
}

/// Every one of these keys is there; others may be.
#[track_caller]
fn has_keys(value: &Value, wanted: &str) {
    let keys = keys(value);
    for key in wanted.split(' ') {
        assert!(keys.iter().any(|known| known == key), "`{key}` went away: {keys:?}");
    }
}

const HISTORY: &str =
    "id app environment region version previous strategy verdict restored reason actor started_at ended_at";

#[test]
fn json_keeps_its_keys() {
    let world = World::new(API);
    world.version("v1", "");
    world.version("v2", "");
    world.ok("deploy --env dev --app api --version v1");
    let deployed = world.json("deploy --env dev --app api --version v2");
    has_keys(&deployed, &format!("{HISTORY} urls"));
    assert_eq!(deployed["urls"][0].as_str(), Some(world.url("dev", "api").as_str()));
    assert_eq!((text(&deployed["verdict"]), &deployed["restored"]), ("succeeded".into(), &Value::Bool(false)));
    assert!(deployed["duration_ms"].is_u64(), "{deployed}");
    let same = world.json("deploy --env dev --app api --version v2");
    assert_eq!(same["unchanged"], true, "{same}");
    let back = world.json("rollback --env dev --app api --reason slow");
    has_keys(&back, &format!("{HISTORY} urls"));
    assert_eq!(
        (text(&back["version"]), text(&back["previous"]), text(&back["note"])),
        ("v1".into(), "v2".into(), "slow".into())
    );

    let status = world.status("dev", "api");
    has_keys(&status, "app environment region version health deployment urls instances");
    has_keys(&status["instances"][0], "id version state address pid");
    assert_eq!((text(&status["region"]), text(&status["deployment"])), ("default".into(), text(&back["id"])));
    let url = text(&status["urls"][0]);
    assert!(url.starts_with("http://127.0.0.1:") && !url.ends_with('/'), "{url}");
    assert_eq!(get(&format!("{url}/instance")).body, text(&status["instances"][0]["id"]));
    let history = world.json("history --env dev --app api");
    assert_eq!(history.as_array().map(Vec::len), Some(3));
    has_keys(&history[0], HISTORY);
    assert_eq!(text(&history[0]["id"]), text(&back["id"]), "newest first");
    for key in ["started_at", "ended_at"] {
        let at = text(&history[0][key]);
        assert!(at.len() == 24 && at.ends_with('Z') && &at[10..11] == "T", "RFC 3339 in UTC: {at}");
    }
    assert_eq!(text(&history[0]["actor"]).split('@').next(), Some("tester"));
    has_keys(&world.json("list")[0], "app environment region version health");
    has_keys(&world.json("audit --limit 1")[0], "stream seq at actor event prev hash");
    has_keys(&world.json("audit verify"), "streams entries head");
    has_keys(&world.json("health --env dev --app api")[0], "app environment health instances");
    let entries = world.json("audit verify")["entries"].as_u64().and_then(|n| usize::try_from(n).ok());
    assert_eq!(world.json("audit --limit 10000").as_array().map(Vec::len), entries, "all there is");
    assert_eq!(world.ok("history --limit 0").out.lines().count(), 1, "the head alone");
    assert_eq!(world.json("history --limit 1").as_array().map(Vec::len), Some(1));
    assert_eq!(world.json("status --env test").as_array().map(Vec::len), Some(0));
}

#[test]
fn the_screen_at_three_in_the_morning() {
    let world = World::new(API);
    assert!(world.ok("").out.starts_with("nothing was deployed here yet"));
    world.version("v1", "");
    world.version("v2", "");
    world.version("v3", "print=out of licences\nexit=3");
    world.ok("deploy --env dev --app api --version v1");
    world.ok("deploy --env dev --app api --version v2");
    let screen = world.ok("").out;
    for wanted in
        ["dev api: v2 is healthy", " ago)", "undo: deployctl rollback --env dev --app api", "back to v1", "by tester@"]
    {
        assert!(screen.contains(wanted), "wanted `{wanted}` in:\n{screen}");
    }
    world.run("deploy --env dev --app api --version v3").code(1);
    let screen = world.ok("").out;
    for wanted in ["dev api: v2 is healthy", "deploy v3 rolled back by", "out of licences"] {
        assert!(screen.contains(wanted), "wanted `{wanted}` in:\n{screen}");
    }
    assert!(!screen.contains("undo:"), "nothing is left to undo:\n{screen}");
    for command in ["status", "list", "history", "audit", "health --env dev --app api"] {
        let ran = world.ok(command);
        assert!(ran.out.contains("dev") && ran.out.contains("api"), "{command}: {}", ran.out);
    }
    let shown = world.ok(&format!("show {}", world.newest())).out;
    assert!(
        shown.contains("rolled back: v3 did not come up")
            && shown.contains("accepted, to be done by 2")
            && shown.contains("out of licences"),
        "{shown}"
    );
    world.version("v4", "print=\x1b[2Jcleared\x07\nexit=3");
    let reason = "two\nlines \x1b[2J";
    let args = ["deploy", "--env", "dev", "--app", "api", "--version", "v4", "--reason", reason];
    let ran = finish(world.command_of(&args).spawn().expect("it starts")).code(1);
    let said = [ran.err, world.ok("").out, world.ok("history").out, world.ok(&format!("show {}", world.newest())).out];
    for text in said {
        assert!(!text.contains(['\x1b', '\x07']), "what others wrote drives no terminal: {text:?}");
    }
    let app = world.role("app")[0];
    kill(app, Signal::KILL);
    poll("the instance to be back", || (world.status("dev", "api")["instances"][0]["restarts"] == 1).then_some(()));
    poll("its health", || (world.run("health --env dev --app api").code == 0).then_some(()));
    world.fails(3, "health --env dev --app nothing", "never deployed");
}

#[test]
fn differences_have_names() {
    let world = World::new(API);
    world.version("v1", "");
    world.version("v2", "");
    world.ok("deploy --env dev --app api --version v1");
    world.spec(&format!("{API}    instances: 2\n"));
    world.ok("deploy --env dev --app api --version v2");
    let out = world.ok("diff v1 v2 --env dev --app api").out;
    assert!(out.contains("config.instances: 1 -> 2") && out.contains("version: \"v1\" -> \"v2\""), "{out}");
    let json = world.json("diff v1 v2 --env dev --app api");
    assert!(
        json.as_array().is_some_and(|all| all.iter().any(|d| d["key"] == "config.instances" && d["b"] == "2")),
        "{json}"
    );
    let ids = world.json("history");
    let by_id = world.ok(&format!("diff {} {}", text(&ids[1]["id"]), text(&ids[0]["id"]))).out;
    assert_eq!(by_id, out);
    assert_eq!(world.ok("diff dev v2").out, "no difference\n");
    world.fails(2, "diff v1 v9", "[unknown-release]: `v9` is no environment");
}

#[test]
fn logs_of_all_instances_and_as_they_come() {
    let world = World::new(&format!("{API}    instances: 2\n"));
    world.version("v1", "print=one\nprint=two");
    world.ok("deploy --env dev --app api --version v1");
    let out = world.ok("logs --env dev --app api").out;
    assert_eq!(out.matches(" | two\n").count(), 2, "{out}");
    assert_eq!(world.ok("logs --env dev --app api --tail 1").out.lines().count(), 2);
    let json = world.ok("logs --env dev --app api --output json --tail 1").out;
    let line: Value = serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
    has_keys(&line, "instance line");
    let mut child = world.spawn("logs --env dev --app api --follow --tail 0");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    poll("the follower", || (world.role("engine").len() == 1).then_some(()));
    kill(world.role("app")[0], Signal::KILL);
    let first = lines.next().expect("a line").expect("a line");
    assert!(first.ends_with(" | one"), "the line of the instance that came anew: {first}");
    child.kill().expect("killed");
    child.wait().expect("its end");
    world.fails(3, "logs --env dev --app nothing", "[never-deployed]");
}

#[test]
fn maintenance_restart_and_down() {
    let world = World::new(API);
    world.version("v1", "");
    world.fails(3, "restart --env dev --app api", "[never-deployed]");
    world.ok("deploy --env dev --app api --version v1");
    let url = world.url("dev", "api");
    world.ok("maintenance on --env dev --app api").says("the maintenance page is on for api");
    let page = get(&format!("{url}/version"));
    assert_eq!((page.status, page.header("retry-after")), (503, Some("30")), "{page:?}");
    world.ok("maintenance on --env dev --all").says("the maintenance page is on already");
    assert_eq!(world.status("dev", "api")["maintenance"], true);
    world.ok("maintenance off --env dev --app api");
    assert_eq!(get(&format!("{url}/version")).status, 200);
    let before = world.role("app");
    world.ok("restart --env dev --app api").says("succeeded: restart api v1 -> v1");
    assert_ne!(world.role("app"), before);
    world.ok("down --env dev --app api").says("succeeded: down api v1 -> nothing");
    assert_eq!(world.role("app").len() + world.role("shim").len(), 0);
    world.ok("down --env dev --app api").says("nothing runs here");
    world.ok("rollback --env dev --app api").says("nothing -> v1");
    assert_eq!(world.url("dev", "api"), url, "the address is kept");
    assert_eq!(world.served("api"), "v1");
}

#[test]
fn down_waits_for_what_is_in_flight() {
    let world = World::new(API);
    let folder = world.path("wait");
    std::fs::create_dir(&folder).expect("a folder");
    world.version("v1", &format!("wait={}", folder.display()));
    world.ok("deploy --env dev --app api --version v1");
    let url = world.url("dev", "api");
    let asking = std::thread::spawn(move || get(&format!("{url}/wait")));
    poll("a request in flight", || folder.join("asked").exists().then_some(()));
    let down = world.spawn("down --env dev --app api");
    let waits = poll("what it waits for", || {
        let shown = world.run(&format!("show {}", world.newest())).out;
        shown.contains("finish 1 requests").then_some(shown)
    });
    assert!(waits.contains("down"), "{waits}");
    std::fs::write(folder.join("answer"), "").expect("a file");
    assert_eq!(asking.join().expect("an answer").status, 200);
    finish(down).code(0).says("succeeded: down api v1 -> nothing");
    assert_eq!(world.role("app").len(), 0);
}

#[test]
fn edits_of_the_journal_are_found() {
    let world = World::new(API);
    world.version("v1", "");
    world.ok("deploy --env dev --app api --version v1");
    let head = world.ok("audit verify").says("streams fit together").out.trim().to_owned();
    assert_eq!(head.len(), 64);
    world.version("v2", "");
    world.ok("deploy --env dev --app api --version v2");
    world.ok(&format!("audit verify --head {head}"));
    let never = "0".repeat(64);
    world.fails(
        5,
        &format!("audit verify --head {never}"),
        "[journal-altered]: the journal never had the head 000000000000",
    );
    for (edit, why) in [
        ("UPDATE entries SET actor = 'mallory' WHERE position = 2", "[journal-unreadable]"),
        ("DELETE FROM entries WHERE position = 3", "[journal-unreadable]"),
        ("DELETE FROM entries WHERE position = (SELECT max(position) FROM entries)", "[journal-altered]"),
    ] {
        let world = World::new(API);
        world.version("v1", "");
        world.ok("deploy --env dev --app api --version v1");
        let head = world.ok("audit verify").out.trim().to_owned();
        let journal = rusqlite::Connection::open(world.path("state/journal.db")).expect("the journal");
        let triggers: Vec<String> = journal
            .prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            .and_then(|mut names| names.query_map([], |row| row.get(0))?.collect())
            .expect("the triggers");
        for trigger in triggers {
            journal.execute_batch(&format!("DROP TRIGGER \"{trigger}\"")).expect("gone");
        }
        let changed = journal.execute(edit, []).unwrap_or_else(|error| panic!("{edit}: {error}"));
        assert!(changed > 0, "{edit}");
        world.fails(5, &format!("audit verify --head {head}"), why);
    }
}

#[test]
fn a_project_is_begun_checked_and_described() {
    let world = World::bare();
    world.fails(2, "validate", "[no-project]");
    world.write("p/Procfile", "web: ./serve --port $PORT\n");
    world.ok("init").says("next: read it, then deployctl validate");
    let begun = world.read("p/deployctl.yaml");
    assert!(begun.contains("project: p"), "{begun}");
    world.fails(2, "init", "[exists]");
    world.ok("init --force");
    world.ok("validate").says("p is valid: ");
    has_keys(&world.json("validate"), "project environments apps");
    let schema: Value = world.ok("schema").json();
    assert!(schema["$defs"]["App"].is_object(), "a JSON Schema");
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.ok(&format!("completions {shell}")).out.contains("deployctl"), "{shell}");
    }
    world.write("p/deployctl.yaml", "project: p\nenvironments: { dev: {} }\napps: { one: { comand: [sleep] } }\n");
    let ran =
        world.fails(2, "validate", "[spec-unknown-key]: deployctl.yaml:3:16: unknown key `comand`; nothing was changed; next: correct the specification");
    assert!(ran.err.contains("command"), "the nearest key is suggested: {}", ran.err);
    world.write("p/deployctl.yaml", "project: p\nenvironments: { dev: {} }\napps: { one: {} }\n");
    world.fails(2, "validate", "[spec-missing-key]");
    world.write("over.yaml", "apps: { one: { command: [sleep, \"9\"] } }\n");
    world.ok(&format!("validate --config {}", world.path("over.yaml").display()));
    assert!(!world.state().exists(), "none of these needs a state");
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let world = World::new(API);
    let printed = world.ok("service install --print").out;
    let unit = world.path("deployctl.service");
    let ran = world.ok(&format!("service install --unit {}", unit.display())).says("systemctl enable --now deployctl");
    assert_eq!(ran.out.trim(), unit.display().to_string());
    assert_eq!(std::fs::read_to_string(&unit).expect("the unit"), printed);
    assert!(printed.contains(&format!("--state \"{}\" --stay", world.state().display())), "{printed}");
    let there = std::process::Command::new("systemd-analyze").arg("verify").arg(&unit).output();
    match there {
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            let about: Vec<&str> = said.lines().filter(|line| line.contains("deployctl.service")).collect();
            assert!(done.status.success() && about.is_empty(), "{said}");
        }
        Err(_) if std::env::var("DEPLOYCTL_LIVE").as_deref() == Ok("all") => panic!("systemd-analyze is not installed"),
        Err(_) => eprintln!("skipped: systemd-analyze verify (not installed)"),
    }
}

#[test]
fn json_lines_have_the_names_of_the_elastic_common_schema() {
    let world = World::new(API);
    world.version("v1", "");
    let ran = world.ok("deploy --env dev --app api --version v1 --json-log");
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.len() >= 2, "{}", ran.out);
    for line in &lines {
        has_keys(line, "@timestamp ecs.version log.level message event.action service.name user.name labels");
        assert_eq!((text(&line["service.name"]), text(&line["service.environment"])), ("api".into(), "dev".into()));
    }
    let last = lines.last().expect("a line");
    assert_eq!((text(&last["event.action"]), text(&last["event.outcome"])), ("verdict".into(), "success".into()));
    assert_eq!(text(&last["message"]), ran.last());
    world.fails(2, "deploy --env dev --app api --version v1 --json-log --output json", "--json-log");
}

#[test]
fn colours_and_motion_are_for_terminals_that_want_them() {
    let mut world = World::new(API);
    world.var("TERM", "xterm");
    world.version("v1", "");
    world.version("v2", "");
    let ran = world.ok("deploy --env dev --app api --version v1");
    assert!(!ran.err.contains('\x1b') && !world.ok("").out.contains('\x1b'), "no terminal, no escape codes");
    let shown = |world: &World, args: &str| {
        let (mut controller, terminal) = super::terminal::open();
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            let mut some = [0; 4096];
            // A terminal whose other end is gone gives an error, not an end.
            while let Ok(count @ 1..) = controller.read(&mut some) {
                all.extend_from_slice(&some[..count]);
            }
            String::from_utf8_lossy(&all).into_owned()
        });
        let ran = finish(world.command(args).stderr(terminal).spawn().expect("it starts"));
        (ran.code, reading.join().expect("what was shown"))
    };
    world.spec(&format!("{API}    bake: 1s\n"));
    let (code, text) = shown(&world, "deploy --env dev --app api --version v2");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("held for") && text.contains("Ctrl-C leaves it running"), "live progress: {text:?}");
    assert!(
        text.trim_end().lines().last().is_some_and(|last| last.contains("succeeded: deploy api v1 -> v2")),
        "{text:?}"
    );
    assert!(shown(&world, "rollback --env dev --app nothing").1.contains("\x1b[1;31merror"));
    world.var("TERM", "dumb");
    let plain = shown(&world, "deploy --env dev --app api --version v1").1;
    assert!(plain.contains("\r\napi [2/2] v1: 1 @ 100%\r\n") && !plain.contains('\x1b'), "{plain:?}");
    world.var("TERM", "xterm");
    world.var("NO_COLOR", "1");
    let plain = shown(&world, "rollback --env dev --app nothing").1;
    assert!(plain.starts_with("error[never-deployed]: "), "{plain:?}");
}

#[test]
fn wrong_usage_is_told_in_one_line() {
    let world = World::new(API);
    for (args, says) in [
        ("deploy --bogus", "error[bad-usage]: unexpected argument '--bogus' found"),
        ("deploy --app api --version v1", "--env <ENV>"),
        ("deploy --env dev --version v1", "error[bad-usage]: the following required arguments were not provided"),
        ("deploy --env dev --app api --all --version v1", "cannot be used with"),
        ("deploy --env dev --app api --version latest", "is a moving name; a version names one artifact for good"),
        ("deploy --env dev --app api --version v1 --wait soon", "`soon` is no duration"),
        ("show ../../x", "[unknown-deployment]"),
        ("bogus", "unrecognized subcommand 'bogus'"),
        ("deploy --env dev --app api", "[spec-version]"),
        ("deploy --env moon --app api --version v1", "there is no environment `moon`"),
        ("deploy --env dev --app moon --version v1", "moon"),
        ("deploy --env dev --app api --version v1 --region moon", "[unknown-region]"),
        ("serve", "[not-built]"),
    ] {
        let ran = world.fails(2, args, says);
        assert!(ran.last().starts_with("error["), "{args}: every error has a code: {}", ran.err);
        assert_eq!(ran.out, "", "{args}");
    }
    let empty = finish(world.command_of(&["show", ""]).spawn().expect("it starts"));
    assert!(empty.code(2).last().starts_with("error[bad-usage]: a value is required"));
    assert!(world.ok("deploy --help").out.contains("--version <VERSION>"));
    assert!(world.ok("--version").out.starts_with("deployctl "));
}
