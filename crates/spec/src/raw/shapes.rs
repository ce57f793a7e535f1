//! Values with places, and texts that mean something.

use crate::decode::{AT, EITHER};
use crate::source::Place;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) at: Place,
    pub(crate) value: T,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_tuple_struct(AT, 5, AtVisitor(PhantomData))
    }
}

struct AtVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AtVisitor<T> {
    type Value = At<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its place")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<At<T>, A::Error> {
        let mut number = || from.next_element::<u32>()?.ok_or_else(|| A::Error::custom("no place"));
        let at = Place { source: number()?, line: number()?, column: number()?, width: number()? };
        let value = from.next_element()?.ok_or_else(|| A::Error::custom("no value"))?;
        Ok(At { at, value })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A map in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Entries<V>(pub(crate) Vec<(At<Text>, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<V> {
    type Value = Entries<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Entries<V>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = from.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

impl<V: JsonSchema> JsonSchema for Entries<V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", V::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<V>() })
    }
}

/// A short form, or a map with more to say.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(crate) enum Either<S, F> {
    Short(S),
    Full(F),
}

impl<'de, S: Deserialize<'de>, F: Deserialize<'de>> Deserialize<'de> for Either<S, F> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_enum(EITHER, &["short", "full"], EitherVisitor(PhantomData))
    }
}

struct EitherVisitor<S, F>(PhantomData<(S, F)>);

impl<'de, S: Deserialize<'de>, F: Deserialize<'de>> Visitor<'de> for EitherVisitor<S, F> {
    type Value = Either<S, F>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a short form or a map")
    }

    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, from: A) -> Result<Either<S, F>, A::Error> {
        use serde::de::VariantAccess;
        let (variant, value) = from.variant::<String>()?;
        match variant.as_str() {
            "full" => value.newtype_variant().map(Either::Full),
            _ => value.newtype_variant().map(Either::Short),
        }
    }
}

/// One text, or a list of them.
#[derive(Clone, Debug)]
pub(crate) struct OneOrMany(pub(crate) Vec<At<Text>>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_tuple_struct(crate::decode::MANY, 1, ManyVisitor)
    }
}

struct ManyVisitor;

impl<'de> Visitor<'de> for ManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<OneOrMany, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(OneOrMany(items))
    }
}

impl JsonSchema for OneOrMany {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident: $schema:tt,)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
            #[serde(transparent)]
            pub(crate) struct $name(pub(crate) String);

            impl JsonSchema for $name {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        )*
    };
}

texts! {
    /// Any single value, taken as it is written: `5`, `no` and `1.0` are these texts.
    Text: { "type": ["string", "number", "boolean"] },
    /// A span of time.
    SpanText: { "type": "string", "pattern": r"^\s*([0-9]+(\.[0-9]+)?(ms|s|m|h|d)\s*)+$" },
    /// A number of bytes.
    SizeText: { "type": ["string", "integer"], "pattern": r"^[0-9]+(\.[0-9]+)?\s*(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)?$" },
    /// A count or a percentage.
    AmountText: { "type": ["string", "integer"], "minimum": 0, "pattern": r"^[0-9]+%?$" },
    /// A percentage.
    PercentText: { "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,2})?%$" },
    /// Processor cores.
    CoresText: { "type": ["string", "number"], "pattern": r"^[0-9]+(\.[0-9]{1,3})?$" },
}
