//! Products at low precision on compute capability 9.0, over the stand-in: exact, without neighbours, in any order of
//! threads; and what is planted in descriptors, places, barriers and fences is found.

use super::cuda_host::device::{of_wgmma, open_wgmma};
use super::cuda_host::planted::{find, plant};
use super::cuda_host::{KERNELS, Plant};
use super::low::{halves_agree, multiplied, sums, sums_are_exact, tall_blocks_change_nothing};
use pelton::Device;
use pelton::model::Precision;
use pelton::ops::gemm::Activation;
use pelton::ops::low::{pack_halves, pack_int8};

/// Rows whose values are no numbers leave those beside them alone, also where a step is longer than the depth.
fn wild_rows_stay_alone(device: &Device) -> bool {
    let (rows, depth, columns) = (7, 32, 32);
    let a: Vec<f32> = (0..rows * depth)
        .map(|i| match i / depth {
            1 => f32::NAN,
            3 => f32::INFINITY,
            row => 1.0 + (row + i % 5) as f32,
        })
        .collect();
    [Precision::F16, Precision::Bf16, Precision::Int8].into_iter().all(|precision| {
        let panels = match precision {
            Precision::Int8 => pack_int8(&vec![1; columns * depth], columns, depth),
            _ => pack_halves(&vec![1.0; columns * depth], columns, depth, precision),
        };
        let run = |a: &[f32]| {
            multiplied(
                device,
                (a.len() / depth, depth, columns),
                (precision, Activation::None),
                a,
                panels.clone(),
            )
        };
        let all = run(&a);
        a.chunks(depth).zip(all.chunks(columns)).all(|(a, found)| {
            let wild = !a[0].is_finite();
            if wild { found.iter().all(|x| !x.is_finite()) } else { found == run(a) }
        })
    })
}

/// Steps that fill all slots and the first once more, rows and columns beyond whole tiles, small tiles and large.
fn is_right(device: &Device) -> bool {
    let sums = |device: &Device, shape| sums(device, shape, Activation::None);
    let exact = |shape| sums(device, shape) == sums(&Device::cpu(), shape);
    exact((70, 1088, 96)) && exact((1030, 64, 160)) && wild_rows_stay_alone(device)
}

#[test]
fn cuda_kernels_wgmma_sums_are_exact_in_any_order_of_threads() {
    for seed in [0, 1, 2] {
        let test = "cuda_kernels_wgmma_sums_are_exact_in_any_order_of_threads";
        let Some(gpu) = open_wgmma(test, seed) else { return };
        assert!(is_right(&gpu), "order {seed}");
        sums_are_exact(&gpu);
        halves_agree(&gpu, true);
        tall_blocks_change_nothing(&gpu);
    }
}

/// The other devices, too.
#[test]
fn the_processor_leaves_wild_rows_alone() {
    assert!(wild_rows_stay_alone(&Device::cpu()));
}

const PLANTS: &[(&str, Plant<'_>)] = &[
    (
        "another swizzle than the descriptor says",
        plant("kernels/wgmma.cuh", "(piece ^ row % 8)", "(piece ^ row % 4)"),
    ),
    (
        "a descriptor of rows that are closer",
        plant("kernels/wgmma.cuh", "u64(1024 / 16) << 32", "u64(512 / 16) << 32"),
    ),
    (
        "a missing fence: units for matrices do not see what threads wrote",
        plant(
            "kernels/gemm_wgmma.cu",
            "pieces.publish(room.full[slot])",
            "room.full[slot].arrive()",
        ),
    ),
    (
        "a slot that is given back before its products are made",
        plant("kernels/gemm_wgmma.cu", "[(turn - 1) % SLOTS].arrive()", "[turn % SLOTS].arrive()"),
    ),
    (
        "a slot that is taken before it is empty",
        plant("kernels/gemm_wgmma.cu", "wait(turn / SLOTS % 2 ^ 1)", "wait(1)"),
    ),
    (
        "barriers that are used before they are made",
        plant(
            "kernels/gemm_wgmma.cu",
            "    __syncthreads();\n    uint32_t turns = 0;",
            "    uint32_t turns = 0;",
        ),
    ),
    (
        "the second half of a large tile taken for the first's",
        plant("kernels/gemm_wgmma.cu", "+ i * 64 * PIECES", "+ i * 32 * PIECES"),
    ),
    (
        "sums of another layout",
        plant("kernels/gemm_wgmma.cu", "j % 4 / 2 * 8 * APART", "j % 2 * 8 * APART"),
    ),
    (
        "a last slot that is not given back to the next tile",
        plant(
            "kernels/gemm_wgmma.cu",
            "    room.empty[(turns + steps - 1) % SLOTS].arrive();\n",
            "",
        ),
    ),
    (
        "values of the next row behind the depth",
        plant("kernels/gemm_wgmma.cu", "k < t.p.depth ? t.a", "k < t.p.depth + 32 ? t.a"),
    ),
];

#[test]
fn cuda_kernels_wgmma_planted_mistakes_are_found() {
    let test = "cuda_kernels_wgmma_planted_mistakes_are_found";
    find(&KERNELS, of_wgmma, test, PLANTS, 0..6, |device, _| is_right(device));
}
