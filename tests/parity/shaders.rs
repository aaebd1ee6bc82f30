//! Every WGSL twin against its kernel record: it parses, validates, binds what the record says, lays its
//! parameters out as Rust does, and can be written as MSL and HLSL.
//!
//! naga is what wgpu compiles with, so this runs without any device. Only `tint` checks that barriers stand
//! in uniform control flow; it is used where it is installed.

use crate::kernels;
use crate::kernels::bed::skip;
use naga::back::pipeline_constants::process_overrides;
use naga::proc::Layouter;
use naga::valid::ModuleInfo;
use naga::{AddressSpace, Module, ScalarKind, ShaderStage, StorageAccess, TypeInner};
use pelton::plan::{Access, Kernel, ParamField};
use std::process::{Command, Stdio};

/// Words of workgroup memory that every WebGPU device has.
const WORKGROUP_BYTES_MAX: u32 = 16_384;

/// Every kernel that has a WGSL twin.
fn all() -> Vec<&'static Kernel> {
    let mut all = [kernels::ALL, pelton::ops::KERNELS].concat();
    all.retain(|kernel| kernel.wgsl.contains("@compute"));
    all
}

#[test]
fn kernels_without_a_shader_are_listed() {
    for kernel in pelton::ops::KERNELS.iter().filter(|kernel| !kernel.wgsl.contains("@compute")) {
        skip(&format!("shader {}", kernel.name), "it has no WGSL twin yet");
    }
}

fn parse(kernel: &Kernel) -> (Module, ModuleInfo) {
    let source = kernel.shader();
    let module = naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|error| panic!("{}: {}", kernel.name, error.emit_to_string(&source)));
    let capabilities = naga::valid::Capabilities::SUBGROUP
        | naga::valid::Capabilities::SHADER_FLOAT16
        | naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    let info = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|error| panic!("{}: {}", kernel.name, error.emit_to_string(&source)));
    (module, info)
}

/// What devices compile: every kernel, one with constants for each of their values below so many.
const VALUES: u32 = 4;

fn compiled() -> Vec<(&'static Kernel, Module, ModuleInfo)> {
    let of_each = |kernel: &'static Kernel| {
        let (module, info) = parse(kernel);
        let names: Vec<&str> = kernel.constants().map(|field| field.name).collect();
        let values = if names.is_empty() { 0..1 } else { 0..VALUES };
        values.map(move |value| {
            let constants = names.iter().map(|name| (name.to_string(), f64::from(value)));
            let entry = Some((ShaderStage::Compute, kernel.name));
            let (module, info) = process_overrides(&module, &info, entry, &constants.collect())
                .unwrap_or_else(|error| panic!("{}, {value}: {error}", kernel.name));
            (kernel, module.into_owned(), info.into_owned())
        })
    };
    all().into_iter().flat_map(of_each).collect()
}

/// The fields of a parameter block as the shader lays them out: name, scalar, offset.
fn fields(module: &Module, ty: naga::Handle<naga::Type>) -> Vec<(String, String, usize)> {
    let TypeInner::Struct { members, .. } = &module.types[ty].inner else {
        panic!("a parameter block is a struct")
    };
    let field = |member: &naga::StructMember| {
        let TypeInner::Scalar(scalar) = module.types[member.ty].inner else {
            panic!("parameter blocks hold scalars only")
        };
        let kind = match scalar.kind {
            ScalarKind::Uint => 'u',
            ScalarKind::Sint => 'i',
            ScalarKind::Float => 'f',
            _ => panic!("parameter blocks hold numbers only"),
        };
        let name = member.name.clone().expect("fields have names");
        (name, format!("{kind}{}", u32::from(scalar.width) * 8), member.offset as usize)
    };
    members.iter().map(field).collect()
}

fn recorded(params: &[ParamField]) -> Vec<(String, String, usize)> {
    params.iter().map(|f| (f.name.to_string(), f.scalar.to_string(), f.offset)).collect()
}

