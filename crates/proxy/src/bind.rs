//! Listening sockets: made, found again, refused with the name of whoever has the address.

use crate::shared::Bound;
use crate::table::{ListenKey, address};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::route::Listener;
use deployctl_sys::{ports, process};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Connections that may wait to be taken.
const BACKLOG: i32 = 4096;

fn key(listener: &Listener) -> ListenKey {
    ListenKey { only: listener.only.clone(), environment: listener.environment.clone() }
}

/// The bound socket for `listener`: the one of `known` that is for the same, a new handle of one with the same address,
/// or a new one.
pub(crate) fn bound(listener: &Listener, known: &[Arc<Bound>]) -> Result<Arc<Bound>, Fault> {
    let at = address(&listener.address).map_err(|why| Fault::refused(FaultKind::Spec, why))?;
    let same = known.iter().filter(|bound| bound.address == at);
    let (key, tls) = (key(listener), listener.tls);
    if let Some(bound) = same.clone().find(|bound| bound.key == key && bound.tls == tls) {
        return Ok(bound.clone());
    }
    let socket = match same.clone().find_map(|bound| bound.copy()) {
        Some(socket) => socket,
        None => bind(at).map_err(|error| fault(at, &error))?,
    };
    Ok(Arc::new(Bound::new(key, tls, at, socket)))
}

/// Whether `at` can be bound now; if not, why and by whom.
pub(crate) fn could(at: SocketAddr) -> Result<(), Fault> {
    socket(at).map(drop).map_err(|error| fault(at, &error))
}

fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(at)?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn socket(at: SocketAddr) -> io::Result<OwnedFd> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &at)?;
    Ok(socket)
}

fn fault(at: SocketAddr, error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let (owner, hint) = owner(at.port());
            Fault::refused(FaultKind::Conflict, format!("cannot listen on {at}: {owner}")).hint(hint)
        }
        io::ErrorKind::PermissionDenied => Fault::refused(FaultKind::Denied, format!("not allowed to listen on {at}"))
            .hint("ports below 1024 need CAP_NET_BIND_SERVICE; use a higher port, or run as a system service"),
        io::ErrorKind::AddrNotAvailable => {
            Fault::refused(FaultKind::Spec, format!("cannot listen on {at}: this machine does not have the address"))
        }
        _ => Fault {
            applied: deployctl_core::fault::Applied::No,
            ..Fault::platform(format!("cannot listen on {at}: {error}"))
        },
    }
}

/// Who has a port, and what to do about it.
fn owner(port: u16) -> (String, String) {
    let found = ports::listeners(port).unwrap_or_default();
    let pid = found.iter().find_map(|listener| ports::owner(listener.inode).ok().flatten());
    let other = "choose another address under `listen`, or stop that process".to_owned();
    let Some(pid) = pid else { return ("the port is in use by a process that cannot be seen from here".into(), other) };
    let command = process::command_line(pid);
    let words: Vec<&str> = command.split(' ').collect();
    match words.iter().position(|word| *word == "--state").and_then(|at| words.get(at + 1)) {
        Some(state) if words.get(1) == Some(&"proxy") => (
            format!("the port belongs to the deployctl with --state {state} (pid {pid})"),
            "two states share nothing: use that state, or another address under `listen`".into(),
        ),
        _ => (format!("the port is in use by pid {pid} (`{command}`)"), other),
    }
}
