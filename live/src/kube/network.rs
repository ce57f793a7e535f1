//! The network of a cluster: one cable from this machine to its node, and no way further.

use super::programs::PATH;
use std::process::Command;

/// The cable, and the ranges behind it. Dropping it removes it, if the node's end has not done so.
#[derive(Debug)]
pub(super) struct Network {
    number: u8,
}

impl Network {
    /// Makes a cable with a number that no other cluster on this machine has.
    pub(super) fn make() -> Result<Self, String> {
        let taken = ip(&["-o", "addr"])?;
        for number in (1..=254).filter(|number| !taken.contains(&format!("10.99.{number}."))) {
            let network = Self { number };
            match ip(&["link", "add", &network.device(), "type", "veth", "peer", "name", &network.far_end()]) {
                Ok(_) => {}
                // Somebody else was faster; what is theirs must not be dropped.
                Err(why) if why.contains("File exists") => {
                    std::mem::forget(network);
                    continue;
                }
                Err(why) => return Err(why),
            }
            ip(&["addr", "add", &format!("{}/30", network.outside()), "dev", &network.device()])?;
            return Ok(network);
        }
        Err("no range of 10.99.0.0/16 is free".into())
    }

    /// Puts the far end into the network of process `first`, as its only way out, and leads its ranges there.
    pub(super) fn join(&self, first: u32) -> Result<(), String> {
        let (device, far) = (self.device(), self.far_end());
        ip(&["link", "set", &far, "netns", &first.to_string()])?;
        ip(&["link", "set", &device, "up"])?;
        let on_node = |command: &[&str]| {
            let first = first.to_string();
            run(&[&["nsenter", "-t", &first, "-n", "--"], command].concat())
        };
        let inside = |args: &[&str]| on_node(&[&["ip"], args].concat());
        inside(&["link", "set", "lo", "up"])?;
        inside(&["addr", "add", &format!("{}/30", self.inside()), "dev", &far])?;
        inside(&["link", "set", &far, "up"])?;
        // Packets to services need some route, so that they come to where they are led elsewhere.
        inside(&["route", "add", &self.services(), "dev", "lo"])?;
        // The plugin of pods makes these with the first one, and fails where two are the first.
        for chain in ["CNI-FORWARD", "CNI-ADMIN"] {
            on_node(&["iptables", "-t", "filter", "-N", chain])?;
        }
        for range in [self.services(), self.pods()] {
            ip(&["route", "replace", &range, "via", &self.inside()])?;
        }
        Ok(())
    }

    /// Of the cluster on this machine: its cgroups have this name.
    pub(super) fn name(&self) -> String {
        format!("deployctl-kube-{}", self.number)
    }

    /// The address of the node.
    pub(super) fn inside(&self) -> String {
        format!("10.99.{}.1", self.number)
    }

    /// The address of this machine, for the node.
    pub(super) fn outside(&self) -> String {
        format!("10.99.{}.2", self.number)
    }

    pub(super) fn services(&self) -> String {
        format!("10.98.{}.0/24", self.number)
    }

    /// The address of the API server as a service: the first one.
    pub(super) fn api_service(&self) -> String {
        format!("10.98.{}.1", self.number)
    }

    pub(super) fn pods(&self) -> String {
        format!("10.101.{}.0/24", self.number)
    }

    fn device(&self) -> String {
        format!("dkube{}", self.number)
    }

    fn far_end(&self) -> String {
        format!("dnode{}", self.number)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.device()]);
    }
}

fn ip(args: &[&str]) -> Result<String, String> {
    run(&[&["ip"], args].concat())
}

fn run(command: &[&str]) -> Result<String, String> {
    let [program, args @ ..] = command else { return Ok(String::new()) };
    super::printed(Command::new(program).args(args).env("PATH", PATH).output(), &command.join(" "))
}
