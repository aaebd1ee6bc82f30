// Elects the batch's first and last event of each row. Twin of src/ops/ends.rs.
//
// Per event: 4 bytes of value, 4 of id, 8 of time; per row and end 4 bytes and the time of the event elected so far,
// and one exchange when that is worse.

struct RowParams {
    stride: u32,
    time_word: u32,
    value_word: u32,
    kind: u32,
    parts: u32,
    fraction: u32,
    row_words: u32,
    ends: u32,
    extremes: u32,
    fixed: u32,
    squares: u32,
    exact: u32,
    first: u32,
    last: u32,
    first_block: u32,
    blocks: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: RowParams;
@group(0) @binding(2) var<storage, read> events: array<u32>;
@group(0) @binding(3) var<storage, read> ids: array<u32>;
@group(0) @binding(4) var<storage, read> map: array<u32>;
@group(0) @binding(5) var<storage, read_write> rows: array<atomic<u32>>;

// Where the row of `id` begins, or NO_ROW when it is not in this page.
fn row_at(slot: u32, id: u32) -> u32 {
    let block = map[slot + id / BLOCK_IDS] - p.first_block;
    if (block >= p.blocks) {
        return NO_ROW;
    }
    return (block * BLOCK_IDS + id % BLOCK_IDS) * p.row_words;
}

// The time of an event, by its index in the batch.
fn time_of(event: u32) -> vec2<u32> {
    let at = event * p.stride + p.time_word;
    return vec2<u32>(events[at], events[at + 1u]);
}

// Whether event `a` comes before event `b`: by time, then by index, which is by lane and sequence.
fn comes_before(a: u32, time: vec2<u32>, b: u32) -> bool {
    let there = time_of(b);
    return less64(time, there) || (all(time == there) && a < b);
}

// Makes the event the elected one of this end unless a better one is. An exchange fails only when another one has
// gone through (or for no reason), so nobody waits.
fn elect_for(end: u32, event: u32, time: vec2<u32>, last: bool) {
    loop {
        let elected = atomicLoad(&rows[end + END_ELECT]);
        if (elected != 0u && comes_before(event, time, elected - 1u) == last) {
            break;
        }
        if (atomicCompareExchangeWeak(&rows[end + END_ELECT], elected, event + 1u).exchanged) {
            break;
        }
    }
}

@compute @workgroup_size(256)
fn elect(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    let g = group_index(wid, groups);
    let chunk = chunk_at(g);
    if (g >= head[GROUPS] || k >= chunk.events) {
        return;
    }
    let event = chunk.first + k;
    let id = ids[event];
    let bits = value_bits(p.kind, events[event * p.stride + p.value_word]);
    if (id >= ASIDE || value_is_nan(p.kind, bits)) {
        return;
    }
    let time = time_of(event);
    let spans = spans_of(chunk, time);
    for (var i = spans.x; i < spans.y; i += 1u) {
        let row = row_at(span_slot(chunk, i), id);
        if (row == NO_ROW) {
            continue;
        }
        if ((p.parts & FIRST) != 0u) {
            elect_for(row + p.first, event, time, false);
        }
        if ((p.parts & LAST) != 0u) {
            elect_for(row + p.last, event, time, true);
        }
    }
}
