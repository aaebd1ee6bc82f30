// Stays on the device and serves one batch after the other: the latency mode.
//
// No launch, no copy by the engine, no event: the host leaves a batch's header and pieces as it does for a graph and
// rings, by one word of 64 bits in page-locked memory (`commands`). Block 0 polls that word. A batch of up to a few
// blocks it serves alone, its steps apart by barriers of the block; for a larger one it wakes the others, which wait
// at a barrier of the whole grid, and such barriers stand between steps. A step is the body of an operator's kernel,
// whose blocks are shared out among those that are here; what it is given stands in a table that the host wrote before
// it launched this. The kernel leaves when it is told to, when nothing came for a while, and now and then in any case,
// so that whoever else waits for the device gets it; the host launches it again with the next batch.
//
// Device's own and no operator's. Twin of src/device/cuda/resident.rs; pelton.cu includes it behind the kernels that it
// runs. All blocks must be on the device at the same time. Bound by the trips over the bus, one each for the command,
// the header, the list of pieces, the events and the mark, and by the barriers, one for each step.
#include "grid.cuh"

namespace pelton::resident {

struct ResidentParams {
    // The ticket of the last batch that was served before, and how many commands there is room for: a power of two.
    uint32_t ticket;
    uint32_t slots;
    // What this launch is called.
    uint32_t launch;
    // How often to look in vain before leaving, and how often to look at all.
    uint32_t idle;
    uint32_t looks;
    uint32_t pad0;
    uint32_t pad1;
    uint32_t pad2;
};

// What the device tells the host: a number that changes while it lives, and the last launch that is over.
constexpr uint32_t HEARTBEAT = 0;
constexpr uint32_t GONE = 1;

// A command is a ticket and what to do: an order's place in the table, or to leave.
constexpr uint32_t ALONE = 0x80000000u;
constexpr uint32_t LEAVE = 0xffffffffu;

// The command that all serve, behind the words of the barrier.
constexpr uint32_t WHAT = 2;

// The table: records of 64 words. An order is a record and its steps' behind it.
constexpr uint32_t RECORD = 64;
constexpr uint32_t ORDER_STEPS = 0;
constexpr uint32_t ORDER_SPANS = 4;
constexpr uint32_t STEP_KERNEL = 0;
constexpr uint32_t STEP_BY_HEAD = 1;
constexpr uint32_t STEP_BLOCKS = 2;
constexpr uint32_t STEP_PARAMS = 4;
constexpr uint32_t STEP_SPANS = 36;

// The kernels that it runs, by the numbers that the table has for them.
enum Kernel : uint32_t {
    SIFT, DENSE, KEYS, SETTLE, RESOLVE, FOLD, ELECT, ENDS, MERGE, CLEAR, FIRE,
    GROUP_COUNT, GROUP_SCAN, GROUP_SCATTER, GROUP_MARK, GROUP_SEGMENTS, SCORE
};

// Looks of block 0 after which it takes its time between two.
constexpr uint32_t EAGER = 4096;

// A buffer that the table names.
template <class Any> static __device__ __forceinline__ Any span(ConstWords table, uint32_t at) {
    const uint4 words = table.four(at);
    return Any{reinterpret_cast<decltype(Any::at)>(join(words.x, words.y)), words.z, 0};
}

// A step of the table.
struct Step {
    ConstWords table;
    uint32_t at;

