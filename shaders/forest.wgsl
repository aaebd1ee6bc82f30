// Scores each event by the past of its key, with forests. Twin of src/ops/forest.rs; what there is to say stands in
// scores.wgsl.

const FORESTS: bool = true;
const HALF_SPACES: bool = false;

@compute @workgroup_size(256)
fn forest(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    walk(wid, groups, k);
}
