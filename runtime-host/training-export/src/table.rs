//! The Parquet file, as the README of the models describes it.
//!
//! Parquet has no metadata of a field; what Arrow has of it is in a message of its own
//! format within the file. So the types of the features are in the file's metadata.

use std::{collections::BTreeMap, fs::File, io, iter::repeat_n, path::Path, sync::Arc};

use funnelweb_core::scenario::FeatureKind;
use funnelweb_exposure_log::{Cell, Shown, Slate};
use parquet::{
    basic::{Compression, LogicalType, Repetition, Type as Physical},
    data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int32Type, Int64Type},
    errors::{ParquetError, Result as Written},
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::{Type, TypePtr},
};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::{
    columns::{Columns, Place},
    error::{Error, Result},
    join::Labels,
    limits,
    options::Options,
    split::Part,
};

/// A row.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) slate: &'a Slate,
    /// From 0.
    pub(crate) position: usize,
    pub(crate) item: &'a Shown,
    pub(crate) part: Part,
    pub(crate) labels: Labels,
    /// Where the slate has each feature.
    pub(crate) places: &'a [Place],
}

/// A file beside the one that it becomes.
pub(crate) struct Table<'a> {
    to: &'a Path,
    force: bool,
    columns: &'a Columns,
    writer: SerializedFileWriter<NamedTempFile>,
    group: Group,
}

/// The file's metadata `funnelweb.scenario`.
#[derive(Serialize)]
struct About<'a> {
    scenario_id: &'a str,
    exported_at_ms: u64,
    window_ms: u64,
    /// Types of the features.
    features: BTreeMap<&'a str, FeatureKind>,
}

/// Rows that are not written yet, as columns.
#[derive(Default)]
struct Group {
    request_id: Vec<ByteArray>,
    user_id: Vec<ByteArray>,
    item_id: Vec<ByteArray>,
    scenario_id: Vec<ByteArray>,
    position: Vec<i32>,
    shown_at_ms: Vec<i64>,
    split: Vec<ByteArray>,
    label_click: Vec<f32>,
    label_conversion: Vec<f32>,
    label_watch_time: Vec<f32>,
    features: Vec<Cells>,
}

/// The cells of a feature. A level says of each what of it is there.
enum Cells {
    /// 1, a number; 0, none.
    Numbers { values: Vec<f32>, levels: Vec<i16> },
    /// 1, a word; 0, none.
    Words { values: Vec<u32>, levels: Vec<i16> },
    /// 2, a word; 1, a list of none; 0, no list. Repeats are 0 for the first of a list
    /// and 1 for every other.
    Lists { values: Vec<u32>, levels: Vec<i16>, repeats: Vec<i16> },
}

/// # Errors
/// When the file is there and must not be replaced.
pub(crate) fn check_target(to: &Path, force: bool) -> Result<()> {
    if !force && to.exists() {
        return Err(Error::Exists(to.to_owned()));
    }
    Ok(())
}

impl<'a> Table<'a> {
    pub(crate) fn create(to: &'a Path, options: &Options, columns: &'a Columns, now_ms: u64) -> Result<Self> {
        let file = tempfile::Builder::new().prefix(".export-").tempfile_in(folder(to)).map_err(Error::file(to))?;
        let about = About {
            scenario_id: &options.scenario_id,
            exported_at_ms: now_ms,
            window_ms: options.window_ms,
            features: columns.iter().collect(),
        };
        let about = serde_json::to_string(&about).map_err(io::Error::from).map_err(Error::file(to))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(Some(vec![KeyValue::new("funnelweb.scenario".to_owned(), about)]))
            .build();
        let writer = schema(columns).and_then(|schema| SerializedFileWriter::new(file, schema, Arc::new(properties)));
        let writer = writer.map_err(Error::parquet(to))?;
        Ok(Self { to, force: options.force, columns, writer, group: Group::of(columns) })
    }

    pub(crate) fn add(&mut self, row: &Row<'_>) -> Result<()> {
        self.group.add(row);
        if self.group.is_full() { self.flush() } else { Ok(()) }
    }

