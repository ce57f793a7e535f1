//! The store: numbers by name over TCP, kept in a file of the folder `--data`.

use shop::stop::Stop;
use shop::store::Numbers;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

fn main() -> Result<(), String> {
    let mut stop = Stop::on_signals().map_err(|e| e.to_string())?;
    let folder = PathBuf::from(shop::args::required("data"));
    let numbers = Numbers::open(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let address = shop::args::address();
    let listener = TcpListener::bind(&address).map_err(|e| format!("{address}: {e}"))?;
    println!("db: listening on {address}, data in {}", folder.display());
    let numbers = Arc::new(Mutex::new(numbers));
    let serving = Arc::clone(&numbers);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let numbers = Arc::clone(&serving);
            std::thread::spawn(move || serve(&stream, &numbers));
        }
    });
    stop.wait(None);
    // With the lock held no change is under way, and none is begun.
    let _numbers = numbers.lock();
    println!("db: stopped");
    Ok(())
}

fn serve(stream: &TcpStream, numbers: &Mutex<Numbers>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    for line in BufReader::new(stream).lines() {
        let answer = numbers.lock().unwrap_or_else(PoisonError::into_inner).answer(&line?);
        (&*stream).write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}
