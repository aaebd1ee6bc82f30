// Products of matrices in shared memory, and how they come there: what sm_90a has beyond mma.cuh. Inline PTX, each with
// a twin for the host. The twin reads shared memory where a descriptor says, so a wrong descriptor or place shows.
//
// PTX ISA, "Asynchronous warpgroup level matrix instructions". Both operands lie in rows of 128 bytes, a row of `a` or
// a column of `b` each, values next to each other in depth. Eight rows are an atom of 1,024 bytes, and the eight pieces
// of 16 bytes of a row lie swizzled: piece i of row r where piece i ^ r % 8 would. A product takes 64 rows, which are a
// warpgroup's, and 32 bytes of depth; the rows of warp w of the four begin at 16 w, and with g and t as in mma.cuh:
//
//   sums[j][0], [1] row g, columns 8j + 2t, 8j + 2t + 1     sums[j][2], [3] row g + 8, the same columns
#pragma once

#include "mma.cuh"

namespace pelton {

constexpr uint32_t WARPGROUP = 128;
// Pieces of 16 bytes in a row of an operand; words in one, and in a row.
constexpr uint32_t PIECES = 8;
constexpr uint32_t PIECE_WORDS = 4;
constexpr uint32_t ROW_WORDS = PIECES * PIECE_WORDS;
// Products of 32 bytes of depth in a row.
constexpr uint32_t DEPTHS = 4;

// Where a piece of an operand's row lies, in pieces from the operand's beginning.
static __device__ __forceinline__ uint32_t swizzled(uint32_t row, uint32_t piece) {
    return row * PIECES + (piece ^ row % 8);
}

// A block's shared memory whose size the launch says; it begins at a multiple of 1,024 bytes.
template <class Room> static __device__ __forceinline__ Room& launched_room() {
    static_assert(alignof(Room) <= 1024, "as it is aligned");
#ifdef CUDA_HOST
    return *reinterpret_cast<Room*>(cuda_host::launched_room(sizeof(Room)));
#else
    extern __shared__ __align__(1024) unsigned char room[];
    return *reinterpret_cast<Room*>(room);
#endif
}

// As instructions take an address in shared memory.
static __device__ __forceinline__ uint32_t shared_address(const void* at) {
#ifdef CUDA_HOST
    return uint32_t(static_cast<const unsigned char*>(at) - cuda_host::launched_room(0));
#else
    return uint32_t(__cvta_generic_to_shared(at));
#endif
}

// An operand of rows of 128 bytes, swizzled, for a product over the 32 bytes of depth of this number: where it begins,
// and 1,024 bytes from eight rows to the next, both in sixteens. The distance in depth is not used with this swizzle.
static __device__ __forceinline__ u64 descriptor(const uint4* operand, uint32_t depth) {
    constexpr u64 SWIZZLE_128 = u64(1) << 62, ATOM = u64(1024 / 16) << 32;
    return SWIZZLE_128 | ATOM | u64((shared_address(operand) + 32 * depth) % (1 << 18) / 16);
}

#ifdef CUDA_HOST

// The words of an operand's row that a product over the descriptor's 32 bytes reads.
struct OperandWords {
    uint32_t at[8];
};
static __device__ __forceinline__ OperandWords operand_words(u64 of, uint32_t row) {
    if (of >> 62 != 1 || (of >> 49 & 7) != 0) {
        cuda_host::fail("a descriptor without the swizzle of 128 bytes, or with an offset of its base");
    }
    const uint32_t stride = uint32_t(of >> 32 & 0x3fff) * 16;
    const uint32_t begin = uint32_t(of & 0x3fff) * 16 + row / 8 * stride + row % 8 * 128;
    OperandWords words;
    for (uint32_t piece = 0; piece < 2; piece++) {
        const uint32_t at = begin + piece * 16;
        std::memcpy(words.at + piece * PIECE_WORDS, cuda_host::launched_at(at ^ (at >> 7 & 7) << 4, 16), 16);
    }
    return words;
}

// A barrier of some threads of a block for others: who waits for a round's parity goes on when that round is complete.
class Barrier {
  public:
    void init(uint32_t threads) {
        round = 0;
        count = missing = uint16_t(threads);
    }
    void arrive() {
        if (--missing == 0) {
            missing = count;
            round++;
        }
    }
    void wait(uint32_t parity) const {
        while ((round & 1) == parity) {
            cuda_host::let_threads();
        }
    }

