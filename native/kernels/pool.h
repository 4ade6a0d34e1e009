// Owns the threads that share one kernel's work. They wait awake for some microseconds, because a decoding step hands
// out work every few, and asleep after that.
#pragma once
#include <cstdint>

namespace reckon {

using Work = void (*)(void* context, int64_t item);

/// Runs work(context, i) for i in 0 .. items - 1 on at most `threads` threads, this one included, and returns when all
/// have run. Items are taken one by one, so a thread that the system has put aside does not hold the others up.
/// One caller at a time. `work` must not throw.
void shareWork(int64_t items, int threads, Work work, void* context);

template <class F>
void shareWork(int64_t items, int threads, F& work) {
  shareWork(items, threads, [](void* context, int64_t item) { (*static_cast<F*>(context))(item); }, &work);
}

}  // namespace reckon
