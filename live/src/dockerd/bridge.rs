//! A network of an engine's own.

use super::PATH;
use std::process::Command;

/// A network for the containers of one engine, with an address range of its own. Dropping it removes it.
///
/// With it an engine shares nothing with another one on the machine: not the bridge, whose usual name every engine claims for
/// itself, and no packet filter, whose rules every engine writes anew. So its containers reach this machine and each other
/// (unless somebody else's filter forbids that), and nothing else.
#[derive(Debug)]
pub struct Bridge {
    name: String,
    number: u8,
}

impl Bridge {
    /// The name of the network's device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `dockerd` is to be started with.
    pub fn flags(&self) -> Vec<String> {
        let pool = format!("base=10.96.{}.0/24,size=28", self.number);
        let flags = ["--bridge", &self.name, "--iptables=false", "--ip6tables=false", "--ip-masq=false"];
        flags.into_iter().chain(["--default-address-pool", &pool]).map(str::to_owned).collect()
    }

    /// The address of this machine in it.
    pub(super) fn gateway(&self) -> String {
        format!("10.97.{}.1", self.number)
    }

    /// Makes one. Needs root and `ip`.
    pub fn make() -> Result<Self, String> {
        let taken = ip(&["-o", "addr"])?;
        for number in (1..=254).filter(|number| !taken.contains(&format!("10.97.{number}."))) {
            let name = format!("dctl{number}");
            match ip(&["link", "add", &name, "type", "bridge"]) {
                Ok(_) => {}
                // Somebody else was faster.
                Err(why) if why.contains("File exists") => continue,
                Err(why) => return Err(why),
            }
            let bridge = Self { name, number };
            ip(&["addr", "add", &format!("{}/24", bridge.gateway()), "dev", &bridge.name])?;
            ip(&["link", "set", &bridge.name, "up"])?;
            return Ok(bridge);
        }
        Err("no range of 10.97.0.0/16 is free".into())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.name]);
    }
}

fn ip(args: &[&str]) -> Result<String, String> {
    let done = Command::new("ip").args(args).env("PATH", PATH).output().map_err(|e| format!("ip: {e}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim())),
    }
}