/// Compares the bindings of a shader with those of the record.
fn check_bindings(kernel: &Kernel, module: &Module) {
    let name = kernel.name;
    let mut seen = Vec::new();
    for (_, variable) in module.global_variables.iter() {
        let Some(at) = &variable.binding else { continue };
        assert_eq!(at.group, 0, "{name}: everything is in group 0");
        let called = variable.name.as_deref().unwrap_or("");
        let writes = match variable.space {
            AddressSpace::Storage { access } => {
                assert!(access.contains(StorageAccess::LOAD), "{name}: {called} can be read");
                Some(access.contains(StorageAccess::STORE))
            }
            AddressSpace::Uniform => None,
            space => panic!("{name}: {called} is bound in {space:?}"),
        };
        match at.binding {
            0 => assert_eq!((called, writes), ("head", Some(false)), "{name}: binding 0"),
            1 => {
                assert_eq!(writes, None, "{name}: binding 1 is the parameter block");
                assert_eq!(fields(module, variable.ty), recorded(kernel.params), "{name}");
            }
            2 => {
                assert!(kernel.events, "{name}: reads events, the record says not");
                assert_eq!((called, writes), ("events", Some(false)), "{name}: binding 2");
            }
            n => {
                let bind = (kernel.binds.get(n as usize - 3))
                    .unwrap_or_else(|| panic!("{name}: binding {n} is not in the record"));
                let write = bind.access == Access::Write;
                assert_eq!((called, writes), (bind.name, Some(write)), "{name}: binding {n}");
            }
        }
        seen.push(at.binding);
    }
    for n in (3..).take(kernel.binds.len()) {
        assert!(seen.contains(&n), "{name}: binding {n} is in the record only");
    }
    assert!(kernel.params.is_empty() || seen.contains(&1), "{name}: no parameter block");
}

#[test]
fn shaders_are_what_their_records_say() {
    for (kernel, module, _) in compiled() {
        let name = kernel.name;
        assert_eq!(module.entry_points.len(), 1, "{name}: one entry point");
        let entry = &module.entry_points[0];
        assert_eq!((entry.name.as_str(), entry.stage), (name, ShaderStage::Compute));
        let size = entry.workgroup_size;
        assert!(matches!(size, [1..=256, 1, 1]), "{name}: workgroups of {size:?} threads");
        check_bindings(kernel, &module);
        // wgpu does not check this limit itself.
        let mut layouter = Layouter::default();
        layouter.update(module.to_ctx()).expect("a valid module has a layout");
        let shared = module.global_variables.iter().map(|(_, variable)| variable);
        let shared = shared.filter(|variable| variable.space == AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|variable| layouter[variable.ty].size).sum();
        assert!(bytes <= WORKGROUP_BYTES_MAX, "{name}: {bytes} bytes of workgroup memory");
    }
}

#[test]
fn overrides_are_parameters() {
    for kernel in all() {
        let (module, _) = parse(kernel);
        let open = module.overrides.iter().filter(|(_, constant)| constant.init.is_none());
        let open: Vec<&str> = open.filter_map(|(_, constant)| constant.name.as_deref()).collect();
        let constants: Vec<&str> = kernel.constants().map(|field| field.name).collect();
        assert_eq!(open, constants, "{}", kernel.name);
    }
    assert!(pelton::ops::gemm::GEMM.constants().map(|field| field.name).eq(["dtype"]));
}

#[test]
fn shaders_can_be_written_for_metal_and_direct3d() {
    for (kernel, module, info) in compiled() {
        let name = kernel.name;
        let options = naga::back::msl::Options {
            lang_version: (2, 4),
            fake_missing_bindings: true,
            ..Default::default()
        };
        let (text, _) =
            naga::back::msl::write_string(&module, &info, &options, &Default::default())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.contains("kernel void"), "{name}");
        let options = naga::back::hlsl::Options {
            shader_model: naga::back::hlsl::ShaderModel::V6_2,
            fake_missing_bindings: true,
            // The built-in number of workgroups comes in a buffer of its own, as wgpu gives it.
            special_constants_binding: Some(Default::default()),
            ..Default::default()
        };
        let mut text = String::new();
        let pipeline = naga::back::hlsl::PipelineOptions::default();
        naga::back::hlsl::Writer::new(&mut text, &options, &pipeline)
            .write(&module, &info, None)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let [threads, ..] = module.entry_points[0].workgroup_size;
        assert!(text.contains(&format!("numthreads({threads}, 1, 1)")), "{name}");
    }
}

