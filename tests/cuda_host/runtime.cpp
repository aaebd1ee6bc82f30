// Runs blocks of fibers: whose turn it is, what barriers and warp operations wait for, and what is wrong with them.
//
// One block runs at a time, whichever thread launched it, because shared memory is one place for all. Those of a
// cooperative launch are all there at once (together.cpp) and have theirs kept meanwhile. Its threads run
// until they wait, in an order that the seed shuffles anew in every round; with seed 0 they run by number. Stricter
// than CUDA on purpose: a barrier is one line of the source that every thread of the block reaches, and none has left.

#include "block.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <numeric>

// Where shared memory lies; neither is there when no kernel has any.
extern "C" {
extern unsigned char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern unsigned char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));
}

namespace cuda_host {

Current current;
Block* block = nullptr;

namespace {

// Held by the thread of the system whose turn it is: shared memory is one place for all.
std::mutex turn;
// Of blocks that come one after the other.
Block lone;
// The block whose words lie in shared memory.
Block* owner = nullptr;
// Stacks that no thread has.
std::vector<unsigned char*> stacks;

// Unequal distances keep the stacks of a block from falling into the same lines of the cache.
constexpr size_t STACK_BYTES = CUDA_HOST_ASAN ? (256 << 10) + 4096 : (64 << 10) + 320;
constexpr uint64_t STACK_END_MARK = 0x5354'4143'4B20'454E;
// Atomics of one block before it is taken for one that waits forever.
constexpr uint64_t ATOMICS_MAX = 1 << 23;

// Sets what is wrong: where it happened, and what.
void say(const char* format, va_list args) {
    const int used = std::snprintf(block->why, sizeof block->why, "%s, block %u, thread %u: ", block->kernel->name,
                                   current.block.x, block->running);
    std::vsnprintf(block->why + used, sizeof block->why - static_cast<size_t>(used), format, args);
}

}  // namespace

uint64_t draw() {
    // Source: S. Vigna, splitmix64.
    uint64_t x = block->random += 0x9E37'79B9'7F4A'7C15;
    x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9;
    x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EB;
    return x ^ x >> 31;
}

namespace {

void shuffle(unsigned* items, unsigned count) {
    for (unsigned i = count; i > 1; i--) {
        std::swap(items[i - 1], items[(draw() >> 32) * i >> 32]);
    }
}

unsigned char* take_stack() {
    if (stacks.empty()) {
        constexpr size_t TOGETHER = 64;
        void* at =
            mmap(nullptr, TOGETHER * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) {
            fail("no memory for the stacks of its threads");
        }
        for (size_t i = 0; i < TOGETHER; i++) {
            unsigned char* const stack = static_cast<unsigned char*>(at) + i * STACK_BYTES;
            std::memcpy(stack, &STACK_END_MARK, sizeof STACK_END_MARK);
            stacks.push_back(stack);
        }
    }
    unsigned char* const stack = stacks.back();
    stacks.pop_back();
    return stack;
}

void give_stack(Thread& thread) {
    if (std::memcmp(thread.stack, &STACK_END_MARK, sizeof STACK_END_MARK) != 0) {
        std::memcpy(thread.stack, &STACK_END_MARK, sizeof STACK_END_MARK);
        std::snprintf(block->why, sizeof block->why, "%s: a thread needs more than %zu bytes of stack",
                      block->kernel->name, STACK_BYTES);
    }
    stacks.push_back(thread.stack);
    thread.stack = nullptr;
}

}  // namespace

Thread* next_thread() {
    if (block->runnable == 0) {
        return nullptr;
    }
    for (;;) {
        while (block->next < block->count) {
            Thread& thread = block->threads[block->order[block->next++]];
            if (thread.state == State::fresh || thread.state == State::ready) {
                block->running = static_cast<unsigned>(&thread - block->threads);
                current.thread.x = block->running;
                return &thread;
            }
        }
        block->next = 0;
        if (current.seeded) {
            shuffle(block->order, block->count);
        }
    }
}

namespace {

// Says where the threads stand that cannot go on.
[[noreturn]] void fail_stuck() {
    const unsigned waiting = block->count - block->left;
    if (block->at_barrier > 0) {
        fail("%u of %u threads wait forever, %u of them for the barrier at %s:%d", waiting, block->count,
             block->at_barrier, plain(block->barrier.file), block->barrier.line);
    }
    for (unsigned i = 0; i < (block->count + LANES - 1) / LANES; i++) {
        if (block->warps[i].meetings > 0) {
            const Meeting& meeting = block->warps[i].meeting[0];
            fail("%u of %u threads wait forever, lanes %08x of warp %u for the others of mask %08x at %s:%d", waiting,
                 block->count, meeting.arrived, i, meeting.mask, plain(meeting.site.file), meeting.site.line);
        }
    }
    fail("%u of %u threads wait forever", waiting, block->count);
}

void run_threads();

}  // namespace

void go_on_with(Thread& to, Fiber& from, bool last) {
    if (to.state == State::fresh) {
        to.state = State::ready;
        to.stack = take_stack();
        begin_at(to.fiber, to.stack, STACK_BYTES, run_threads);
    }
    change(from, to.fiber, last);
}

namespace {

// The running thread has come to its end.
void leave() {
    Thread& self = block->threads[block->running];
    if (block->at_barrier > 0) {
        fail("leaves while thread %u waits for the barrier at %s:%d", block->first_at_barrier,
             plain(block->barrier.file), block->barrier.line);
    }
    block->warps[block->running / LANES].left |= 1u << block->running % LANES;
    self.state = State::done;
    block->runnable--;
    block->left++;
}

// What every fiber runs: its thread, then those that have not begun, on the same stack.
void run_threads() {
    arrived(block->threads[block->running].fiber, block->launcher.bottom == nullptr ? &block->launcher : nullptr);
    for (;;) {
        block->kernel->thread(block->args);
        Thread& self = block->threads[block->running];
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
        if (next == nullptr && block->left < block->count) {
            fail_stuck();
        }
        give_stack(self);
        change(self.fiber, next ? next->fiber : block->launcher, true);
    }
}

// Shared memory as whole words, each read and written past the sanitizer, which guards the gaps between variables.
volatile uint32_t* shared_words() { return reinterpret_cast<volatile uint32_t*>(__start_cuda_shared); }
size_t shared_count() {
    return __start_cuda_shared == nullptr ? 0 : static_cast<size_t>(__stop_cuda_shared - __start_cuda_shared) / 4;
}

// Rubbish, so that what a kernel forgets to set is not what the block before left.
__attribute__((no_sanitize("address"))) void poison_shared() {
    const uint32_t rubbish = current.seeded ? static_cast<uint32_t>(draw()) | 1 : 0xCDCD'CDCD;
    for (size_t i = 0; i < shared_count(); i++) {
        shared_words()[i] = rubbish;
    }
}

__attribute__((no_sanitize("address"))) void keep_shared(std::vector<uint32_t>& into) {
    into.resize(shared_count());
    uint32_t* const to = into.data();
    for (size_t i = 0; i < shared_count(); i++) {
        to[i] = shared_words()[i];
    }
}

__attribute__((no_sanitize("address"))) void bring_shared(const std::vector<uint32_t>& from) {
    const uint32_t* const words = from.data();
    for (size_t i = 0; i < from.size(); i++) {
        shared_words()[i] = words[i];
    }
}

}  // namespace

void prepare(Block& fresh, unsigned number) {
    fresh.number = number;
    fresh.running = fresh.next = fresh.at_barrier = fresh.left = fresh.yes = 0;
    fresh.runnable = fresh.count;
    fresh.stand = Stand::fresh;
    fresh.why[0] = 0;
    for (unsigned i = 0; i < fresh.count; i++) {
        fresh.threads[i].state = State::fresh;
        fresh.threads[i].stack = nullptr;
        fresh.order[i] = i;
    }
    for (unsigned i = 0; i * LANES < fresh.count; i++) {
        const unsigned lanes = min(fresh.count - i * LANES, LANES);
        fresh.warps[i].lanes = lanes == LANES ? ~0u : (1u << lanes) - 1;
        fresh.warps[i].left = fresh.warps[i].meetings = 0;
    }
    fresh.launcher.bottom = nullptr;
}

void run_slice() {
    current.block = {block->number, 0, 0};
    block->atomics = block->waits = 0;
    if (block->stand == Stand::fresh) {
        block->stand = Stand::on;
        poison_shared();
        poison_room();
        if (current.seeded) {
            shuffle(block->order, block->count);
        }
    }
    Thread* first = next_thread();
    go_on_with(*first, block->launcher, false);
    if (block->left == block->count) {
        block->stand = Stand::over;
    }
}

void put_away() {
    for (unsigned i = 0; i < block->count; i++) {
        Thread& thread = block->threads[i];
        if (thread.stack != nullptr) {
#if CUDA_HOST_ASAN
            __asan_unpoison_memory_region(thread.stack, STACK_BYTES);
#endif
            give_stack(thread);
        }
    }
}

namespace {

void say_fault(const void* at) {
    std::snprintf(block->why, sizeof block->why, "%s, block %u, thread %u: touches memory at %p, which is not there",
                  block->kernel->name, current.block.x, block->running, at);
}

// A thread that touches memory which is not there ends its launch. The sanitizer says more, so it keeps the signal.
thread_local sigjmp_buf* escape = nullptr;
struct sigaction before[2];

void on_fault(int number, siginfo_t* info, void*) {
    if (escape == nullptr) {
        // Not in a kernel: it happens again, to whoever was there before.
        sigaction(number, &before[number == SIGBUS], nullptr);
        return;
    }
    say_fault(info->si_addr);
    siglongjmp(*escape, 1);
}

void catch_faults() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGSEGV, &action, &before[0]);
        sigaction(SIGBUS, &action, &before[1]);
    });
}

