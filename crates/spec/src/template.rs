//! Templates: `{{ expression }}` in a text.
//!
//! Everything outside of the braces stands as it is. Some values are known only when an instance starts; they can be
//! put into a text as they are, nothing can be computed with them.

mod late;
mod pieces;

use crate::code::Code;
use crate::diagnostic::Findings;
use crate::raw::{At, Text};
use crate::source::{Place, Sources};
use crate::text::{alternatives, shorten, suggest};
use deployctl_core::config::{LatePart, LateText};
use deployctl_core::id::AppName;
use minijinja::value::ValueKind;
use minijinja::{Environment, UndefinedBehavior, Value};
use pieces::Piece;
use std::collections::{BTreeMap, BTreeSet};

/// What a rendered value may grow to.
const VALUE_MAX: usize = 64 * 1024;
const EXPRESSION_MAX: usize = 1000;

/// Which late values a text may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// None: the text is needed before anything runs.
    None,
    /// Those of a job: the data folder and the addresses of other apps.
    Job,
    /// All.
    Instance,
}

/// The values that templates see, and what was used of those that come later.
pub(crate) struct Templates<'a> {
    environment: Environment<'static>,
    sources: &'a Sources,
    values: Value,
    known: BTreeSet<String>,
    apps: &'a [AppName],
    /// An instance needs a port.
    pub(crate) port: bool,
    /// An instance uses the data folder; the first place.
    pub(crate) data: Option<Place>,
    /// Addresses of other apps that are used.
    pub(crate) addresses: Vec<(AppName, Place)>,
}

