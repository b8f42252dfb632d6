//! The file of an index: all that is in it at a moment, with the graph.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `FWVECTOR` |
//! | 4, 4, 4, 4 | version, metric, dimension, layers of the graph |
//! | 8, 8, 8, 8, 8 | generation, rows of the base, of them when its graph was built, dead ones, fresh rows |
//! | 8 a layer | its links |
//! | 8 | checksum of the above |
//! | 8 a row, 4 a number | handles and vectors of the base |
//! | 4 each | slots of dead rows |
//! | 4 each | links, layer by layer from the lowest |
//! | 8 a row, 4 a number | handles and vectors of fresh rows |
//! | 8 | checksum of all that follows the first one |
//!
//! Numbers are little-endian, checksums xxh3 with 64 bits. Codes are computed again
//! when a file is read.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::Path,
    sync::Arc,
};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::{
    Error, Metric, Space,
    base::Base,
    bits::Bits,
    codec::Reader,
    disk,
    error::Result,
    graph::Graph,
    limits::MAX_VECTORS,
    rows::Rows,
    state::{Current, Settled, State},
};

const MAGIC: &[u8; 8] = b"FWVECTOR";
const VERSION: u32 = 1;
/// Before the sizes of layers.
const HEAD_BYTES: usize = 8 + 4 * 4 + 5 * 8;
/// More layers than a graph can have.
const MAX_LAYERS: u32 = 16;
/// Bytes read or written at once.
const BLOCK: usize = 1 << 16;

/// What a file begins with.
#[derive(Debug)]
struct Head {
    generation: u64,
    base: usize,
    built: usize,
    dead: usize,
    fresh: usize,
    /// Links of each layer.
    layers: Vec<usize>,
}

/// Writes `state` to `path`; `generation` is that of the log that goes on from it.
/// Returns the size of the file.
pub(crate) fn write(path: &Path, space: Space, state: &State, generation: u64) -> Result<u64> {
    let settled = state.settled.as_ref();
    let head = Head {
        generation,
        base: settled.map_or(0, |settled| settled.base.rows().len()),
        built: settled.map_or(0, |settled| settled.base.built()),
        dead: settled.map_or(0, |settled| settled.dead.count()),
        fresh: state.fresh.len(),
        layers: settled.map_or(Vec::new(), |settled| settled.base.graph().layers().map(<[u32]>::len).collect()),
    };
    let file = disk::replace(path, |file| {
        file.write_all(&head.bytes(space))?;
        let mut body = Hashed { inner: file, hash: Xxh3::new() };
        if let Some(Settled { base, dead }) = settled {
            let rows = base.rows();
            body.numbers(rows.handles().iter(), |handle| handle.to_le_bytes())?;
            body.numbers(rows.vectors().iter(), |number| number.to_le_bytes())?;
            let dead = (0..rows.len()).filter(|slot| dead.contains(*slot));
            body.numbers(dead, |slot| (slot as u32).to_le_bytes())?;
            for layer in base.graph().layers() {
                body.numbers(layer.iter(), |link| link.to_le_bytes())?;
            }
        }
        body.numbers(state.fresh.rows(), |(rows, slot)| rows.handle(slot).to_le_bytes())?;
        let numbers = state.fresh.rows().flat_map(|(rows, slot)| rows.vector(slot));
        body.numbers(numbers, |number| number.to_le_bytes())?;
        let sum = body.hash.digest();
        body.inner.write_all(&sum.to_le_bytes())
    });
    let size = file.and_then(|file| file.metadata());
    size.map(|size| size.len()).map_err(Error::file(path))
}

/// What [`write()`] wrote to `path` and its generation; nothing when there is no file.
pub(crate) fn read(path: &Path, space: Space) -> Result<Option<(Current, u64)>> {
    let failed = unread(path);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(&failed)?,
    };
    let size = file.metadata().map_err(&failed)?.len();
    let mut file = BufReader::with_capacity(BLOCK, file);
    let head = Head::read(&mut file, path, space)?;
    // Before anything of a size in the head is allocated.
    if head.size(space) != Some(size) {
        return Err(Error::damaged(path, "it is not as long as it should be"));
    }
    let mut body = Hashed { inner: file, hash: Xxh3::new() };
    let base = body.rows(head.base, space).map_err(&failed)?;
    let dead = body.u32s(head.dead).map_err(&failed)?;
    let layers = head.layers.iter().map(|links| body.u32s(*links)).collect::<io::Result<Vec<_>>>();
    let layers = layers.map_err(&failed)?;
    let fresh = body.rows(head.fresh, space).map_err(&failed)?;
    let sum = body.hash.digest();
    let mut written = [0; 8];
    body.inner.read_exact(&mut written).map_err(&failed)?;
    if u64::from_le_bytes(written) != sum {
        return Err(Error::damaged(path, "its checksum is wrong"));
    }
    let current = assemble(space, &head, base, &dead, layers, fresh);
    let current = current.ok_or_else(|| Error::damaged(path, "its parts do not fit together"))?;
    Ok(Some((current, head.generation)))
}

