// Fibers: stacks of their own that one thread of the system changes between.
//
// A CUDA thread that waits must keep its stack while others of its block run. A hand-written change of stacks costs a
// few nanoseconds on x86-64; elsewhere, and with CUDA_HOST_PORTABLE, `ucontext` does the same, slower.
// AddressSanitizer is told of each change.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#define CUDA_HOST_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define CUDA_HOST_ASAN 0
#endif

#if defined(__x86_64__) && !defined(CUDA_HOST_PORTABLE)
#define CUDA_HOST_CHANGES_STACKS 1
#else
#define CUDA_HOST_CHANGES_STACKS 0
#include <ucontext.h>
#endif

namespace cuda_host {

// A place to go on from: the stack's own, or that of the thread which launched.
struct Fiber {
#if CUDA_HOST_CHANGES_STACKS
    void* stack_pointer = nullptr;
#else
    ucontext_t context;
#endif
    const void* bottom = nullptr;
    size_t size = 0;
    void* fake_stack = nullptr;
};

#if CUDA_HOST_CHANGES_STACKS
extern "C" void cuda_host_change_stack(void** save, void* to);
__asm__(R"(
    .text
    .type cuda_host_change_stack,@function
cuda_host_change_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size cuda_host_change_stack, .-cuda_host_change_stack
)");
#endif

// Makes `fiber` begin with `entry`, which never returns, on this memory.
inline void begin_at(Fiber& fiber, void* bottom, size_t size, void (*entry)()) {
    fiber.bottom = bottom;
    fiber.size = size;
    fiber.fake_stack = nullptr;
#if CUDA_HOST_CHANGES_STACKS
    // The stack as the change above leaves one: six registers, the address to return to, and above it an address that
    // nothing returns to, which also aligns the stack as a call would.
    const uintptr_t top = (reinterpret_cast<uintptr_t>(bottom) + size) & ~uintptr_t{15};
    void** at = reinterpret_cast<void**>(top);
    *--at = nullptr;
    *--at = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; i++) {
        *--at = nullptr;
    }
    fiber.stack_pointer = at;
#else
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = bottom;
    fiber.context.uc_stack.ss_size = size;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, entry, 0);
#endif
}

// What a fiber does first, and whenever it goes on: `from` is filled in with the stack it was come from, if asked for.
inline void arrived(Fiber& here, Fiber* from) {
#if CUDA_HOST_ASAN
    __sanitizer_finish_switch_fiber(here.fake_stack, from ? &from->bottom : nullptr, from ? &from->size : nullptr);
#else
    (void)here;
    (void)from;
#endif
}

// Goes on with `to`. `last`: nobody will come back here.
inline void change(Fiber& from, Fiber& to, bool last) {
#if CUDA_HOST_ASAN
    __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.bottom, to.size);
#endif
    (void)last;
#if CUDA_HOST_CHANGES_STACKS
    cuda_host_change_stack(&from.stack_pointer, to.stack_pointer);
#else
    swapcontext(&from.context, &to.context);
#endif
    arrived(from, nullptr);
}

}  // namespace cuda_host
