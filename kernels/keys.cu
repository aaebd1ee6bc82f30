// Finds or claims the table slot of each event's key.
//
// Twin of src/ops/keys.rs. Per event of a known key: its 16 bytes in one load, or its 4 or 8 of key; 8 of table, 12
// when the key has two words, 4 of id written; no atomic but loads past the first cache. Per event of a new
// key one exchange; per block with events set aside two additions. The table is read at random, so this is bound by
// its sectors: 32 bytes per event and probe, from the second cache while the table fits it, else from memory.
#include "window.cuh"

namespace pelton::keys {

struct Lookup {
    const KeysParams& p;
    Events events;
    Words table;

    // Whether the slot at this word, with this tag and check, holds `key`. A claimed slot's key is that of the claiming
    // event.
    __device__ __forceinline__ bool holds(uint32_t at, uint32_t tag, uint32_t check, u64 key) const {
        if ((tag & PENDING) != 0) {
            return key_of(p, events, tag & ~PENDING) == key;
        }
        if (check != low_of(key)) {
            return false;
        }
        return p.key_words != 2 || now(table[at + 2]) == high_of(key);
    }

    // The id of a key that is looked for in this page; or PENDING and the slot that this event claims, or FOLLOW and
    // the event that did, or ASIDE. Nobody waits: whatever a slot holds says at once whether to stop or to go on, and
    // no more than the whole page is looked at.
    __device__ __forceinline__ uint32_t find(Head head, const TablePage& page, uint32_t event, u64 key, uint32_t home,
                                             uint32_t& probes) const {
        for (probes = 0;; probes++) {
            const uint32_t slot = (home + probes) & page.mask;
            const uint32_t at = 2 * p.key_words * slot;
            const u64 both = now(table.two(at));
            uint32_t tag = low_of(both);
            if (tag == 0) {
                if (head[FROZEN] != 0) {
                    return ASIDE;
                }
                tag = atomicCAS(&table[at], 0u, PENDING | event);
                if (tag == 0) {
                    return PENDING | (page.first + slot);
                }
            }
            if (holds(at, tag, high_of(both), key)) {
                return (tag & PENDING) != 0 ? FOLLOW | (tag & ~PENDING) : tag - 1;
            }
            if (probes >= page.mask) {
                return ASIDE;
            }
        }
    }
};

static __device__ __forceinline__ void body(Block block, Head head, const KeysParams& p, Events events, Words table,
                                            Words ids, Words out) {
    if (past_grid(head, block)) {
        return;
    }
    if (block.index == 0 && threadIdx.x == 0 && p.first_slot == 0) {
        atomicAdd(&out[0], OUT_FIXED);
    }
    const Chunk chunk = chunk_of_block(head, block);
    const TablePage page(head, p);
    const uint32_t event = chunk.first + threadIdx.x;
    uint32_t id = DROPPED;
    if (threadIdx.x < chunk.events && (p.filtered == 0 || ids[event] != DROPPED)) {
        const u64 key = key_of(p, events, event);
        const uint32_t hash = key_hash(head, key);
        // An event of another page is left to its step.
        if (page.has(hash)) {
            uint32_t probes;
            id = Lookup{p, events, table}.find(head, page, event, key, page.home(hash), probes);
            ids[event] = id;
            if (probes > 16) {
                atomicMax(&out[OUT_PROBES], probes);
            }
        }
    }
    set_aside(out, id == ASIDE, event);
}

// `counts` is the CPU twin's alone, which settles at once.
extern "C" __global__ void __launch_bounds__(256)
    keys(Head head, KeysParams p, Events events, Words table, Words ids, Words, Words out) {
    body(this_block(), head, p, events, table, ids, out);
}

}  // namespace pelton::keys
