//! The kinds of diagnostics. Each has a stable code and a page in `docs/errors/`.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What kind of thing is wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable text, also the name of the page.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// There is no specification where one was looked for.
    NotFound = "spec-not-found",
    /// A file cannot be read, or is not text.
    Unreadable = "spec-unreadable",
    /// A file is larger, deeper or more repetitive than any specification needs to be.
    TooLarge = "spec-too-large",
    /// A file says nothing.
    Empty = "spec-empty",
    /// The text is not YAML.
    Syntax = "spec-syntax",
    /// A key stands twice in one map.
    DuplicateKey = "spec-duplicate-key",
    /// A key that does not exist.
    UnknownKey = "spec-unknown-key",
    /// Text where a number belongs, and the like.
    WrongType = "spec-wrong-type",
    /// A key that must be there is not.
    MissingKey = "spec-missing-key",
    /// A value of the right type that cannot be meant.
    BadValue = "spec-bad-value",
    /// A name that is not well formed.
    BadName = "spec-bad-name",
    /// A reference to an app, environment or region that does not exist.
    UnknownName = "spec-unknown-name",
    /// Apps or environments that wait for each other.
    Cycle = "spec-cycle",
    /// A template that is not well formed or cannot be computed.
    Template = "spec-template",
    /// A template uses a variable that does not exist.
    UnknownVariable = "spec-unknown-variable",
    /// A value that is known only when an instance starts is used where it cannot be.
    LateValue = "spec-late-value",
    /// The address of another app is used although it has none, or is not waited for.
    Address = "spec-address",
    /// A version that is missing, malformed or moves.
    Version = "spec-version",
    /// The specification can say it, but nothing does it yet.
    NotBuilt = "spec-not-built",
    /// A secret reference that is not well formed.
    Secret = "spec-secret",
    /// Something that looks like a secret stands in the file.
    SecretLiteral = "spec-secret-literal",
    /// Two apps want the same requests.
    RouteConflict = "spec-route-conflict",
    /// More than one instance would use one data folder at a time.
    SharedData = "spec-shared-data",
    /// Values that are fine alone contradict each other.
    Contradiction = "spec-contradiction",
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}
