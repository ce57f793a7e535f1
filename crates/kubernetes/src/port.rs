//! On which port the pods of a workload answer.

use crate::sides::services;
use serde_json::Value;

/// The port of the first Service that leads to a workload of a release; without one the first that its containers have.
pub fn of(objects: &[Value], workload: &str) -> Option<u16> {
    let workload =
        objects.iter().find(|object| crate::jobs::is_workload(object) && object["metadata"]["name"] == workload)?;
    let containers = || workload["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten();
    let ports = || containers().flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let number = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let by_name =
        |name: &str| ports().find(|port| port["name"] == name).and_then(|port| number(&port["containerPort"]));
    let behind = services(objects, workload).find_map(|service| {
        let port = service["spec"]["ports"].get(0)?;
        match &port["targetPort"] {
            Value::Null => number(&port["port"]),
            Value::String(name) => by_name(name),
            target => number(target),
        }
    });
    behind.or_else(|| ports().find_map(|port| number(&port["containerPort"])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_port_is_the_services_and_else_the_containers() {
        let ports = json!([{ "name": "metrics", "containerPort": 9090 }, { "name": "web", "containerPort": 8080 }]);
        let workload = |ports: &Value| {
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": { "template": {
                "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "web", "ports": ports }] },
            } } })
        };
        let service = |port: Value, app: &str| {
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" }, "spec": {
                "selector": { "app": app }, "ports": [port],
            } })
        };
        let with = |port: Value, app: &str| of(&[workload(&ports), service(port, app)], "web");
        assert_eq!(with(json!({ "port": 80, "targetPort": 8081 }), "web"), Some(8081));
        assert_eq!(with(json!({ "port": 80, "targetPort": "web" }), "web"), Some(8080));
        assert_eq!(with(json!({ "port": 80 }), "web"), Some(80));
        assert_eq!(with(json!({ "port": 80, "targetPort": "other" }), "web"), Some(9090), "no such port");
        assert_eq!(with(json!({ "port": 80 }), "another"), Some(9090));
        assert_eq!(of(&[workload(&Value::Null)], "web"), None);
        assert_eq!(of(&[workload(&ports)], "another"), None);
    }
}