/// The space of what [`write()`] wrote to `path`; nothing when there is no file.
pub(crate) fn space(path: &Path) -> Result<Option<Space>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(unread(path))?,
    };
    let bytes = Head::checked(&mut file, path)?;
    let mut reader = Reader(&bytes);
    let version = reader.u32().unwrap_or_default();
    if version != VERSION {
        let (got, expected) = (u64::from(version), u64::from(VERSION));
        return Err(Error::Mismatch { path: path.to_owned(), what: "version", got, expected });
    }
    let mut space = || {
        let metric = [Metric::InnerProduct, Metric::Cosine].get((reader.u32()? as usize).checked_sub(1)?).copied()?;
        Space::new(reader.u32()? as usize, metric).ok()
    };
    space().map(Some).ok_or_else(|| Error::damaged(path, "its head is wrong"))
}

/// What becomes of an error of reading.
fn unread(path: &Path) -> impl Fn(io::Error) -> Error {
    move |error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::damaged(path, "it is cut short"),
        _ => Error::file(path)(error),
    }
}

/// Handles and the numbers of their vectors.
type Vectors = (Vec<u64>, Vec<f32>);

fn assemble(
    space: Space,
    head: &Head,
    base: Vectors,
    dead: &[u32],
    layers: Vec<Vec<u32>>,
    fresh: Vectors,
) -> Option<Current> {
    let mut settled = None;
    if head.base > 0 {
        let rows = rows(space, base)?;
        let mut bits = Bits::none(head.base);
        let each_once = dead.iter().all(|slot| (*slot as usize) < head.base && bits.insert(*slot as usize));
        let graph = Graph::from_layers(layers, head.base).filter(|_| each_once)?;
        settled = Some(Settled { base: Arc::new(Base::new(rows, graph, head.built, &bits)), dead: bits });
    }
    let mut current = Current::new(space, settled);
    let fresh = rows(space, fresh)?;
    (0..fresh.len()).for_each(|slot| current.put(&fresh, slot));
    Some(current)
}

fn rows(space: Space, (handles, vectors): Vectors) -> Option<Rows> {
    let mut rows = Rows::with_capacity(space, handles.len());
    for (handle, vector) in handles.into_iter().zip(vectors.chunks_exact(space.dimension())) {
        rows.push(handle, vector, space.check(vector).ok()?);
    }
    Some(rows)
}

impl Head {
    fn bytes(&self, space: Space) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let numbers = [VERSION, metric(space), space.dimension() as u32, self.layers.len() as u32];
        numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        let sizes = [self.base, self.built, self.dead, self.fresh].map(|size| size as u64);
        let layers = self.layers.iter().map(|links| *links as u64);
        let sizes = [self.generation].into_iter().chain(sizes).chain(layers);
        sizes.for_each(|size| bytes.extend(size.to_le_bytes()));
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    fn read(file: &mut impl Read, path: &Path, space: Space) -> Result<Self> {
        let bytes = Self::checked(file, path)?;
        let mut reader = Reader(&bytes);
        check_kind(&mut reader, path, VERSION, space)?;
        let mut sizes = || {
            let layers = reader.u32()?;
            let generation = reader.u64()?;
            let mut size = || usize::try_from(reader.u64()?).ok().filter(|size| *size <= MAX_VECTORS * 64);
            let (base, built, dead, fresh) = (size()?, size()?, size()?, size()?);
            let layers = (0..layers).map(|_| size()).collect::<Option<_>>()?;
            Some(Self { generation, base, built, dead, fresh, layers })
        };
        sizes().ok_or_else(|| Error::damaged(path, "its head is wrong"))
    }

