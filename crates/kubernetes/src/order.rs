//! In which order objects are applied, and which of them deployctl never takes away.

use crate::object::Name;

/// Kinds that others need, from the first to the last; what is not named comes with the workloads' followers.
const STAGES: &[&[&str]] = &[
    &["Namespace"],
    &["CustomResourceDefinition", "PriorityClass", "StorageClass"],
    &["ServiceAccount", "Role", "ClusterRole", "ResourceQuota", "LimitRange", "NetworkPolicy"],
    &["RoleBinding", "ClusterRoleBinding"],
    &["ConfigMap", "Secret"],
    &["PersistentVolume"],
    // One that names a volume which the cluster does not know yet is looked at again only after a while.
    &["PersistentVolumeClaim"],
    &["Service", "PodDisruptionBudget"],
    &["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob", "Pod"],
];

/// The stage of an object: what has a lower one is applied before.
pub fn stage(name: &Name) -> usize {
    STAGES.iter().position(|kinds| kinds.contains(&name.kind.as_str())).unwrap_or(STAGES.len())
}

/// Objects by stage, each stage in the order that was given.
pub fn stages<T>(objects: impl Iterator<Item = (Name, T)>) -> Vec<Vec<(Name, T)>> {
    let mut all: Vec<Vec<(Name, T)>> = Vec::new();
    all.resize_with(STAGES.len() + 1, Vec::new);
    for (name, object) in objects {
        all[stage(&name)].push((name, object));
    }
    all.retain(|stage| !stage.is_empty());
    all
}

/// Whether data is lost with it, or what others have in it: never deleted because a release does not have it any more.
pub fn is_kept(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("", "Namespace" | "PersistentVolumeClaim" | "PersistentVolume")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(api_version: &str, kind: &str) -> Name {
        Name { api_version: api_version.into(), kind: kind.into(), namespace: None, name: "x".into() }
    }

    #[test]
    fn what_is_needed_comes_before_what_needs_it() {
        let order = [
            "Namespace",
            "CustomResourceDefinition",
            "ServiceAccount",
            "RoleBinding",
            "ConfigMap",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Service",
            "Deployment",
            "Ingress",
        ];
        let stages_of: Vec<usize> = order.iter().map(|kind| stage(&name("v1", kind))).collect();
        assert!(stages_of.is_sorted() && stages_of.windows(2).all(|two| two[0] < two[1]), "{stages_of:?}");
        assert_eq!(stage(&name("example.com/v1", "Shop")), stage(&name("networking.k8s.io/v1", "Ingress")));
        let given = ["Deployment", "ConfigMap", "Job"].map(|kind| (name("v1", kind), ()));
        let got = stages(given.into_iter());
        let kinds: Vec<Vec<&str>> =
            got.iter().map(|stage| stage.iter().map(|(name, ())| name.kind.as_str()).collect()).collect();
        assert_eq!(kinds, [vec!["ConfigMap"], vec!["Deployment", "Job"]]);
    }

    #[test]
    fn data_and_what_others_have_in_it_is_kept() {
        assert!(is_kept("", "PersistentVolumeClaim") && is_kept("", "Namespace") && is_kept("", "PersistentVolume"));
        assert!(is_kept("apiextensions.k8s.io", "CustomResourceDefinition"));
        assert!(!is_kept("apps", "Deployment") && !is_kept("example.com", "Namespace"));
    }
}
