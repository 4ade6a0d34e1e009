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

/// Fetches a piece of a matrix into the second cache ahead of its reader. One line after the other brings 17 GB/s where
/// lines of eight places in turn bring 25 (two cores of a Xeon, docs/performance.md), so a stretch is fetched as eight
/// streams while the one before is read.
class Ahead {
 public:
  /// The first stretch is on its way when this returns.
  Ahead(const void* first, int64_t bytes) : from_(static_cast<const char*>(first)), left_(bytes) {
    enter();
    next(kLongest / kLine);
  }

  /// So many lines more. Inlined by force for GCC's sake, as `fetch`.
  __attribute__((always_inline)) inline void next(int64_t lines) {
    for (; lines > 0 && stream_ > 0; lines -= kStreams) {
      for (int64_t i = 0; i < kStreams; i++) __builtin_prefetch(from_ + i * stream_ + at_, 0, 2);
      at_ += kLine;
      if (at_ == stream_) enter();
    }
  }

 private:
  static constexpr int64_t kStreams = 8, kLine = 64, kLongest = 64 << 10;
  const char* from_;
  int64_t left_, stream_ = 0, at_ = 0;

  void enter() {
    from_ += kStreams * stream_;
    stream_ = (left_ < kLongest ? left_ : kLongest) / (kStreams * kLine) * kLine;
    left_ -= kStreams * stream_;
    at_ = 0;
  }
};

/// Brings near `lines` cache lines of each group of outputs that the next 32 inputs have, from group `part` on. Inlined
/// by force for GCC's sake, as `fetch`.
template <bool FAR>
__attribute__((always_inline)) static inline void fetchWeights(const Bf16* weight, int64_t lines, int64_t part, int64_t parts) {
  if constexpr (FAR)
    for (int64_t g = part; g < kTile; g += parts)
      for (int64_t line = 0; line < lines; line++) __builtin_prefetch(weight + (kTile + g) * 2 * kBlockOuts + line * 2 * kTile);
}

/// sums [height, 64] += x . outputs, over `steps` times 32 inputs. FAR weights are not in the first cache; they are fetched a
/// step before they are read, which is what measured best: tiles are loaded in an order that the hardware does not foresee. Each
/// step sends for `lines` lines of what `ahead` fetches.
template <bool FAR>
static void tileOfOne(const Bf16* weight, const Bf16* x, int64_t stride, int64_t steps, float* sums, bool first, Ahead& ahead, int64_t lines) {
  loadSums(sums, sums + 2 * kTile, first);
  for (int64_t s = 0; s < steps; s++, weight += kTile * kBlockOuts * 2, x += 2 * kTile) {
    _tile_loadd(4, x, 2 * stride);
    if constexpr (FAR) ahead.next(lines);
    fetchWeights<FAR>(weight, 4, 0, 4);
    _tile_loadd(6, weight, kWeightBytes);
    _tile_dpbf16ps(0, 4, 6);
    fetchWeights<FAR>(weight, 4, 1, 4);
    _tile_loadd(7, weight + 2 * kTile, kWeightBytes);
    _tile_dpbf16ps(1, 4, 7);
    fetchWeights<FAR>(weight, 4, 2, 4);
    _tile_loadd(6, weight + 4 * kTile, kWeightBytes);
    _tile_dpbf16ps(2, 4, 6);
    fetchWeights<FAR>(weight, 4, 3, 4);
    _tile_loadd(7, weight + 6 * kTile, kWeightBytes);
    _tile_dpbf16ps(3, 4, 7);
  }
  storeSums(sums, sums + 2 * kTile);
}

/// Widens `count` numbers, and fetches as many that come after them.
static inline void widenFetching(const int8_t* from, Bf16* to, int64_t count, Ahead& ahead) {
  constexpr int64_t some = 8 * 64;
  for (int64_t i = 0; i < count; i += some) {
    ahead.next(some / 64);
    for (int64_t line = 0; line < some; line += 64) __builtin_prefetch(from + count + i + line);
    widenStretch(from + i, to + i, some);
  }
}

