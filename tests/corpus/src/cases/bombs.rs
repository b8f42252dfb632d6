//! Components that are large in ways that do not show in their bytes, or are hard to compile.

use wasm_encoder::{
    CodeSection, ComponentExportKind, ComponentExportSection, ComponentImportSection, ComponentInstanceSection,
    ComponentTypeRef, ComponentTypeSection, ConstExpr, DataSection, Encode, EntityType, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, ImportSection, InstanceSection, InstanceType, MemorySection,
    MemoryType, Module, PrimitiveValType, TypeSection, ValType,
};

use super::{Case, component};
use crate::{
    Expected::{Harmless, Refused, RefusedOr, Unusable},
    World,
    guest::Guest,
    sections,
};

/// A rule with more in it, which it makes no use of.
fn with(name: &'static str, about: &'static str, more: &[u8], expected: crate::Expected) -> Case {
    component(name, about, World::Rerank, sections::with(Guest::new(World::Rerank).component(), more), expected)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = counts();
    cases.extend(products());
    cases.extend(functions());
    cases
}

/// Many of something.
fn counts() -> Vec<Case> {
    // Instances that have nothing, by names of their own.
    let imports = {
        let mut types = ComponentTypeSection::new();
        types.instance(&InstanceType::new());
        let mut imports = ComponentImportSection::new();
        for at in 0..10_000 {
            imports.import(format!("corpus:many/i{at}@1.0.0").as_str(), ComponentTypeRef::Instance(0));
        }
        let inner = [sections::COMPONENT.to_vec(), sections::encoded(&types), sections::encoded(&imports)].concat();
        sections::component(&inner)
    };
    let outer_imports = {
        let text: String = (0..10_000).map(|at| format!("(import \"corpus:many/i{at}@1.0.0\" (instance))")).collect();
        let bytes = wat::parse_str(format!("(component {text})")).expect("a component");
        bytes.get(sections::COMPONENT.len()..).expect("sections").to_vec()
    };
    let core_imports = {
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut imports = ImportSection::new();
        for at in 0..50_000 {
            imports.import("m", &format!("f{at}"), EntityType::Function(0));
        }
        let mut module = Module::new();
        module.section(&types).section(&imports);
        sections::module(&module.finish())
    };
    let exports = {
        let text: String = (0..5000).map(|at| format!("(export \"i{at}\" (instance $i))")).collect();
        let bytes = wat::parse_str(format!("(component (instance $i) {text})")).expect("a component");
        sections::component(&bytes)
    };
    let outer_exports = {
        let rule = Guest::new(World::Rerank).component();
        let index = sections::Counts::of(&rule).exported;
        let mut exports = ComponentExportSection::new();
        for at in 0..5000 {
            exports.export(format!("corpus:many/i{at}@1.0.0").as_str(), ComponentExportKind::Instance, index, None);
        }
        sections::encoded(&exports)
    };
    let core_exports = {
        let mut module = small();
        let mut exports = ExportSection::new();
        for at in 0..100_000 {
            exports.export(&format!("f{at}"), ExportKind::Func, 0);
        }
        module.section(&exports);
        module.section(&one_body());
        sections::module(&module.finish())
    };
    let many_functions = {
        let mut module = Module::new();
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
        for _ in 0..100_000 {
            functions.function(0);
            code.function(&empty());
        }
        module.section(&types).section(&functions).section(&code);
        sections::module(&module.finish())
    };
    let types = {
        let mut types = ComponentTypeSection::new();
        for _ in 0..100_000 {
            types.defined_type().list(PrimitiveValType::U8);
        }
        sections::encoded(&types)
    };
    let core_types = {
        let mut types = TypeSection::new();
        for at in 0_usize..100_000 {
            // No two are the same.
            let params = (0..17).map(|bit| if at >> bit & 1 == 0 { ValType::I32 } else { ValType::I64 });
            types.ty().function(params, []);
        }
        let mut module = Module::new();
        module.section(&types);
        sections::module(&module.finish())
    };
    let globals = {
        let mut globals = GlobalSection::new();
        for _ in 0..500_000 {
            globals
                .global(GlobalType { val_type: ValType::I32, mutable: true, shared: false }, &ConstExpr::i32_const(0));
        }
        let mut module = Module::new();
        module.section(&globals);
        sections::module(&module.finish())
    };
    let segments = {
        let mut memories = MemorySection::new();
        memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
        let mut data = DataSection::new();
        for _ in 0..90_000 {
            data.active(0, &ConstExpr::i32_const(0), *b"x");
        }
        let mut module = Module::new();
        module.section(&memories).section(&data);
        sections::module(&module.finish())
    };
    let custom = sections::custom("x", b"").repeat(500_000);
    let nested = |depth: usize| {
        let mut bytes = sections::COMPONENT.to_vec();
        for _ in 0..depth {
            bytes = sections::with(sections::COMPONENT.to_vec(), &sections::component(&bytes));
        }
        sections::component(&bytes)
    };
    vec![
        with("bomb-component-imports", "10,000 imports of a component inside", &imports, Refused(&["imports"])),
        with(
            "bomb-components",
            "5,000 components inside",
            &sections::component(&sections::COMPONENT).repeat(5000),
            Refused(&["modules"]),
        ),
        with(
            "bomb-core-exports",
            "A core module with 100,000 exports",
            &core_exports,
            RefusedOr(&["compile", "invalid", "exports"], &Harmless),
        ),
        with(
            "bomb-core-imports",
            "A core module with 50,000 imports",
            &core_imports,
            RefusedOr(&["imports", "functions", "compile"], &Harmless),
        ),
        with("bomb-core-types", "A core module with 100,000 types", &core_types, Refused(&["types"])),
        with("bomb-custom", "Half a million sections", &custom, RefusedOr(&["invalid"], &Harmless)),
        with(
            "bomb-data",
            "A core module with 90,000 data segments",
            &segments,
            RefusedOr(&["compile", "invalid", "modules"], &Harmless),
        ),
        with("bomb-exports", "5,000 exports", &outer_exports, Refused(&["exports", "invalid"])),
        with(
            "bomb-exports-inside",
            "A component inside with 5,000 exports",
            &exports,
            Refused(&["invalid", "exports"]),
        ),
        with("bomb-functions", "A core module with 100,000 functions", &many_functions, Refused(&["functions"])),
        with(
            "bomb-globals",
            "A core module with half a million globals",
            &globals,
            RefusedOr(&["compile", "invalid"], &Unusable(&["pooling allocator"])),
        ),
        with("bomb-imports", "10,000 imports", &outer_imports, Refused(&["imports"])),
        with(
            "bomb-modules",
            "5,000 core modules",
            &sections::module(&sections::MODULE).repeat(5000),
            Refused(&["modules"]),
        ),
        with("bomb-nesting", "Components in components, 50 deep", &nested(50), Refused(&["nesting"])),
        with(
            "bomb-nesting-deep",
            "Components in components, 5,000 deep",
            &nested(5000),
            Refused(&["nesting", "invalid"]),
        ),
        with("bomb-types", "100,000 types", &types, Refused(&["types"])),
    ]
}

