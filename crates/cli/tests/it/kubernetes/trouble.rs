//! Trouble of the cluster, and a second deployctl.

use super::{cluster, image, settles, world};
use crate::it::world::{finish, kill, poll, text};
use deployctl_live::kube::Part;
use rustix::process::Signal;

#[test]
fn kube_an_api_server_that_is_away_is_waited_for() {
    let Some(cluster) = cluster::alone() else { return };
    let world = world(&cluster, "away");
    // Long enough under way for the server to go meanwhile.
    let web = super::WEB.replace("replicas: 2", "replicas: 2\n  minReadySeconds: 5");
    world.write("p/kubernetes/dev/web.yaml", &web);
    world.ok("deploy --env dev --all --version v1");
    let deploy = world.spawn("deploy --env dev --all --version v2");
    poll("the deployment to begin", || (image(&cluster, "away") == "deployctl.test/web:v2").then_some(()));
    let id = world.running();
    cluster.0.stop(Part::ApiServer);
    poll("word of it", || {
        let waiting = text(&world.json(&format!("show {id}"))["waiting"]);
        waiting.contains("the API server of `test` cannot be reached").then_some(())
    });
    cluster.0.begin(Part::ApiServer).expect("the API server");
    finish(deploy).code(0);
    settles(&world, "away", "v2 healthy 2");
    world.ok("down --env dev --app away");
}

#[test]
fn kube_a_deployment_goes_on_after_whoever_did_it_was_killed() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "killed");
    world.ok("deploy --env dev --all --version v1");
    let web = super::WEB.replace("replicas: 2", "replicas: 2\n  minReadySeconds: 3");
    world.write("p/kubernetes/dev/web.yaml", &web);
    world.write("p/kubernetes/dev/more.yaml", super::CONFIG);
    world.ok("deploy --env dev --all --version v2 --detach");
    poll("the deployment to begin", || (image(&cluster, "killed") == "deployctl.test/web:v2").then_some(()));
    kill(world.role("engine")[0], Signal::KILL);
    poll("the end", || (world.history("killed") == ["v2 succeeded", "v1 succeeded"]).then_some(()));
    settles(&world, "killed", "v2 healthy 2");
    assert!(cluster.names("killed", "configmap").contains(&"more".to_owned()));
    world.ok("down --env dev --app killed");
}

#[test]
fn kube_another_state_and_an_older_fence_are_refused() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "fenced");
    world.ok("deploy --env dev --all --version v1");
    // A second deployctl, which knows nothing of the first.
    let mut other = crate::it::world::World::new(&super::SPEC.replace("NAME", "fenced"));
    other.write("p/kubernetes/dev/web.yaml", super::WEB);
    other.write("kubeconfig", &cluster.kubeconfig());
    other.var("KUBECONFIG", other.path("kubeconfig"));
    let why = other.run("deploy --env dev --all --version v2").code(4);
    assert!(why.err.contains("p/dev/default/fenced is deployed by another deployctl"), "{}", why.err);
    assert_eq!(image(&cluster, "fenced"), "deployctl.test/web:v1");
    // A newer owner was here, of which this one knows nothing: a journal that was restored.
    let record = cluster.names("fenced", "configmap").into_iter().find(|name| name.starts_with("deployctl-fenced-"));
    let record = record.expect("the record");
    cluster.kubectl(&["annotate", "--overwrite", "configmap", &record, "-n", "fenced", "deployctl.io/fence=1000"]);
    let why = world.run("deploy --env dev --all --version v2");
    assert_ne!(why.code, 0, "{}", why.err);
    assert!(why.err.contains("was replaced by one with 1000"), "{}", why.err);
    assert_eq!(image(&cluster, "fenced"), "deployctl.test/web:v1");
}
