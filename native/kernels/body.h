// Owns what every kernel computes, in terms of the `Lanes` of one instruction set. Included once for each, inside a
// namespace of its own and after the compiler was told the instruction set; so nothing of the standard library, which
// other files share, is used here. Sums are in f32; what is rounded to bf16 is rounded where libtorch's chain of
// operators rounds, so that decoding and training see the same numbers.

using F = Lanes::F;

template <class E>
struct Operand;

template <>
struct Operand<float> {
  using V = F;
  static constexpr int step = Lanes::width;
  static inline V load(const float* p) { return Lanes::load(p); }
  static inline V load(const int8_t* p) { return Lanes::load(p); }
  static inline V broadcast(const float* p) { return Lanes::set(*p); }
  static inline F dot(F sum, V a, V b) { return Lanes::fma(a, b, sum); }
  static inline float rounded(float x) { return x; }
  static inline F rounded(F x) { return x; }
  static inline float read(float x) { return x; }
};

template <>
struct Operand<Bf16> {
  using V = Lanes::Pairs;
  static constexpr int step = 2 * Lanes::width;
  static inline V load(const Bf16* p) { return Lanes::pairs(p); }
  static inline V load(const int8_t* p) { return Lanes::pairs(p); }
  static inline V broadcast(const Bf16* p) { return Lanes::pairOf(p); }
  static inline F dot(F sum, V a, V b) { return Lanes::dot(sum, a, b); }
  static inline float rounded(float x) { return widen(narrow(x)); }
  static inline F rounded(F x) { return Lanes::rounded(x); }
  static inline float read(Bf16 x) { return widen(x); }
};

/// The last elements of a row, filled up with zeros.
template <class E>
static inline typename Operand<E>::V loadTail(const E* p, int64_t count) {
  E room[Operand<E>::step] = {};
  for (int64_t i = 0; i < count && i < Operand<E>::step; i++) room[i] = p[i];
  return Operand<E>::load(room);
}

template <class E>
static inline F loadUpTo(const E* p, int64_t count) {
  return count >= Lanes::width ? Lanes::load(p) : Lanes::loadSome(p, count);
}

template <class E>
static inline void storeUpTo(E* p, F v, int64_t count) {
  if (count >= Lanes::width) Lanes::store(p, v);
  else Lanes::storeSome(p, v, count);
}

/// e^x within two units of the last place; 0 below -87.3, and no infinity for what is finite. What is no number stays none:
/// of two of which one is not, the larger is the second (see Lanes::max).
static inline F exponential(F x) {
  const F least = Lanes::set(-87.3f);
  const F bounded = Lanes::max(least, x);
  const F n = Lanes::round(bounded * Lanes::set(1.44269504f));
  F r = Lanes::fma(n, Lanes::set(-0.693359375f), bounded);
  r = Lanes::fma(n, Lanes::set(2.12194440e-4f), r);
  F p = Lanes::set(1.9875691500e-4f);
  p = Lanes::fma(p, r, Lanes::set(1.3981999507e-3f));
  p = Lanes::fma(p, r, Lanes::set(8.3334519073e-3f));
  p = Lanes::fma(p, r, Lanes::set(4.1665795894e-2f));
  p = Lanes::fma(p, r, Lanes::set(1.6666665459e-1f));
  p = Lanes::fma(p, r, Lanes::set(5.0000001201e-1f));
  p = Lanes::fma(p * r, r, r) + Lanes::set(1.0f);
  return Lanes::dropUpTo(x, least, p * Lanes::power(n));
}

