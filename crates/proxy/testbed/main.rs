//! Stands in for `deployctl proxy --state DIR` in this crate's tests and measurements.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    deployctl_sys::crash::arm("proxy");
    let mut arguments = std::env::args_os().skip(1);
    let (role, flag, state) = (arguments.next(), arguments.next(), arguments.next());
    if role.as_deref() != Some("proxy".as_ref()) || flag.as_deref() != Some("--state".as_ref()) {
        return Err("usage: deployctl-proxy-testbed proxy --state DIR".into());
    }
    deployctl_proxy::run(&PathBuf::from(state.ok_or("--state needs a directory")?))?;
    Ok(())
}
