//! The sections of a component's outermost level, as they stand in the file. What lies in
//! them is not looked at.

use std::ops::Range;

use wasmparser::BinaryReader;

use crate::Refused;

/// The magic number, and the version and layer of components.
pub(crate) const HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";
const CUSTOM: u8 = 0;

/// One of them.
pub(crate) struct Section<'a> {
    /// With its id and length.
    pub(crate) range: Range<usize>,
    /// Of a custom section.
    pub(crate) custom: Option<Custom<'a>>,
}

pub(crate) struct Custom<'a> {
    pub(crate) name: &'a str,
    pub(crate) data: &'a [u8],
}

/// All of them, in order.
pub(crate) fn sections(wasm: &[u8]) -> Result<Vec<Section<'_>>, Refused> {
    let invalid = |error| Refused::invalid(&error);
    let mut reader = BinaryReader::new(wasm, 0);
    reader.read_bytes(HEADER.len()).map_err(invalid)?;
    let mut sections = Vec::new();
    while !reader.eof() {
        let begin = reader.current_position();
        let id = reader.read_u8().map_err(invalid)?;
        let mut body = reader.read_reader().map_err(invalid)?;
        let custom = if id == CUSTOM {
            let name = body.read_string().map_err(invalid)?;
            let data = body.read_bytes(body.bytes_remaining()).map_err(invalid)?;
            Some(Custom { name, data })
        } else {
            None
        };
        sections.push(Section { range: begin..reader.current_position(), custom });
    }
    Ok(sections)
}

/// A custom section.
pub(crate) fn custom(name: &str, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    write_length(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    let mut section = vec![CUSTOM];
    write_length(&mut section, body.len());
    section.extend_from_slice(&body);
    section
}

/// As LEB128.
fn write_length(bytes: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}
