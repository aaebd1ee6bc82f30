// The stand-in driver's memory: the device's own, page-locked, registered, and copies between them.
//
// New memory is full of rubbish and ends at a page that nobody may touch; what was given back is gone. Giving back what
// the device still uses, or has written beyond, is a complaint. A copy from or to memory that is not page-locked is one
// too: with a real driver it would wait, or be staged.

#include "driver.h"
#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

using namespace stand_in;

namespace {

constexpr size_t PAGE = 4096;
constexpr size_t ALIGN = 256;
constexpr unsigned char RUBBISH = 0xA5;

size_t up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }
Address address(const void* at) { return reinterpret_cast<Address>(at); }
void* pointer(Address at) { return reinterpret_cast<void*>(at); }

// Memory that ends where nobody may touch; null when there is none.
unsigned char* map_guarded(Region& region, size_t bytes) {
    const size_t whole = up(bytes, PAGE);
    void* at = mmap(nullptr, whole + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        return nullptr;
    }
    region.mappings.push_back({at, whole + PAGE});
    if (mprotect(at, whole, PROT_READ | PROT_WRITE) != 0) {
        return nullptr;
    }
    return static_cast<unsigned char*>(at) + whole - bytes;
}

void unmap(Region& region) {
    for (auto& [at, bytes] : region.mappings) {
        munmap(at, bytes);
    }
    region.mappings.clear();
}

// Takes a region off the list; complains about what must not be.
bool take(Address at, Kind kind, const char* function, Region& taken) {
    Driver& d = driver();
    const bool by_host = kind != Kind::device;
    for (auto region = d.regions.begin(); region != d.regions.end(); ++region) {
        if (region->kind == kind && (by_host ? region->host : region->device) == at) {
            taken = *region;
            d.regions.erase(region);
            if (uses(taken.of_device(), false) || (by_host && uses(taken.of_host(), true))) {
                complain(std::string(function) + ": the device still uses this memory");
                // Left where it is, so that the complaint is what is seen of it.
                taken.mappings.clear();
            }
            return true;
        }
    }
    complain(std::string(function) + ": no such memory, or given back before");
    return false;
}

// The memory behind an address of the host, which must be page-locked.
void check_locked(const char* function, const void* at, size_t bytes) {
    const Region* region = find(address(at), true);
    if (region == nullptr || !region->of_host().holds({address(at), bytes})) {
        complain(std::string(function) + ": memory of the host that is not page-locked");
    }
}

Op copy(const char* what, void* to, const void* from, size_t bytes) {
    Op op;
    op.what = what;
    op.work = [=](uint64_t) {
        std::memmove(to, from, bytes);
        return std::string();
    };
    return op;
}

std::shared_ptr<Stream> stream_of(void* handle) {
    auto found = driver().streams.find(handle);
    return found == driver().streams.end() ? nullptr : found->second;
}

}  // namespace

DRIVER int cuMemAlloc_v2(uint64_t* to, size_t bytes) {
    Call call("cuMemAlloc_v2");
    if (call.code != SUCCESS) {
        return call.code;
    }
    if (captures()) {
        return CAPTURE_UNSUPPORTED;
    }
    if (bytes == 0) {
        return INVALID_VALUE;
    }
    if (bytes > call.d.memory_limit - call.d.memory_used) {
        return OUT_OF_MEMORY;
    }
    Region region{Kind::device, 0, 0, bytes, {}};
    unsigned char* at = map_guarded(region, up(bytes, ALIGN));
    if (at == nullptr) {
        unmap(region);
        return OUT_OF_MEMORY;
    }
    std::memset(at, RUBBISH, up(bytes, ALIGN));
#if CUDA_HOST_ASAN
    __asan_poison_memory_region(at + bytes, up(bytes, ALIGN) - bytes);
#endif
    region.device = address(at);
    call.d.memory_used += bytes;
    call.d.regions.push_back(region);
    *to = region.device;
    return SUCCESS;
}

DRIVER int cuMemFree_v2(uint64_t at) {
    Call call("cuMemFree_v2", false);
    Region region;
    if (!take(at, Kind::device, "cuMemFree", region)) {
        return call.code != SUCCESS ? call.code : INVALID_VALUE;
    }
    const unsigned char* bytes = static_cast<const unsigned char*>(pointer(region.device));
#if CUDA_HOST_ASAN
    __asan_unpoison_memory_region(bytes + region.bytes, up(region.bytes, ALIGN) - region.bytes);
#endif
    for (size_t i = region.bytes; i < up(region.bytes, ALIGN); i++) {
        if (bytes[i] != RUBBISH) {
            complain("cuMemFree: something was written beyond the end of this memory");
            break;
        }
    }
    call.d.memory_used -= region.bytes;
    unmap(region);
    return call.code;
}

