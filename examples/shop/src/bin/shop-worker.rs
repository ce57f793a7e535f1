//! The worker: looks for new orders once a second and says what it did.

use shop::release::Release;
use shop::stop::Stop;
use shop::store::Client;
use std::time::Duration;

fn main() -> Result<(), String> {
    let mut stop = Stop::on_signals().map_err(|e| e.to_string())?;
    let version = Release::load()?.version;
    let address = std::env::var("DB").map_err(|_| "the variable DB does not say where the store is".to_owned())?;
    let mut store = Client::new(address);
    println!("worker {version}: started");
    while !stop.wait(Some(Duration::from_secs(1))) {
        match work(&mut store) {
            Ok((done, total)) => println!("worker {version}: {done} orders packed, {total} in all"),
            Err(why) => println!("worker {version}: {why}; trying again"),
        }
    }
    println!("worker {version}: stopped");
    Ok(())
}

fn work(store: &mut Client) -> Result<(i64, i64), String> {
    let packed = store.ask("GET packed")?;
    let waiting = store.ask("GET orders")? - packed;
    match waiting {
        0 => Ok((0, packed)),
        _ => Ok((waiting, store.ask(&format!("ADD packed {waiting}"))?)),
    }
}
