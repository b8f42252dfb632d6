//! What the stage can do to its host.

use std::{
    fs, hint,
    net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use funnelweb_guest::types::{
    Attribute, ColumnKind, ColumnSpec, ParamError, Requirements, StageError, StageErrorCode, Table,
};
use serde::Deserialize;

/// Longer than any deadline.
const LONG: Duration = Duration::from_secs(3600);
/// Many times what a stage may return.
const MANY: usize = 1_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    #[serde(default)]
    pub(crate) attack: Attack,
    #[serde(default)]
    check: Attack,
    #[serde(default)]
    rank: Attack,
    /// How deep `recurse` goes; without end unless said otherwise.
    depth: Option<u64>,
    /// How much `complain` says.
    #[serde(default = "many_words")]
    bytes: usize,
}

fn many_words() -> usize {
    4 * MANY
}

impl Params {
    pub(crate) fn parse(params: &str) -> Self {
        serde_json::from_str(params).unwrap_or_else(|error| panic!("params: {error}"))
    }

    /// The feature stage has no params: a request's `context` says what it does.
    pub(crate) fn of_context(context: &[Attribute]) -> Self {
        let given = context.iter().find(|attribute| attribute.name == "attack").and_then(|given| given.values.first());
        Self::parse(&format!("{{\"attack\":\"{}\"}}", given.map_or("none", String::as_str)))
    }

    /// As a model, in a request.
    pub(crate) fn begin_ranking(&self) -> Result<Attack, StageError> {
        self.begin(self.rank).map(|()| self.rank)
    }

    /// The attacks that need no list.
    pub(crate) fn run(&self) -> Result<(), StageError> {
        self.begin(self.attack)
    }

    fn begin(&self, attack: Attack) -> Result<(), StageError> {
        match attack {
            Attack::Trap => process::abort(),
            Attack::Panic => panic!("the stage has had enough"),
            Attack::Exit => process::exit(0),
            Attack::Loop => spin(LONG),
            Attack::Slow => spin(Duration::from_millis(150)),
            Attack::Recurse => {
                hint::black_box(self.depth.map_or_else(|| recurse(0), descend));
            }
            Attack::Grow => return Err(said(format!("had {} MiB", grow()))),
            Attack::Bomb => bomb(),
            Attack::Print => loop {
                println!("{}", "spam ".repeat(1000));
            },
            Attack::Sleep => thread::sleep(LONG),
            Attack::Reach => return Err(said(reach())),
            Attack::Count => {
                static CALLS: AtomicU32 = AtomicU32::new(0);
                return Err(said(format!("call {}", CALLS.fetch_add(1, Ordering::Relaxed) + 1)));
            }
            Attack::Complain => return Err(said("no! ".repeat(self.bytes / 4))),
            _ => {}
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attack {
    #[default]
    None,

    // To the process.
    Trap,
    Panic,
    Exit,
    Loop,
    /// Ends shortly before the deadline.
    Slow,
    Recurse,
    /// Takes memory until it is refused, and says how much it had.
    Grow,
    /// Takes memory and does not expect to be refused.
    Bomb,
    Print,
    Sleep,
    /// Says what it could reach of the machine.
    Reach,
    /// Says how often it was called.
    Count,
    /// Fails with a long message.
    Complain,

    // To the contract.
    Long,
    Short,
    Nan,
    Infinite,
    Invent,
    Repeat,
    Lose,
    KeepRemoved,

    // To the feature table.
    /// Columns without end; they have all their cells.
    ManyNames,
    /// An embedding of many values.
    Wide,
    /// Offsets that point past the values.
    Astray,

    // To `check`.
    ManyColumns,
    ManyItems,

    // To both.
    /// A column whose name is long.
    LongName,
    /// Names that share one text, which is many times larger outside.
    Amplify,
}

/// The stage's `check`, which is attacked itself when the params say so.
pub(crate) fn check(params: &str) -> Result<Requirements, ParamError> {
    let invalid = |message: String| ParamError { path: "/check".to_owned(), message };
    let params = Params::parse(params);
    let attack = params.check;
    params.begin(attack).map_err(|error| invalid(error.message))?;
    let column = |name: String| ColumnSpec { name, kind: ColumnKind::Numeric };
    let mut needs = Requirements::columns([]);
    match attack {
        Attack::ManyColumns => needs.columns = (0..MANY / 100).map(|at| column(at.to_string())).collect(),
        Attack::ManyItems => needs.items = (0..MANY as u64).collect(),
        Attack::LongName => needs.columns = vec![column("x".repeat(MANY))],
        Attack::Amplify => needs.columns = shared_text(MANY, 10_000).into_iter().map(column).collect(),
        _ => {}
    }
    Ok(needs)
}

impl Attack {
    /// The attacks on the list that is returned.
    pub(crate) fn spoil(self, handles: &mut Vec<u64>, scores: &mut Vec<f32>) {
        match self {
            Self::Long => {
                handles.extend(1..=MANY as u64);
                scores.resize(scores.len() + MANY, 1.0);
            }
            Self::Short => {
                scores.pop();
            }
            Self::Nan => scores.fill(f32::NAN),
            Self::Infinite => scores.fill(f32::INFINITY),
            Self::Invent => handles.iter_mut().take(1).for_each(|handle| *handle ^= 1),
            Self::Repeat => {
                let first = handles.first().copied();
                handles.iter_mut().skip(1).take(1).for_each(|handle| *handle = first.unwrap_or_default());
            }
            Self::Lose => {
                handles.pop();
                scores.pop();
            }
            _ => {}
        }
    }
}

/// A table of `rows` rows and no columns, or of what the attack makes of it.
pub(crate) fn table(attack: Attack, rows: usize) -> Table {
    let mut table = Table::empty(u32::try_from(rows).unwrap_or(u32::MAX));
    let mut add = |name: String| {
        table.numeric_names.push(name);
        table.numeric.resize(table.numeric_names.len() * rows, 1.0);
    };
    match attack {
        Attack::ManyNames => (0..MANY / 100).for_each(|at| add(at.to_string())),
        Attack::LongName => add("x".repeat(MANY)),
        Attack::Short => {
            add("x".to_owned());
            table.numeric.pop();
        }
        Attack::Infinite => {
            add("x".to_owned());
            table.numeric.fill(f32::INFINITY);
        }
        Attack::Wide => {
            table.embedding_dim = 5000;
            table.embeddings = vec![1.0; rows * 5000];
        }
        Attack::Astray => {
            table.multi_names.push("x".to_owned());
            table.multi_offsets = (0..=rows).map(|at| u32::try_from(at * MANY).unwrap_or(u32::MAX)).collect();
        }
        Attack::Long => table.rows += 1,
        _ => {}
    }
    table
}

fn said(message: String) -> StageError {
    StageError { code: StageErrorCode::Internal, message }
}

/// Goes so deep and comes back; a call needs a little of the host's stack and
/// nothing of the guest's own, and cannot be made a loop.
#[inline(never)]
fn descend(depth: u64) -> u64 {
    if depth == 0 { 1 } else { descend(depth - 1).wrapping_mul(31) ^ depth.rotate_left(7) }
}

fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        hint::spin_loop();
    }
}

#[allow(unconditional_recursion, reason = "its purpose")]
fn recurse(depth: u64) -> u64 {
    let frame = hint::black_box([depth; 16]);
    recurse(hint::black_box(depth + 1)).wrapping_add(frame.iter().sum())
}

const MIB: usize = 1024 * 1024;

/// MiB that could be had.
fn grow() -> usize {
    let mut had: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut more = Vec::new();
        if more.try_reserve_exact(MIB).is_err() {
            return had.len();
        }
        more.push(1);
        had.push(hint::black_box(more));
    }
}

