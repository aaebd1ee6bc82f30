// CUDA C++ for the host's compiler: what a kernel's source says means the same here, one CUDA thread a fiber.
//
// Included before any kernel. A block's threads run one at a time on one thread of the system and change places where
// CUDA lets them see each other: at barriers, at warp operations and, under a seed, at atomics. What CUDA leaves
// undefined is an error with the kernel's name: a barrier or a warp operation that some of its threads do not reach, an
// index outside its buffer. Shared memory is filled with rubbish before each block. Not here: shared memory in
// templates or inline functions (GCC keeps their statics apart), dynamic shared memory of cooperative launches,
// `__activemask`, textures.
#pragma once

#include "host.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#define CUDA_HOST 1
#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ static __attribute__((section("cuda_shared")))
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

using std::max;
using std::min;

struct uint2 { alignas(8) unsigned x; unsigned y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) ulonglong2 { unsigned long long x, y; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline ulonglong2 make_ulonglong2(unsigned long long x, unsigned long long y) { return {x, y}; }

namespace cuda_host {

struct Index { unsigned x, y, z; };

// Where a kernel's source calls what waits.
struct Site {
    const char* file;
    int line;
    static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        return {file, line};
    }
};

// What the fiber that runs now is to its kernel.
struct Current {
    Index thread, block, block_size, grid;
    bool seeded;
};
extern Current current;

// Warp operations. What a lane brings and what it takes away are bits of at most 64; `lane` is a lane's number or a
// distance, as the operation says.
enum class Warp : uint8_t {
    sync, shuffle, up, down, exclusive, ballot, all, any, match, add, least, most, both, either
};

[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));
void block_barrier(Site site);
// Barriers that also say how many threads said yes.
unsigned block_count(bool yes, Site site);
uint64_t warp_operation(Warp what, unsigned mask, uint64_t value, unsigned lane, int width, Site site);
// An atomic is a place where others may come first.
void before_atomic();
// Where a thread waits for what others of its block are to do: all others come first.
void let_threads();
// Dynamic shared memory: from its beginning on, that many bytes, and bytes at an offset.
unsigned char* launched_room(size_t bytes);
unsigned char* launched_at(size_t offset, size_t bytes);
// Where a kernel waits for what another block, or the host, is to do: all others come first.
void let_others();
// The calling thread's block has come to a barrier of all blocks, the one of this number.
void grid_arrive(unsigned which, Site site = Site::here());

// Whether words of a buffer can be had at once: all of them inside, and aligned as a device needs it.
inline void check_access(const void* buffer, uint64_t index, uint64_t count, uint64_t len) {
    if (__builtin_expect(index + count > len, 0)) {
        fail("words %llu to %llu of a buffer of %llu", static_cast<unsigned long long>(index),
             static_cast<unsigned long long>(index + count), static_cast<unsigned long long>(len));
    }
    if (__builtin_expect((reinterpret_cast<uintptr_t>(buffer) + 4 * index) % (4 * count) != 0, 0)) {
        fail("%llu words from word %llu on, which no device loads or stores at once",
             static_cast<unsigned long long>(count), static_cast<unsigned long long>(index));
    }
}

template <class T> uint64_t to_bits(T value) {
    static_assert(sizeof(T) <= 8 && std::is_trivially_copyable<T>::value, "warp operations move up to 64 bits");
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return bits;
}

