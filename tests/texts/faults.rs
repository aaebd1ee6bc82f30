//! Each call to the device fails in turn: a typed error, nobody hangs, and what was answered is right.

use super::{Answers, alone, asked, assert_same, keep, small, texts};
use pelton::device::fault::{Call, Failure, Fault, FaultScript};
use pelton::pipeline::texts::{TextInline, TextPipeline};
use pelton::{Device, Error, Options};

#[test]
fn each_call_that_fails_is_a_typed_error() {
    let model = small();
    let texts = texts(12, 4);
    let want = alone(&model, &Device::cpu(), &texts);
    let run = |script: &FaultScript| -> (Answers, pelton::Result<()>) {
        let mut answers = Answers::new();
        let device = Fault::new(Device::cpu(), script.clone());
        let all = || {
            let mut inline = TextInline::new(asked(&model, 100), Options::on(device))?;
            let mut lane = inline.lane()?;
            (0..).zip(&texts).for_each(|(id, text)| lane.push(id, text).expect("there is room"));
            inline.settle(|vectors| keep(&mut answers, &vectors))?;
            Ok(())
        };
        let ended = all();
        (answers, ended)
    };
    let well = FaultScript::new();
    let (answers, ended) = run(&well);
    assert!(ended.is_ok() && answers.len() == 12 && well.calls_of(Call::Submit) > 1);
    for n in 1..=well.calls() {
        for failure in [Failure::Lost, Failure::OutOfMemory, Failure::Late(3)] {
            let (answers, ended) = run(&FaultScript::new().at(n, failure));
            assert_same(&answers, &want, "before the failure");
            match ended {
                Ok(()) => assert!(failure == Failure::Late(3) && answers.len() == 12, "call {n}"),
                Err(Error::DeviceLost { .. } | Error::Unsupported { .. }) => {}
                Err(error) => panic!("call {n}, {failure:?}: {error}"),
            }
        }
    }
}

#[test]
fn a_lost_device_ends_the_results_and_tells_producers() {
    let model = small();
    let script = FaultScript::new().nth(Call::Submit, 5, Failure::Lost);
    let device = Fault::new(Device::cpu(), script);
    let (feeds, results) =
        TextPipeline::start(asked(&model, 80), Options::on(device)).expect("it fits").split();
    let mut lane = feeds.lane().expect("a lane");
    // A full lane waits, and is told that nobody will make room.
    let producer = std::thread::spawn(move || {
        (0..).find_map(|id| lane.push(id, "turning water").err()).expect("it ends")
    });
    let mut answers = Answers::new();
    let mut error = None;
    for item in results {
        match item {
            Ok(vectors) => keep(&mut answers, &vectors),
            Err(found) => error = Some(found),
        }
    }
    assert!(matches!(error, Some(Error::DeviceLost { .. })), "{error:?}");
    assert!(producer.join().expect("no panic").closed && !answers.is_empty());
    assert!(matches!(feeds.lane(), Err(Error::Source { .. })), "no lanes after the end");
}
