//! Which requests go where, and what becomes of them there.

use super::client::{Client, get, get_with};
use super::support::{Site, revision, scope, service, side, wait_until};
use super::upstream::Upstream;
use deployctl_core::route::{Listener, Mode};
use deployctl_core::time::Span;
use std::time::Instant;

fn ask(site: &Site, host: &str, target: &str) -> super::client::Answer {
    Client::connect(site.address).ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

#[test]
fn by_host_and_path() {
    let names = ["shop", "api", "wild", "any"];
    let upstreams: Vec<_> = names.iter().map(|name| Upstream::named(name)).collect();
    let mut services: Vec<_> =
        names.iter().zip(&upstreams).map(|(name, up)| service(name, vec![side(name, 1, &[up.address])])).collect();
    services[0].route.hosts = vec!["shop.example".into()];
    services[0].route.redirect_hosts = vec!["www.shop.example".into()];
    services[1].route.hosts = vec!["shop.example".into()];
    services[1].route.path = "/api".into();
    services[1].route.strip = true;
    services[2].route.hosts = vec!["*.shop.example".into()];
    let site = Site::start(services);
    for (host, target, served) in [
        ("shop.example", "/", "shop"),
        ("SHOP.example:80", "/apix", "shop"),
        ("shop.example", "/api/x?y=1", "api"),
        ("a.shop.example", "/api", "wild"),
        ("127.0.0.1", "/", "any"),
    ] {
        assert_eq!(ask(&site, host, target).text(), served, "{host}{target}");
    }
    assert_eq!(upstreams[1].last().target(), "/x?y=1");
    let answer = ask(&site, "www.shop.example:81", "/a?b");
    assert_eq!((answer.status, answer.field("location")), (308, "http://shop.example:81/a?b"));
    let answer =
        Client::connect(site.address).ask("GET http://shop.example/api/q HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert_eq!((answer.text(), upstreams[1].last().line.as_str()), ("api", "GET /q HTTP/1.1"));
}

#[test]
fn nobody_is_404_and_one_service_may_own_a_listener() {
    let upstream = Upstream::named("v1");
    let mut api = service("api", vec![side("v1", 1, &[upstream.address])]);
    api.route.hosts = vec!["shop.example".into()];
    api.route.path = "/api".into();
    api.route.strip = true;
    api.route.https_only = true;
    let site = Site::start(vec![api]);
    assert_eq!(ask(&site, "other.example", "/api").status, 404);
    let answer = ask(&site, "shop.example", "/");
    assert_eq!(answer.text(), "404 Not Found: nothing is served under this host and path\n");
    let answer = ask(&site, "shop.example", "/api/x");
    assert_eq!((answer.status, answer.field("location")), (308, "https://shop.example/api/x"));
    let own = super::support::free_address();
    site.change(|table| {
        let only = Some(scope("api"));
        table.listeners.push(Listener {
            address: own.to_string(),
            tls: false,
            only,
            environment: "shop/dev".into(),
            published: false,
        });
    })
    .unwrap();
    let answer = get(own, "/api/x");
    assert_eq!((answer.text(), upstream.last().target()), ("v1", "/api/x"), "no host, no prefix, no redirect");
}

#[test]
fn paused_requests_are_held_and_then_served() {
    let (old, new) = (Upstream::named("v1"), Upstream::named("v2"));
    let site = Site::simple(&[old.address]);
    site.service(|service| service.mode = Mode::Paused);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = Client::connect(site.address);
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab").unwrap();
            client
        })
        .collect();
    wait_until("all are held", || site.traffic().held.get("shop/dev/default/api") == Some(&20));
    assert_eq!(old.count(), 0);
    site.service(|service| {
        service.sides = [side("v2", 1, &[new.address])].into();
        service.mode = Mode::Open;
    });
    for mut client in clients {
        assert_eq!(client.answer().unwrap().text(), "v2");
    }
    assert_eq!((new.count(), site.traffic().held.len()), (20, 0));
}

#[test]
fn requests_are_held_while_there_is_no_instance_but_not_for_ever() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[]);
    let mut client = Client::connect(site.address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_until("it is held", || !site.traffic().held.is_empty());
    site.service(|service| service.sides = [side("v1", 1, &[upstream.address])].into());
    assert_eq!(client.answer().unwrap().text(), "v1");
    site.service(|service| {
        service.sides.clear();
        service.route.hold = Span::ms(100);
    });
    let start = Instant::now();
    let answer = get(site.address, "/");
    assert!(start.elapsed().as_millis() >= 100, "it was not held");
    assert_eq!((answer.status, answer.field("retry-after")), (503, "1"));
    assert_eq!(answer.text(), "503 Service Unavailable: no instance is there to take the request\n");
}