template <class T> T from_bits(uint64_t bits) {
    T value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T> struct Same { using Type = T; };

// Changes a word of memory by a function of it, which other threads of the system may be changing too.
template <class T, class F> T change(T* at, F make) {
    before_atomic();
    T old;
    __atomic_load(at, &old, __ATOMIC_RELAXED);
    for (;;) {
        T made = make(old);
        if (__atomic_compare_exchange(at, &old, &made, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            return old;
        }
    }
}

// One row of the table of kernels, made of a kernel's own type.
template <class... Args> struct Entry {
    static constexpr uint32_t bytes[sizeof...(Args) + 1] = {sizeof(Args)..., 0};
    template <void (*kernel)(Args...), size_t... i> static void call(void* const* args, std::index_sequence<i...>) {
        kernel(*static_cast<Args*>(args[i])...);
    }
    template <void (*kernel)(Args...)> static void thread(void* const* args) {
        call<kernel>(args, std::index_sequence_for<Args...>{});
    }
    template <void (*kernel)(Args...)> static constexpr HostKernel of(const char* name, uint32_t shared_bytes = 0) {
        return {name, sizeof...(Args), shared_bytes, bytes, thread<kernel>};
    }
};
template <class... Args> Entry<Args...> entry_of(void (*)(Args...));

// Some of a library's kernels.
struct Table {
    const HostKernel* first;
    size_t count;
};

}  // namespace cuda_host

#define HOST_KERNEL(name, kernel) decltype(cuda_host::entry_of(&kernel))::of<&kernel>(name)
// One whose launch gives it shared memory.
#define HOST_KERNEL_IN(Room, name, kernel) decltype(cuda_host::entry_of(&kernel))::of<&kernel>(name, sizeof(Room))

#define threadIdx (cuda_host::current.thread)
#define blockIdx (cuda_host::current.block)
#define blockDim (cuda_host::current.block_size)
#define gridDim (cuda_host::current.grid)
constexpr int warpSize = 32;

// Barriers.

inline void __syncthreads(cuda_host::Site site = cuda_host::Site::here()) { cuda_host::block_barrier(site); }
inline int __syncthreads_count(int yes, cuda_host::Site site = cuda_host::Site::here()) {
    return static_cast<int>(cuda_host::block_count(yes != 0, site));
}
inline int __syncthreads_or(int yes, cuda_host::Site site = cuda_host::Site::here()) {
    return cuda_host::block_count(yes != 0, site) > 0;
}
inline int __syncthreads_and(int yes, cuda_host::Site site = cuda_host::Site::here()) {
    return cuda_host::block_count(yes == 0, site) == 0;
}
inline void __syncwarp(unsigned mask = ~0u, cuda_host::Site site = cuda_host::Site::here()) {
    cuda_host::warp_operation(cuda_host::Warp::sync, mask, 0, 0, 32, site);
}
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

inline void __nanosleep(unsigned) { cuda_host::let_others(); }

// Warp operations.

#define CUDA_HOST_SHUFFLE(name, what, type)                                                                       \
    template <class T>                                                                                            \
    T name(unsigned mask, T value, type lane, int width = 32, cuda_host::Site site = cuda_host::Site::here()) {    \
        return cuda_host::from_bits<T>(cuda_host::warp_operation(cuda_host::Warp::what, mask,                      \
                                                                 cuda_host::to_bits(value),                       \
                                                                 static_cast<unsigned>(lane), width, site));      \
    }
CUDA_HOST_SHUFFLE(__shfl_sync, shuffle, int)
CUDA_HOST_SHUFFLE(__shfl_up_sync, up, unsigned)
CUDA_HOST_SHUFFLE(__shfl_down_sync, down, unsigned)
CUDA_HOST_SHUFFLE(__shfl_xor_sync, exclusive, int)
#undef CUDA_HOST_SHUFFLE

#define CUDA_HOST_WARP(result, name, what, type)                                                                   \
    inline result name(unsigned mask, type value, cuda_host::Site site = cuda_host::Site::here()) {                \
        return static_cast<result>(                                                                               \
            cuda_host::warp_operation(cuda_host::Warp::what, mask, cuda_host::to_bits(value), 0, 32, site));       \
    }
CUDA_HOST_WARP(unsigned, __ballot_sync, ballot, int)
CUDA_HOST_WARP(int, __all_sync, all, int)
CUDA_HOST_WARP(int, __any_sync, any, int)
CUDA_HOST_WARP(unsigned, __match_any_sync, match, unsigned)
CUDA_HOST_WARP(unsigned, __match_any_sync, match, unsigned long long)
CUDA_HOST_WARP(unsigned, __reduce_add_sync, add, unsigned)
CUDA_HOST_WARP(unsigned, __reduce_min_sync, least, unsigned)
CUDA_HOST_WARP(unsigned, __reduce_max_sync, most, unsigned)
CUDA_HOST_WARP(unsigned, __reduce_and_sync, both, unsigned)
CUDA_HOST_WARP(unsigned, __reduce_or_sync, either, unsigned)
#undef CUDA_HOST_WARP

// Atomics: those of the host, because threads of the host may launch at once.

template <class T> T atomicAdd(T* at, typename cuda_host::Same<T>::Type value) {
    if constexpr (std::is_integral<T>::value) {
        cuda_host::before_atomic();
        return __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
    } else {
        return cuda_host::change(at, [value](T old) { return old + value; });
    }
}
template <class T> T atomicSub(T* at, typename cuda_host::Same<T>::Type value) {
    cuda_host::before_atomic();
    return __atomic_fetch_sub(at, value, __ATOMIC_RELAXED);
}
template <class T> T atomicAnd(T* at, typename cuda_host::Same<T>::Type value) {
    cuda_host::before_atomic();
    return __atomic_fetch_and(at, value, __ATOMIC_RELAXED);
}
template <class T> T atomicOr(T* at, typename cuda_host::Same<T>::Type value) {
    cuda_host::before_atomic();
    return __atomic_fetch_or(at, value, __ATOMIC_RELAXED);
}
template <class T> T atomicXor(T* at, typename cuda_host::Same<T>::Type value) {
    cuda_host::before_atomic();
    return __atomic_fetch_xor(at, value, __ATOMIC_RELAXED);
}
template <class T> T atomicMax(T* at, typename cuda_host::Same<T>::Type value) {
    return cuda_host::change(at, [value](T old) { return max(old, value); });
}
template <class T> T atomicMin(T* at, typename cuda_host::Same<T>::Type value) {
    return cuda_host::change(at, [value](T old) { return min(old, value); });
}
template <class T> T atomicExch(T* at, typename cuda_host::Same<T>::Type value) {
    return cuda_host::change(at, [value](T) { return value; });
}
template <class T>
T atomicCAS(T* at, typename cuda_host::Same<T>::Type wanted, typename cuda_host::Same<T>::Type value) {
    return cuda_host::change(at, [wanted, value](T old) { return old == wanted ? value : old; });
}

// Loads past a cache, and bits.

template <class T> T __ldg(const T* at) { return *at; }
template <class T> T __ldcg(const T* at) { return *at; }
template <class T> T __ldcs(const T* at) { return *at; }
template <class T> void __stcs(T* at, T value) { *at = value; }

inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
// Rounded correctly, as the host does it anyway.
inline float __fsqrt_rn(float x) { return __builtin_sqrtf(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((uint64_t{high} << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((uint64_t{high} << 32 | low) >> (shift & 31));
}
inline unsigned __float_as_uint(float x) { return static_cast<unsigned>(cuda_host::to_bits(x)); }
inline float __uint_as_float(unsigned bits) { return cuda_host::from_bits<float>(bits); }

// Adds an array of kernels to those of the library that it is linked into. A section of the file holds where each lies.
#define HOST_KERNELS(table)                                                                                       \
    static const cuda_host::Table listed{table, sizeof(table) / sizeof(table)[0]};                                \
    __attribute__((section("host_kernels"), used)) static const cuda_host::Table* list = &listed;
// As the above, one kernel of the crate.
#define HOST_KERNEL_ALONE(name)                                                                                   \
    static constexpr HostKernel KERNELS[] = {HOST_KERNEL(#name, pelton::name::name)};                             \
    HOST_KERNELS(KERNELS)
