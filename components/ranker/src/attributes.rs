//! The attributes of an operator, by name and type, and constants as tensors of tract.

use prost::bytes::Bytes;
use tract_hir::internal::*;

use crate::proto::{AttributeProto, AttributeType, DataType, NodeProto, TensorProto};

impl NodeProto {
    /// An attribute that must be of this type where it is given.
    fn attribute(&self, name: &str, of: AttributeType) -> TractResult<Option<&AttributeProto>> {
        let Some(attribute) = self.attribute.iter().find(|attribute| attribute.name == name) else { return Ok(None) };
        ensure!(attribute.r#type() == of, "attribute {name} must be a {of:?}, not a {:?}", attribute.r#type());
        Ok(Some(attribute))
    }

    /// A number.
    ///
    /// # Errors
    /// When it is something else, as for all below.
    pub fn float(&self, name: &str) -> TractResult<Option<f32>> {
        Ok(self.attribute(name, AttributeType::Float)?.map(|attribute| attribute.f))
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> TractResult<Option<i64>> {
        Ok(self.attribute(name, AttributeType::Int)?.map(|attribute| attribute.i))
    }

    /// A text.
    pub fn text(&self, name: &str) -> TractResult<Option<&str>> {
        self.attribute(name, AttributeType::String)?.map(|attribute| text(&attribute.s)).transpose()
    }

    /// A constant.
    pub fn tensor(&self, name: &str) -> TractResult<Option<Tensor>> {
        self.attribute(name, AttributeType::Tensor)?.and_then(|attribute| attribute.t.as_ref()).map(tensor).transpose()
    }

    /// Numbers.
    pub fn floats(&self, name: &str) -> TractResult<Option<&[f32]>> {
        Ok(self.attribute(name, AttributeType::Floats)?.map(|attribute| attribute.floats.as_slice()))
    }

    /// Whole numbers.
    pub fn ints(&self, name: &str) -> TractResult<Option<&[i64]>> {
        Ok(self.attribute(name, AttributeType::Ints)?.map(|attribute| attribute.ints.as_slice()))
    }

    /// Texts.
    pub fn texts(&self, name: &str) -> TractResult<Option<Vec<&str>>> {
        let attribute = self.attribute(name, AttributeType::Strings)?;
        attribute.map(|attribute| attribute.strings.iter().map(text).collect()).transpose()
    }
}

fn text(bytes: &Bytes) -> TractResult<&str> {
    std::str::from_utf8(bytes).context("is no UTF-8")
}

/// The type of cells that a number in the file stands for.
///
/// # Errors
/// For one that is not read.
pub fn datum_type(number: i64) -> TractResult<DatumType> {
    Ok(match i32::try_from(number).ok().and_then(|number| DataType::try_from(number).ok()) {
        Some(DataType::Float) => f32::datum_type(),
        Some(DataType::Double) => f64::datum_type(),
        Some(DataType::Int32) => i32::datum_type(),
        Some(DataType::Int64) => i64::datum_type(),
        Some(DataType::Bool) => bool::datum_type(),
        Some(DataType::Undefined) | None => bail!("cells of type {number} are not supported"),
    })
}

/// A constant of the file.
///
/// # Errors
/// When it has not as many cells as its dimensions say.
pub fn tensor(proto: &TensorProto) -> TractResult<Tensor> {
    let shape = proto.dims.iter().map(|dim| usize::try_from(*dim).context("a dimension is below 0"));
    let shape = shape.collect::<TractResult<TVec<usize>>>()?;
    let raw = &proto.raw_data;
    let of = datum_type(i64::from(proto.data_type))?;
    if of == f32::datum_type() {
        shaped(&shape, cells(raw, f32::from_le_bytes), &proto.float_data)
    } else if of == f64::datum_type() {
        shaped(&shape, cells(raw, f64::from_le_bytes), &proto.double_data)
    } else if of == i32::datum_type() {
        shaped(&shape, cells(raw, i32::from_le_bytes), &proto.int32_data)
    } else if of == i64::datum_type() {
        shaped(&shape, cells(raw, i64::from_le_bytes), &proto.int64_data)
    } else {
        let listed: Vec<bool> = proto.int32_data.iter().map(|cell| *cell != 0).collect();
        shaped(&shape, cells(raw, |[byte]: [u8; 1]| byte != 0), &listed)
    }
}

/// Cells as they lie in the file: little-endian, one after the other.
fn cells<T, const BYTES: usize>(raw: &[u8], read: fn([u8; BYTES]) -> T) -> Vec<T> {
    // A rest that is no whole cell makes one cell too many, which is refused.
    let whole = |chunk: &[u8]| chunk.try_into().map_or_else(|_| read([0; BYTES]), read);
    raw.chunks(BYTES).map(whole).collect()
}

/// A tensor of the cells that are there: raw, or listed.
fn shaped<T: Datum>(shape: &[usize], raw: Vec<T>, listed: &[T]) -> TractResult<Tensor> {
    let cells = if raw.is_empty() { listed.to_vec() } else { raw };
    let volume = shape.iter().try_fold(1_usize, |volume, dim| volume.checked_mul(*dim));
    ensure!(volume == Some(cells.len()), "{shape:?} are the dimensions of {} cells", cells.len());
    tensor1(&cells).into_shape(shape)
}
