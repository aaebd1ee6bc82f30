// Empties the slots that no window needs any more.
//
// Twin of src/ops/merge.rs. Per id and slot: a row written, 16 bytes a thread, neighbouring threads side by side; no
// atomic. Bound by these bytes.
#include "window.cuh"

namespace pelton::clear {

static __device__ __forceinline__ void body(Head head, const RowParams& p, ConstWords map, Words rows) {
    if (past_grid(head)) {
        return;
    }
    // Slots are emptied from an id that begins a block of ids, so the rows of a block's 256 ids lie together.
    const uint32_t id = head[WALK_FROM] + blockIdx.x * THREADS;
    if (id >= head[WALK_TO]) {
        return;
    }
    const uint32_t words = min(head[WALK_TO] - id, THREADS) * p.row_words;
    for (uint32_t i = 0; i < head[WALK_SLOTS]; i++) {
        const uint32_t row = row_at(map, head[WALK_MAP_STRIDE], head[WALK_SLOT + i], id, p.row_words);
        for (uint32_t word = 4 * threadIdx.x; word < words; word += 4 * THREADS) {
            rows.four(row + word) = make_uint4(0, 0, 0, 0);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) clear(Head head, RowParams p, ConstWords map, Words rows) {
    body(head, p, map, rows);
}

}  // namespace pelton::clear
