// Scores each event by the past of its key, with seasons: how far a value lies from what its season makes likely. Twin
// of src/ops/season.rs; what all kernels that score share stands in scores.wgsl.

const SEASONS: u32 = 4u;
const SEASON_STARTED: u32 = 0u;
const SEASON_FIRST: u32 = 1u;
const SEASON_LATEST: u32 = 2u;
const SEASON_WEIGHT: u32 = 3u;
const SEASON_ERRORS: u32 = 4u;
const SEASON_HOLT: u32 = 13u;
const SEASON_TRACKS: u32 = 17u;
const SEASON_NODES: u32 = 47u;
const SEASON_NODE: u32 = 3u;

// Where a time lies: the low word of the slot's number, how far into it in 256ths, and the slot of each season.
struct Place {
    slot: u32,
    part: u32,
    numbers: vec4<u32>,
}

// The two nodes that an event lies between.
struct Nodes {
    at: vec2<u32>,
    shares: vec2<f32>,
    known: bool,
}

fn bits64(x: vec2<u32>) -> u32 {
    return select(64u - countLeadingZeros(x.y), 32u - countLeadingZeros(x.x), x.y == 0u);
}

// Slots of each season; 0 for none.
fn season_slots() -> vec4<u32> {
    return vec4<u32>(p.shape2 & 0xffffu, p.shape2 >> 16u, p.shape3 & 0xffffu, p.shape3 >> 16u);
}

// Slots of the longest season that is looked for; 0 for none.
fn season_longest() -> u32 {
    return p.shape1 >> 21u;
}

// Divides a time by a slot, bit by bit, and 8 bits further.
fn place_in_slots(time: vec2<u32>) -> Place {
    let slot = vec2<u32>(p.shape0, p.shape1 & 0x1fffffu);
    let slots = season_slots();
    let turns = max(bits64(time) + 1u, bits64(slot)) - bits64(slot);
    var place = Place(0u, 0u, vec4<u32>(0u));
    // The bits that make less than a slot.
    var rest = vec2<u32>(0u);
    if (turns < 32u) {
        rest = vec2<u32>(time.x >> turns, time.y >> turns);
        rest.x |= select(time.y << (32u - turns), 0u, turns == 0u);
    } else if (turns < 64u) {
        rest.x = time.y >> (turns - 32u);
    }
    for (var turn = turns + 8u; turn > 0u; turn -= 1u) {
        var bit = 0u;
        if (turn > 8u) {
            let i = turn - 9u;
            bit = (select(time.x, time.y, i >= 32u) >> (i & 31u)) & 1u;
        }
        rest = vec2<u32>((rest.x << 1u) | bit, (rest.y << 1u) | (rest.x >> 31u));
        let whole = select(1u, 0u, less64(rest, slot));
        if (whole == 1u) {
            rest = vec2<u32>(rest.x - slot.x, rest.y - slot.y - select(0u, 1u, rest.x < slot.x));
        }
        if (turn > 8u) {
            place.slot = (place.slot << 1u) | whole;
            place.numbers = (place.numbers << vec4<u32>(1u)) | vec4<u32>(whole);
            place.numbers -= select(vec4<u32>(0u), slots, place.numbers >= slots);
        } else {
            place.part = (place.part << 1u) | whole;
        }
    }
    return place;
}

// The nodes of a place; they forget when it is in another slot than the one before.
fn arrive(at: u32, slots: u32, place: Place, number: u32) -> Nodes {
    let next = select(number + 1u, 0u, number + 1u == slots);
    let nodes = at + SEASON_NODES + SEASON_NODE * vec2<u32>(number, next);
    if (states[at + SEASON_STARTED] == 0u) {
        states[at + SEASON_STARTED] = 1u;
        states[at + SEASON_FIRST] = place.slot;
        states[at + SEASON_LATEST] = place.slot;
    }
    let before = states[at + SEASON_LATEST];
    states[at + SEASON_LATEST] = place.slot;
    if (place.slot != before) {
        if (place.slot != before + 1u) {
            put(nodes.x, positive(mul(state_of(nodes.x), 0.875)));
        }
        put(nodes.y, positive(mul(state_of(nodes.y), 0.875)));
    }
    let share = mul(f32(place.part), 0.00390625);
    let passed = place.slot - states[at + SEASON_FIRST] >= slots;
    let seen = state_of(nodes.x) > 0.0 && (state_of(nodes.y) > 0.0 || place.part == 0u);
    return Nodes(nodes, vec2<f32>(1.0 - share, share), passed && seen);
}

