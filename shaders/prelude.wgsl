// Put in front of every kernel. What a kernel may count on, and nothing an operator knows.
//
// Bindings of every kernel, group 0, declared by the kernel itself:
//   0   var<storage, read> head: array<u32>      the batch's header
//   1   var<uniform> p: <Name>Params             the parameter block, when it has one
//   2   var<storage, read> events: array<u32>    the batch's events, range after range, when it reads them
//   3.. the buffers of the kernel record, in its order
// All workgroups are of 256 threads, one dimension.

// The number of this workgroup. Devices fold a grid of more than 65,535 groups into rows of that many, so
// the last row may run over: a kernel leaves when this is not less than the number of groups it was asked
// for.
fn group_index(wid: vec3<u32>, n: vec3<u32>) -> u32 {
    return wid.y * n.x + wid.x;
}

// 64-bit numbers are two words, the low one first.
fn less64(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn sum64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}
