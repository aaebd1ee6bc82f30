// Scores each event by the past of its key: what the kernels that score share. Each brings a detector, a struct of
// three functions.
//
// Twin of src/ops/score.rs and detector.rs with ewma.rs, decide.rs and math.rs. A thread takes a key and walks its
// events in order. Per event: 4 bytes of order, its time and values, 40 bytes of row written, 4 more for each of
// several values; per key and batch its first line of state and 16 bytes of the next, which then stay in the cache, and
// 160 bytes more for peaks. Neighbours touch lines of their own, so the latency of memory and a batch's busiest key
// bound it, not bytes. The order of float operations is that of the Rust source; nothing is contracted, inverse and
// root are rounded correctly.
#pragma once

#include "window.cuh"

namespace pelton::score {

struct ScoreParams {
    uint32_t stride;
    uint32_t time_word;
    uint32_t key_word;
    uint32_t key_words;
    uint32_t values;
    uint32_t state_words;
    uint32_t first_block;
    uint32_t blocks;
    uint32_t values01;
    uint32_t values23;
    uint32_t values45;
    uint32_t values67;
    uint32_t warm;
    uint32_t sides;
    uint32_t own_words;
    float rate;
    float spacing;
    float asked;
    float rest;
    float least;
    float least_share;
    uint32_t zero;
    float chance;
    float chance_steep;
    uint32_t detector;
    uint32_t shape0;
    uint32_t shape1;
    uint32_t shape2;
    uint32_t shape3;
    uint32_t state_at;
    float drift_delta;
    float drift_threshold;
};

// The segments of src/ops/group.rs.
constexpr uint32_t SEGMENTS = 0;
constexpr uint32_t GROUPED = 1;
constexpr uint32_t LIST = 4;
constexpr uint32_t SEGMENT = 2;

// A key's state, and a row's flags, as src/ops/score.rs lays them out.
constexpr uint32_t SEEN = 0;
constexpr uint32_t TIME = 1;
constexpr uint32_t SPACING = 3;
constexpr uint32_t TRACK_FIRST = 4;
constexpr uint32_t LEVEL = 14;
constexpr uint32_t REST = 16;
constexpr uint32_t PEAK = 17;
constexpr uint32_t PEAKS = 18;
constexpr uint32_t SLOPE = 19;
constexpr uint32_t EXCESS = 20;
constexpr uint32_t LEAST = 21;
constexpr uint32_t RING = 22;
constexpr uint32_t RING_PEAKS = 32;
constexpr uint32_t BAR = RING + RING_PEAKS;
constexpr uint32_t BAR_SEEN = BAR + 1;
constexpr uint32_t DRIFT = BAR_SEEN + 1;
constexpr uint32_t TRACKS = DRIFT + 1;
constexpr uint32_t TRACK = 10;
constexpr uint32_t ROW = 10;
constexpr uint32_t OUT_SCORED = 5;
constexpr uint32_t ALERT = 1;
constexpr uint32_t WARMING = 2;
constexpr uint32_t RESTING = 4;
constexpr uint32_t RULED_OUT = 8;
constexpr uint32_t MISSING = 16;
constexpr uint32_t CLAMPED = 32;
constexpr uint32_t USUAL = 64;
constexpr uint32_t DISMISSED = 128;
constexpr uint32_t DRIFTED = 1 << 14;

static __device__ __forceinline__ float number_of(uint32_t bits) {
    union {
        uint32_t bits;
        float number;
    } word;
    word.bits = bits;
    return word.number;
}

static __device__ __forceinline__ uint32_t bits_of(float number) {
    union {
        uint32_t bits;
        float number;
    } word;
    word.number = number;
    return word.bits;
}

// A key's state in the page.
struct State {
    Words words;
    uint32_t at;
    __device__ __forceinline__ uint32_t& operator[](uint32_t i) const { return words[at + i]; }
    __device__ __forceinline__ float get(uint32_t i) const { return number_of(words[at + i]); }
    __device__ __forceinline__ void put(uint32_t i, float x) const { words[at + i] = bits_of(x); }
};

struct Distance {
    float z2, off, expected, variance;
};

// How a value stands out: by how much, its dense score, and its part in the event's.
struct Apart {
    float by, dense, part;
};

// What the detector makes of an event.
struct Level {
    bool known;
    // Those before it.
    uint32_t levels;
    float level, dense;
};

static __device__ __forceinline__ float own_ln(float x) {
    const uint32_t bits = bits_of(x) - 0x3f3504f3u;
    const float e = float(int32_t(bits) >> 23);
    const float m = number_of((bits & 0x007fffffu) + 0x3f3504f3u);
    const float f = m - 1.0f;
    const float z = f * f;
    float y = 7.0376836e-2f * f - 1.151461e-1f;
    y = y * f + 1.1676999e-1f;
    y = y * f - 1.2420141e-1f;
    y = y * f + 1.4249323e-1f;
    y = y * f - 1.6668058e-1f;
    y = y * f + 2.0000715e-1f;
    y = y * f - 2.4999994e-1f;
    y = y * f + 3.3333331e-1f;
    y = y * f * z;
    y += e * -2.1219444e-4f;
    y += z * -0.5f;
    return f + y + e * 0.6933594f;
}

static __device__ __forceinline__ float own_exp(float x) {
    const uint32_t n = uint32_t(x * 1.44269504f + 126.5f);
    const float k = float(n) - 126.0f;
    const float r = x - k * 0.6933594f - k * -2.1219444e-4f;
    const float z = r * r;
    float y = 1.9875691e-4f * r + 1.3982e-3f;
    y = y * r + 8.333452e-3f;
    y = y * r + 4.1665796e-2f;
    y = y * r + 1.6666666e-1f;
    y = y * r + 5.0000001e-1f;
    y = y * z + r + 1.0f;
    return y * number_of((n + 1) << 23);
}

static __device__ __forceinline__ float inverse(float x) { return __frcp_rn(x); }

static __device__ __forceinline__ float ticks(u64 t) { return float(high_of(t)) * 4294967296.0f + float(low_of(t)); }

// A whole number as a float, rounded once.
static __device__ __forceinline__ float to_float(uint32_t n) { return float(n >> 16) * 65536.0f + float(n & 0xffff); }

static __device__ __forceinline__ float positive(float x) { return x < 1e-30f ? 0.0f : x; }

static __device__ __forceinline__ float held(float x, float limit) {
    const float y = x > limit ? limit : x;
    return y < -limit ? -limit : y;
}

static __device__ __forceinline__ float near_zero(float x) { return x < 1e-16f && x > -1e-16f ? 0.0f : x; }

}  // namespace pelton::score