// What stands at a node in a word behind its weight; `unseen` where it was never seen.
fn node_word(node: u32, word: u32, unseen: f32) -> f32 {
    if (state_of(node) > 0.0) {
        return state_of(node + word);
    }
    return unseen;
}

// What stands between nodes.
fn nodes_mean(nodes: Nodes, word: u32, unseen: f32) -> f32 {
    let here = mul(nodes.shares.x, node_word(nodes.at.x, word, unseen));
    return rounded(here + mul(nodes.shares.y, node_word(nodes.at.y, word, unseen)));
}

fn kept(mean: f32) -> f32 {
    return held(near_zero(rounded(mean)), 4e12);
}

fn learn_node(node: u32, share: f32, residuals: vec2<f32>, long: f32) {
    if (share > 0.0) {
        let mean = node_word(node, 1u, long);
        let adds = node_word(node, 2u, 0.0);
        let weight = rounded(state_of(node) + share);
        put(node, weight);
        let part = mul(share, inverse(weight));
        put(node + 1u, kept(mean + mul(residuals.x, part)));
        put(node + 2u, kept(adds + mul(residuals.y, part)));
    }
}

// The error of a model: the least of its horizons.
fn error_of(at: u32) -> f32 {
    return min(min(state_of(at), state_of(at + 1u)), state_of(at + 2u));
}

// The level to be expected after a gap, by level and trend at `at`.
fn holt(at: u32, moment: Moment) -> f32 {
    let drift = mul(state_of(at + 1u), rounded(1.0 - moment.decays.x));
    return rounded(state_of(at) + mul(drift, inverse(mul(64.0, p.rate))));
}

// Level and trend at `at` follow a level that was expected, and turned out to be `step` off.
fn follow(at: u32, level: f32, step: f32, gain: f32, moment: Moment) {
    let turn = mul(mul(0.25, mul(step, gain)), inverse(max(moment.steps, 1.0)));
    put(at, kept(level + step));
    put(at + 1u, kept(mul(state_of(at + 1u), moment.decays.x) + turn));
}

// How far a model's residual lies from those before it, in its own horizons; they and its errors learn it. `weight` is
// that of the errors before.
fn judge_model(at: u32, model: u32, residual: f32, moment: Moment, weight: f32) -> Distance {
    let track = at + SEASON_TRACKS + model * TRACK;
    let origin = select(state_of(track), residual, states[track + 1u] == 0u);
    let x = near_zero(rounded(residual - origin));
    let share = inverse(state_of(at + SEASON_WEIGHT));
    for (var i = 0u; i < 3u; i += 1u) {
        let error = at + SEASON_ERRORS + 3u * model + i;
        let off = near_zero(rounded(x - state_of(track + 3u * i + 2u)));
        let mean = state_of(error);
        let most = mul(64.0, mean);
        var square = mul(off, off);
        if (weight >= 16.0 && mean > 0.0 && square > most) {
            square = most;
        }
        put(error, positive(mean + mul(rounded(square - mean), share)));
    }
    return distance(track, residual, moment.decays);
}

// What a season makes of a value: the share of the error, and the distance.
struct Choice {
    share: f32,
    far: Distance,
}

