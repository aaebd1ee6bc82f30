// Warp operations: who has to come, what is wrong when they do not, and what each lane takes away.
//
// Stricter than CUDA, which lets lanes of a mask be gone and reach the operation on other lines of the source: all of
// them come, to the same line, with the same mask.

#include "block.h"

namespace cuda_host {

namespace {

[[noreturn]] void fail_lanes(unsigned lanes, const char* what, unsigned mask, Site site) {
    fail("lane %d of its warp %s the warp operation at %s:%d with mask %08x", __builtin_ctz(lanes), what,
         plain(site.file), site.line, mask);
}

// The lane a shuffle reads: its own where CUDA says so.
unsigned source(Warp what, unsigned lane, unsigned distance, unsigned width) {
    const unsigned segment = lane & ~(width - 1);
    switch (what) {
        case Warp::shuffle: return segment + (distance & (width - 1));
        case Warp::up: return lane - segment >= distance ? lane - distance : lane;
        case Warp::down: return uint64_t{lane - segment} + distance < width ? lane + distance : lane;
        // Earlier segments can be read, later ones give a lane its own.
        default: return (lane ^ distance) < segment + width ? lane ^ distance : lane;
    }
}

template <class F> void each_lane(unsigned mask, F f) {
    for (; mask != 0; mask &= mask - 1) {
        f(static_cast<unsigned>(__builtin_ctz(mask)));
    }
}

// What all lanes take away alike.
uint64_t together(Warp what, unsigned mask, const Thread* lanes) {
    uint64_t votes = 0, sum = 0, least = ~0ull, most = 0, both = ~0ull, either = 0;
    each_lane(mask, [&](unsigned i) {
        const uint64_t value = lanes[i].value;
        votes |= uint64_t{value != 0} << i;
        sum = static_cast<uint32_t>(sum + value);
        least = min(least, value);
        most = max(most, value);
        both &= value;
        either |= value;
    });
    switch (what) {
        case Warp::ballot: return votes;
        case Warp::all: return votes == mask;
        case Warp::any: return votes != 0;
        case Warp::add: return sum;
        case Warp::least: return least;
        case Warp::most: return most;
        case Warp::both: return both;
        case Warp::either: return either;
        default: return 0;
    }
}

void finish(Warp what, unsigned mask, Thread* lanes) {
    switch (what) {
        case Warp::sync: return;
        case Warp::shuffle:
        case Warp::up:
        case Warp::down:
        case Warp::exclusive:
            each_lane(mask, [&](unsigned i) {
                const unsigned from = source(what, i, lanes[i].lane, static_cast<unsigned>(lanes[i].width));
                // What a lane outside the mask holds is undefined.
                lanes[i].result = (mask >> from & 1) != 0 ? lanes[from].value : 0xDEAD'BEEF'DEAD'BEEF;
            });
            return;
        case Warp::match:
            each_lane(mask, [&](unsigned i) {
                uint64_t equal = 0;
                each_lane(mask, [&](unsigned j) { equal |= uint64_t{lanes[j].value == lanes[i].value} << j; });
                lanes[i].result = equal;
            });
            return;
        default:
            const uint64_t result = together(what, mask, lanes);
            each_lane(mask, [&](unsigned i) { lanes[i].result = result; });
    }
}

// Where the running thread's mask meets, a new one if it is the first to come.
Meeting& meeting_of(WarpState& warp, const Meeting& mine) {
    for (unsigned i = 0; i < warp.meetings; i++) {
        Meeting& there = warp.meeting[i];
        if (there.mask != mine.mask) {
            continue;
        }
        if (there.what != mine.what || !same(there.site, mine.site)) {
            fail_lanes(there.arrived, "waits elsewhere than at", mine.mask, mine.site);
        }
        return there;
    }
    return warp.meeting[warp.meetings++] = mine;
}

}  // namespace

uint64_t warp_operation(Warp what, unsigned mask, uint64_t value, unsigned lane, int width, Site site) {
    const unsigned me = 1u << block->running % LANES;
    WarpState& warp = block->warps[block->running / LANES];
    Thread* const lanes = block->threads + block->running / LANES * LANES;
    if (width < 1 || width > 32 || (width & (width - 1)) != 0) {
        fail("width %d of the warp operation at %s:%d is not 1, 2, 4, 8, 16 or 32", width, plain(site.file), site.line);
    }
    if ((mask & me) == 0) {
        fail_lanes(me, "is not in the mask of", mask, site);
    }
    if ((mask & ~warp.lanes) != 0) {
        fail_lanes(mask & ~warp.lanes, "does not exist but is named by", mask, site);
    }
    if ((mask & warp.left) != 0) {
        fail_lanes(mask & warp.left, "has left before", mask, site);
    }
    Thread& self = block->threads[block->running];
    self.value = value;
    self.lane = lane;
    self.width = width;
    Meeting& meeting = meeting_of(warp, Meeting{mask, 0, what, site});
    meeting.arrived |= me;
    if (meeting.arrived != mask) {
        wait(State::at_warp);
        return self.result;
    }
    meeting = warp.meeting[--warp.meetings];
    finish(what, mask, lanes);
    each_lane(mask & ~me, [&](unsigned i) { release(lanes[i]); });
    return self.result;
}

}  // namespace cuda_host
