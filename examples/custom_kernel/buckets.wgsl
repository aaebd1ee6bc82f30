// Counts requests by endpoint and by the power of two that their latency lies in: the WGSL twin of kernel.rs.

struct BucketsParams { endpoints: u32, pad0: u32, pad1: u32, pad2: u32 }

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: BucketsParams;
@group(0) @binding(2) var<storage, read> events: array<u32>;
@group(0) @binding(3) var<storage, read_write> counts: array<atomic<u32>>;

@compute @workgroup_size(256)
fn buckets(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
           @builtin(local_invocation_index) thread: u32) {
    let i = group_index(wid, n) * 256u + thread;
    if i >= head[1] { return; }
    let endpoint = events[i * 4u + 2u];
    let bucket = 31u - countLeadingZeros(events[i * 4u + 3u] | 1u);
    // Events are hostile: a number that is no endpoint counts in a word of its own, behind all others.
    let known = endpoint < p.endpoints;
    atomicAdd(&counts[select(p.endpoints * 32u, endpoint * 32u + bucket, known)], 1u);
}
