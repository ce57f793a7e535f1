//! Load generators of others, and what the kernel says of a process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a load generator saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) per_second: f64,
    pub(super) requests: f64,
    pub(super) p99_ms: f64,
    pub(super) failed: f64,
}

/// Runs a program on the core for load and upstream, and gives back what it printed.
pub(super) fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let core = load_core();
    let done = Command::new("taskset").args(["-c", &core, program]).args(args).stdin(Stdio::null()).output();
    let done = done.map_err(|e| format!("{program} cannot be run: {e}"))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    match done.status.success() {
        true => Ok(text),
        false => Err(format!(
            "{program} {}: {}\n{text}{}",
            args.join(" "),
            done.status,
            String::from_utf8_lossy(&done.stderr)
        )),
    }
}

/// The core on which the proxies run, each alone.
pub(super) fn proxy_core() -> String {
    "0".into()
}

/// Where everything else runs.
pub(super) fn load_core() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cores > 1 { format!("1-{}", cores - 1) } else { "0".into() }
}

/// `wrk` with 64 kept-alive connections.
pub(super) fn wrk(url: &str, seconds: u32) -> Result<Seen, String> {
    let text = output("wrk", &["-t1", "-c64", &format!("-d{seconds}s"), "--latency", url])?;
    let line = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let per_second =
        line("Requests/sec:").and_then(|text| text.parse().ok()).ok_or_else(|| format!("wrk said:\n{text}"))?;
    let p99_ms = line("99%").and_then(milliseconds).unwrap_or(0.0);
    let requests =
        text.lines().find_map(|line| line.trim().split_once(" requests in ")).and_then(|(n, _)| n.parse().ok());
    let bad = line("Non-2xx or 3xx responses:").and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let errors = line("Socket errors:")
        .map_or(0.0, |text| text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<f64>().ok()).sum());
    Ok(Seen { per_second, p99_ms, requests: requests.unwrap_or(0.0), failed: bad + errors })
}

/// `h2load` with 16 connections of 10 streams each.
pub(super) fn h2load(port: u16, path: &str, seconds: u32) -> Result<Seen, String> {
    let log = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
    let (url, to) = (format!("https://shop.localhost:{port}{path}"), format!("--connect-to=127.0.0.1:{port}"));
    let log_file = format!("--log-file={}", log.path().display());
    let text = output("h2load", &["-t1", "-c16", "-m10", &format!("-D{seconds}"), &to, &log_file, &url])?;
    let finished = text.lines().find_map(|line| line.strip_prefix("finished in ")).unwrap_or_default();
    let per_second = finished.split(',').find_map(|part| part.trim().strip_suffix(" req/s")?.parse().ok());
    let counted = text.lines().find_map(|line| line.strip_prefix("requests: ")).unwrap_or_default();
    let count = |name: &str| counted.split(',').find_map(|part| part.trim().strip_suffix(name)?.trim().parse().ok());
    let mut times: Vec<f64> = std::fs::read_to_string(log.path())
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split('\t').nth(2)?.parse().ok())
        .collect();
    let p99_ms = quantile(&mut times, 0.99) / 1e3;
    let failed: f64 = count("failed").unwrap_or(0.0) + count("errored").unwrap_or(0.0);
    Ok(Seen {
        per_second: per_second.ok_or_else(|| format!("h2load said:\n{text}"))?,
        requests: count("succeeded").unwrap_or(0.0),
        p99_ms,
        failed,
    })
}

fn milliseconds(text: &str) -> Option<f64> {
    let factors = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    factors.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

/// System calls per request, counted by `strace` while `wrk` runs.
pub(super) fn calls_per_request(pid: u32, url: &str) -> Result<f64, String> {
    let counts = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
    let mut strace = Command::new("strace");
    strace.args(["-c", "-f", "-p", &pid.to_string(), "-o"]).arg(counts.path());
    let strace = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut strace = strace.map_err(|e| format!("strace cannot be run: {e}"))?;
    std::thread::sleep(Duration::from_millis(500));
    let seen = wrk(url, 3);
    if let Some(pid) = i32::try_from(strace.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    }
    let _ = strace.wait();
    let text = std::fs::read_to_string(counts.path()).map_err(|e| e.to_string())?;
    let total = text.lines().rev().find(|line| line.ends_with("total")).unwrap_or_default();
    let calls = total.split_whitespace().filter_map(|word| word.parse::<f64>().ok()).nth(3);
    Ok(calls.ok_or_else(|| format!("strace said:\n{text}"))? / seen?.requests.max(1.0))
}

/// Seconds of processor time that a process has used; the kernel counts it in hundredths.
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// Resident memory of a process in KiB, without the pages of its files.
pub(super) fn resident_kib(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    field("RssAnon:").unwrap_or(0.0)
}

/// All resident memory of a process in KiB, shared pages of its binary included.
pub(super) fn resident_all_kib(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// A connection that made one request and is idle now.
pub(super) fn idle_connection(port: u16) -> Result<TcpStream, String> {
    let failed = |e: std::io::Error| format!("an idle connection to port {port}: {e}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.write_all(b"GET /1k HTTP/1.1\r\nHost: shop.localhost\r\n\r\n").map_err(failed)?;
    let mut got = 0;
    let mut buffer = [0; 4096];
    while got < 1024 {
        match stream.read(&mut buffer).map_err(failed)? {
            0 => return Err(format!("port {port} closes at once")),
            count => got += count,
        }
    }
    Ok(stream)
}

/// Waits until somebody takes connections on a port.
pub(super) fn wait_for(port: u16) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > end {
            return Err(format!("nobody listens on port {port}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The middle one.
pub(super) fn median(values: &[f64]) -> f64 {
    quantile(&mut values.to_vec(), 0.5)
}

/// The value below which that part lies.
pub(super) fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 - 1.0) * part).round().max(0.0) as usize;
    values.get(at).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_wrk() {
        assert_eq!(milliseconds("250.00us"), Some(0.25));
        assert_eq!(milliseconds("1.50ms"), Some(1.5));
        assert_eq!(milliseconds("2.00s"), Some(2000.0));
    }

    #[test]
    fn the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(quantile(&mut [], 0.99), 0.0);
        assert!(cpu_seconds(std::process::id()) >= 0.0 && resident_kib(std::process::id()) > 0.0);
    }
}
