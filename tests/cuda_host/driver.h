// What the stand-in for the CUDA driver keeps: memory, streams, events, graphs, and everything that went wrong.
//
// The driver's functions (driver.cpp, driver_memory.cpp, driver_control.cpp) only note what is to be done; one thread,
// the device (driver_device.cpp), does it later, stream by stream in an order that a seed chooses. So the host runs
// ahead, as it does of a real device: memory that it gives back or overwrites too early is seen to be missing, and work
// that lacks a wait runs before what it needs. All state is behind one lock.
#pragma once

#include "host.h"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#define DRIVER extern "C" __attribute__((visibility("default")))

namespace stand_in {

// Answers, by the numbers that the driver gives them.
enum Code : int {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    LAUNCH_FAILED = 719,
    LAUNCH_TOO_LARGE = 720,
    ALREADY_REGISTERED = 712,
    NOT_REGISTERED = 713,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_UNMATCHED = 903,
    CAPTURE_WRONG_THREAD = 908,
};

using Address = uintptr_t;

struct Range {
    Address from;
    size_t bytes;
    bool meets(const Range& other) const { return from < other.from + other.bytes && other.from < from + bytes; }
    bool holds(const Range& other) const { return from <= other.from && other.from + other.bytes <= from + bytes; }
};

enum class Kind { device, pinned, registered };

// A piece of memory, as the host and as the device know it. Page-locked memory of the driver's own lies at two
// addresses, so that one taken for the other is found out.
struct Region {
    Kind kind;
    Address host, device;
    size_t bytes;
    std::vector<std::pair<void*, size_t>> mappings;
    Range of_host() const { return {host, bytes}; }
    Range of_device() const { return {device, bytes}; }
};

struct Event {
    uint64_t recorded = 0, passed = 0;
};

// One thing for the device to do. What it uses, by the device's addresses and the host's, must be there until then.
struct Op {
    enum class Kind { work, record, wait } kind = Kind::work;
    std::string what;
    std::function<std::string(uint64_t seed)> work;
    // It may be there for long, and other streams go on meanwhile: a thread of its own does it.
    bool apart = false;
    std::vector<Range> device_ranges, host_ranges;
    std::shared_ptr<Event> event;
    uint64_t point = 0;
};

struct Graph {
    std::vector<Op> ops;
};

struct Stream {
    std::deque<Op> ops;
    // The first of `ops` is being done.
    bool running = false;
    std::shared_ptr<Graph> capture;
    std::thread::id capturer;
    bool capture_broken = false;
};

// A planned failure of one of the driver's functions, and the calls it has had.
struct Plan {
    uint64_t calls = 0, fail_at = 0;
    int code = SUCCESS;
    bool ignored = false;
};

struct Driver {
    std::mutex lock;
    // For the device, that there is work; for the host, that there is progress.
    std::condition_variable work, progress;
    bool initialized = false, started = false, hangs = false;
    int retained = 0;
    size_t memory_limit = size_t{2} << 30, memory_used = 0;
    std::vector<Region> regions;
    std::map<void*, std::shared_ptr<Stream>> streams;
    std::map<void*, std::shared_ptr<Event>> events;
    std::map<void*, std::shared_ptr<Graph>> graphs, execs;
    // The one entry point of a module that was compiled from text; empty for the image.
    std::map<void*, std::string> modules;
    // Dynamic shared memory that kernels may be given, where it is more than all may.
    std::map<const HostKernel*, unsigned> shared_bytes;
    uint64_t handles = 0, random = 0, seed = 0;
    // Why no call succeeds any more.
    int dead = SUCCESS;
    std::map<std::string, Plan> plans;
    std::vector<std::string> complaints;
};

// The one driver of the process; never destroyed, because its thread may outlive `main`.
Driver& driver();

// With the lock held.
void complain(const std::string& what);
void kill(int code);
uint64_t draw();
// Gives work to the device, or to the graph that the stream is captured into.
int push(Stream& stream, Op op);
bool uses(const Range& range, bool of_host);
const Region* find(Address at, bool of_host);
// What is wrong with the memory that an op is to use; empty when nothing is.
std::string missing(const Op& op);
// A handle that no other object has had.
void* new_handle();
// Starts the device's thread, once.
void start();

// A call of one of the driver's functions: counts it, and says whether it is to fail.
struct Call {
    Driver& d;
    std::unique_lock<std::mutex> held;
    int code;
    // Somebody forgot this call.
    bool ignored;
    explicit Call(const char* function, bool needs_context = true);
};

// Whether this thread captures some stream, so that what could wait for the device is forbidden to it.
bool captures();

}  // namespace stand_in
