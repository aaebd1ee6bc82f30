// Lists the segments of events with one id: the id and where its first event stands in the order.
// Twin of src/ops/group.rs, which says how its kernels work together.
// Cost per event: 8 bytes read; 8 written a segment.

struct GroupParams { ids: u32, shift: u32, first: u32, columns: u32 }

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: GroupParams;
@group(0) @binding(3) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> counts: array<u32>;
@group(0) @binding(5) var<storage, read_write> segments: array<u32>;

const HEAD_CHUNKS: u32 = 2u;
const GROUPED: u32 = 1u;
const LIST: u32 = 4u;
const SEGMENT: u32 = 2u;
const DIGITS: u32 = 256u;

// Which threads begin a segment: eight words of bits.
var<workgroup> masks: array<atomic<u32>, 8>;

@compute @workgroup_size(256)
fn group_segments(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) n: vec3<u32>,
    @builtin(local_invocation_id) lid: vec3<u32>,
) {
    let block = group_index(wid, n);
    if block >= head[HEAD_CHUNKS] {
        return;
    }
    let at = block * 256u + lid.x;
    let word = lid.x / 32u;
    let bit = 1u << (lid.x % 32u);
    var begins = false;
    if at < segments[GROUPED] {
        begins = at == 0u || pairs[max(at, 1u) - 1u].x != pairs[at].x;
    }
    if begins {
        atomicOr(&masks[word], bit);
    }
    workgroupBarrier();
    if !begins {
        return;
    }
    var segment = counts[DIGITS + block] + countOneBits(atomicLoad(&masks[word]) & (bit - 1u));
    for (var i = 0u; i < word; i++) {
        segment += countOneBits(atomicLoad(&masks[i]));
    }
    segments[LIST + SEGMENT * segment] = pairs[at].x;
    segments[LIST + SEGMENT * segment + 1u] = at;
}