    /// The bytes of a head from the version on, which are as they were written.
    fn checked(file: &mut impl Read, path: &Path) -> Result<Vec<u8>> {
        let damaged = |what| move || Error::damaged(path, what);
        let failed = unread(path);
        let mut bytes = vec![0; HEAD_BYTES];
        file.read_exact(&mut bytes).map_err(&failed)?;
        let layers = bytes.as_chunks().0.get(5).copied().map_or(0, u32::from_le_bytes);
        if layers > MAX_LAYERS {
            return Err(Error::damaged(path, "its head is wrong"));
        }
        bytes.resize(HEAD_BYTES + 8 * layers as usize + 8, 0);
        file.read_exact(bytes.get_mut(HEAD_BYTES..).unwrap_or_default()).map_err(&failed)?;
        let (counted, sum) = bytes.split_at_checked(bytes.len() - 8).ok_or_else(damaged("its head is wrong"))?;
        let rest = counted.strip_prefix(MAGIC).ok_or_else(damaged("it is not the file of an index"))?;
        if Reader(sum).u64() != Some(xxh3_64(counted)) {
            return Err(Error::damaged(path, "its head is wrong"));
        }
        Ok(rest.to_vec())
    }

    /// The size of the whole file.
    fn size(&self, space: Space) -> Option<u64> {
        let rows = (self.base as u64).checked_add(self.fresh as u64)?;
        let rows = rows.checked_mul(8 + 4 * space.dimension() as u64)?;
        let numbers = self.layers.iter().map(|links| *links as u64).sum::<u64>() + self.dead as u64;
        let head = HEAD_BYTES + 8 * self.layers.len() + 8;
        rows.checked_add(4 * numbers)?.checked_add(head as u64 + 8)
    }
}

/// What a metric is in a file.
pub(crate) fn metric(space: Space) -> u32 {
    match space.metric() {
        Metric::InnerProduct => 1,
        Metric::Cosine => 2,
    }
}

/// Reads version, metric and dimension, and compares them.
pub(crate) fn check_kind(reader: &mut Reader<'_>, path: &Path, version: u32, space: Space) -> Result<()> {
    let expected = [("version", version), ("metric", metric(space)), ("dimension", space.dimension() as u32)];
    for (what, expected) in expected {
        let got = reader.u32().ok_or_else(|| Error::damaged(path, "it is cut short"))?;
        if got != expected {
            let (got, expected) = (u64::from(got), u64::from(expected));
            return Err(Error::Mismatch { path: path.to_owned(), what, got, expected });
        }
    }
    Ok(())
}

/// Counts what is written or read into a checksum.
struct Hashed<I> {
    inner: I,
    hash: Xxh3,
}

impl<W: Write> Hashed<W> {
    fn numbers<T, const N: usize>(
        &mut self,
        numbers: impl Iterator<Item = T>,
        bytes: impl Fn(T) -> [u8; N],
    ) -> io::Result<()> {
        let mut block = Vec::with_capacity(BLOCK);
        let mut numbers = numbers.peekable();
        while numbers.peek().is_some() {
            block.clear();
            numbers.by_ref().take(BLOCK / N).for_each(|number| block.extend(bytes(number)));
            self.hash.update(&block);
            self.inner.write_all(&block)?;
        }
        Ok(())
    }
}

impl<R: Read> Hashed<R> {
    fn read<T, const N: usize>(&mut self, count: usize, number: impl Fn([u8; N]) -> T) -> io::Result<Vec<T>> {
        let mut numbers = Vec::with_capacity(count);
        let mut block = vec![0; BLOCK];
        while numbers.len() < count {
            let some = (count - numbers.len()).min(BLOCK / N);
            let block = block.get_mut(..some * N).unwrap_or_default();
            self.inner.read_exact(block)?;
            self.hash.update(block);
            numbers.extend(block.as_chunks().0.iter().map(|bytes| number(*bytes)));
        }
        Ok(numbers)
    }

    fn u32s(&mut self, count: usize) -> io::Result<Vec<u32>> {
        self.read(count, u32::from_le_bytes)
    }

    fn rows(&mut self, count: usize, space: Space) -> io::Result<Vectors> {
        Ok((self.read(count, u64::from_le_bytes)?, self.read(count * space.dimension(), f32::from_le_bytes)?))
    }
}
