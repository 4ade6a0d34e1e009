// Owns which instruction set's kernels this process runs.
#include "choice.h"

#include <atomic>

namespace reckon {
namespace {

std::vector<const KernelTable*> runnable() {
  std::vector<const KernelTable*> tables{portableTable()};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return tables;
  tables.push_back(avx2Table());
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512dq"))
    return tables;
  tables.push_back(avx512Table());
  if (!__builtin_cpu_supports("avx512bf16")) return tables;
  tables.push_back(avx512Bf16Table());
  if (amxTable() != nullptr) tables.push_back(amxTable());
#endif
  return tables;
}

std::atomic<const KernelTable*>& chosen() {
  static std::atomic<const KernelTable*> table{runnableKernels().back()};
  return table;
}

}  // namespace

const std::vector<const KernelTable*>& runnableKernels() {
  static const auto* tables = new std::vector<const KernelTable*>(runnable());
  return *tables;
}

const KernelTable& kernels() { return *chosen().load(std::memory_order_relaxed); }

bool useKernels(const std::string& name) {
  for (const KernelTable* table : runnableKernels()) {
    if (name != table->name) continue;
    chosen().store(table);
    return true;
  }
  return false;
}

}  // namespace reckon
