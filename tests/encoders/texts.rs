//! Text pipelines: every event is answered by its own vector or its own error, whatever comes beside it.

#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

#[path = "../texts/faults.rs"]
mod faults;
#[path = "../texts/load.rs"]
mod load;
#[path = "../texts/real.rs"]
mod real;
#[path = "../../benches/common/text_load.rs"]
mod text_load;

use crate::cuda_host;
use crate::model::{self, SMALL, TOKENS_MAX, VOCAB, files};
use pelton::base::rng::SplitMix;
use pelton::device::Device;
use pelton::model::{Encoder, EncoderOptions, Model};
use pelton::pipeline::texts::{TextError, TextInline, TextPipeline, Texts, Vectors};
use pelton::{Error, LaneOptions, Options, Policy};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What an event was answered with.
type Answer = Result<Vec<f32>, TextError>;
type Answers = BTreeMap<u64, Answer>;

fn small() -> Model {
    Model::from_files(files(&SMALL, 7)).expect("a good folder")
}

/// The small model with batches of so many tokens.
fn asked(model: &Model, batch_tokens: usize) -> Texts {
    let encoder = EncoderOptions { batch_tokens, ..EncoderOptions::default() };
    Texts { encoder, ..Texts::new(model) }
}

fn keep(answers: &mut Answers, vectors: &Vectors) {
    for vector in vectors.iter() {
        let answer = vector.values().map(<[f32]>::to_vec);
        assert!(answers.insert(vector.id(), answer).is_none(), "{} came twice", vector.id());
    }
}

/// Texts of random words of the small vocabulary.
fn texts(n: usize, seed: u64) -> Vec<String> {
    let words = ["water", "waterwheel", "turning", "jet", ",", "é", "x", "zoo.", ""];
    let mut rng = SplitMix::new(seed);
    let mut text = || {
        let count = rng.below(20);
        (0..count).map(|_| words[rng.below(9) as usize]).collect::<Vec<_>>().join(" ")
    };
    (0..n).map(|_| text()).collect()
}

fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut rng = SplitMix::new(seed);
    let mut order: Vec<usize> = (0..n).collect();
    (1..n).rev().for_each(|i| order.swap(i, rng.below(i as u64 + 1) as usize));
    order
}

/// Each text by itself, through an encoder called by hand.
fn alone(model: &Model, device: &Device, texts: &[String]) -> Answers {
    let mut encoder = Encoder::new(model, device, EncoderOptions::default()).expect("it fits");
    let mut one = |text: &String| encoder.embed(&[text]).expect("a text").values().to_vec();
    (0..).zip(texts.iter().map(|text| Ok(one(text)))).collect()
}

fn assert_same(found: &Answers, want: &Answers, what: &str) {
    let bits = |answer: &Answer| -> Result<Vec<u32>, TextError> {
        answer.clone().map(|values| values.iter().map(|x| x.to_bits()).collect())
    };
    for (id, answer) in found {
        assert_eq!(bits(answer), bits(&want[id]), "{what}: event {id}");
    }
}

/// A text among so many others, in several orders, as text and as token ids, through one lane and several.
fn knows_no_neighbours(device: &Device, others: &[usize], batch_tokens: &[usize]) {
    let model = small();
    let texts = texts(64, 5);
    let want = alone(&model, device, &texts);
    for (n, tokens) in others.iter().flat_map(|n| batch_tokens.iter().map(move |t| (n + 1, *t))) {
        let options = Options::on(device.clone());
        let mut inline = TextInline::new(asked(&model, tokens), options).expect("it fits");
        for turn in 0..3 {
            let mut lanes: Vec<_> = (0..=turn).map(|_| inline.lane().expect("a lane")).collect();
            let mut answers = Answers::new();
            for (at, i) in shuffled(n, turn as u64).into_iter().enumerate() {
                let lane = &mut lanes[at % (turn + 1)];
                if at % 2 == 0 {
                    lane.push(i as u64, &texts[i]).expect("there is room");
                } else {
                    lane.push_tokens(i as u64, &model.tokens(&texts[i])).expect("there is room");
                }
                if at % 19 == 18 {
                    inline.poll(|vectors| keep(&mut answers, &vectors)).expect("it works");
                }
            }
            inline.settle(|vectors| keep(&mut answers, &vectors)).expect("it works");
            assert_eq!(answers.len(), n);
            assert_same(&answers, &want, &format!("{n} in batches of {tokens}, turn {turn}"));
        }
    }
}