/// What is small and stands for very much.
fn products() -> Vec<Case> {
    // Each component has the one before ten times: 10^6 instances of the first.
    let instances = |levels: usize, times: u32| {
        let mut bytes = {
            let mut instances = InstanceSection::new();
            instances.instantiate::<_, &str>(0, []);
            [sections::COMPONENT.to_vec(), sections::module(&sections::MODULE), sections::encoded(&instances)].concat()
        };
        for _ in 0..levels {
            let mut instances = ComponentInstanceSection::new();
            for _ in 0..times {
                instances.instantiate::<_, &str>(0, []);
            }
            bytes = [sections::COMPONENT.to_vec(), sections::component(&bytes), sections::encoded(&instances)].concat();
        }
        bytes
    };
    // Instantiated by the rule's component, where it stands last among its components.
    let instantiated = |inner: &[u8]| {
        let rule = Guest::new(World::Rerank).component();
        let mut instances = ComponentInstanceSection::new();
        instances.instantiate::<_, &str>(sections::Counts::of(&rule).components, []);
        [sections::component(inner), sections::encoded(&instances)].concat()
    };
    let core_instances = |count: usize| {
        let rule = Guest::new(World::Rerank).component();
        let mut instances = InstanceSection::new();
        for _ in 0..count {
            instances.instantiate::<_, &str>(sections::Counts::of(&rule).modules, []);
        }
        [sections::module(&sections::MODULE), sections::encoded(&instances)].concat()
    };
    let doubling = {
        let text: String = (1..30).map(|at| format!("(type $t{at} (tuple $t{} $t{}))", at - 1, at - 1)).collect();
        wat::parse_str(format!("(component (type $t0 (tuple u8 u8)) {text})")).expect("a component")
    };
    let declared = {
        // A data section that says to be 4 GiB long.
        let mut module = sections::MODULE.to_vec();
        module.push(11);
        u32::MAX.encode(&mut module);
        module.extend_from_slice(b"\x01\x01");
        sections::module(&module)
    };
    let counted =
        sections::module(&sections::with(sections::MODULE.to_vec(), &sections::raw(1, b"\xff\xff\xff\xff\x0f\x60")));
    vec![
        with(
            "bomb-core-instances",
            "5,000 instances of one core module",
            &core_instances(5000),
            Refused(&["instances"]),
        ),
        with(
            "bomb-core-instances-few",
            "Fifty instances of one core module",
            &core_instances(50),
            RefusedOr(&["instances", "compile"], &Harmless),
        ),
        with(
            "bomb-counted",
            "A section that says to hold four billion types",
            &counted,
            Refused(&["invalid", "types"]),
        ),
        with("bomb-declared", "A data section that says to be 4 GiB long", &declared, Refused(&["invalid"])),
        with(
            "bomb-instances",
            "Components that have each other ten times: a million instances",
            &instantiated(&instances(6, 10)),
            Refused(&["instances"]),
        ),
        with(
            "bomb-instances-huge",
            "Components that have each other a hundred times: 10^14 instances",
            &instantiated(&instances(7, 100)),
            Refused(&["instances"]),
        ),
        with(
            "bomb-type-doubling",
            "A type that is 2^30 others",
            &sections::component(&doubling),
            Refused(&["invalid", "types"]),
        ),
    ]
}

