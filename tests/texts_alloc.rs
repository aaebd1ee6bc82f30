//! No allocation per batch of texts after warm-up, on the processor.

#[path = "encoder/model.rs"]
mod model;
#[allow(dead_code, reason = "the allocator is what is used here")]
mod steady;

use model::{SMALL, files};
use pelton::model::Model;
use pelton::pipeline::texts::{TextInline, Texts};
use pelton::{Device, Options};

#[test]
fn no_batch_of_texts_allocates_once_warm() {
    let model = Model::from_files(files(&SMALL, 1)).expect("a good folder");
    let mut inline =
        TextInline::new(Texts::new(&model), Options::on(Device::cpu())).expect("it fits");
    let mut lane = inline.lane().expect("a lane");
    let texts = ["turning water", "", "a jet of water, a wheel.", "é, ÀÉÎ and 水車 \u{0}"];
    let tokens = model.tokens(texts[2]);
    let (mut id, mut seen) = (0u64, 0u64);
    let mut run = |batches: u64| {
        for batch in 0..batches {
            for i in 0..batch % 9 {
                let text = texts[usize::try_from((batch + i) % 4).expect("small")];
                lane.push(id, text).expect("there is room");
                lane.push_tokens(id + 1, &tokens).expect("there is room");
                lane.push(id + 2, [b'a', 0xff]).expect("there is room");
                lane.push_tokens(id + 3, &[]).expect("there is room");
                id += 4;
            }
            let judge = |vectors: pelton::pipeline::texts::Vectors| {
                seen += vectors.iter().filter(|v| v.values().is_ok() && v.latency_ns() > 0).count()
                    as u64;
            };
            inline.settle(judge).expect("it works");
        }
        steady::allocations()
    };
    // What the thread that runs the tests allocates meanwhile is not in all stretches.
    run(200);
    let counts: Vec<u64> = (0..4).map(|_| run(200)).collect();
    assert!(counts.windows(2).any(|pair| pair[0] == pair[1]), "{counts:?}");
    assert!(counts[0] > 0, "the allocator counts");
    assert!(seen > 1000);
}
