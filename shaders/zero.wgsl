// Zeroes a buffer. Twin of src/ops/merge.rs.
//
// Per thread: 16 bytes written. Threads of a group write consecutive words.

struct ZeroParams {
    words: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: ZeroParams;
@group(0) @binding(3) var<storage, read_write> words: array<u32>;

@compute @workgroup_size(256)
fn zero(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    let at = group_index(wid, groups) * 1024u + k;
    for (var i = 0u; i < 4u; i += 1u) {
        let word = at + i * 256u;
        if (word < p.words) {
            words[word] = 0u;
        }
    }
}
