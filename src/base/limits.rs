//! Every bound of the engine in one file, with the relations between them asserted.

/// Events in one batch, at most.
pub const BATCH_EVENTS_MAX: usize = 1 << 20;
/// Ranges of lane memory in one batch, at most.
pub const BATCH_RANGES_MAX: usize = 1 << 12;
/// Batches a queue may have in flight, at most.
pub const IN_FLIGHT_MAX: usize = 16;
/// Events that one chunk (one workgroup of a device) takes, at most.
pub const CHUNK_EVENTS: usize = 256;
/// Events a lane holds, at most.
pub const LANE_EVENTS_MAX: usize = 1 << 30;
/// Leases of one lane that may be out at a time.
pub const LANE_LEASES_MAX: usize = 256;
/// Lanes of one pipeline, at most.
pub const LANES_MAX: usize = 1 << 12;
/// Bytes of one event, at most.
pub const EVENT_BYTES_MAX: usize = 4096;
/// Buffers a kernel binds beside its header, parameters and events.
pub const KERNEL_BINDS_MAX: usize = 6;
/// Words of a kernel's parameter block, at most (a uniform buffer's minimum guarantee is far larger).
pub const KERNEL_PARAMS_MAX: usize = 64;
/// Steps of one plan, at most.
pub const PLAN_STEPS_MAX: usize = 1 << 12;
/// Buffers of one pipeline, at most.
pub const BUFFERS_MAX: usize = 1 << 12;
/// Value fields one window operator aggregates, at most.
pub const VALUES_MAX: usize = 8;
/// Slices in one window, at most.
pub const WINDOW_SLICES_MAX: u64 = 1 << 16;
/// Events that one accumulator row takes before its slice is full: sums of 64 bits cannot overflow below it.
pub const ROW_EVENTS_MAX: u64 = (1 << 31) - 1;
/// Consecutive events beyond the horizon that agree with each other and so prove a real jump.
pub const JUMP_EVENTS: u32 = 32;
/// Ids in one block of accumulator rows: a slot takes memory by the block.
pub const BLOCK_IDS: usize = 64;
/// Ids of keys, at most: an id leaves three bits of its word free for flags while keys are looked up.
pub const IDS_MAX: usize = 1 << 29;
/// Keys of one pipeline, at most: the batch that reaches the bound may go beyond it.
pub const KEYS_MAX: usize = IDS_MAX - BATCH_EVENTS_MAX;
/// Slots of the key table, at most: it is at most half full, and a slot's number leaves one bit of its word free.
pub const TABLE_SLOTS_MAX: usize = 2 * IDS_MAX;
/// Pages of the key table, at most: twice as many as there are of 128 MiB, what WebGPU promises a binding, in the
/// largest table of keys of two words.
pub const TABLE_PAGES_MAX: usize = 256;
/// Comparisons of one filter, at most.
pub const FILTER_TESTS_MAX: usize = 128;
/// Places on the stack of a filter: the bits of one word.
pub const FILTER_DEPTH_MAX: usize = 32;

/// A small number as a word.
///
/// # Panics
/// When it does not fit: limits keep counts, offsets and sizes small.
#[inline]
pub const fn word(n: usize) -> u32 {
    assert!(n <= u32::MAX as usize, "limits keep counts, offsets and sizes small");
    #[allow(clippy::cast_possible_truncation, reason = "asserted above")]
    return n as u32;
}

const _: () = assert!(BATCH_EVENTS_MAX < 1 << 30, "an event's index must leave the tag bits free");
const _: () =
    assert!(TABLE_SLOTS_MAX - 1 < (1 << 31) - 2, "a claimed slot is not taken for a sign");
const _: () = assert!(TABLE_SLOTS_MAX * 16 / (128 << 20) <= TABLE_PAGES_MAX);
const _: () = assert!(EVENT_BYTES_MAX.is_multiple_of(4), "events are whole words");
const _: () = assert!(BLOCK_IDS.is_power_of_two() && CHUNK_EVENTS.is_multiple_of(BLOCK_IDS));
const _: () = assert!(
    FILTER_TESTS_MAX.ilog2() < 32 && FILTER_DEPTH_MAX == 32,
    "a filter's depth is logarithmic"
);
const _: () = assert!(EVENT_BYTES_MAX / 4 <= 1 << 12, "a filter names a word in 12 bits");
