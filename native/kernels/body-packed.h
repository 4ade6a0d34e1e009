// Owns the product with a packed matrix. Included after body.h, once for each instruction set.
//
// A packed matrix holds blocks of 64 outputs; in a block, group after group of inputs (two of bf16, one of f32), and in a
// group the 64 outputs' weights side by side. So the lanes of a register are outputs: a sum stays in its lane from the
// first input to the last, nothing is added up across lanes, and a block is read from its beginning to its end. Inputs are
// taken in stretches whose weights stay in the first cache while all rows pass over them. In f32 a stretch is summed for itself
// and then added to those before, which rounds less than one long sum; in bf16 the sum goes on, as it does in the library's
// product, which the trainer computes with. The order is that of the inputs, so a row has the same bits however many rows there are.

/// Groups of inputs whose weights all rows pass over before the next ones: 16 KiB of them.
constexpr int64_t kStretch = 64;

/// What is fetched of the stretch that comes next while this one computes: so many cache lines for each group.
struct Fetched {
  const char* first;
  int64_t lines;
  bool inputs;  // the same stretch of x too
};

/// sums[j * 64 + i] += x row j . outputs i, for VECTORS vectors of outputs and ROWS rows of x, over `groups` groups.
template <class E, int ROWS, int VECTORS, class W>
static void packedTile(const W* weight, const E* x, int64_t ins, int64_t groups, float* sums, bool first, Fetched fetched) {
  using O = Operand<E>;
  constexpr int64_t pair = O::step / Lanes::width;
  constexpr bool anew = sizeof(E) == sizeof(float);
  // Of many rows the next inputs are further away than the first cache, and too short a stretch to be foreseen.
  if (fetched.inputs)
    for (int j = 0; j < ROWS; j++)
#pragma GCC unroll 4
      for (int64_t i = 0; i < kStretch * pair; i += 64 / static_cast<int64_t>(sizeof(E))) __builtin_prefetch(x + j * ins + kStretch * pair + i);
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
      const typename O::V v = O::broadcast(x + j * ins + g * pair);
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
template <class E, class W>
static void packedStretch(const W* weight, const E* x, int64_t rows, int64_t ins, int64_t groups, float* sums, bool first, Fetched next) {
  constexpr int64_t pair = Operand<E>::step / Lanes::width;
  constexpr int64_t vectors = Lanes::tileVectors, width = vectors * Lanes::width;
  const int64_t tiles = (rows + Lanes::tileRows - 1) / Lanes::tileRows, parts = tiles * (kBlockOuts / width);
  for (int64_t t = 0, row = 0, part = 0; t < tiles; t++) {
    const int64_t height = (rows - row + tiles - t - 1) / (tiles - t);
    for (int64_t out = 0; out < kBlockOuts; out += width, part++) {
      const int64_t from = part * next.lines / parts, to = (part + 1) * next.lines / parts;
      const Fetched fetched{next.first + from * kStretch * 64, to - from, next.inputs && out == 0};
      const W* const w = weight + out * pair;
      const E* const at = x + row * ins;
      float* const target = sums + row * kBlockOuts + out;
      switch (height) {
        case 1: packedTile<E, 1, vectors>(w, at, ins, groups, target, first, fetched); break;
        case 2: packedTile<E, 2, vectors>(w, at, ins, groups, target, first, fetched); break;
        case 3: packedTile<E, 3, vectors>(w, at, ins, groups, target, first, fetched); break;
        case 4: packedTile<E, 4, vectors>(w, at, ins, groups, target, first, fetched); break;
        case 5: packedTile<E, 5, vectors>(w, at, ins, groups, target, first, fetched); break;
        default: packedTile<E, 6, vectors>(w, at, ins, groups, target, first, fetched); break;
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
template <class E>
static void anyStretch(const int8_t* weight, const E* x, int64_t rows, int64_t ins, int64_t groups, float* sums, bool first, Fetched next) {
  constexpr int64_t pair = Operand<E>::step / Lanes::width;
  if (rows <= Lanes::tileRows) return packedStretch(weight, x, rows, ins, groups, sums, first, next);
  alignas(64) E wide[kStretch * kBlockOuts * pair];
  widenStretch(weight, wide, groups * kBlockOuts * pair);
  packedStretch(static_cast<const E*>(wide), x, rows, ins, groups, sums, first, next);
}

template <class E>
static void anyStretch(const E* weight, const E* x, int64_t rows, int64_t ins, int64_t groups, float* sums, bool first, Fetched next) {
  packedStretch(weight, x, rows, ins, groups, sums, first, next);
}

/// The last input where inputs come in pairs and their number is odd; what would be its neighbour is not x's to read.
template <class E, class W>
static void addLast(const W* weight, const E* x, int64_t rows, int64_t ins, float* sums, bool first) {
  constexpr int64_t pair = Operand<E>::step / Lanes::width;
  E last[pair] = {};
  for (int64_t row = 0; row < rows; row++) {
    last[0] = x[row * ins];
    packedStretch(weight, static_cast<const E*>(last), 1, pair, 1, sums + row * kBlockOuts, first, Fetched{nullptr, 0, false});
  }
}

template <class E, class W>
static void linearOf(const LinearJob& job, int64_t begin, int64_t end, int64_t firstRow, int64_t lastRow) {
  constexpr int64_t pair = Operand<E>::step / Lanes::width;
  alignas(64) float sums[64 * kBlockOuts];
  const E* const bias = static_cast<const E*>(job.bias);
  const E* const residual = static_cast<const E*>(job.residual);
  E* const y = static_cast<E*>(job.y);
  const int64_t ins = job.ins, rows = lastRow - firstRow, whole = ins / pair, groups = (ins + pair - 1) / pair;
  constexpr int64_t lines = kBlockOuts * pair * static_cast<int64_t>(sizeof(W)) / 64;
  const E* const x = static_cast<const E*>(job.x) + firstRow * ins;
  const bool far = rows * ins * static_cast<int64_t>(sizeof(E)) > 1 << 18;
  for (int64_t out = begin; out < end; out += kBlockOuts) {
    const W* const block = static_cast<const W*>(job.weight) + out * groups * pair;
    const W* const last = static_cast<const W*>(job.weight) + end * groups * pair;
    for (int64_t g = 0; g < whole; g += kStretch) {
      const int64_t count = whole - g < kStretch ? whole - g : kStretch;
      const W* const from = block + g * kBlockOuts * pair;
      const W* const next = from + kStretch * kBlockOuts * pair;
      anyStretch(from, x + g * pair, rows, ins, count, sums, g == 0, Fetched{reinterpret_cast<const char*>(next), next < last ? lines : 0, far && g + kStretch < whole});
    }
    if (whole < groups) addLast(block + whole * kBlockOuts * pair, x + whole * pair, rows, ins, sums, whole == 0);
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
    if (job.scales) linearOf<float, int8_t>(job, begin, end, firstRow, lastRow);
    else linearOf<float, float>(job, begin, end, firstRow, lastRow);
  } else {
    if (job.scales) linearOf<Bf16, int8_t>(job, begin, end, firstRow, lastRow);
    else linearOf<Bf16, Bf16>(job, begin, end, firstRow, lastRow);
  }
}