/// Functions that are hard to compile.
fn functions() -> Vec<Case> {
    let body = |bodies: Vec<Function>| {
        let mut module = Module::new();
        let mut types = TypeSection::new();
        types.ty().function([ValType::I32], [ValType::I32]);
        let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
        for body in &bodies {
            functions.function(0);
            code.function(body);
        }
        module.section(&types).section(&functions).section(&code);
        sections::module(&module.finish())
    };
    let locals = {
        // All of them are there to the end.
        let mut function = Function::new([(49_000, ValType::I64)]);
        for at in 1..=49_000 {
            function.instructions().local_get(0).i64_extend_i32_u().i64_const(at).i64_mul().local_set(at as u32);
        }
        function.instructions().i64_const(0);
        for at in 1..=49_000_u32 {
            function.instructions().local_get(at).i64_xor();
        }
        function.instructions().i32_wrap_i64().end();
        function
    };
    let declared = |count: u32| {
        let mut function = Function::new([(count, ValType::V128)]);
        function.instructions().local_get(0).end();
        function
    };
    let table = {
        let mut function = Function::new([]);
        for _ in 0..60_000 {
            function.instructions().block(wasm_encoder::BlockType::Empty);
        }
        let targets: Vec<u32> = (0..60_000).collect();
        function.instructions().local_get(0).br_table(targets, 0);
        for _ in 0..60_000 {
            function.instructions().end();
        }
        function.instructions().local_get(0).end();
        function
    };
    let blocks = {
        let mut function = Function::new([]);
        for _ in 0..400_000 {
            function.instructions().loop_(wasm_encoder::BlockType::Empty).local_get(0).br_if(0);
        }
        for _ in 0..400_000 {
            function.instructions().end();
        }
        function.instructions().local_get(0).end();
        function
    };
    let long = {
        let mut function = Function::new([(1, ValType::I32)]);
        for at in 0..500_000 {
            function.instructions().local_get(0).i32_const(at).i32_add().local_get(1).i32_mul().local_set(1);
        }
        function.instructions().local_get(1).end();
        function
    };
    let too_long = {
        let mut function = Function::new([]);
        for _ in 0..7_700_000 {
            function.instructions().nop();
        }
        function.instructions().local_get(0).end();
        function
    };
    let too_many_locals = declared(50_001);
    let hard = RefusedOr(&["compile", "invalid"], &Harmless);
    let case = |name, about, bodies, expected| with(name, about, &body(bodies), expected);
    vec![
        case("compile-blocks", "A function of 400,000 loops in loops", vec![blocks], hard),
        case(
            "compile-body",
            "A function of three million instructions, each of which needs the one before",
            vec![long],
            hard,
        ),
        case(
            "compile-body-large",
            "A function of 7.7 million instructions",
            vec![too_long],
            Refused(&["invalid", "size"]),
        ),
        case("compile-locals", "A function of 49,000 numbers that are all needed to its end", vec![locals], hard),
        case(
            "compile-locals-many",
            "20,000 functions that declare 50,000 locals each",
            vec![declared(49_999); 20_000],
            hard,
        ),
        case(
            "compile-locals-over",
            "A function of more locals than there may be",
            vec![too_many_locals],
            Refused(&["invalid"]),
        ),
        case("compile-table", "A jump to one of 60,000 places", vec![table], hard),
    ]
}

fn empty() -> Function {
    let mut function = Function::new([]);
    function.instructions().end();
    function
}

/// A module of one function, up to its exports.
fn small() -> Module {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut module = Module::new();
    module.section(&types).section(&functions);
    module
}

fn one_body() -> CodeSection {
    let mut code = CodeSection::new();
    code.function(&empty());
    code
}
