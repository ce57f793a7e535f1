//! Lists, maps, keys, places and choices, as serde walks through them.

use super::{DecodeError, Decoder, Skipped};
use crate::node::{Key, Node};
use crate::source::Place;
use serde::de::value::{BorrowedStrDeserializer, StrDeserializer, U32Deserializer};
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

pub(super) struct Items<'a> {
    pub(super) rest: std::vec::IntoIter<&'a Node>,
    pub(super) skipped: &'a Skipped,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let Some(node) = self.rest.next() else { return Ok(None) };
        let read = seed.deserialize(Decoder { node, skipped: self.skipped });
        read.map(Some).map_err(|error| error.at(node.at).out_of_item(node))
    }
}

pub(super) struct Entries<'a> {
    pub(super) rest: std::vec::IntoIter<&'a (Key, Node)>,
    pub(super) value: Option<&'a (Key, Node)>,
    pub(super) skipped: &'a Skipped,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        self.value = self.rest.next();
        let Some((key, _)) = self.value else { return Ok(None) };
        seed.deserialize(KeyDecoder(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let Some((key, node)) = self.value else { return Err(de::Error::custom("a value without a key")) };
        let read = seed.deserialize(Decoder { node, skipped: self.skipped });
        read.map_err(|error| error.at(node.at).through(key))
    }
}

/// A key: a text, or a text with its place.
struct KeyDecoder<'a>(&'a Key);

impl<'de> de::Deserializer<'de> for KeyDecoder<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(&self.0.name)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Placed { at: self.0.at, value: BorrowedStrDeserializer::new(&self.0.name), next: 0 })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple map struct enum identifier ignored_any
    }
}

/// A value with its place, as a sequence: source, line, column, width, value.
pub(super) struct Placed<D> {
    pub(super) at: Place,
    pub(super) value: D,
    pub(super) next: usize,
}

impl<'de, D: de::Deserializer<'de, Error = DecodeError> + Copy> SeqAccess<'de> for Placed<D> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let number = [self.at.source, self.at.line, self.at.column, self.at.width].get(self.next).copied();
        self.next += 1;
        match number {
            Some(number) => seed.deserialize(U32Deserializer::new(number)).map(Some),
            None => seed.deserialize(self.value).map(Some),
        }
    }
}

/// The variant of an [`crate::raw::Either`].
pub(super) struct Choice<'a> {
    pub(super) variant: &'static str,
    pub(super) decoder: Decoder<'a>,
}

impl<'de> de::EnumAccess<'de> for Choice<'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), DecodeError> {
        let name: StrDeserializer<'_, DecodeError> = self.variant.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Choice<'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DecodeError> {
        seed.deserialize(self.decoder)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.decoder.items(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.decoder.entries(Some(fields), visitor)
    }
}
