//! The CUDA kernels without a GPU: compiled for the host, they do what the processor does, whatever order their
//! threads take, and what is wrong with a kernel is found.

use crate::cuda_host::shim::{Arg, Launch, Shim};
use crate::cuda_host::{CHECKS, KERNELS, Library, SANITIZED, skip, under_sanitizer};
use half::{bf16, f16};
use pelton::base::rng::SplitMix;
use pelton::ops;
use std::collections::BTreeMap;
use std::path::Path;

/// A library of kernels, or a line in the list of what was not run.
fn open(library: &Library<'_>, test: &str) -> Option<Shim> {
    let shim = Shim::open(library);
    if shim.is_none() {
        skip(test, "no C++ compiler");
    }
    shim
}

#[test]
fn the_table_of_kernels_is_that_of_the_operators() {
    let test = "the_table_of_kernels_is_that_of_the_operators";
    let Some(shim) = open(&KERNELS, test) else { return };
    let of = |kernel: &&pelton::plan::Kernel| {
        let mut sizes = vec![16];
        if !kernel.params.is_empty() {
            sizes.push(u32::try_from(4 * kernel.params.len()).expect("small"));
        }
        sizes.extend(vec![16; usize::from(kernel.events) + kernel.binds.len()]);
        (kernel.name.to_owned(), sizes)
    };
    let listed = shim.kernels();
    let mut table: BTreeMap<String, Vec<u32>> = listed.iter().cloned().collect();
    assert_eq!(table.len(), listed.len(), "no kernel stands there twice");
    assert_eq!(table.get("gemm_wgmma"), table.get("gemm"), "launched in its place");
    for (name, sizes) in ops::KERNELS.iter().map(of) {
        assert_eq!(table.remove(&name), Some(sizes), "{name}");
    }
    let own: Vec<&str> = table.keys().map(String::as_str).collect();
    assert_eq!(own, ["finish", "gather", "gemm_wgmma", "resident"], "the device's own");
}

/// The text of a CUDA source, comments aside.
fn source(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// What stands between two texts.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(found, _)| found)
}

/// A kernel's arguments as its source declares them: type and name.
fn arguments(name: &str, text: &str) -> Vec<(String, String)> {
    let list = between(text, "extern \"C\" __global__ void __launch_bounds__(256", "{")
        .and_then(|entry| between(entry, &format!(" {name}("), ")"))
        .unwrap_or_else(|| panic!("{name}.cu: no entry point of its name"));
    let argument = |text: &str| {
        let mut words = text.split_whitespace().map(str::to_owned);
        let ty = words.next().expect("arguments have types");
        (ty, words.next().unwrap_or_default())
    };
    list.split(',').map(argument).collect()
}

/// The fields of a parameter block: type and name.
fn fields(block: &str, text: &str) -> Vec<(String, String)> {
    let body = between(text, &format!("struct {block} {{"), "}").unwrap_or_else(|| {
        panic!("no struct {block}");
    });
    let field = |line: &str| {
        let (ty, name) = line.trim().split_once(' ').expect("a type and a name");
        (ty.to_owned(), name.to_owned())
    };
    body.split(';').filter(|line| !line.trim().is_empty()).map(field).collect()
}

/// Where a struct is declared with others' or in the kernel's own file.
#[test]
fn sources_declare_what_their_records_say() {
    for kernel in ops::KERNELS {
        let own = format!("{}.cu", kernel.name);
        let text = ["group.cuh", "window.cuh", "scores.cuh", "gemm.cuh", &own].map(source).concat();
        let mut found = arguments(kernel.name, &text).into_iter();
        let mut expect = |ty: &str, name: &str| {
            let (found_ty, found_name) = found.next().unwrap_or_default();
            // An argument that a kernel makes no use of has no name.
            let named = found_name == name || found_name.is_empty();
            assert!(
                found_ty == ty && named,
                "{}: {found_ty} {found_name}, not {ty} {name}",
                kernel.name
            );
        };
        expect("Head", "head");
        if !kernel.params.is_empty() {
            let block = between(kernel.wgsl, "var<uniform> p: ", ";").expect("the shader has it");
            expect(block, "p");
            let rust = kernel.params.iter().map(|field| {
                let ty = match field.scalar {
                    "u32" => "uint32_t",
                    "i32" => "int32_t",
                    _ => "float",
                };
                (ty.to_owned(), field.name.to_owned())
            });
            assert_eq!(fields(block, &text), rust.collect::<Vec<_>>(), "{}: {block}", kernel.name);
        }
        if kernel.events {
            expect("Events", "events");
        }
        for bind in kernel.binds {
            let write = bind.access == pelton::plan::Access::Write;
            expect(if write { "Words" } else { "ConstWords" }, bind.name);
        }
        assert_eq!(found.next(), None, "{}: an argument too many", kernel.name);
    }
}