#[test]
fn the_processor_knows_no_neighbours() {
    knows_no_neighbours(&Device::cpu(), &[0, 1, 7, 63], &[TOKENS_MAX, 131, 512, 8192]);
}

#[test]
fn wgsl_knows_no_neighbours() {
    match Device::named("wgpu:llvmpipe") {
        Ok(gpu) => knows_no_neighbours(&gpu, &[0, 1, 7, 63], &[131, 8192]),
        Err(error) => {
            cuda_host::skip("wgsl_knows_no_neighbours", &error.to_string().replace('\n', " "));
        }
    }
}

#[test]
fn cuda_knows_no_neighbours() {
    let Some(gpu) = cuda_host::driver::cuda("cuda_knows_no_neighbours") else { return };
    let most = if cuda_host::driver::is_real() { 63 } else { 7 };
    knows_no_neighbours(&gpu, &[0, most], &[131]);
}

#[test]
fn hostile_events_get_their_own_errors_and_harm_nobody() {
    let model = small();
    let texts = Texts { bytes_max: 150_000, ..asked(&model, 200) };
    let mut inline = TextInline::new(texts, Options::on(Device::cpu())).expect("it fits");
    let mut lane = inline.lane().expect("a lane");
    let long = "waterwheel ".repeat(10_000);
    let word = "w".repeat(100_000);
    let surrogate = [b"ok ".as_slice(), &[0xed, 0xa0, 0x80]].concat();
    let good: Vec<String> =
        ["", "turning water", &long, &word, "\u{10ffff}\0\u{fffd}"].map(String::from).into();
    for (id, text) in (0..).zip(&good) {
        lane.push(id, text).expect("there is room");
    }
    let tokens = |tokens| Err(TextError::Tokens { tokens, tokens_max: TOKENS_MAX });
    let id = |at, id| Err(TextError::TokenId { at, id, vocab: VOCAB });
    let mut errors = Answers::from([
        (10, Err(TextError::Utf8 { from: 0 })),
        (11, Err(TextError::Utf8 { from: 3 })),
        (12, Err(TextError::TooLong { bytes: 150_001 })),
        (13, tokens(0)),
        (14, tokens(TOKENS_MAX + 1)),
        (15, id(1, VOCAB as u32)),
        (16, id(0, u32::MAX)),
        (u64::MAX, Err(TextError::TooLong { bytes: 400_000 })),
    ]);
    lane.push(10, [0xff]).expect("there is room");
    lane.push(11, &surrogate).expect("there is room");
    lane.push(12, "a".repeat(150_001)).expect("there is room");
    lane.push_tokens(13, &[]).expect("there is room");
    lane.push_tokens(14, &[4; TOKENS_MAX + 1]).expect("there is room");
    lane.push_tokens(15, &[2, VOCAB as u32, 3]).expect("there is room");
    lane.push_tokens(16, &[u32::MAX; 3]).expect("there is room");
    lane.push_tokens(u64::MAX, &[2; 100_000]).expect("there is room");
    // Batches of nothing.
    lane.write(0, 0).expect("there is room").commit();
    lane.write(3, 60).expect("there is room").commit();
    let mut answers = Answers::new();
    inline.settle(|vectors| keep(&mut answers, &vectors)).expect("it works");
    for (id, error) in &mut errors {
        assert_eq!(answers.remove(id).as_ref(), Some(&*error), "event {id}");
    }
    assert_eq!(answers.len(), good.len());
    assert_same(&answers, &alone(&model, &Device::cpu(), &good), "among hostile ones");
    let stats = inline.stats();
    assert_eq!((stats.events, stats.accepted, stats.refused), (13, 5, 8));
    assert_eq!(lane.stats().written, 13);
    let says = TextError::TokenId { at: 1, id: 64, vocab: 64 }.to_string();
    assert_eq!(says, "token 1 is 64, not below 64");
}

