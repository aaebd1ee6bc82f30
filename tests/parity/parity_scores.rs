//! State of scored keys: every word of it equal on every device, every 1,000 events, for each kernel that scores.

use crate::cuda_host::driver::cuda;
use crate::hand::{Ranges, devices, head, run, whole};
use pelton::base::rng::SplitMix;
use pelton::device::{Device, Queue, QueueOptions};
use pelton::ops::adwin::WINDOW;
use pelton::ops::batch::{CHUNKS, FIXED, OUT_FIXED, SPANS_AT, Span};
use pelton::ops::group::{self, GroupOptions};
use pelton::ops::page::ALONE;
use pelton::ops::row::Kind;
use pelton::ops::score::{ScoreParams, packed, row_words, state_words_with};
use pelton::plan::{BufId, Grid, Memory, Plan, Role};
use pelton::{
    Art, Detector, Forest, HalfSpaces, Loda, Pod, Profile, Season, Spectral, SubPca, Zeroable,
};

/// Events of a batch.
const BATCH: usize = 1000;
const BATCHES: usize = 12;
/// Keys: two blocks, the second not full.
const KEYS: u32 = 90;
const BLOCK: usize = 64;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Reading {
    at: u64,
    key: u32,
    values: [f32; 3],
}

fn events(seed: u64) -> Vec<Reading> {
    let mut rng = SplitMix::new(seed);
    let mut at = 1 << 40;
    let event = |i: usize| {
        at += rng.below(20);
        // A tenth is of one key: more, and the software adapter ends its thread.
        let key = if i.is_multiple_of(10) { 65 } else { u32::try_from(rng.below(90)).unwrap() };
        #[allow(clippy::cast_possible_truncation, reason = "rounded")]
        let values = [0, 1, 2].map(|which| match rng.below(200) {
            0 => f32::NAN,
            1 => 1e30,
            2 => 40.0,
            n => (which * 1000) as f32 + (rng.unit() + rng.unit()) as f32 * (1 + n % 2) as f32,
        });
        Reading { at, key, values }
    };
    (0..BATCH * BATCHES).map(event).collect()
}

/// Words of a key's state; where there are two values, keys drift by windows.
fn state_words(values: u32, detector: Detector) -> u32 {
    let window = if values == 2 { WINDOW } else { 0 };
    words(state_words_with(values as usize, detector) + window)
}

fn params(values: u32, detector: Detector) -> ScoreParams {
    let [which, shape0, shape1, shape2, shape3] = detector.shape();
    let value = |i: u32| (i < values).then_some((3 + i as usize, Kind::F32));
    ScoreParams {
        stride: 6,
        time_word: 0,
        key_word: 2,
        key_words: 1,
        values,
        state_words: state_words(values, detector),
        first_block: 0,
        blocks: ALONE,
        values01: packed([value(0), value(1)]),
        values23: packed([value(2), None]),
        values45: 0,
        values67: 0,
        warm: 20,
        sides: 3,
        own_words: state_words(values, detector),
        rate: 1.0 / 256.0,
        spacing: 0.0,
        asked: 5.0,
        rest: 10.0,
        least: 0.0,
        least_share: 0.0,
        zero: 0,
        chance: detector.chance()[0],
        chance_steep: detector.chance()[1],
        detector: which,
        shape0,
        shape1,
        shape2,
        shape3,
        state_at: 0,
        drift_delta: if values == 2 { 2.0 } else { 0.25 },
        drift_threshold: [0.0, -1.0, 30.0][values as usize - 1],
    }
}

fn words(n: usize) -> u32 {
    u32::try_from(n).expect("few")
}

/// A query by hand: its queue, its plan, and where its states are.
struct Bed {
    queue: Box<dyn Queue>,
    program: pelton::device::ProgramId,
    ids: BufId,
    states: BufId,
    state_words: usize,
}