// Runs blocks one after the other until one fails or all have run, and keeps the turn of the last.
void run_blocks(const HostKernel* kernel, const HostLaunch& launch, void* const* args) {
    // Which block comes when: a walk by a step that shares no factor with their number visits each once.
    uint64_t at = 0, step = 1;
    for (uint32_t i = 0; i < launch.grid; i++) {
        take_turn(lone, launch);
        lone.kernel = kernel;
        lone.args = args;
        lone.count = launch.block;
        lone.together = nullptr;
        lone.random = launch.seed ^ uint64_t{i} << 40;
        if (i == 0 && current.seeded) {
            at = draw() % launch.grid;
            do {
                step = 1 + draw() % launch.grid;
            } while (std::gcd(step, uint64_t{launch.grid}) != 1);
        }
        prepare(lone, static_cast<unsigned>(at));
        run_slice();
        if (lone.why[0] != 0 || i + 1 == launch.grid) {
            return;
        }
        turn.unlock();
        at = (at + step) % launch.grid;
    }
}

// A launch whose blocks all come one after the other: to its end, or what is wrong with it.
int run_in_turn(const HostKernel* kernel, const HostLaunch& launch, void* const* args, char* why, size_t why_len) {
    sigjmp_buf out;
    if (sigsetjmp(out, 1) == 0) {
        escape = &out;
        run_blocks(kernel, launch, args);
    }
    escape = nullptr;
    // Whether the last block ended well or not, its turn is still this thread's.
    put_away();
    const bool failed = lone.why[0] != 0;
    if (failed) {
        std::snprintf(why, why_len, "%s", lone.why);
    }
    turn.unlock();
    return failed;
}

}  // namespace