impl<'a> Templates<'a> {
    pub(crate) fn sources(&self) -> &'a Sources {
        self.sources
    }

    /// Templates that see `names`, and `vars` under `vars.NAME`.
    pub(crate) fn new(
        sources: &'a Sources,
        apps: &'a [AppName],
        names: &[(&str, &str)],
        vars: &BTreeMap<String, String>,
    ) -> Self {
        let mut known: BTreeSet<String> = names.iter().map(|(name, _)| (*name).to_string()).collect();
        known.extend(vars.keys().map(|name| format!("vars.{name}")));
        let mut values: BTreeMap<String, Value> =
            names.iter().map(|(name, value)| ((*name).to_string(), Value::from(*value))).collect();
        let vars: BTreeMap<String, Value> = vars.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
        values.insert("vars".into(), Value::from(vars));
        Self {
            environment: sandbox(),
            sources,
            values: Value::from(values),
            known,
            apps,
            port: false,
            data: None,
            addresses: Vec::new(),
        }
    }

    /// `text` with everything filled in; late values are an error.
    pub(crate) fn plain(&mut self, text: &At<Text>, findings: &mut Findings<'_>) -> String {
        let parts = self.late(text, Late::None, findings).0;
        parts.into_iter().map(|part| if let LatePart::Text(text) = part { text } else { String::new() }).collect()
    }

    /// `text` with everything filled in but late values.
    pub(crate) fn late(&mut self, text: &At<Text>, late: Late, findings: &mut Findings<'_>) -> LateText {
        let mut parts = Vec::new();
        let pieces = match pieces::split(&text.value.0) {
            Ok(pieces) => pieces,
            Err((skip, message)) => {
                let at = pieces::within(self.sources, text, skip, 2);
                let help = "write `{{ \"{{\" }}` if two braces are meant";
                findings.error_help(at, Code::Template, message, help);
                Vec::new()
            }
        };
        for piece in pieces {
            let part = match piece {
                Piece::Text(text) => LatePart::Text(text.to_string()),
                Piece::Expression { skip, inner } => {
                    let width = inner.trim().chars().count();
                    let skip = skip + inner.chars().take_while(|c| c.is_whitespace()).count();
                    let at = pieces::within(self.sources, text, skip, width.max(1));
                    self.expression(inner.trim(), at, late, findings)
                }
            };
            match (parts.last_mut(), part) {
                (Some(LatePart::Text(before)), LatePart::Text(more)) => before.push_str(&more),
                (_, part) => parts.push(part),
            }
        }
        if parts.is_empty() {
            parts.push(LatePart::Text(String::new()));
        }
        LateText(parts)
    }

    fn expression(&mut self, inner: &str, at: Place, late: Late, findings: &mut Findings<'_>) -> LatePart {
        if let Some(part) = late::parse(inner) {
            if let Some((message, help)) = late::misplaced(&part, late) {
                findings.error_help(at, Code::LateValue, format!("`{inner}` {message}"), help);
            }
            return self.note(part, at, late, findings);
        }
        let failed = LatePart::Text(String::new());
        if inner.is_empty() {
            findings.error(at, Code::Template, "there is nothing between the braces");
            return failed;
        }
        match self.evaluate(inner) {
            Ok(text) => LatePart::Text(text),
            Err((code, message, help)) => {
                findings.add(crate::diagnostic::Severity::Error, Some(at), code, message, help);
                failed
            }
        }
    }

    fn note(&mut self, part: late::Parsed, at: Place, late: Late, findings: &mut Findings<'_>) -> LatePart {
        match part {
            late::Parsed::Part(part) => {
                self.port |= part == LatePart::Port && late == Late::Instance;
                if part == LatePart::Data && late == Late::Instance {
                    self.data.get_or_insert(at);
                }
                part
            }
            late::Parsed::Address(name) => match self.apps.iter().find(|app| app.as_str() == name) {
                Some(app) => {
                    self.addresses.push((app.clone(), at));
                    LatePart::Address(app.clone())
                }
                None => {
                    let help = suggest(name, self.apps.iter().map(AppName::as_str));
                    findings.error_help(at, Code::UnknownName, format!("there is no app `{}`", shorten(name)), help);
                    LatePart::Text(String::new())
                }
            },
        }
    }

    fn evaluate(&self, inner: &str) -> Result<String, (Code, String, Option<String>)> {
        let template = |message: String| (Code::Template, message, None);
        let failed = |error: &minijinja::Error| {
            let unknown = error.kind() == minijinja::ErrorKind::UnknownFilter;
            let help = unknown.then(|| format!("the filters are {}", alternatives(FILTERS.iter().copied())));
            (Code::Template, explain(error), help)
        };
        if inner.len() > EXPRESSION_MAX {
            return Err(template(format!("this expression is longer than {EXPRESSION_MAX} characters")));
        }
        // Repetition could fill the memory within one step.
        if pieces::unquoted(inner).any(|c| c == '*') {
            return Err(template("`*` is not available in templates".into()));
        }
        let expression = self.environment.compile_expression(inner).map_err(|e| failed(&e))?;
        let mut names: Vec<String> = expression.undeclared_variables(true).into_iter().collect();
        names.sort();
        for name in &names {
            self.check_name(name)?;
        }
        let value = expression.eval(&self.values).map_err(|e| failed(&e))?;
        match value.kind() {
            ValueKind::String | ValueKind::Number | ValueKind::Bool => {}
            _ => return Err(template(format!("`{}` is not a single value", shorten(inner)))),
        }
        let text = value.to_string();
        if text.len() > VALUE_MAX {
            return Err(template(format!("`{}` becomes longer than {VALUE_MAX} bytes", shorten(inner))));
        }
        Ok(text)
    }

    fn check_name(&self, name: &str) -> Result<(), (Code, String, Option<String>)> {
        let top = name.split('.').next().unwrap_or(name);
        if late::NAMES.contains(&top) {
            let message = format!("`{}` is known only when an instance starts: nothing can be computed with it", top);
            let help = "put it in as it is, such as `{{ port }}` or `{{ apps.NAME.address }}`";
            return Err((Code::LateValue, message, Some(help.into())));
        }
        if self.known.contains(name) || name == "vars" {
            return Ok(());
        }
        if self.known.contains(top) {
            let message = format!("`{top}` is a text, it has nothing inside: `{}`", shorten(name));
            return Err((Code::UnknownVariable, message, None));
        }
        let known = self.known.iter().map(String::as_str).chain(late::SHOWN.iter().copied());
        let message = format!("there is no variable `{}`", shorten(name));
        Err((Code::UnknownVariable, message, Some(suggest(name, known))))
    }
}

const FILTERS: &[&str] = &["lower", "upper", "trim", "replace"];

/// Expressions without access to anything, and with an end.
fn sandbox() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(5_000));
    environment.add_filter("lower", |text: String| text.to_lowercase());
    environment.add_filter("upper", |text: String| text.to_uppercase());
    environment.add_filter("trim", |text: String| text.trim().to_string());
    environment.add_filter("replace", |text: String, from: String, to: String| {
        let grown = text.len().saturating_mul(to.len().max(1));
        if from.is_empty() || grown > VALUE_MAX * 16 {
            let kind = minijinja::ErrorKind::InvalidOperation;
            return Err(minijinja::Error::new(kind, "this replacement is too large"));
        }
        Ok(text.replace(&from, &to))
    });
    environment
}

fn explain(error: &minijinja::Error) -> String {
    let message = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    format!("this template cannot be computed: {}", crate::text::shorten_to(&message, 200))
}
