//! Nodes that only say that they run pods, for tests of many objects.

use super::{Cluster, log};
use std::process::{Child, Command, Stdio};

/// Simulated nodes. When they are dropped, or this program ends, the cluster sees that they do not answer.
pub struct Nodes(Child);

impl Cluster {
    /// Adds simulated nodes: what is scheduled onto them is running and ready at once, and nothing runs; pods of jobs complete
    /// at once. From now on the real node takes no new pods.
    pub fn simulate(&self, count: usize) -> Result<Nodes, String> {
        self.kubectl(&["cordon", super::NODE])?;
        let log = log(&self.folder, "nodes")?;
        let mut command = Command::new(self.programs.of("nodes"));
        command.arg(self.kubeconfig()).arg(count.to_string()).stdin(Stdio::piped());
        command.stdout(log.try_clone().map_err(|e| e.to_string())?).stderr(log);
        let mut nodes = Nodes(command.spawn().map_err(|e| format!("simulated nodes: {e}"))?);
        self.wait_for("simulated nodes", |cluster| {
            if let Ok(Some(status)) = nodes.0.try_wait() {
                return Some(Err(format!("simulated nodes ended with {status}: {}", cluster.written("nodes"))));
            }
            let answer = cluster.kubectl(&["get", "nodes", "-l", "deployctl.test/simulated", "-o", "name"]).ok()?;
            (answer.lines().count() == count).then_some(Ok(()))
        })??;
        Ok(nodes)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
