//! Where the load goes.

/// The server under load: `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether there is TLS. Any certificate is taken: the load looks for lost requests, not for impostors.
    pub tls: bool,
    /// The name or address to connect to.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The host that requests name, if not where they go to.
    pub host_named: Option<String>,
}

impl Target {
    /// Reads `http://HOST:PORT` or `https://HOST:PORT`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not http://HOST:PORT or https://HOST:PORT");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (rest, if tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains('/') {
            return Err(wrong());
        }
        Ok(Self { tls, host: host.to_owned(), port, host_named: None })
    }

    /// The same, with requests for `host`.
    pub fn for_host(self, host: impl Into<String>) -> Self {
        Self { host_named: Some(host.into()), ..self }
    }

    /// The value of the Host header.
    pub(crate) fn authority(&self) -> String {
        match &self.host_named {
            Some(host) => host.clone(),
            None if self.host.contains(':') => format!("[{}]:{}", self.host, self.port),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    /// The name that TLS asks for.
    pub(crate) fn name(&self) -> &str {
        let named = self.host_named.as_deref().unwrap_or(&self.host);
        named.split(':').next().filter(|_| !named.starts_with('[')).unwrap_or(&self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses() {
        let target = Target { tls: true, host: "a".into(), port: 8443, host_named: None };
        assert_eq!(Target::parse("https://a:8443/"), Ok(target.clone()));
        assert_eq!(target.authority(), "a:8443");
        assert_eq!(target.for_host("b.example:1").name(), "b.example");
        assert_eq!(Target::parse("http://[::1]:80").map(|t| t.authority()), Ok("[::1]:80".into()));
        for bad in ["a:80", "ftp://a", "http://", "http://a:b", "http://a:1/x"] {
            assert_eq!(Target::parse(bad), Err(format!("`{bad}` is not http://HOST:PORT or https://HOST:PORT")));
        }
    }
}
