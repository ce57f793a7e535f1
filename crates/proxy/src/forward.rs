//! The way of a request: checked, matched, held or passed on, answered.

use crate::conn::Conn;
use crate::exchange::{Attempt, Exchanged};
use crate::hold;
use crate::matching::{Matched, strip, without_port};
use crate::own;
use crate::pick::{self, Wish};
use crate::reply::{Reply, Turn};
use crate::strict::{Reject, is_host};
use crate::table::Service;
use crate::upstream::body::{AnswerBody, RequestBody};
use crate::worker::{Local, Worker};
use deployctl_core::route::Mode;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, Version};
use hyper::body::{Body, Incoming};
use std::borrow::Cow;
use std::rc::Rc;

/// Answers a request.
pub(crate) async fn answer(
    worker: Rc<Worker>,
    conn: Rc<Conn>,
    request: Request<Incoming>,
    reject: Option<Reject>,
) -> Response<Reply> {
    let mut turn = Turn::begin(&worker, &conn, &request);
    let h1 = request.version() != Version::HTTP_2;
    let body_follows = h1 && !request.body().is_end_stream();
    let mut answer = match reject {
        Some(reject) => own::answer(reject.status, reject.why, None),
        None => route(&worker, &conn, request, &mut turn).await,
    };
    turn.head(answer.status().as_u16());
    if h1 {
        conn.decide(answer.status().as_u16() == 101);
        // If the connection ends with a body unread, it ends so that the client gets to see the answer.
        conn.linger.set(body_follows || reject.is_some());
        if conn.is_leaving() && answer.status().as_u16() != 101 {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
    answer.map(|body| Reply::new(body, turn))
}

/// A request with what was found out about it.
pub(crate) struct Asked {
    pub(crate) parts: Parts,
    pub(crate) host: String,
    /// The service as `local` numbers it, and how that was found.
    pub(crate) service: usize,
    /// Whether the listener is for this service only.
    pub(crate) only: bool,
}

impl Asked {
    /// The target that the instance gets to see.
    pub(crate) fn target(&self, service: &Service) -> Cow<'_, str> {
        let target = self.parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.is_empty() { "/" } else { target };
        if service.config.route.strip && !self.only { strip(&service.config.route.path, target) } else { target.into() }
    }

    /// The number of the service in a newer table; none if nobody takes this request any more.
    pub(crate) fn number_in(&self, local: &Local, conn: &Conn) -> Option<usize> {
        match matched(local, conn, &self.host, self.parts.uri.path()) {
            Matched::Service(number) => Some(number),
            _ => None,
        }
    }
}

fn matched<'a>(local: &'a Local, conn: &Conn, host: &str, path: &str) -> Matched<'a> {
    let key = &conn.bound.key;
    match &key.only {
        Some(scope) => local.table.only.get(scope).map_or(Matched::Nobody, |number| Matched::Service(*number)),
        None => match local.table.environments.get(&key.environment) {
            None => Matched::Nobody,
            Some(hosts) => {
                let name = without_port(host);
                if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    hosts.find(&name.to_ascii_lowercase(), path)
                } else {
                    hosts.find(name, path)
                }
            }
        },
    }
}

async fn route(
    worker: &Rc<Worker>,
    conn: &Rc<Conn>,
    request: Request<Incoming>,
    turn: &mut Turn,
) -> Response<AnswerBody> {
    let (parts, incoming) = request.into_parts();
    if parts.method == Method::CONNECT {
        return own::answer(405, "this is no forward proxy", None);
    }
    let host = match host(&parts) {
        Ok(host) => host,
        Err(why) => return own::answer(400, why, None),
    };
    let local = worker.local();
    let only = conn.bound.key.only.is_some();
    let service = match matched(&local, conn, &host, parts.uri.path()) {
        Matched::Nobody => return own::answer(404, "nothing is served under this host and path", None),
        Matched::Canonical(to, number) => {
            let tls = conn.bound.tls || local.table.services[number].config.route.https_only;
            return own::redirect(&location(&local, conn, to, &host, tls, &parts));
        }
        Matched::Service(number) => number,
    };
    let ready = &local.table.services[service];
    let route = &ready.config.route;
    turn.served_by(ready);
    if route.https_only && !conn.bound.tls && !only {
        return own::redirect(&location(&local, conn, without_port(&host), &host, true, &parts));
    }
    if let Mode::Maintenance { retry_after, page } = &ready.config.mode {
        return own::maintenance(retry_after.0, page.as_deref());
    }
    if route.body_bytes_max.is_some_and(|most| incoming.size_hint().lower() > most) {
        return own::answer(413, "the request body is too large", Some(ready));
    }
    let body = (!incoming.is_end_stream()).then(|| RequestBody::new(incoming, route.body_bytes_max));
    let asked = Asked { parts, host, service, only };
    pass_on(worker, conn, local.clone(), asked, body, turn).await
}

