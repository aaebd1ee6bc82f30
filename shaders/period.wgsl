// After how many slots a value repeats, where nobody says so. Twin of src/ops/period.rs, part of season.wgsl.

const PERIOD_OPEN: u32 = 0u;
const PERIOD_COUNT: u32 = 1u;
const PERIOD_SUM: u32 = 2u;
const PERIOD_AT: u32 = 3u;
const PERIOD_CLOSED: u32 = 4u;
const PERIOD_CANDIDATE: u32 = 5u;
const PERIOD_LOOKS: u32 = 6u;
const PERIOD_SLOTS: u32 = 7u;
const PERIOD_BEGIN: u32 = 8u;
const PERIOD_FOUND: u32 = 9u;
const PERIOD_RING: u32 = 16u;

// Words of a value's state.
fn period_words(longest: u32) -> u32 {
    return select(PERIOD_RING + 2u * longest, 0u, longest == 0u);
}

// The number of a slot in the period.
fn period_number(at: u32, slot: u32) -> u32 {
    return (slot - states[at + PERIOD_BEGIN]) % states[at + PERIOD_SLOTS];
}

// Differences are remembered up to a share of one by two to the power of this.
fn period_memory(longest: u32) -> u32 {
    return max(32u - countLeadingZeros(longest - 1u), 8u);
}

// A lag learns by how much a slot differs from one before it.
fn differ(word: u32, past: u32, mean: u32, memory: u32) -> u32 {
    if (past == 0u) {
        return word;
    }
    let count = min((word & 2047u) + 1u, 2047u);
    let power = min(firstLeadingBit(count), memory);
    let was = bitcast<i32>(word >> 11u);
    let off = bitcast<i32>((max(past, mean) - min(past, mean)) << 11u) - was;
    let learnt = was + ((off + ((1i << power) >> 1u)) >> power);
    return (bitcast<u32>(learnt) << 11u) | count;
}

fn is_known_lag(lag: u32, count: u32) -> bool {
    return count >= max(64u, min(2u * lag, 2047u));
}

// The share of what is before it that a dip must be below, in 64ths, after two to the power of `power` differences.
fn dip_share(power: u32) -> u32 {
    return select(select(44u, 41u, power == 7u), 32u, power <= 6u);
}

// The candidate for the period, 0 for none. Words of the lags begin at `lags`.
fn look(lags: u32, longest: u32, memory: u32, period: u32) -> u32 {
    var first = 0u;
    for (var lag = 1u; lag <= 16u; lag += 1u) {
        let word = states[lags + lag - 1u];
        if (!is_known_lag(lag, word & 2047u)) {
            return 0u;
        }
        first += word >> 16u;
    }
    var sum = 0u;
    var known = 0u;
    var best = 0u;
    var least = 0u;
    for (var lag = 1u; lag <= longest; lag += 1u) {
        let word = states[lags + lag - 1u];
        let count = word & 2047u;
        if (!is_known_lag(lag, count)) {
            continue;
        }
        let mean = word >> 16u;
        let power = min(firstLeadingBit(count), memory + 1u);
        let share = select(dip_share(power), 56u, lag == period);
        let is_dip = lag > 1u
            && mean * known * 64u < share * sum
            && (lag > 16u || mean * 1024u < share * first)
            && sum >= known * (262144u >> power);
        let same = mean < least && lag - best <= 1u + best / 16u;
        if (is_dip && (best == 0u || same || 4u * mean < 3u * least)) {
            best = lag;
            least = mean;
        }
        sum += mean;
        known += 1u;
    }
    return best;
}

// Whether a candidate is another one, corrected.
fn is_near(candidate: u32, other: u32) -> bool {
    let apart = max(candidate, other) - min(candidate, other);
    return apart == 0u || (candidate > 0u && other > 0u && apart <= 1u + other / 16u);
}

fn begin_period(at: u32, period: u32, slot: u32) {
    states[at + PERIOD_SLOTS] = period;
    states[at + PERIOD_BEGIN] = slot - 8u * period;
}