/// Threads of a block of the checks.
const BLOCK: usize = 64;

/// Runs a check over `words` zeroed words; what it left behind, or what the shim says.
fn check_on(
    shim: &Shim,
    name: &str,
    grid: u32,
    seed: u64,
    words: usize,
) -> Result<Vec<u32>, String> {
    let mut buffer = vec![0; words];
    let launch = Launch { block: 64, ..Launch::of(grid, seed) };
    shim.launch(name, launch, &mut [Arg::Write(&mut buffer)]).map(|()| buffer)
}

#[test]
fn mistakes_are_named() {
    let Some(shim) = open(&CHECKS, "mistakes_are_named") else { return };
    for seed in 0..10 {
        for (name, said) in [
            ("divergent_barrier", "barrier at checks.cu"),
            ("barriers_apart", "barrier at checks.cu"),
            ("barrier_after_leaving", "barrier at checks.cu"),
            ("lane_not_in_mask", "is not in the mask of"),
            ("lane_does_not_arrive", "wait forever"),
            ("lane_has_left", "checks.cu"),
            ("wrong_width", "width 12"),
            ("index_outside", "words 1024 to 1025 of a buffer of 1024"),
            ("pair_from_an_odd_word", "which no device loads or stores at once"),
            ("memory_not_there", "which is not there"),
            ("waits_forever", "waits for something that never comes"),
        ] {
            let why = check_on(&shim, name, 1, seed, 1024).expect_err(name);
            assert!(why.starts_with(name) && why.contains(said), "seed {seed}: {why}");
        }
    }
    // What failed leaves nothing behind.
    assert!(check_on(&shim, "shuffles", 2, 3, 11 * BLOCK).is_ok());
}

#[test]
fn launches_no_device_takes_are_refused() {
    let Some(shim) = open(&CHECKS, "launches_no_device_takes_are_refused") else { return };
    let good = Launch { block: 64, ..Launch::of(1, 0) };
    for (bad, said) in [
        (Launch { grid: 0, ..good }, "1 to 2^31 - 1 blocks"),
        (Launch { block: 0, ..good }, "1 to 1,024 threads"),
        (Launch { block: 1025, ..good }, "1 to 1,024 threads"),
        (Launch { shared_bytes: 16, ..good }, "dynamic shared memory"),
    ] {
        let why = shim.launch("order", bad, &mut [Arg::Write(&mut [0; 128])]).expect_err(said);
        assert!(why.contains(said), "{why}");
    }
}

#[test]
fn a_missing_barrier_shows_in_some_order() {
    let Some(shim) = open(&CHECKS, "a_missing_barrier_shows_in_some_order") else { return };
    let sum = |name, seed| {
        let mut words: Vec<u32> = (0..64).map(|i| i * i).collect();
        let launch = Launch { block: 64, ..Launch::of(1, seed) };
        shim.launch(name, launch, &mut [Arg::Write(&mut words)]).expect("nothing else is wrong");
        words[0]
    };
    let right: u32 = (0..64).map(|i| i * i).sum();
    assert!((0..10).all(|seed| sum("add_up", seed) == right));
    assert!((0..10).all(|seed| sum("add_up_without_barrier", seed) != right));
}

#[test]
fn orders_differ_by_seed_and_repeat_with_it() {
    let Some(shim) = open(&CHECKS, "orders_differ_by_seed_and_repeat_with_it") else { return };
    let order =
        |seed| check_on(&shim, "order", 4, seed, 260).expect("nothing is wrong")[1..257].to_vec();
    let by_number: Vec<u32> = (0..256).collect();
    assert_eq!(order(0), by_number);
    for seed in 1..10 {
        let found = order(seed);
        assert_eq!(found, order(seed));
        assert_ne!(found, order(seed + 1));
        let mut sorted = found.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, by_number, "every thread comes once");
        let blocks: Vec<u32> = found.chunks(BLOCK).map(|block| block[0] / 64).collect();
        assert!(found.chunks(BLOCK).zip(&blocks).all(|(b, n)| b.iter().all(|t| t / 64 == *n)));
    }
    // Others come first at atomics, so an update that is none is lost; but not in the order by number.
    let updates = |seed| check_on(&shim, "lost_update", 1, seed, 4).expect("nothing is named")[0];
    assert_eq!(updates(0), 64);
    assert!((1..10).all(|seed| updates(seed) < 64));
}

