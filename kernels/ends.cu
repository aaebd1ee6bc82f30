// Lets the elected events replace what their rows hold.
//
// Twin of src/ops/ends.rs. Per event: its 16 bytes in one load, or 4 of value and 8 of time; 4 of id, 4 for each row
// and end; the end's 32 bytes read and written by one event a row; no atomic. Rows lie at random, so this is bound by
// a sector of 32 bytes per event and end, from the second cache for hot keys.
#include "window.cuh"

namespace pelton::ends {

// Where an event stands among others: by time, then lane + 1, then sequence.
struct Place {
    u64 time;
    uint32_t lane;
    u64 seq;
};

// Whether an event at this place takes the end's place.
static __device__ __forceinline__ bool takes_end(Words rows, uint32_t end, const Place& place, bool last) {
    const uint32_t lane_there = rows[end + END_LANE];
    if (lane_there == 0) {
        return true;
    }
    const u64 time_there = rows.two(end);
    if (place.time != time_there) {
        return (place.time < time_there) != last;
    }
    if (place.lane != lane_there) {
        return (place.lane < lane_there) != last;
    }
    const u64 seq_there = end_seq(rows, end);
    return place.seq != seq_there && (place.seq < seq_there) != last;
}

// Only the elected event touches an end, so nothing here races.
static __device__ __forceinline__ void offer(Words rows, uint32_t end, uint32_t event, const Place& place,
                                             uint32_t bits, bool last) {
    if (now(rows[end + END_ELECT]) != event + 1) {
        return;
    }
    if (takes_end(rows, end, place, last)) {
        rows.two(end) = place.time;
        rows[end + END_LANE] = place.lane;
        rows[end + END_SEQ] = low_of(place.seq);
        rows[end + END_SEQ + 1] = high_of(place.seq);
        rows[end + END_VALUE] = bits;
    }
    rows[end + END_ELECT] = 0;
}

static __device__ __forceinline__ void body(Block block, Head head, const RowParams& p, Events events, ConstWords ids,
                                            ConstWords map, Words rows) {
    if (past_grid(head, block)) {
        return;
    }
    const Chunk chunk = chunk_of_block(head, block);
    const uint32_t index = chunk.first + threadIdx.x;
    const uint32_t id = threadIdx.x < chunk.events ? ids[index] : DROPPED;
    if (id >= ASIDE) {
        return;
    }
    const Event event(events, index, p.stride);
    const uint32_t bits = value_bits(p.kind, event[p.value_word]);
    if (value_is_nan(p.kind, bits)) {
        return;
    }
    const Place place{event.two(p.time_word), chunk.lane + 1, chunk.seq + threadIdx.x};
    for (uint32_t i = 0; i < spans_each(chunk); i++) {
        const uint32_t row = row_at(head, slot_of(head, chunk, i, place.time), p, map, id);
        if (row == NO_ROW) {
            continue;
        }
        if ((p.parts & FIRST) != 0) {
            offer(rows, row + p.first, index, place, bits, false);
        }
        if ((p.parts & LAST) != 0) {
            offer(rows, row + p.last, index, place, bits, true);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
    ends(Head head, RowParams p, Events events, ConstWords ids, ConstWords map, Words rows) {
    body(this_block(), head, p, events, ids, map, rows);
}

}  // namespace pelton::ends
