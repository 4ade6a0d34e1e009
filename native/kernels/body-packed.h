// Owns the product with a packed matrix. Included after body.h, once for each instruction set.
//
// A packed matrix holds blocks of 64 outputs; in a block, group after group of inputs (two of bf16, one of f32), and in a
// group the 64 outputs' weights side by side. So the lanes of a register are outputs: a sum stays in its lane from the
// first input to the last, nothing is added up across lanes, and a block is read from its beginning to its end. Inputs are
// taken in stretches whose weights stay in the first cache while all rows pass over them. In f32 a stretch is summed for itself
// and then added to those before, which rounds less than one long sum; in bf16 the sum goes on, as it does in the library's
// product of few inputs. The order is that of the inputs, so a row has the same bits however many rows there are.

/// Groups of inputs whose weights all rows pass over before the next ones: 16 KiB of them.
constexpr int64_t kStretch = 64;

/// Rows of inputs. Group g of row j lies at first + j * stride + g * step; where groups lie side by side, `step` is known to the
/// compiler, which is worth 4 % of a decoding step.
template <class E, bool APART>
struct Rows {
  static constexpr int64_t pair = Operand<E>::step / Lanes::width;
  const E* first;
  int64_t stride, apart;

  int64_t step() const { return APART ? apart : pair; }
  Rows at(int64_t row, int64_t group) const { return {first + row * stride + group * step(), stride, apart}; }
};

/// What is fetched of the stretch that comes next while this one computes: so many cache lines for each group.
struct Fetched {
  const char* first;
  int64_t lines;
  bool inputs;  // the same stretch of x too, whose groups lie side by side
};

