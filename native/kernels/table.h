// Owns the interface between the operators and their implementations, one table of functions for each instruction set.
// Plain pointers and sizes: what implements this sees no tensor, and what calls it sees no vector register.
#pragma once
#include <cstdint>

namespace reckon {

enum class Element { f32, bf16 };

/// y [rows, outs] = x [rows, ins] * weight [outs, ins]^T + bias, rounded, then + residual, rounded. The weight is packed:
/// [blocks, groups, kBlockOuts, pair], a group being the two inputs that bf16 multiplies at once, or one of f32, and zeros
/// where outputs or inputs end. A sum's order depends on `ins` alone, so that a row's result does not depend on which other
/// rows there are.
struct LinearJob {
  Element element;
  const void* x;
  const void* weight;    // of x's element type, or int8_t
  bool isInt8;
  const float* scales;   // [outs], what a sum is multiplied with before the bias is added; or null
  const void* bias;      // or null
  const void* residual;  // or null
  void* y;
  int64_t rows, ins, outs;
  int64_t stride, step;  // from one row of x to the next, and from one group of inputs to the next: side by side but in f32
};

/// One new token of each of `count` sequences: rotates its queries and keys, appends keys and values to the sequence's
/// row of the cache, and attends over the sequence's prefix, which others may share, and its own row.
struct AttentionJob {
  Element element;
  const void* qkv;       // [count, heads + 2 groups, dim]
  const void* cos;       // [count, dim]
  const void* sin;       // [count, dim], signed
  const void* norms;     // [2, dim]: weights of the queries' and the keys' norm, or null
  float epsilon;
  void* cache;           // [2, slots, groups, capacity, dim]
  const void* prefix;    // [2, prefixes, groups, prefixCapacity, dim], or null
  const int32_t* places; // [count, 4]: slot, position, prefix, length of the prefix
  void* y;               // [count, heads, dim]
  int64_t count, heads, groups, dim, slots, capacity, prefixes, prefixCapacity;
  int64_t apart;         // how many groups further on the one is that the same thread is likely to take next
};

/// How one row of logits is drawn from.
struct SampleJob {
  Element element;
  const void* logits;  // [vocabulary]
  int64_t vocabulary;
  float temperature;  // above 0
  float uniform;      // in (0, 1]
};

struct Sampled {
  int32_t id;  // -1 where no logit is finite, or one is no number
  float logp;
};

/// How one row of logits is drawn from where something is left out or changed: bias, penalty, temperature, top-k, top-p,
/// min-p, in this order, each on what the one before left.
struct DrawJob {
  Element element;
  const void* logits;  // [vocabulary]
  int64_t vocabulary;
  float temperature;  // 0: the likeliest
  float uniform;      // in (0, 1]
  int64_t topK;       // 0: all
  double topP;        // 1: all
  float minP;         // 0: all
  float penalty;      // 1: none
  const int32_t* seen;    // [seenCount]: what the penalty touches, some perhaps twice
  const int32_t* biased;  // [biasCount], no id twice
  const float* bias;      // [biasCount]
  const int32_t* banned;  // [bannedCount]
  int64_t seenCount, biasCount, bannedCount;
  /// -1: no statistics; else also the entropy, the log-probability at temperature 1, and so many of the likeliest ids.
  int64_t alternatives;
  int32_t* likeliest;    // [alternatives]
  float* likeliestLogps;  // [alternatives]
};

struct Drawn {
  int32_t id;    // -1 where no logit is finite, or one is no number
  int32_t kept;  // how many ids could have been drawn
  float logp;          // at the temperature, of the logits as they came
  float samplingLogp;  // under what was drawn from
  float plainLogp;     // at temperature 1, of the logits as they came
  float entropy;       // at the temperature, of the logits as they came
};

/// See training-table.h.
struct TrainingTable;

/// One block of a matrix, its `rows` rows [ins] being kBlockOuts outputs or the last ones.
struct PackJob {
  Element element;       // of what is packed
  const void* weight;    // of it, or int8_t, which are widened
  bool isInt8;
  void* to;              // [groups, kBlockOuts, pair]
  int64_t rows, ins;
  int64_t stride, step;  // from one row of the weight to the next, and from one input to the next
};

struct KernelTable {
  const char* name;
  /// By element, whether products of whole sequences go by `linear` too: where libtorch's are no faster.
  bool servesWhole[2];
  /// Computes outputs `begin` to `end` (multiples of kBlockOuts, or the end) of rows `firstRow` to `lastRow`, 64 at most.
  void (*linear)(const LinearJob& job, int64_t begin, int64_t end, int64_t firstRow, int64_t lastRow);
  void (*pack)(const PackJob& job);
  /// x / rms(x) of one row.
  void (*normalise)(Element element, const void* x, void* y, int64_t width, float epsilon);
  /// silu(both[0 .. width]) * both[width .. 2 width] of one row.
  void (*swiglu)(Element element, const void* both, void* y, int64_t width);
  /// One head group of one sequence; `scratch` has room for `attentionScratch` floats.
  void (*attend)(const AttentionJob& job, int64_t sequence, int64_t group, float* scratch);
  Sampled (*sample)(const SampleJob& job);
  /// `scores` and `weights` have room for a float an id.
  Drawn (*draw)(const DrawJob& job, float* scores, float* weights);
  /// Rounds a weight's row to whole numbers and returns their scale, largest magnitude / 127; NaN for a row that is not
  /// finite.
  float (*quantise)(Element element, const void* row, int8_t* values, int64_t count);
  const TrainingTable* training;
};

/// Outputs of a block of a packed matrix.
constexpr int64_t kBlockOuts = 64;

/// Floats of scratch for one group of a sequence that has `length` tokens.
constexpr int64_t attentionScratch(int64_t shared, int64_t dim, int64_t length) {
  return shared * (length + 16) + (shared + 1) * dim;
}

const KernelTable* portableTable();
/// Null where the compiler made none for this processor family.
const KernelTable* avx2Table();
const KernelTable* avx512Table();
const KernelTable* avx512Bf16Table();
/// Null also where the processor has no tiles.
const KernelTable* amxTable();

}  // namespace reckon