impl Bed {
    fn new(device: &Device, params: ScoreParams, chunks: usize) -> Self {
        let mut memory = Memory::default();
        let ids = memory.buffer::<u32>("ids", Role::Scratch, BATCH);
        let map = memory.buffer::<u32>("map", Role::State, 2);
        let state_words = 2 * BLOCK * params.state_words as usize;
        let states = memory.buffer::<u32>("states", Role::State, state_words);
        let output = Role::Output { eager: 8 };
        let rows = OUT_FIXED + BATCH * row_words(params.values as usize);
        let out = memory.buffer::<u32>("out", output, rows);
        let mut plan = Plan::new("scores", FIXED + 4 + chunks * 12);
        (plan.events_max, plan.stride, plan.output) = (BATCH, 6, Some(out.id));
        let unread = memory.buffer::<u32>("unread", Role::Scratch, 1);
        let (mut order, mut segments) = (ids.id, unread.id);
        if !device.caps().serial {
            let options = GroupOptions { events: BATCH, chunks, ids: KEYS as usize };
            let groups = group::record(&mut plan, &mut memory, ids, &options);
            (order, segments) = (groups.order.id, groups.segments.id);
        }
        plan.step(
            params.judged_by().kernel(),
            Grid::Head(0),
            params,
            &[order, segments, map.id, states.id, out.id],
        );
        let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 }).unwrap();
        queue.alloc(&memory.buffers).unwrap();
        // The blocks in the other order: a row lies where the map says.
        queue.write(map.id, 0, &[1, 0]).unwrap();
        let program = queue.compile(&plan, &memory).unwrap();
        Self { queue, program, ids: ids.id, states: states.id, state_words }
    }

    /// All state after each batch.
    fn run(&mut self, device: &Device, events: &[Reading]) -> Vec<Vec<u32>> {
        let mut seen = Vec::new();
        for batch in events.chunks(BATCH) {
            let ids: Vec<u32> = batch.iter().map(|event| event.key).collect();
            self.queue.write(self.ids, 0, &ids).unwrap();
            let mut ranges = Ranges::new(&[batch]);
            run(&mut *self.queue, self.program, &header(device), ranges.leases());
            let mut state = vec![0; self.state_words];
            self.queue.read(self.states, 0, &mut state).unwrap();
            seen.push(state);
        }
        seen
    }
}

/// A header of one batch, whose events all go to the slot at the map's begin, of two blocks.
fn header(device: &Device) -> Vec<u32> {
    let mut head = head(device, &[BATCH], &whole(&[BATCH]));
    head[SPANS_AT] = words(head.len());
    head.extend(Span { start: 0, slot: [0, 2] }.words());
    head
}

fn same_states(devices: impl IntoIterator<Item = Device>) {
    let cpu = Device::cpu();
    let spaces = Detector::HalfSpaces(HalfSpaces { trees: 4, height: 6, window: 60 });
    let forest = Forest { points: 64, period: Some(1000) };
    let season = Detector::Season(Season { slot: 31, seasons: [24, 7, 0, 0], longest: 0 });
    let found = Detector::Season(Season { slot: 31, seasons: [0, 7, 0, 0], longest: 17 });
    let loda = Detector::Loda(Loda { projections: 9, cells: 16, window: 40 });
    let profile = |shape| Detector::Profile(Profile { points: 256, window: 8, shape });
    let art = Detector::Art(Art { categories: 16, vigilance: 900, window: 64 });
    let cases = [
        (3, Detector::Distances),
        (2, Detector::Distances),
        (2, loda),
        (1, Detector::Forest(Forest::of(64))),
        (1, Detector::Forest(forest)),
        (1, spaces),
        (3, spaces),
        (1, season),
        (3, season),
        (1, found),
        (2, found),
        (1, loda),
        (3, loda),
        (1, profile(false)),
        (2, profile(true)),
        (1, Detector::SubPca(SubPca::default())),
        (3, Detector::SubPca(SubPca { window: 8, rank: 2 })),
        (1, Detector::Spectral(Spectral { window: 32 })),
        (1, art),
        (3, art),
    ];
    for device in devices {
        for (seed, (values, detector)) in (1..).zip(cases) {
            let events = events(seed);
            let states = |device: &Device| {
                let chunks = header(device)[CHUNKS] as usize;
                let params = params(values, detector);
                Bed::new(device, params, chunks).run(device, &events)
            };
            let (got, want) = (states(&device), states(&cpu));
            for (batch, (got, want)) in got.iter().zip(&want).enumerate() {
                let row = params(values, detector).state_words as usize;
                let differs = got.iter().zip(want).position(|(got, want)| got != want);
                let differs = differs.map(|at| (at / row, at % row));
                let name = &device.caps().name;
                assert_eq!(differs, None, "{name}, {detector}, batch {batch}: row, word");
            }
            let last = &want[BATCHES - 1];
            assert!(
                last != &want[BATCHES - 2] && last.iter().filter(|&&word| word != 0).count() > 2000
            );
        }
    }
}

#[test]
fn state_is_the_same_every_thousand_events() {
    same_states(devices("state_is_the_same_every_thousand_events"));
}

#[test]
fn cuda_state_is_the_same_every_thousand_events() {
    same_states(cuda("cuda_state_is_the_same_every_thousand_events"));
}
