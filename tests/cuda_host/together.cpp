// Cooperative launches: all blocks are there at the same time, and wait for each other and for the host.
//
// A block runs until it is over or comes to a place where it waits (`__nanosleep`); then another has its turn, drawn by
// the seed. A block at a barrier of the grid has its next turn when all others have come to the same one. Stricter than
// CUDA: a barrier that a block does not reach, or under another number, is an error. Shared memory is kept for a block
// while others have the turn.

#include "block.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

namespace cuda_host {

struct Together {
    HostLaunch launch;
    std::vector<std::unique_ptr<Block>> blocks;
    unsigned at_grid = 0, over = 0;
    // Of the barrier that some have come to: its number, and who came first.
    unsigned which = 0, first = 0;
    uint64_t random = 0;
};

namespace {

// What host_hold says.
enum : int { GO_ON, END, STAND_STILL };
std::atomic<int> held{GO_ON};

// When no block but those that look for something can go on, the host's threads get the processor: for a moment the
// first times, then for longer.
constexpr auto PAUSE = std::chrono::microseconds(20);
constexpr unsigned YIELDS = 100;

uint64_t draw_from(Together& all) {
    // Source: S. Vigna, splitmix64.
    uint64_t x = all.random += 0x9E37'79B9'7F4A'7C15;
    x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9;
    x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EB;
    return x ^ x >> 31;
}

bool can_go_on(const Block& of) { return of.stand == Stand::fresh || of.stand == Stand::on; }

// Gives each block that can go on a turn, in an order of the seed; the one that something is wrong with, or null.
// `moved`: whether any came to a barrier, past one, or to its end.
Block* round(Together& all, bool& moved) {
    const unsigned count = all.launch.grid;
    const unsigned start = all.launch.seed == 0 ? 0 : static_cast<unsigned>(draw_from(all) % count);
    const bool back = all.launch.seed != 0 && draw_from(all) % 2 != 0;
    for (unsigned i = 0; i < count; i++) {
        Block& of = *all.blocks[(start + (back ? count - i : i)) % count];
        // Now and then one block is left behind for a round.
        if (!can_go_on(of) || (all.launch.seed != 0 && draw_from(all) % 8 == 0)) {
            continue;
        }
        const unsigned before = all.at_grid;
        const bool fresh = of.stand == Stand::fresh;
        if (!slice(of, all.launch)) {
            return &of;
        }
        if (of.stand == Stand::over && ++all.over && all.at_grid > 0) {
            std::snprintf(of.why, sizeof of.why,
                          "%s, block %u: has left while block %u waits for barrier %u of the grid", of.kernel->name,
                          of.number, all.first, all.which);
            return &of;
        }
        moved = moved || fresh || all.at_grid != before || of.stand == Stand::over;
    }
    return nullptr;
}

}  // namespace

void let_others() {
    if (block->together == nullptr) {
        before_atomic();
        return;
    }
    // The launcher gives others their turn; this block's threads go on behind this one.
    change(block->threads[block->running].fiber, block->launcher, false);
}

void grid_arrive(unsigned which, Site site) {
    Together* const all = block->together;
    if (all == nullptr) {
        fail("waits for the barrier of the grid at %s:%d, but was not launched cooperatively", plain(site.file),
             site.line);
    }
    if (all->over > 0) {
        fail("waits for barrier %u of the grid, but %u blocks have left", which, all->over);
    }
    if (all->at_grid == 0) {
        all->which = which;
        all->first = block->number;
    } else if (all->which != which) {
        fail("waits for barrier %u of the grid while block %u waits for barrier %u", which, all->first, all->which);
    }
    block->stand = Stand::at_grid;
    if (++all->at_grid == all->launch.grid) {
        all->at_grid = 0;
        for (auto& of : all->blocks) {
            of->stand = Stand::on;
        }
    }
}

int run_together(const HostKernel* kernel, const HostLaunch& launch, void* const* args, char* why, size_t why_len) {
    Together all;
    all.launch = launch;
    all.random = launch.seed;
    for (unsigned i = 0; i < launch.grid; i++) {
        all.blocks.push_back(std::make_unique<Block>());
        Block& of = *all.blocks.back();
        of.kernel = kernel;
        of.args = args;
        of.count = launch.block;
        of.together = &all;
        of.random = launch.seed ^ uint64_t{i} << 40;
        prepare(of, i);
    }
    why[0] = 0;
    unsigned vain = 0;
    while (all.over < launch.grid && why[0] == 0) {
        const int how = held.load();
        bool moved = false;
        if (how == END) {
            std::snprintf(why, why_len, "%s: ended from outside", kernel->name);
        } else if (how == GO_ON) {
            const Block* wrong = round(all, moved);
            if (wrong != nullptr) {
                std::snprintf(why, why_len, "%s", wrong->why);
            }
        }
        vain = moved ? 0 : vain + 1;
        if (vain > YIELDS) {
            std::this_thread::sleep_for(PAUSE);
        } else if (vain > 0) {
            std::this_thread::yield();
        }
    }
    for (auto& of : all.blocks) {
        forget(*of, all.launch);
    }
    return why[0] != 0;
}

}  // namespace cuda_host

void host_hold(int how) { cuda_host::held.store(how); }
