// Forgets keys that have not been seen for their time to live.
//
// Twin of src/ops/expire.rs. Per id: 4 bytes of generation out of a record of 8 or 16; when that is old, 4 of map and 4
// of count for each live slot, a sector each of rows; per key forgotten 8 written, and per block of threads with such
// keys one addition. Bound by the records' bytes while few keys are old.
#include "window.cuh"

namespace pelton::expire {

struct ExpireParams {
    uint32_t record_words;
    uint32_t seen_word;
    uint32_t row_words;
    uint32_t first_block;
    uint32_t blocks;
    uint32_t first_id;
    uint32_t pad0;
    uint32_t pad1;
};

constexpr uint32_t EXPIRE_BEFORE = 3;
constexpr uint32_t EXPIRE_SLOTS = 5;
constexpr uint32_t EXPIRE_SLOT = 6;

// Whether this page's step forgets an id that was last seen in an old generation: no live slot holds a row of it. All
// its blocks lie in one page; the first page also decides about ids that have none.
static __device__ __forceinline__ bool forgets(Head head, const ExpireParams& p, ConstWords map, ConstWords rows,
                                               uint32_t id, uint32_t generation) {
    bool ours = p.first_block == 0;
    for (uint32_t i = 0; i < head[EXPIRE_SLOTS]; i++) {
        const uint32_t block = block_of(head, EXPIRE_SLOT + 2 * i, map, id);
        if (block == NO_BLOCK) {
            continue;
        }
        const uint32_t row = row_in(p, block, id);
        if (row == NO_ROW || (generation != 0 && rows[row + COUNT] != 0)) {
            return false;
        }
        ours = true;
    }
    return ours;
}

static __device__ __forceinline__ void body(Head head, const ExpireParams& p, Words records, Words counts,
                                            ConstWords map, ConstWords rows) {
    if (past_grid(head)) {
        return;
    }
    const uint32_t id = head[WALK_FROM] + blockIdx.x * THREADS + threadIdx.x;
    const uint32_t seen = (id - p.first_id) * p.record_words + p.seen_word;
    bool forget = false;
    if (id < head[WALK_TO]) {
        const uint32_t generation = records[seen];
        forget = generation < head[EXPIRE_BEFORE] && forgets(head, p, map, rows, id, generation);
    }
    uint32_t all;
    const uint32_t place = take_places(forget, counts[COUNTS_FREE], all);
    // When the list is full, the key stays for another time.
    if (forget && COUNTS_LIST + place < counts.len) {
        records[seen] = 0;
        counts[COUNTS_LIST + place] = id;
    }
}

extern "C" __global__ void __launch_bounds__(256)
    expire(Head head, ExpireParams p, Words records, Words counts, ConstWords map, ConstWords rows) {
    body(head, p, records, counts, map, rows);
}

}  // namespace pelton::expire
