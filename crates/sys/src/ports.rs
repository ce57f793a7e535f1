//! Who listens on a local TCP port, by the sockets' inodes.

use crate::{diag, process};
use std::fs::File;
use std::io::{self, BufRead, BufReader};

/// A socket that takes connections to `127.0.0.1:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The inode of the socket.
    pub inode: u64,
    /// The user that made it.
    pub uid: u32,
}

/// The sockets that take connections to `127.0.0.1:port`.
pub fn listeners(port: u16) -> io::Result<Vec<Listener>> {
    diag::listeners(port).or_else(|_| listed(port))
}

/// The same from the tables in `/proc`, for kernels that do not answer otherwise.
fn listed(port: u16) -> io::Result<Vec<Listener>> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match File::open(table) {
            Ok(file) => scan(BufReader::with_capacity(4096, file), port, &mut found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The kernel lists listening sockets first: what follows them is not read, there may be very many.
fn scan(table: impl BufRead, port: u16, found: &mut Vec<Listener>) -> io::Result<()> {
    for line in table.lines().skip(1) {
        let line = line?;
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(local), Some(state), Some(uid), Some(inode)) =
            (fields.get(1), fields.get(3), fields.get(7), fields.get(9))
        else {
            continue;
        };
        if *state != "0A" {
            break;
        }
        let Some((address, number)) = local.split_once(':') else { continue };
        if u16::from_str_radix(number, 16) == Ok(port) && takes_loopback(address) {
            found.push(Listener { inode: inode.parse().unwrap_or(0), uid: uid.parse().unwrap_or(u32::MAX) });
        }
    }
    Ok(())
}

fn takes_loopback(address: &str) -> bool {
    matches!(address, "00000000" | "0100007F" | "00000000000000000000000000000000" | "0000000000000000FFFF00000100007F")
}

/// Whether the process has one of its open files at the socket `inode`.
pub fn holds(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    process::open_files(pid).iter().any(|file| file.to_str() == Some(&wanted))
}

/// A process that has the socket `inode` open; `None` if none can be seen.
pub fn owner(inode: u64) -> io::Result<Option<u32>> {
    Ok(process::all()?.into_iter().find(|pid| holds(*pid, inode)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_is_found_with_its_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = listeners(port).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(listed(port).unwrap(), found);
        assert_eq!(diag::listeners(port).unwrap(), found, "the kernel answers, and says the same");
        assert!(holds(std::process::id(), found[0].inode));
        assert_eq!(owner(found[0].inode).unwrap(), Some(std::process::id()));
        drop(listener);
        assert!(listeners(port).unwrap().is_empty());
    }

    #[test]
    fn listeners_of_ipv6_and_of_other_addresses() {
        let both = TcpListener::bind("[::]:0").unwrap();
        let port = both.local_addr().unwrap().port();
        assert_eq!(listeners(port).unwrap().len(), 1);
        assert_eq!(listeners(port).unwrap(), listed(port).unwrap());
        let other = TcpListener::bind("127.0.0.2:0").unwrap();
        assert!(listeners(other.local_addr().unwrap().port()).unwrap().is_empty());
    }

    #[test]
    fn what_follows_the_listeners_is_not_read() {
        let table = "  sl  local_address rem_address   st\n\
             0: 0100007F:4E20 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 77 1 x\n\
             1: 0200007F:4E20 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 78 1 x\n\
             2: 0100007F:4E20 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000 0 79 1 x\n\
             3: 00000000:4E20 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 80 1 x\n";
        let mut found = Vec::new();
        scan(table.as_bytes(), 20000, &mut found).unwrap();
        assert_eq!(found, [Listener { inode: 77, uid: 1000 }]);
    }
}
