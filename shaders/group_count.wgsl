// Counts the digits of each block of 256 elements, for a stable radix sort of events by id.
// Twin of src/ops/group.rs, which says how its kernels work together.
// Cost per event: 4 bytes of id, 8 after the first pass; 4 bytes of counts written.

struct GroupParams { ids: u32, shift: u32, first: u32, columns: u32 }

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: GroupParams;
@group(0) @binding(3) var<storage, read> ids: array<u32>;
@group(0) @binding(4) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read> segments: array<u32>;
@group(0) @binding(6) var<storage, read_write> counts: array<u32>;

const HEAD_CHUNKS: u32 = 2u;
const HEAD_FIXED: u32 = 16u;
const CHUNK: u32 = 12u;
const DROPPED: u32 = 0xffffffffu;
const GROUPED: u32 = 1u;
const DIGITS: u32 = 256u;

var<workgroup> found: array<atomic<u32>, 256>;

// The id of an element of this block; DROPPED when there is none.
fn element(block: u32, thread: u32) -> u32 {
    if p.first == 0u {
        let at = block * 256u + thread;
        return select(DROPPED, pairs[at].x, at < segments[GROUPED]);
    }
    let chunk = HEAD_FIXED + block * CHUNK;
    let id = ids[head[chunk] + thread];
    return select(DROPPED, id, thread < head[chunk + 1u] && id < p.ids);
}

@compute @workgroup_size(256)
fn group_count(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) n: vec3<u32>,
    @builtin(local_invocation_id) lid: vec3<u32>,
) {
    let block = group_index(wid, n);
    let blocks = head[HEAD_CHUNKS];
    if block >= blocks {
        return;
    }
    let id = element(block, lid.x);
    if id != DROPPED {
        atomicAdd(&found[(id >> p.shift) % DIGITS], 1u);
    }
    workgroupBarrier();
    counts[DIGITS + lid.x * blocks + block] = atomicLoad(&found[lid.x]);
}
