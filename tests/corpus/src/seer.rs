//! A rule that tells what it was given of the user: what a scenario does not allow must not
//! be there.

use serde_json::json;

use crate::{
    World,
    guest::{CHECKED, Guest},
    manifest,
};

/// Where the user's id stands in a request: its place and its length.
const USER_ID: (u32, u32) = (8, 12);

/// A rule called `name`, that answers with the user's id as its error, and, whether or not it
/// is to have it, asks for it.
#[must_use]
pub fn seer(name: &str, version: &str) -> Vec<u8> {
    let (at, length) = USER_ID;
    let mut guest = Guest::rerank(&format!(
        "(return (call $say (i32.load offset={at} (local.get $request)) (i32.load offset={length} (local.get $request))))"
    ));
    // The first of the flags.
    guest.check = format!("(i32.store8 offset=20 (i32.const {CHECKED}) (i32.const 1))");
    let manifest = json!({"name": name, "version": version, "world": World::Rerank.as_str(),
                          "reads": {"columns": [], "user": ["id"]}});
    manifest::upload(guest.component(), &manifest)
}
