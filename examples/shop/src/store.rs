//! Numbers by name, kept in a file, and the line protocol that asks for them.
//!
//! `HELLO` is answered with the protocol's number, `GET NAME` with the number (0 if there is none), `ADD NAME BY` with
//! the sum; everything else with `ERROR why`.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

/// The protocol that this store speaks.
pub const PROTOCOL: u32 = 1;

/// The numbers and their file.
pub struct Numbers {
    file: File,
    numbers: BTreeMap<String, i64>,
}

impl Numbers {
    /// Opens or makes the file in `folder`, for this process alone.
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join("numbers.log");
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        file.try_lock().map_err(|_| io::Error::other("another store uses this folder"))?;
        let mut numbers = BTreeMap::new();
        let mut good = 0;
        let mut lines = BufReader::new(&mut file);
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 && line.ends_with('\n') {
            if let Some((name, by)) = line.trim_end().split_once(' ')
                && let Ok(by) = by.parse::<i64>()
            {
                *numbers.entry(name.to_owned()).or_default() += by;
            }
            good += line.len() as u64;
            line.clear();
        }
        file.set_len(good)?;
        Ok(Self { file, numbers })
    }

    /// The answer to one line of the protocol; what it changes is on the disk when this returns.
    pub fn answer(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["HELLO"] => PROTOCOL.to_string(),
            ["GET", name] => self.numbers.get(name).copied().unwrap_or_default().to_string(),
            ["ADD", name, by] => match by.parse() {
                Ok(by) => self.add(name, by).map_or_else(|e| format!("ERROR {e}"), |sum| sum.to_string()),
                Err(_) => format!("ERROR `{by}` is not a number"),
            },
            _ => "ERROR what?".into(),
        }
    }

    fn add(&mut self, name: &str, by: i64) -> io::Result<i64> {
        self.file.write_all(format!("{name} {by}\n").as_bytes())?;
        self.file.sync_data()?;
        let number = self.numbers.entry(name.to_owned()).or_default();
        *number += by;
        Ok(*number)
    }
}

/// A connection to a store, made when it is first needed and again after it broke.
pub struct Client {
    address: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client for the store at `HOST:PORT`.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), stream: None }
    }

    /// The number with which the store answers `line`.
    pub fn ask(&mut self, line: &str) -> Result<i64, String> {
        let reused = self.stream.is_some();
        let answer = match self.ask_once(line) {
            Err(_) if reused && !line.starts_with("ADD") => self.ask_once(line),
            answer => answer,
        };
        let answer = answer.map_err(|e| format!("the store at {} does not answer: {e}", self.address))?;
        let answer = answer.trim();
        answer.parse().map_err(|_| format!("the store says {answer}"))
    }

    fn ask_once(&mut self, line: &str) -> io::Result<String> {
        let result = self.stream().and_then(|stream| {
            stream.get_ref().write_all(format!("{line}\n").as_bytes())?;
            let mut answer = String::new();
            match stream.read_line(&mut answer)? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(answer),
            }
        });
        if result.is_err() {
            self.stream = None;
        }
        result
    }

    fn stream(&mut self) -> io::Result<&mut BufReader<TcpStream>> {
        if self.stream.is_none() {
            let limit = Duration::from_secs(1);
            let address = self.address.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
            let stream = TcpStream::connect_timeout(&address, limit)?;
            stream.set_read_timeout(Some(limit))?;
            stream.set_nodelay(true)?;
            self.stream = Some(BufReader::new(stream));
        }
        self.stream.as_mut().ok_or(io::ErrorKind::NotConnected.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_numbers_and_forgets_a_torn_line() {
        let folder = std::env::temp_dir().join(format!("shop-store-{}", std::process::id()));
        let mut numbers = Numbers::open(&folder).unwrap();
        assert_eq!(numbers.answer("ADD orders 2"), "2");
        assert_eq!(numbers.answer("ADD orders 1"), "3");
        assert_eq!(numbers.answer("DROP"), "ERROR what?");
        assert!(Numbers::open(&folder).is_err_and(|e| e.to_string() == "another store uses this folder"));
        numbers.file.write_all(b"orders 1").unwrap();
        drop(numbers);
        assert_eq!(Numbers::open(&folder).unwrap().answer("GET orders"), "3");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
