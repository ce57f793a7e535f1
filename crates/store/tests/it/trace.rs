//! What a program did to the files of one folder, as strace saw it.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

/// One change, in the order in which they took effect. Files go by their name within the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Create(String),
    Write(String, usize, Vec<u8>),
    Truncate(String, usize),
    Sync(String),
    SyncFolder,
    Unlink(String),
}

/// What [`parse`] understands.
const CALLS: &str = "trace=open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync_file_range,\
                     ftruncate,truncate,unlink,unlinkat,rename,renameat,renameat2,link,linkat";

/// strace that writes to `log` what the program does that is put after it.
pub(crate) fn strace(log: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-xx", "-s", "10000000", "-e", CALLS, "-o"]).arg(log);
    command
}

/// The calls in `log` that changed files of `folder`. Panics on a call that it does not know.
pub(crate) fn parse(log: &str, folder: &Path) -> Vec<Call> {
    let folder = folder.to_str().expect("a plain name");
    let mut unfinished: HashMap<&str, &str> = HashMap::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        let (process, rest) = line.split_once(' ').expect("a process id first");
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(process, start);
        } else if let Some((_, end)) = rest.strip_prefix("<... ").and_then(|r| r.split_once(" resumed>")) {
            let start = unfinished.remove(process).expect("it began before");
            calls.extend(call(&format!("{start}{end}"), folder));
        } else if !rest.starts_with("+++") && !rest.starts_with("---") {
            calls.extend(call(rest, folder));
        }
    }
    calls
}

fn call(line: &str, folder: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(').expect("a call");
    let (arguments, result) = rest.rsplit_once(" = ").expect("a result");
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let arguments: Vec<&str> = arguments.trim_end().strip_suffix(')').expect("its end").split(", ").collect();
    let own = |path: &str| -> Option<String> {
        let name = path.strip_prefix(folder)?.strip_prefix('/').unwrap_or("");
        (!name.ends_with("-shm") && !name.ends_with(".reserve")).then(|| name.to_owned())
    };
    let open = |n: usize| arguments[n].split_once('<').and_then(|(_, path)| own(&unescaped(path)));
    let number = |n: usize| arguments[n].parse().expect("a number");
    match name {
        "openat" if arguments[2].contains("O_CREAT") => own(&unescaped(arguments[1])).map(Call::Create),
        "openat" | "open" => None,
        "write" => open(0).map(|name| Call::Write(name, usize::MAX, bytes(arguments[1]))),
        "pwrite64" => open(0).map(|name| Call::Write(name, number(3), bytes(arguments[1]))),
        "fsync" | "fdatasync" => open(0).map(|name| if name.is_empty() { Call::SyncFolder } else { Call::Sync(name) }),
        "ftruncate" => open(0).map(|name| Call::Truncate(name, number(1))),
        "unlink" => own(&unescaped(arguments[0])).map(Call::Unlink),
        _ => panic!("a call that this test does not know: {name}"),
    }
}

/// A path in quotes or angle brackets, all of its bytes as `\xNN`.
fn unescaped(text: &str) -> String {
    String::from_utf8(bytes(text)).expect("a plain name")
}

fn bytes(text: &str) -> Vec<u8> {
    let text = text.trim_matches(|c| matches!(c, '"' | '<' | '>'));
    assert!(!text.ends_with("..."), "strace cut a text");
    let digits = text.split("\\x").skip(1);
    digits.map(|two| u8::from_str_radix(&two[..2], 16).expect("two hex digits")).collect()
}

#[test]
fn lines_of_strace() {
    let log = r#"7 openat(AT_FDCWD<\x2f>, "\x2f\x66\x2f\x61", O_RDWR|O_CREAT, 0600) = 3<\x2f\x66\x2f\x61>
7 pwrite64(3<\x2f\x66\x2f\x61>, "\x00\xff", 2, 4096 <unfinished ...>
8 write(4<\x2f\x78>, "\x41", 1) = 1
7 <... pwrite64 resumed>) = 2
7 fdatasync(3<\x2f\x66\x2f\x61>) = 0
7 fsync(3<\x2f\x66\x2f\x61>) = -1 EIO (Input/output error)
7 fsync(5<\x2f\x66>) = 0
7 unlink("\x2f\x66\x2f\x61") = 0
7 +++ exited with 0 +++
"#;
    let a = || "a".to_owned();
    let calls =
        [Call::Create(a()), Call::Write(a(), 4096, vec![0, 255]), Call::Sync(a()), Call::SyncFolder, Call::Unlink(a())];
    assert_eq!(parse(log, Path::new("/f")), calls);
}
