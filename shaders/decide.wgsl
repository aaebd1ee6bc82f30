// From distances to probabilities and alerts. Twin of src/ops/decide.rs, part of scores.wgsl.

// Events that the share of peaks counts, of so many that had a level.
fn trials_of(levels: u32) -> u32 {
    return select(0x20000u + (levels & 0x1ffffu), levels, levels < 0x40000u);
}

// The share of peaks among all events.
fn share_of_peaks(peaks: u32, trials: u32) -> f32 {
    return mul(f32(peaks) + 0.5, inverse(f32(trials) + 20.0));
}

// A shape, from -0.5 to `most`.
fn held_to(xi: f32, most: f32) -> f32 {
    let least = select(xi, -0.5, xi < -0.5);
    return select(least, most, least > most);
}

// Minus the logarithm of the probability of this excess or a larger one among those of a Pareto distribution.
fn pareto(excess: f32, mean: f32, xi: f32) -> f32 {
    let y = mul(excess, inverse(mul(mean, 1.0 - xi)));
    if (xi >= -1e-3 && xi <= 1e-3) {
        return y;
    }
    let at = 1.0 + mul(xi, y);
    let per = inverse(xi);
    if (at >= 0.25) {
        return mul(own_ln(at), per);
    }
    return rounded(mul(-1.3862944, per) + mul(y + mul(0.75, per), 4.0));
}

// Minus the logarithm of the probability of this excess or a larger one, as so few peaks predict it.
fn tail(state: u32, excess: f32, trials: u32) -> f32 {
    let n = f32(states[state + PEAKS]);
    let all = inverse(n + 10.0);
    let mean = mul(mul(state_of(state + EXCESS), n) + 1.0, inverse(n + 1.0));
    let least = mul(mul(state_of(state + LEAST), n) + mul(2.5, mean), all);
    var spread = rounded(mean - mul(2.0, least));
    let spread_min = mul(0.02, mean);
    if (spread < spread_min) {
        spread = spread_min;
    }
    let xi = held_to(2.0 - mul(mean, inverse(spread)), 0.75) + mul(2.0, all);
    let aside = mul(2.0, rounded(sqrt(all)));
    let usual = pareto(excess, mean, held_to(rounded(xi), 0.9));
    let light = pareto(excess, mean, held_to(rounded(xi - aside), 0.9));
    let heavy = pareto(excess, mean, held_to(rounded(xi + aside), 0.9));
    let lighter = select(light, usual, light > usual);
    let largest = select(lighter, heavy, lighter > heavy);
    let by_light = own_exp(held(rounded(largest - light), 80.0));
    let by_usual = own_exp(held(rounded(largest - usual), 80.0));
    let by_heavy = own_exp(held(rounded(largest - heavy), 80.0));
    let sum = rounded(by_light + mul(4.0, by_usual)) + by_heavy;
    let beyond = rounded(largest - own_ln(mul(sum, 1.0 / 6.0)));
    return beyond - own_ln(share_of_peaks(states[state + PEAKS], trials));
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
