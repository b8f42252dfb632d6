//! The first look at a component: how much there is of everything, what it exports and
//! imports. It is no validation: it reads headers and lists, stops at the first limit that
//! is crossed, and never goes deeper than a component may be nested, so that what would
//! cost a validator much is turned away before.

use funnelweb_core::limits;
use serde::{Deserialize, Serialize};
use wasmparser::{
    BinaryReader, ComponentAlias, ComponentExport, ComponentExternalKind, ComponentImport, ComponentInstance,
    ComponentOuterAliasKind, ComponentType, CompositeInnerType, CoreType, Encoding, FromReader, Instance, MemoryType,
    ModuleTypeDeclaration, Parser, Payload, SectionLimited,
};

use crate::{Refused, Rule, rules::FEATURES};

const PAGE_BYTES: u64 = 64 * 1024;
/// As they are encoded: declarations in the type of a component or an instance.
const DECLARES_CORE_TYPE: u8 = 0x00;
const DECLARES_TYPE: u8 = 0x01;
const DECLARES_IMPORT: u8 = 0x03;
const COMPONENT_TYPE: u8 = 0x41;
const INSTANCE_TYPE: u8 = 0x42;

/// How much there is in a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Components and core modules in it, together.
    pub modules: u64,
    /// How many components are around its innermost one.
    pub nesting: u64,
    /// Imports, those of its parts included.
    pub imports: u64,
    /// Functions of all core modules.
    pub functions: u64,
    /// Types, those of its parts included.
    pub types: u64,
    /// What one instance of it needs.
    #[serde(flatten)]
    pub needs: Needs,
}

/// What an instance needs from its first moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Needs {
    /// Instances of core modules.
    pub instances: u64,
    /// Linear memories.
    pub memories: u64,
    /// Their bytes.
    pub memory_bytes: u64,
    /// Tables.
    pub tables: u64,
    /// Their elements.
    pub table_elements: u64,
}

impl Needs {
    fn add(&mut self, other: Self) {
        self.instances = self.instances.saturating_add(other.instances);
        self.memories = self.memories.saturating_add(other.memories);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.tables = self.tables.saturating_add(other.tables);
        self.table_elements = self.table_elements.saturating_add(other.table_elements);
    }

    fn check(&self) -> Result<(), Refused> {
        let instances = "instances of core modules";
        within(Rule::Instances, self.instances, limits::COMPONENT_INSTANCES, instances)?;
        within(Rule::Memories, self.memories, limits::COMPONENT_MEMORIES, "memories")?;
        within(Rule::Memories, self.memory_bytes, limits::COMPONENT_MEMORY_BYTES, "bytes of memory to begin with")?;
        within(Rule::Tables, self.tables, limits::COMPONENT_TABLES, "tables")?;
        let elements = "elements of tables to begin with";
        within(Rule::Tables, self.table_elements, limits::COMPONENT_TABLE_ELEMENTS, elements)
    }
}

/// What was seen.
pub(crate) struct Scan<'a> {
    pub(crate) counts: Counts,
    /// Of the outermost component.
    pub(crate) imports: Vec<ComponentImport<'a>>,
    pub(crate) exports: Vec<ComponentExport<'a>>,
}

/// A component or module that is being read.
#[derive(Default)]
struct Level {
    is_module: bool,
    needs: Needs,
    /// What its index spaces hold, so that what is instantiated is known.
    modules: Vec<Needs>,
    components: Vec<Needs>,
}

/// Looks at a component.
pub(crate) fn scan(wasm: &[u8]) -> Result<Scan<'_>, Refused> {
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut scanner =
        Scanner { wasm, counts: Counts::default(), levels: Vec::new(), imports: Vec::new(), exports: Vec::new() };
    for payload in parser.parse_all(wasm) {
        scanner.payload(payload.map_err(|error| Refused::invalid(&error))?)?;
    }
    let Scanner { counts, imports, exports, .. } = scanner;
    Ok(Scan { counts, imports, exports })
}

struct Scanner<'a> {
    wasm: &'a [u8],
    counts: Counts,
    /// The outermost first.
    levels: Vec<Level>,
    imports: Vec<ComponentImport<'a>>,
    exports: Vec<ComponentExport<'a>>,
}

