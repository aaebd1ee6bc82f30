// From distances to probabilities and alerts. Twin of src/ops/decide.rs, part of scores.wgsl.

// Events that the share of peaks counts, of so many that had a level.
fn trials_of(levels: u32) -> u32 {
    return select(0x20000u + (levels & 0x1ffffu), levels, levels < 0x40000u);
}

// The share of peaks among all events.
fn share_of_peaks(peaks: u32, trials: u32) -> f32 {
    return mul(f32(peaks) + 0.5, inverse(f32(trials) + 20.0));
}

// Minus the logarithm of the probability of this excess or a larger one.
fn tail(state: u32, excess: f32, trials: u32) -> f32 {
    let n = f32(states[state + PEAKS]);
    let scale = inverse(n + 10.0);
    let mean = mul(mul(state_of(state + EXCESS), n) + 5.0, scale);
    let least = mul(mul(state_of(state + LEAST), n) + 1.25, scale);
    var spread = mean - mul(2.0, least);
    if (spread < 0.02 * mean) {
        spread = 0.02 * mean;
    }
    var xi = 2.0 - mul(mean, inverse(spread));
    xi = select(xi, -0.5, xi < -0.5);
    xi = select(xi, 0.75, xi > 0.75);
    let y = mul(excess, inverse(mul(mean, 1.0 - xi)));
    let at = 1.0 + mul(xi, y);
    var beyond = y;
    if (xi > 1e-3 || xi < -1e-3) {
        let per = inverse(xi);
        if (at >= 0.25) {
            beyond = mul(own_ln(at), per);
        } else {
            beyond = mul(-1.3862944, per) + mul(y + mul(0.75, per), 4.0);
        }
    }
    return rounded(beyond) - own_ln(share_of_peaks(states[state + PEAKS], trials));
}

fn learn_peak(state: u32, excess: f32, trials: u32) {
    let peaks = states[state + PEAKS];
    let compared = min(peaks, 8u);
    var sum = 0.0;
    for (var i = 0u; i < compared; i += 1u) {
        let at = select((peaks + i) % RING_PEAKS, i, peaks < RING_PEAKS);
        let other = state_of(state + RING + at);
        sum += select(excess, other, other < excess);
    }
    let n = f32(peaks);
    let mean = state_of(state + EXCESS);
    put(state + EXCESS, mean + mul(excess - mean, inverse(n + 1.0)));
    if (compared > 0u) {
        let lesser = mul(mul(0.5, sum), inverse(f32(compared)));
        let least = state_of(state + LEAST);
        put(state + LEAST, least + mul(lesser - least, inverse(n)));
    }
    put(state + RING + peaks % RING_PEAKS, excess);
    states[state + PEAKS] = peaks + 1u;
    let odds = inverse(share_of_peaks(peaks + 1u, trials)) - 1.0;
    put(state + SLOPE, mul(own_ln(odds), 1.0 / 3.0));
}

fn learn(state: u32, excess: f32, trials: u32) {
    if (excess > 0.0) {
        learn_peak(state, select(excess, 16.0, excess > 16.0), trials);
    }
    if (trials >= 0x40000u && states[state + PEAKS] >= 64u) {
        states[state + PEAKS] /= 2u;
    }
}

// How far a level lies from those before it, in deviations; it is then learnt.
fn standardise(at: u32, level: f32, count: f32) -> f32 {
    let off = near_zero(rounded(level - state_of(at)));
    let deviation = rounded(sqrt(state_of(at + 1u)));
    let u = held(mul(off, inverse(deviation + 1e-6)), 1e6);
    let limit = mul(8.0, deviation) + 1e-3;
    let age = min(mul(count + 1.0, 1.0 / 2048.0), 16.0);
    let share = mul(1.0 / 2048.0, inverse(1.0 - own_exp(-age)));
    let known = count >= 8.0;
    learn_spread(at, select(off, held(off, limit), known), share);
    return select(0.0, u, known);
}

struct Decision {
    surprise: f32,
    flags: u32,
}

fn decide(state: u32, far: Distance, level: f32, levels: u32, given: u32) -> Decision {
    var flags = given;
    let u = standardise(state + LEVEL, level, f32(levels));
    if (p.drift_threshold != 0.0 && (flags & WARMING) == 0u && has_drifted(state, u)) {
        flags |= DRIFTED;
    }
    let excess = rounded(u - 3.0);
    var surprise = mul(state_of(state + SLOPE), u);
    if (excess > 0.0) {
        surprise = tail(state, excess, trials_of(levels));
        if (p.chance > 0.0) {
            let share = mul(p.chance, mul(400.0, inverse(400.0 + f32(states[state + PEAKS]))));
            surprise = mul(1.0 - share, rounded(surprise)) + mul(share, by_chance(level));
        }
        let distance = select(far.off, -far.off, far.off < 0.0);
        let expected = select(far.expected, -far.expected, far.expected < 0.0);
        let watched = p.sides & select(2u, 1u, far.off > 0.0);
        let ruled = watched == 0u || distance < p.least || distance < p.least_share * expected;
        if (surprise > p.asked && ruled) {
            flags |= RULED_OUT;
        }
    } else {
        flags |= USUAL;
    }
    learn(state, excess, trials_of(levels) + 1u);
    return Decision(surprise, announce(state, surprise, flags));
}

// Whether a key has drifted, with an event whose level lies `u` deviations off. Twin of src/ops/drift.rs.
fn has_drifted(state: u32, u: f32) -> bool {
    if (p.drift_threshold < 0.0) {
        return has_changed(state + p.own_words - WINDOW, u);
    }
    let sum = rounded(rounded(state_of(state + DRIFT) + min(u, 4.0)) - p.drift_delta);
    put(state + DRIFT, select(0.0, sum, sum > 0.0));
    return sum > p.drift_threshold;
}

// What chance makes of a level of independent values.
fn by_chance(level: f32) -> f32 {
    let beyond = rounded(level - 1.3);
    return mul(4.6, level) + mul(p.chance_steep, select(0.0, beyond, beyond > 0.0));
}