/// `tileOfOne` with a matrix in 8 bit, from the first input on. A step is widened while the tiles still multiply the one before.
static void tileOfOne(const int8_t* weight, const Bf16* x, int64_t stride, int64_t steps, float* sums, Ahead& ahead) {
  constexpr int64_t count = 2 * kTile * kBlockOuts;
  alignas(64) Bf16 wide[2][count];
  loadSums(sums, sums, true);
  for (int64_t s = 0; s < steps; s++, weight += count, x += 2 * kTile) {
    Bf16* const own = wide[s % 2];
    widenFetching(weight, own, count, ahead);
    written();
    _tile_loadd(4, x, 2 * stride);
    _tile_loadd(6, own, kWeightBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, own + 2 * kTile, kWeightBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(6, own + 4 * kTile, kWeightBytes);
    _tile_dpbf16ps(2, 4, 6);
    _tile_loadd(7, own + 6 * kTile, kWeightBytes);
    _tile_dpbf16ps(3, 4, 7);
  }
  storeSums(sums, sums + 2 * kTile);
}

/// `tileOfOne` for rows of x and as many of y, whose sums lie a tile's rows further on, and 32 outputs.
template <bool FAR>
static void tileOfTwo(const Bf16* weight, const Bf16* x, const Bf16* y, int64_t stride, int64_t steps, float* sums, bool first, Ahead& ahead, int64_t lines) {
  float* const below = sums + kTile * kBlockOuts;
  loadSums(sums, below, first);
  for (int64_t s = 0; s < steps; s++, weight += kTile * kBlockOuts * 2, x += 2 * kTile, y += 2 * kTile) {
    for (int64_t row = 0; row < kTile; row++) {
      __builtin_prefetch(x + row * stride + 2 * kTile);
      __builtin_prefetch(y + row * stride + 2 * kTile);
    }
    if constexpr (FAR) ahead.next(lines);
    fetchWeights<FAR>(weight, 2, 0, 1);
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
template <bool FAR>
static void tilesOver(const Bf16* weight, const Bf16* x, int64_t stride, const Cut& cut, int64_t steps, float* sums, bool first, Ahead& ahead) {
  const int64_t pairs = cut.tiles / 2;
  for (int64_t t = 0; t < 2 * pairs; t += 2)
    for (int64_t out = 0; out < kBlockOuts; out += 2 * kTile)
      tileOfTwo<FAR>(weight + 2 * out, x + cut.at(t) * stride, x + cut.at(t + 1) * stride, stride, steps, sums + t * kTile * kBlockOuts + out, first, ahead, t == 0 ? 2 * kTile : 0);
  if (cut.tiles % 2 == 1) tileOfOne<FAR>(weight, x + cut.at(2 * pairs) * stride, stride, steps, sums + 2 * pairs * kTile * kBlockOuts, first, ahead, pairs == 0 ? 4 * kTile : 0);
}

template <class W>
static void tilesOf(const LinearJob& job, int64_t begin, int64_t end, int64_t firstRow, int64_t lastRow) {
  constexpr int64_t step = 2 * kTile, stretch = 4;
  constexpr bool isNarrow = sizeof(W) == 1;
  alignas(64) float sums[kMostRows * kBlockOuts];
  alignas(64) Bf16 wide[isNarrow ? stretch * step * kBlockOuts : 1];
  alignas(64) Bf16 lastWeights[step * kBlockOuts];
  alignas(64) Bf16 lastInputs[kMostRows * step];
  if (lastRow == firstRow) return;
  const Bf16* const bias = static_cast<const Bf16*>(job.bias);
  const Bf16* const residual = static_cast<const Bf16*>(job.residual);
  Bf16* const y = static_cast<Bf16*>(job.y);
  const Bf16* const x = static_cast<const Bf16*>(job.x) + firstRow * job.stride;
  const Cut cut(lastRow - firstRow);
  const int64_t whole = job.ins / step, rest = job.ins % step, inputs = (job.ins + 1) / 2 * 2;
  const TileShapes shapes(cut.height);
  if (rest > 0) {
    memset(lastInputs, 0, sizeof lastInputs);
    for (int64_t row = 0; row < cut.rows; row++) memcpy(lastInputs + row * step, x + row * job.stride + whole * step, rest * sizeof(Bf16));
  }
  written();
  _tile_loadconfig(&shapes);
  // Of more rows than one call has, the matrix is in the cache already after the first ones.
  const int64_t blocks = job.rows <= kMostRows ? (end - begin + kBlockOuts - 1) / kBlockOuts : 0;
  Ahead ahead(static_cast<const W*>(job.weight) + begin * inputs, blocks * kBlockOuts * inputs * static_cast<int64_t>(sizeof(W)));
  for (int64_t out = begin; out < end; out += kBlockOuts) {
    const W* const block = static_cast<const W*>(job.weight) + out * inputs;
    if constexpr (isNarrow) {
      if (cut.tiles == 1 && whole > 0) {
        tileOfOne(block, x, job.stride, whole, sums, ahead);
      } else {
        for (int64_t s = 0; s < whole; s += stretch) {
          const int64_t steps = whole - s < stretch ? whole - s : stretch;
          widenFetching(block + s * step * kBlockOuts, wide, steps * step * kBlockOuts, ahead);
          written();
          tilesOver<false>(wide, x + s * step, job.stride, cut, steps, sums, s == 0, ahead);
        }
      }
    } else if (whole > 0) {
      tilesOver<true>(block, x, job.stride, cut, whole, sums, true, ahead);
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
      tilesOver<false>(lastWeights, lastInputs, step, cut, 1, sums, whole == 0, ahead);
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
  if (job.element == Element::f32 || job.ins == 0) avx512Bf16Table()->linear(job, begin, end, firstRow, lastRow);
  else if (job.isInt8) tilesOf<int8_t>(job, begin, end, firstRow, lastRow);
  else tilesOf<Bf16>(job, begin, end, firstRow, lastRow);
}
