// Runs blocks of fibers: whose turn it is, what barriers and warp operations wait for, and what is wrong with them.
//
// One block runs at a time, whichever thread launched it, because shared memory is one place for all. Its threads run
// until they wait, in an order that the seed shuffles anew in every round; with seed 0 they run by number. Stricter
// than CUDA on purpose: a barrier is one line of the source that every thread of the block reaches, none of them
// having left, and a warp operation is one line that every lane of its mask reaches with the same mask.

#include "fiber.h"

#include "cuda_host.h"

#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <memory>
#include <mutex>
#include <vector>

// Where shared memory lies; neither is there when no kernel has any.
extern "C" {
extern unsigned char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern unsigned char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));
}

namespace cuda_host {

Current current;

namespace {

constexpr unsigned THREADS_MAX = 1024;
constexpr unsigned LANES = 32;
// Unequal distances keep the stacks of a block from falling into the same lines of the cache.
constexpr size_t STACK_BYTES = CUDA_HOST_ASAN ? (256 << 10) + 4096 : (64 << 10) + 320;
constexpr uint64_t STACK_END_MARK = 0x5354'4143'4B20'454E;
// Atomics of one block before it is taken for one that waits forever.
constexpr uint64_t ATOMICS_MAX = 1 << 26;

enum class State : uint8_t { fresh, ready, at_barrier, at_warp, done };

struct Thread {
    Fiber fiber;
    unsigned char* stack;
    State state;
    Site site;
    // Of the warp operation it waits for.
    Warp what;
    unsigned mask, lane;
    int width;
    uint64_t value, result;
};

struct Block {
    std::mutex turn;
    Fiber launcher;
    Thread threads[THREADS_MAX];
    unsigned count, running, runnable, left;
    // Of the barrier that some wait for: how many, who came first, how many said yes, now and last time.
    unsigned at_barrier, first_at_barrier, yes, yes_result;
    unsigned order[THREADS_MAX], next;
    std::vector<unsigned char*> stacks;
    const HostKernel* kernel;
    void* const* args;
    uint64_t random, atomics;
    char why[512];
};

Block& block() {
    static Block* const only = new Block();
    return *only;
}

uint64_t draw() {
    // Source: S. Vigna, splitmix64.
    uint64_t x = block().random += 0x9E37'79B9'7F4A'7C15;
    x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9;
    x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EB;
    return x ^ x >> 31;
}

void shuffle(unsigned* items, unsigned count) {
    for (unsigned i = count; i > 1; i--) {
        std::swap(items[i - 1], items[(draw() >> 32) * i >> 32]);
    }
}

unsigned char* take_stack() {
    Block& b = block();
    if (b.stacks.empty()) {
        void* at = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) {
            fail("no memory for the stacks of its threads");
        }
        std::memcpy(at, &STACK_END_MARK, sizeof STACK_END_MARK);
        return static_cast<unsigned char*>(at);
    }
    unsigned char* stack = b.stacks.back();
    b.stacks.pop_back();
    return stack;
}

void give_stack(Thread& thread) {
    if (std::memcmp(thread.stack, &STACK_END_MARK, sizeof STACK_END_MARK) != 0) {
        std::memcpy(thread.stack, &STACK_END_MARK, sizeof STACK_END_MARK);
        std::snprintf(block().why, sizeof block().why, "%s: a thread needs more than %zu bytes of stack",
                      block().kernel->name, STACK_BYTES);
    }
    block().stacks.push_back(thread.stack);
    thread.stack = nullptr;
}

// The thread that goes on: the next of this round that can, or of a new round. Null when none can.
Thread* next_thread() {
    Block& b = block();
    if (b.runnable == 0) {
        return nullptr;
    }
    for (;;) {
        while (b.next < b.count) {
            Thread& thread = b.threads[b.order[b.next++]];
            if (thread.state == State::fresh || thread.state == State::ready) {
                b.running = static_cast<unsigned>(&thread - b.threads);
                current.thread.x = b.running;
                return &thread;
            }
        }
        b.next = 0;
        if (current.seeded) {
            shuffle(b.order, b.count);
        }
    }
}

const char* plain(const char* file) {
    const char* slash = std::strrchr(file, '/');
    return slash ? slash + 1 : file;
}

bool same(Site a, Site b) { return a.line == b.line && std::strcmp(a.file, b.file) == 0; }

// Says where the threads stand that cannot go on.
[[noreturn]] void fail_stuck() {
    Block& b = block();
    const Thread* stuck = nullptr;
    unsigned waiting = 0;
    for (unsigned i = 0; i < b.count; i++) {
        const State state = b.threads[i].state;
        if (state == State::at_barrier || state == State::at_warp) {
            stuck = stuck ? stuck : &b.threads[i];
            waiting++;
        }
    }
    const char* what = stuck->state == State::at_barrier ? "the barrier" : "a warp operation";
    fail("%u of %u threads wait forever; thread %u for %s at %s:%d, mask %08x, which others do not reach", waiting,
         b.count, static_cast<unsigned>(stuck - b.threads), what, plain(stuck->site.file), stuck->site.line,
         stuck->state == State::at_warp ? stuck->mask : ~0u);
}

void run_threads();

// Leaves the running fiber for `to`; comes back when it is its turn again, unless it is over.
void go_on_with(Thread& to, Fiber& from, bool last) {
    if (to.state == State::fresh) {
        to.state = State::ready;
        to.stack = take_stack();
        begin_at(to.fiber, to.stack, STACK_BYTES, run_threads);
    }
    change(from, to.fiber, last);
}

// The running thread waits in `state` until somebody makes it ready.
void wait(State state) {
    Block& b = block();
    Thread& self = b.threads[b.running];
    self.state = state;
    b.runnable--;
    Thread* next = next_thread();
    if (next == nullptr) {
        fail_stuck();
    }
    if (next != &self) {
        go_on_with(*next, self.fiber, false);
    }
}

void release(Thread& thread) {
    thread.state = State::ready;
    block().runnable++;
}

// The running thread has come to its end.
void leave() {
    Block& b = block();
    Thread& self = b.threads[b.running];
    if (b.at_barrier > 0) {
        const Site site = b.threads[b.first_at_barrier].site;
        fail("leaves while thread %u waits for the barrier at %s:%d", b.first_at_barrier, plain(site.file), site.line);
    }
    self.state = State::done;
    b.runnable--;
    b.left++;
}

// What every fiber runs: its thread, then those that have not begun, on the same stack.
void run_threads() {
    Block& b = block();
    arrived(b.threads[b.running].fiber, b.launcher.bottom == nullptr ? &b.launcher : nullptr);
    for (;;) {
        b.kernel->thread(b.args);
        Thread& self = b.threads[b.running];
        leave();
        Thread* next = next_thread();
        if (next != nullptr && next->state == State::fresh) {
            next->state = State::ready;
            next->stack = self.stack;
            next->fiber.bottom = self.fiber.bottom;
            next->fiber.size = self.fiber.size;
            next->fiber.fake_stack = nullptr;
            self.stack = nullptr;
            continue;
        }
        if (next == nullptr && b.left < b.count) {
            fail_stuck();
        }
        give_stack(self);
        change(self.fiber, next ? next->fiber : b.launcher, true);
    }
}

// Rubbish, so that what a kernel forgets to set is not what the block before left. Word by word and past the
// sanitizer, which guards the gaps between variables.
__attribute__((no_sanitize("address"))) void poison_shared() {
    const uint32_t rubbish = current.seeded ? static_cast<uint32_t>(draw()) | 1 : 0xCDCD'CDCD;
    unsigned char* const end = __stop_cuda_shared;
    for (unsigned char* at = __start_cuda_shared; at != nullptr && at + 4 <= end; at += 4) {
        *reinterpret_cast<volatile uint32_t*>(at) = rubbish;
    }
}

bool run_block(unsigned number) {
    Block& b = block();
    current.block = {number, 0, 0};
    b.running = b.next = b.at_barrier = b.left = b.yes = 0;
    b.runnable = b.count;
    b.atomics = 0;
    b.why[0] = 0;
    for (unsigned i = 0; i < b.count; i++) {
        b.threads[i].state = State::fresh;
        b.threads[i].stack = nullptr;
        b.order[i] = i;
    }
    poison_shared();
    if (current.seeded) {
        shuffle(b.order, b.count);
    }
    b.launcher.bottom = nullptr;
    Thread* first = next_thread();
    go_on_with(*first, b.launcher, false);
    for (unsigned i = 0; i < b.count; i++) {
        Thread& thread = b.threads[i];
        if (thread.stack != nullptr) {
#if CUDA_HOST_ASAN
            __asan_unpoison_memory_region(thread.stack, STACK_BYTES);
#endif
            give_stack(thread);
        }
    }
    return b.why[0] == 0;
}

Thread* lanes_of(unsigned thread) { return block().threads + thread / LANES * LANES; }

[[noreturn]] void fail_lane(unsigned lane, const char* what, const Thread& self) {
    fail("lane %u of warp %u %s the warp operation at %s:%d of mask %08x", lane, block().running / LANES, what,
         plain(self.site.file), self.site.line, self.mask);
}

// What each lane of a complete warp operation takes away.
void finish_warp(const Thread& any, Thread* lanes) {
    const unsigned mask = any.mask;
    uint64_t all_yes = 1, any_yes = 0, votes = 0, sum = 0, least = ~0ull, most = 0, both = ~0ull, either = 0;
    for (unsigned i = 0; i < LANES; i++) {
        if (mask >> i & 1) {
            const uint64_t value = lanes[i].value;
            all_yes &= value != 0;
            any_yes |= value != 0;
            votes |= uint64_t{value != 0} << i;
            sum = static_cast<uint32_t>(sum + value);
            least = min(least, value);
            most = max(most, value);
            both &= value;
            either |= value;
        }
    }
    for (unsigned i = 0; i < LANES; i++) {
        if ((mask >> i & 1) == 0) {
            continue;
        }
        Thread& lane = lanes[i];
        const unsigned width = static_cast<unsigned>(lane.width), segment = i & ~(width - 1);
        // The lane a shuffle reads, or its own where CUDA says so; one outside the mask is undefined.
        unsigned from = i;
        switch (lane.what) {
            case Warp::shuffle: from = segment + (lane.lane & (width - 1)); break;
            case Warp::up: from = i - segment >= lane.lane ? i - lane.lane : i; break;
            case Warp::down: from = uint64_t{i - segment} + lane.lane < width ? i + lane.lane : i; break;
            // Earlier segments can be read, later ones give a lane its own.
            case Warp::exclusive: from = (i ^ lane.lane) < segment + width ? i ^ lane.lane : i; break;
            case Warp::sync: lane.result = 0; continue;
            case Warp::ballot: lane.result = votes; continue;
            case Warp::all: lane.result = all_yes; continue;
            case Warp::any: lane.result = any_yes; continue;
            case Warp::add: lane.result = sum; continue;
            case Warp::least: lane.result = least; continue;
            case Warp::most: lane.result = most; continue;
            case Warp::both: lane.result = both; continue;
            case Warp::either: lane.result = either; continue;
            case Warp::match:
                lane.result = 0;
                for (unsigned j = 0; j < LANES; j++) {
                    const bool equal = (mask >> j & 1) != 0 && lanes[j].value == lane.value;
                    lane.result |= uint64_t{equal} << j;
                }
                continue;
        }
        lane.result = from < LANES && (mask >> from & 1) ? lanes[from].value : 0xDEAD'BEEF'DEAD'BEEF;
    }
}

void check_warp(const Thread& self, unsigned lane) {
    const Thread* lanes = lanes_of(block().running);
    if (self.width < 1 || self.width > 32 || (self.width & (self.width - 1)) != 0) {
        fail("width %d of the warp operation at %s:%d is not 1, 2, 4, 8, 16 or 32", self.width,
             plain(self.site.file), self.site.line);
    }
    if ((self.mask >> lane & 1) == 0) {
        fail_lane(lane, "is not in the mask of", self);
    }
    for (unsigned i = 0; i < LANES; i++) {
        if ((self.mask >> i & 1) == 0) {
            continue;
        }
        if (block().running / LANES * LANES + i >= block().count) {
            fail_lane(i, "does not exist but is named by", self);
        }
        const Thread& other = lanes[i];
        if (other.state == State::done) {
            fail_lane(i, "has left before", self);
        }
        if (other.state == State::at_warp && other.mask == self.mask && !same(other.site, self.site)) {
            fail_lane(i, "waits elsewhere than at", self);
        }
    }
}

}  // namespace

