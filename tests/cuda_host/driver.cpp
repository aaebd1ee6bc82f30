// The functions of the CUDA driver that pelton calls, less those of memory, as its library exports them.
//
// Built into a library that calls itself libcuda.so, which a test loads before the driver is looked for. What a handle
// is, is checked; what a real driver would leave undefined is an error or a complaint.

#include "driver.h"

#include <algorithm>
#include <cstring>

using namespace stand_in;

extern "C" const HostKernel* seam_kernel(const char* name);
extern "C" const HostKernel* custom_kernel(const char* name);

namespace {

constexpr uint32_t FAT_BINARY = 0xBA55ED50;
// How many blocks are there at the same time: so many on each of so many multiprocessors.
constexpr unsigned MULTIPROCESSORS = 10;
constexpr unsigned OCCUPANCY = 2;
// Bytes of dynamic shared memory that a launch may ask for, and may where the kernel's attribute says so.
constexpr unsigned SHARED_PLAIN = 48 << 10;
constexpr int SHARED_MOST = 227 << 10;

thread_local void* current = nullptr;
thread_local int capturing = 0;

template <class T> std::shared_ptr<T> get(std::map<void*, std::shared_ptr<T>>& all, void* handle) {
    auto found = all.find(handle);
    return found == all.end() ? nullptr : found->second;
}

template <class T> int make(std::map<void*, std::shared_ptr<T>>& all, void** to) {
    *to = new_handle();
    all[*to] = std::make_shared<T>();
    return SUCCESS;
}

template <class T> int destroy(Call& call, T& all, void* handle, const char* function) {
    if (all.erase(handle) == 0) {
        complain(std::string(function) + ": no such handle, or destroyed before");
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    return call.code;
}

// What a kernel's argument of 16 bytes points at, when it is a place in memory.
void note_memory(Op& op, const unsigned char* argument) {
    uint64_t at = 0;
    uint32_t words = 0;
    std::memcpy(&at, argument, sizeof at);
    std::memcpy(&words, argument + 8, sizeof words);
    if (find(at, false) != nullptr) {
        op.device_ranges.push_back({at, size_t{4} * words});
    }
}

Op launch(const HostKernel* kernel, unsigned grid, unsigned block, unsigned shared, void** arguments,
          bool cooperative) {
    Op op;
    op.apart = cooperative;
    op.what = std::string("kernel ") + kernel->name;
    std::vector<std::vector<unsigned char>> copies;
    for (uint32_t i = 0; i < kernel->args; i++) {
        const auto* from = static_cast<const unsigned char*>(arguments[i]);
        copies.emplace_back(from, from + kernel->arg_bytes[i]);
        if (kernel->arg_bytes[i] == 16) {
            note_memory(op, copies.back().data());
        }
    }
    op.work = [=](uint64_t seed) mutable {
        std::vector<void*> pointers;
        for (auto& copy : copies) {
            pointers.push_back(copy.data());
        }
        const HostLaunch how{grid, block, shared, cooperative, seed};
        char why[512] = "";
        const int failed = host_launch(kernel, &how, pointers.data(), why, sizeof why);
        return failed ? std::string(why[0] ? why : "a kernel failed") : std::string();
    };
    return op;
}

// What a launch on a stream answers.
int start_kernel(Call& call, const HostKernel* kernel, const unsigned* sizes, unsigned shared, void* stream,
                 void** arguments, bool cooperative) {
    const auto on = get(call.d.streams, stream);
    if (call.code != SUCCESS || on == nullptr) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    if (sizes[0] == 0 || sizes[1] * sizes[2] * sizes[4] * sizes[5] != 1) {
        return INVALID_VALUE;
    }
    if (shared > std::max(SHARED_PLAIN, call.d.shared_bytes[kernel])) {
        return INVALID_VALUE;
    }
    if (cooperative && sizes[0] > MULTIPROCESSORS * OCCUPANCY) {
        return LAUNCH_TOO_LARGE;
    }
    Op op = launch(kernel, sizes[0], sizes[3], shared, arguments, cooperative);
    const std::string wrong = missing(op);
    if (!wrong.empty()) {
        complain(wrong);
        return INVALID_VALUE;
    }
    return push(*on, std::move(op));
}

// Waits until all that the stream was told is done.
int settle(Call& call, const std::shared_ptr<Stream>& stream) {
    call.d.progress.wait(call.held, [&] { return stream->ops.empty(); });
    return call.d.dead;
}

}  // namespace

namespace stand_in {

bool captures() { return capturing > 0; }

Call::Call(const char* function, bool needs_context) : d(driver()), held(d.lock), code(SUCCESS), ignored(false) {
    Plan& plan = d.plans[function];
    ignored = plan.ignored;
    plan.calls++;
    if (plan.calls == plan.fail_at) {
        code = plan.code;
        // As a device that meets these never works again.
        if (code == LAUNCH_FAILED || code == 700 || code == 46 || code == 214 || code == 999) {
            kill(code);
            // A dead device runs nothing.
            d.progress.wait(held, [this] {
                for (const auto& [handle, stream] : d.streams) {
                    if (stream->running) {
                        return false;
                    }
                }
                return true;
            });
        }
    } else if (d.dead != SUCCESS) {
        code = d.dead;
    } else if (!d.initialized && std::strcmp(function, "cuInit") != 0) {
        code = NOT_INITIALIZED;
    } else if (needs_context && (current == nullptr || d.retained == 0)) {
        complain(std::string(function) + ": the thread has no context");
        code = INVALID_CONTEXT;
    }
}

}  // namespace stand_in

DRIVER int cuInit(unsigned) {
    Call call("cuInit", false);
    call.d.initialized = call.d.initialized || call.code == SUCCESS;
    return call.code;
}

DRIVER int cuDriverGetVersion(int* version) {
    Call call("cuDriverGetVersion", false);
    *version = 12080;
    return call.code;
}

DRIVER int cuDeviceGetCount(int* count) {
    Call call("cuDeviceGetCount", false);
    *count = 1;
    return call.code;
}

DRIVER int cuDeviceGet(int* device, int ordinal) {
    Call call("cuDeviceGet", false);
    *device = 0;
    return call.code != SUCCESS || ordinal == 0 ? call.code : INVALID_DEVICE;
}

DRIVER int cuDeviceGetName(char* name, int bytes, int) {
    Call call("cuDeviceGetName", false);
    std::strncpy(name, "stand-in", static_cast<size_t>(bytes));
    return call.code;
}

// A card of compute capability 9.0 that maps memory of the host and launches cooperatively.
DRIVER int cuDeviceGetAttribute(int* value, int attribute, int) {
    Call call("cuDeviceGetAttribute", false);
    switch (attribute) {
        case 16: *value = MULTIPROCESSORS; break;
        case 19: *value = 1; break;
        case 75: *value = 9; break;
        case 76: *value = 0; break;
        case 95: *value = 1; break;
        default: complain("cuDeviceGetAttribute: the stand-in does not know this one"); return INVALID_VALUE;
    }
    return call.code;
}

DRIVER int cuDeviceTotalMem_v2(size_t* bytes, int) {
    Call call("cuDeviceTotalMem_v2", false);
    *bytes = call.d.memory_limit;
    return call.code;
}

DRIVER int cuDevicePrimaryCtxRetain(void** context, int) {
    Call call("cuDevicePrimaryCtxRetain", false);
    if (call.code == SUCCESS) {
        call.d.retained++;
        *context = &call.d;
    }
    return call.code;
}

DRIVER int cuDevicePrimaryCtxRelease_v2(int) {
    Call call("cuDevicePrimaryCtxRelease_v2", false);
    if (call.d.retained == 0) {
        complain("cuDevicePrimaryCtxRelease: nobody retains it");
        return INVALID_CONTEXT;
    }
    call.d.retained--;
    return call.code;
}

DRIVER int cuCtxSetCurrent(void* context) {
    Call call("cuCtxSetCurrent", false);
    if (call.code == SUCCESS) {
        current = context;
    }
    return call.code;
}

DRIVER int cuModuleLoadData(void** module, const void* image) {
    Call call("cuModuleLoadData");
    if (call.code != SUCCESS) {
        return call.code;
    }
    uint32_t magic = 0;
    std::memcpy(&magic, image, sizeof magic);
    std::string entry;
    if (magic != FAT_BINARY) {
        // PTX, as text.
        const auto* text = static_cast<const char*>(image);
        const char* const word = std::strncmp(text, "//", 2) == 0 ? std::strstr(text, ".entry ") : nullptr;
        if (word == nullptr) {
            return INVALID_IMAGE;
        }
        entry = std::string(word + 7, std::strcspn(word + 7, "( \n"));
    }
    *module = new_handle();
    call.d.modules[*module] = entry;
    return SUCCESS;
}

DRIVER int cuModuleUnload(void* module) {
    Call call("cuModuleUnload", false);
    if (!call.d.execs.empty()) {
        complain("cuModuleUnload: graphs of its kernels are left");
    }
    return destroy(call, call.d.modules, module, "cuModuleUnload");
}

DRIVER int cuModuleGetFunction(const void** function, void* module, const char* name) {
    Call call("cuModuleGetFunction");
    if (call.code != SUCCESS) {
        return call.code;
    }
    const auto found = call.d.modules.find(module);
    if (found == call.d.modules.end()) {
        return INVALID_HANDLE;
    }
    if (!found->second.empty()) {
        *function = found->second == name ? custom_kernel(name) : nullptr;
    } else {
        const HostKernel* kernel = host_kernel(name);
        *function = kernel ? kernel : seam_kernel(name);
    }
    return *function ? SUCCESS : NOT_FOUND;
}

DRIVER int cuFuncGetAttribute(int* value, int attribute, const HostKernel* function) {
    Call call("cuFuncGetAttribute");
    if (call.code != SUCCESS || function == nullptr) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    if (attribute != 0) {
        complain("cuFuncGetAttribute: the stand-in does not know this one");
        return INVALID_VALUE;
    }
    *value = 1024;
    return SUCCESS;
}

DRIVER int cuFuncSetAttribute(const HostKernel* function, int attribute, int value) {
    Call call("cuFuncSetAttribute");
    if (call.code != SUCCESS || function == nullptr) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    if (attribute != 8 || value < 0 || value > SHARED_MOST) {
        complain("cuFuncSetAttribute: dynamic shared memory is all that can be set, 227 KiB at most");
        return INVALID_VALUE;
    }
    call.d.shared_bytes[function] = static_cast<unsigned>(value);
    return SUCCESS;
}

DRIVER int cuStreamCreate(void** stream, unsigned) {
    Call call("cuStreamCreate");
    return call.code != SUCCESS ? call.code : make(call.d.streams, stream);
}

// The stream is gone once it has done what it was told; nobody waits for one that hangs.
DRIVER int cuStreamDestroy_v2(void* stream) {
    Call call("cuStreamDestroy_v2", false);
    if (auto found = get(call.d.streams, stream)) {
        call.d.progress.wait(call.held, [&] { return found->ops.empty() || call.d.hangs; });
    }
    return destroy(call, call.d.streams, stream, "cuStreamDestroy");
}

DRIVER int cuStreamSynchronize(void* stream) {
    Call call("cuStreamSynchronize");
    if (call.ignored) {
        return SUCCESS;
    }
    if (call.code != SUCCESS) {
        return call.code;
    }
    const auto found = get(call.d.streams, stream);
    if (found == nullptr) {
        return INVALID_HANDLE;
    }
    if (captures()) {
        return CAPTURE_UNSUPPORTED;
    }
    return settle(call, found);
}

DRIVER int cuStreamWaitEvent(void* stream, void* event, unsigned) {
    Call call("cuStreamWaitEvent");
    if (call.ignored) {
        return SUCCESS;
    }
    const auto on = get(call.d.streams, stream);
    const auto of = get(call.d.events, event);
    if (call.code != SUCCESS || on == nullptr || of == nullptr) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    Op op;
    op.kind = Op::Kind::wait;
    op.event = of;
    op.point = of->recorded;
    return push(*on, std::move(op));
}

DRIVER int cuStreamBeginCapture_v2(void* stream, int) {
    Call call("cuStreamBeginCapture_v2");
    const auto found = get(call.d.streams, stream);
    if (call.code != SUCCESS || found == nullptr || found->capture) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    found->capture = std::make_shared<Graph>();
    found->capturer = std::this_thread::get_id();
    found->capture_broken = false;
    capturing++;
    return SUCCESS;
}

// A capture ends whatever is answered.
DRIVER int cuStreamEndCapture(void* stream, void** graph) {
    Call call("cuStreamEndCapture");
    const auto found = get(call.d.streams, stream);
    *graph = nullptr;
    if (found == nullptr || !found->capture) {
        return call.code != SUCCESS ? call.code : CAPTURE_UNMATCHED;
    }
    if (found->capturer != std::this_thread::get_id()) {
        return CAPTURE_WRONG_THREAD;
    }
    capturing--;
    const auto captured = std::move(found->capture);
    found->capture = nullptr;
    if (call.code != SUCCESS || found->capture_broken) {
        return call.code != SUCCESS ? call.code : CAPTURE_INVALIDATED;
    }
    *graph = new_handle();
    call.d.graphs[*graph] = captured;
    return SUCCESS;
}

DRIVER int cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long) {
    Call call("cuGraphInstantiateWithFlags");
    const auto found = get(call.d.graphs, graph);
    if (call.code != SUCCESS || found == nullptr) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    *exec = new_handle();
    call.d.execs[*exec] = std::make_shared<Graph>(*found);
    return SUCCESS;
}