    /// Writes the rows so far as a row group.
    fn flush(&mut self) -> Result<()> {
        let mut written = || {
            let mut group = self.writer.next_row_group()?;
            self.group.write(&mut group)?;
            group.close()
        };
        written().map_err(Error::parquet(self.to))?;
        self.group = Group::of(self.columns);
        Ok(())
    }

    /// Puts it in its place, on the disk.
    pub(crate) fn finish(mut self) -> Result<()> {
        if !self.group.request_id.is_empty() {
            self.flush()?;
        }
        let Self { to, force, writer, .. } = self;
        let file = writer.into_inner().map_err(Error::parquet(to))?;
        file.as_file().sync_all().map_err(Error::file(to))?;
        let placed = if force { file.persist(to) } else { file.persist_noclobber(to) };
        placed.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists(to.to_owned()),
            _ => Error::file(to)(error.error),
        })?;
        File::open(folder(to)).and_then(|folder| folder.sync_all()).map_err(Error::file(to))
    }
}

/// The folder that a file is in.
fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Columns in the order in which [`Group::write`] writes them.
fn schema(columns: &Columns) -> Written<TypePtr> {
    let text = Some(LogicalType::String);
    let mut fields = vec![
        leaf("request_id", Repetition::REQUIRED, Physical::BYTE_ARRAY, text.clone())?,
        leaf("user_id", Repetition::REQUIRED, Physical::BYTE_ARRAY, text.clone())?,
        leaf("item_id", Repetition::REQUIRED, Physical::BYTE_ARRAY, text.clone())?,
        leaf("scenario_id", Repetition::REQUIRED, Physical::BYTE_ARRAY, text.clone())?,
        leaf("position", Repetition::REQUIRED, Physical::INT32, None)?,
        leaf("shown_at_ms", Repetition::REQUIRED, Physical::INT64, None)?,
        leaf("split", Repetition::REQUIRED, Physical::BYTE_ARRAY, text.clone())?,
        leaf("label_click", Repetition::REQUIRED, Physical::FLOAT, None)?,
        leaf("label_conversion", Repetition::REQUIRED, Physical::FLOAT, None)?,
        leaf("label_watch_time", Repetition::REQUIRED, Physical::FLOAT, None)?,
    ];
    for (name, kind) in columns.iter() {
        fields.push(match kind {
            FeatureKind::Numeric | FeatureKind::Timestamp => leaf(name, Repetition::OPTIONAL, Physical::FLOAT, None)?,
            FeatureKind::Categorical => leaf(name, Repetition::OPTIONAL, Physical::BYTE_ARRAY, text.clone())?,
            FeatureKind::MultiCategorical => {
                let element = leaf("element", Repetition::REQUIRED, Physical::BYTE_ARRAY, text.clone())?;
                let list = group("list", Repetition::REPEATED, None, vec![element])?;
                group(name, Repetition::OPTIONAL, Some(LogicalType::List), vec![list])?
            }
        });
    }
    Ok(Arc::new(Type::group_type_builder("log").with_fields(fields).build()?))
}

fn leaf(name: &str, repetition: Repetition, physical: Physical, logical: Option<LogicalType>) -> Written<TypePtr> {
    let leaf = Type::primitive_type_builder(name, physical).with_repetition(repetition).with_logical_type(logical);
    leaf.build().map(Arc::new)
}

fn group(name: &str, repetition: Repetition, logical: Option<LogicalType>, fields: Vec<TypePtr>) -> Written<TypePtr> {
    let group = Type::group_type_builder(name).with_repetition(repetition).with_logical_type(logical);
    group.with_fields(fields).build().map(Arc::new)
}

impl Group {
    fn of(columns: &Columns) -> Self {
        Self { features: columns.iter().map(|(_, kind)| Cells::of(kind)).collect(), ..Self::default() }
    }

    fn add(&mut self, row: &Row<'_>) {
        let Row { slate, position, item, part, labels, places } = *row;
        self.request_id.push(slate.request_id.as_str().into());
        self.user_id.push(slate.user_id.as_str().into());
        self.item_id.push(item.item_id.as_str().into());
        self.scenario_id.push(slate.scenario_id.as_str().into());
        self.position.push(i32::try_from(position).unwrap_or(i32::MAX));
        self.shown_at_ms.push(i64::try_from(slate.shown_at_ms).unwrap_or(i64::MAX));
        self.split.push(part.as_str().into());
        self.label_click.push(f32::from(u8::from(labels.click)));
        self.label_conversion.push(f32::from(u8::from(labels.conversion)));
        self.label_watch_time.push(labels.watch_time);
        for (cells, place) in self.features.iter_mut().zip(places) {
            cells.add(place.cell(slate, &item.cells));
        }
    }

