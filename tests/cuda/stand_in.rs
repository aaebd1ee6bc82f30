//! The stand-in driver sees what it is there to see: each test does one thing that a driver's user must not.

use super::child::{child, role};
use super::cuda_host::driver::{StandIn, over_stand_in};
use cudarc::driver::sys::{self, CUresult};
use std::ffi::c_void;
use std::ptr::null_mut;

/// Words of the buffers here: enough that a copy takes its time.
const WORDS: usize = 1 << 16;
const BYTES: usize = 4 * WORDS;

/// Runs `wrong` in a process of its own; the words that the stand-in is to complain with, none where it is not.
fn sees(test: &str, words: &str, wrong: impl FnOnce(&Driver)) {
    if role(test).is_none() {
        if over_stand_in(test).is_some() {
            // Under this seed streams take turns at random, and dawdle.
            child(test, "wrong", &[("PELTON_CUDA_SEED", "5")]);
        }
        return;
    }
    let stand_in = StandIn::load().expect("it is there for the parent");
    wrong(&Driver::open());
    let report = stand_in.report();
    let complained = report.iter().any(|line| line.contains(words));
    assert!(!words.is_empty() && complained || words.is_empty() && report.is_empty(), "{report:?}");
    stand_in.forgive();
}

/// The driver's functions, each answering success.
///
/// What is promised to them is what these tests break. They are sound all the same: the stand-in checks handles and
/// addresses, and leaves memory where it is that was given back too early.
struct Driver {
    context: sys::CUcontext,
}

fn done(code: CUresult) {
    assert_eq!(code, CUresult::CUDA_SUCCESS);
}

impl Driver {
    fn open() -> Self {
        let mut context = null_mut();
        // SAFETY: as above.
        unsafe {
            done(sys::cuInit(0));
            done(sys::cuDevicePrimaryCtxRetain(&raw mut context, 0));
            done(sys::cuCtxSetCurrent(context));
        }
        Self { context }
    }

    fn stream(&self) -> sys::CUstream {
        let mut stream = null_mut();
        // SAFETY: as above.
        done(unsafe { sys::cuStreamCreate(&raw mut stream, 1) });
        stream
    }

    fn memory(&self) -> u64 {
        let mut at = 0;
        // SAFETY: as above.
        done(unsafe { sys::cuMemAlloc_v2(&raw mut at, BYTES) });
        at
    }

    fn pinned(&self, fill: u32) -> *mut u32 {
        let mut at: *mut c_void = null_mut();
        // SAFETY: as above; the memory is this long.
        unsafe {
            done(sys::cuMemHostAlloc(&raw mut at, BYTES, 3));
            std::slice::from_raw_parts_mut(at.cast::<u32>(), WORDS).fill(fill);
        }
        at.cast()
    }

    fn zero(&self, at: u64, words: usize, stream: sys::CUstream) {
        // SAFETY: as above.
        done(unsafe { sys::cuMemsetD32Async(at, 0, words, stream) });
    }

    fn copy_in(&self, to: u64, from: *const u32, stream: sys::CUstream) {
        // SAFETY: as above.
        done(unsafe { sys::cuMemcpyHtoDAsync_v2(to, from.cast(), BYTES, stream) });
    }

    fn copy_out(&self, to: *mut u32, from: u64, stream: sys::CUstream) {
        // SAFETY: as above.
        done(unsafe { sys::cuMemcpyDtoHAsync_v2(to.cast(), from, BYTES, stream) });
    }

    fn settle(&self, stream: sys::CUstream) -> CUresult {
        // SAFETY: as above.
        unsafe { sys::cuStreamSynchronize(stream) }
    }

    fn free(&self, at: u64) {
        // SAFETY: as above.
        done(unsafe { sys::cuMemFree_v2(at) });
    }

    fn free_pinned(&self, at: *mut u32) {
        // SAFETY: as above.
        done(unsafe { sys::cuMemFreeHost(at.cast()) });
    }

    fn destroy(&self, stream: sys::CUstream) -> CUresult {
        // SAFETY: as above.
        unsafe { sys::cuStreamDestroy_v2(stream) }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        assert!(!self.context.is_null());
        // SAFETY: as above.
        let _ = unsafe { sys::cuDevicePrimaryCtxRelease_v2(0) };
    }
}

#[test]
fn memory_that_the_device_still_uses() {
    sees("stand_in::memory_that_the_device_still_uses", "still uses this memory", |driver| {
        let (stream, at) = (driver.stream(), driver.memory());
        (0..50).for_each(|_| driver.zero(at, WORDS, stream));
        driver.free(at);
        done(driver.destroy(stream));
    });
}

#[test]
fn page_locked_memory_that_the_device_still_uses() {
    let test = "stand_in::page_locked_memory_that_the_device_still_uses";
    sees(test, "still uses this memory", |driver| {
        let (stream, at, from) = (driver.stream(), driver.memory(), driver.pinned(7));
        (0..50).for_each(|_| driver.copy_in(at, from, stream));
        driver.free_pinned(from);
        // The copies that come after find nothing: the device is dead, and all is given back all the same.
        assert_eq!(driver.settle(stream), CUresult::CUDA_ERROR_LAUNCH_FAILED);
        // SAFETY: as for `Driver`.
        let _ = unsafe { sys::cuMemFree_v2(at) };
        let _ = driver.destroy(stream);
    });
}