DRIVER int cuGraphDestroy(void* graph) {
    Call call("cuGraphDestroy", false);
    return destroy(call, call.d.graphs, graph, "cuGraphDestroy");
}

DRIVER int cuGraphExecDestroy(void* exec) {
    Call call("cuGraphExecDestroy", false);
    return destroy(call, call.d.execs, exec, "cuGraphExecDestroy");
}

DRIVER int cuGraphLaunch(void* exec, void* stream) {
    Call call("cuGraphLaunch");
    const auto graph = get(call.d.execs, exec);
    const auto on = get(call.d.streams, stream);
    if (call.code != SUCCESS || graph == nullptr || on == nullptr) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    for (const Op& op : graph->ops) {
        if (const int code = push(*on, op)) {
            return code;
        }
    }
    return SUCCESS;
}

DRIVER int cuLaunchKernel(const HostKernel* kernel, unsigned x, unsigned y, unsigned z, unsigned block,
                          unsigned block_y, unsigned block_z, unsigned shared, void* stream, void** arguments, void**) {
    Call call("cuLaunchKernel");
    const unsigned sizes[] = {x, y, z, block, block_y, block_z};
    return start_kernel(call, kernel, sizes, shared, stream, arguments, false);
}

DRIVER int cuLaunchCooperativeKernel(const HostKernel* kernel, unsigned x, unsigned y, unsigned z, unsigned block,
                                     unsigned block_y, unsigned block_z, unsigned shared, void* stream,
                                     void** arguments) {
    Call call("cuLaunchCooperativeKernel");
    const unsigned sizes[] = {x, y, z, block, block_y, block_z};
    return start_kernel(call, kernel, sizes, shared, stream, arguments, true);
}

