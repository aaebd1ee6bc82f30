// Moves each element of a block of 256 to its place by one digit, behind those before it with the same digit.
// Twin of src/ops/group.rs, which says how its kernels work together.
// Cost per event: 4 bytes of id, 8 after the first pass; 8 of counts read; 8 written.

struct GroupParams { ids: u32, shift: u32, first: u32, columns: u32 }

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: GroupParams;
@group(0) @binding(3) var<storage, read> ids: array<u32>;
@group(0) @binding(4) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read> counts: array<u32>;
@group(0) @binding(6) var<storage, read_write> segments: array<u32>;
@group(0) @binding(7) var<storage, read_write> sorted: array<vec2<u32>>;

const HEAD_CHUNKS: u32 = 2u;
const HEAD_FIXED: u32 = 16u;
const CHUNK: u32 = 12u;
const DROPPED: u32 = 0xffffffffu;
const GROUPED: u32 = 1u;
const DIGITS: u32 = 256u;

// For each digit, which threads have it: eight words of bits.
var<workgroup> masks: array<atomic<u32>, 2048>;
// For each digit, how many elements of the batch have it or a smaller one.
var<workgroup> sums: array<u32, 256>;

// The id and index of an element of this block; the id is DROPPED when there is none.
fn element(block: u32, thread: u32) -> vec2<u32> {
    if p.first == 0u {
        let at = block * 256u + thread;
        return select(vec2<u32>(DROPPED, 0u), pairs[at], at < segments[GROUPED]);
    }
    let chunk = HEAD_FIXED + block * CHUNK;
    let index = head[chunk] + thread;
    let id = ids[index];
    return vec2<u32>(select(DROPPED, id, thread < head[chunk + 1u] && id < p.ids), index);
}

@compute @workgroup_size(256)
fn group_scatter(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) n: vec3<u32>,
    @builtin(local_invocation_id) lid: vec3<u32>,
) {
    let block = group_index(wid, n);
    let blocks = head[HEAD_CHUNKS];
    if block >= blocks {
        return;
    }
    let mine = element(block, lid.x);
    let digit = (mine.x >> p.shift) % DIGITS;
    let word = lid.x / 32u;
    let bit = 1u << (lid.x % 32u);
    if mine.x != DROPPED {
        atomicOr(&masks[digit * 8u + word], bit);
    }
    sums[lid.x] = counts[lid.x];
    workgroupBarrier();
    for (var step = 1u; step < 256u; step *= 2u) {
        var more = 0u;
        if lid.x >= step {
            more = sums[lid.x - step];
        }
        workgroupBarrier();
        sums[lid.x] += more;
        workgroupBarrier();
    }
    if p.first != 0u && block == 0u && lid.x == 0u {
        segments[GROUPED] = sums[255];
    }
    if mine.x == DROPPED {
        return;
    }
    var at = sums[digit] - counts[digit] + counts[DIGITS + digit * blocks + block];
    for (var i = 0u; i < word; i++) {
        at += countOneBits(atomicLoad(&masks[digit * 8u + i]));
    }
    at += countOneBits(atomicLoad(&masks[digit * 8u + word]) & (bit - 1u));
    sorted[at] = mine;
}
