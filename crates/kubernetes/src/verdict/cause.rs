//! What the words of kubelets, registries and admission mean: whether trying again can help.
//!
//! These parts of Kubernetes explain themselves in sentences alone. The sentences known here are those of the kubelet
//! (`pkg/kubelet`), of containerd and CRI-O, of the distribution specification's error codes, and of the admission plugins;
//! what is not known is taken for something that may heal.

use super::finding::Finding;
use super::read;
use super::set::Set;
use serde_json::Value;

/// An image could not be pulled. Registries that say so for good: `MANIFEST_UNKNOWN` and `NAME_UNKNOWN` of the distribution
/// specification, as runtimes pass them on. That one must log in is not such a word: it may be the image, the login or a
/// token that expired.
pub(super) fn of_pull(message: &str) -> Finding {
    const GONE: &[&str] = &[
        "code = notfound",
        "manifest unknown",
        "manifest_unknown",
        "name unknown",
        "name_unknown",
        "repository name not known",
        "no match for platform",
        "no matching manifest",
    ];
    let said = message.to_lowercase();
    let is_gone =
        GONE.iter().any(|word| said.contains(word)) || said.trim_end_matches(['"', '.']).ends_with(": not found");
    if is_gone && !said.contains("no such host") { Finding::failed(message) } else { Finding::trouble(message) }
}

/// A container could not be configured (`CreateContainerConfigError`, or a volume that could not be set up): what it refers to is
/// missing, unless it is there by now, or what it asks for contradicts itself.
pub(super) fn of_config(set: &Set<'_>, pod: &Value, message: &str) -> Finding {
    if let Some(lack) = Lack::in_words(pod, message) {
        return match () {
            // Every namespace gets one, a moment after it was made.
            () if lack.name == "kube-root-ca.crt" => Finding::trouble(message),
            () if lack.is_there(set) => Finding::trouble(format!("{message} (it is there now, and will be found)")),
            () => Finding::failed(message),
        };
    }
    const NEVER: &[&str] = &[
        "references non-existent",
        "runasnonroot and image",
        "no command specified",
        "invalid reference format",
        "non-numeric user",
    ];
    let said = message.to_lowercase();
    if NEVER.iter().any(|word| said.contains(word)) { Finding::failed(message) } else { Finding::trouble(message) }
}

/// A container could not be started. Its image stays the same, so a program that is not in it will not come, unless
/// something else is mounted into it.
pub(super) fn of_start(container: Option<&Value>, message: &str) -> Finding {
    const NEVER: &[&str] = &[
        "executable file not found",
        "no such file or directory",
        "exec format error",
        "permission denied",
        "is a directory",
        "no command specified",
    ];
    let of_account = |mount: &Value| read::text(mount, "/mountPath").starts_with("/var/run/secrets/kubernetes.io/");
    let mounts = container.map_or(&[][..], |container| read::list(container, "/volumeMounts"));
    let is_bare = mounts.iter().all(of_account);
    let said = message.to_lowercase();
    let never = is_bare && NEVER.iter().any(|word| said.contains(word));
    if never { Finding::failed(message) } else { Finding::trouble(message) }
}

/// Pods could not be made: the words of admission, which a controller repeats.
pub(super) fn of_admission(set: &Set<'_>, namespace: &str, message: &str) -> Finding {
    if let Some(name) = quoted_after(message, "serviceaccount ") {
        let comes = name == "default" || set.find("ServiceAccount", namespace, name).is_some();
        return if comes { Finding::trouble(message) } else { Finding::failed(message) };
    }
    // The first that is in it decides: what a webhook says may itself speak of timeouts.
    const KNOWN: &[(&str, bool)] = &[
        ("failed calling webhook", true),
        ("denied the request", false),
        ("denied request", false),
        ("exceeded quota", true),
        ("already exists", true),
        ("violates podsecurity", false),
        ("must specify", false),
        ("is being terminated", false),
        ("no priorityclass with name", false),
        ("is invalid:", false),
        ("is forbidden:", false),
    ];
    let said = message.to_lowercase();
    let heals = KNOWN.iter().find(|(words, _)| said.contains(words)).is_none_or(|(_, heals)| *heals);
    if heals { Finding::trouble(message) } else { Finding::failed(message) }
}

/// Something that a pod refers to and that was not there.
struct Lack<'a> {
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    key: Option<&'a str>,
}

impl<'a> Lack<'a> {
    /// `configmap "x" not found`, `couldn't find key K in ConfigMap NS/NAME`, `references non-existent config key: K`, and the
    /// same of secrets.
    fn in_words(pod: &'a Value, message: &'a str) -> Option<Self> {
        let namespace = read::namespace(pod);
        for (word, kind) in [("configmap ", "ConfigMap"), ("secret ", "Secret")] {
            if let Some(name) = quoted_after(message, word).filter(|_| message.contains("not found")) {
                return Some(Self { kind, namespace, name, key: None });
            }
        }
        if let Some((_, rest)) = message.split_once("couldn't find key ") {
            let (key, place) = rest.split_once(" in ")?;
            let (kind, name) = place.split_once(' ')?;
            let kind = if kind == "Secret" { "Secret" } else { "ConfigMap" };
            let name = name.split_whitespace().next()?.rsplit('/').next()?;
            return Some(Self { kind, namespace, name, key: Some(key) });
        }
        for (word, kind) in [("non-existent config key: ", "ConfigMap"), ("non-existent secret key: ", "Secret")] {
            if let Some((before, key)) = message.split_once(word) {
                let volume = quoted_after(before, "volume ")?;
                let name = source(pod, volume, kind)?;
                return Some(Self { kind, namespace, name, key: key.split_whitespace().next() });
            }
        }
        None
    }

    fn is_there(&self, set: &Set<'_>) -> bool {
        let Some(object) = set.find(self.kind, self.namespace, self.name) else { return false };
        let Some(key) = self.key else { return true };
        ["data", "binaryData", "stringData"]
            .iter()
            .any(|field| object.get(field).is_some_and(|data| data.get(key).is_some()))
    }
}

/// The ConfigMap or Secret behind a volume of a pod.
fn source<'a>(pod: &'a Value, volume: &str, kind: &str) -> Option<&'a str> {
    let mut volumes = read::list(pod, "/spec/volumes").iter();
    let volume = volumes.find(|one| read::text(one, "/name") == volume)?;
    let (field, name) = if kind == "Secret" { ("secret", "secretName") } else { ("configMap", "name") };
    volume.get(field)?.get(name)?.as_str()
}

/// `x` of `WORD"x"`.
fn quoted_after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let rest = text.split_once(&format!("{word}\""))?.1;
    rest.split_once('"').map(|(name, _)| name)
}