#include "adwin.cuh"
#include "decide.cuh"
#include "row.cuh"

namespace pelton::score {

static __device__ __forceinline__ float eighth(float x) {
    const float a = x * x;
    const float b = a * a;
    return positive(b * b);
}

// One horizon's distance of a value, which is then learnt; the largest so far is `far`.
static __device__ __forceinline__ void horizon(const State& state, uint32_t at, float x, float decay,
                                               Distance& far) {
    const float w = state.get(at);
    const float m = state.get(at + 1);
    const float variance = state.get(at + 2);
    float off = near_zero(x - m);
    const float square = off * off;
    const float least = variance + 1e-24f;
    float z2 = 0.0f;
    if (w >= 8.0f) {
        z2 = square >= 1e8f * least ? 1e8f : square * inverse(least);
    }
    if (z2 > far.z2) {
        far = Distance{z2, off, m, variance};
    }
    if (z2 > 64.0f && variance > 0.0f && w >= 16.0f) {
        off = held(off, 8.0f * __fsqrt_rn(variance));
    }
    const float weight = w * decay + 1.0f;
    state.put(at, weight);
    learn_spread(state, at + 1, off, inverse(weight));
}

struct Decays {
    float short_one, middle, long_one;
};

// When an event came: its time, spacings since the one before, and what each horizon keeps.
struct Moment {
    u64 time;
    float steps;
    Decays decays;
};

// The distance of a value, which is then learnt.
static __device__ __forceinline__ Distance distance_of(const State& state, uint32_t at, float value,
                                                       const Decays& decays) {
    if (state[at + 1] == 0) {
        state.put(at, value);
    }
    const float origin = state.get(at);
    const float x = near_zero(value - origin);
    Distance far{-1.0f, 0.0f, 0.0f, 0.0f};
    horizon(state, at + 1, x, decays.short_one, far);
    horizon(state, at + 4, x, decays.middle, far);
    horizon(state, at + 7, x, decays.long_one, far);
    // From here on it counts from zero; until now it counted from the origin.
    far.expected = state.get(at) + far.expected;
    return far;
}

// Moves a key's clock on; returns by how many spacings.
static __device__ __forceinline__ float advance(const State& state, const ScoreParams& p, u64 time) {
    const uint32_t seen = state[SEEN];
    const u64 last = join(state[TIME], state[TIME + 1]);
    if (seen == 0) {
        state.put(SLOPE, 1.2211872f);
    }
    float spacing = state.get(SPACING);
    float steps = 0.0f;
    if (seen == 0 || time > last) {
        state[TIME] = low_of(time);
        state[TIME + 1] = high_of(time);
        if (seen != 0) {
            const float gap = ticks(time - last);
            float share = inverse(float(seen));
            share = share < 0.015625f ? 0.015625f : share;
            const float most = 8.0f * spacing;
            const float heard = spacing > 0.0f && gap > most ? most : gap;
            spacing += (heard - spacing) * share;
            state.put(SPACING, spacing);
            steps = gap * inverse(p.spacing > 0.0f ? p.spacing : spacing);
            steps = steps > 4096.0f ? 4096.0f : steps;
        }
    }
    const float rest = state.get(REST) - steps;
    state.put(REST, rest > 0.0f ? rest : 0.0f);
    return steps;
}

static __device__ __forceinline__ uint32_t track(uint32_t value) {
    return value == 0 ? TRACK_FIRST : TRACKS + (value - 1) * TRACK;
}

// A value's word in the event, and its kind.
struct Place {
    uint32_t word, kind;
};

static __device__ __forceinline__ Place place_of(const ScoreParams& p, uint32_t i) {
    const uint32_t pair = i < 4 ? (i < 2 ? p.values01 : p.values23) : (i < 6 ? p.values45 : p.values67);
    const uint32_t packed = pair >> 16 * (i % 2);
    return Place{packed & 0xfff, packed >> 12 & 15};
}

// Distances alone.
struct ByDistance {
    // The key's own past alone decides.
    static constexpr bool CHANCE = false;
    static __device__ __forceinline__ void missing(const State&, uint32_t, uint32_t) {}
    static __device__ __forceinline__ Apart value(const State&, const ScoreParams&, uint32_t, uint32_t, uint32_t, float,
                                                  const Moment&, Distance& found) {
        return Apart{found.z2, 0.0f, found.z2};
    }
    static __device__ __forceinline__ Level level(const State&, const ScoreParams&, uint32_t, const Distance& far,
                                                  const Apart&, uint32_t seen, const Row&) {
        return Level{seen > 8, seen - min(seen, 9u), own_ln(1.0f + far.z2 * 0.2f), 0.0f};
    }
};

// Where the detector's own state begins, in that of a key.
static __device__ __forceinline__ uint32_t own_state(const ScoreParams& p) {
    return (TRACKS + (p.values - 1) * TRACK + 15) / 16 * 16;
}

// What an event's values are by themselves.
struct Observed {
    Distance far;
    Apart apart;
    // The number of the value that stands out most.
    uint32_t most;
    uint32_t flags;
};

// Looks at an event's values and learns them.
template <class D>
static __device__ __forceinline__ Observed observe(const State& state, const ScoreParams& p, Events events,
                                                   uint32_t index, const Row& row) {
    const Event event(events, index, p.stride);
    const u64 time = event.two(p.time_word);
    row[0] = p.key_words == 0 ? 0 : event[p.key_word];
    row[1] = p.key_words == 2 ? event[p.key_word + 1] : 0;
    row[2] = low_of(time);
    row[3] = high_of(time);
    const float steps = advance(state, p, time);
    // Of what is 87 horizons ago nothing is left that counts, and `own_exp` goes no further.
    const float past = steps * p.rate;
    const float longest = own_exp(-(past > 87.0f ? 87.0f : past));
    const float middle = eighth(longest);
    const Moment moment{time, steps, Decays{eighth(middle), middle, longest}};
    Distance far{-1.0f, 0.0f, 0.0f, 0.0f};
    uint32_t flags = MISSING;
    // Written as soon as it is known, which saves registers.
    row[6] = 0;
    row[7] = 0;
    row[8] = 0;
    uint32_t most = 0;
    const uint32_t own = own_state(p);
    Apart apart{-1.0f, 0.0f, 0.0f};
    for (uint32_t i = 0; i < p.values; i++) {
        const Place place = place_of(p, i);
        uint32_t bits = value_bits(place.kind, event[place.word]);
        if (value_is_nan(place.kind, bits)) {
            D::missing(state, own, i);
            row.put_part(p, i, NO_PART);
            continue;
        }
        float x = float(int32_t(bits));
        if (place.kind != I32) {
            bits = (bits & 0x7f800000u) == 0 ? 0 : bits;
            if ((bits & 0x7fffffffu) > 0x5368d4a5u) {
                bits = (bits & 0x80000000u) | 0x5368d4a5u;
                flags |= CLAMPED;
            }
            x = number_of(bits);
        }
        Distance found = distance_of(state, track(i), x, moment.decays);
        const Apart stands = D::value(state, p, own, i, track(i), x, moment, found);
        row.put_part(p, i, stands.part);
        if (stands.by > apart.by) {
            apart = stands;
            far = found;
            row[6] = bits_of(x);
            row[7] = bits_of(far.expected);
            row[8] = bits_of(far.variance);
            most = i;
        }
        flags &= ~MISSING;
    }
    return Observed{far, apart, most, flags};
}

// Scores an event of these values.
template <class D>
static __device__ __forceinline__ void judge(const State& state, const ScoreParams& p, const Observed& observed,
                                             const Row& row) {
    uint32_t flags = observed.flags;
    const uint32_t most = observed.most;
    float surprise = 0.0f;
    float dense = 0.0f;
    if ((flags & MISSING) == 0) {
        flags |= most << 8;
        const uint32_t seen = state[SEEN] == 0xffffffffu ? 0xfffe0000u : state[SEEN] + 1;
        state[SEEN] = seen;
        const bool few = !D::CHANCE && state[PEAKS] < 10 && seen / 4 <= p.warm;
        const Level judged = D::level(state, p, own_state(p), observed.far, observed.apart, seen, row);
        dense = judged.dense;
        if (seen <= p.warm || few || !judged.known || state.get(track(most) + 4) < 16.0f) {
            flags |= WARMING;
        }
        if (judged.known) {
            surprise = decide<D::CHANCE>(state, p, observed.far, judged, flags);
        } else {
            flags |= USUAL;
        }
    } else {
        flags |= USUAL;
    }
    flags |= uint32_t(dense * 65535.0f) << 16;
    row[5] = bits_of(surprise);
    row[9] = state[SEEN];
    if (p.drift_threshold < 0.0f && has_changed(window_of(state, p), p)) {
        flags |= DRIFTED;
    }
    row[4] = flags;
    if ((flags & DRIFTED) != 0) {
        for (uint32_t i = 0; i < p.own_words; i++) {
            state[i] = 0;
        }
    }
}

// Finds where the state of a segment's key begins; whether it is in this page.
static __device__ __forceinline__ bool find_state(Head head, const ScoreParams& p, ConstWords segments, ConstWords map,
                                                  uint32_t segment, uint32_t& at) {
    const uint32_t id = segments[LIST + SEGMENT * segment];
    const uint32_t slot = head[SPANS_AT] + 2;
    if (id / BLOCK_IDS >= head[slot + 1]) {
        return false;
    }
    const uint32_t here = map[head[slot] + id / BLOCK_IDS] - p.first_block;
    at = (here * BLOCK_IDS + id % BLOCK_IDS) * p.state_words + p.state_at;
#ifndef CUDA_HOST
    // So that no compiler computes it anew at each use, for which it would keep a register more.
    asm volatile("" : "+r"(at));
#endif
    return here < p.blocks;
}

// Where a segment's events begin in the order, and end.
struct Span {
    uint32_t first, end;
};

static __device__ __forceinline__ Span events_of_segment(ConstWords segments, uint32_t segment) {
    const uint32_t at = LIST + SEGMENT * segment + 1;
    return Span{segments[at], segments[at + SEGMENT]};
}

// Writes what stands before the rows; returns where they begin.
static __device__ __forceinline__ uint32_t put_front(bool first, const ScoreParams& p, ConstWords segments,
                                                     Words out) {
    const uint32_t rows = OUT_FIXED + out[OUT_ASIDE];
    if (first) {
        out[OUT_SCORED] = segments[GROUPED];
        out[0] = rows + segments[GROUPED] * row_words(p);
    }
    return rows;
}

// The whole of the kernels that score with a thread for each key.
template <class D>
static __device__ __forceinline__ void body(Block block, Head head, const ScoreParams& p, Events events,
                                            ConstWords order, ConstWords segments, ConstWords map, Words states,
                                            Words out) {
    if (past_grid(head, block)) {
        return;
    }
    const uint32_t segment = block.index * THREADS + threadIdx.x;
    const uint32_t rows = put_front(segment == 0, p, segments, out);
    if (segment >= segments[SEGMENTS]) {
        return;
    }
    State state{states, 0};
    if (!find_state(head, p, segments, map, segment, state.at)) {
        return;
    }
    const Span span = events_of_segment(segments, segment);
    for (uint32_t i = span.first; i < span.end; i++) {
        const Row row{out, rows + i * row_words(p)};
        judge<D>(state, p, observe<D>(state, p, events, order[i], row), row);
    }
}

}  // namespace pelton::score