#[test]
fn a_full_lane_rejects_or_drops_what_comes() {
    let model = small();
    for policy in [Policy::Reject, Policy::DropNewest] {
        let lane = LaneOptions { events: 4, policy, ..LaneOptions::default() };
        let options = Options { lane, ..Options::on(Device::cpu()) };
        let asked = Texts { bytes_max: 64, ..asked(&model, TOKENS_MAX) };
        let mut inline = TextInline::new(asked, options).expect("it fits");
        let mut lane = inline.lane().expect("a lane");
        let refused = (0..100).filter(|&id| lane.push(id, "turning water").is_err()).count() as u64;
        let mut answers = Answers::new();
        inline.settle(|vectors| keep(&mut answers, &vectors)).expect("it works");
        let (stats, answered) = (inline.stats(), answers.len() as u64);
        assert!((1..100).contains(&answered), "{policy:?}: {answered}");
        let lost = (100 - answered) * u64::from(policy == Policy::DropNewest);
        assert_eq!((stats.dropped, stats.rejected), (lost, refused), "{policy:?}");
        assert_eq!(answered + lost + refused, 100, "{policy:?}");
        assert_eq!(answers.into_keys().next_back(), Some(answered - 1), "the first ones stay");
    }
}

/// Weights that are finite and a result that is not.
#[test]
fn a_result_that_is_no_number_is_an_error_of_its_event() {
    let mut tensors = model::tensors(&SMALL, 7);
    let words =
        tensors.get_mut("embeddings.word_embeddings.weight").expect("there").1.as_mut_slice();
    words[10 * SMALL.hidden..11 * SMALL.hidden].fill(3e38);
    words[10 * SMALL.hidden] = -3e38;
    let mut files = files(&SMALL, 7);
    files.insert("model.safetensors".into(), model::safetensors(&tensors));
    let model = Model::from_files(files).expect("all of it is finite");
    let mut inline = TextInline::new(asked(&model, 200), Options::on(Device::cpu())).expect("fits");
    let mut lane = inline.lane().expect("a lane");
    lane.push_tokens(1, &[2, 10, 3]).expect("there is room");
    lane.push_tokens(2, &[2, 11, 3]).expect("there is room");
    let mut answers = Answers::new();
    inline.settle(|vectors| keep(&mut answers, &vectors)).expect("it works");
    assert_eq!(answers[&1], Err(TextError::NotFinite));
    assert!(answers[&2].is_ok());
    assert_eq!(inline.stats().refused, 1);
}

#[test]
fn lanes_of_a_pipeline_close_and_it_drains() {
    let model = small();
    let texts = texts(300, 9);
    let want = alone(&model, &Device::cpu(), &texts);
    let options = Options {
        latency_target: Some(Duration::from_secs(3600)),
        lane: LaneOptions { events: 8, ..LaneOptions::default() },
        ..Options::on(Device::cpu())
    };
    let asked = Texts { bytes_max: 200, ..asked(&model, 512) };
    let pipeline = TextPipeline::start(asked, options).expect("it fits");
    std::thread::scope(|scope| {
        for part in 0..3 {
            let (mut lane, texts) = (pipeline.lane().expect("a lane"), &texts);
            scope.spawn(move || {
                for i in (part..300).step_by(3) {
                    if i % 4 == 0 {
                        // A producer that panics loses what it had not committed.
                        let torn = catch_unwind(AssertUnwindSafe(|| {
                            let mut run = lane.write(1, 8).expect("it waits");
                            run.bytes(999, 8).expect("it fits").fill(b'x');
                            std::panic::resume_unwind(Box::new("planned"));
                        }));
                        assert!(torn.is_err());
                    }
                    let mut run = lane.write(1, texts[i].len()).expect("it waits");
                    let memory = run.bytes(i as u64, texts[i].len()).expect("it fits");
                    memory.copy_from_slice(texts[i].as_bytes());
                    run.commit();
                }
            });
        }
        let mut answers = Answers::new();
        let stats = pipeline.drain(|vectors| {
            assert!(vectors.iter().all(|vector| vector.on_time() && vector.lane() < 3));
            keep(&mut answers, &vectors);
        });
        let stats = stats.expect("it works");
        assert_eq!(answers.len(), 300);
        assert_same(&answers, &want, "of three producers");
        assert_eq!((stats.events, stats.accepted, stats.refused), (300, 300, 0));
        assert_eq!((stats.dropped, stats.rejected, stats.overdue), (0, 0, 0));
        for stage in [&stats.ring, &stats.device_ns, &stats.event, &stats.result] {
            assert_eq!(stage.count(), 300);
        }
    });
}