    fn is_full(&self) -> bool {
        self.request_id.len() >= limits::ROW_GROUP_ROWS
            || self.features.iter().map(Cells::len).sum::<usize>() >= limits::ROW_GROUP_VALUES
    }

    fn write(&self, group: &mut SerializedRowGroupWriter<'_, NamedTempFile>) -> Written<()> {
        column::<ByteArrayType>(group, &self.request_id, None, None)?;
        column::<ByteArrayType>(group, &self.user_id, None, None)?;
        column::<ByteArrayType>(group, &self.item_id, None, None)?;
        column::<ByteArrayType>(group, &self.scenario_id, None, None)?;
        column::<Int32Type>(group, &self.position, None, None)?;
        column::<Int64Type>(group, &self.shown_at_ms, None, None)?;
        column::<ByteArrayType>(group, &self.split, None, None)?;
        column::<FloatType>(group, &self.label_click, None, None)?;
        column::<FloatType>(group, &self.label_conversion, None, None)?;
        column::<FloatType>(group, &self.label_watch_time, None, None)?;
        self.features.iter().try_for_each(|cells| cells.write(group))
    }
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, NamedTempFile>,
    values: &[T::T],
    levels: Option<&[i16]>,
    repeats: Option<&[i16]>,
) -> Written<()> {
    let missing = || ParquetError::General("more columns than the schema has".to_owned());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<T>().write_batch(values, levels, repeats)?;
    column.close()
}

impl Cells {
    fn of(kind: FeatureKind) -> Self {
        let (levels, repeats) = (Vec::new(), Vec::new());
        match kind {
            FeatureKind::Numeric | FeatureKind::Timestamp => Self::Numbers { values: Vec::new(), levels },
            FeatureKind::Categorical => Self::Words { values: Vec::new(), levels },
            FeatureKind::MultiCategorical => Self::Lists { values: Vec::new(), levels, repeats },
        }
    }

    /// What does not fit is as good as missing.
    fn add(&mut self, cell: Option<&Cell>) {
        match self {
            Self::Numbers { values, levels } => {
                let number = if let Some(Cell::Number(number)) = cell { Some(*number) } else { None };
                let number = number.filter(|number| number.is_finite());
                values.extend(number);
                levels.push(i16::from(number.is_some()));
            }
            Self::Words { values, levels } => {
                let word = if let Some(Cell::Word(word)) = cell { Some(*word) } else { None };
                values.extend(word);
                levels.push(i16::from(word.is_some()));
            }
            Self::Lists { values, levels, repeats } => {
                let words = if let Some(Cell::Words(words)) = cell { Some(words.as_slice()) } else { None };
                repeats.push(0);
                match words {
                    None => levels.push(0),
                    Some([]) => levels.push(1),
                    Some(words @ [_, rest @ ..]) => {
                        levels.extend(repeat_n(2, words.len()));
                        repeats.extend(repeat_n(1, rest.len()));
                        values.extend(words);
                    }
                }
            }
        }
    }

    /// Cells and, of lists, words.
    fn len(&self) -> usize {
        match self {
            Self::Numbers { levels, .. } | Self::Words { levels, .. } | Self::Lists { levels, .. } => levels.len(),
        }
    }

    fn write(&self, group: &mut SerializedRowGroupWriter<'_, NamedTempFile>) -> Written<()> {
        match self {
            Self::Numbers { values, levels } => column::<FloatType>(group, values, Some(levels), None),
            Self::Words { values, levels } => column::<ByteArrayType>(group, &words(values), Some(levels), None),
            Self::Lists { values, levels, repeats } => {
                column::<ByteArrayType>(group, &words(values), Some(levels), Some(repeats))
            }
        }
    }
}

/// A word is its hash.
fn words(hashes: &[u32]) -> Vec<ByteArray> {
    hashes.iter().map(|hash| format!("#{hash:08x}").into_bytes().into()).collect()
}
