// What tests tell the stand-in driver and ask of it, beside the driver's own functions.

#include "driver.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include <unistd.h>

using namespace stand_in;

namespace {

void write(const std::string& what, char* text, size_t bytes) {
    if (bytes > 0) {
        const size_t length = std::min(what.size(), bytes - 1);
        std::memcpy(text, what.data(), length);
        text[length] = 0;
    }
}

// With the lock held.
std::string report() {
    Driver& d = driver();
    std::string all;
    const auto add = [&](const std::string& line) { all += line + "\n"; };
    for (const std::string& complaint : d.complaints) {
        add(complaint);
    }
    const auto alive = [&](const char* what, size_t count) {
        if (count > 0) {
            add(std::to_string(count) + " " + what + " left");
        }
    };
    const auto regions = [&](Kind kind) {
        const auto is = [kind](const Region& region) { return region.kind == kind; };
        return static_cast<size_t>(std::count_if(d.regions.begin(), d.regions.end(), is));
    };
    alive("contexts", static_cast<size_t>(d.retained));
    alive("modules", d.modules.size());
    alive("buffers", regions(Kind::device));
    alive("page-locked pieces of memory", regions(Kind::pinned));
    alive("registered pieces of memory", regions(Kind::registered));
    alive("streams", d.streams.size());
    alive("events", d.events.size());
    alive("graphs", d.graphs.size() + d.execs.size());
    return all;
}

// At the end of the process nothing may have been wrong and everything must have been given back: whatever tests ran,
// they have failed otherwise.
struct Settled {
    ~Settled() {
        std::lock_guard<std::mutex> held(driver().lock);
        const std::string all = report();
        if (!all.empty()) {
            std::fprintf(stderr, "the stand-in driver:\n%s", all.c_str());
            std::fflush(stderr);
            _exit(1);
        }
    }
} settled;

}  // namespace

// Lets the n-th call of a function from now on fail with this code.
DRIVER void stand_in_fail(const char* function, uint64_t n, int code) {
    std::lock_guard<std::mutex> held(driver().lock);
    Plan& plan = driver().plans[function];
    plan.fail_at = plan.calls + n;
    plan.code = code;
}

// Lets every call of a function from now on answer success and do nothing: the call that somebody forgot.
DRIVER void stand_in_ignore(const char* function) {
    std::lock_guard<std::mutex> held(driver().lock);
    driver().plans[function].ignored = true;
}

// Lets kernels that are there for long stand still from now on, as on a device that hangs.
DRIVER void stand_in_hang() {
    std::lock_guard<std::mutex> held(driver().lock);
    driver().hangs = true;
    host_hold(2);
}

// Bytes of memory that the device has from now on.
DRIVER void stand_in_memory(size_t bytes) {
    std::lock_guard<std::mutex> held(driver().lock);
    driver().memory_limit = std::max(bytes, driver().memory_used);
}

// The functions that were called, each with how often, a line each.
DRIVER void stand_in_calls(char* text, size_t bytes) {
    std::lock_guard<std::mutex> held(driver().lock);
    std::string all;
    for (const auto& [name, plan] : driver().plans) {
        all += name + " " + std::to_string(plan.calls) + "\n";
    }
    write(all, text, bytes);
}

// Forgets what was wrong so far.
DRIVER void stand_in_forgive() {
    std::lock_guard<std::mutex> held(driver().lock);
    driver().complaints.clear();
}

// Everything that was wrong so far, and every object that still lives, a line each.
DRIVER void stand_in_report(char* text, size_t bytes) {
    std::lock_guard<std::mutex> held(driver().lock);
    write(report(), text, bytes);
}
