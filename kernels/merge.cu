// Adds slots to a slot.
//
// Twin of src/ops/merge.rs. Per id: 4 bytes of count of each source; the rest of its row, and that of the destination
// read and written, for each source that is not empty; no atomic. Neighbouring threads have neighbouring rows, so
// whole sectors are used: bound by the rows' bytes, three rows for each source that is not empty.
#include "window.cuh"

namespace pelton::merge {

static __device__ __forceinline__ void merge_end(Words rows, uint32_t a, uint32_t b, bool last) {
    if (rows[b + END_LANE] == 0) {
        return;
    }
    const bool takes = last ? end_comes_before(rows, a, b) : end_comes_before(rows, b, a);
    if (rows[a + END_LANE] == 0 || takes) {
        for (uint32_t i = 0; i < END_ELECT; i += 2) {
            rows.two(a + i) = rows.two(b + i);
        }
    }
}

// Adds all that the row at `b` holds to the row at `a`, `fired` aside.
static __device__ __forceinline__ void merge_row(const RowParams& p, Words rows, uint32_t a, uint32_t b) {
    if (rows[b + COUNT] == 0) {
        return;
    }
    for (uint32_t word = COUNT; word <= OUTSIDE; word++) {
        rows[a + word] += rows[b + word];
    }
    if ((p.parts & EXTREMES) != 0) {
        for (uint32_t word = p.extremes; word < p.extremes + 2; word++) {
            rows[a + word] = max(rows[a + word], rows[b + word]);
        }
    }
    if ((p.parts & FIXED) != 0) {
        rows.two(a + p.fixed) += rows.two(b + p.fixed);
    }
    if ((p.parts & SQUARES) != 0) {
        const u64 low = rows.two(a + p.squares) + rows.two(b + p.squares);
        rows.two(a + p.squares + 2) += rows.two(b + p.squares + 2) + (low < rows.two(b + p.squares));
        rows.two(a + p.squares) = low;
    }
    if ((p.parts & EXACT) != 0) {
        for (uint32_t limb = p.exact; limb < p.exact + 2 * LIMBS; limb += 2) {
            rows.two(a + limb) += rows.two(b + limb);
        }
    }
    if ((p.parts & FIRST) != 0) {
        merge_end(rows, a + p.first, b + p.first, false);
    }
    if ((p.parts & LAST) != 0) {
        merge_end(rows, a + p.last, b + p.last, true);
    }
}

static __device__ __forceinline__ void body(Block block, Head head, const RowParams& p, ConstWords map, Words rows) {
    if (past_grid(head, block)) {
        return;
    }
    const uint32_t id = head[WALK_FROM] + block.index * THREADS + threadIdx.x;
    if (id >= head[WALK_TO]) {
        return;
    }
    const uint32_t into = row_at(head, WALK_INTO, p, map, id);
    if (into == NO_ROW) {
        return;
    }
    for (uint32_t i = 0; i < head[WALK_SLOTS]; i++) {
        const uint32_t row = row_at(head, walk_slot(i), p, map, id);
        if (row != NO_ROW) {
            merge_row(p, rows, into, row);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) merge(Head head, RowParams p, ConstWords map, Words rows) {
    body(this_block(), head, p, map, rows);
}

}  // namespace pelton::merge
