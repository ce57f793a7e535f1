//! The texts that a specification is made of, and places in them.

/// A file that was read, or a text that was handed in.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Source {
    /// How the person names it, such as `deployctl.yaml`.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// Where a key or a value stands. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which of the sources, in the order in which they were laid over each other.
    pub source: u32,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
    /// How many characters to underline, at least 1 when shown.
    pub width: u32,
}

impl Place {
    /// `skip` characters further on the same line, `width` wide.
    pub(crate) fn within(self, skip: usize, width: usize) -> Self {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { column: self.column.saturating_add(number(skip)), width: number(width), ..self }
    }
}

/// All sources of one specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources(pub(crate) Vec<Source>);

impl Sources {
    /// The name of the source in which `place` is.
    pub(crate) fn name(&self, place: Place) -> &str {
        self.0.get(place.source as usize).map_or("deployctl.yaml", |source| source.name.as_str())
    }

    /// The line at `place`, without its end.
    pub(crate) fn line(&self, place: Place) -> &str {
        let line = (place.line as usize).saturating_sub(1);
        self.0.get(place.source as usize).and_then(|source| source.text.lines().nth(line)).unwrap_or("")
    }
}
