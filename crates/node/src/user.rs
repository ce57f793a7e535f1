//! The user that an instance runs as, from `/etc/passwd` and `/etc/group`. Directory services are not asked.

use std::fs;
use std::path::PathBuf;

/// A user with all that a process needs to become it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Its name, or its number if it has none.
    pub(crate) name: String,
    /// Its number.
    pub(crate) uid: u32,
    /// Its first group.
    pub(crate) gid: u32,
    /// All of its groups.
    pub(crate) groups: Vec<u32>,
    /// Its home.
    pub(crate) home: PathBuf,
}

/// Finds `wanted`: a name, a number, or `NUMBER:NUMBER` for user and group.
pub(crate) fn find(wanted: &str) -> Result<User, String> {
    let passwd = fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd cannot be read: {e}"))?;
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    find_in(wanted, &passwd, &groups)
}

fn find_in(wanted: &str, passwd: &str, groups: &str) -> Result<User, String> {
    if let Some((uid, gid)) = wanted.split_once(':') {
        let number = |text: &str| text.parse::<u32>().map_err(|_| format!("user `{wanted}`: `{text}` is not a number"));
        let (uid, gid) = (number(uid)?, number(gid)?);
        return Ok(User { name: uid.to_string(), uid, gid, groups: vec![gid], home: "/".into() });
    }
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { continue };
        if name != wanted && uid != wanted {
            continue;
        }
        let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { continue };
        let groups = groups_of(name, gid, groups);
        return Ok(User { name: name.into(), uid, gid, groups, home: home.into() });
    }
    Err(format!("there is no user `{wanted}` in /etc/passwd"))
}

fn groups_of(name: &str, first: u32, groups: &str) -> Vec<u32> {
    let mut found = vec![first];
    for line in groups.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, gid, members, ..] = fields[..] else { continue };
        if let Ok(gid) = gid.parse()
            && members.split(',').any(|member| member == name)
            && !found.contains(&gid)
        {
            found.push(gid);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:100:An App:/srv/app:/bin/false\n";
    const GROUP: &str = "users:x:100:\nlog:x:7:syslog,app\nother:x:8:apple\n";

    #[test]
    fn by_name_number_and_pair() {
        let app = User { name: "app".into(), uid: 1000, gid: 100, groups: vec![100, 7], home: "/srv/app".into() };
        assert_eq!(find_in("app", PASSWD, GROUP), Ok(app.clone()));
        assert_eq!(find_in("1000", PASSWD, GROUP), Ok(app));
        assert_eq!(find_in("5:6", PASSWD, GROUP).map(|u| (u.uid, u.gid, u.groups)), Ok((5, 6, vec![6])));
        assert_eq!(find_in("app2", PASSWD, GROUP).unwrap_err(), "there is no user `app2` in /etc/passwd");
        assert_eq!(find_in("a:b", PASSWD, GROUP).unwrap_err(), "user `a:b`: `a` is not a number");
    }
}
