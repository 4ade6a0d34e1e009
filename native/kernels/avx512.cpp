// Owns the kernels for AVX-512.
#include "scalars.h"
#include "table.h"
#include "training-table.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of its own header: the intrinsics begin with registers that are left undefined on purpose.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#endif

namespace reckon {
namespace avx512_ {
#include "lanes-avx512.h"
#include "body.h"
#include "body-packed.h"
#include "body-quantise.h"
#include "sampling.h"
#include "training-products.h"
#include "training-rows.h"
#include "training-low-rank.h"
#include "training-attention.h"
#include "training-terms.h"
#include "training.h"
constexpr KernelTable table{"avx512", {true, false}, linear, pack, normalise, swiglu, attend, sample, draw, quantise, &trainingTable};
}  // namespace avx512_
const KernelTable* avx512Table() { return &avx512_::table; }
}  // namespace reckon

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
namespace reckon {
const KernelTable* avx512Table() { return nullptr; }
}  // namespace reckon
#endif
