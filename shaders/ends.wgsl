// Lets the elected events replace what their rows hold. Twin of src/ops/ends.rs.
//
// Per event: 4 bytes of value, 4 of id, 8 of time, 4 for each row and end; the end read and written by one event a row.

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

fn load64(at: u32) -> vec2<u32> {
    return vec2<u32>(atomicLoad(&rows[at]), atomicLoad(&rows[at + 1u]));
}

fn store64(at: u32, x: vec2<u32>) {
    atomicStore(&rows[at], x.x);
    atomicStore(&rows[at + 1u], x.y);
}

// Whether an event at this place takes the end's place. `lane` is the lane + 1.
fn takes_end(end: u32, time: vec2<u32>, lane: u32, seq: vec2<u32>, last: bool) -> bool {
    let lane_there = atomicLoad(&rows[end + END_LANE]);
    if (lane_there == 0u) {
        return true;
    }
    let time_there = load64(end);
    if (any(time != time_there)) {
        return less64(time, time_there) != last;
    }
    if (lane != lane_there) {
        return (lane < lane_there) != last;
    }
    let seq_there = load64(end + 3u);
    return any(seq != seq_there) && less64(seq, seq_there) != last;
}

// Only the elected event touches an end, so nothing here races.
fn offer(end: u32, event: u32, time: vec2<u32>, chunk: Chunk, bits: u32, last: bool) {
    if (atomicLoad(&rows[end + END_ELECT]) != event + 1u) {
        return;
    }
    let lane = chunk.lane + 1u;
    let seq = sum64(chunk.seq, vec2<u32>(event - chunk.first, 0u));
    if (takes_end(end, time, lane, seq, last)) {
        store64(end, time);
        atomicStore(&rows[end + END_LANE], lane);
        store64(end + 3u, seq);
        atomicStore(&rows[end + END_VALUE], bits);
    }
    atomicStore(&rows[end + END_ELECT], 0u);
}

@compute @workgroup_size(256)
fn ends(
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
            offer(row + p.first, event, time, chunk, bits, false);
        }
        if ((p.parts & LAST) != 0u) {
            offer(row + p.last, event, time, chunk, bits, true);
        }
    }
}
