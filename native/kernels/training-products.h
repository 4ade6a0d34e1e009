// Owns products of small bf16 matrices in registers, for the attention of training: one factor is read in pairs of
// rows that lie side by side, the other pair by pair from anywhere. Included after body.h.

/// Two vectors side by side: even[0], odd[0], even[1], odd[1], ...
static inline void storePairs(Bf16* p, F even, F odd) {
#ifdef RECKON_BF16
  const __m512i low = _mm512_cvtepu16_epi32(Lanes::narrowed(even));
  const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(Lanes::narrowed(odd)), 16);
  _mm512_storeu_si512(p, _mm512_or_si512(low, high));
#else
  Bf16 first[Lanes::width], second[Lanes::width];
  Lanes::store(first, even);
  Lanes::store(second, odd);
  for (int i = 0; i < Lanes::width; i++) p[2 * i] = first[i], p[2 * i + 1] = second[i];
#endif
}

/// The factor that is read pair by pair: pair k of row r lies at pairs + 2 (r * row + k * pair).
struct Left {
  const Bf16* pairs;
  int64_t row, pair;
};

/// The factor whose rows 2 k and 2 k + 1 lie side by side, column by column, at pairs + 2 k * columns.
struct Right {
  const Bf16* pairs;
  int64_t columns;
};

template <int ROWS, int ACROSS>
static inline void productTile(Left a, Right b, int64_t pairs, float* out, int64_t stride, bool add) {
  F sums[ROWS][ACROSS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
    for (int c = 0; c < ACROSS; c++) sums[r][c] = add ? Lanes::load(out + r * stride + c * Lanes::width) : Lanes::zero();
  for (int64_t k = 0; k < pairs; k++) {
    Lanes::Pairs columns[ACROSS];
#pragma GCC unroll 8
    for (int c = 0; c < ACROSS; c++) columns[c] = Lanes::pairs(b.pairs + 2 * (k * b.columns + c * Lanes::width));
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
      const Lanes::Pairs v = Operand<Bf16>::broadcast(a.pairs + 2 * (r * a.row + k * a.pair));
#pragma GCC unroll 8
      for (int c = 0; c < ACROSS; c++) sums[r][c] = Lanes::dot(sums[r][c], columns[c], v);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
    for (int c = 0; c < ACROSS; c++) Lanes::store(out + r * stride + c * Lanes::width, sums[r][c]);
}

template <int ACROSS>
static void productStrip(Left a, Right b, int64_t rows, int64_t pairs, float* out, int64_t stride, bool add) {
  const int64_t tiles = (rows + Lanes::tileRows - 1) / Lanes::tileRows;
  for (int64_t t = 0, row = 0; t < tiles; t++) {
    const int64_t height = (rows - row + tiles - t - 1) / (tiles - t);
    const Left at{a.pairs + 2 * row * a.row, a.row, a.pair};
    float* const to = out + row * stride;
    switch (height) {
      case 1: productTile<1, ACROSS>(at, b, pairs, to, stride, add); break;
      case 2: productTile<2, ACROSS>(at, b, pairs, to, stride, add); break;
      case 3: productTile<3, ACROSS>(at, b, pairs, to, stride, add); break;
      case 4: productTile<4, ACROSS>(at, b, pairs, to, stride, add); break;
      case 5: productTile<5, ACROSS>(at, b, pairs, to, stride, add); break;
      default: productTile<6, ACROSS>(at, b, pairs, to, stride, add); break;
    }
    row += height;
  }
}

/// out [rows, columns] (+)= a b over `pairs` pairs; columns in whole vectors.
static void product(Left a, Right b, int64_t rows, int64_t columns, int64_t pairs, float* out, int64_t stride, bool add) {
  constexpr int most = Lanes::tileVectors;
  int64_t c = 0;
  for (; c + most * Lanes::width <= columns; c += most * Lanes::width)
    productStrip<most>(a, {b.pairs + 2 * c, b.columns}, rows, pairs, out + c, stride, add);
  for (; c + 2 * Lanes::width <= columns; c += 2 * Lanes::width)
    productStrip<2>(a, {b.pairs + 2 * c, b.columns}, rows, pairs, out + c, stride, add);
  for (; c < columns; c += Lanes::width)
    productStrip<1>(a, {b.pairs + 2 * c, b.columns}, rows, pairs, out + c, stride, add);
}
