//! The kernel's own answer to "who listens": `sock_diag` goes through the listening sockets alone, where `/proc/net/tcp`
//! goes through every bucket of a table made for millions of connections.

use crate::ports::Listener;
use rustix::net::netlink::SOCK_DIAG;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use std::io;

const HEADER: usize = 16;
/// Family, state, timer, retransmissions, then the id of the socket.
const ID: usize = 4;
const REQUEST_TYPE: u16 = 20;
const FLAGS: u16 = 0x301;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const TCP: u8 = 6;
const LISTENING: u32 = 1 << 10;
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// The sockets that take connections to `127.0.0.1:port`. An error says that the kernel does not answer such questions.
pub(crate) fn listeners(port: u16) -> io::Result<Vec<Listener>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?;
    let mut found = Vec::new();
    for family in [IPV4, IPV6] {
        send(&socket, &request(family, port), SendFlags::empty())?;
        let mut buffer = vec![0_u8; 32 * 1024];
        loop {
            let (_, count) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
            if read_answer(&buffer[..count.min(buffer.len())], port, &mut found)? {
                break;
            }
        }
    }
    Ok(found)
}

fn request(family: u8, port: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + 56);
    bytes.extend_from_slice(&72_u32.to_ne_bytes());
    bytes.extend_from_slice(&REQUEST_TYPE.to_ne_bytes());
    bytes.extend_from_slice(&FLAGS.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[family, TCP, 0, 0]);
    bytes.extend_from_slice(&LISTENING.to_ne_bytes());
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes.resize(72, 0);
    bytes
}

/// Takes what a packet has; `true` when it was the last one.
fn read_answer(mut packet: &[u8], port: u16, found: &mut Vec<Listener>) -> io::Result<bool> {
    while packet.len() >= HEADER {
        let length = word(packet, 0).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let kind = u16::from_ne_bytes([packet[4], packet[5]]);
        let message = packet.get(HEADER..length).ok_or_else(|| io::Error::other("a netlink message is cut short"))?;
        match kind {
            DONE => return Ok(true),
            ERROR => {
                let code = word(message, 0).map_or(0, |code| i32::from_ne_bytes(code.to_ne_bytes()));
                return Err(io::Error::from_raw_os_error(-code));
            }
            _ => found.extend(listener(message, port)),
        }
        packet = packet.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn listener(message: &[u8], port: u16) -> Option<Listener> {
    let at = |from: usize, to: usize| message.get(ID + from..ID + to);
    let takes = match *message.first()? {
        IPV4 => matches!(at(4, 8)?, [0, 0, 0, 0] | [127, 0, 0, 1]),
        IPV6 => matches!(
            at(4, 20)?,
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] | [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1]
        ),
        _ => false,
    };
    let (uid, inode) = (word(message, 64)?, word(message, 68)?);
    (takes && at(0, 2)? == port.to_be_bytes()).then_some(Listener { inode: inode.into(), uid })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
}
