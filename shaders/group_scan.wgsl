// Makes of each block's count the sum of those before it, one column of counts a workgroup, and notes the
// sum of all.
// Twin of src/ops/group.rs, which says how its kernels work together.
// Cost per block and column: 4 bytes read and written.

struct GroupParams { ids: u32, shift: u32, first: u32, columns: u32 }

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: GroupParams;
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;
@group(0) @binding(4) var<storage, read_write> segments: array<u32>;

const HEAD_CHUNKS: u32 = 2u;
const DROPPED: u32 = 0xffffffffu;
const DIGITS: u32 = 256u;
const SEGMENTS: u32 = 0u;
const GROUPED: u32 = 1u;
const LIST: u32 = 4u;
const SEGMENT: u32 = 2u;

var<workgroup> sums: array<u32, 256>;

@compute @workgroup_size(256)
fn group_scan(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) n: vec3<u32>,
    @builtin(local_invocation_id) lid: vec3<u32>,
) {
    let column = group_index(wid, n);
    if column >= p.columns {
        return;
    }
    let blocks = head[HEAD_CHUNKS];
    var before = 0u;
    for (var tile = 0u; tile < blocks; tile += 256u) {
        let block = tile + lid.x;
        let at = DIGITS + column * blocks + block;
        var count = 0u;
        if block < blocks {
            count = counts[at];
        }
        sums[lid.x] = count;
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
        if block < blocks {
            counts[at] = before + sums[lid.x] - count;
        }
        before += sums[255];
        workgroupBarrier();
    }
    if lid.x != 0u {
        return;
    }
    counts[column] = before;
    if p.columns == 1u {
        if blocks == 0u {
            segments[GROUPED] = 0u;
        }
        segments[SEGMENTS] = before;
        segments[LIST + SEGMENT * before] = DROPPED;
        segments[LIST + SEGMENT * before + 1u] = segments[GROUPED];
    }
}
