//! A core module that does what its world asks for, as text, in parts that a case replaces
//! or adds to.
//!
//! Its memory begins with the places that answers are returned at, then the texts of a
//! case, then what `cabi_realloc` gives out.

use crate::{World, wit};

/// Where `check` returns its answer.
pub(crate) const CHECKED: u32 = 16;
/// Where the other function does.
pub(crate) const ANSWER: u32 = 64;
/// For what a case needs of the host: 128 bytes.
pub(crate) const SCRATCH: u32 = 128;
/// Texts, up to [`HEAP`].
const TEXTS: u32 = 256;
/// What is given out.
pub(crate) const HEAP: u32 = 32 * 1024;

/// Bytes of a request record.
pub(crate) const REQUEST_BYTES: u32 = 100;
/// Where in it the request's time stands: milliseconds, of 64 bits.
pub(crate) const NOW_MS: u32 = 56;

/// The locals of every function of the world's.
const LOCALS: &str = "(local $i i32) (local $j i32) (local $k i32) (local $n i64) (local $m i64) (local $f f32)";

#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) world: World,
    /// Of core functions.
    pub(crate) imports: String,
    pub(crate) memory: String,
    /// Whatever a module may have.
    pub(crate) fields: String,
    /// The beginning of `cabi_realloc`: `$old`, `$old-size`, `$align`, `$size`.
    pub(crate) realloc: String,
    /// The beginning of `check`: `$params`, `$length`.
    pub(crate) check: String,
    /// The beginning of the function that answers: `$request`.
    pub(crate) before: String,
    /// Its end, when the right answer lies at [`ANSWER`].
    pub(crate) after: String,
    /// Of that function, when the host has read its answer.
    pub(crate) post_return: Option<String>,
    pub(crate) texts: String,
    pub(crate) next: u32,
}

impl Guest {
    pub(crate) fn new(world: World) -> Self {
        Self {
            world,
            imports: String::new(),
            memory: "(memory (export \"memory\") 2)".to_owned(),
            fields: String::new(),
            realloc: String::new(),
            check: String::new(),
            before: String::new(),
            after: String::new(),
            post_return: None,
            texts: String::new(),
            next: TEXTS,
        }
    }

    /// A rule that begins to answer like this.
    pub(crate) fn rerank(before: &str) -> Self {
        Self { before: before.to_owned(), ..Self::new(World::Rerank) }
    }

    /// A rule that ends with this.
    pub(crate) fn spoiled(after: &str) -> Self {
        Self { after: after.to_owned(), ..Self::new(World::Rerank) }
    }

    pub(crate) fn world(&self) -> World {
        self.world
    }

    pub(crate) fn import(mut self, import: &str) -> Self {
        self.imports.push_str(import);
        self
    }

    pub(crate) fn with(mut self, fields: &str) -> Self {
        self.fields.push_str(fields);
        self
    }

    /// Puts bytes into its memory; the two constants that say where.
    pub(crate) fn text(&mut self, bytes: &[u8]) -> String {
        let at = self.next;
        let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        self.texts.push_str(&format!("(data (i32.const {at}) \"{escaped}\")\n"));
        self.next += u32::try_from(bytes.len()).expect("a short text");
        assert!(self.next <= HEAP, "too many texts");
        format!("(i32.const {at}) (i32.const {})", bytes.len())
    }

    /// Ends the function with an error of this message.
    pub(crate) fn say(&mut self, message: &[u8]) -> String {
        let text = self.text(message);
        format!("(return (call $say {text}))")
    }

    /// The module.
    pub(crate) fn module(&self) -> String {
        let Self { imports, memory, fields, realloc, texts, .. } = self;
        let world = self.functions();
        format!(
            r#"(module
{imports}
{memory}
(global $heap (mut i32) (i32.const {HEAP}))
{texts}
{fields}
(func $realloc (export "cabi_realloc")
    (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32) (local $at i32)
    {realloc}
    (local.set $at
        (i32.and
            (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
            (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16)))
        (then
            (if (i32.eq (i32.const -1)
                    (memory.grow
                        (i32.shr_u
                            (i32.add
                                (i32.sub (global.get $heap) (i32.shl (memory.size) (i32.const 16)))
                                (i32.const 65535))
                            (i32.const 16))))
                (then (unreachable)))))
    (local.get $at))
(func $say (param $text i32) (param $length i32) (result i32)
    (i32.store8 (i32.const {ANSWER}) (i32.const 1))
    (i32.store8 offset=4 (i32.const {ANSWER}) (i32.const 2))
    (i32.store offset=8 (i32.const {ANSWER}) (local.get $text))
    (i32.store offset=12 (i32.const {ANSWER}) (local.get $length))
    (i32.const {ANSWER}))
{world}
)"#
        )
    }

    fn functions(&self) -> String {
        let Self { check, before, after, .. } = self;
        let interface = self.world.interface();
        // From where in the request to where in the answer the two lists are taken.
        let (function, lists): (_, &[(u32, u32)]) = match self.world {
            World::Recall => ("recall", &[]),
            World::Rank => ("rank", &[(88, 4)]),
            World::Rerank => ("rerank", &[(80, 4), (88, 12)]),
            World::Aggregate => return self.operator(),
        };
        let answer: String = lists
            .iter()
            .flat_map(|(from, to)| [(from, to), (&(from + 4), &(to + 4))].map(|(from, to)| (*from, *to)))
            .map(|(from, to)| {
                format!(
                    "(i32.store offset={to} (i32.const {ANSWER}) (i32.load offset={from} (local.get $request)))\n    "
                )
            })
            .collect();
        let post_return = self.post_return.as_ref().map_or_else(String::new, |code| {
            format!("(func (export \"cabi_post_{interface}#{function}\") (param $answer i32) {LOCALS} {code})")
        });
        format!(
            r#"(func $check (export "{interface}#check") (param $params i32) (param $length i32) (result i32) {LOCALS}
    {check}
    (i32.const {CHECKED}))
(func $answer (export "{interface}#{function}") (param $request i32) (result i32) {LOCALS}
    {before}
    {answer}{after}
    (i32.const {ANSWER}))
{post_return}"#
        )
    }

    /// It answers each list with one as long, of empty lists.
    fn operator(&self) -> String {
        let Self { before, after, .. } = self;
        let interface = self.world.interface();
        let each: String = ["aggregate", "merge", "changes", "summary"]
            .iter()
            .map(|function| {
                let (before, after) = if *function == "aggregate" { (before.as_str(), after.as_str()) } else { ("", "") };
                format!(
                    r#"(func (export "{interface}#{function}") (param $request i32) (param $length i32) (result i32) {LOCALS}
    {before}
    (i32.store offset=4 (i32.const {ANSWER})
        (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.shl (local.get $length) (i32.const 3))))
    (i32.store offset=8 (i32.const {ANSWER}) (local.get $length))
    {after}
    (i32.const {ANSWER}))
"#
                )
            })
            .collect();
        format!(
            r#"(func (export "{interface}#declare") (result i32)
    (i64.store offset=8 (i32.const {CHECKED}) (i64.const 60000))
    (i64.store offset=16 (i32.const {CHECKED}) (i64.const 60000))
    (i32.const {CHECKED}))
{each}"#
        )
    }

    /// The component, without a manifest.
    pub(crate) fn component(&self) -> Vec<u8> {
        wit::component(self.world.as_str(), &self.module())
    }
}