#[test]
fn shared_memory_holds_rubbish() {
    let Some(shim) = open(&CHECKS, "shared_memory_holds_rubbish") else { return };
    for seed in 0..10 {
        let found = check_on(&shim, "unset_shared", 8, seed, 8).expect("nothing is named");
        assert!(found.iter().all(|&count| count > 1000), "seed {seed}: {found:x?}");
    }
}

#[test]
fn shuffles_are_those_of_the_manual() {
    let Some(shim) = open(&CHECKS, "shuffles_are_those_of_the_manual") else { return };
    for seed in 0..10 {
        let found = check_on(&shim, "shuffles", 1, seed, 11 * BLOCK).expect("nothing is wrong");
        for (me, words) in found.chunks_exact(11).enumerate() {
            let (warp, lane) = (me & !31, me & 31);
            let x = |lane: usize| u32::try_from(1000 + warp + lane).expect("small");
            let expected = [
                x(5),
                x((lane & !7) + 5),
                x(if lane >= 3 { lane - 3 } else { lane }),
                x(if lane % 16 >= 3 { lane - 3 } else { lane }),
                x(if lane < 29 { lane + 3 } else { lane }),
                x(if lane % 4 < 1 { lane + 3 } else { lane }),
                x(lane ^ 16),
                // Earlier groups of lanes can be read, later ones not.
                x(if lane >= 16 { lane ^ 16 } else { lane }),
                x(lane ^ 1) - 1000,
                if lane < 16 { x(15) } else { 0 },
                x(if lane < 31 { lane + 1 } else { lane }) - 1000,
            ];
            assert_eq!(words, expected, "seed {seed}, thread {me}");
        }
    }
}

#[test]
fn votes_are_those_of_the_manual() {
    let Some(shim) = open(&CHECKS, "votes_are_those_of_the_manual") else { return };
    let lanes = |of: &dyn Fn(u32) -> bool| (0..32).map(|lane| u32::from(of(lane)) << lane).sum();
    for seed in 0..10 {
        let found = check_on(&shim, "votes", 1, seed, 8 * BLOCK).expect("nothing is wrong");
        for (words, me) in found.chunks_exact(8).zip(0u32..) {
            let warp = me & !31;
            let thirds: u32 = lanes(&|lane| (warp + lane) % 3 == 0);
            let same: u32 = lanes(&|lane| (warp + lane) % 5 == me % 5);
            let (any, all) = (u32::from(warp == 32), u32::from(warp == 0));
            let expected = [thirds, any, all, same, 32 * warp + 496, warp + 31, warp, 16];
            assert_eq!(words, expected, "seed {seed}, thread {me}");
        }
    }
}

#[test]
fn halves_are_those_of_the_standard() {
    let Some(shim) = open(&CHECKS, "halves_are_those_of_the_standard") else { return };
    let rng = &mut SplitMix::new(4);
    for round in 0..20 {
        // Any bits at all, then those of halves, and floats just beside them and halfway between two.
        let near = |i: u32, low: u32| match round {
            0..10 => low,
            10 => f16::from_bits(u16::try_from(i).expect("16 bits")).to_f32().to_bits(),
            11..16 => (f16::from_bits(u16::try_from(i).expect("16 bits")).to_f32().to_bits())
                .wrapping_add(0xFFF + (round - 11)),
            _ => (i << 16).wrapping_add(0x7FFE + (round - 16)),
        };
        let low = |word: u64| u32::try_from(word & 0xFFFF_FFFF).expect("masked");
        let floats: Vec<u32> = (0..1 << 16).map(|i| near(i, low(rng.next_u64()))).collect();
        let mut words: Vec<u32> = floats.iter().flat_map(|&bits| [bits, 0, 0, 0]).collect();
        let launch = Launch { block: 64, ..Launch::of(1024, 1) };
        shim.launch("halves", launch, &mut [Arg::Write(&mut words)]).expect("nothing is wrong");
        for ((found, bits), i) in words.as_chunks::<4>().0.iter().zip(floats).zip(0..=u16::MAX) {
            let x = f32::from_bits(bits);
            let (half, brain) = (f16::from_f32(x).to_bits(), bf16::from_f32(x).to_bits());
            let wide = [f16::from_bits(i).to_f32(), bf16::from_bits(i).to_f32()];
            if !x.is_nan() {
                assert_eq!(found[..2], [u32::from(half), u32::from(brain)], "{x} {bits:x}");
            }
            for (found, wide) in found[2..].iter().zip(wide) {
                let same =
                    *found == wide.to_bits() || wide.is_nan() && f32::from_bits(*found).is_nan();
                assert!(same, "{i:x}: {found:x}, not {:x}", wide.to_bits());
            }
        }
    }
}

