// Owns the kernels for AMX: those for AVX-512 with products of bf16, but that matrices are multiplied by tiles.
#include "scalars.h"
#include "table.h"
#include "training-table.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of its own header: the intrinsics begin with registers that are left undefined on purpose.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#pragma GCC diagnostic ignored "-Wunused-function"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,amx-tile,amx-bf16"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,amx-tile,amx-bf16")
#endif
#define RECKON_BF16

namespace reckon {
namespace amx_ {
#include "lanes-avx512.h"
#include "body.h"
#include "body-packed.h"
#include "body-tiles.h"
#include "training-tiles.h"
}  // namespace amx_
}  // namespace reckon

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace reckon {
namespace {

/// Whether the processor has tiles and the system saves them for this process, which it must be asked for.
bool hasTiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned bf16 = 1u << 22, tile = 1u << 24;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & bf16) == 0 || (d & tile) == 0) return false;
  constexpr long request = 0x1023, tileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request, tileData) == 0;
}

}  // namespace

const KernelTable* amxTable() {
  static const TrainingTable training = [] {
    TrainingTable own = *avx512Bf16Table()->training;
    own.contractMany = amx_::contractAny;
    own.factorSlopes = amx_::slopesAny;
    return own;
  }();
  static const KernelTable table = [] {
    KernelTable own = *avx512Bf16Table();
    own.name = "amx";
    own.linear = amx_::linearTiles;
    own.training = &training;
    return own;
  }();
  static const bool runs = hasTiles();
  return runs ? &table : nullptr;
}

}  // namespace reckon
#else
namespace reckon {
const KernelTable* amxTable() { return nullptr; }
}  // namespace reckon
#endif