void fail(const char* format, ...) {
    Block& b = block();
    const int used = std::snprintf(b.why, sizeof b.why, "%s, block %u, thread %u: ", b.kernel->name, current.block.x,
                                   b.running);
    va_list args;
    va_start(args, format);
    std::vsnprintf(b.why + used, sizeof b.why - static_cast<size_t>(used), format, args);
    va_end(args);
    // The launcher puts the fibers away; nobody comes back here.
    change(b.threads[b.running].fiber, b.launcher, true);
    __builtin_unreachable();
}

unsigned block_count(bool yes, Site site) {
    Block& b = block();
    Thread& self = b.threads[b.running];
    if (b.left > 0) {
        fail("waits for the barrier at %s:%d, but %u threads of its block have left", plain(site.file), site.line,
             b.left);
    }
    self.site = site;
    b.yes += yes;
    if (b.at_barrier == 0) {
        b.first_at_barrier = b.running;
    }
    const Site first = b.threads[b.first_at_barrier].site;
    if (!same(first, site)) {
        fail("waits for the barrier at %s:%d while thread %u waits for that at %s:%d", plain(site.file), site.line,
             b.first_at_barrier, plain(first.file), first.line);
    }
    if (++b.at_barrier < b.count) {
        wait(State::at_barrier);
        return b.yes_result;
    }
    b.yes_result = b.yes;
    b.yes = b.at_barrier = 0;
    for (unsigned i = 0; i < b.count; i++) {
        if (b.threads[i].state == State::at_barrier) {
            release(b.threads[i]);
        }
    }
    return b.yes_result;
}

