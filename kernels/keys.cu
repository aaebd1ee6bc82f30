// Finds or claims the table slot of each event's key.
//
// Twin of src/ops/keys.rs. Per event of a known key: its 16 bytes in one load, or its 4 or 8 of key; 8 of table, 4 of
// record when the key has two words, 4 of id written; no atomic but loads past the first cache. Per event of a new
// key one exchange; per block with events set aside two additions. The table is read at random, so this is bound by
// its sectors: 32 bytes per event and probe, from the second cache while the table fits it, else from memory.
#include "window.cuh"

namespace pelton::keys {

struct Slot {
    uint32_t tag, check;
};

static __device__ __forceinline__ Slot slot_at(Words table, uint32_t slot) {
    const u64 both = now(table.two(2 * slot));
    return Slot{low_of(both), high_of(both)};
}

struct Lookup {
    const KeysParams& p;
    Events events;
    Words table;
    Words records;

    // Whether the slot holds `key`. A claimed slot's key is that of the claiming event.
    __device__ __forceinline__ bool holds(Slot slot, u64 key) const {
        if ((slot.tag & PENDING) != 0) {
            return key_of(p, events, slot.tag & ~PENDING) == key;
        }
        if (slot.check != low_of(key)) {
            return false;
        }
        return p.key_words != 2 || records[(slot.tag - 1) * p.record_words + 1] == high_of(key);
    }

    // The id of a key, or PENDING and the slot that this batch claims for it, or ASIDE. Nobody waits: whatever a slot
    // holds says at once whether to stop or to go on, and no more than the whole table is looked at.
    __device__ __forceinline__ uint32_t find(Head head, uint32_t event, u64 key, uint32_t& probes) const {
        const uint32_t mask = head[TABLE_MASK];
        const uint32_t home = key_hash(head, key) & mask;
        for (probes = 0;; probes++) {
            const uint32_t at = (home + probes) & mask;
            Slot slot = slot_at(table, at);
            if (slot.tag == 0) {
                if (head[FROZEN] != 0) {
                    return ASIDE;
                }
                slot.tag = atomicCAS(&table[2 * at], 0u, PENDING | event);
                if (slot.tag == 0) {
                    return PENDING | at;
                }
            }
            if (holds(slot, key)) {
                return (slot.tag & PENDING) != 0 ? PENDING | at : slot.tag - 1;
            }
            if (probes >= mask) {
                return ASIDE;
            }
        }
    }
};

static __device__ __forceinline__ void body(Block block, Head head, const KeysParams& p, Events events, Words table,
                                            Words records, Words ids, Words out) {
    if (past_grid(head, block)) {
        return;
    }
    if (block.index == 0 && threadIdx.x == 0) {
        atomicAdd(&out[0], OUT_FIXED);
    }
    const Chunk chunk = chunk_of_block(head, block);
    const uint32_t event = chunk.first + threadIdx.x;
    uint32_t id = DROPPED;
    if (threadIdx.x < chunk.events && (p.filtered == 0 || ids[event] != DROPPED)) {
        uint32_t probes;
        id = Lookup{p, events, table, records}.find(head, event, key_of(p, events, event), probes);
        ids[event] = id;
        if (probes > 16) {
            atomicMax(&out[OUT_PROBES], probes);
        }
    }
    set_aside(out, id == ASIDE, event);
}

// `counts` is the CPU twin's alone, which settles at once.
extern "C" __global__ void __launch_bounds__(256)
    keys(Head head, KeysParams p, Events events, Words table, Words records, Words ids, Words, Words out) {
    body(this_block(), head, p, events, table, records, ids, out);
}

}  // namespace pelton::keys
