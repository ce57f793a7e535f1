//! Published ports.

use crate::reader::At;

/// A port of a container, and where it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The port in the container.
    pub target: u16,
    /// The port of this machine; none: any.
    pub published: Option<u16>,
    /// The address of this machine; empty for all.
    pub ip: String,
    /// Whether it is UDP.
    pub udp: bool,
}

pub(crate) fn ports(at: &At<'_>) -> Vec<Port> {
    at.items().iter().filter_map(port).collect()
}

fn port(at: &At<'_>) -> Option<Port> {
    let mut port = Port { target: 0, published: None, ip: String::new(), udp: false };
    for (key, value) in at.entries() {
        match key.as_str() {
            "target" => port.target = number(&value)?,
            "published" => port.published = Some(number(&value)?),
            "host_ip" => port.ip = value.text(),
            "protocol" => match value.text().as_str() {
                "tcp" => {}
                "udp" => port.udp = true,
                _ => value.not_built("`tcp` and `udp` are"),
            },
            "mode" if matches!(value.text().as_str(), "ingress" | "host") => {}
            // Words for people and other tools.
            "name" | "app_protocol" => {}
            key if key.starts_with("x-") => {}
            _ => value.not_built("take it out, or publish the port without it"),
        }
    }
    Some(port)
}

fn number(at: &At<'_>) -> Option<u16> {
    let text = at.text();
    let number = text.parse().ok();
    match (number, text.contains('-')) {
        (Some(number), _) => return Some(number),
        (None, true) => at.not_built("a range of ports of this machine; publish one port"),
        (None, false) => at.bad(format!("`{text}` is not a port"), "1 to 65535"),
    }
    None
}
