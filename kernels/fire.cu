// Closes a window: combines its slots key by key and hands the rows to the host.
//
// Twin of src/ops/fire.rs. Per id: 4 bytes of count of each slot, found through 4 of map for 64 ids; per row emitted
// the rest of its row in each slot, the destination's row and the emitted words written; per block with rows two
// additions. Neighbouring threads read neighbouring rows, so this is bound by the rows' bytes, or by the bus where the
// output lies in the host's memory.
#include "window.cuh"

namespace pelton::fire {

struct FireParams {
    uint32_t parts;
    uint32_t row_words;
    uint32_t out_words;
    uint32_t out_at;
    uint32_t lead;
    uint32_t key_words;
    uint32_t record_words;
    uint32_t extremes;
    uint32_t fixed;
    uint32_t squares;
    uint32_t exact;
    uint32_t first;
    uint32_t last;
    uint32_t first_block;
    uint32_t blocks;
    uint32_t first_id;
};

constexpr uint32_t FIRE_FIXED = 4;
constexpr uint32_t FIRE_ROWS = 1;

// One id: where its rows lie, where its emitted words go, and its row in the destination, if there is one.
struct Firing {
    Head head;
    const FireParams& p;
    ConstWords map;
    Words rows;
    Words out;
    uint32_t id, to, row;

    // Calls `f` with where each row begins that is combined: those in the slots named, and the destination's.
    template <class F> __device__ __forceinline__ void for_sources(F f) const {
        for (uint32_t i = 0; i < head[WALK_SLOTS]; i++) {
            const uint32_t from = row_at(head, walk_slot(i), p, map, id);
            if (from != NO_ROW) {
                f(from);
            }
        }
        if (row != NO_ROW) {
            f(row);
        }
    }

    // Writes two words of the combined row to the output and to the destination.
    __device__ __forceinline__ void put(uint32_t at, u64 words) const {
        out.two(to + at) = words;
        if (row != NO_ROW) {
            rows.two(row + at) = words;
        }
    }

    // Whether the id has a row in this page. All its rows lie in one page, or it has none.
    __device__ __forceinline__ bool is_here() const {
        bool here = false;
        for_sources([&](uint32_t) { here = true; });
        return here;
    }

    __device__ __forceinline__ uint32_t count() const {
        uint32_t count = 0;
        for_sources([&](uint32_t from) { count += rows[from + COUNT]; });
        return count;
    }

    __device__ __forceinline__ void counts() const {
        uint32_t count = 0, nan = 0, outside = 0;
        for_sources([&](uint32_t from) {
            count += rows[from + COUNT];
            nan += rows[from + NAN_COUNT];
            outside += rows[from + OUTSIDE];
        });
        put(COUNT, join(count, nan));
        out.two(to + OUTSIDE) = outside;
        if (row != NO_ROW) {
            rows.two(row + OUTSIDE) = join(outside, count);
        }
    }

    __device__ __forceinline__ void extremes() const {
        uint32_t low = 0, high = 0;
        for_sources([&](uint32_t from) {
            const u64 both = rows.two(from + p.extremes);
            low = max(low, low_of(both));
            high = max(high, high_of(both));
        });
        put(p.extremes, join(low, high));
    }

    __device__ __forceinline__ void sum64(uint32_t at) const {
        u64 sum = 0;
        for_sources([&](uint32_t from) { sum += rows.two(from + at); });
        put(at, sum);
    }

    __device__ __forceinline__ void squares() const {
        u64 low = 0, high = 0;
        for_sources([&](uint32_t from) {
            const u64 x = rows.two(from + p.squares);
            low += x;
            high += rows.two(from + p.squares + 2) + (low < x);
        });
        put(p.squares, low);
        put(p.squares + 2, high);
    }

    __device__ __forceinline__ void end(uint32_t at, bool last) const {
        uint32_t best = NO_ROW;
        for_sources([&](uint32_t from) {
            const uint32_t end = from + at;
            if (rows[end + END_LANE] == 0) {
                return;
            }
            if (best == NO_ROW ||
                (last ? end_comes_before(rows, best, end) : end_comes_before(rows, end, best))) {
                best = end;
            }
        });
        for (uint32_t i = 0; i < END; i += 2) {
            put(at + i, best != NO_ROW && i < END_ELECT ? rows.two(best + i) : 0);
        }
    }

    // Combines the rows part by part: what a part of the destination becomes is known before it is written.
    __device__ __forceinline__ void combine() const {
        // Rows are padded at their end; what is no padding is written again below.
        out.two(to + p.row_words - 2) = 0;
        counts();
        if ((p.parts & EXTREMES) != 0) {
            extremes();
        }
        if ((p.parts & FIXED) != 0) {
            sum64(p.fixed);
        }
        if ((p.parts & SQUARES) != 0) {
            squares();
        }
        if ((p.parts & EXACT) != 0) {
            for (uint32_t limb = 0; limb < LIMBS; limb++) {
                sum64(p.exact + 2 * limb);
            }
        }
        if ((p.parts & FIRST) != 0) {
            end(p.first, false);
        }
        if ((p.parts & LAST) != 0) {
            end(p.last, true);
        }
    }
};

static __device__ __forceinline__ void body(Block block, Head head, const FireParams& p, ConstWords records,
                                            ConstWords map, Words rows, Words emitted, Words out) {
    if (past_grid(head, block)) {
        return;
    }
    const uint32_t walked = block.index * THREADS + threadIdx.x;
    const uint32_t id = head[WALK_FROM] + walked;
    Firing firing{head, p, map, rows, out, id, 0, row_at(head, WALK_INTO, p, map, id)};
    const bool here = id < head[WALK_TO] && firing.is_here();
    // The number of the id's row, from 1 on; 0 when it is not emitted.
    uint32_t place = 0;
    if (p.lead != 0) {
        const bool emits = here && firing.count() != (firing.row != NO_ROW ? rows[firing.row + FIRED] : 0);
        uint32_t all;
        const uint32_t before = take_places(emits, out[FIRE_ROWS], all);
        place = emits ? before + 1 : 0;
        if (threadIdx.x == 0) {
            atomicAdd(&out[0], all * p.out_words + (block.index == 0 && p.first_block == 0 ? FIRE_FIXED : 0));
        }
        if (here) {
            emitted[walked] = place;
        }
    } else if (here) {
        place = emitted[walked];
    }
    if (place == 0) {
        return;
    }
    const uint32_t to = FIRE_FIXED + (place - 1) * p.out_words;
    if (p.lead != 0) {
        const uint32_t record = (id - p.first_id) * p.record_words;
        out[to] = p.key_words == 0 ? id : records[record];
        out[to + 1] = p.key_words == 2 ? records[record + 1] : 0;
    }
    firing.to = to + p.out_at;
    firing.combine();
}

extern "C" __global__ void __launch_bounds__(256)
    fire(Head head, FireParams p, ConstWords records, ConstWords map, Words rows, Words emitted, Words out) {
    body(this_block(), head, p, records, map, rows, emitted, out);
}

}  // namespace pelton::fire
