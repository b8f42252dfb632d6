//! Files that are there whole or not at all.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

/// Bytes of a buffer.
const BUFFER: usize = 1 << 20;

/// Writes a file under another name, makes sure that it is on the disk, and gives it
/// its name, in place of what had it. Returns it, open for writing at its end.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<File> {
    let begun = path.with_extension("new");
    let mut buffer = BufWriter::with_capacity(BUFFER, File::create(&begun)?);
    write(&mut buffer)?;
    buffer.flush()?;
    let file = buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    fs::rename(&begun, path)?;
    sync_folder(path)?;
    Ok(file)
}

/// Makes sure that the names in the folder of `path` are on the disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened as a file.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
