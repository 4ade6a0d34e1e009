// Owns the product with weights in 8 bit, and their rounding. Included after body.h, once for each instruction set. The
// whole numbers of a weight are exact in bf16 and in f32, so they are widened and multiplied as any other weight; a row's
// sums have the same order, and the same bits, however many rows there are.

static inline void put(const int8_t* from, float* to) { *to = static_cast<float>(*from); }
static inline void put(const int8_t* from, Bf16* to) { *to = narrow(static_cast<float>(*from)); }

/// Widens `count` numbers, and has the same stretch of what comes `ahead` numbers later fetched.
template <class E>
static void widenRow(const int8_t* from, E* to, int64_t count, int64_t ahead) {
  int64_t i = 0;
  for (; i + 4 * Lanes::width <= count; i += 4 * Lanes::width) {
    if (ahead > 0) __builtin_prefetch(from + ahead + i);
    Lanes::unpack(from + i, to + i);
    Lanes::unpack(from + i + 2 * Lanes::width, to + i + 2 * Lanes::width);
  }
  for (; i < count; i++) put(from + i, to + i);
}

template <class E>
static void linearInt8Of(const Int8Job& whole, int64_t begin, int64_t end, int64_t firstRow, int64_t lastRow, float* scratch) {
  float sums[64 * kBlock];
  const LinearJob& job = whole.linear;
  const int8_t* const weight = static_cast<const int8_t*>(job.weight);
  const E* const bias = static_cast<const E*>(job.bias);
  const E* const residual = static_cast<const E*>(job.residual);
  E* const y = static_cast<E*>(job.y);
  E* const wide = reinterpret_cast<E*>(scratch);
  for (int64_t first = firstRow; first < lastRow; first += 64) {
    const int64_t rows = lastRow - first < 64 ? lastRow - first : 64;
    const E* const x = static_cast<const E*>(job.x) + first * job.ins;
    for (int64_t block = begin; block < end; block += kBlock) {
      const int64_t count = end - block < kBlock ? end - block : kBlock;
      int64_t out = 0;
      for (; out + kPanel <= count; out += kPanel) {
        const int8_t* const own = weight + (block + out) * job.ins;
        const bool more = block + out + 2 * kPanel <= job.outs;
        if (rows <= Lanes::tileRows) {
          panel<E, kPanel>(own, x, rows, job.ins, sums + out, kBlock, more);
          continue;
        }
        // More than one tile would widen the same numbers more than once.
        widenRow(own, wide, kPanel * job.ins, more ? kPanel * job.ins : 0);
        panel<E, kPanel>(static_cast<const E*>(wide), x, rows, job.ins, sums + out, kBlock, false);
      }
      for (; out < count; out++) panel<E, 1>(weight + (block + out) * job.ins, x, rows, job.ins, sums + out, kBlock, false);
      for (int64_t row = 0; row < rows; row++) {
        const int64_t at = (first + row) * job.outs + block;
        float* const own = sums + row * kBlock;
        for (int64_t i = 0; i < count; i++) own[i] *= whole.scales[block + i];
        finish(own, bias ? bias + block : nullptr, residual ? residual + at : nullptr, y + at, count);
      }
    }
  }
}

static void linearInt8(const Int8Job& job, int64_t begin, int64_t end, int64_t firstRow, int64_t lastRow, float* scratch) {
  if (job.linear.element == Element::f32) linearInt8Of<float>(job, begin, end, firstRow, lastRow, scratch);
  else linearInt8Of<Bf16>(job, begin, end, firstRow, lastRow, scratch);
}

template <class E>
static float quantiseOf(const E* row, int8_t* values, int64_t count) {
  F most = Lanes::zero();
  F fault = Lanes::zero();  // 0, or NaN once a number was not finite
  for (int64_t i = 0; i < count; i += Lanes::width) {
    const F v = loadUpTo(row + i, count - i);
    most = Lanes::max(most, Lanes::max(v, Lanes::zero() - v));
    fault = Lanes::fma(v, Lanes::zero(), fault);
  }
  const float scale = Lanes::largest(most) / 127.0f + Lanes::sum(fault);
  const float divisor = scale < 1.17549435e-38f ? 1.0f : scale;
  const F by = Lanes::set(divisor);
  for (int64_t i = 0; i < count; i += Lanes::width) {
    float room[Lanes::width];
    Lanes::store(room, Lanes::round(Lanes::div(loadUpTo(row + i, count - i), by)));
    for (int64_t j = 0; j < Lanes::width && i + j < count; j++) values[i + j] = static_cast<int8_t>(static_cast<int>(room[j]));
  }
  return divisor;
}

static float quantise(Element element, const void* row, int8_t* values, int64_t count) {
  if (element == Element::f32) return quantiseOf(static_cast<const float*>(row), values, count);
  return quantiseOf(static_cast<const Bf16*>(row), values, count);
}