#[test]
fn no_more_than_so_many_are_held() {
    let site = Site::start_with(&[("DEPLOYCTL_PROXY_HELD_MAX", "50")], vec![service("api", vec![])]);
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut client = Client::connect(site.address);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        held.push(client);
    }
    wait_until("all are held", || site.traffic().held.get("shop/dev/default/api") == Some(&50));
    let answer = get(site.address, "/");
    assert_eq!(answer.text(), "503 Service Unavailable: too many requests wait for an instance already\n");
    drop(held);
    wait_until("those who went are not held any more", || site.traffic().held.is_empty());
}

#[test]
fn maintenance_says_when_to_come_again() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    let mode = |page| Mode::Maintenance { retry_after: Span::ms(90_500), page };
    site.service(|service| service.mode = mode(Some("<p>back soon".into())));
    let answer = get(site.address, "/");
    assert_eq!((answer.status, answer.field("retry-after"), answer.text()), (503, "91", "<p>back soon"));
    site.service(|service| service.mode = mode(None));
    assert!(get(site.address, "/").text().contains("Down for maintenance"));
    site.service(|service| service.mode = Mode::Open);
    assert_eq!(get(site.address, "/").text(), "v1");
}

#[test]
fn error_pages_are_the_services_own() {
    let site = Site::simple(&["127.0.0.1:1".parse().unwrap()]);
    let page = site.state.path().join("502.html");
    std::fs::write(&page, "<h1>sorry").unwrap();
    site.service(|service| {
        service.route.error_pages = [(502, page.display().to_string())].into();
    });
    let answer = get(site.address, "/");
    assert_eq!((answer.status, answer.text()), (502, "<h1>sorry"));
    assert_eq!(answer.field("content-type"), "text/html; charset=utf-8");
    let before = site.block(deployctl_core::route::Router::table(&site.router)).unwrap();
    let fault =
        site.change(|table| table.services[0].route.error_pages = [(500, "/nowhere.html".into())].into()).unwrap_err();
    assert_eq!(
        fault.message,
        "the error page /nowhere.html for status 500 of shop/dev/default/api: No such file or directory (os error 2)"
    );
    assert_eq!(
        site.block(deployctl_core::route::Router::table(&site.router)).unwrap(),
        before,
        "nothing was published"
    );
}

#[test]
fn forced_sides_are_the_same_after_a_restart() {
    let (old, new) = (Upstream::named("v1"), Upstream::named("v2"));
    let site = Site::simple(&[old.address]);
    site.service(|service| {
        // The new one has most of the traffic already: weights would say the contrary.
        service.sides = [side("v1", 1, &[old.address]), side("v2", 9, &[new.address])].into();
        service.newest = Some(revision("v2"));
    });
    let served = || {
        ["new", "old"].map(|wish| {
            let answer = get_with(site.address, "/", &format!("Deployctl-Revision: {wish}\r\n"));
            answer.text().to_owned()
        })
    };
    assert_eq!(served(), ["v2", "v1"]);
    super::support::kill(site.running()[0].pid);
    super::support::wait_until("it is gone", || site.running().is_empty());
    site.block(site.router.ensure()).unwrap();
    assert_eq!(served(), ["v2", "v1"]);
    // On the way back the earlier release is the one that comes.
    site.service(|service| service.newest = Some(revision("v1")));
    assert_eq!(served(), ["v1", "v2"]);
    site.service(|service| service.sides.get_mut(&revision("v1")).unwrap().instances.clear());
    assert_eq!(served(), ["v2", "v2"], "the only one with instances");
}

#[test]
fn a_side_can_be_forced() {
    let (old, new) = (Upstream::named("v1"), Upstream::named("v2"));
    let site = Site::simple(&[old.address]);
    site.service(|service| service.sides.extend([side("v2", 0, &[new.address])]));
    let prefix = revision("v2").release.as_str()[..8].to_owned();
    for (wish, served) in [("new", "v2"), ("old", "v1"), (prefix.as_str(), "v2")] {
        let answer = get_with(site.address, "/", &format!("Deployctl-Revision: {wish}\r\n"));
        assert_eq!(answer.text(), served, "{wish}");
    }
    for wish in ["abc", "ffffffff", ""] {
        let answer = get_with(site.address, "/", &format!("Deployctl-Revision: {wish}\r\n"));
        assert_eq!((answer.status, answer.text()), (404, "404 Not Found: there is no such revision here\n"), "{wish}");
    }
    for _ in 0..50 {
        assert_eq!(get(site.address, "/").text(), "v1", "no share, no traffic");
    }
}
