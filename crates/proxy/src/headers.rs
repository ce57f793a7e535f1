//! Which header fields pass, and which are ours to say. Pure.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What a tester asks for a certain side by.
pub(crate) const FORCE: HeaderName = HeaderName::from_static("deployctl-revision");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Whether a field of one connection only.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::TE
        || *name == header::UPGRADE
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
}

/// Whether a request field is passed on as it is: not of this connection only, and not one that the proxy says itself.
pub(crate) fn goes_on(name: &HeaderName) -> bool {
    !is_hop_by_hop(name)
        && *name != header::HOST
        && *name != header::CONTENT_LENGTH
        && *name != header::EXPECT
        && *name != header::FORWARDED
        && *name != X_FORWARDED_FOR
        && *name != X_FORWARDED_PROTO
        && *name != X_FORWARDED_HOST
}

/// Whether a field may stand in a trailer: nothing that frames or routes a message.
pub(crate) fn may_trail(name: &HeaderName) -> bool {
    goes_on(name) && *name != header::AUTHORIZATION && *name != header::COOKIE && *name != header::SET_COOKIE
}

/// The fields that `Connection` names: of this connection only, too.
pub(crate) struct Named<'a>(Option<Vec<&'a str>>);

impl<'a> Named<'a> {
    pub(crate) fn by(headers: &'a HeaderMap) -> Self {
        if !headers.contains_key(header::CONNECTION) {
            return Self(None);
        }
        let all = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let names: Vec<_> = all
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("close"))
            .filter(|name| !name.eq_ignore_ascii_case("keep-alive"))
            .collect();
        Self((!names.is_empty()).then_some(names))
    }

    pub(crate) fn has(&self, name: &HeaderName) -> bool {
        self.0.as_ref().is_some_and(|names| names.iter().any(|one| one.eq_ignore_ascii_case(name.as_str())))
    }
}

/// Takes from the headers of a message whatever belongs to one connection only.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = {
        let named = Named::by(headers);
        headers.keys().filter(|name| is_hop_by_hop(name) || named.has(name)).cloned().collect()
    };
    for name in named {
        headers.remove(name);
    }
}

/// Whether the client takes trailers.
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',')
                .any(|coding| coding.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("trailers")))
        })
    })
}

/// Says where a request came from; what the client says about that itself is replaced.
pub(crate) fn set_origin(headers: &mut HeaderMap, origin: &crate::upstream::encode::Origin) {
    headers.insert(X_FORWARDED_FOR, origin.client.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(origin.proto));
    headers.insert(X_FORWARDED_HOST, origin.host.clone());
    headers.insert(header::FORWARDED, origin.forwarded.clone());
}

/// The value of the cookie `name`.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).find_map(|value| {
        value.split(';').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key.trim() == name).then_some(value.trim())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn fields_of_one_connection_do_not_pass() {
        let mut map = headers(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("proxy-connection", "close"),
            ("x-other", "1"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("x-other", "1")]));
    }

    #[test]
    fn what_the_client_claims_about_its_origin_is_not_passed() {
        for name in ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "host", "expect"] {
            assert!(!goes_on(&HeaderName::from_static(name)), "{name}");
        }
        assert!(goes_on(&header::ACCEPT));
    }

    #[test]
    fn trailers_are_asked_for_by_te() {
        assert!(takes_trailers(&headers(&[("te", "gzip;q=1, Trailers")])));
        assert!(!takes_trailers(&headers(&[("te", "gzip")])));
    }

    #[test]
    fn cookies_by_name() {
        let map = headers(&[("cookie", "a=1; deployctl-api=77"), ("cookie", "b=2")]);
        assert_eq!(cookie(&map, "deployctl-api"), Some("77"));
        assert_eq!(cookie(&map, "b"), Some("2"));
        assert_eq!(cookie(&map, "c"), None);
    }
}
