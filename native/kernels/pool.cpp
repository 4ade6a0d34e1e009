// Owns the threads of pool.h; see there.
#include "pool.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace reckon {
namespace {

constexpr auto kAwake = std::chrono::microseconds(60);

inline void breathe() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Job n is open while `ticket` says n in its upper half; its lower half is the next item. A late thread that still
/// holds the number of an older job can therefore take nothing of a newer one.
struct Pool {
  std::atomic<uint64_t> ticket{0};
  std::atomic<uint32_t> announced{0};
  std::atomic<int64_t> finished{0};
  std::atomic<int64_t> items{0};
  std::atomic<Work> work{nullptr};
  std::atomic<void*> context{nullptr};
  std::atomic<int> helpers{0};
  int started = 0;
};

Pool& pool() {
  static Pool* the = new Pool();  // never destroyed: its threads are not joined when the process ends
  return *the;
}

void takeItems(Pool& p, uint32_t job) {
  for (;;) {
    uint64_t seen = p.ticket.load(std::memory_order_acquire);
    if (static_cast<uint32_t>(seen >> 32) != job) return;
    const auto item = static_cast<int64_t>(seen & 0xffffffffu);
    const int64_t items = p.items.load(std::memory_order_acquire);
    const Work work = p.work.load(std::memory_order_acquire);
    void* const context = p.context.load(std::memory_order_acquire);
    if (item >= items) return;
    // Fails where one of the three was already the next job's, because the ticket is closed before they change.
    if (!p.ticket.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) continue;
    work(context, item);
    p.finished.fetch_add(1, std::memory_order_release);
  }
}

void help(int number) {
  Pool& p = pool();
  uint32_t last = p.announced.load(std::memory_order_acquire);
  for (;;) {
    const auto until = std::chrono::steady_clock::now() + kAwake;
    uint32_t job = p.announced.load(std::memory_order_acquire);
    for (int i = 1; job == last; i++) {
      breathe();
      if ((i & 63) == 0 && std::chrono::steady_clock::now() > until) p.announced.wait(last, std::memory_order_acquire);
      job = p.announced.load(std::memory_order_acquire);
    }
    last = job;
    if (number < p.helpers.load(std::memory_order_relaxed)) takeItems(p, job);
  }
}

}  // namespace

void shareWork(int64_t items, int threads, Work work, void* context) {
  static std::mutex one;
  std::unique_lock<std::mutex> mine(one, std::try_to_lock);
  if (threads <= 1 || items <= 1 || !mine.owns_lock()) {
    for (int64_t i = 0; i < items; i++) work(context, i);
    return;
  }
  Pool& p = pool();
  try {
    for (; p.started < threads - 1; p.started++) std::thread(help, p.started).detach();
  } catch (const std::system_error&) {
    // The system starts no more threads: those that there are take their work too.
  }
  const uint32_t job = p.announced.load(std::memory_order_relaxed) + 1;
  p.ticket.store((static_cast<uint64_t>(job) << 32) | 0xffffffffu, std::memory_order_release);
  p.work.store(work, std::memory_order_release);
  p.context.store(context, std::memory_order_release);
  p.items.store(items, std::memory_order_release);
  p.finished.store(0, std::memory_order_relaxed);
  p.helpers.store(threads - 1, std::memory_order_relaxed);
  p.ticket.store(static_cast<uint64_t>(job) << 32, std::memory_order_release);
  p.announced.store(job, std::memory_order_release);
  p.announced.notify_all();
  takeItems(p, job);
  while (p.finished.load(std::memory_order_acquire) < items) breathe();
}

}  // namespace reckon
