// Takes a batch from host memory: its header and, piece by piece, its events.
//
// First kernel of every replay, the device's own and no operator's. The host leaves a batch's control words, header
// and a list of pieces in page-locked memory: where each piece lies there, where it goes, how long it is. A block
// takes one piece at a time, 16 bytes a thread where the addresses allow, so that a piece of 4 KiB is one trip over
// the bus. Also zeroes the counters at the front of the output. Twin of src/device/cuda/place.rs. Bound by the bus.
#include "prelude.cuh"

namespace pelton::gather {

// Control words.
constexpr uint32_t HEAD_WORDS = 0;
constexpr uint32_t PIECES = 1;
constexpr uint32_t TICKET = 2;
constexpr uint32_t RESULT = 4;
constexpr uint32_t PIECES_AT = 6;
constexpr uint32_t CONTROL = 8;
// Words at the front of an output that every replay finds zeroed.
constexpr uint32_t OUTPUT_HEAD = 8;
// Words that stay on the device between the first kernel and the last: blocks that are done, then what the last needs.
constexpr uint32_t DONE_BLOCKS = 0;
constexpr uint32_t KEPT_TICKET = 1;
constexpr uint32_t KEPT_RESULT = 2;

static __device__ __forceinline__ void take(const uint32_t* from, Words events, uint32_t at, uint32_t words) {
    const bool whole = (uintptr_t(from) & 15) == 0 && (at & 3) == 0 && (words & 3) == 0;
    if (whole) {
        for (uint32_t i = 4 * threadIdx.x; i < words; i += 4 * THREADS) {
            events.four(at + i) = *reinterpret_cast<const uint4*>(from + i);
        }
        return;
    }
    for (uint32_t i = threadIdx.x; i < words; i += THREADS) {
        events[at + i] = from[i];
    }
}

static __device__ __forceinline__ void body(Block block, ConstWords control, Words head, Words events, Words kept,
                                            Words out) {
    const uint32_t thread = block.index * THREADS + threadIdx.x;
    if (thread < min(OUTPUT_HEAD, out.len)) {
        out[thread] = 0;
    }
    if (thread == 0) {
        kept[DONE_BLOCKS] = 0;
        kept[KEPT_TICKET] = control[TICKET];
        kept[KEPT_RESULT] = control[RESULT];
        kept[KEPT_RESULT + 1] = control[RESULT + 1];
    }
    const uint32_t head_words = control[HEAD_WORDS];
    for (uint32_t i = thread; i < head_words; i += block.count * THREADS) {
        head[i] = control[CONTROL + i];
    }
    const uint32_t pieces = control[PIECES];
    const uint32_t pieces_at = control[PIECES_AT];
    for (uint32_t i = block.index; i < pieces; i += block.count) {
        const uint4 piece = control.four(pieces_at + 4 * i);
        take(reinterpret_cast<const uint32_t*>(join(piece.x, piece.y)), events, piece.z, piece.w);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    gather(ConstWords control, Words head, Words events, Words kept, Words out) {
    body(this_block(), control, head, events, kept, out);
}

}  // namespace pelton::gather