    __device__ __forceinline__ uint32_t operator[](uint32_t word) const { return table[at + word]; }
    template <class Params> __device__ __forceinline__ Params params() const {
        static_assert(sizeof(Params) % 16 == 0 && sizeof(Params) <= 4 * (STEP_SPANS - STEP_PARAMS), "room in a record");
        Params params;
        uint4* const words = reinterpret_cast<uint4*>(&params);
        for (uint32_t i = 0; i < sizeof(Params) / 16; i++) {
            words[i] = table.four(at + STEP_PARAMS + 4 * i);
        }
        return params;
    }
    // The same where they lie, for a body that has none too many registers for them.
    template <class Params> __device__ __forceinline__ const Params& in_table() const {
        static_assert(sizeof(Params) % 16 == 0 && sizeof(Params) <= 4 * (STEP_SPANS - STEP_PARAMS), "room in a record");
        return *reinterpret_cast<const Params*>(&table.four(at + STEP_PARAMS));
    }
    __device__ __forceinline__ Events events() const { return span<Events>(table, at + STEP_SPANS); }
    __device__ __forceinline__ Words words(uint32_t bind) const {
        return span<Words>(table, at + STEP_SPANS + 4 + 4 * bind);
    }
    __device__ __forceinline__ ConstWords read(uint32_t bind) const {
        return span<ConstWords>(table, at + STEP_SPANS + 4 + 4 * bind);
    }
};

// One block of a step.
static __device__ __forceinline__ void run_block(const Step& s, Head head, Block block) {
    switch (s[STEP_KERNEL]) {
        case SIFT: sift::body(block, head, s.params<sift::SiftParams>(), s.events(), s.read(0), s.words(1)); break;
        case DENSE: dense::body(block, head, s.params<KeysParams>(), s.events(), s.words(0), s.words(1)); break;
        case KEYS:
            keys::body(block, head, s.params<KeysParams>(), s.events(), s.words(0), s.words(1), s.words(3));
            break;
        case SETTLE:
            settle::body(block, head, s.params<KeysParams>(), s.events(), s.words(0), s.words(1), s.words(2),
                         s.words(3));
            break;
        case RESOLVE:
            resolve::body(block, head, s.params<KeysParams>(), s.events(), s.words(0), s.words(1), s.read(2),
                          s.words(3));
            break;
        case FOLD: fold::body(block, head, s.params<RowParams>(), s.events(), s.read(0), s.read(1), s.words(2)); break;
        case ELECT:
            elect::body(block, head, s.params<RowParams>(), s.events(), s.read(0), s.read(1), s.words(2));
            break;
        case ENDS: ends::body(block, head, s.params<RowParams>(), s.events(), s.read(0), s.read(1), s.words(2)); break;
        case MERGE: merge::body(block, head, s.params<RowParams>(), s.read(0), s.words(1)); break;
        case CLEAR: clear::body(block, head, s.params<RowParams>(), s.read(0), s.words(1)); break;
        case FIRE:
            fire::body(block, head, s.params<fire::FireParams>(), s.read(0), s.read(1), s.words(2), s.words(3),
                       s.words(4));
            break;
        case GROUP_COUNT:
            group_count::body(block, head, s.params<GroupParams>(), s.read(0), s.read(1), s.read(2), s.words(3));
            break;
        case GROUP_SCAN: group_scan::body(block, head, s.params<GroupParams>(), s.words(0), s.words(1)); break;
        case GROUP_SCATTER:
            group_scatter::body(block, head, s.params<GroupParams>(), s.read(0), s.read(1), s.read(2), s.words(3),
                                s.words(4));
            break;
        case GROUP_MARK: group_mark::body(block, head, s.read(0), s.read(1), s.words(2), s.words(3)); break;
        case GROUP_SEGMENTS: group_segments::body(block, head, s.read(0), s.read(1), s.words(2)); break;
        case SCORE:
            score::body<score::ByDistance>(block, head, s.in_table<score::ScoreParams>(), s.events(), s.read(0),
                                          s.read(1), s.read(2), s.words(3), s.words(4));
            break;
        default: break;
    }
}

// What a block has to know.
struct Resident {
    Words box;
    ConstWords commands;
    Words shared;
    ConstWords table;
    const ResidentParams& p;
    // Of block 0's first thread alone: how often it has looked, and how often it has told the host that it lives.
    uint32_t looked;
    uint32_t beats;