#[test]
fn writes_beyond_the_end() {
    sees("stand_in::writes_beyond_the_end", "beyond the end", |driver| {
        let (stream, at) = (driver.stream(), driver.memory());
        driver.zero(at, WORDS + 1, stream);
        assert_eq!(driver.settle(stream), CUresult::CUDA_ERROR_LAUNCH_FAILED);
        // The device is dead, and everything is given back all the same.
        // SAFETY: as for `Driver`.
        let freed = unsafe { sys::cuMemFree_v2(at) };
        assert_eq!(freed, CUresult::CUDA_ERROR_LAUNCH_FAILED);
        assert_eq!(driver.destroy(stream), CUresult::CUDA_ERROR_LAUNCH_FAILED);
    });
}

#[test]
fn memory_that_is_not_page_locked() {
    sees("stand_in::memory_that_is_not_page_locked", "not page-locked", |driver| {
        let (stream, at, from) = (driver.stream(), driver.memory(), vec![1_u32; WORDS]);
        driver.copy_in(at, from.as_ptr(), stream);
        let _ = driver.settle(stream);
        // SAFETY: as for `Driver`.
        let _ = unsafe { sys::cuMemFree_v2(at) };
        let _ = driver.destroy(stream);
    });
}

#[test]
fn what_is_destroyed_twice() {
    sees("stand_in::what_is_destroyed_twice", "destroyed before", |driver| {
        let stream = driver.stream();
        done(driver.destroy(stream));
        assert_eq!(driver.destroy(stream), CUresult::CUDA_ERROR_INVALID_HANDLE);
    });
}

#[test]
fn what_is_left() {
    sees("stand_in::what_is_left", "", |driver| {
        let stream = driver.stream();
        let stand_in = StandIn::load().expect("it is there");
        let left = ["1 contexts left".to_owned(), "1 streams left".to_owned()];
        assert_eq!(stand_in.report(), left);
        done(driver.destroy(stream));
        assert_eq!(stand_in.report(), left[..1]);
    });
}

/// How many of some rounds bring back the words that were sent: `by` starts the copies of one round.
fn rounds(driver: &Driver, by: impl Fn(&[sys::CUstream; 2], u64, *mut u32, *mut u32)) -> usize {
    const ROUNDS: usize = 40;
    let streams = [driver.stream(), driver.stream()];
    let (at, from, to) = (driver.memory(), driver.pinned(0), driver.pinned(0));
    let right = (1..=ROUNDS).filter(|&round| {
        let sent = u32::try_from(round).expect("small");
        // SAFETY: nothing is under way, and the memory is this long.
        unsafe { std::slice::from_raw_parts_mut(from, WORDS) }.fill(sent);
        by(&streams, at, from, to);
        streams.iter().for_each(|&stream| done(driver.settle(stream)));
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(to, WORDS) }.iter().all(|&word| word == sent)
    });
    let right = right.count();
    driver.free(at);
    [from, to].into_iter().for_each(|at| driver.free_pinned(at));
    streams.into_iter().for_each(|stream| done(driver.destroy(stream)));
    if right == ROUNDS { usize::MAX } else { right }
}

#[test]
fn a_wait_that_is_missing_shows_and_one_that_is_there_does_not() {
    let test = "stand_in::a_wait_that_is_missing_shows_and_one_that_is_there_does_not";
    sees(test, "", |driver| {
        let without = rounds(driver, |[first, second], at, from, to| {
            driver.copy_in(at, from, *first);
            driver.copy_out(to, at, *second);
        });
        assert!(without < 40, "streams take turns: {without}");
        let mut event = null_mut();
        // SAFETY: as for `Driver`.
        done(unsafe { sys::cuEventCreate(&raw mut event, 2) });
        let with = rounds(driver, |[first, second], at, from, to| {
            driver.copy_in(at, from, *first);
            // SAFETY: as for `Driver`.
            unsafe {
                done(sys::cuEventRecord(event, *first));
                done(sys::cuStreamWaitEvent(*second, event, 0));
            }
            driver.copy_out(to, at, *second);
        });
        assert_eq!(with, usize::MAX);
        // SAFETY: as for `Driver`.
        done(unsafe { sys::cuEventDestroy_v2(event) });
    });
}

#[test]
fn a_source_that_is_overwritten_too_early_shows() {
    sees("stand_in::a_source_that_is_overwritten_too_early_shows", "", |driver| {
        let right = rounds(driver, |[first, _], at, from, to| {
            driver.copy_in(at, from, *first);
            // SAFETY: the memory is this long; the device may be reading it, which is the point.
            unsafe { from.write_volatile(77) };
            driver.copy_out(to, at, *first);
        });
        assert!(right < 40, "copies read late: {right}");
    });
}

#[test]
fn a_wait_while_capturing_is_refused() {
    sees("stand_in::a_wait_while_capturing_is_refused", "", |driver| {
        let stream = driver.stream();
        let mut graph = null_mut();
        // SAFETY: as for `Driver`.
        unsafe {
            let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
            done(sys::cuStreamBeginCapture_v2(stream, mode));
            let refused = CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
            assert_eq!(driver.settle(stream), refused);
            done(sys::cuStreamEndCapture(stream, &raw mut graph));
            done(sys::cuGraphDestroy(graph));
        }
        done(driver.destroy(stream));
    });
}