impl<'a> Scanner<'a> {
    fn payload(&mut self, payload: Payload<'a>) -> Result<(), Refused> {
        match payload {
            Payload::Version { encoding, .. } => self.begin(encoding),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                self.counts.modules += 1;
                within(Rule::Modules, self.counts.modules, limits::COMPONENT_MODULES, "components and core modules")
            }
            Payload::End(_) => self.end(),
            Payload::TypeSection(section) => {
                self.count_types(section.count().into())?;
                self.each(section, |this, group| {
                    // It was counted as one.
                    this.count_types((group.types().len() as u64).saturating_sub(1))?;
                    group.types().try_for_each(|of| check_values(&of.composite_type.inner))
                })
            }
            Payload::CoreTypeSection(section) => self.each(section, |this, of| this.core_type(&of)),
            Payload::ComponentTypeSection(section) => {
                self.count_types(section.count().into())?;
                self.component_types(section.range())
            }
            Payload::ImportSection(section) => self.count_imports(section.count().into()),
            Payload::ComponentImportSection(section) => self.component_imports(section),
            Payload::ComponentExportSection(section) => self.component_exports(section),
            Payload::FunctionSection(section) => {
                self.counts.functions = self.counts.functions.saturating_add(section.count().into());
                within(Rule::Functions, self.counts.functions, limits::COMPONENT_FUNCTIONS, "functions")
            }
            Payload::MemorySection(section) => self.each(section, |this, memory| {
                let bytes = initial_bytes(&memory);
                this.need(Needs { memories: 1, memory_bytes: bytes, ..Needs::default() })
            }),
            Payload::TableSection(section) => self.each(section, |this, table| {
                this.need(Needs { tables: 1, table_elements: table.ty.initial, ..Needs::default() })
            }),
            Payload::InstanceSection(section) => self.each(section, |this, instance| match instance {
                Instance::Instantiate { module_index, .. } => {
                    let mut needs = this.level()?.modules.get(module_index as usize).copied().ok_or_else(unknown)?;
                    needs.add(Needs { instances: 1, ..Needs::default() });
                    this.need(needs)
                }
                Instance::FromExports(_) => Ok(()),
            }),
            Payload::ComponentInstanceSection(section) => self.each(section, |this, instance| match instance {
                ComponentInstance::Instantiate { component_index, .. } => {
                    let needs = this.level()?.components.get(component_index as usize).copied();
                    this.need(needs.ok_or_else(unknown)?)
                }
                ComponentInstance::FromExports(_) => Ok(()),
            }),
            Payload::ComponentAliasSection(section) => self.each(section, |this, alias| this.alias(&alias)),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, encoding: Encoding) -> Result<(), Refused> {
        let is_module = encoding == Encoding::Module;
        self.levels.push(Level { is_module, ..Level::default() });
        if !is_module {
            self.nested(self.levels.len() as u64 - 1)?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refused> {
        let ended = self.levels.pop().ok_or_else(unknown)?;
        match self.levels.last_mut() {
            Some(around) if ended.is_module => around.modules.push(ended.needs),
            Some(around) => around.components.push(ended.needs),
            None => self.counts.needs = ended.needs,
        }
        Ok(())
    }

    fn level(&mut self) -> Result<&mut Level, Refused> {
        self.levels.last_mut().ok_or_else(unknown)
    }

    /// The component that is being read needs more.
    fn need(&mut self, needs: Needs) -> Result<(), Refused> {
        let level = self.level()?;
        level.needs.add(needs);
        level.needs.check()
    }

    fn each<T: FromReader<'a>>(
        &mut self,
        section: SectionLimited<'a, T>,
        mut look: impl FnMut(&mut Self, T) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        for item in section {
            look(self, item.map_err(|error| Refused::invalid(&error))?)?;
        }
        Ok(())
    }

    fn nested(&mut self, depth: u64) -> Result<(), Refused> {
        self.counts.nesting = self.counts.nesting.max(depth);
        within(Rule::Nesting, depth, limits::COMPONENT_NESTING, "components around its innermost one")
    }

    fn count_types(&mut self, count: u64) -> Result<(), Refused> {
        self.counts.types = self.counts.types.saturating_add(count);
        within(Rule::Types, self.counts.types, limits::COMPONENT_TYPES, "types")
    }

    fn count_imports(&mut self, count: u64) -> Result<(), Refused> {
        self.counts.imports = self.counts.imports.saturating_add(count);
        within(Rule::Imports, self.counts.imports, limits::COMPONENT_IMPORTS, "imports, those of its parts included,")
    }

    fn core_type(&mut self, of: &CoreType<'_>) -> Result<(), Refused> {
        match of {
            CoreType::Rec(group) => self.count_types(group.types().len() as u64),
            CoreType::Module(declarations) => {
                let types = declarations.iter().map(|declaration| match declaration {
                    ModuleTypeDeclaration::Type(group) => group.types().len() as u64,
                    _ => 0,
                });
                self.count_types(1 + types.sum::<u64>())
            }
        }
    }

    /// Types of components and instances hold types; the parser's own reader would follow
    /// them to any depth.
    fn component_types(&mut self, range: std::ops::Range<usize>) -> Result<(), Refused> {
        let bytes = self.wasm.get(range.clone()).unwrap_or_default();
        let mut reader = BinaryReader::new_features(bytes, range.start, FEATURES);
        let count = number(&mut reader)?;
        for _ in 0..count {
            self.component_type(&mut reader, 0)?;
        }
        Ok(())
    }

    fn component_type(&mut self, reader: &mut BinaryReader<'a>, depth: u64) -> Result<(), Refused> {
        let of = next(reader)?;
        if !matches!(of, COMPONENT_TYPE | INSTANCE_TYPE) {
            return skip::<ComponentType<'_>>(reader);
        }
        self.nested(depth)?;
        skip_byte(reader)?;
        for _ in 0..number(reader)? {
            match next(reader)? {
                DECLARES_CORE_TYPE => {
                    skip_byte(reader)?;
                    let of = reader.read().map_err(|error| Refused::invalid(&error))?;
                    self.core_type(&of)?;
                }
                DECLARES_TYPE => {
                    skip_byte(reader)?;
                    self.count_types(1)?;
                    self.component_type(reader, depth + 1)?;
                }
                DECLARES_IMPORT if of == COMPONENT_TYPE => {
                    skip_byte(reader)?;
                    skip::<ComponentImport<'_>>(reader)?;
                }
                // An alias or an export.
                _ => skip::<wasmparser::InstanceTypeDeclaration<'_>>(reader)?,
            }
        }
        Ok(())
    }

    fn component_imports(&mut self, section: SectionLimited<'a, ComponentImport<'a>>) -> Result<(), Refused> {
        self.count_imports(section.count().into())?;
        self.each(section, |this, import| {
            if matches!(import.ty.kind(), ComponentExternalKind::Module | ComponentExternalKind::Component) {
                return Err(passed_around("imports"));
            }
            if this.levels.len() == 1 {
                this.imports.push(import);
            }
            Ok(())
        })
    }

    fn component_exports(&mut self, section: SectionLimited<'a, ComponentExport<'a>>) -> Result<(), Refused> {
        self.each(section, |this, export| {
            if matches!(export.kind, ComponentExternalKind::Module | ComponentExternalKind::Component) {
                return Err(passed_around("exports"));
            }
            if this.levels.len() == 1 {
                this.exports.push(export);
            }
            Ok(())
        })
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) -> Result<(), Refused> {
        match *alias {
            ComponentAlias::InstanceExport {
                kind: ComponentExternalKind::Module | ComponentExternalKind::Component,
                ..
            } => Err(passed_around("takes from an instance")),
            ComponentAlias::Outer { kind, count, index } => {
                let at = (self.levels.len() - 1).checked_sub(count as usize).ok_or_else(unknown)?;
                let outer = self.levels.get(at).ok_or_else(unknown)?;
                let (from, is_module) = match kind {
                    ComponentOuterAliasKind::CoreModule => (&outer.modules, true),
                    ComponentOuterAliasKind::Component => (&outer.components, false),
                    _ => return Ok(()),
                };
                let needs = from.get(index as usize).copied().ok_or_else(unknown)?;
                let level = self.level()?;
                if is_module {
                    level.modules.push(needs)
                } else {
                    level.components.push(needs)
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A call or a branch of two bytes has a validator look at as many values.
fn check_values(of: &CompositeInnerType) -> Result<(), Refused> {
    let CompositeInnerType::Func(function) = of else { return Ok(()) };
    for (values, what) in [(function.params(), "parameters"), (function.results(), "results")] {
        let what = format!("{what} of one function");
        within(Rule::Functions, values.len() as u64, limits::COMPONENT_FUNCTION_VALUES, &what)?;
    }
    Ok(())
}

fn initial_bytes(memory: &MemoryType) -> u64 {
    memory.initial.saturating_mul(PAGE_BYTES)
}

/// Whether there is at most so much.
fn within(rule: Rule, count: u64, most: usize, what: &str) -> Result<(), Refused> {
    if count <= most as u64 {
        return Ok(());
    }
    let help = match rule {
        Rule::Modules | Rule::Nesting | Rule::Instances => {
            "compose it of fewer components, or link its modules into one before it becomes a component"
        }
        Rule::Memories => "have one memory, and begin with a smaller one: less static data, a smaller stack",
        Rule::Tables => "have fewer functions whose address is taken: build for size, and link with `--gc-sections`",
        _ => {
            "leave out what is not needed: build for size (`opt-level = \"s\"`, `lto = \"fat\"`), with fewer dependencies"
        }
    };
    Err(Refused::new(rule, format!("it has {count} {what}; {most} is the most").replace(",;", ";"), help))
}

/// What a part instantiates must be known when it is read.
fn passed_around(how: &str) -> Refused {
    let message = format!("one of its components {how} a component or a core module");
    let help = "compose it so that each part is defined where it is instantiated, as `wac plug` does";
    Refused::new(Rule::Instances, message, help)
}

/// The validator says it better, but what comes first must say something.
fn unknown() -> Refused {
    let help = "build it again, with a toolchain that `wasm-tools validate` is content with";
    Refused::new(Rule::Invalid, "it instantiates what it has not defined", help)
}

fn next(reader: &mut BinaryReader<'_>) -> Result<u8, Refused> {
    reader.clone().read_u8().map_err(|error| Refused::invalid(&error))
}

fn skip_byte(reader: &mut BinaryReader<'_>) -> Result<(), Refused> {
    reader.read_u8().map(drop).map_err(|error| Refused::invalid(&error))
}

fn number(reader: &mut BinaryReader<'_>) -> Result<u32, Refused> {
    reader.read_var_u32().map_err(|error| Refused::invalid(&error))
}

fn skip<'a, T: FromReader<'a>>(reader: &mut BinaryReader<'a>) -> Result<(), Refused> {
    reader.read::<T>().map(drop).map_err(|error| Refused::invalid(&error))
}
