//! How far a work is.

/// How far a work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being done: `export`, `check`, `import`, `verify`, or a file's name.
    pub task: &'a str,
    /// So many lines or records are done; bytes, of files.
    pub done: u64,
    /// Of so many, when it is known.
    pub total: Option<u64>,
}

/// Where progress goes. It is called often.
pub type Show<'a> = dyn FnMut(&Progress<'_>) + 'a;