/// On stacks that `ucontext` changes, orders are the same.
#[test]
fn other_processors_have_the_same_orders() {
    let test = "other_processors_have_the_same_orders";
    let portable = Library { flags: &["-DCUDA_HOST_PORTABLE"], ..CHECKS };
    let (Some(here), Some(there)) = (open(&CHECKS, test), open(&portable, test)) else { return };
    for seed in 0..3 {
        for (name, words) in [("order", 260), ("shuffles", 2048), ("votes", 2048), ("deep", 256)] {
            assert_eq!(
                check_on(&here, name, 2, seed, words),
                check_on(&there, name, 2, seed, words)
            );
        }
        assert!(check_on(&there, "barriers_apart", 1, seed, 64).is_err());
    }
}

#[test]
fn atomics_lose_nothing_beside_other_launches() {
    let Some(shim) = open(&CHECKS, "atomics_lose_nothing_beside_other_launches") else { return };
    let run = |seed| {
        for _ in 0..20 {
            let found = check_on(&shim, "atomics", 8, seed, 12).expect("nothing is wrong");
            assert_eq!(found[0], (0..512).sum::<u32>());
            assert_eq!([found[2], found[3]], [0, 256], "512 times half of 2^32");
            assert_eq!(found[4..7], [511, 0, u32::MAX]);
            assert!((1..=512).contains(&found[7]) && found[8] == 1);
            assert_eq!(f32::from_bits(found[9]), 256.0);
        }
    };
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || run(seed));
        }
    });
    assert!(check_on(&shim, "deep", 1, 1, BLOCK).is_ok());
}

/// Does nothing but in the child that `an_index_outside_shared_memory_is_found` starts.
#[test]
fn a_check_under_the_sanitizer() {
    let Ok(check) = std::env::var(SANITIZED) else { return };
    let shim = open(&CHECKS, "a_check_under_the_sanitizer").expect("the parent has a compiler");
    for seed in 0..10 {
        let found = check_on(&shim, &check, 2, seed, 1024);
        // Errors that abandon threads must not confuse the sanitizer either.
        assert!(check_on(&shim, "barriers_apart", 1, seed, 1024).is_err());
        found.expect("the shim has nothing against it");
    }
}

/// A launch of `grid` blocks that are there at the same time, over zeroed words.
fn together(shim: &Shim, name: &str, grid: u32, seed: u64) -> Result<Vec<u32>, String> {
    let mut words = vec![0; 64];
    let launch = Launch { block: 64, cooperative: 1, ..Launch::of(grid, seed) };
    shim.launch(name, launch, &mut [Arg::Write(&mut words)]).map(|()| words)
}

#[test]
fn blocks_of_a_cooperative_launch_meet() {
    let Some(shim) = open(&CHECKS, "blocks_of_a_cooperative_launch_meet") else { return };
    for seed in 0..20 {
        let found = together(&shim, "all_see_all", 5, seed).expect("nothing is wrong");
        let first = (0..5).map(|block| 1000 * 100 * block + 15);
        let second = (0..5).map(|block| 1000 * (100 * block + 1) + 30);
        assert_eq!(found[9..19], first.chain(second).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(together(&shim, "looks_for_the_last", 4, seed).expect("it ends")[1], 7);
    }
    let apart = |seed| {
        let found = together(&shim, "all_see_all_without_barrier", 5, seed).expect("it ends");
        found[9..14] != [15; 5]
    };
    assert!((0..20).all(apart), "blocks that do not wait see less");
}

#[test]
fn mistakes_between_blocks_are_named() {
    let Some(shim) = open(&CHECKS, "mistakes_between_blocks_are_named") else { return };
    for seed in 0..10 {
        for (name, said) in
            [("grid_barrier_not_reached", "left"), ("grid_barriers_apart", "waits for barrier")]
        {
            let why = together(&shim, name, 3, seed).expect_err("it is wrong");
            assert!(why.contains(name) && why.contains(said), "seed {seed}: {why}");
        }
        let why = check_on(&shim, "all_see_all", 2, seed, 64).expect_err("blocks take turns");
        assert!(why.contains("not launched cooperatively"), "{why}");
    }
}

#[test]
fn an_index_outside_shared_memory_is_found() {
    let test = "an_index_outside_shared_memory_is_found";
    let run = |check| under_sanitizer("cuda_kernels::a_check_under_the_sanitizer", check);
    let Some((good, said)) = run("add_up") else { return skip(test, "no AddressSanitizer") };
    assert!(good, "{said}");
    let (good, said) = run("index_outside_shared").expect("the sanitizer is there");
    assert!(!good && said.contains("global-buffer-overflow"), "{said}");
    assert!(said.contains("checks.cu") && said.contains("index_outside_shared"), "{said}");
}
