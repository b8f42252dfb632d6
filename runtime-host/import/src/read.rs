//! Reading a source as an import would, and sending nothing.

use crate::{
    Kind, LineError, Options, Result,
    run::{mapping, reader},
};

/// One line of a source: an object of the API, or what is wrong with it.
pub type Line<'a> = Result<&'a [u8], LineError>;

/// Gives each object of a source as a line of JSON, as it would be posted, or what is
/// wrong with the line it stands on; each with that line's number. Returns what the
/// source holds. Of the options, those of sending count for nothing.
///
/// # Errors
/// When the mapping is wrong or the source cannot be read.
pub fn read(options: &Options, each: &mut dyn FnMut(u64, Line<'_>)) -> Result<Kind> {
    let mapping = mapping(options)?;
    let mut reader = reader(options, &mapping)?;
    while let Some(chunk) = reader.chunk()? {
        for request in &chunk.requests {
            let lines = request.body.split_inclusive(|byte| *byte == b'\n');
            lines.zip(&request.lines).for_each(|(line, number)| each(*number, Ok(line)));
        }
        chunk.errors.into_iter().for_each(|error| each(error.line, Err(error)));
    }
    Ok(mapping.kind)
}
