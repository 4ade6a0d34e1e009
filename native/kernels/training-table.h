// Owns the interface between the operators of training and their implementations, one table of functions for each
// instruction set. As in table.h, plain pointers and sizes.
#pragma once
#include <cstdint>

#include "scalars.h"

namespace reckon {

enum class Element;

/// Rows of heads side by side: the first `turned` of them are rotated, the rest are copied.
struct RotationJob {
  const void* x;    // [heads, dim]
  const void* cos;  // [dim]
  const void* sin;  // [dim], the first half with the minus of rotate_half
  void* y;          // [heads, dim]
  int64_t heads, turned, dim;
};

/// Attention of whole sequences in bf16, each token over those before it and itself. Scores and weights are rounded to
/// bf16 where libtorch's chain of operators rounds; sums are in f32.
struct CausalJob {
  const Bf16* qkv;        // [batch, length, heads + 2 groups, dim], queries and keys rotated
  const int32_t* starts;  // [batch, length]: the first token that each one sees; null: 0
  Bf16* y;                // [batch, length, heads, dim]
  float* logSums;         // [batch, heads, length]: logarithms of the sums that the weights were divided by
  int64_t batch, length, heads, groups, dim;
};

struct CausalSlopes {
  CausalJob job;    // as it was computed
  const Bf16* g;    // [batch, length, heads, dim]: the gradient of y
  Bf16* gqkv;       // [batch, length, heads + 2 groups, dim]: written
};

/// One factor of a low-rank update, which of the other members a function reads or writes stands there.
struct LowRankJob {
  const void* x;        // [rows, width], `stride` elements apart
  int64_t stride;
  const float* factor;  // [rank, width]
  float* hidden;        // [rows, rank]
  void* y;              // [rows, width]
  float* slopes;        // [rank, width]
  int64_t rows, width, rank;
  float scale;
};

/// What is known of a token under softmax(logits / divisor).
struct TokenTerms {
  float logp, entropy;
  float norm;  // logarithm of the sum of exp(logits / divisor)
};

/// The gradient of a row of logits from those of the token's log-probability and of the entropy.
struct TermSlopes {
  const void* logits;
  int64_t count;
  float divisor;
  int64_t target;
  TokenTerms terms;  // as they were computed; `logp` is not read
  float logp, entropy;
};

struct TrainingTable {
  /// From both [2 width] of KernelTable's `swiglu` and the gradient g [width] of what it gives, that of both.
  void (*swigluBack)(Element element, const void* both, const void* g, void* gboth, int64_t width);
  /// From x and the gradient g of x / rms(x), that of x.
  void (*normaliseBack)(Element element, const void* x, const void* g, void* gx, int64_t width, float epsilon);
  /// `back`: the gradient of x from that of y, in their places.
  void (*rotate)(Element element, const RotationJob& job, bool back);
  /// y = row * norm, rounded to the element.
  void (*fold)(Element element, const float* row, const float* norm, void* y, int64_t width);
  /// From the gradient g of y, that of the row; adds that of the norm.
  void (*foldBack)(Element element, const float* row, const float* norm, const void* g, float* grow, float* gnorm, int64_t width);
  /// hidden = scale * x factor^T, of rows `begin` to `end`: those of a training pass and of a decoding step, with the same bits.
  void (*contract)(Element element, const LowRankJob& job, int64_t begin, int64_t end);
  /// The same of many rows, perhaps with other last bits; `scratch` has room for `lowRankScratch` bytes of the width.
  void (*contractMany)(Element element, const LowRankJob& job, int64_t begin, int64_t end, void* scratch);
  /// y += hidden factor, rounded once, of rows `begin` to `end`.
  void (*spread)(Element element, const LowRankJob& job, int64_t begin, int64_t end);
  /// slopes = hidden^T x, of columns `begin` to `end`, multiples of kColumns or the end; `scratch` has room for
  /// `lowRankScratch` bytes of the rows.
  void (*factorSlopes)(Element element, const LowRankJob& job, int64_t begin, int64_t end, void* scratch);
  /// One group of one sequence; `scratch` has room for `causalScratch` floats.
  void (*causal)(const CausalJob& job, int64_t sequence, int64_t group, float* scratch);
  void (*causalBack)(const CausalSlopes& slopes, int64_t sequence, int64_t group, float* scratch);
  TokenTerms (*terms)(Element element, const void* logits, int64_t count, float divisor, int64_t target);
  /// Writes to `to`, which may be the logits themselves.
  void (*termSlopes)(Element element, const TermSlopes& job, void* to);
};

/// Queries that are taken together.
constexpr int64_t kQueries = 24;
/// Keys are filled up to a multiple of it, and the width of a head must be one.
constexpr int64_t kColumns = 16;

constexpr int64_t roundedUp(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

/// Bytes for one factor's numbers of sixteen ranks as three of bf16, with so many inputs or rows.
constexpr int64_t lowRankScratch(int64_t length) { return 3 * 16 * 2 * roundedUp(length, 32); }

/// Floats of scratch for a sequence of that length, forward or back: see training-attention.h.
constexpr int64_t causalScratch(int64_t length, int64_t dim) {
  const int64_t keys = roundedUp(length, kColumns);
  return (2 * kQueries + 3 * kQueries / 2) * keys + 4 * keys * dim + 3 * kQueries * dim;
}

}  // namespace reckon
