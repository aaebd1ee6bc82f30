// Scores each event by the past of its key, by distances alone. Twin of src/ops/score.rs and detector.rs; what there is
// to say stands in scores.wgsl.

fn missing_value(own: u32, i: u32) {
}

fn value_of(own: u32, i: u32, at: u32, x: f32, moment: Moment, found: ptr<function, Distance>) -> Apart {
    return Apart((*found).z2, 0.0, (*found).z2);
}

fn level_of(own: u32, far: Distance, apart: Apart, seen: u32, row: u32) -> Level {
    return Level(seen > 8u, seen - min(seen, 9u), own_ln(1.0 + mul(far.z2, 0.2)), 0.0);
}

@compute @workgroup_size(256)
fn score(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    walk(wid, groups, k);
}
