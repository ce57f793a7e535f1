//! Whether an engine elsewhere is the one that is meant, by what it says of itself: names lead to other machines in time,
//! and a port of this machine may lead to any.

use crate::address::Address;
use crate::connect::denied;
use crate::layout;
use bollard::models::SystemInfo;
use deployctl_core::fault::{Fault, FaultKind, Retry};
use std::path::Path;

/// Refuses an engine that is another one than the first, which stands in the file `first`, and one whose containers cannot
/// be reached from here.
pub(crate) fn is_the_one(address: &Address, info: &SystemInfo, first: Option<&Path>) -> Result<(), Fault> {
    is_reached(address, info, &own_name())?;
    let (Some(id), Some(path)) = (&info.id, first) else { return Ok(()) };
    match layout::read::<String>(path)? {
        None => layout::write(path, id),
        Some(known) if known == *id => Ok(()),
        Some(_) => {
            let message =
                format!("the Docker Engine at {address} is another one than this state directory was used with");
            let hint = format!(
                "containers of that one may run on; if it is gone for good, remove {}, and they are made anew here",
                path.display()
            );
            Err(Fault { retry: Retry::Soon, ..Fault::refused(FaultKind::Denied, message) }.hint(hint))
        }
    }
}

fn is_reached(address: &Address, info: &SystemInfo, own: &str) -> Result<(), Fault> {
    let name = info.name.as_deref().unwrap_or_default();
    match address {
        Address::Tcp { tcp } if tcp.is_loopback() && name != own => {
            let why = format!("it runs on `{name}`, so its containers have no ports on this machine, `{own}`");
            Err(denied(address, &why).hint("name it by an address of that machine with TLS, or by ssh://USER@HOST"))
        }
        Address::Ssh { .. }
            if info.security_options.iter().flatten().any(|option| option.contains("name=rootless")) =>
        {
            let why = "it runs without root, in a network of its own that SSH does not reach";
            Err(denied(address, why).hint("name it by tcp://HOST:PORT with TLS"))
        }
        _ => Ok(()),
    }
}

fn own_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Address {
        Address::parse(text, "it", Some(Path::new("/certs"))).unwrap()
    }

    #[test]
    fn an_engine_whose_containers_cannot_be_reached_is_refused() {
        let info = |options: &[&str]| SystemInfo {
            name: Some("far".into()),
            security_options: Some(options.iter().map(|option| (*option).to_owned()).collect()),
            ..SystemInfo::default()
        };
        assert!(is_reached(&at("tcp://127.0.0.1:1"), &info(&[]), "far").is_ok());
        let fault = is_reached(&at("tcp://127.0.0.1:1"), &info(&[]), "near").unwrap_err();
        assert_eq!(fault.kind, FaultKind::Denied);
        assert!(fault.message.ends_with("it runs on `far`, so its containers have no ports on this machine, `near`"));
        assert!(is_reached(&at("tcp://10.0.0.5:1"), &info(&["name=rootless"]), "near").is_ok());
        assert!(is_reached(&at("ssh://far"), &info(&["name=seccomp,profile=default"]), "near").is_ok());
        let fault = is_reached(&at("ssh://far"), &info(&["name=rootless"]), "near").unwrap_err();
        assert!(fault.message.contains("without root") && fault.hint.unwrap().contains("TLS"));
    }

    #[test]
    fn another_engine_under_the_same_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = folder.path().join("engine");
        let info = |id: &str| SystemInfo { id: Some(id.into()), ..SystemInfo::default() };
        let ask = |id: &str| is_the_one(&at("tcp://10.0.0.5:1"), &info(id), Some(&first));
        ask("A").unwrap();
        ask("A").unwrap();
        let fault = ask("B").unwrap_err();
        assert_eq!((fault.kind, fault.retry), (FaultKind::Denied, Retry::Soon));
        assert!(fault.message.ends_with("is another one than this state directory was used with"), "{fault}");
        assert!(fault.hint.unwrap().contains(&first.display().to_string()));
        std::fs::remove_file(&first).unwrap();
        ask("B").unwrap();
    }
}