  private:
    uint32_t round;
    uint16_t count, missing;
};

// Pieces are there when they are published, so that what is not published is not there.
class Pieces {
  public:
    void put(uint4& to, const uint4& piece) {
        if (count == sizeof(waiting) / sizeof(waiting[0])) {
            cuda_host::fail("more pieces of operands than a thread may put at a time");
        }
        waiting[count++] = {&to, piece};
    }
    void publish(Barrier& barrier) {
        for (; count > 0; count--) {
            *waiting[count - 1].to = waiting[count - 1].piece;
        }
        barrier.arrive();
    }

  private:
    struct {
        uint4* to;
        uint4 piece;
    } waiting[16];
    uint32_t count = 0;
};

// Products are made when they are waited for, so that operands that are gone by then are missed.
template <uint32_t KIND, uint32_t WIDTH> class Products {
  public:
    void begin() {}
    void multiply(Sum<KIND> (&sums)[WIDTH][4], u64 a, u64 b) {
        if (count == sizeof(waiting) / sizeof(waiting[0])) {
            cuda_host::fail("more products under way than are waited for");
        }
        waiting[count++] = {sums, a, b, groups};
    }
    void commit() { groups++; }
    template <uint32_t LEFT> void wait() {
        uint32_t done = 0;
        for (; done < count && waiting[done].group + LEFT < groups; done++) {
            make(waiting[done]);
        }
        std::copy(waiting + done, waiting + count, waiting);
        count -= done;
    }
    template <uint32_t TILES> void finish(Sum<KIND> (&)[TILES][WIDTH][4]) { wait<0>(); }

  private:
    struct Waiting {
        Sum<KIND> (*sums)[4];
        u64 a, b;
        uint32_t group;
    };
    static void make(const Waiting& of) {
        const uint32_t row = threadIdx.x % WARPGROUP / LANES * 16 + lane() / 4, column = lane() % 4 * 2;
        const OperandWords a = operand_words(of.a, row), below = operand_words(of.a, row + 8);
        for (uint32_t i = 0; i < WIDTH * 2; i++) {
            const OperandWords b = operand_words(of.b, i / 2 * 8 + column + i % 2);
            for (uint32_t word = 0; word < 8; word++) {
                add_word(of.sums[i / 2][i % 2], KIND, a.at[word], b.at[word]);
                add_word(of.sums[i / 2][i % 2 + 2], KIND, below.at[word], b.at[word]);
            }
        }
    }

    Waiting waiting[4 * DEPTHS];
    uint32_t count = 0, groups = 0;
};

#else

class Barrier {
  public:
    __device__ __forceinline__ void init(uint32_t threads) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&word)), "r"(threads) : "memory");
    }
    // What this thread wrote before is there for who waits.
    __device__ __forceinline__ void arrive() {
        asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&word)) : "memory");
    }
    __device__ __forceinline__ void wait(uint32_t parity) const {
        uint32_t over = 0;
        while (over == 0) {
            asm volatile(
                "{\n.reg .pred over;\n"
                "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n"
                "selp.u32 %0, 1, 0, over;\n}"
                : "=r"(over)
                : "r"(shared_address(&word)), "r"(parity)
                : "memory");
        }
    }

  private:
    u64 word;
};

// What a thread puts into operands.
class Pieces {
  public:
    __device__ __forceinline__ void put(uint4& to, const uint4& piece) { to = piece; }
    // Units for matrices read past the way that threads write; the fence orders the two.
    __device__ __forceinline__ void publish(Barrier& barrier) {
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        barrier.arrive();
    }
};

