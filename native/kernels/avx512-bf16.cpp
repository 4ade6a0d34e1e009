// Owns the kernels for AVX-512 with products of bf16.
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
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")
#endif
#define RECKON_BF16

namespace reckon {
namespace avx512bf16_ {
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
constexpr KernelTable table{"avx512bf16", {true, true}, linear, pack, normalise, swiglu, attend, sample, draw, quantise, &trainingTable};
}  // namespace avx512bf16_
const KernelTable* avx512Bf16Table() { return &avx512bf16_::table; }
}  // namespace reckon

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
namespace reckon {
const KernelTable* avx512Bf16Table() { return nullptr; }
}  // namespace reckon
#endif
