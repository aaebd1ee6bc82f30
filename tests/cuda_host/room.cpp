// Shared memory whose size a launch says, and threads that wait for others of their block without a barrier of it.

#include "block.h"

namespace cuda_host {

namespace {

// As much as a block of compute capability 9.0 may have, where descriptors of operands can name it.
constexpr size_t ROOM_MAX = 227 << 10;
alignas(1024) unsigned char room[ROOM_MAX];
// Waits of one block for others of its threads before they are taken for endless.
constexpr uint64_t WAITS_MAX = 1 << 20;

}  // namespace

bool is_room(size_t bytes) { return bytes <= ROOM_MAX; }

void poison_room() {
    const size_t words = block->kernel->shared_bytes / 4;
    const uint32_t rubbish = current.seeded ? static_cast<uint32_t>(draw()) | 1 : 0xCDCD'CDCD;
    std::fill_n(reinterpret_cast<uint32_t*>(room), words, rubbish);
}

unsigned char* launched_at(size_t offset, size_t bytes) {
    if (offset + bytes > block->kernel->shared_bytes) {
        fail("bytes %zu to %zu of the %u of shared memory that its launch gives", offset, offset + bytes,
             block->kernel->shared_bytes);
    }
    return room + offset;
}

unsigned char* launched_room(size_t bytes) { return launched_at(0, bytes); }

void let_threads() {
    if (++block->waits > WAITS_MAX) {
        fail("waits for others of its block, which never come");
    }
    Thread& self = block->threads[block->running];
    Thread* const next = next_thread();
    if (next != &self) {
        go_on_with(*next, self.fiber, false);
    }
}

}  // namespace cuda_host
