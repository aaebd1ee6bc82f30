//! Kernels made for the tests of the seam: between them they use every kind of binding and grid.
//!
//! Each has a WGSL twin and a CPU twin, as a real one; what they compute is chosen to be exact and to show
//! a lost event, a stale header, a missing barrier or a result of another batch.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own share")]

pub mod bed;

use pelton::plan::{Access, Args, Bind, Kernel};

/// Words of an event of all these kernels.
pub const STRIDE: usize = 4;

/// Every test kernel.
pub const ALL: &[&Kernel] = &[&COUNT_BINS, &ECHO, &COPY_HEAD, &CHUNK_SUMS, &FOLD, &VISIT];

const fn reads(name: &'static str) -> Bind {
    Bind { name, access: Access::Read }
}

const fn writes(name: &'static str) -> Bind {
    Bind { name, access: Access::Write }
}

fn events<'a>(args: &Args<'a>, ranges: u32) -> impl Iterator<Item = &'a [u32]> + use<'a> {
    let events = args.events;
    (0..ranges as usize).flat_map(|range| events.range(range).chunks_exact(STRIDE))
}

// The header of all plans here: [groups, events, ranges, a tag].

pelton::params! {
    /// Of `count_bins`.
    BinsParams {
        /// Bins, a power of two.
        bins: u32,
        /// Bits to drop from a value first.
        shift: i32,
        /// Not used by integers.
        scale: f32,
        /// Fills the block up to 16 bytes.
        pad0: u32,
    }
}

/// A histogram by atomics, kept from batch to batch.
pub static COUNT_BINS: Kernel = Kernel {
    name: "count_bins",
    params: BinsParams::FIELDS,
    events: true,
    binds: &[writes("bins")],
    wgsl: "
struct BinsParams { bins: u32, shift: i32, scale: f32, pad0: u32 }
@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: BinsParams;
@group(0) @binding(2) var<storage, read> events: array<u32>;
@group(0) @binding(3) var<storage, read_write> bins: array<atomic<u32>>;
@compute @workgroup_size(256)
fn count_bins(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wid, n) * 256u + lane;
    if i >= head[1] { return; }
    let value = events[i * 4u + 1u] >> u32(p.shift);
    atomicAdd(&bins[value & (p.bins - 1u)], 1u);
}
",
    cpu: |args| {
        let p: BinsParams = args.params();
        let events = events(&args, args.head[2]);
        let [bins] = args.binds();
        for event in events {
            bins[((event[1] >> p.shift) & (p.bins - 1)) as usize] += 1;
        }
    },
};

/// Returns `[words used, header tag, first word of each event...]`.
pub static ECHO: Kernel = Kernel {
    name: "echo",
    params: &[],
    events: true,
    binds: &[writes("out")],
    wgsl: "
@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(2) var<storage, read> events: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(256)
fn echo(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wid, n) * 256u + lane;
    if i == 0u { out[0] += head[1] + 2u; out[1] = head[3]; }
    if i >= head[1] { return; }
    out[i + 2u] = events[i * 4u];
}
",
    cpu: |args| {
        let (n, tag) = (args.head[1], args.head[3]);
        if args.head[0] == 0 {
            return;
        }
        let events = events(&args, args.head[2]);
        let [out] = args.binds();
        out[0] += n + 2;
        out[1] = tag;
        for (to, event) in out[2..].iter_mut().zip(events) {
            *to = event[0];
        }
    },
};

/// Copies the header into a buffer.
pub static COPY_HEAD: Kernel = Kernel {
    name: "copy_head",
    params: &[],
    events: false,
    binds: &[writes("copy")],
    wgsl: "
@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(3) var<storage, read_write> copy: array<u32>;
@compute @workgroup_size(256)
fn copy_head(@builtin(local_invocation_index) lane: u32) {
    if lane < 4u { copy[lane] = head[lane]; }
}
",
    cpu: |args| {
        let head = args.head;
        let [copy] = args.binds();
        copy[..4].copy_from_slice(&head[..4]);
    },
};

/// Sums each chunk of 256 events, in workgroup memory.
pub static CHUNK_SUMS: Kernel = Kernel {
    name: "chunk_sums",
    params: &[],
    events: true,
    binds: &[writes("sums")],
    wgsl: "
@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(2) var<storage, read> events: array<u32>;
@group(0) @binding(3) var<storage, read_write> sums: array<u32>;
var<workgroup> part: array<u32, 256>;
@compute @workgroup_size(256)
fn chunk_sums(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let g = group_index(wid, n);
    let i = g * 256u + lane;
    part[lane] = select(0u, events[min(i, max(head[1], 1u) - 1u) * 4u + 2u], i < head[1]);
    workgroupBarrier();
    for (var half = 128u; half > 0u; half >>= 1u) {
        if lane < half { part[lane] += part[lane + half]; }
        workgroupBarrier();
    }
    if lane == 0u && g < head[0] { sums[g] = part[0]; }
}
",
    cpu: |args| {
        let groups = args.head[0] as usize;
        let events = events(&args, args.head[2]);
        let [sums] = args.binds();
        sums[..groups].fill(0);
        for (i, event) in events.enumerate() {
            sums[i / 256] = sums[i / 256].wrapping_add(event[2]);
        }
    },
};

/// Adds the chunks' sums to a running sum of two words; must see all that the step before it wrote.
pub static FOLD: Kernel = Kernel {
    name: "fold_sums",
    params: &[],
    events: false,
    binds: &[reads("sums"), writes("total")],
    wgsl: "
@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(3) var<storage, read> sums: array<u32>;
@group(0) @binding(4) var<storage, read_write> total: array<u32>;
@compute @workgroup_size(256)
fn fold_sums(@builtin(local_invocation_index) lane: u32) {
    if lane != 0u { return; }
    var low = total[0];
    var high = total[1];
    for (var g = 0u; g < head[0]; g++) {
        low += sums[g];
        if low < sums[g] { high += 1u; }
    }
    total[0] = low;
    total[1] = high;
    total[2] += 1u;
}
",
    cpu: |args| {
        let groups = args.head[0] as usize;
        let [sums, total] = args.binds();
        let mut sum = u64::from(total[0]) | u64::from(total[1]) << 32;
        for &part in &sums[..groups] {
            sum += u64::from(part);
        }
        total[0] = u32::try_from(sum & 0xFFFF_FFFF).expect("masked");
        total[1] = u32::try_from(sum >> 32).expect("32 bits");
        total[2] += 1;
    },
};

/// Counts each workgroup's visits.
pub static VISIT: Kernel = Kernel {
    name: "visit",
    params: &[],
    events: false,
    binds: &[writes("visits")],
    wgsl: "
@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(3) var<storage, read_write> visits: array<u32>;
@compute @workgroup_size(256)
fn visit(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let g = group_index(wid, n);
    if g >= head[0] || lane != 255u { return; }
    visits[g] += g + 1u;
}
",
    cpu: |args| {
        let groups = args.head[0];
        let [visits] = args.binds();
        for (g, visit) in (0..groups).zip(visits) {
            *visit += g + 1;
        }
    },
};
