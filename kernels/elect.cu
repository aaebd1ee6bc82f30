// Elects the batch's first and last event of each row.
//
// Twin of src/ops/ends.rs. Per event: its 16 bytes in one load, or 4 of value and 8 of time; 4 of id. A block elects
// one event for each of its rows and ends in shared memory; that one looks at the 4 bytes and the time of the event
// elected so far, and exchanges when it is better. So a hot key costs a block no more than any other, and rows that lie
// at random bound it: a sector of 32 bytes per block, row and end, and one of the other event.
#include "window.cuh"

namespace pelton::elect {

struct Election {
    const RowParams& p;
    Events events;
    Words rows;

    // Makes the event the elected one of this end unless a better one is. An exchange fails only when another one has
    // gone through, so nobody waits.
    __device__ __forceinline__ void elect_for(uint32_t end, uint32_t event, u64 time, bool last) const {
        uint32_t& elected = rows[end + END_ELECT];
        uint32_t there = now(elected);
        for (;;) {
            if (there != 0) {
                const u64 then = Event(events, there - 1, p.stride).two(p.time_word);
                // By time, then by index, which is by lane and sequence.
                const bool before = time < then || (time == then && event < there - 1);
                if (before == last) {
                    return;
                }
            }
            const uint32_t old = atomicCAS(&elected, there, event + 1);
            if (old == there) {
                return;
            }
            there = old;
        }
    }
};

// The same among the threads of a block, by their numbers: one is elected from the start.
static __device__ __forceinline__ void elect_thread(uint32_t& elected, const u64* times, bool last) {
    const uint32_t me = threadIdx.x;
    uint32_t there = now(elected);
    while (there != me && (times[me] < times[there] || (times[me] == times[there] && me < there)) != last) {
        const uint32_t old = atomicCAS(&elected, there, me);
        if (old == there) {
            return;
        }
        there = old;
    }
}

static __device__ __forceinline__ void body(Block block, Head head, const RowParams& p, Events events, ConstWords ids,
                                            ConstWords map, Words rows) {
    __shared__ Speakers speakers;
    __shared__ u64 times[THREADS];
    __shared__ uint32_t first[THREADS];
    __shared__ uint32_t last[THREADS];
    if (past_grid(head, block)) {
        return;
    }
    const Chunk chunk = chunk_of_block(head, block);
    const uint32_t index = chunk.first + threadIdx.x;
    const uint32_t id = threadIdx.x < chunk.events ? ids[index] : DROPPED;
    bool takes_part = id < ASIDE;
    u64 time = 0;
    if (takes_part) {
        const Event event(events, index, p.stride);
        takes_part = !value_is_nan(p.kind, value_bits(p.kind, event[p.value_word]));
        time = event.two(p.time_word);
    }
    times[threadIdx.x] = time;
    const Election election{p, events, rows};
    for (uint32_t i = 0; i < spans_each(chunk); i++) {
        uint32_t row = NO_ROW;
        if (takes_part) {
            row = row_at(head, slot_of(head, chunk, i, time), p, map, id);
        }
        begin_speakers(speakers, row);
        first[threadIdx.x] = last[threadIdx.x] = threadIdx.x;
        __syncthreads();
        const uint32_t speaker = row != NO_ROW ? speaker_for(speakers, row) : THREADS;
        if (row != NO_ROW) {
            elect_thread(first[speaker], times, false);
            elect_thread(last[speaker], times, true);
        }
        __syncthreads();
        if (speaker == threadIdx.x && (p.parts & FIRST) != 0) {
            election.elect_for(row + p.first, chunk.first + first[speaker], times[first[speaker]], false);
        }
        if (speaker == threadIdx.x && (p.parts & LAST) != 0) {
            election.elect_for(row + p.last, chunk.first + last[speaker], times[last[speaker]], true);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
    elect(Head head, RowParams p, Events events, ConstWords ids, ConstWords map, Words rows) {
    body(this_block(), head, p, events, ids, map, rows);
}

}  // namespace pelton::elect
