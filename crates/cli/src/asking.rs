//! Who asks.

use deployctl_core::ask::By;

/// The person (or pipeline) behind this command, and why.
pub(crate) fn by(reason: Option<&str>) -> By {
    By { actor: who(), reason: reason.map(str::to_owned) }
}

/// Who asks and from where, such as `alice@build-7`.
pub(crate) fn who() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{}@{host}", user())
}

/// The person or pipeline.
pub(crate) fn user() -> String {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    var("DEPLOYCTL_ACTOR")
        .or_else(|| var("GITHUB_ACTOR"))
        .or_else(|| var("GITLAB_USER_LOGIN"))
        .or_else(|| var("SUDO_USER"))
        .or_else(|| var("USER"))
        .or_else(|| var("LOGNAME"))
        .unwrap_or_else(login)
}

/// The login name of this process's user, from `/etc/passwd`; `uid-N` if it has none there.
fn login() -> String {
    let uid = rustix::process::getuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_of(uid, &passwd).unwrap_or_else(|| format!("uid-{uid}"))
}

fn name_of(uid: u32, passwd: &str) -> Option<String> {
    let entries = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mine = entries.filter(|fields| fields.get(2).is_some_and(|field| *field == uid.to_string()));
    mine.map(|fields| fields[0].to_owned()).find(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn a_user_has_the_name_of_its_first_entry() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbad\napp:x:1000:10::/:\nother:x:1000:10::/:\n";
        assert_eq!(name_of(0, passwd).as_deref(), Some("root"));
        assert_eq!(name_of(1000, passwd).as_deref(), Some("app"));
        assert_eq!(name_of(10, passwd), None);
    }
}
