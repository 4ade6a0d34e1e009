// Owns the product with a packed matrix of bf16 by AMX, whose registers are tiles: 16 rows of 64 bytes. Included after
// body-packed.h, whose layout it reads as it is: sixteen groups of sixteen outputs are a tile. The sum of each 32 inputs is
// added to those before, in the order of the inputs and however many rows there are, so a row has the same bits alone and
// among others; not those of avx512-bf16.cpp, whose sums have another order.

/// Rows, outputs, and groups of inputs of a tile.
constexpr int64_t kTile = 16;
/// Most rows that `linearTiles` takes at once.
constexpr int64_t kMostRows = 64;

/// What the processor is told of its eight tiles: sums (0 to 3) and x (4 and 5) of `rows` rows, weights (6 and 7) of sixteen.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {};
  explicit TileShapes(int64_t height) {
    for (int i = 0; i < 6; i++) rows[i] = static_cast<uint8_t>(height);
    rows[6] = rows[7] = kTile;
  }
};

/// The compiler does not know that a tile's load reads memory.
static inline void written() { asm volatile("" ::: "memory"); }

constexpr int64_t kWeightBytes = kBlockOuts * 4;  // from one group to the next
constexpr int64_t kSumBytes = kBlockOuts * 4;

/// Tiles 0 to 3 from the sums of 32 outputs each at `left` and `right`, and back.
static inline void loadSums(const float* left, const float* right, bool first) {
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    return;
  }
  written();
  _tile_loadd(0, left, kSumBytes);
  _tile_loadd(1, left + kTile, kSumBytes);
  _tile_loadd(2, right, kSumBytes);
  _tile_loadd(3, right + kTile, kSumBytes);
}

static inline void storeSums(float* left, float* right) {
  _tile_stored(0, left, kSumBytes);
  _tile_stored(1, left + kTile, kSumBytes);
  _tile_stored(2, right, kSumBytes);
  _tile_stored(3, right + kTile, kSumBytes);
  written();
}

/// What is fetched while a tile is computed: so many cache lines with each 32 inputs, in `parts` between its loads.
struct Ahead {
  const char* first;
  int64_t lines;
  void fetch(int64_t step, int64_t part, int64_t parts) const {
    for (int64_t line = part; line < lines; line += parts) __builtin_prefetch(first + (step * lines + line) * 64);
  }
};

/// sums [height, 64] += x . outputs, over `steps` times 32 inputs.
static void tileOfOne(const Bf16* weight, const Bf16* x, int64_t stride, int64_t steps, float* sums, bool first, Ahead ahead) {
  loadSums(sums, sums + 2 * kTile, first);
  for (int64_t s = 0; s < steps; s++, weight += kTile * kBlockOuts * 2, x += 2 * kTile) {
    _tile_loadd(4, x, 2 * stride);
    ahead.fetch(s, 0, 4);
    _tile_loadd(6, weight, kWeightBytes);
    _tile_dpbf16ps(0, 4, 6);
    ahead.fetch(s, 1, 4);
    _tile_loadd(7, weight + 2 * kTile, kWeightBytes);
    _tile_dpbf16ps(1, 4, 7);
    ahead.fetch(s, 2, 4);
    _tile_loadd(6, weight + 4 * kTile, kWeightBytes);
    _tile_dpbf16ps(2, 4, 6);
    ahead.fetch(s, 3, 4);
    _tile_loadd(7, weight + 6 * kTile, kWeightBytes);
    _tile_dpbf16ps(3, 4, 7);
  }
  storeSums(sums, sums + 2 * kTile);
}