// Makes of a candidate what is to be made of it; whether the period is another one now.
fn follow_candidate(at: u32, lags: u32, slot: u32, candidate: u32) -> bool {
    let period = states[at + PERIOD_SLOTS];
    if (is_near(candidate, period)) {
        if (candidate != period
            && 16u * (states[lags + candidate - 1u] >> 16u) < 15u * (states[lags + period - 1u] >> 16u)) {
            begin_period(at, candidate, slot - period_number(at, slot) % candidate);
        }
        states[at + PERIOD_CANDIDATE] = states[at + PERIOD_SLOTS];
        states[at + PERIOD_LOOKS] = 0u;
        return false;
    }
    let again = states[at + PERIOD_LOOKS] > 0u && is_near(candidate, states[at + PERIOD_CANDIDATE]);
    let looks = select(1u, states[at + PERIOD_LOOKS] + 1u, again);
    states[at + PERIOD_LOOKS] = looks;
    states[at + PERIOD_CANDIDATE] = candidate;
    if (looks * 8u < max(64u, select(candidate, period, candidate == 0u))) {
        return false;
    }
    begin_period(at, candidate, slot);
    states[at + PERIOD_LOOKS] = 0u;
    states[at + PERIOD_FOUND] += select(0u, 1u, candidate > 0u);
    return true;
}

// Closes the open slot, `slot` being the one that is next to be open.
fn close_slot(at: u32, longest: u32, slot: u32) -> bool {
    let count = states[at + PERIOD_COUNT];
    let mean = (states[at + PERIOD_SUM] + count / 2u) / count + 1u;
    let ring = at + PERIOD_RING;
    let lags = ring + longest;
    let memory = period_memory(longest);
    let here = states[at + PERIOD_AT];
    var past = here;
    for (var lag = 0u; lag < longest; lag += 1u) {
        past = select(past + 1u, 0u, past + 1u == longest);
        states[lags + lag] = differ(states[lags + lag], states[ring + past], mean, memory);
    }
    states[ring + here] = mean;
    let closed = states[at + PERIOD_CLOSED] + 1u;
    states[at + PERIOD_CLOSED] = select(closed, 0u, closed >= 8u);
    if (closed < 8u) {
        return false;
    }
    let candidate = look(lags, longest, memory, states[at + PERIOD_SLOTS]);
    return follow_candidate(at, lags, slot, candidate);
}

// Moves the ring on by so many slots; those between saw nothing.
fn move_ring(at: u32, longest: u32, slots: u32) {
    let ring = at + PERIOD_RING;
    if (slots > longest) {
        for (var i = 0u; i < longest; i += 1u) {
            states[ring + i] = 0u;
        }
        return;
    }
    var here = states[at + PERIOD_AT];
    for (var i = 0u; i < slots; i += 1u) {
        if (i > 0u) {
            states[ring + here] = 0u;
        }
        here = select(here - 1u, longest - 1u, here == 0u);
    }
    states[at + PERIOD_AT] = here;
}

// Learns the place of an event in a slot; whether the period is another than before, or none any more.
fn learn_period(at: u32, longest: u32, slot: u32, place: u32) -> bool {
    let open = states[at + PERIOD_OPEN];
    var changed = false;
    if (states[at + PERIOD_COUNT] == 0u || slot != open) {
        if (states[at + PERIOD_COUNT] != 0u) {
            if (open - slot <= longest) {
                return false;
            }
            changed = close_slot(at, longest, slot);
            move_ring(at, longest, slot - open);
        }
        states[at + PERIOD_OPEN] = slot;
        states[at + PERIOD_COUNT] = 0u;
        states[at + PERIOD_SUM] = 0u;
    }
    if (states[at + PERIOD_COUNT] < 4096u) {
        states[at + PERIOD_COUNT] += 1u;
        states[at + PERIOD_SUM] += place;
    }
    return changed;
}