#[test]
fn every_policy_accounts_for_every_event() {
    let model = small();
    for policy in
        [Policy::Block, Policy::Spin, Policy::Reject, Policy::DropNewest, Policy::DropOldest]
    {
        let options = Options {
            lane: LaneOptions { events: 4, policy, ..LaneOptions::default() },
            ..Options::on(Device::cpu())
        };
        let asked = Texts { bytes_max: 64, ..asked(&model, TOKENS_MAX) };
        let pipeline = TextPipeline::start(asked, options).expect("it fits");
        let mut lane = pipeline.lane().expect("a lane");
        let producer = std::thread::spawn(move || {
            let refused = (0..2000).filter(|&id| lane.push(id, "turning water").is_err()).count();
            (refused as u64, lane.stats())
        });
        let mut answers = Answers::new();
        let stats = pipeline.drain(|vectors| keep(&mut answers, &vectors)).expect("it works");
        let (refused, lane) = producer.join().expect("no panic");
        let answered = answers.len() as u64;
        assert_eq!(answered + stats.dropped + stats.rejected, 2000, "{policy:?}");
        assert_eq!(lane.written + lane.dropped_newest + refused, 2000, "{policy:?}");
        assert_eq!((stats.events, stats.rejected), (answered, refused), "{policy:?}");
        let waits = matches!(policy, Policy::Block | Policy::Spin);
        assert!(answered == 2000 || !waits, "{policy:?}");
        let first = answers.values().next().expect("some");
        assert!(first.is_ok() && answers.values().all(|answer| answer == first), "{policy:?}");
    }
}