fn bomb() {
    let mut had: Vec<Vec<u8>> = Vec::new();
    loop {
        had.push(hint::black_box(Vec::with_capacity(MIB)));
    }
}

/// What it could use of the machine.
fn reach() -> String {
    let reached = [
        ("root", fs::read_dir("/").is_ok()),
        ("here", fs::read_dir(".").is_ok()),
        ("file", fs::read("/etc/hostname").is_ok()),
        ("parent", fs::read("../../../etc/hostname").is_ok()),
        ("write", fs::write("/tmp/hostile", "x").is_ok()),
        ("environment", std::env::vars_os().next().is_some()),
        ("arguments", std::env::args_os().next().is_some()),
        ("listen", TcpListener::bind("127.0.0.1:0").is_ok()),
        (
            "connect",
            TcpStream::connect("127.0.0.1:1").is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused),
        ),
        ("datagrams", UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("names", "localhost:80".to_socket_addrs().is_ok()),
        ("threads", thread::Builder::new().spawn(|| ()).is_ok()),
        ("processes", process::Command::new("true").status().is_ok()),
    ];
    let reached: Vec<_> = reached.into_iter().filter(|(_, reached)| *reached).map(|(name, _)| name).collect();
    format!("reached: [{}]", reached.join(", "))
}

/// `count` texts of `bytes` bytes that stand in the same place.
#[allow(unsafe_code, reason = "no safe program can do this; a hostile one is not written in safe Rust")]
fn shared_text(bytes: usize, count: usize) -> Vec<String> {
    let text = "x".repeat(bytes).leak().as_mut_ptr();
    // SAFETY: none. The texts own the same bytes; they are read, and the
    // instance is gone before they are dropped.
    (0..count).map(|_| unsafe { String::from_raw_parts(text, bytes, bytes) }).collect()
}
