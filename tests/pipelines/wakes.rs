//! Waiting without blocking a thread: results and lanes wake their tasks, and a task that is dropped loses nothing.

use pelton::base::error::Result;
use pelton::{
    Device, Feed, Feeds, Key, LaneOptions, Options, Pipeline, Pod, Results, Windows, Zeroable,
    field,
};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Event {
    at: u64,
    key: u64,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future here; it must be woken, because nothing else polls it again.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park_timeout(Duration::from_secs(60));
        assert!(Instant::now() < until, "a wake-up is missing");
    }
}

/// A pipeline on the processor whose lanes and results are as small as they can be.
fn small() -> Result<(Feeds<Event>, Results<Event>)> {
    let windows =
        Windows { key: Key::hashed(field!(Event.key)), ..Windows::tumbling(field!(Event.at), 10) };
    let lane = LaneOptions { events: 8, ..LaneOptions::default() };
    let options = Options {
        lane,
        outstanding: 1,
        in_flight: 1,
        batch_events: 8,
        ..Options::on(Device::cpu())
    };
    Ok(Pipeline::start(windows, options)?.split())
}

async fn count(results: &mut Results<Event>) -> Result<u64> {
    let mut events = 0;
    while let Some(rows) = results.recv().await {
        events += rows?.iter().map(|row| row.count()).sum::<u64>();
    }
    Ok(events)
}

fn events(n: u64) -> Vec<Event> {
    (0..n).map(|i| Event { at: i, key: i % 3 }).collect()
}

async fn send(mut lane: Feed<Event>, n: u64) -> usize {
    lane.send_all(&events(n)).await
}

#[test]
fn results_and_lanes_wake_their_tasks() -> Result<()> {
    let (feeds, mut results) = small()?;
    let lanes = [feeds.lane()?, feeds.lane()?];
    drop(feeds);
    // Far more than the lanes hold, so that both ends wait for each other many times.
    let producers = lanes.map(|lane| thread::spawn(move || block_on(send(lane, 20_000))));
    assert_eq!(block_on(count(&mut results))?, 40_000);
    assert_eq!(producers.map(|p| p.join().expect("it does not panic")), [20_000; 2]);
    Ok(())
}

#[test]
fn a_full_lane_is_pending_until_results_are_taken() -> Result<()> {
    let (feeds, mut results) = small()?;
    let lane = feeds.lane()?;
    drop(feeds);
    let mut sending = pin!(send(lane, 5_000));
    let mut idle = Context::from_waker(Waker::noop());
    // Nobody takes results: at some point nothing moves, and the thread that polls has not been blocked.
    for _ in 0..20 {
        assert!(sending.as_mut().poll(&mut idle).is_pending());
        thread::sleep(Duration::from_millis(5));
    }
    let taking = thread::spawn(move || block_on(count(&mut results)));
    assert_eq!(block_on(sending), 5_000);
    assert_eq!(taking.join().expect("it does not panic")?, 5_000);
    Ok(())
}

#[test]
fn a_receive_that_is_dropped_loses_nothing() -> Result<()> {
    let (feeds, mut results) = small()?;
    let lane = feeds.lane()?;
    drop(feeds);
    let producer = thread::spawn(move || block_on(send(lane, 1_000)));
    let (mut total, mut idle) = (0, Context::from_waker(Waker::noop()));
    loop {
        // Polled once and dropped: what was ready is here, what was not stays there.
        let once = pin!(results.recv()).poll(&mut idle);
        match once {
            Poll::Ready(Some(rows)) => total += rows?.iter().map(|row| row.count()).sum::<u64>(),
            Poll::Ready(None) => break,
            Poll::Pending => thread::yield_now(),
        }
    }
    assert_eq!((total, producer.join().expect("it does not panic")), (1_000, 1_000));
    Ok(())
}

#[cfg(feature = "tokio")]
mod routes {
    use super::*;
    use pelton::pipeline::route::Router;
    use tokio::sync::mpsc;

    #[test]
    fn a_task_that_does_not_read_is_cut_off_alone() -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        runtime.expect("threads can be started").block_on(async {
            let (feeds, mut results) = small()?;
            let lane = feeds.lane()?;
            drop(feeds);
            let router = Router::default();
            let ((reads, mut mine), (sleeps, mut late)) = (mpsc::channel(1_000), mpsc::channel(2));
            router.open(0, reads);
            router.open(1, sleeps);
            let sending = tokio::spawn(send(lane, 3_000));
            router.run(&mut results, |row| (row.key(), row.count())).await?;
            assert_eq!(sending.await.expect("it does not panic"), 3_000);
            assert!(!router.is_open(0) && !router.is_open(1), "the results have ended");
            let mut total = 0;
            while let Some(counts) = mine.recv().await {
                total += counts.iter().sum::<u64>();
            }
            assert_eq!(total, 1_000);
            assert!(late.recv().await.is_some() && late.recv().await.is_some());
            assert_eq!(late.recv().await, None, "its two places were taken, so it was cut off");
            Ok(())
        })
    }
}
