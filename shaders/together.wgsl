// The walk of detectors whose events are too much for one thread: a workgroup takes a key. One thread looks at an
// event, all of them work out how far it stands out, which the detector's file does in `found_together`, and the one
// decides. Twin of kernels/together.cuh.

fn walk_together(wid: vec3<u32>, groups: vec3<u32>, k: u32) {
    let g = group_index(wid, groups);
    let rows = put_front(g == 0u && k == 0u);
    if (g >= head[GROUPS]) {
        return;
    }
    for (var segment = g; segment < segments[SEGMENTS]; segment += head[GROUPS]) {
        let state = state_of_segment(segment);
        if (state == NOWHERE) {
            continue;
        }
        let at = LIST + SEGMENT * segment + 1u;
        for (var i = segments[at]; i < segments[at + SEGMENT]; i += 1u) {
            let event = order[i] * p.stride;
            let row = rows + i * row_words();
            var observed: Observed;
            if (k == 0u) {
                observed = observe(state, event, row);
            }
            storageBarrier();
            workgroupBarrier();
            let found = found_together(own_state(state), row, k);
            storageBarrier();
            workgroupBarrier();
            if (k == 0u) {
                observed.apart.by = found;
                judge(state, event, row, observed);
            }
        }
    }
}
