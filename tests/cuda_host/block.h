// A block that runs: its threads, and what they wait for. Shared by the files of the runtime, seen by nobody else.
#pragma once

#include "fiber.h"

#include "cuda_host.h"

#include <mutex>
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

struct Block {
    // Held by the thread of the system whose block it is.
    std::mutex turn;
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
    std::vector<unsigned char*> stacks;
    uint64_t random, atomics;
    char why[512];
};

extern Block block;

// The running thread waits in this state until somebody releases it.
void wait(State state);
void release(Thread& thread);

inline bool same(Site a, Site b) {
    return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

// A file's name without its folders.
const char* plain(const char* file);

}  // namespace cuda_host
