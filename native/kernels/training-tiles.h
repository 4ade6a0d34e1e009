// Owns the products of a low-rank update with activations of bf16, by AMX. A factor's f32 numbers are cut into three of bf16
// that hold their 24 bits together, and each is multiplied by tiles: sums are those of f32 products but for their order, which
// no number of rows or threads changes. Cutting pays for many rows, so these are of the way back. Included after body-tiles.h.

constexpr int kParts = 3;
/// Numbers of a tile: sixteen rows of 32.
constexpr int64_t kTileElements = kTile * 2 * kTile;
constexpr int64_t kTileBytes = 64;  // from one row to the next

static inline void cutInParts(F v, __m256i* parts) {
  for (int p = 0; p < kParts; p++) {
    parts[p] = Lanes::narrowed(v);
    v = v - Lanes::widened(parts[p]);
  }
}

/// Sixteen numbers of a row, or as many as there are and zeros.
static inline F someOf(const float* row, int64_t count) { return count > 0 ? loadUpTo(row, count) : Lanes::zero(); }
static inline __m256i someOf(const Bf16* row, int64_t count) {
  return count >= kTile ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)) : _mm256_maskz_loadu_epi16(count > 0 ? Lanes::mask(count) : 0, row);
}

/// Sixteen rows, `first` and those behind it, of a matrix [rows, width] from column `at` on, turned: a vector a column.
static inline void turned(const float* matrix, int64_t rows, int64_t width, int64_t first, int64_t at, F* columns) {
  for (int64_t i = 0; i < kTile; i++) columns[i] = first + i < rows ? someOf(matrix + (first + i) * width + at, width - at) : Lanes::zero();
  Lanes::transpose(columns);
}

/// Ranks `rank` and the fifteen behind it of hidden [rows, rank] as left factors: for each 32 rows three tiles [16 ranks, 32 rows].
static void cutHidden(const LowRankJob& job, int64_t rank, Bf16* to) {
  for (int64_t n = 0; n < job.rows; n += 2 * kTile, to += kParts * kTileElements)
    for (int64_t half = 0; half < 2 * kTile; half += kTile) {
      F ranks[kTile];
      turned(job.hidden, job.rows, job.rank, n + half, rank, ranks);
      for (int64_t r = 0; r < kTile; r++) {
        __m256i parts[kParts];
        cutInParts(ranks[r], parts);
        for (int p = 0; p < kParts; p++) memcpy(to + p * kTileElements + r * 2 * kTile + half, parts + p, sizeof parts[p]);
      }
    }
}

/// The same ranks of the factor [rank, width] as right factors: for each 32 inputs three tiles [16 pairs of inputs, 16 ranks].
static void cutFactor(const LowRankJob& job, int64_t rank, Bf16* to) {
  for (int64_t c = 0; c < job.width; c += 2 * kTile, to += kParts * kTileElements)
    for (int64_t half = 0; half < 2 * kTile; half += kTile) {
      F inputs[kTile];
      turned(job.factor, job.rank, job.width, rank, c + half, inputs);
      for (int64_t k = 0; k < kTile; k += 2) {
        __m256i even[kParts], odd[kParts];
        cutInParts(inputs[k], even);
        cutInParts(inputs[k + 1], odd);
        for (int p = 0; p < kParts; p++) {
          const __m512i both = Lanes::zipped(even[p], odd[p]);
          memcpy(to + p * kTileElements + (half + k) * kTile, &both, sizeof both);
        }
      }
    }
}

/// Rows n to n + 32 of x, columns c to c + 64, as right factors: four tiles [16 pairs of rows, 16 columns].
static inline void zipRows(const LowRankJob& job, int64_t n, int64_t c, Bf16* to) {
  const Bf16* const x = static_cast<const Bf16*>(job.x) + c;
  for (int64_t i = 0; i < 2 * kTile; i += 2)
    for (int64_t j = 0; j < kBlockOuts; j += kTile) {
      const Bf16* const row = x + (n + i) * job.stride + j;
      const int64_t count = job.width - c - j;
      const __m512i both = Lanes::zipped(someOf(row, n + i < job.rows ? count : 0), someOf(row + job.stride, n + i + 1 < job.rows ? count : 0));
      memcpy(to + j / kTile * kTileElements + i * kTile, &both, sizeof both);
    }
}

/// slopes[r, c] = sum over n of hidden[n, r] x[n, c], of columns `begin` to `end`.
static void slopesByTiles(const LowRankJob& job, int64_t begin, int64_t end, void* scratch) {
  const int64_t steps = (job.rows + 2 * kTile - 1) / (2 * kTile);
  Bf16* const hidden = static_cast<Bf16*>(scratch);
  alignas(64) Bf16 rows[4 * kTileElements];
  alignas(64) float sums[kTile * kBlockOuts];
  const TileShapes shapes(kTile);
  _tile_loadconfig(&shapes);
  for (int64_t r = 0; r < job.rank; r += kTile) {
    cutHidden(job, r, hidden);
    for (int64_t c = begin; c < end; c += kBlockOuts) {
      loadSums(sums, sums + 2 * kTile, true);
      for (int64_t s = 0; s < steps; s++) {
        zipRows(job, s * 2 * kTile, c, rows);
        written();
        for (int p = 0; p < kParts; p++) {
          _tile_loadd(4, hidden + (s * kParts + p) * kTileElements, kTileBytes);
          _tile_loadd(6, rows, kTileBytes);
          _tile_dpbf16ps(0, 4, 6);
          _tile_loadd(7, rows + kTileElements, kTileBytes);
          _tile_dpbf16ps(1, 4, 7);
          _tile_loadd(6, rows + 2 * kTileElements, kTileBytes);
          _tile_dpbf16ps(2, 4, 6);
          _tile_loadd(7, rows + 3 * kTileElements, kTileBytes);
          _tile_dpbf16ps(3, 4, 7);
        }
      }
      storeSums(sums, sums + 2 * kTile);
      for (int64_t i = 0; i < kTile && r + i < job.rank; i++)
        for (int64_t j = 0; j < kBlockOuts && c + j < end; j += Lanes::width)
          storeUpTo(job.slopes + (r + i) * job.width + c + j, Lanes::load(sums + i * kBlockOuts + j), end - c - j);
    }
  }
  _tile_release();
}

