//! `kubernetes verdict`: what `kubectl get -o json` printed in, a word and a reason out.

use crate::it::world::{Ran, World};
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};

fn deployment(name: &str, available: u32) -> serde_json::Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": "shop", "generation": 1 },
        "spec": { "replicas": 2 },
        "status": { "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": available },
    })
}

fn list(items: &[serde_json::Value]) -> String {
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// The command with this on its standard input.
fn judged(world: &World, args: &[&str], input: &str) -> Ran {
    let mut command = Command::new(world.binary());
    command
        .args(["kubernetes", "verdict"])
        .args(args)
        .env_clear()
        .env("HOME", world.path("home"))
        .current_dir(world.path("p"));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the command");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("its input");
    let done = child.wait_with_output().expect("its end");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { code: done.status.code().unwrap_or(-1), out: text(done.stdout), err: text(done.stderr) }
}

#[test]
fn each_object_gets_a_word_and_the_exit_code_is_that_of_the_worst() {
    let world = World::bare();
    let ready = deployment("web", 2);
    let waits = deployment("api", 1);
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "migrate", "namespace": "shop" },
        "status": { "conditions": [{ "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "no" }] },
    });
    let ran = judged(&world, &["-"], &list(std::slice::from_ref(&ready))).code(0);
    assert_eq!(ran.last(), "1 ready");
    assert_eq!(
        ran.out,
        "VERDICT  KIND        NAME      REASON\nready    Deployment  shop/web  2 of 2 pods are available\n"
    );
    let ran = judged(&world, &["-"], &list(&[ready.clone(), waits.clone()])).code(6);
    assert_eq!(ran.last(), "1 progressing, 1 ready");
    let ran = judged(&world, &["-", "--output", "json"], &list(&[waits, job, ready])).code(1);
    assert_eq!(ran.last(), "1 failed, 1 progressing, 1 ready");
    let wanted = json!({
        "api_version": "batch/v1", "kind": "Job", "namespace": "shop", "name": "migrate", "verdict": "failed",
        "reason": "BackoffLimitExceeded: no",
    });
    assert_eq!(ran.json()[1], wanted);
}

#[test]
fn what_is_no_list_of_objects_is_refused_whole() {
    let world = World::bare();
    let hint = "; next: give it what `kubectl get ... -o json` prints";
    for (input, why) in [
        ("", "it is empty"),
        ("NAME  READY\n", "it is no JSON: expected value at line 1 column 1"),
        ("{}", "object 1 has no `apiVersion`, so it is none that the API server prints"),
    ] {
        let ran = judged(&world, &["-"], input).code(2);
        assert_eq!(ran.last(), format!("error[objects-unreadable]: standard input: {why}{hint}"));
        assert_eq!(ran.out, "");
    }
    judged(&world, &["gone.json"], "")
        .code(2)
        .says("error[objects-unreadable]: gone.json: it cannot be read: No such file");
    let ran = judged(&world, &["-"], &list(&[])).code(0);
    assert_eq!(ran.last(), "there is no object in it");
}

/// What the cluster says must not drive the reader's terminal, nor break the line.
#[test]
fn what_a_cluster_says_is_one_harmless_line() {
    let world = World::bare();
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "x" },
        "status": { "conditions": [{ "type": "Failed", "status": "True", "message": "\u{1b}[2Jgone\nand more" }] },
    });
    let ran = judged(&world, &["-"], &job.to_string()).code(1);
    assert!(ran.out.contains("\u{fffd}[2Jgone and more"), "{}", ran.out);
    assert_eq!(ran.out.lines().count(), 2);
}
