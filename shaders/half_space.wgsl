// Scores each event by the past of its key, with half-space trees. Twin of src/ops/half_space.rs; what there is to say
// stands in scores.wgsl and mass.wgsl.

const FORESTS: bool = false;
const HALF_SPACES: bool = true;

@compute @workgroup_size(256)
fn half_space(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    walk(wid, groups, k);
}
