// Empties the slots that no window needs any more.
//
// Twin of src/ops/merge.rs. Per block of ids and slot: its rows written, by as many threads as it has ids, 16 bytes a
// thread, neighbouring threads side by side; no atomic. Bound by these bytes.
#include "window.cuh"

namespace pelton::clear {

static __device__ __forceinline__ void body(Block block, Head head, const RowParams& p, ConstWords map, Words rows) {
    if (past_grid(head, block)) {
        return;
    }
    // Slots are emptied from an id that begins a block; this is the first id of the block of rows that this thread
    // helps to empty.
    const uint32_t within = threadIdx.x % BLOCK_IDS;
    const uint32_t id = head[WALK_FROM] + block.index * THREADS + threadIdx.x - within;
    if (id >= head[WALK_TO]) {
        return;
    }
    for (uint32_t i = 0; i < head[WALK_SLOTS]; i++) {
        const uint32_t row = row_at(head, walk_slot(i), p, map, id);
        if (row == NO_ROW) {
            continue;
        }
        for (uint32_t word = 4 * within; word < BLOCK_IDS * p.row_words; word += 4 * BLOCK_IDS) {
            rows.four(row + word) = make_uint4(0, 0, 0, 0);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) clear(Head head, RowParams p, ConstWords map, Words rows) {
    body(this_block(), head, p, map, rows);
}

}  // namespace pelton::clear
