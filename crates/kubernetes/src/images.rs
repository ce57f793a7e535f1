//! Which images the containers of objects run.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Puts images in, by the name of the container, wherever a container stands. Says which names matched nothing.
pub fn put<'a>(objects: impl Iterator<Item = &'a mut Value>, images: &BTreeMap<String, String>) -> Vec<String> {
    let mut met = BTreeSet::new();
    for object in objects {
        each_container(object, &mut |container| {
            let Some(name) = container["name"].as_str().map(str::to_owned) else { return };
            if let Some(image) = images.get(&name) {
                container["image"] = Value::from(image.as_str());
                met.insert(name);
            }
        });
    }
    images.keys().filter(|name| !met.contains(*name)).cloned().collect()
}

/// The images of containers that are named by a tag, or by nothing, by the names of the containers.
pub fn tags<'a>(objects: impl Iterator<Item = &'a Value>) -> BTreeSet<(String, String)> {
    let mut found = all(objects);
    found.retain(|(_, image)| !image.contains("@sha256:"));
    found
}

/// The containers with their images.
fn all<'a>(objects: impl Iterator<Item = &'a Value>) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for object in objects {
        // Looked at only; the copy is what changing and looking in one place costs.
        each_container(&mut object.clone(), &mut |container| {
            let text = |key: &str| container[key].as_str().map(str::to_owned);
            found.extend(text("name").zip(text("image")));
        });
    }
    found
}

/// The digests of images that are pinned, by what they are called without them.
pub fn pinned<'a>(objects: impl Iterator<Item = &'a Value>) -> BTreeMap<String, String> {
    let images = all(objects).into_iter().map(|(_, image)| image);
    images
        .filter_map(|image| image.split_once("@sha256:").map(|(name, hex)| (name.to_owned(), hex.to_owned())))
        .collect()
}

/// The names of all containers, each once.
pub fn containers<'a>(objects: impl Iterator<Item = &'a Value>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for object in objects {
        // Looked at only; the copy is what changing and looking in one place costs.
        each_container(&mut object.clone(), &mut |container| {
            names.extend(container["name"].as_str().map(str::to_owned));
        });
    }
    names
}

/// Visits each container of an object: what stands in a list called `containers` or `initContainers` of a pod's `spec`,
/// however deep that is, so that custom resources with pods in them have theirs as well.
fn each_container(object: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    let Some(spec) = object.get_mut("spec") else { return };
    below(spec, visit);
}

fn below(value: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let list = matches!(key.as_str(), "containers" | "initContainers");
                match value {
                    Value::Array(items) if list => {
                        let named = |item: &&mut Value| item["name"].is_string() && item.is_object();
                        items.iter_mut().filter(named).for_each(&mut *visit);
                    }
                    other => below(other, visit),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| below(item, visit)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment() -> Value {
        json!({ "kind": "Deployment", "spec": { "template": { "spec": {
            "initContainers": [{ "name": "migrate", "image": "shop:old" }],
            "containers": [{ "name": "web", "image": "shop:old" }, { "name": "proxy", "image": "envoy:1" }],
        } } } })
    }

    fn cron() -> Value {
        let containers = json!([{ "name": "web" }]);
        json!({ "kind": "CronJob", "spec": { "jobTemplate": { "spec": { "template": { "spec": { "containers": containers } } } } } })
    }

    fn images(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, image)| ((*name).to_owned(), (*image).to_owned())).collect()
    }

    #[test]
    fn images_go_where_the_container_is_and_the_others_stay() {
        let mut all = [deployment(), cron()];
        let unmet = put(all.iter_mut(), &images(&[("web", "shop:v2"), ("migrate", "shop:v2")]));
        assert_eq!(unmet, Vec::<String>::new());
        let spec = &all[0]["spec"]["template"]["spec"];
        assert_eq!(
            spec["containers"],
            json!([{ "name": "web", "image": "shop:v2" }, { "name": "proxy", "image": "envoy:1" }])
        );
        assert_eq!(spec["initContainers"][0]["image"], "shop:v2");
        let spec = &all[1]["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        assert_eq!(spec["containers"][0]["image"], "shop:v2");
    }

    #[test]
    fn names_that_match_nothing_are_told() {
        let mut all = [deployment()];
        assert_eq!(put(all.iter_mut(), &images(&[("wbe", "shop:v2"), ("web", "shop:v2")])), ["wbe"]);
        let names: Vec<String> = containers(all.iter()).into_iter().collect();
        assert_eq!(names, ["migrate", "proxy", "web"]);
    }

    #[test]
    fn tags_and_digests_are_told_apart() {
        let mut all = [deployment()];
        put(all.iter_mut(), &images(&[("web", "shop:v2@sha256:ab")]));
        let tags: Vec<(String, String)> = tags(all.iter()).into_iter().collect();
        let of = |name: &str, image: &str| (name.to_owned(), image.to_owned());
        assert_eq!(tags, [of("migrate", "shop:old"), of("proxy", "envoy:1")]);
        assert_eq!(pinned(all.iter()), [("shop:v2".to_owned(), "ab".to_owned())].into());
    }

    #[test]
    fn only_lists_of_containers_have_containers() {
        let mut odd = [json!({ "spec": { "containers": "none", "ports": [{ "name": "web" }] } }), json!("x")];
        assert_eq!(put(odd.iter_mut(), &images(&[("web", "x")])), ["web"]);
    }
}
