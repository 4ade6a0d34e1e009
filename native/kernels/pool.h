// Owns the threads that share one kernel's work. They wait awake for some microseconds, because a decoding step hands
// out work every few, and asleep after that.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>

namespace reckon {

using Work = void (*)(void* context, int64_t item);

/// Runs work(context, i) for i in 0 .. items - 1 on at most `threads` threads, this one included, and returns when all
/// have run. Items are taken one by one, so a thread that the system has put aside does not hold the others up.
/// One caller at a time. `work` must not throw; the overload for functions hands on what they throw.
void shareWork(int64_t items, int threads, Work work, void* context);

/// Keeps what `work` throws from the threads' own frames, where it would end the process: the first of it is thrown again
/// by the caller once no thread works any more.
template <class F>
struct Caught {
  F& work;
  std::atomic_flag failed{};
  std::exception_ptr first{};

  static void one(void* context, int64_t item) {
    auto* const self = static_cast<Caught*>(context);
    try {
      self->work(item);
    } catch (...) {
      if (!self->failed.test_and_set()) self->first = std::current_exception();
    }
  }
  void rethrow() const {
    if (first) std::rethrow_exception(first);
  }
};

template <class F>
void shareWork(int64_t items, int threads, F& work) {
  Caught<F> caught{work};
  shareWork(items, threads, &Caught<F>::one, &caught);
  caught.rethrow();
}

}  // namespace reckon