    __device__ __forceinline__ void beat() {
        if (blockIdx.x == 0 && threadIdx.x == 0) {
            tell(box, HEARTBEAT, ++beats);
        }
    }

    // The next command. The pair of words is one load, so a ticket never comes with another's command.
    __device__ __forceinline__ uint32_t await(uint32_t ticket) {
        for (uint32_t vain = 0; vain < p.idle && looked < p.looks; vain++) {
            looked++;
            const u64 command = now(commands.two(2 * (ticket & (p.slots - 1))));
            if (low_of(command) == ticket) {
                // Acquires what the host wrote before it rang.
                __threadfence_system();
                return high_of(command);
            }
            if (vain % 64 == 63) {
                beat();
            }
            __nanosleep(vain < EAGER ? 20 : 500);
        }
        return LEAVE;
    }

    // Barriers between the steps of a batch: of the block where it serves alone, else of all.
    __device__ __forceinline__ void step_barrier(bool alone, uint32_t step) {
        if (alone) {
            __syncthreads();
        } else {
            grid_barrier(shared, step);
        }
    }

    __device__ __forceinline__ void serve(uint32_t order, bool alone) {
        beat();
        const Block mine = alone ? Block{0, 1} : this_block();
        const uint32_t at = order * RECORD;
        const Words head = span<Words>(table, at + ORDER_SPANS + 4);
        const Words kept = span<Words>(table, at + ORDER_SPANS + 12);
        const Words out = span<Words>(table, at + ORDER_SPANS + 16);
        gather::body(mine, span<ConstWords>(table, at + ORDER_SPANS), head, span<Words>(table, at + ORDER_SPANS + 8),
                     kept, out);
        const uint32_t steps = table[at + ORDER_STEPS];
        for (uint32_t i = 1; i <= steps; i++) {
            step_barrier(alone, i);
            const Step step{table, at + i * RECORD};
            const uint32_t blocks = step[STEP_BY_HEAD] != 0 ? head[step[STEP_BLOCKS]] : step[STEP_BLOCKS];
            for (uint32_t block = mine.index; block < blocks; block += mine.count) {
                run_block(step, Head{head.at, head.len, 0}, Block{block, blocks});
                // Shared memory is the next block's from here on.
                __syncthreads();
            }
        }
        step_barrier(alone, steps + 1);
        finish::body(mine, kept, ConstWords{out.at, out.len, 0}, span<Words>(table, at + ORDER_SPANS + 20));
    }

    // The next command, in every thread of block 0.
    __device__ __forceinline__ uint32_t next(uint32_t ticket) {
        __syncthreads();
        if (threadIdx.x == 0) {
            tell(shared, WHAT, await(ticket));
        }
        __syncthreads();
        return now(shared[WHAT]);
    }
};

static __device__ __forceinline__ void body(const ResidentParams& p, Words box, ConstWords commands, Words shared,
                                            ConstWords table) {
    Resident resident{box, commands, shared, table, p, 0, 0};
    uint32_t ticket = p.ticket;
    for (;;) {
        uint32_t what = LEAVE;
        if (blockIdx.x == 0) {
            what = resident.next(++ticket);
        }
        // What block 0 serves alone, the others never hear of.
        const bool alone = what != LEAVE && (what & ALONE) != 0;
        if (!alone) {
            grid_barrier(shared, 0);
            what = now(shared[WHAT]);
        }
        if (what == LEAVE) {
            break;
        }
        resident.serve(what & ~ALONE, alone);
    }
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        // Behind the marks of all batches: every block has passed the barrier above since.
        __threadfence_system();
        tell(box, GONE, p.launch);
    }
}

// One block a multiprocessor is enough: registers rather than company.
extern "C" __global__ void __launch_bounds__(256, 1)
    resident(ResidentParams p, Words box, ConstWords commands, Words shared, ConstWords table) {
    body(p, box, commands, shared, table);
}

}  // namespace pelton::resident
