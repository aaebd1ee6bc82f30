//! The window kernels, judged twice: the CPU twins by a naive spec, every other device by the CPU twins.
//!
//! Random scripts of batches, merges, fires, clears, growth and expiry run through plans made by hand. Ids, row order
//! and slots of the key table may differ between devices; nothing else may.

mod kernels;
mod windows;

use kernels::bed::software;
use pelton::device::Device;
use windows::{Script, Seen, combinations, run, spec};

/// The scripts: each combination of parts, with several seeds.
fn scripts(rounds: u64) -> impl Iterator<Item = Script> {
    let combinations = combinations();
    (0..rounds).flat_map(move |round| {
        let of = move |(i, &parts): (usize, &u32)| Script::new(round * 1000 + i as u64, parts);
        combinations.iter().enumerate().map(of).collect::<Vec<_>>()
    })
}

/// Fails at the first thing that differs.
fn same(what: &str, script: &Script, left: &[Seen], right: &[Seen]) {
    assert_eq!(left.len(), right.len());
    for (i, (l, r)) in left.iter().zip(right).enumerate() {
        if l == r {
            continue;
        }
        let first = |l: &dyn std::fmt::Debug, r: &dyn std::fmt::Debug| {
            panic!("{what}, seed {}, {:?}, sight {i}:\n{l:x?}\n{r:x?}", script.seed, script.shape)
        };
        match (l, r) {
            (Seen::Fired(l), Seen::Fired(r)) if l.len() == r.len() => {
                let (l, r) = l.iter().zip(r).find(|(l, r)| l != r).unwrap();
                first(&l, &r);
            }
            (Seen::State(l, ..), Seen::State(r, ..)) if l.len() == r.len() && l != r => {
                let (l, r) = l.iter().zip(r).find(|(l, r)| l != r).unwrap();
                first(&l, &r);
            }
            _ => first(l, r),
        }
    }
}

#[test]
fn the_processor_does_what_the_spec_says() {
    let cpu = Device::cpu();
    for script in scripts(4) {
        let there = run::trace(&cpu, &script).expect("the processor is always there");
        let there = spec::without_exact(&script.shape, there);
        same("cpu and spec", &script, &there, &spec::trace(&script));
    }
}

#[test]
fn an_adapter_does_what_the_processor_does() {
    let Some(gpu) = software("parity_kernels") else { return };
    let cpu = Device::cpu();
    for script in scripts(2) {
        let here = run::trace(&cpu, &script).expect("the processor is always there");
        let there = run::trace(&gpu, &script).expect("the adapter works");
        same("adapter and cpu", &script, &there, &here);
    }
}
