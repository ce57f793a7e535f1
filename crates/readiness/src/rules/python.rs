//! What Python packages are asked.

use super::{CONTAINERS, Found, files};
use crate::finding::{Code, Target};
use crate::subject::Package;
use deployctl_oci::Platform;

const PROCESS: &[Target] = &[Target::Process];

pub(super) fn rules(package: &Package, here: &Platform, found: &mut Found) {
    found.blocks(Code::WrongKind, CONTAINERS, "containers run images; install it into one");
    files::content(&package.files, found);
    if let Some(why) = &package.broken {
        found.blocks(Code::PythonBroken, PROCESS, why.clone());
        return;
    }
    if package.is_wheel {
        if !package.platforms.iter().any(|tag| fits(tag, here)) {
            let message = format!("it is for {}, not for {here}", package.platforms.join(", "));
            found.blocks(Code::PythonPlatform, PROCESS, message);
        }
        if package.commands.is_empty() {
            found.says(Code::PythonNoCommand, PROCESS, "there are no console scripts");
        }
    } else {
        found.says(Code::PythonNeedsBuild, PROCESS, "it is a source distribution");
    }
    let python = package.requires_python.as_ref().map(|wanted| format!(", with Python {wanted}"));
    let message = format!("it is not installed by unpacking{}", python.unwrap_or_default());
    found.says(Code::PythonNeedsInstall, PROCESS, message);
}

/// Whether a platform tag of a wheel suits a machine.
fn fits(tag: &str, here: &Platform) -> bool {
    if tag == "any" {
        return true;
    }
    let machine = match here.architecture.as_str() {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "386" => "i686",
        other => other,
    };
    let is_linux = tag.starts_with("linux_") || tag.starts_with("manylinux") || tag.starts_with("musllinux");
    here.os == "linux" && is_linux && tag.ends_with(&format!("_{machine}"))
}