/// out[j * outStride + i] = x row j . weight row i, for OUTS weight rows and ROWS rows of x.
template <class E, int OUTS, int ROWS>
static void tile(const E* weight, const E* x, int64_t ins, float* out, int64_t outStride) {
  using O = Operand<E>;
  F sums[ROWS][OUTS];
#pragma GCC unroll 8
  for (int j = 0; j < ROWS; j++)
#pragma GCC unroll 8
    for (int i = 0; i < OUTS; i++) sums[j][i] = Lanes::zero();
  const int64_t whole = ins - ins % O::step;
  for (int64_t k = 0; k < whole; k += O::step) {
    typename O::V w[OUTS];
#pragma GCC unroll 8
    for (int i = 0; i < OUTS; i++) w[i] = O::load(weight + i * ins + k);
#pragma GCC unroll 8
    for (int j = 0; j < ROWS; j++) {
      const typename O::V v = O::load(x + j * ins + k);
#pragma GCC unroll 8
      for (int i = 0; i < OUTS; i++) sums[j][i] = O::dot(sums[j][i], w[i], v);
    }
  }
  if (whole < ins) {
    for (int i = 0; i < OUTS; i++) {
      const typename O::V w = loadTail(weight + i * ins + whole, ins - whole);
#pragma GCC unroll 8
      for (int j = 0; j < ROWS; j++) sums[j][i] = O::dot(sums[j][i], w, loadTail(x + j * ins + whole, ins - whole));
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < ROWS; j++) {
    if constexpr (OUTS == 4) Lanes::sums(sums[j][0], sums[j][1], sums[j][2], sums[j][3], out + j * outStride);
    else
      for (int i = 0; i < OUTS; i++) out[j * outStride + i] = Lanes::sum(sums[j][i]);
  }
}

/// All rows of x against OUTS weight rows.
template <class E, int OUTS>
static void panel(const E* weight, const E* x, int64_t rows, int64_t ins, float* out, int64_t outStride) {
  int64_t row = 0;
  for (; row + 2 <= rows; row += 2) tile<E, OUTS, 2>(weight, x + row * ins, ins, out + row * outStride, outStride);
  if (row < rows) tile<E, OUTS, 1>(weight, x + row * ins, ins, out + row * outStride, outStride);
}

/// Bias, rounding, residual, rounding: one row of a block of sums.
template <class E>
static void finish(const float* sums, const E* bias, const E* residual, E* y, int64_t count) {
  using O = Operand<E>;
  for (int64_t i = 0; i < count; i += Lanes::width) {
    F v = loadUpTo(sums + i, count - i);
    if (bias) v = v + loadUpTo(bias + i, count - i);
    if (residual) v = O::rounded(v) + loadUpTo(residual + i, count - i);
    storeUpTo(y + i, v, count - i);
  }
}

template <class E>
static void normaliseOf(const E* x, const E* weight, E* y, int64_t width, float epsilon) {
  using O = Operand<E>;
  F squares = Lanes::zero();
  for (int64_t i = 0; i < width; i += Lanes::width) {
    const F v = loadUpTo(x + i, width - i);
    squares = Lanes::fma(v, v, squares);
  }
  const float mean = Lanes::sum(squares) * (1.0f / static_cast<float>(width));
  const F scale = Lanes::set(O::rounded(1.0f / __builtin_sqrtf(mean + epsilon)));
  for (int64_t i = 0; i < width; i += Lanes::width) {
    F v = loadUpTo(x + i, width - i) * scale;
    if (weight) v = O::rounded(v) * loadUpTo(weight + i, width - i);
    storeUpTo(y + i, v, width - i);
  }
}

static void normalise(Element element, const void* x, void* y, int64_t width, float epsilon) {
  if (element == Element::f32) normaliseOf<float>(static_cast<const float*>(x), nullptr, static_cast<float*>(y), width, epsilon);
  else normaliseOf<Bf16>(static_cast<const Bf16*>(x), nullptr, static_cast<Bf16*>(y), width, epsilon);
}

template <class E>
static void swigluOf(const E* gate, const E* up, E* y, int64_t width) {
  using O = Operand<E>;
  const F one = Lanes::set(1.0f);
  const F most = Lanes::set(88.0f);
  for (int64_t i = 0; i < width; i += Lanes::width) {
    const F g = loadUpTo(gate + i, width - i);
    // -max(g, -88) = min(-g, 88), beyond which the exponential would overflow and the quotient is 0 anyway.
    const F decay = exponential(Lanes::zero() - Lanes::max(g, Lanes::zero() - most));
    const F silu = O::rounded(Lanes::div(g, one + decay));
    storeUpTo(y + i, silu * loadUpTo(up + i, width - i), width - i);
  }
}

static void swiglu(Element element, const void* both, void* y, int64_t width) {
  if (element == Element::f32) {
    const float* const gate = static_cast<const float*>(both);
    swigluOf(gate, gate + width, static_cast<float*>(y), width);
  } else {
    const Bf16* const gate = static_cast<const Bf16*>(both);
    swigluOf(gate, gate + width, static_cast<Bf16*>(y), width);
  }
}

/// y = x cos + swapHalves(x) sin.
template <class E>
static void rotate(const E* x, const E* cos, const E* sin, E* y, int64_t dim) {
  using O = Operand<E>;
  const int64_t half = dim / 2;
  for (int64_t at = 0; at < dim; at += half) {
    const E* const swapped = x + (at == 0 ? half : 0);
    for (int64_t i = 0; i < half; i += Lanes::width) {
      const int64_t count = half - i;
      const F first = O::rounded(loadUpTo(x + at + i, count) * loadUpTo(cos + at + i, count));
      const F v = Lanes::fma(loadUpTo(swapped + i, count), loadUpTo(sin + at + i, count), first);
      storeUpTo(y + at + i, v, count);
    }
  }
}

/// Keys and values of one sequence and group: first those of the shared prefix, then its own.
template <class E>
struct Past {
  const E* keys[2];
  const E* values[2];
  int64_t lengths[2];
};

template <class E>
static inline Past<E> pastOf(const AttentionJob& job, int64_t n, int64_t g) {
  const int32_t* const place = job.places + 4 * n;
  const int64_t before = place[3];
  const E* const own = static_cast<const E*>(job.cache) + (place[0] * job.groups + g) * job.capacity * job.dim;
  const E* const ownValues = own + job.slots * job.groups * job.capacity * job.dim;
  if (before == 0) return {{own, own}, {ownValues, ownValues}, {0, place[1] + 1}};
  const E* const prefix = static_cast<const E*>(job.prefix) + (place[2] * job.groups + g) * job.prefixCapacity * job.dim;
  return {{prefix, own}, {prefix + job.prefixes * job.groups * job.prefixCapacity * job.dim, ownValues}, {before, place[1] - before + 1}};
}

/// Has `rows` rows of `dim` numbers brought near. A cache of many sequences is further away than the caches that a core has
/// for itself, and each sequence's part is too short to be foreseen: without this half of attention's time is waiting. GCC
/// takes a function that does nothing else for one without effects, and leaves out its calls: hence the attribute.
template <class E>
__attribute__((always_inline)) static inline void fetch(const E* first, int64_t rows, int64_t dim) {
  constexpr int64_t line = 64 / static_cast<int64_t>(sizeof(E));
  for (int64_t i = 0; i < rows * dim; i += line) __builtin_prefetch(first + i);
}

/// The keys of `next`, which is read next, at tokens `s` to `s + count` of the one that is read now.
template <class E>
__attribute__((always_inline)) static inline void fetchKeys(const Past<E>& next, int64_t s, int64_t count, int64_t dim) {
  const int64_t own = s - next.lengths[0];
  if (own < 0) fetch(next.keys[0] + s * dim, count, dim);
  else if (own < next.lengths[1]) fetch(next.keys[1] + own * dim, count, dim);
}

/// out[h, d] = sum over s of weights[h, s] values[s, d], for HEADS heads and VECTORS vectors of d.
template <class E, int HEADS, int VECTORS>
static void mix(const Past<E>& past, const Past<E>& next, int64_t dim, int64_t from, const float* weights, int64_t stride, E* y) {
  F sums[HEADS][VECTORS];
#pragma GCC unroll 8
  for (int h = 0; h < HEADS; h++)
#pragma GCC unroll 8
    for (int i = 0; i < VECTORS; i++) sums[h][i] = Lanes::zero();
  const int64_t count = dim - from;
  const float* weight = weights;
  for (int part = 0; part < 2; part++) {
    const E* value = past.values[part] + from;
    for (int64_t s = 0; s < past.lengths[part]; s++, value += dim, weight++) {
      fetchKeys(next, weight - weights, 1, dim);
      F v[VECTORS];
#pragma GCC unroll 8
      for (int i = 0; i < VECTORS; i++)
        v[i] = VECTORS == 1 ? loadUpTo(value, count) : Lanes::load(value + i * Lanes::width);
#pragma GCC unroll 8
      for (int h = 0; h < HEADS; h++) {
        const F w = Lanes::set(weight[h * stride]);
#pragma GCC unroll 8
        for (int i = 0; i < VECTORS; i++) sums[h][i] = Lanes::fma(w, v[i], sums[h][i]);
      }
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < HEADS; h++)
#pragma GCC unroll 8
    for (int i = 0; i < VECTORS; i++) {
      if (VECTORS == 1) storeUpTo(y + h * dim + from, sums[h][i], count);
      else Lanes::store(y + h * dim + from + i * Lanes::width, sums[h][i]);
    }
}

#ifdef RECKON_BF16
/// As `mix` over BLOCKS registers of bf16, two tokens at once: their values are interleaved, and so are their weights, which
/// were rounded to bf16 already.
template <int HEADS, int BLOCKS>
static void mixPairs(const Past<Bf16>& past, const Past<Bf16>& next, int64_t dim, int64_t from, const Bf16* weights, int64_t stride, Bf16* y) {
  using O = Operand<Bf16>;
  F low[HEADS][BLOCKS], high[HEADS][BLOCKS];
#pragma GCC unroll 8
  for (int h = 0; h < HEADS; h++)
#pragma GCC unroll 8
    for (int i = 0; i < BLOCKS; i++) low[h][i] = high[h][i] = Lanes::zero();
  const auto add = [&](const Bf16* first, const Bf16* second, const Bf16* pair, int64_t apart) {
    O::V even[BLOCKS], odd[BLOCKS];
#pragma GCC unroll 8
    for (int i = 0; i < BLOCKS; i++) {
      even[i] = Lanes::interleavedLow(O::load(first + i * O::step), O::load(second + i * O::step));
      odd[i] = Lanes::interleavedHigh(O::load(first + i * O::step), O::load(second + i * O::step));
    }
#pragma GCC unroll 8
    for (int h = 0; h < HEADS; h++) {
      const O::V w = O::broadcast(pair + h * apart);
#pragma GCC unroll 8
      for (int i = 0; i < BLOCKS; i++) {
        low[h][i] = O::dot(low[h][i], even[i], w);
        high[h][i] = O::dot(high[h][i], odd[i], w);
      }
    }
  };
  // Pairs are those of the whole sequence, as training has them: one of them can lie across the end of the prefix.
  const int64_t before = past.lengths[0], length = before + past.lengths[1];
  int64_t s = 0;
  const auto addPairs = [&](const Bf16* value, int64_t end) {
    for (; s + 2 <= end; s += 2, value += 2 * dim) {
      fetchKeys(next, s, 2, dim);
      add(value, value + dim, weights + s, stride);
    }
    return value;
  };
  const Bf16* rest = addPairs(past.values[0] + from, before);
  const Bf16* own = past.values[1] + from;
  if (s < before && before < length) {
    add(rest, own, weights + s, stride);
    s += 2, own += dim;
  }
  if (before < length) rest = addPairs(own, length);
  if (s < length) {
    Bf16 last[2 * HEADS] = {};
    for (int h = 0; h < HEADS; h++) last[2 * h] = weights[h * stride + s];
    add(rest, rest, last, 2);
  }
#pragma GCC unroll 8
  for (int h = 0; h < HEADS; h++)
#pragma GCC unroll 8
    for (int i = 0; i < BLOCKS; i++) Lanes::storeInterleaved(y + h * dim + from + i * O::step, low[h][i], high[h][i]);
}
#endif

/// `next` is fetched once, by the first of those that pass over the values.
template <int HEADS, class E>
static void mixHeads(const Past<E>& past, const Past<E>& next, int64_t dim, float* weights, int64_t, int64_t stride, E* y) {
  const Past<E> none{};
  const auto fetched = [&](int64_t from) -> const Past<E>& { return from == 0 ? next : none; };
  int64_t from = 0;
  for (; dim - from >= 4 * Lanes::width; from += 4 * Lanes::width) mix<E, HEADS, 4>(past, fetched(from), dim, from, weights, stride, y);
  for (; dim - from >= 2 * Lanes::width; from += 2 * Lanes::width) mix<E, HEADS, 2>(past, fetched(from), dim, from, weights, stride, y);
  for (; from < dim; from += Lanes::width) mix<E, HEADS, 1>(past, fetched(from), dim, from, weights, stride, y);
}

#ifdef RECKON_BF16
template <int HEADS>
static void mixHeads(const Past<Bf16>& past, const Past<Bf16>& next, int64_t dim, float* weights, int64_t length, int64_t stride, Bf16* y) {
  constexpr int64_t step = Operand<Bf16>::step;
  if (dim % step != 0) return mixHeads<HEADS, Bf16>(past, next, dim, weights, length, stride, y);
  // In place: what is written is half as wide as what was read.
  for (int64_t h = 0; h < HEADS; h++)
    for (int64_t i = 0; i < length; i += Lanes::width)
      storeUpTo(reinterpret_cast<Bf16*>(weights + h * stride) + i, loadUpTo(weights + h * stride + i, length - i), length - i);
  const Bf16* const narrow = reinterpret_cast<const Bf16*>(weights);
  const Past<Bf16> none{};
  const auto fetched = [&](int64_t from) -> const Past<Bf16>& { return from == 0 ? next : none; };
  int64_t from = 0;
  for (; dim - from >= 2 * step; from += 2 * step) mixPairs<HEADS, 2>(past, fetched(from), dim, from, narrow, 2 * stride, y);
  for (; from < dim; from += step) mixPairs<HEADS, 1>(past, fetched(from), dim, from, narrow, 2 * stride, y);
}
#endif

/// Turns scores into the softmax of scale * scores, in place.
template <class E>
static void softmax(float* scores, int64_t length, float scale) {
  using O = Operand<E>;
  const F factor = Lanes::set(scale);
  F largest = Lanes::set(-__builtin_inff());
  float most = -__builtin_inff();
  for (int64_t i = 0; i < length; i += Lanes::width) {
    const F scaled = O::rounded(loadUpTo(scores + i, length - i) * factor);
    storeUpTo(scores + i, scaled, length - i);
    if (length - i >= Lanes::width) largest = Lanes::max(largest, scaled);
    else
      for (int64_t k = i; k < length; k++) most = scores[k] > most ? scores[k] : most;
  }
  const float whole = Lanes::largest(largest);
  const F offset = Lanes::set(whole > most ? whole : most);
  F total = Lanes::zero();
  for (int64_t i = 0; i < length; i += Lanes::width) {
    const F e = exponential(loadUpTo(scores + i, length - i) - offset);
    storeUpTo(scores + i, e, length - i);
    total = total + (length - i >= Lanes::width ? e : Lanes::loadSome(scores + i, length - i));
  }
  const F inverse = Lanes::set(1.0f / Lanes::sum(total));
  for (int64_t i = 0; i < length; i += Lanes::width)
    storeUpTo(scores + i, O::rounded(loadUpTo(scores + i, length - i) * inverse), length - i);
}

/// scores[h * stride + s] = query h . key s, for HEADS queries and keys whose width fills whole registers: a key for each
/// lane, so that nothing is added up across lanes.
template <class E, int HEADS>
static void scoreLanes(const E* keys, const E* queries, int64_t dim, int64_t count, float* scores, int64_t stride, const E* next) {
  using O = Operand<E>;
  constexpr int64_t pair = O::step / Lanes::width;
  const auto add = [&](const E* first, int64_t apart, int64_t from, F* sums) {
    typename O::V rows[Lanes::width];
#pragma GCC unroll 16
    for (int i = 0; i < Lanes::width; i++) rows[i] = O::load(first + i * apart);
    Lanes::transpose(rows);
#pragma GCC unroll 16
    for (int i = 0; i < Lanes::width; i++)
#pragma GCC unroll 8
      for (int h = 0; h < HEADS; h++) sums[h] = O::dot(sums[h], rows[i], O::broadcast(queries + h * dim + from + i * pair));
  };
  for (int64_t s = 0; s < count; s += Lanes::width) {
    const int64_t here = count - s < Lanes::width ? count - s : Lanes::width;
    if (next) fetch(next + s * dim, here, dim);
    F sums[HEADS];
#pragma GCC unroll 8
    for (int h = 0; h < HEADS; h++) sums[h] = Lanes::zero();
    for (int64_t from = 0; from < dim; from += O::step) {
      const E* const first = keys + s * dim + from;
      if (here == Lanes::width) {
        add(first, dim, from, sums);
        continue;
      }
      E last[Lanes::width * O::step];  // lanes without a key are not stored
      for (int64_t i = 0; i < Lanes::width; i++) memcpy(last + i * O::step, first + (i < here ? i : 0) * dim, O::step * sizeof(E));
      add(last, O::step, from, sums);
    }
#pragma GCC unroll 8
    for (int h = 0; h < HEADS; h++) storeUpTo(scores + h * stride + s, sums[h], here);
  }
}

/// scores[h * stride + s] = query h . key s. `next` has as many rows as keys, and is read after them.
template <class E>
static void score(const E* keys, const E* queries, int64_t heads, int64_t dim, int64_t count, float* scores, int64_t stride, const E* next) {
  if constexpr (sizeof(typename Operand<E>::V) == Lanes::transposedBytes) {
    if (dim % Operand<E>::step == 0) {
      for (int64_t h = 0; h < heads;) {
        const int64_t some = heads - h < 8 ? heads - h : 8;
        const E* const query = queries + h * dim;
        float* const target = scores + h * stride;
        switch (some) {
          case 1: scoreLanes<E, 1>(keys, query, dim, count, target, stride, h == 0 ? next : nullptr); break;
          case 2: scoreLanes<E, 2>(keys, query, dim, count, target, stride, h == 0 ? next : nullptr); break;
          case 3: scoreLanes<E, 3>(keys, query, dim, count, target, stride, h == 0 ? next : nullptr); break;
          case 4: scoreLanes<E, 4>(keys, query, dim, count, target, stride, h == 0 ? next : nullptr); break;
          case 5: scoreLanes<E, 5>(keys, query, dim, count, target, stride, h == 0 ? next : nullptr); break;
          case 6: scoreLanes<E, 6>(keys, query, dim, count, target, stride, h == 0 ? next : nullptr); break;
          case 7: scoreLanes<E, 7>(keys, query, dim, count, target, stride, h == 0 ? next : nullptr); break;
          default: scoreLanes<E, 8>(keys, query, dim, count, target, stride, h == 0 ? next : nullptr); break;
        }
        h += some;
      }
      return;
    }
  }
  int64_t s = 0;
  for (; s + 4 <= count; s += 4) panel<E, 4>(keys + s * dim, queries, heads, dim, scores + s, stride);
  for (; s < count; s++) panel<E, 1>(keys + s * dim, queries, heads, dim, scores + s, stride);
}

template <class E>
static void attendOf(const AttentionJob& job, int64_t n, int64_t g, float* scratch) {
  const int64_t dim = job.dim, shared = job.heads / job.groups;
  const int32_t* const place = job.places + 4 * n;
  const int64_t slot = place[0], own = place[1] - place[3];
  const int64_t length = place[1] + 1, stride = length + 15 - (length + 15) % 16;
  const E* const qkv = static_cast<const E*>(job.qkv) + n * (job.heads + 2 * job.groups) * dim;
  const E* const cos = static_cast<const E*>(job.cos) + n * dim;
  const E* const sin = static_cast<const E*>(job.sin) + n * dim;
  const E* const norms = static_cast<const E*>(job.norms);
  E* const keys = static_cast<E*>(job.cache) + (slot * job.groups + g) * job.capacity * dim;
  E* const values = keys + job.slots * job.groups * job.capacity * dim;

  float* const scores = scratch;
  E* const queries = reinterpret_cast<E*>(scores + shared * stride);
  E* const normed = reinterpret_cast<E*>(scores + shared * stride + shared * dim);
  const auto placed = [&](const E* x, const E* weight, E* target) {
    if (norms) normaliseOf(x, weight, normed, dim, job.epsilon);
    rotate(norms ? normed : x, cos, sin, target, dim);
  };
  for (int64_t h = 0; h < shared; h++) placed(qkv + (g * shared + h) * dim, norms, queries + h * dim);
  placed(qkv + (job.heads + g) * dim, norms + (norms ? dim : 0), keys + own * dim);
  memcpy(values + own * dim, qkv + (job.heads + job.groups + g) * dim, static_cast<size_t>(dim) * sizeof(E));

  const Past<E> past = pastOf<E>(job, n, g);
  const int64_t follower = n * job.groups + g + job.apart;
  const Past<E> next = follower < job.count * job.groups ? pastOf<E>(job, follower / job.groups, follower % job.groups) : Past<E>{};
  float* column = scores;
  for (int part = 0; part < 2; part++) {
    const int64_t count = past.lengths[part];
    score(past.keys[part], queries, shared, dim, count, column, stride, past.values[part]);
    column += count;
  }
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(dim));
  E* const y = static_cast<E*>(job.y) + (n * job.heads + g * shared) * dim;
  const Past<E> none{};
  constexpr int most = Lanes::mixedHeads;
  for (int64_t h = 0; h < shared;) {
    const int64_t count = shared - h < most ? shared - h : most;
    for (int64_t i = 0; i < count; i++) softmax<E>(scores + (h + i) * stride, length, scale);
    float* const weights = scores + h * stride;
    switch (count) {
      case 1: mixHeads<1>(past, h == 0 ? next : none, dim, weights, length, stride, y + h * dim); break;
      case 2: mixHeads<2>(past, h == 0 ? next : none, dim, weights, length, stride, y + h * dim); break;
      case 3: mixHeads<3>(past, h == 0 ? next : none, dim, weights, length, stride, y + h * dim); break;
      default: mixHeads<4>(past, h == 0 ? next : none, dim, weights, length, stride, y + h * dim); break;
    }
    h += count;
  }
}

static void attend(const AttentionJob& job, int64_t sequence, int64_t group, float* scratch) {
  if (job.element == Element::f32) attendOf<float>(job, sequence, group, scratch);
  else attendOf<Bf16>(job, sequence, group, scratch);
}
