// Scores each event by the past of its key, without forests or half-space trees. Twin of src/ops/score.rs; what there
// is to say stands in scores.wgsl.

const FORESTS: bool = false;
const HALF_SPACES: bool = false;

@compute @workgroup_size(256)
fn score(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    walk(wid, groups, k);
}