DRIVER int cuMemHostAlloc(void** to, size_t bytes, unsigned flags) {
    Call call("cuMemHostAlloc");
    if (call.code != SUCCESS) {
        return call.code;
    }
    if (captures()) {
        return CAPTURE_UNSUPPORTED;
    }
    if (bytes == 0 || (flags & 2) == 0) {
        complain("cuMemHostAlloc: memory that is not mapped, or none");
        return INVALID_VALUE;
    }
    const size_t whole = up(bytes, PAGE);
    const int file = memfd_create("page-locked", 0);
    if (file < 0 || ftruncate(file, static_cast<off_t>(whole)) != 0) {
        close(file);
        return OUT_OF_MEMORY;
    }
    void* host = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    void* device = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    Region region{Kind::pinned, address(host), address(device), bytes, {}};
    for (void* at : {host, device}) {
        if (at != MAP_FAILED) {
            region.mappings.push_back({at, whole});
        }
    }
    if (region.mappings.size() != 2) {
        unmap(region);
        return OUT_OF_MEMORY;
    }
    std::memset(host, RUBBISH, whole);
    call.d.regions.push_back(region);
    *to = host;
    return SUCCESS;
}

DRIVER int cuMemFreeHost(void* at) {
    Call call("cuMemFreeHost", false);
    Region region;
    if (!take(address(at), Kind::pinned, "cuMemFreeHost", region)) {
        return call.code != SUCCESS ? call.code : INVALID_VALUE;
    }
    unmap(region);
    return call.code;
}

// The pages stay where they are, so the device's address is the host's, as it is with a real driver.
DRIVER int cuMemHostRegister_v2(void* at, size_t bytes, unsigned flags) {
    Call call("cuMemHostRegister_v2");
    if (call.code != SUCCESS) {
        return call.code;
    }
    if (address(at) % PAGE != 0 || bytes % PAGE != 0 || bytes == 0 || (flags & 2) == 0) {
        complain("cuMemHostRegister: not whole pages, or not mapped");
        return INVALID_VALUE;
    }
    for (const Region& region : call.d.regions) {
        if (region.of_host().meets({address(at), bytes})) {
            return ALREADY_REGISTERED;
        }
    }
    call.d.regions.push_back({Kind::registered, address(at), address(at), bytes, {}});
    return SUCCESS;
}

DRIVER int cuMemHostUnregister(void* at) {
    Call call("cuMemHostUnregister", false);
    Region region;
    if (!take(address(at), Kind::registered, "cuMemHostUnregister", region)) {
        return call.code != SUCCESS ? call.code : NOT_REGISTERED;
    }
    return call.code;
}

DRIVER int cuMemHostGetDevicePointer_v2(uint64_t* to, void* at, unsigned) {
    Call call("cuMemHostGetDevicePointer_v2");
    if (call.code != SUCCESS) {
        return call.code;
    }
    const Region* region = find(address(at), true);
    if (region == nullptr) {
        return INVALID_VALUE;
    }
    *to = region->device + (address(at) - region->host);
    return SUCCESS;
}

DRIVER int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream) {
    Call call("cuMemcpyHtoDAsync_v2");
    const auto on = stream_of(stream);
    if (call.code != SUCCESS || on == nullptr) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    check_locked("cuMemcpyHtoDAsync", from, bytes);
    Op op = copy("a copy to the device", pointer(to), from, bytes);
    op.device_ranges = {{to, bytes}};
    op.host_ranges = {{address(from), bytes}};
    return push(*on, std::move(op));
}

DRIVER int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream) {
    Call call("cuMemcpyDtoHAsync_v2");
    const auto on = stream_of(stream);
    if (call.code != SUCCESS || on == nullptr) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    check_locked("cuMemcpyDtoHAsync", to, bytes);
    Op op = copy("a copy to the host", to, pointer(from), bytes);
    op.device_ranges = {{from, bytes}};
    op.host_ranges = {{address(to), bytes}};
    return push(*on, std::move(op));
}

DRIVER int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* stream) {
    Call call("cuMemcpyDtoDAsync_v2");
    const auto on = stream_of(stream);
    if (call.code != SUCCESS || on == nullptr) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    Op op = copy("a copy on the device", pointer(to), pointer(from), bytes);
    op.device_ranges = {{to, bytes}, {from, bytes}};
    return push(*on, std::move(op));
}

DRIVER int cuMemsetD32Async(uint64_t to, unsigned value, size_t words, void* stream) {
    Call call("cuMemsetD32Async");
    const auto on = stream_of(stream);
    if (call.code != SUCCESS || on == nullptr) {
        return call.code != SUCCESS ? call.code : INVALID_HANDLE;
    }
    Op op;
    op.what = "filling memory";
    op.work = [=](uint64_t) {
        std::fill_n(static_cast<uint32_t*>(pointer(to)), words, value);
        return std::string();
    };
    op.device_ranges = {{to, 4 * words}};
    return push(*on, std::move(op));
}