/// Adds 32 inputs of one tile of rows, or of two: the first parts to tile 0 (of the second rows: 2), the others to 1 (3).
template <bool TWO>
static inline void addInputs(const Bf16* x, const Bf16* y, int64_t stride, const Bf16* factor) {
  _tile_loadd(4, x, 2 * stride);
  _tile_loadd(6, factor + kTileElements, kTileBytes);
  _tile_dpbf16ps(1, 4, 6);
  if constexpr (TWO) {
    _tile_loadd(5, y, 2 * stride);
    _tile_dpbf16ps(3, 5, 6);
  }
  _tile_loadd(7, factor, kTileBytes);
  _tile_dpbf16ps(0, 4, 7);
  if constexpr (TWO) _tile_dpbf16ps(2, 5, 7);
  _tile_loadd(6, factor + 2 * kTileElements, kTileBytes);
  _tile_dpbf16ps(1, 4, 6);
  if constexpr (TWO) _tile_dpbf16ps(3, 5, 6);
}

/// hidden[n, r] = scale * x[n] . factor[r] of rows n to n + height, and as many from m on where there are TWO.
template <bool TWO>
static void contractTiles(const LowRankJob& job, const Bf16* factor, int64_t rank, int64_t height, int64_t n, int64_t m) {
  constexpr int64_t step = 2 * kTile;
  alignas(64) float sums[4][kTile * kTile];
  alignas(64) Bf16 last[2][kTileElements];
  const Bf16* const x = static_cast<const Bf16*>(job.x) + n * job.stride;
  const Bf16* const y = static_cast<const Bf16*>(job.x) + m * job.stride;
  const int64_t whole = job.width / step, rest = job.width % step;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t s = 0; s < whole; s++) addInputs<TWO>(x + s * step, y + s * step, job.stride, factor + s * kParts * kTileElements);
  if (rest > 0) {
    memset(last, 0, sizeof last);
    for (int64_t i = 0; i < height; i++) {
      memcpy(last[0] + i * step, x + i * job.stride + whole * step, rest * sizeof(Bf16));
      memcpy(last[1] + i * step, y + i * job.stride + whole * step, rest * sizeof(Bf16));
    }
    written();
    addInputs<TWO>(last[0], last[1], step, factor + whole * kParts * kTileElements);
  }
  _tile_stored(0, sums[0], kTileBytes);
  _tile_stored(1, sums[1], kTileBytes);
  if constexpr (TWO) {
    _tile_stored(2, sums[2], kTileBytes);
    _tile_stored(3, sums[3], kTileBytes);
  }
  written();
  const F scale = Lanes::set(job.scale);
  for (int64_t i = 0; i < height; i++)
    for (int tile = 0; tile < (TWO ? 2 : 1); tile++) {
      const F sum = Lanes::load(sums[2 * tile] + i * kTile) + Lanes::load(sums[2 * tile + 1] + i * kTile);
      storeUpTo(job.hidden + ((tile == 0 ? n : m) + i) * job.rank + rank, scale * sum, job.rank - rank);
    }
}

static void contractByTiles(const LowRankJob& job, int64_t begin, int64_t end, void* scratch) {
  Bf16* const factor = static_cast<Bf16*>(scratch);
  if (begin == end) return;
  const Cut cut(end - begin);
  const TileShapes shapes(cut.height);
  _tile_loadconfig(&shapes);
  for (int64_t r = 0; r < job.rank; r += kTile) {
    cutFactor(job, r, factor);
    written();
    int64_t t = 0;
    for (; t + 2 <= cut.tiles; t += 2) contractTiles<true>(job, factor, r, cut.height, begin + cut.at(t), begin + cut.at(t + 1));
    if (t < cut.tiles) contractTiles<false>(job, factor, r, cut.height, begin + cut.at(t), begin + cut.at(t));
  }
  _tile_release();
}

static void contractAny(Element element, const LowRankJob& job, int64_t begin, int64_t end, void* scratch) {
  if (element == Element::f32) avx512Bf16Table()->training->contractMany(element, job, begin, end, scratch);
  else contractByTiles(job, begin, end, scratch);
}

static void slopesAny(Element element, const LowRankJob& job, int64_t begin, int64_t end, void* scratch) {
  if (element == Element::f32) avx512Bf16Table()->training->factorSlopes(element, job, begin, end, scratch);
  else slopesByTiles(job, begin, end, scratch);
}