DRIVER int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const HostKernel* function, int, size_t) {
    Call call("cuOccupancyMaxActiveBlocksPerMultiprocessor");
    *blocks = OCCUPANCY;
    return call.code != SUCCESS || function != nullptr ? call.code : INVALID_HANDLE;
}

DRIVER int cuEventCreate(void** event, unsigned) {
    Call call("cuEventCreate");
    return call.code != SUCCESS ? call.code : make(call.d.events, event);
}

DRIVER int cuEventDestroy_v2(void* event) {
    Call call("cuEventDestroy_v2", false);
    return destroy(call, call.d.events, event, "cuEventDestroy");
}

DRIVER int cuEventRecord(void* event, void* stream) {
    Call call("cuEventRecord");
    const auto of = get(call.d.events, event);
    const auto on = get(call.d.streams, stream);
    if (call.code != SUCCESS || of == nullptr || on == nullptr) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    Op op;
    op.kind = Op::Kind::record;
    op.event = of;
    op.point = ++of->recorded;
    return push(*on, std::move(op));
}

DRIVER int cuEventQuery(void* event) {
    Call call("cuEventQuery");
    const auto of = get(call.d.events, event);
    if (call.code != SUCCESS || of == nullptr) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    return of->passed >= of->recorded ? SUCCESS : NOT_READY;
}

DRIVER int cuEventSynchronize(void* event) {
    Call call("cuEventSynchronize");
    if (call.ignored) {
        return SUCCESS;
    }
    const auto of = get(call.d.events, event);
    if (call.code != SUCCESS || of == nullptr) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    const uint64_t point = of->recorded;
    call.d.progress.wait(call.held, [&] { return of->passed >= point || call.d.dead != SUCCESS; });
    return call.d.dead;
}