void take_turn(Block& of, const HostLaunch& launch) {
    turn.lock();
    block = &of;
    if (owner != &of) {
        if (owner != nullptr && owner->together != nullptr) {
            keep_shared(owner->shared);
        }
        owner = &of;
        if (of.together != nullptr && of.stand != Stand::fresh) {
            bring_shared(of.shared);
        }
    }
    current = {{0, 0, 0}, {0, 0, 0}, {launch.block, 1, 1}, {launch.grid, 1, 1}, launch.seed != 0};
}

void give_turn() { turn.unlock(); }

void forget(Block& of, const HostLaunch& launch) {
    take_turn(of, launch);
    put_away();
    owner = nullptr;
    give_turn();
}

bool slice(Block& of, const HostLaunch& launch) {
    take_turn(of, launch);
    sigjmp_buf out;
    if (sigsetjmp(out, 1) == 0) {
        escape = &out;
        run_slice();
    }
    escape = nullptr;
    const bool well = of.why[0] == 0;
    give_turn();
    return well;
}

const char* plain(const char* file) {
    const char* slash = std::strrchr(file, '/');
    return slash ? slash + 1 : file;
}

void wait(State state) {
    Thread& self = block->threads[block->running];
    self.state = state;
    block->runnable--;
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
    block->runnable++;
}

void fail(const char* format, ...) {
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    // The launcher puts the fibers away; nobody comes back here.
    change(block->threads[block->running].fiber, block->launcher, true);
    __builtin_unreachable();
}

unsigned block_count(bool yes, Site site) {
    if (block->left > 0) {
        fail("waits for the barrier at %s:%d, but %u threads of its block have left", plain(site.file), site.line,
             block->left);
    }
    if (block->at_barrier == 0) {
        block->first_at_barrier = block->running;
        block->barrier = site;
    }
    if (!same(block->barrier, site)) {
        fail("waits for the barrier at %s:%d while thread %u waits for that at %s:%d", plain(site.file), site.line,
             block->first_at_barrier, plain(block->barrier.file), block->barrier.line);
    }
    block->yes += yes;
    if (++block->at_barrier < block->count) {
        wait(State::at_barrier);
        return block->yes_result;
    }
    block->yes_result = block->yes;
    block->yes = block->at_barrier = 0;
    for (unsigned i = 0; i < block->count; i++) {
        if (block->threads[i].state == State::at_barrier) {
            release(block->threads[i]);
        }
    }
    return block->yes_result;
}

void block_barrier(Site site) { block_count(false, site); }

void before_atomic() {
    if (++block->atomics > ATOMICS_MAX) {
        fail("more than %llu atomics in one block: it waits for something that never comes",
             static_cast<unsigned long long>(ATOMICS_MAX));
    }
    if (current.seeded && draw() % 8 == 0) {
        Thread& self = block->threads[block->running];
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
    } else if (launch->cooperative && launch->grid > TOGETHER_MAX) {
        wrong = "more blocks than are there at the same time";
    } else if (launch->shared_bytes != kernel->shared_bytes || !is_room(launch->shared_bytes)) {
        wrong = "not the dynamic shared memory that it has, or more than a block may have";
    }
    if (wrong != nullptr) {
        std::snprintf(why, why_len, "%s: %s", kernel->name, wrong);
        return 1;
    }
    if (!CUDA_HOST_ASAN) {
        catch_faults();
    }
    return launch->cooperative ? run_together(kernel, *launch, args, why, why_len)
                               : run_in_turn(kernel, *launch, args, why, why_len);
}