#define PELTON_FOUR(c, s, j) c((s)[j][0]), c((s)[j][1]), c((s)[j][2]), c((s)[j][3])
#define PELTON_SUMS_32(c, s)                                                                            \
    PELTON_FOUR(c, s, 0), PELTON_FOUR(c, s, 1), PELTON_FOUR(c, s, 2), PELTON_FOUR(c, s, 3),             \
        PELTON_FOUR(c, s, 4), PELTON_FOUR(c, s, 5), PELTON_FOUR(c, s, 6), PELTON_FOUR(c, s, 7)
#define PELTON_SUMS_64(c, s)                                                                            \
    PELTON_SUMS_32(c, s), PELTON_FOUR(c, s, 8), PELTON_FOUR(c, s, 9), PELTON_FOUR(c, s, 10),            \
        PELTON_FOUR(c, s, 11), PELTON_FOUR(c, s, 12), PELTON_FOUR(c, s, 13), PELTON_FOUR(c, s, 14),     \
        PELTON_FOUR(c, s, 15)
#define PELTON_NAMES_32                                                                                 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                            \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define PELTON_NAMES_64                                                                                 \
    PELTON_NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
                    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
// Of 64 rows by so many columns with sums a thread; `more` is what products of numbers say beyond those of codes: both
// operands as they are, not negated, not transposed.
#define PELTON_WGMMA(columns, sums_each, a_at, b_at, shape, more, constraint)                           \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #columns shape " {" PELTON_NAMES_##sums_each "}, %" #a_at \
                 ", %" #b_at ", 1" more ";"                                                              \
                 : PELTON_SUMS_##sums_each(constraint, sums)                                            \
                 : "l"(a), "l"(b))

// What a warpgroup multiplies, WIDTH times eight columns at a time. None of it is there before it was waited for.
template <uint32_t KIND, uint32_t WIDTH> class Products {
    static_assert(WIDTH == 8 || WIDTH == 16, "64 or 128 columns");

  public:
    // Before the first product of a group.
    __device__ __forceinline__ void begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
    __device__ __forceinline__ void multiply(Sum<KIND> (&sums)[WIDTH][4], u64 a, u64 b) {
        if constexpr (KIND == INT8 && WIDTH == 16) {
            PELTON_WGMMA(128, 64, 64, 65, "k32.s32.s8.s8", "", "+r");
        } else if constexpr (KIND == INT8) {
            PELTON_WGMMA(64, 32, 32, 33, "k32.s32.s8.s8", "", "+r");
        } else if constexpr (KIND == BF16 && WIDTH == 16) {
            PELTON_WGMMA(128, 64, 64, 65, "k16.f32.bf16.bf16", ", 1, 1, 0, 0", "+f");
        } else if constexpr (KIND == BF16) {
            PELTON_WGMMA(64, 32, 32, 33, "k16.f32.bf16.bf16", ", 1, 1, 0, 0", "+f");
        } else if constexpr (WIDTH == 16) {
            PELTON_WGMMA(128, 64, 64, 65, "k16.f32.f16.f16", ", 1, 1, 0, 0", "+f");
        } else {
            PELTON_WGMMA(64, 32, 32, 33, "k16.f32.f16.f16", ", 1, 1, 0, 0", "+f");
        }
    }
    // Ends a group.
    __device__ __forceinline__ void commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
    // Until no more than this many groups are under way.
    template <uint32_t LEFT> __device__ __forceinline__ void wait() {
        asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
    }
    // Until all are made; nothing reads the sums before.
    template <uint32_t TILES> __device__ __forceinline__ void finish(Sum<KIND> (&sums)[TILES][WIDTH][4]) {
        wait<0>();
        UNROLLED for (uint32_t i = 0; i < TILES; i++) {
            UNROLLED for (uint32_t j = 0; j < WIDTH * 4; j++) {
                if constexpr (KIND == INT8) {
                    asm volatile("" : "+r"(sums[i][j / 4][j % 4])::"memory");
                } else {
                    asm volatile("" : "+f"(sums[i][j / 4][j % 4])::"memory");
                }
            }
        }
    }
};

#undef PELTON_WGMMA
#undef PELTON_NAMES_64
#undef PELTON_NAMES_32
#undef PELTON_SUMS_64
#undef PELTON_SUMS_32
#undef PELTON_FOUR

#endif

}  // namespace pelton
