//! Traefik, an implementation of the Gateway API, and the definitions of that API's kinds: for the tests that measure shares.
//!
//! Built once per version, outside of the tree. To prove to an authority that a name is its own, Traefik can speak to some 170
//! providers of names. Their clients are a third of all that is compiled, and nothing here asks for a certificate: `live/traefik/dns.go`
//! stands for them.

use crate::go;
use std::path::Path;

/// As in `live/traefik/go.mod`.
const MODULE: &str = "github.com/traefik/traefik/v3";
/// Whose kinds Traefik knows, in the version that it was made with.
const DEFINITIONS: &str = "sigs.k8s.io/gateway-api";
/// What speaks to the providers of names.
const LEGO: &str = "github.com/go-acme/lego/v4";

/// Builds `traefik`, and the folder `gateway-api` with the definitions, if they are not there.
pub(crate) fn build(root: &Path) -> Result<(), String> {
    let from = root.join("live/traefik");
    let folder = go::cache()?.join(format!("traefik-{}", go::version(&from, MODULE)?));
    if folder.join("traefik").is_file() {
        return Ok(());
    }
    eprintln!("building Traefik: about five minutes, once");
    let new = folder.with_extension(format!("new{}", std::process::id()));
    let module = new.join("module");
    slim(&from, &module)?;
    go::build(&module, &format!("{MODULE}/cmd/traefik"), "", &new.join("traefik"))?;
    let definitions = go::source(&module, DEFINITIONS)?.join("config/crd/standard");
    copy(&definitions, &new.join("gateway-api"), &|name| name.ends_with(".yaml"))?;
    let _ = std::fs::remove_dir_all(&module);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::rename(&new, &folder).map_err(|e| format!("{}: {e}", folder.display()))
}

/// The module in `from` with a copy of lego that knows no provider.
fn slim(from: &Path, module: &Path) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", module.display());
    copy(&go::source(from, LEGO)?, &module.join("lego"), &|name| name != "providers")?;
    let dns = module.join("lego/providers/dns");
    std::fs::create_dir_all(&dns).map_err(failed)?;
    let files = [("go.mod", module.join("go.mod")), ("go.sum", module.join("go.sum")), ("dns.go", dns.join("dns.go"))];
    for (name, to) in files {
        std::fs::copy(from.join(name), to).map_err(failed)?;
    }
    let requires = std::fs::read_to_string(module.join("go.mod")).map_err(failed)?;
    std::fs::write(module.join("go.mod"), format!("{requires}\nreplace {LEGO} => ./lego\n")).map_err(failed)
}

/// Copies a folder with those of its files and folders whose names are wanted, and all that is in these folders.
fn copy(from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", from.display());
    std::fs::create_dir_all(to).map_err(failed)?;
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default();
        match path.is_dir() {
            _ if !wanted(&name.to_string_lossy()) => {}
            true => copy(&path, &to.join(name), &|_| true)?,
            false => std::fs::copy(&path, to.join(name)).map(drop).map_err(failed)?,
        }
    }
    Ok(())
}
