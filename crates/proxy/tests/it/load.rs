//! Load that counts what is lost.

use super::client::Client;
use super::support::{Site, side};
use super::upstream::Upstream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;

/// Clients that ask all the time, and never twice.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

impl Load {
    /// Half of the clients keep their connection, half make a new one each time; they alternate GET and POST.
    pub(crate) fn start(address: SocketAddr, clients: usize) -> Self {
        let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..clients)
            .map(|number| {
                let (over, done) = (over.clone(), done.clone());
                std::thread::spawn(move || {
                    let mut kept: Option<Client> = None;
                    let mut turn = 0;
                    while !over.load(SeqCst) {
                        turn += 1;
                        let at = |what: &str, error: &dyn std::fmt::Display| {
                            format!("client {number}, request {turn}: {what}: {error}")
                        };
                        let mut client = match kept.take() {
                            Some(client) => client,
                            None => Client::try_connect(address).map_err(|e| at("connecting", &e))?,
                        };
                        let request = if turn % 2 == 0 {
                            "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
                        } else {
                            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
                        };
                        client.send(request).map_err(|e| at("sending", &e))?;
                        let answer = client.answer().map_err(|e| at("reading", &e))?;
                        if answer.status != 200 {
                            return Err(at("answered", &format!("{} {}", answer.status, answer.text())));
                        }
                        done.fetch_add(1, SeqCst);
                        if number % 2 == 0 && answer.field("connection") != "close" {
                            kept = Some(client);
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        Self { over, done, clients }
    }

    /// How many requests were answered.
    pub(crate) fn done(&self) -> usize {
        self.done.load(SeqCst)
    }

    /// Ends it; panics if anything was lost.
    pub(crate) fn stop(self) -> usize {
        self.over.store(true, SeqCst);
        let lost: Vec<_> = self.clients.into_iter().filter_map(|client| client.join().unwrap().err()).collect();
        assert!(lost.is_empty(), "lost: {lost:#?}");
        self.done.load(SeqCst)
    }
}

#[test]
fn nothing_is_lost_while_versions_go_back_and_forth() {
    let old = Upstream::named("v1");
    let site = Site::simple(&[old.address]);
    let load = Load::start(site.address, 8);
    let mut current = old;
    for round in 0..40 {
        let next = Upstream::named("next");
        let name = format!("v{}", round + 2);
        site.service(|service| service.sides.extend([side(&name, 0, &[next.address])]));
        site.service(|service| {
            for side in service.sides.values_mut() {
                side.weight = 1 - side.weight;
            }
        });
        site.service(|service| service.sides.retain(|_, side| side.weight > 0));
        let gone = if round == 0 { "v1-0".to_owned() } else { format!("v{}-0", round + 1) };
        super::support::wait_until("the old one is idle", || site.in_flight(&gone) == 0);
        // From here on nobody may ask it anything.
        let count = current.count();
        assert_eq!(site.in_flight(&gone), 0);
        assert_eq!(current.count(), count, "a request reached an instance that was drained");
        current = next;
    }
    assert!(load.stop() > 100);
}
