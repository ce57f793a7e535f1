//! Arguments of the form `--name value`.

/// The value after `--name`, if it is among the arguments.
pub fn value(name: &str) -> Option<String> {
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg.strip_prefix("--") == Some(name) {
            return args.next();
        }
    }
    None
}

/// The value after `--name`; without it the program ends with 2 and says what is missing.
pub fn required(name: &str) -> String {
    value(name).unwrap_or_else(|| {
        eprintln!("--{name} VALUE is missing");
        std::process::exit(2)
    })
}

/// Where to listen: `--host`, without it on this machine alone, and `--port`.
pub fn address() -> String {
    let host = value("host").unwrap_or_else(|| "127.0.0.1".to_owned());
    format!("{host}:{}", required("port"))
}
