//! Classes of what is not a Deployment, and one in which all is well.

use super::{Class, class, deployment, merge, object, template, workload};
use deployctl_kubernetes::verdict::Word;
use serde_json::{Value, json};

pub(super) fn jobs() -> Vec<Class> {
    let job = |name, fields: Value, container: Value| {
        let mut spec = json!({ "template": { "spec": template(container, json!({ "restartPolicy": "Never" })) } });
        merge(&mut spec, fields);
        object("batch/v1", "Job", "migrate", name, json!({ "spec": spec }))
    };
    vec![
        class(
            "job-fails",
            "a Job fails as often as it may",
            vec![job("job-fails", json!({ "backoffLimit": 0 }), json!({ "args": ["exit", "4"] }))],
            vec![("Job/migrate", Word::Failed, "BackoffLimitExceeded")],
        ),
        class(
            "job-late",
            "a Job takes too long",
            vec![job("job-late", json!({ "activeDeadlineSeconds": 1 }), json!({}))],
            vec![("Job/migrate", Word::Failed, "DeadlineExceeded")],
        ),
    ]
}

pub(super) fn claims() -> Vec<Class> {
    let claim = |name, class: &str| {
        object(
            "v1",
            "PersistentVolumeClaim",
            "data",
            name,
            json!({ "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } }, "storageClassName": class,
        } }),
        )
    };
    vec![
        class(
            "claim-no-class",
            "the storage class of a claim is missing",
            vec![claim("claim-no-class", "fast")],
            vec![("PersistentVolumeClaim/data", Word::Progressing, "storageclass.storage.k8s.io \"fast\" not found")],
        ),
        class(
            "claim-no-volume",
            "no volume is there for a claim",
            vec![claim("claim-no-volume", "")],
            vec![("PersistentVolumeClaim/data", Word::Progressing, "no persistent volumes available")],
        ),
    ]
}

pub(super) fn scaling() -> Vec<Class> {
    let scaler = object(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "web",
        "no-metrics",
        json!({ "spec": {
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" }, "maxReplicas": 2,
        "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } } }],
    } }),
    );
    vec![class(
        "no-metrics",
        "an autoscaler has no metrics",
        vec![scaler, deployment("no-metrics", json!({ "resources": { "requests": { "cpu": "1m" } } }), json!({}))],
        vec![("HorizontalPodAutoscaler/web", Word::Progressing, "it cannot read its metrics")],
    )]
}

pub(super) fn services() -> Vec<Class> {
    let service = |name, kind: &str| {
        object(
            "v1",
            "Service",
            "web",
            name,
            json!({ "spec": { "type": kind, "selector": { "app": "web" }, "ports": [{ "port": 80 }] } }),
        )
    };
    vec![
        class(
            "no-endpoint",
            "nothing is behind a Service",
            vec![service("no-endpoint", "ClusterIP")],
            vec![("Service/web", Word::Progressing, "nothing that is ready is behind it")],
        ),
        class(
            "no-balancer",
            "nobody makes load balancers",
            vec![service("no-balancer", "LoadBalancer")],
            vec![("Service/web", Word::Progressing, "no address of a load balancer")],
        ),
    ]
}

pub(super) fn in_place() -> Vec<Class> {
    let gone = json!({ "command": ["/gone"] });
    vec![
        class(
            "stateful-fails",
            "the first pod of a StatefulSet can never start",
            vec![workload("StatefulSet", "db", "stateful-fails", gone.clone(), json!({}))],
            vec![("StatefulSet/db", Word::Failed, "no such file or directory")],
        ),
        class(
            "daemons-fail",
            "the pod of a DaemonSet can never start",
            vec![workload("DaemonSet", "log", "daemons-fail", gone, json!({}))],
            vec![("DaemonSet/log", Word::Failed, "no such file or directory")],
        ),
    ]
}

/// All is well.
pub(super) fn whole() -> Vec<Class> {
    let name = "whole";
    let budget = object(
        "policy/v1",
        "PodDisruptionBudget",
        "web",
        name,
        json!({ "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "web" } } } }),
    );
    let cron = object(
        "batch/v1",
        "CronJob",
        "report",
        name,
        json!({ "spec": {
        "schedule": "0 3 * * *",
        "jobTemplate": { "spec": { "template": { "spec": template(json!({}), json!({ "restartPolicy": "Never" })) } } },
    } }),
    );
    let job = object(
        "batch/v1",
        "Job",
        "migrate",
        name,
        json!({ "spec": { "template": { "spec": template(json!({ "args": ["exit", "0"] }), json!({ "restartPolicy": "Never" })) } } }),
    );
    let ingress = object(
        "networking.k8s.io/v1",
        "Ingress",
        "web",
        name,
        json!({ "spec": { "defaultBackend": { "service": { "name": "web", "port": { "number": 80 } } } } }),
    );
    let service = object(
        "v1",
        "Service",
        "web",
        name,
        json!({ "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] } }),
    );
    let objects = vec![
        deployment(name, json!({}), json!({})),
        workload("StatefulSet", "db", name, json!({}), json!({})),
        workload("DaemonSet", "log", name, json!({}), json!({})),
        budget,
        cron,
        job,
        ingress,
        service,
    ];
    vec![class(
        name,
        "all is well",
        objects,
        vec![
            ("Deployment/web", Word::Ready, "1 of 1 pod is available"),
            ("StatefulSet/db", Word::Ready, "1 of 1 pod is available"),
            ("DaemonSet/log", Word::Ready, "1 of 1 pod is available"),
            ("PodDisruptionBudget/web", Word::Ready, "none may be evicted"),
            ("CronJob/report", Word::Ready, "it runs at 0 3 * * *"),
            ("Job/migrate", Word::Ready, "it has completed"),
            ("Ingress/web", Word::Unknown, "no controller has given it an address"),
            ("Service/web", Word::Ready, "1 ready endpoint is behind it"),
        ],
    )]
}
