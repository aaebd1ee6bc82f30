// Fills an empty page of the table from a page of key records.
//
// Twin of src/ops/keys.rs. Per id: its record of 8 or 16 bytes, in order; per key of the page one exchange for each
// slot tried, and 4 or 8 bytes of table written; per block with such keys one addition where there are several pages.
// Slots lie at random, so this is bound by their sectors and the rate of atomics on them.
#include "window.cuh"

namespace pelton::rehash {

// Gives an id the first empty slot from `home` on; there may be none, which the number of the page's keys shows.
static __device__ __forceinline__ void place(const KeysParams& p, Words table, uint32_t mask, uint32_t id, u64 key,
                                             uint32_t home) {
    // The mask is below 2^32 - 1: a table has two words a slot.
    for (uint32_t probes = 0; probes <= mask; probes++) {
        const uint32_t at = 2 * p.key_words * ((home + probes) & mask);
        if (atomicCAS(&table[at], 0u, id + 1) == 0) {
            table[at + 1] = low_of(key);
            if (p.key_words == 2) {
                table[at + 2] = high_of(key);
            }
            return;
        }
    }
}

// Puts the key of an id into the table if it is one of this page; whether it is.
static __device__ __forceinline__ bool refill(Head head, const KeysParams& p, const TablePage& page, Words table,
                                              ConstWords records, uint32_t id) {
    const uint32_t here = id - p.first_id;
    if (id >= head[WALK_TO] || here >= p.page_ids) {
        return false;
    }
    const uint32_t record = here * p.record_words;
    if (records[record + p.key_words] == 0) {
        return false;  // Expired: no generation is 0.
    }
    const u64 key = join(records[record], p.key_words == 2 ? records[record + 1] : 0);
    const uint32_t hash = key_hash(head, key);
    if (!page.has(hash)) {
        return false;
    }
    place(p, table, page.mask, id, key, page.home(hash));
    return true;
}

static __device__ __forceinline__ void body(Head head, const KeysParams& p, Words table, ConstWords records,
                                            Words counts) {
    if (past_grid(head)) {
        return;
    }
    const TablePage page(head, p);
    const uint32_t id = head[WALK_FROM] + blockIdx.x * THREADS + threadIdx.x;
    const bool found = refill(head, p, page, table, records, id);
    if (page.has_others()) {
        uint32_t all;
        rank(found, all);
        if (threadIdx.x == 0 && all != 0) {
            atomicAdd(&counts[page.fill()], all);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
    rehash(Head head, KeysParams p, Words table, ConstWords records, Words counts) {
    body(head, p, table, records, counts);
}

}  // namespace pelton::rehash
