// Owns the threads of team.h; see there. They are asked for by the function that compilers call for OpenMP's parallel
// regions, where the process has one: that needs no flag of a compiler.
#include "team.h"

#include <atomic>

#if defined(__GNUC__)
extern "C" void GOMP_parallel(void (*work)(void*), void* data, unsigned threads, unsigned flags) __attribute__((weak));
#endif

namespace reckon {
namespace {

struct Share {
  Work work;
  void* context;
  int64_t items;
  std::atomic<int64_t> next{0};
};

void takeItems(void* data) {
  Share& share = *static_cast<Share*>(data);
  for (int64_t item = share.next.fetch_add(1); item < share.items; item = share.next.fetch_add(1)) share.work(share.context, item);
}

}  // namespace

void shareTeam(int64_t items, int threads, Work work, void* context) {
  Share share{work, context, items};
  if (threads <= 1 || items <= 1) return takeItems(&share);
#if defined(__GNUC__)
  if (GOMP_parallel) return GOMP_parallel(takeItems, &share, static_cast<unsigned>(threads), 0);
#endif
  shareWork(items, threads, work, context);
}

}  // namespace reckon