/// The fields of the first parameter block that a CUDA source names, in order; it stands there or in a header.
fn cuda_fields(source: &str, headers: &str) -> Vec<(String, String)> {
    let mut words = source.split(|c: char| !c.is_alphanumeric());
    let Some(name) = words.find(|word| word.ends_with("Params")) else { return Vec::new() };
    let text = format!("{source}{headers}");
    let block = text.split_once(&format!("struct {name} {{")).map(|(_, rest)| rest);
    let body = block.and_then(|rest| rest.split_once('}')).map_or("", |(body, _)| body);
    let lines = body.lines().map(|line| line.split("//").next().unwrap_or(""));
    let text = lines.collect::<Vec<_>>().join(" ");
    let field = |declared: &str| {
        let (ty, name) = declared.trim().rsplit_once(char::is_whitespace)?;
        let scalar = match ty.trim() {
            "unsigned" | "unsigned int" | "uint32_t" | "u32" => "u32",
            "int" | "int32_t" | "i32" => "i32",
            "float" | "f32" => "f32",
            other => panic!("{other} is no scalar of a parameter block"),
        };
        Some((name.to_string(), scalar.to_string()))
    };
    text.split(';').filter_map(field).collect()
}

#[test]
fn cuda_parameter_blocks_are_what_their_records_say() {
    let read = |name: &str| {
        std::fs::read_to_string(format!("{}/kernels/{name}", env!("CARGO_MANIFEST_DIR")))
    };
    let headers = ["prelude.cuh", "window.cuh", "group.cuh", "scores.cuh", "gemm.cuh"];
    let headers = headers.map(|name| read(name).unwrap());
    for kernel in all() {
        let Ok(source) = read(&format!("{}.cu", kernel.name)) else { continue };
        let recorded: Vec<_> =
            kernel.params.iter().map(|f| (f.name.to_string(), f.scalar.to_string())).collect();
        assert_eq!(cuda_fields(&source, &headers.concat()), recorded, "{}", kernel.name);
    }
    let sample =
        "// x\nstruct XParams {\n  unsigned stride; // words\n  int a;\n  float scale;\n};";
    let fields = [("stride", "u32"), ("a", "i32"), ("scale", "f32")];
    assert_eq!(cuda_fields(sample, ""), fields.map(|(n, s)| (n.to_string(), s.to_string())));
}

#[test]
fn directives_come_before_the_prelude() {
    let kernel = Kernel {
        name: "half",
        params: &[],
        events: false,
        binds: &[],
        wgsl: "enable f16;\n@compute @workgroup_size(256) fn half() { _ = f16(1.0); }\n",
        cpu: |_| {},
    };
    assert!(kernel.shader().starts_with("enable f16;\n"));
    assert!(kernel.shader().contains("fn group_index"));
    parse(&kernel);
}

#[test]
fn tint_accepts_the_shaders() {
    let tint = |path: &std::path::Path| {
        let mut command = Command::new("tint");
        command.args(["--format", "wgsl"]).arg(path).stdout(Stdio::null()).output()
    };
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    for kernel in all() {
        let path = folder.join(format!("{}.wgsl", kernel.name));
        // naga refuses the directive that tint wants.
        let shader = kernel.shader();
        let enable = if shader.contains("subgroup") { "enable subgroups;\n" } else { "" };
        std::fs::write(&path, format!("{enable}{shader}"))
            .expect("the target folder can be written");
        match tint(&path) {
            Err(_) => return skip("tint_accepts_the_shaders", "tint is not installed"),
            Ok(out) => {
                let said = String::from_utf8_lossy(&out.stderr);
                assert!(out.status.success(), "{}: {said}", kernel.name);
            }
        }
    }
}