void block_barrier(Site site) { block_count(false, site); }

uint64_t warp_operation(Warp what, unsigned mask, uint64_t value, unsigned lane, int width, Site site) {
    Block& b = block();
    Thread& self = b.threads[b.running];
    self.what = what;
    self.mask = mask;
    self.value = value;
    self.lane = lane;
    self.width = width;
    self.site = site;
    check_warp(self, b.running % LANES);
    Thread* lanes = lanes_of(b.running);
    unsigned here = 1u << b.running % LANES;
    for (unsigned i = 0; i < LANES; i++) {
        if ((mask >> i & 1) != 0 && lanes[i].state == State::at_warp && lanes[i].mask == mask) {
            here |= 1u << i;
        }
    }
    if (here != mask) {
        wait(State::at_warp);
        return self.result;
    }
    finish_warp(self, lanes);
    for (unsigned i = 0; i < LANES; i++) {
        if ((mask >> i & 1) != 0 && &lanes[i] != &self) {
            release(lanes[i]);
        }
    }
    return self.result;
}

void before_atomic() {
    Block& b = block();
    if (++b.atomics > ATOMICS_MAX) {
        fail("more than %llu atomics in one block: it waits for something that never comes",
             static_cast<unsigned long long>(ATOMICS_MAX));
    }
    if (current.seeded && draw() % 8 == 0) {
        Thread& self = b.threads[b.running];
        Thread* next = next_thread();
        if (next != &self) {
            go_on_with(*next, self.fiber, false);
        }
    }
}

}  // namespace cuda_host

