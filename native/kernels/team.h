// Owns the sharing of work with the threads that libtorch's own products run on. Between two products the threads of
// pool.h would be awake beside them, three where there are two cores; decoding runs few such products and keeps to its own.
#pragma once
#include <cstdint>

#include "pool.h"

namespace reckon {

/// As `shareWork` of pool.h.
void shareTeam(int64_t items, int threads, Work work, void* context);

template <class F>
void shareTeam(int64_t items, int threads, F& work) {
  Caught<F> caught{work};
  shareTeam(items, threads, &Caught<F>::one, &caught);
  caught.rethrow();
}

}  // namespace reckon