#[test]
fn a_deadline_orders_events_and_what_is_late_is_counted() {
    let model = small();
    let options = Options {
        latency_target: Some(Duration::from_millis(40)),
        in_flight: 1,
        ..Options::on(Device::cpu())
    };
    let mut inline = TextInline::new(asked(&model, TOKENS_MAX), options).expect("it fits");
    let (mut late, mut early) = (inline.lane().expect("a lane"), inline.lane().expect("a lane"));
    let now = pelton::base::clock::now_ns() + 1_000_000_000;
    while pelton::base::clock::now_ns() < now {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Stamps as a replay would set them: the second lane's are older.
    let push = |lane: &mut pelton::pipeline::texts::TextFeed, id, stamp| {
        let mut run = lane.write(1, 5).expect("there is room");
        run.bytes(id, 5).expect("it fits").copy_from_slice(b"water");
        run.commit_at(stamp);
    };
    (0..40).for_each(|id| push(&mut late, id, now + 10_000_000_000));
    (100..140).for_each(|id| push(&mut early, id, now - 500_000_000));
    let (mut order, mut on_time) = (Vec::new(), 0);
    inline
        .settle(|vectors| {
            order.extend(vectors.iter().map(|vector| vector.id()));
            on_time += vectors.iter().filter(|vector| vector.on_time()).count();
        })
        .expect("it works");
    assert_eq!(order.len(), 80);
    assert!(order[..20].iter().all(|&id| id >= 100), "the earliest deadlines first: {order:?}");
    assert_eq!((on_time, inline.stats().overdue), (40, 40));
}

#[test]
fn results_that_are_held_hold_the_engine_and_nothing_is_lost() {
    let model = small();
    let options = Options { outstanding: 2, in_flight: 2, ..Options::on(Device::cpu()) };
    let mut inline = TextInline::new(asked(&model, TOKENS_MAX), options).expect("it fits");
    let mut lane = inline.lane().expect("a lane");
    let texts = texts(60, 3);
    (0..).zip(&texts).for_each(|(id, text)| lane.push(id, text).expect("there is room"));
    lane.push(1000, [0xff]).expect("there is room");
    let mut held = Vec::new();
    for _ in 0..50 {
        inline.poll(|vectors| held.push(vectors)).expect("it works");
    }
    assert!(held.iter().filter(|vectors| vectors.get(0).values().is_ok()).count() == 2);
    let mut answers = Answers::new();
    while let Some(vectors) = held.pop() {
        keep(&mut answers, &vectors);
        drop(vectors);
        inline.poll(|vectors| held.push(vectors)).expect("it works");
    }
    assert_eq!(answers.remove(&1000), Some(Err(TextError::Utf8 { from: 0 })));
    assert_eq!(answers.len(), 60);
    assert_same(&answers, &alone(&model, &Device::cpu(), &texts), "held");
}

#[test]
fn results_come_by_polling_by_waiting_and_as_a_stream() {
    let model = small();
    let pipeline = TextPipeline::start(asked(&model, 512), Options::on(Device::cpu()));
    let pipeline = pipeline.expect("it fits");
    let monitor = pipeline.monitor();
    let (feeds, mut results) = pipeline.split();
    let mut lane = feeds.clone().lane().expect("a lane");
    assert_eq!(results.try_next().map(|_| ()), Poll::Pending);
    let run = |future: std::pin::Pin<&mut dyn Future<Output = ()>>| {
        let mut future = future;
        while future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            std::thread::yield_now();
        }
    };
    run(std::pin::pin!(async {
        lane.send(5, "turning water").await.expect("it runs");
        let vectors = results.recv().await.expect("one comes").expect("it works");
        assert_eq!((vectors.len(), vectors.dim(), vectors.get(0).id()), (1, SMALL.hidden, 5));
        assert!(format!("{:?}", vectors.get(0)).starts_with("Vector(id 5, "));
    }));
    lane.push(6, "water").expect("it runs");
    let vectors = results.next().expect("one comes").expect("it works");
    assert_eq!(vectors.get(0).tokens(), 3);
    assert_eq!(monitor.stats().events, 2);
    drop((lane, feeds));
    assert!(results.next().is_none());
    assert_eq!(monitor.stats().result.count(), 2);
    // A consumer that leaves stops nobody.
    let pipeline = TextPipeline::start(asked(&model, 512), Options::on(Device::cpu()));
    let (feeds, results) = pipeline.expect("it fits").split();
    drop(results);
    let mut lane = feeds.lane().expect("a lane");
    (0..500).for_each(|id| lane.push(id, "water").expect("it goes on"));
}

#[test]
fn what_texts_cannot_have_is_named() {
    let model = small();
    let on = || Options::on(Device::cpu());
    for (texts, options, says) in [
        (asked(&model, 79), on(), "batch_tokens: 80 to 65536"),
        (asked(&model, 512), Options { in_flight: 17, ..on() }, "in_flight: 17; accepted are 1"),
        (asked(&model, 512), Options { alternative: Some(Device::null()), ..on() }, "alternative"),
        (asked(&model, 512), Options { latency_target: Some(Duration::ZERO), ..on() }, "latency"),
    ] {
        let error = TextPipeline::start(texts, options).map(|_| ()).expect_err("refused");
        assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains(says), "{error}");
    }
    let wide = Texts { bytes_max: usize::MAX, ..asked(&model, 512) };
    let pipeline = TextPipeline::start(wide, on()).expect("no lane yet");
    assert!(matches!(pipeline.lane(), Err(Error::Invalid(_))));
    let mut inline =
        TextInline::new(asked(&model, 512), Options::on(Device::null())).expect("fits");
    inline.lane().expect("a lane").push(1, "water").expect("there is room");
    let error = inline.settle(|_| ()).expect_err("it computes nothing");
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(!inline.poll(|_| ()).expect("it has ended"));
}