// Learns a value of one season, which stands at `at`; where that speaks, its distance, else the one found before.
fn learn_season(at: u32, slots: u32, place: Place, number: u32, track: u32, value: f32, moment: Moment, found: Choice)
        -> Choice {
    let nodes = arrive(at, slots, place, number);
    let origin = state_of(track);
    let x = near_zero(rounded(value - origin));
    let unseen = state_of(track + 8u);
    let gain = inverse(state_of(track + 1u));
    let without = holt(at + SEASON_HOLT, moment);
    let level = holt(at + SEASON_HOLT + 2u, moment);
    let by_slots = nodes_mean(nodes, 1u, unseen);
    let expected = vec3<f32>(without, by_slots, rounded(level + nodes_mean(nodes, 2u, 0.0)));
    let weight = state_of(at + SEASON_WEIGHT);
    var residuals = vec3<f32>(0.0);
    var errors = vec3<f32>(0.0);
    var learnt = vec3<f32>(0.0);
    for (var model = 0u; model < 3u; model += 1u) {
        residuals[model] = held(near_zero(rounded(x - expected[model])), 1e12);
        errors[model] = error_of(at + SEASON_ERRORS + 3u * model);
        learnt[model] = residuals[model];
        if (weight >= 16.0 && errors[model] > 0.0) {
            learnt[model] = held(residuals[model], mul(4.0, rounded(sqrt(errors[model]))));
        }
    }
    let residual = vec2<f32>(learnt.y, mul(learnt.z, rounded(1.0 - gain)));
    learn_node(nodes.at.x, nodes.shares.x, residual, unseen);
    learn_node(nodes.at.y, nodes.shares.y, residual, unseen);
    follow(at + SEASON_HOLT, without, mul(learnt.x, gain), gain, moment);
    follow(at + SEASON_HOLT + 2u, level, mul(learnt.z, gain), gain, moment);
    if (!nodes.known) {
        return found;
    }
    put(at + SEASON_WEIGHT, mul(weight, moment.decays.z) + 1.0);
    var best = found;
    for (var model = 0u; model < 3u; model += 1u) {
        var far = judge_model(at, model, residuals[model], moment, weight);
        if (model > 0u && weight >= 32.0 && errors[model] < mul(0.75, errors.x)) {
            let share = mul(errors[model], inverse(errors.x));
            if (share < best.share) {
                far.expected = origin + rounded(expected[model] + far.expected);
                best = Choice(share, far);
            }
        }
    }
    return best;
}

// Words of a value's season.
fn words_of(slots: u32) -> u32 {
    return select(0u, SEASON_NODES + SEASON_NODE * slots, slots > 0u);
}

// Looks for a value's period; what its season, at `season`, has learnt goes when it is another one.
fn find_period(at: u32, season: u32, slot: u32, track: u32, x: f32) {
    if (states[at + PERIOD_COUNT] == 0u && state_of(track + 7u) < 16.0) {
        return;
    }
    let longest = season_longest();
    let place = clamp(sixty_fourths(track, near_zero(rounded(x - state_of(track)))), 3839u, 4351u) - 3839u;
    if (learn_period(at, longest, slot, place)) {
        for (var i = 0u; i < words_of(longest); i += 1u) {
            states[season + i] = 0u;
        }
    }
}

// Words of one value's seasons.
fn season_words() -> u32 {
    let slots = season_slots();
    var words = 0u;
    for (var i = 0u; i < SEASONS; i += 1u) {
        words += words_of(slots[i]);
    }
    return words + period_words(season_longest()) + words_of(season_longest());
}

fn missing_value(own: u32, i: u32) {
}

fn value_of(own: u32, i: u32, track: u32, x: f32, moment: Moment, found: ptr<function, Distance>) -> Apart {
    let place = place_in_slots(moment.time);
    let slots = season_slots();
    var best = Choice(0.75, *found);
    var at = own + i * season_words();
    for (var j = 0u; j < SEASONS; j += 1u) {
        if (slots[j] > 0u) {
            best = learn_season(at, slots[j], place, place.numbers[j], track, x, moment, best);
            at += words_of(slots[j]);
        }
    }
    let longest = season_longest();
    if (longest > 0u) {
        let season = at + period_words(longest);
        find_period(at, season, place.slot, track, x);
        let period = states[at + PERIOD_SLOTS];
        if (period > 0u) {
            best = learn_season(season, period, place, period_number(at, place.slot), track, x, moment, best);
        }
    }
    *found = best.far;
    return Apart(best.far.z2, 0.0, best.far.z2);
}

fn level_of(own: u32, far: Distance, apart: Apart, seen: u32, row: u32) -> Level {
    let level = own_ln(1.0 + mul(far.z2, 0.2));
    return Level(seen > 8u, seen - min(seen, 9u), level, mul(level, inverse(1.0 + level)));
}

@compute @workgroup_size(256)
fn season(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    walk(wid, groups, k);
}