int host_launch(const HostKernel* kernel, const HostLaunch* launch, void* const* args, char* why, size_t why_len) {
    using namespace cuda_host;
    const char* wrong = nullptr;
    if (launch->block == 0 || launch->block > THREADS_MAX) {
        wrong = "a block has 1 to 1,024 threads";
    } else if (launch->grid == 0 || launch->grid > 0x7FFF'FFFFu) {
        wrong = "a grid has 1 to 2^31 - 1 blocks";
    } else if (launch->shared_bytes != 0) {
        wrong = "dynamic shared memory is not emulated";
    }
    if (wrong != nullptr) {
        std::snprintf(why, why_len, "%s: %s", kernel->name, wrong);
        return 1;
    }
    // Which block comes when: a walk by a step that shares no factor with their number visits each once.
    uint64_t at = 0, step = 1;
    for (uint32_t i = 0; i < launch->grid; i++) {
        std::lock_guard<std::mutex> turn(block().turn);
        Block& b = block();
        b.kernel = kernel;
        b.args = args;
        b.count = launch->block;
        b.random = launch->seed ^ uint64_t{i} << 40;
        current = {{0, 0, 0}, {0, 0, 0}, {launch->block, 1, 1}, {launch->grid, 1, 1}, launch->seed != 0};
        if (i == 0 && current.seeded) {
            at = draw() % launch->grid;
            do {
                step = 1 + draw() % launch->grid;
            } while (std::__gcd(step, uint64_t{launch->grid}) != 1);
        }
        if (!run_block(static_cast<unsigned>(at))) {
            std::snprintf(why, why_len, "%s", b.why);
            return 1;
        }
        at = (at + step) % launch->grid;
    }
    return 0;
}