/// The same for rows of x and as many of y, whose sums lie a tile's rows further on, and 32 outputs.
static void tileOfTwo(const Bf16* weight, const Bf16* x, const Bf16* y, int64_t stride, int64_t steps, float* sums, bool first, Ahead ahead) {
  float* const below = sums + kTile * kBlockOuts;
  loadSums(sums, below, first);
  for (int64_t s = 0; s < steps; s++, weight += kTile * kBlockOuts * 2, x += 2 * kTile, y += 2 * kTile) {
    ahead.fetch(s, 0, 1);
    _tile_loadd(4, x, 2 * stride);
    _tile_loadd(6, weight, kWeightBytes);
    _tile_loadd(7, weight + 2 * kTile, kWeightBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, y, 2 * stride);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  storeSums(sums, below);
}

/// How `rows` rows are cut: tiles of one height, of which the last one begins early enough to be full.
struct Cut {
  int64_t rows, tiles, height;
  explicit Cut(int64_t count) : rows(count), tiles((count + kTile - 1) / kTile), height((count + tiles - 1) / tiles) {}
  int64_t at(int64_t tile) const { return tile * height < rows - height ? tile * height : rows - height; }
};

/// All rows over `steps` times 32 inputs of a block; tile t's sums lie at sums + t * 16 * 64.
static void tileStretch(const Bf16* weight, const Bf16* x, int64_t stride, const Cut& cut, int64_t steps, float* sums, bool first, const char* next) {
  // What comes next is fetched in equal parts by those that compute.
  const int64_t pairs = cut.tiles / 2, parts = 2 * pairs + cut.tiles % 2, lines = next ? (64 + parts - 1) / parts : 0;
  int64_t part = 0;
  const auto ahead = [&] { return Ahead{next + part++ * lines * steps * 64, lines}; };
  for (int64_t t = 0; t + 2 <= cut.tiles; t += 2)
    for (int64_t out = 0; out < kBlockOuts; out += 2 * kTile)
      tileOfTwo(weight + 2 * out, x + cut.at(t) * stride, x + cut.at(t + 1) * stride, stride, steps, sums + t * kTile * kBlockOuts + out, first,
                ahead());
  if (cut.tiles % 2 == 1) {
    const int64_t t = cut.tiles - 1;
    tileOfOne(weight, x + cut.at(t) * stride, stride, steps, sums + t * kTile * kBlockOuts, first, ahead());
  }
}

template <class W>
static void tilesOf(const LinearJob& job, int64_t begin, int64_t end, int64_t firstRow, int64_t lastRow) {
  constexpr int64_t step = 2 * kTile, near = 4, far = 14;
  constexpr bool isNarrow = sizeof(W) == 1;
  alignas(64) float sums[kMostRows * kBlockOuts];
  alignas(64) Bf16 wide[isNarrow ? near * step * kBlockOuts : 1];
  alignas(64) Bf16 lastWeights[step * kBlockOuts];
  alignas(64) Bf16 lastInputs[kMostRows * step];
  const Bf16* const bias = static_cast<const Bf16*>(job.bias);
  const Bf16* const residual = static_cast<const Bf16*>(job.residual);
  Bf16* const y = static_cast<Bf16*>(job.y);
  const Bf16* const x = static_cast<const Bf16*>(job.x) + firstRow * job.stride;
  if (lastRow == firstRow) return;
  const Cut cut(lastRow - firstRow);
  const int64_t whole = job.ins / step, rest = job.ins % step, inputs = (job.ins + 1) / 2 * 2;
  // A tile's rows keep their sums in tiles over all inputs. More of them take stretches: short ones where a block comes from
  // memory, so that little waits for it; longer ones, which load and store fewer sums, where lots of rows share it.
  const bool isOne = cut.tiles == 1 && !isNarrow;
  const int64_t most = isOne ? whole : isNarrow || job.rows <= kMostRows ? near : far;
  const TileShapes shapes(cut.height);
  if (rest > 0) {
    memset(lastInputs, 0, sizeof lastInputs);
    for (int64_t row = 0; row < cut.rows; row++) memcpy(lastInputs + row * step, x + row * job.stride + whole * step, rest * sizeof(Bf16));
  }
  written();
  _tile_loadconfig(&shapes);
  for (int64_t out = begin; out < end; out += kBlockOuts) {
    const W* const block = static_cast<const W*>(job.weight) + out * inputs;
    const W* const last = static_cast<const W*>(job.weight) + end * inputs;
    for (int64_t s = 0; s < whole; s += most) {
      const int64_t steps = whole - s < most ? whole - s : most;
      const W* const from = block + s * step * kBlockOuts;
      const W* const next = from + (isOne ? 1 : steps) * step * kBlockOuts;
      const char* const fetched = next < last ? reinterpret_cast<const char*>(next) : nullptr;
      if constexpr (isNarrow) {
        for (int64_t i = 0; fetched && i < steps * step * kBlockOuts; i += 64) __builtin_prefetch(fetched + i);
        widenStretch(from, wide, steps * step * kBlockOuts);
        written();
        tileStretch(wide, x + s * step, job.stride, cut, steps, sums, s == 0, nullptr);
      } else {
        tileStretch(from, x + s * step, job.stride, cut, steps, sums, s == 0, fetched);
      }
    }
    if (rest > 0) {
      const W* const from = block + whole * step * kBlockOuts;
      const int64_t there = (inputs - whole * step) * kBlockOuts;
      for (int64_t i = 0; i < there; i += 2 * Lanes::width) {
        if constexpr (isNarrow) Lanes::unpack(from + i, lastWeights + i);
        else memcpy(lastWeights + i, from + i, 4 * Lanes::width);
      }
      memset(lastWeights + there, 0, (step * kBlockOuts - there) * sizeof(Bf16));
      written();
      tileStretch(lastWeights, lastInputs, step, cut, 1, sums, whole == 0, nullptr);
    }
    written();
    const int64_t count = end - out < kBlockOuts ? end - out : kBlockOuts;
    for (int64_t t = 0, row = 0; t < cut.tiles; t++)
      for (const int64_t first = cut.at(t); row < first + cut.height; row++) {
        float* const own = sums + (t * kTile + row - first) * kBlockOuts;
        if (job.scales)
          for (int64_t i = 0; i < count; i++) own[i] *= job.scales[out + i];
        const int64_t at = (firstRow + row) * job.outs + out;
        finish(own, bias ? bias + out : nullptr, residual ? residual + at : nullptr, y + at, count);
      }
  }
  _tile_release();
}

static void linearTiles(const LinearJob& job, int64_t begin, int64_t end, int64_t firstRow, int64_t lastRow) {
  if (job.element == Element::f32) avx512Bf16Table()->linear(job, begin, end, firstRow, lastRow);
  else if (job.isInt8) tilesOf<int8_t>(job, begin, end, firstRow, lastRow);
  else tilesOf<Bf16>(job, begin, end, firstRow, lastRow);
}
