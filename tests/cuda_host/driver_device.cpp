// The device of the stand-in driver: one thread that does what streams were told, in an order the seed chooses.
//
// Seed 0: at once, the oldest stream first. Any other: now this stream, now that one, now and then nothing for a while,
// so that copies read their source late and events pass late. Kernels run through the shim, in an order of threads that
// is drawn from the same seed.

#include "driver.h"

#include <cstdlib>

namespace stand_in {

Driver& driver() {
    static Driver* const only = [] {
        Driver* made = new Driver();
        const char* seed = std::getenv("PELTON_CUDA_SEED");
        made->seed = made->random = seed ? std::strtoull(seed, nullptr, 10) : 0;
        return made;
    }();
    return *only;
}

uint64_t draw() {
    // Source: S. Vigna, splitmix64.
    uint64_t x = driver().random += 0x9E37'79B9'7F4A'7C15;
    x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9;
    x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EB;
    return x ^ x >> 31;
}

void complain(const std::string& what) { driver().complaints.push_back(what); }

// A dead context does nothing more and answers every call with the same error.
void kill(int code) {
    Driver& d = driver();
    if (d.dead == SUCCESS) {
        d.dead = code;
    }
    for (auto& [handle, stream] : d.streams) {
        stream->ops.erase(stream->ops.begin() + (stream->running ? 1 : 0), stream->ops.end());
    }
    // What is there for long ends.
    host_hold(1);
    d.progress.notify_all();
}

void* new_handle() {
    // Never an address of anything, so that whoever looks inside is found out.
    return reinterpret_cast<void*>(uintptr_t{0x57A0'0000'0000'0000} + 16 * ++driver().handles);
}

const Region* find(Address at, bool of_host) {
    for (const Region& region : driver().regions) {
        const Range range = of_host ? region.of_host() : region.of_device();
        if (range.bytes != 0 && range.holds({at, 1})) {
            return &region;
        }
    }
    return nullptr;
}

bool uses(const Range& range, bool of_host) {
    for (const auto& [handle, stream] : driver().streams) {
        for (const Op& op : stream->ops) {
            for (const Range& used : of_host ? op.host_ranges : op.device_ranges) {
                if (used.meets(range)) {
                    return true;
                }
            }
        }
    }
    return false;
}

std::string missing(const Op& op) {
    for (const bool of_host : {false, true}) {
        for (const Range& range : of_host ? op.host_ranges : op.device_ranges) {
            const Region* region = find(range.from, of_host);
            if (region == nullptr) {
                return op.what + " uses memory that is not there";
            }
            if (!(of_host ? region->of_host() : region->of_device()).holds(range)) {
                return op.what + " goes beyond the end of its memory";
            }
        }
    }
    return {};
}

int push(Stream& stream, Op op) {
    Driver& d = driver();
    if (stream.capture) {
        if (stream.capturer != std::this_thread::get_id()) {
            return CAPTURE_WRONG_THREAD;
        }
        if (op.kind != Op::Kind::work) {
            stream.capture_broken = true;
            return CAPTURE_UNSUPPORTED;
        }
        stream.capture->ops.push_back(std::move(op));
        return SUCCESS;
    }
    stream.ops.push_back(std::move(op));
    start();
    d.work.notify_one();
    return SUCCESS;
}

namespace {

bool ready(const Stream& stream) {
    if (stream.ops.empty() || stream.running) {
        return false;
    }
    const Op& op = stream.ops.front();
    return op.kind != Op::Kind::wait || op.event->passed >= op.point;
}

// A stream whose first op can be done; null when there is none.
std::shared_ptr<Stream> choose() {
    Driver& d = driver();
    std::vector<std::shared_ptr<Stream>> able;
    for (const auto& [handle, stream] : d.streams) {
        if (ready(*stream)) {
            able.push_back(stream);
        }
    }
    if (able.empty()) {
        return nullptr;
    }
    return able[d.seed == 0 ? 0 : draw() % able.size()];
}

void dawdle(std::unique_lock<std::mutex>& held) {
    if (driver().seed == 0 || draw() % 16 != 0) {
        return;
    }
    const auto pause = std::chrono::microseconds(draw() % 200);
    held.unlock();
    std::this_thread::sleep_for(pause);
    held.lock();
}

// The first op of the stream is done, with this result.
void settle(Stream& stream, const std::string& wrong) {
    Driver& d = driver();
    const Op& op = stream.ops.front();
    if (op.kind == Op::Kind::record) {
        op.event->passed = std::max(op.event->passed, op.point);
    }
    stream.running = false;
    stream.ops.pop_front();
    if (!wrong.empty()) {
        // What a dead device leaves undone is nobody's fault.
        if (d.dead == SUCCESS) {
            complain(wrong);
        }
        kill(LAUNCH_FAILED);
    }
    d.progress.notify_all();
    d.work.notify_one();
}

void perform(const std::shared_ptr<Stream>& stream, std::unique_lock<std::mutex>& held) {
    Driver& d = driver();
    const Op& op = stream->ops.front();
    std::string wrong = missing(op);
    if (wrong.empty() && op.kind == Op::Kind::work) {
        const uint64_t seed = d.seed == 0 ? 0 : draw() | 1;
        stream->running = true;
        if (op.apart) {
            std::thread([stream, seed, work = op.work] {
                const std::string why = work(seed);
                std::lock_guard<std::mutex> lock(driver().lock);
                settle(*stream, why);
            }).detach();
            return;
        }
        const auto work = op.work;
        held.unlock();
        wrong = work(seed);
        held.lock();
    }
    settle(*stream, wrong);
}

void run_device() {
    Driver& d = driver();
    std::unique_lock<std::mutex> held(d.lock);
    for (;;) {
        dawdle(held);
        const std::shared_ptr<Stream> stream = choose();
        if (stream == nullptr) {
            d.work.wait(held);
        } else {
            perform(stream, held);
        }
    }
}

}  // namespace

void start() {
    Driver& d = driver();
    if (!d.started) {
        d.started = true;
        std::thread(run_device).detach();
    }
}

}  // namespace stand_in
