//! What deploying a release would change in a target: told to people, and kept with a plan so that a world that moved is noticed.

use serde::{Deserialize, Serialize};

/// What deploying a release would change, as the target says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// What there is to say, in this order.
    pub lines: Vec<Line>,
    /// Whether the changes among the lines are all that there are, so that the same lines later are the same deployment.
    pub is_exact: bool,
}

/// Something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// For people.
    pub text: String,
    /// What changes, if the line is of a change.
    pub change: Option<Change>,
}

/// A change of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What changes, by the name that a person knows.
    pub of: String,
    /// How, with all that the line leaves out: the same text is the same change. It may hold what is secret, so only a keyed digest
    /// of it is kept.
    pub exactly: String,
}

/// A change that a plan was made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreseen {
    /// What changes.
    pub of: String,
    /// A keyed digest of how.
    pub digest: String,
}

impl Line {
    /// What changes nothing.
    pub fn note(text: impl Into<String>) -> Self {
        Self { text: text.into(), change: None }
    }

    /// A change, which its words say exactly.
    pub fn change(of: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { change: Some(Change { of: of.into(), exactly: text.clone() }), text }
    }
}

impl Preview {
    /// Nothing but words.
    pub fn said(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.text.clone()).collect()
    }

    /// The changes, as a plan keeps them; none if they are not all that there are. `digest` must tell nothing of what it is given.
    pub fn foreseen(&self, digest: impl Fn(&Change) -> String) -> Option<Vec<Foreseen>> {
        let changes = self.lines.iter().filter_map(|line| line.change.as_ref());
        self.is_exact
            .then(|| changes.map(|change| Foreseen { of: change.of.clone(), digest: digest(change) }).collect())
    }

    /// The line of the change of something; none if it does not change.
    pub fn of(&self, of: &str) -> Option<&str> {
        let is = |line: &&Line| line.change.as_ref().is_some_and(|change| change.of == of);
        self.lines.iter().find(is).map(|line| line.text.as_str())
    }
}

/// The first thing that does not change as it was foreseen: one that changes otherwise or not at all, else one that nobody foresaw.
pub fn differs<'a>(then: &'a [Foreseen], now: &'a [Foreseen]) -> Option<&'a str> {
    let lacks = |all: &[Foreseen], one: &&Foreseen| !all.contains(one);
    let lost = then.iter().find(|one| lacks(now, one));
    lost.or_else(|| now.iter().find(|one| lacks(then, one))).map(|one| one.of.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreseen(of: &str, digest: &str) -> Foreseen {
        Foreseen { of: of.into(), digest: digest.into() }
    }

    #[test]
    fn what_changes_otherwise_is_found_in_any_order() {
        let then = [foreseen("Deployment/web", "1"), foreseen("Service/web", "2")];
        assert_eq!(differs(&then, &[then[1].clone(), then[0].clone()]), None);
        assert_eq!(differs(&then, &[then[0].clone(), foreseen("Service/web", "3")]), Some("Service/web"));
        assert_eq!(differs(&then, &then[..1]), Some("Service/web"));
        assert_eq!(differs(&then[..1], &then), Some("Service/web"));
        assert_eq!(differs(&[], &[]), None);
    }

    #[test]
    fn only_changes_are_kept_and_only_where_they_are_all() {
        let lines = vec![Line::change("Service/web", "delete Service/web"), Line::note("mind the gap")];
        let exact = Preview { lines, is_exact: true };
        let digest = |change: &Change| change.exactly.len().to_string();
        assert_eq!(exact.foreseen(digest), Some(vec![foreseen("Service/web", "18")]));
        assert_eq!(exact.of("Service/web"), Some("delete Service/web"));
        assert_eq!(Preview { is_exact: false, ..exact }.foreseen(digest), None);
    }
}