/// The host that a request is for.
fn host(parts: &Parts) -> Result<String, &'static str> {
    let field = parts.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let target = parts.uri.authority().map(|authority| authority.as_str());
    if parts.headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Err("there is more than one Host");
    }
    let host = match (field, target) {
        (Some(field), Some(target)) if !field.eq_ignore_ascii_case(target.as_bytes()) => {
            return Err("the Host is not that of the request target");
        }
        (_, Some(target)) => target,
        (Some(field), None) => std::str::from_utf8(field).map_err(|_| "the Host is malformed")?,
        (None, None) if parts.version == Version::HTTP_10 => return Ok("localhost".into()),
        (None, None) => return Err("the Host is missing"),
    };
    if is_host(host.as_bytes()) { Ok(host.to_owned()) } else { Err("the Host is malformed") }
}

/// The same path on host `to`.
fn location(local: &Local, conn: &Conn, to: &str, asked: &str, tls: bool, parts: &Parts) -> String {
    let port = if tls && !conn.bound.tls {
        let port = local.table.tls_ports.get(&conn.bound.key.environment);
        port.filter(|port| **port != 443).map(|port| format!(":{port}")).unwrap_or_default()
    } else {
        asked[without_port(asked).len()..].to_owned()
    };
    let scheme = if tls { "https" } else { "http" };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    format!("{scheme}://{to}{port}{target}")
}

async fn pass_on(
    worker: &Rc<Worker>,
    conn: &Rc<Conn>,
    mut local: Rc<Local>,
    mut asked: Asked,
    mut body: Option<RequestBody>,
    turn: &mut Turn,
) -> Response<AnswerBody> {
    let mut tried = Vec::new();
    let mut hold = hold::Hold::default();
    loop {
        let service = &local.table.services[asked.service];
        let Ok(wish) = pick::wish(service, &asked.parts.headers) else {
            return own::answer(404, "there is no such revision here", Some(service));
        };
        let open = service.config.mode == Mode::Open;
        let deadline = turn.start() + service.config.route.timeout.0 + hold.spent();
        let picked =
            if open { pick::pick(worker, &local, asked.service, wish, &tried, (turn.start(), deadline)) } else { None };
        let newest = worker.local();
        if newest.epoch != local.epoch {
            // The table changed before the request was counted in: what was picked may be on its way out.
            drop(picked);
            if let Some(answer) = renewed(&newest, conn, &mut asked) {
                return answer;
            }
            local = newest;
            continue;
        }
        let Some(picked) = picked else {
            let forced = matches!(wish, Wish::Forced(_));
            if let Some(answer) = Box::pin(hold.wait(worker, service, local.epoch, forced)).await {
                return answer;
            }
            let newest = worker.local();
            if let Some(answer) = renewed(&newest, conn, &mut asked) {
                return answer;
            }
            local = newest;
            continue;
        };
        hold.over();
        let address = picked.flight.instance.address;
        let attempt = Attempt { worker, conn, asked: &asked, service, tries: tried.len() + 1 };
        match attempt.run(picked, &mut body, turn).await {
            Exchanged::Answer(answer) => return answer,
            Exchanged::Again => tried.push(address),
        }
    }
}

/// Finds the request's service in a newer table; an answer if it is not to be passed on any more.
fn renewed(local: &Local, conn: &Conn, asked: &mut Asked) -> Option<Response<AnswerBody>> {
    let Some(number) = asked.number_in(local, conn) else {
        return Some(own::answer(404, "nothing is served under this host and path any more", None));
    };
    asked.service = number;
    match &local.table.services[number].config.mode {
        Mode::Maintenance { retry_after, page } => Some(own::maintenance(retry_after.0, page.as_deref())),
        _ => None,
    }
}

/// What an answer of an instance gets added: the cookie that keeps its client on a side.
pub(crate) fn keep_client(answer: &mut http::HeaderMap, service: &Service, bucket: Option<u32>, tls: bool) {
    let Some(bucket) = bucket else { return };
    let path = &service.config.route.path;
    let secure = if tls { "; Secure" } else { "" };
    let cookie = format!("{}={bucket}; Path={path}; HttpOnly; SameSite=Lax{secure}", service.cookie);
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.append(header::SET_COOKIE, cookie);
    }
}
