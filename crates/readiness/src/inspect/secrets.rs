//! What looks like a secret. It is never repeated, only named.

/// Documentation uses this one.
const AWS_EXAMPLE: &str = "AKIAIOSFODNN7EXAMPLE";
const NAMES: &[&str] = &["PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY", "APIKEY", "PRIVATE_KEY", "ACCESS_KEY"];
/// Variables of that kind that hold no secret.
const HARMLESS: &[&str] = &["_FILE", "_PATH", "_URL", "_DIR", "_SHA256", "_NAME", "_TTL", "_ID"];

/// What looks secret in the file `path` that begins with `bytes`.
pub fn in_file(path: &str, bytes: &[u8]) -> Vec<&'static str> {
    // Programs have all kinds of words in them.
    if bytes.contains(&0) {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    if has_private_key(&text) {
        found.push("a private key");
    }
    found.extend(token(&text));
    let name = path.rsplit('/').next().unwrap_or_default();
    let is = |end: &str| path == end || path.ends_with(&format!("/{end}"));
    if (name == ".env" || name.starts_with(".env."))
        && !name.ends_with(".example")
        && !name.ends_with(".sample")
        && text.lines().any(is_secret_line)
    {
        found.push("an .env file with secrets");
    }
    for (file, word, what) in [
        (".aws/credentials", "aws_secret_access_key", "credentials of AWS"),
        (".docker/config.json", "\"auth\"", "credentials of registries"),
        (".npmrc", "_authToken", "a token of npm"),
        (".pypirc", "password", "a password of a package index"),
        (".netrc", "password", "a password in .netrc"),
        (".git-credentials", "://", "a password of Git"),
        (".kube/config", "client-key-data", "credentials of Kubernetes"),
    ] {
        if is(file) && text.contains(word) {
            found.push(what);
        }
    }
    found
}

/// What looks secret in a variable of the environment.
pub fn in_variable(name: &str, value: &str) -> Option<&'static str> {
    let name = name.to_ascii_uppercase();
    let empty = value.is_empty() || value.starts_with("${") || value.starts_with('$');
    if empty {
        return None;
    }
    if has_private_key(value) {
        return Some("a private key");
    }
    if let Some(what) = token(value) {
        return Some(what);
    }
    let says = NAMES.iter().any(|word| name.contains(word)) && !HARMLESS.iter().any(|end| name.ends_with(end));
    says.then_some("its name says that it is secret")
}

/// `NAME=VALUE` in an .env file.
fn is_secret_line(line: &str) -> bool {
    let line = line.trim().trim_start_matches("export ");
    let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { return false };
    in_variable(name.trim(), value.trim().trim_matches(['"', '\''])).is_some()
}

/// A private key in PEM, with at least a line of it: the mere words are in many texts.
fn has_private_key(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        rest = after;
        let Some((kind, body)) = after.split_once("-----") else { continue };
        let body = body.replace("\\n", "\n");
        let line = body.lines().map(str::trim).find(|line| line.len() >= 32 && !line.contains(':'));
        let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        if kind.len() <= 30 && kind.ends_with("PRIVATE KEY") && line.is_some_and(|line| line.chars().all(base64)) {
            return true;
        }
    }
    false
}

/// Tokens that can be told by how they begin.
fn token(text: &str) -> Option<&'static str> {
    for (start, length, what) in [
        ("AKIA", 16, "an access key of AWS"),
        ("ASIA", 16, "an access key of AWS"),
        ("ghp_", 36, "a token of GitHub"),
        ("github_pat_", 40, "a token of GitHub"),
        ("glpat-", 20, "a token of GitLab"),
        ("xoxb-", 24, "a token of Slack"),
        ("sk_live_", 24, "a key of Stripe"),
    ] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric());
            let word = |c: char| match start {
                "AKIA" | "ASIA" => c.is_ascii_uppercase() || c.is_ascii_digit(),
                _ => c.is_ascii_alphanumeric() || c == '_' || c == '-',
            };
            let rest = &text[at + start.len()..];
            let count = rest.chars().take_while(|c| word(*c)).count();
            let fits = if length == 16 { count == 16 } else { count >= length };
            if fits && !before && !text[at..].starts_with(AWS_EXAMPLE) {
                return Some(what);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_words() {
        let pem = format!("-----BEGIN {} KEY-----\n{}\n-----END\n", "RSA PRIVATE", "A".repeat(64));
        let aws = format!("key = {}", "AKIA".to_owned() + "QWERTYUIOPASDFGH");
        for (path, text, wanted) in [
            ("etc/key.pem", pem.as_str(), vec!["a private key"]),
            ("a", "-----BEGIN PRIVATE KEY----- is how a key begins", vec![]),
            ("a", "-----BEGIN PUBLIC KEY-----\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", vec![]),
            ("app/conf", aws.as_str(), vec!["an access key of AWS"]),
            ("app/conf", AWS_EXAMPLE, vec![]),
            ("app/conf", "MAKIAQWERTYUIOPASDFGH", vec![]),
            ("app/.env", "DB_PASSWORD=h8sh", vec!["an .env file with secrets"]),
            ("app/.env", "# DB_PASSWORD=\nLOG=info\nPASSWORD_FILE=/run/x\nTOKEN=$OTHER", vec![]),
            ("app/.env.example", "DB_PASSWORD=h8sh", vec![]),
            ("root/.npmrc", "//r/:_authToken=x", vec!["a token of npm"]),
            ("root/not.npmrc", "//r/:_authToken=x", vec![]),
        ] {
            assert_eq!(in_file(path, text.as_bytes()), wanted, "{path} {text}");
        }
        assert_eq!(in_file("bin/x", &[pem.as_bytes(), &[0]].concat()), Vec::<&str>::new(), "programs have such words");
    }

    #[test]
    fn variables_are_told_by_name_and_value() {
        let says = |name: &str, value: &str| in_variable(name, value).is_some();
        let token = format!("ghp_{}", "a".repeat(36));
        assert!(says("DB_PASSWORD", "x") && says("api_key", "x") && says("X", &token));
        assert!(!says("DB_PASSWORD", "") && !says("DB_PASSWORD", "${OTHER}") && !says("TOKEN_FILE", "/x"));
        assert!(!says("GPG_KEY", "7169605F62C751356D054A26A821E680E5FA6305") && !says("PATH", "/bin"));
    }
}
