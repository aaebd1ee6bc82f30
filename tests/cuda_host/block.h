// Blocks that run: their threads, and what they wait for. Shared by the files of the runtime, seen by nobody else.
#pragma once

#include "fiber.h"

#include "cuda_host.h"

#include <vector>

namespace cuda_host {

constexpr unsigned THREADS_MAX = 1024;
constexpr unsigned LANES = 32;

enum class State : uint8_t { fresh, ready, at_barrier, at_warp, done };

struct Thread {
    Fiber fiber;
    unsigned char* stack;
    State state;
    // What it brings to the warp operation it waits for, and what it takes away.
    unsigned lane;
    int width;
    uint64_t value, result;
};

// A warp operation that some lanes of its mask have reached.
struct Meeting {
    unsigned mask, arrived;
    Warp what;
    Site site;
};

struct WarpState {
    // Lanes there are, and those that have left.
    unsigned lanes, left;
    unsigned meetings;
    Meeting meeting[LANES];
};

// Where a block of a launch stands whose blocks are there at the same time.
enum class Stand : uint8_t { fresh, on, at_grid, over };

struct Together;

struct Block {
    const HostKernel* kernel;
    void* const* args;
    Fiber launcher;
    Thread threads[THREADS_MAX];
    WarpState warps[THREADS_MAX / LANES];
    unsigned count, running, runnable, left;
    // Of the barrier that some wait for: how many, who came first and where, how many said yes, now and last time.
    unsigned at_barrier, first_at_barrier, yes, yes_result;
    Site barrier;
    unsigned order[THREADS_MAX], next;
    uint64_t random, atomics, waits;
    char why[512];
    // The launch whose blocks are there at the same time; null when they come one after the other.
    Together* together;
    unsigned number;
    Stand stand;
    // What it has in shared memory while another has the turn.
    std::vector<uint32_t> shared;
};

// The block whose turn it is.
extern Block* block;

// The block's next thread that can go on, or that of a new round; null when none can.
Thread* next_thread();
// Leaves the running fiber for a thread; comes back when it is its turn again, unless it is over.
void go_on_with(Thread& to, Fiber& from, bool last);
// Rubbish for the dynamic shared memory of the block's kernel; whether a block may have so much.
void poison_room();
bool is_room(size_t bytes);
// The turn of a block, for the thread of the system that asks.
void take_turn(Block& of, const HostLaunch& launch);
void give_turn();
// One turn of a block of a cooperative launch: until it waits or is over; whether it went well.
bool slice(Block& of, const HostLaunch& launch);
// Puts away what is left of such a block.
void forget(Block& of, const HostLaunch& launch);
// A launch whose blocks are there at the same time, that many at most; as `host_launch`.
constexpr unsigned TOGETHER_MAX = 64;
int run_together(const HostKernel* kernel, const HostLaunch& launch, void* const* args, char* why, size_t why_len);
// Makes a block ready to begin, and begins or goes on with it, until it is over, wrong, or lets others come first.
void prepare(Block& fresh, unsigned number);
void run_slice();
// Takes the stacks of threads that will not go on.
void put_away();
// The seed's next number for the block whose turn it is.
uint64_t draw();

// The running thread waits in this state until somebody releases it.
void wait(State state);
void release(Thread& thread);

inline bool same(Site a, Site b) {
    return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

// A file's name without its folders.
const char* plain(const char* file);

}  // namespace cuda_host