/// sums[j * 64 + i] += x row j . outputs i, for VECTORS vectors of outputs and ROWS rows of x, over `groups` groups.
template <class E, int ROWS, int VECTORS, class W, bool APART>
static void packedTile(const W* weight, const E* x, int64_t stride, int64_t apart, int64_t groups, float* sums, bool first, Fetched fetched) {
  using O = Operand<E>;
  constexpr int64_t pair = O::step / Lanes::width;
  constexpr bool anew = sizeof(E) == sizeof(float);
  const int64_t step = APART ? apart : pair;
  // Of many rows the next inputs are further away than the first cache, and too short a stretch to be foreseen.
  if (fetched.inputs)
    for (int j = 0; j < ROWS; j++)
#pragma GCC unroll 4
      for (int64_t i = 0; i < kStretch * pair; i += 64 / static_cast<int64_t>(sizeof(E))) __builtin_prefetch(x + j * stride + kStretch * pair + i);
  F own[ROWS][VECTORS];
#pragma GCC unroll 8
  for (int j = 0; j < ROWS; j++)
#pragma GCC unroll 8
    for (int i = 0; i < VECTORS; i++) own[j][i] = anew || first ? Lanes::zero() : Lanes::load(sums + j * kBlockOuts + i * Lanes::width);
  for (int64_t g = 0; g < groups; g++) {
    typename O::V w[VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < VECTORS; i++) w[i] = O::load(weight + (g * kBlockOuts + i * Lanes::width) * pair);
    for (int64_t line = 0; line < fetched.lines; line++) __builtin_prefetch(fetched.first + (g * fetched.lines + line) * 64);
#pragma GCC unroll 8
    for (int j = 0; j < ROWS; j++) {
      const typename O::V v = O::broadcast(x + j * stride + g * step);
#pragma GCC unroll 8
      for (int i = 0; i < VECTORS; i++) own[j][i] = O::dot(own[j][i], w[i], v);
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < ROWS; j++)
#pragma GCC unroll 8
    for (int i = 0; i < VECTORS; i++) {
      float* const sum = sums + j * kBlockOuts + i * Lanes::width;
      Lanes::store(sum, !anew || first ? own[j][i] : Lanes::load(sum) + own[j][i]);
    }
}

/// All rows of x over one stretch of a block, in tiles of nearly equal height, which share what is fetched of the next.
template <class E, class W, bool APART>
static void packedStretch(const W* weight, Rows<E, APART> x, int64_t rows, int64_t groups, float* sums, bool first, Fetched next) {
  constexpr int64_t pair = Operand<E>::step / Lanes::width;
  constexpr int64_t vectors = Lanes::tileVectors, width = vectors * Lanes::width;
  const int64_t tiles = (rows + Lanes::tileRows - 1) / Lanes::tileRows, parts = tiles * (kBlockOuts / width);
  for (int64_t t = 0, row = 0, part = 0; t < tiles; t++) {
    const int64_t height = (rows - row + tiles - t - 1) / (tiles - t);
    for (int64_t out = 0; out < kBlockOuts; out += width, part++) {
      const int64_t from = part * next.lines / parts, to = (part + 1) * next.lines / parts;
      const Fetched fetched{next.first + from * kStretch * 64, to - from, next.inputs && out == 0};
      const W* const w = weight + out * pair;
      const E* const at = x.at(row, 0).first;
      float* const target = sums + row * kBlockOuts + out;
      switch (height) {
        case 1: packedTile<E, 1, vectors, W, APART>(w, at, x.stride, x.apart, groups, target, first, fetched); break;
        case 2: packedTile<E, 2, vectors, W, APART>(w, at, x.stride, x.apart, groups, target, first, fetched); break;
        case 3: packedTile<E, 3, vectors, W, APART>(w, at, x.stride, x.apart, groups, target, first, fetched); break;
        case 4: packedTile<E, 4, vectors, W, APART>(w, at, x.stride, x.apart, groups, target, first, fetched); break;
        case 5: packedTile<E, 5, vectors, W, APART>(w, at, x.stride, x.apart, groups, target, first, fetched); break;
        default: packedTile<E, 6, vectors, W, APART>(w, at, x.stride, x.apart, groups, target, first, fetched); break;
      }
    }
    row += height;
  }
}

/// Widens whole numbers, which bf16 and f32 hold exactly.
template <class E>
static void widenStretch(const int8_t* from, E* to, int64_t count) {
  for (int64_t i = 0; i < count; i += 2 * Lanes::width) Lanes::unpack(from + i, to + i);
}

/// One stretch of a matrix in 8 bit: more than one tile would widen the same numbers more than once.
template <class E, bool APART>
static void anyStretch(const int8_t* weight, Rows<E, APART> x, int64_t rows, int64_t groups, float* sums, bool first, Fetched next) {
  constexpr int64_t pair = Operand<E>::step / Lanes::width;
  if (rows <= Lanes::tileRows) return packedStretch(weight, x, rows, groups, sums, first, next);
  alignas(64) E wide[kStretch * kBlockOuts * pair];
  widenStretch(weight, wide, groups * kBlockOuts * pair);
  packedStretch(static_cast<const E*>(wide), x, rows, groups, sums, first, next);
}

template <class E, bool APART>
static void anyStretch(const E* weight, Rows<E, APART> x, int64_t rows, int64_t groups, float* sums, bool first, Fetched next) {
  packedStretch(weight, x, rows, groups, sums, first, next);
}

/// The last input where inputs come in pairs and their number is odd; what would be its neighbour is not x's to read.
template <class E, class W, bool APART>
static void addLast(const W* weight, Rows<E, APART> x, int64_t rows, float* sums, bool first) {
  constexpr int64_t pair = Operand<E>::step / Lanes::width;
  E last[pair] = {};
  for (int64_t row = 0; row < rows; row++) {
    last[0] = x.first[row * x.stride];
    packedStretch(weight, Rows<E, false>{last, pair, pair}, 1, 1, sums + row * kBlockOuts, first, Fetched{nullptr, 0, false});
  }
}

template <class E, class W, bool APART = false>
static void linearOf(const LinearJob& job, int64_t begin, int64_t end, int64_t firstRow, int64_t lastRow) {
  constexpr int64_t pair = Operand<E>::step / Lanes::width;
  alignas(64) float sums[64 * kBlockOuts];
  const E* const bias = static_cast<const E*>(job.bias);
  const E* const residual = static_cast<const E*>(job.residual);
  E* const y = static_cast<E*>(job.y);
  const int64_t ins = job.ins, rows = lastRow - firstRow, whole = ins / pair, groups = (ins + pair - 1) / pair;
  constexpr int64_t lines = kBlockOuts * pair * static_cast<int64_t>(sizeof(W)) / 64;
  const Rows<E, APART> x{static_cast<const E*>(job.x) + firstRow * job.stride, job.stride, job.step};
  const bool far = !APART && rows * ins * static_cast<int64_t>(sizeof(E)) > 1 << 18;
  for (int64_t out = begin; out < end; out += kBlockOuts) {
    const W* const block = static_cast<const W*>(job.weight) + out * groups * pair;
    const W* const last = static_cast<const W*>(job.weight) + end * groups * pair;
    if (groups == 0) memset(sums, 0, static_cast<size_t>(rows * kBlockOuts) * sizeof(float));
    for (int64_t g = 0; g < whole; g += kStretch) {
      const int64_t count = whole - g < kStretch ? whole - g : kStretch;
      const W* const from = block + g * kBlockOuts * pair;
      const W* const next = from + kStretch * kBlockOuts * pair;
      anyStretch(from, x.at(0, g), rows, count, sums, g == 0, Fetched{reinterpret_cast<const char*>(next), next < last ? lines : 0, far && g + kStretch < whole});
    }
    if (whole < groups) addLast(block + whole * kBlockOuts * pair, x.at(0, whole), rows, sums, whole == 0);
    const int64_t count = end - out < kBlockOuts ? end - out : kBlockOuts;
    for (int64_t row = 0; row < rows; row++) {
      float* const own = sums + row * kBlockOuts;
      if (job.scales)
        for (int64_t i = 0; i < count; i++) own[i] *= job.scales[out + i];
      const int64_t at = (firstRow + row) * job.outs + out;
      finish(own, bias ? bias + out : nullptr, residual ? residual + at : nullptr, y + at, count);
    }
  }
}

static void linear(const LinearJob& job, int64_t begin, int64_t end, int64_t firstRow, int64_t lastRow) {
  if (job.element == Element::f32) {
    if (job.isInt8) linearOf<float, int8_t>(job, begin, end, firstRow, lastRow);
    else if (job.step != 1) linearOf<float, float, true>(job, begin, end, firstRow, lastRow);
    else linearOf<float, float>(job, begin, end, firstRow, lastRow);
  } else {
    if (job.isInt8) linearOf<Bf16, int8_t>(job, begin, end, firstRow, lastRow);
    else linearOf<Bf16, Bf16>(job, begin, end, firstRow, lastRow);
  }
}

static inline float widened(float x) { return x; }
static inline float widened(Bf16 x) { return widen(x); }
static inline float widened(int8_t x) { return x; }
static inline void put(float* p, float x) { *p = x; }
static inline void put(Bf16* p, float x) { *p = narrow(x); }

/// Rows of a weight as the block that they are.
template <class E, class W>
static void packOf(const PackJob& job) {
  using O = Operand<E>;
  constexpr int64_t pair = O::step / Lanes::width;
  const W* const weight = static_cast<const W*>(job.weight);
  E* const to = static_cast<E*>(job.to);
  const int64_t groups = (job.ins + pair - 1) / pair;
  int64_t done = 0, whole = 0;  // of so many rows so many inputs are there already
  if constexpr (pair == 1)
    if (job.stride == 1)
      for (whole = job.ins; done + Lanes::width <= job.rows; done += Lanes::width)
        for (int64_t k = 0; k < whole; k++) Lanes::store(to + k * kBlockOuts + done, Lanes::load(weight + k * job.step + done));
#ifdef RECKON_BF16
  // Rows of inputs here are columns there: too far apart to be foreseen, as the rows below are too many.
  if constexpr (pair == 2 && sizeof(W) == sizeof(E))
    if (job.stride == 1) {
      done = job.rows - job.rows % Lanes::width;
      whole = job.ins - job.ins % 2;
      for (int64_t k = 0; k < whole; k += 2) {
        const W* const even = weight + k * job.step;
        const W* const odd = even + job.step;
        for (int64_t i = 0; i < done; i += 2 * Lanes::width) {
          __builtin_prefetch(even + 64 * job.step + i);
          __builtin_prefetch(odd + 64 * job.step + i);
        }
        for (int64_t i = 0; i < done; i += Lanes::width) {
          const auto both = Lanes::zipped(even + i, odd + i);
          memcpy(to + (k / 2 * kBlockOuts + i) * 2, &both, sizeof both);
        }
      }
    }
#endif
  if constexpr (sizeof(typename O::V) == Lanes::transposedBytes)
    if (job.step == 1 && done == 0)
      for (whole = job.ins - job.ins % O::step; done + Lanes::width <= job.rows; done += Lanes::width)
        for (int64_t k = 0; k < whole; k += O::step) {
          constexpr int64_t ahead = 4 * O::step;
          const int64_t next = k + ahead < whole ? ahead : Lanes::width * job.stride + ahead - whole;
          const W* row = weight + done * job.stride + k;
          typename O::V words[Lanes::width];
#pragma GCC unroll 16
          for (int i = 0; i < Lanes::width; i++, row += job.stride) {
            __builtin_prefetch(row + next);
            words[i] = O::load(row);
          }
          Lanes::transpose(words);
#pragma GCC unroll 16
          for (int i = 0; i < Lanes::width; i++) memcpy(to + ((k / pair + i) * kBlockOuts + done) * pair, words + i, sizeof words[i]);
        }
  if (done == kBlockOuts && whole == groups * pair) return;
  // What is left goes some inputs at a time, so that the lines that all rows write to stay in the first cache.
  constexpr int64_t some = 32;
  for (int64_t first = 0; first < groups * pair; first += some)
    for (int64_t row = 0; row < kBlockOuts; row++) {
      const int64_t from = row < done && first < whole ? whole : first;
      for (int64_t k = from; k < first + some && k < groups * pair; k++) {
        const bool isThere = row < job.rows && k < job.ins;
        put(to + (k / pair * kBlockOuts + row) * pair + k % pair, isThere ? widened(weight[row * job.stride + k * job.step]) : 0.0f);
      }
    }
}

static void pack(const PackJob& job) {
  if (job.element == Element::f32) {
    if (job.isInt8) packOf<float, int8_t>(job);
    else packOf<float, float>(job);
  } else {
    if (job.isInt8) packOf<Bf16, int8_t>(job);
    else packOf<Bf16, Bf16>(job);
  }
}
