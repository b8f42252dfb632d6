//! Flags as text: the parts of a user that a stage asks for, by their names in WIT.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::types::Personal;

const NAMES: [(&str, Personal); 5] = [
    ("id", Personal::ID),
    ("attributes", Personal::ATTRIBUTES),
    ("preferences", Personal::PREFERENCES),
    ("recent", Personal::RECENT),
    ("situation", Personal::SITUATION),
];

impl Serialize for Personal {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Some formats want to know how many there are.
        let names: Vec<&str> = NAMES.iter().filter(|(_, part)| self.contains(*part)).map(|(name, _)| *name).collect();
        names.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Personal {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        names.iter().try_fold(Self::empty(), |all, name| {
            let part = NAMES.iter().find(|(known, _)| known == name);
            part.map(|(_, part)| all | *part).ok_or_else(|| D::Error::custom(format!("unknown part `{name}`")))
        })
    }
}
