// Owns where tensors on the CPU lie: under glibc in blocks of its malloc, aligned within, elsewhere where libtorch puts them.
//
// libtorch asks posix_memalign, and glibc's cuts what it returns out of a block a little longer, whose ends go back to small
// requests. So a freed tensor leaves a hole that is too short for the next one of its size, and a training pass, which keeps
// some tensors and drops others in between, took twice the memory of what it kept (LOG.md). Blocks that
// are as long as they are asked for fit each other's holes.
#include "host-memory.h"

#include <cstdlib>

#ifdef __GLIBC__
#include <c10/core/CPUAllocator.h>
#include <malloc.h>

#include <cstdint>

namespace reckon {
namespace {

constexpr size_t kAlignment = 64, kExtra = kAlignment - 1 + sizeof(void*);

/// The block's own address stands before the data.
void release(void* data) {
  if (data != nullptr) std::free(static_cast<void**>(data)[-1]);
}

struct HostMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &release, cpu};
    void* const block = bytes > SIZE_MAX - kExtra ? nullptr : std::malloc(bytes + kExtra);
    TORCH_CHECK_WITH(OutOfMemoryError, block != nullptr, "out of memory: tried to allocate ", bytes, " bytes");
    void** const data = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(block) + kExtra) / kAlignment * kAlignment);
    data[-1] = block;
    return {data, data, &release, cpu};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};

}  // namespace

void useHostMemory() {
  // Activations come and go every step: handing them back to the system each time costs 5 to 15 % in page faults, and a
  // threshold that a large model's freed memory has passed hands back everything at every chance. So nothing goes back but
  // by freeCachedMemory.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, -1);
  c10::SetCPUAllocator(new HostMemory, 1);
}

}  // namespace reckon
#else
void reckon::useHostMemory() {}
#endif
