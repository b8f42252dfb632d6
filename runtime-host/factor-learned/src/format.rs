//! What the files have in common: 4 bytes that say what it is, a version (u32), a
//! body, and the XXH3 of all that (u64). Numbers are little-endian.

use xxhash_rust::xxh3::xxh3_64;

/// Why bytes are not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too short, or the checksum is wrong.
    #[error("it was cut or changed")]
    Damaged,
    /// Something else, or written by another version of this program.
    #[error("it is another kind of file, or of another version")]
    Kind,
    /// The checksum is right and the contents contradict each other.
    #[error("{0} do not fit")]
    Parts(&'static str),
}

const SUM: usize = 8;

/// Writes one file.
#[derive(Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// `kind` says what it is; it will be about `bytes` long.
    #[must_use]
    pub fn new(kind: [u8; 4], version: u32, bytes: usize) -> Self {
        let mut to = Vec::with_capacity(bytes + 64);
        to.extend(kind);
        to.extend(version.to_le_bytes());
        Self(to)
    }

    /// Appends numbers.
    pub fn u64s(&mut self, numbers: &[u64]) {
        self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    /// Appends numbers.
    pub fn u32s(&mut self, numbers: &[u32]) {
        self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    /// Appends numbers.
    pub fn f32s(&mut self, numbers: &[f32]) {
        self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    /// The file.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let sum = xxh3_64(&self.0);
        self.0.extend(sum.to_le_bytes());
        self.0
    }
}

/// Reads one file, its checksum first. It allocates no more than there are bytes.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Of a kind and version.
    ///
    /// # Errors
    /// When it is of others, or not what was written.
    pub fn new(bytes: &'a [u8], kind: [u8; 4], version: u32) -> Result<Self, Error> {
        let (checked, sum) = bytes.split_last_chunk::<SUM>().ok_or(Error::Damaged)?;
        if xxh3_64(checked) != u64::from_le_bytes(*sum) {
            return Err(Error::Damaged);
        }
        let mut reader = Self(checked);
        if reader.take(4)? != kind || reader.u32()? != version {
            return Err(Error::Kind);
        }
        Ok(reader)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Error::Parts("its lengths"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn chunks<const N: usize>(&mut self, count: usize) -> Result<&'a [[u8; N]], Error> {
        let bytes = count.checked_mul(N).ok_or(Error::Parts("its lengths"))?;
        Ok(self.take(bytes)?.as_chunks::<N>().0)
    }

    /// One number.
    ///
    /// # Errors
    /// When there is none left.
    pub fn u32(&mut self) -> Result<u32, Error> {
        Ok(self.u32s(1)?.first().copied().unwrap_or_default())
    }

    /// One number.
    ///
    /// # Errors
    /// When there is none left.
    pub fn f32(&mut self) -> Result<f32, Error> {
        Ok(f32::from_bits(self.u32()?))
    }

    /// A number of things that there are.
    ///
    /// # Errors
    /// When there is none left.
    pub fn count(&mut self) -> Result<usize, Error> {
        Ok(self.u32()? as usize)
    }

    /// So many numbers.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn u64s(&mut self, count: usize) -> Result<Vec<u64>, Error> {
        Ok(self.chunks(count)?.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
    }

    /// So many numbers.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn u32s(&mut self, count: usize) -> Result<Vec<u32>, Error> {
        Ok(self.chunks(count)?.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }

    /// So many finite numbers.
    ///
    /// # Errors
    /// When there are fewer, or one is not finite.
    pub fn f32s(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        let numbers: Vec<f32> = self.chunks(count)?.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        // Without a branch a number.
        let finite = numbers.iter().fold(true, |finite, number| finite & number.is_finite());
        if finite { Ok(numbers) } else { Err(Error::Parts("its numbers")) }
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// When there is.
    pub fn end(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Parts("its lengths")) }
    }
}
