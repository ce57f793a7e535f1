//! Objects from the text that `kubectl get ... -o json` prints.

use super::read;
use serde_json::Value;

/// No text that is longer is read: some ten thousand objects.
pub const BYTES_MAX: usize = 256 << 20;

/// The objects in a text: one object, or a list of them.
///
/// Nothing is passed over: the error says which object is none, by its number in the list, and what it lacks.
pub fn parse(text: &[u8]) -> Result<Vec<Value>, String> {
    if text.len() > BYTES_MAX {
        return Err(format!("it is longer than {} MiB", BYTES_MAX >> 20));
    }
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".into());
    }
    let mut value: Value = serde_json::from_slice(text).map_err(|e| format!("it is no JSON: {e}"))?;
    let objects = match value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if read::kind(&value).ends_with("List") => items,
        Some(_) if read::kind(&value).ends_with("List") => return Err("`items` is no list".into()),
        // An object of somebody's kind that has a field of this name.
        Some(items) => {
            value["items"] = items;
            vec![value]
        }
        None => vec![value],
    };
    for (number, object) in objects.iter().enumerate() {
        let lacking =
            ["/apiVersion", "/kind", "/metadata/name"].into_iter().find(|field| read::text(object, field).is_empty());
        if let Some(field) = lacking {
            let field = field.trim_start_matches('/').replace('/', ".");
            return Err(format!("object {} has no `{field}`, so it is none that the API server prints", number + 1));
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        parse(text.as_bytes()).expect_err("it is taken")
    }

    #[test]
    fn objects_and_lists_are_read() {
        let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#;
        let list = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{pod},{pod}]}}"#);
        let own = r#"{"apiVersion":"shop.example/v1","kind":"Basket","metadata":{"name":"b"},"items":[1]}"#;
        let count = |text: &str| parse(text.as_bytes()).map(|objects| objects.len());
        assert_eq!((count(pod), count(&list), count(own)), (Ok(1), Ok(2), Ok(1)));
        assert_eq!(count(r#"{"apiVersion":"v1","kind":"List","items":[]}"#), Ok(0));
        assert_eq!(parse(own.as_bytes()).expect("an object")[0]["items"], serde_json::json!([1]));
    }

    #[test]
    fn what_is_no_object_is_named() {
        assert_eq!(wrong(" \n"), "it is empty");
        assert!(wrong("{").starts_with("it is no JSON: EOF"), "{}", wrong("{"));
        assert_eq!(wrong("[]"), "object 1 has no `apiVersion`, so it is none that the API server prints");
        let list = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{}}]}"#;
        assert_eq!(wrong(list), "object 1 has no `metadata.name`, so it is none that the API server prints");
        assert_eq!(wrong(r#"{"apiVersion":"v1","kind":"PodList","items":{}}"#), "`items` is no list");
        assert!(wrong(&"[".repeat(1000)).contains("recursion limit"), "depth has an end");
    }
}
