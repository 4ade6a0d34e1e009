// Owns the kernels for AVX2 with FMA.
#include "scalars.h"
#include "table.h"
#include "training-table.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace reckon {
namespace avx2_ {
#include "lanes-avx2.h"
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
constexpr KernelTable table{"avx2", {false, false}, linear, pack, normalise, swiglu, attend, sample, draw, quantise, &trainingTable};
}  // namespace avx2_
const KernelTable* avx2Table() { return &avx2_::table; }
}  // namespace reckon

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
namespace reckon {
const KernelTable* avx2Table() { return nullptr; }
}  // namespace reckon
#endif
