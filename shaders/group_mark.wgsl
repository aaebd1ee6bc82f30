// Writes the order of events by id down and counts the segments that begin in each block of 256.
// Twin of src/ops/group.rs, which says how its kernels work together.
// Cost per event: 8 bytes read, 4 written.

struct GroupParams { ids: u32, shift: u32, first: u32, columns: u32 }

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: GroupParams;
@group(0) @binding(3) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> segments: array<u32>;
@group(0) @binding(5) var<storage, read_write> order: array<u32>;
@group(0) @binding(6) var<storage, read_write> counts: array<u32>;

const HEAD_CHUNKS: u32 = 2u;
const GROUPED: u32 = 1u;
const DIGITS: u32 = 256u;

var<workgroup> found: atomic<u32>;

@compute @workgroup_size(256)
fn group_mark(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) n: vec3<u32>,
    @builtin(local_invocation_id) lid: vec3<u32>,
) {
    let block = group_index(wid, n);
    if block >= head[HEAD_CHUNKS] {
        return;
    }
    let at = block * 256u + lid.x;
    if at < segments[GROUPED] {
        order[at] = pairs[at].y;
        if at == 0u || pairs[max(at, 1u) - 1u].x != pairs[at].x {
            atomicAdd(&found, 1u);
        }
    }
    workgroupBarrier();
    if lid.x == 0u {
        counts[DIGITS + block] = atomicLoad(&found);
    }
}
