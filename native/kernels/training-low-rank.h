// Owns the products of a low-rank update, all with rows [width] of activations on one side and a few f32 rows [width] of a
// factor on the other. Included after training-rows.h. Sums are in f32, in an order that no number of threads changes.

/// hidden[n, r] = scale * x[n] . factor[r] for ROWS rows of x and COUNT of the factor.
template <class E, int ROWS, int COUNT>
static void contractTile(const LowRankJob& job, int64_t n, int64_t r) {
  const E* const x = static_cast<const E*>(job.x) + n * job.stride;
  const float* const factor = job.factor + r * job.width;
  F sums[ROWS][COUNT];
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 8
    for (int j = 0; j < COUNT; j++) sums[i][j] = Lanes::zero();
  for (int64_t c = 0; c < job.width; c += Lanes::width) {
    const int64_t count = job.width - c;
    F v[ROWS];
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) v[i] = loadUpTo(x + i * job.stride + c, count);
#pragma GCC unroll 8
    for (int j = 0; j < COUNT; j++) {
      const F w = loadUpTo(factor + j * job.width + c, count);
#pragma GCC unroll 8
      for (int i = 0; i < ROWS; i++) sums[i][j] = Lanes::fma(v[i], w, sums[i][j]);
    }
  }
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < COUNT; j++) job.hidden[(n + i) * job.rank + r + j] = job.scale * Lanes::sum(sums[i][j]);
}

template <class E>
static void contractOf(const LowRankJob& job, int64_t begin, int64_t end) {
  for (int64_t n = begin; n < end;) {
    const bool four = end - n >= 4;
    for (int64_t r = 0; r < job.rank;) {
      const bool all = job.rank - r >= 4;
      if (four && all) contractTile<E, 4, 4>(job, n, r);
      else if (four) contractTile<E, 4, 1>(job, n, r);
      else if (all) contractTile<E, 1, 4>(job, n, r);
      else contractTile<E, 1, 1>(job, n, r);
      r += all ? 4 : 1;
    }
    n += four ? 4 : 1;
  }
}

static void contract(Element element, const LowRankJob& job, int64_t begin, int64_t end) {
  if (element == Element::f32) contractOf<float>(job, begin, end);
  else contractOf<Bf16>(job, begin, end);
}

static void contractMany(Element element, const LowRankJob& job, int64_t begin, int64_t end, void*) { contract(element, job, begin, end); }

/// y[n, c] += hidden[n] . factor[:, c], rounded once, for ROWS rows and ACROSS vectors of columns.
template <class E, int ROWS, int ACROSS>
static inline void spreadTile(const LowRankJob& job, int64_t n, int64_t c) {
  const int64_t count = job.width - c;
  F sums[ROWS][ACROSS];
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 8
    for (int j = 0; j < ACROSS; j++) sums[i][j] = Lanes::zero();
  for (int64_t r = 0; r < job.rank; r++) {
    F w[ACROSS];
#pragma GCC unroll 8
    for (int j = 0; j < ACROSS; j++) w[j] = loadUpTo(job.factor + r * job.width + c + j * Lanes::width, count - j * Lanes::width);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
      const F h = Lanes::set(job.hidden[(n + i) * job.rank + r]);
#pragma GCC unroll 8
      for (int j = 0; j < ACROSS; j++) sums[i][j] = Lanes::fma(h, w[j], sums[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 8
    for (int j = 0; j < ACROSS; j++) {
      E* const y = static_cast<E*>(job.y) + (n + i) * job.width + c + j * Lanes::width;
      storeUpTo(y, loadUpTo(y, count - j * Lanes::width) + sums[i][j], count - j * Lanes::width);
    }
}

template <class E, int ROWS>
static void spreadRows(const LowRankJob& job, int64_t n) {
  constexpr int across = Lanes::width == 16 ? 4 : 2;
  int64_t c = 0;
  for (; c + across * Lanes::width <= job.width; c += across * Lanes::width) spreadTile<E, ROWS, across>(job, n, c);
  for (; c < job.width; c += Lanes::width) spreadTile<E, ROWS, 1>(job, n, c);
}

template <class E>
static void spreadOf(const LowRankJob& job, int64_t begin, int64_t end) {
  int64_t n = begin;
  for (; n + 4 <= end; n += 4) spreadRows<E, 4>(job, n);
  for (; n < end; n++) spreadRows<E, 1>(job, n);
}

static void spread(Element element, const LowRankJob& job, int64_t begin, int64_t end) {
  if (element == Element::f32) spreadOf<float>(job, begin, end);
  else spreadOf<Bf16>(job, begin, end);
}

/// slopes[r, c] = sum over n of hidden[n, r] x[n, c], for COUNT rows of the factor and ACROSS vectors of columns.
template <class E, int COUNT, int ACROSS>
static inline void slopeTile(const LowRankJob& job, int64_t r, int64_t c) {
  const int64_t count = job.width - c;
  const E* x = static_cast<const E*>(job.x) + c;
  const float* hidden = job.hidden + r;
  F sums[COUNT][ACROSS];
#pragma GCC unroll 8
  for (int i = 0; i < COUNT; i++)
#pragma GCC unroll 8
    for (int j = 0; j < ACROSS; j++) sums[i][j] = Lanes::zero();
  for (int64_t n = 0; n < job.rows; n++, x += job.stride, hidden += job.rank) {
    F v[ACROSS];
#pragma GCC unroll 8
    for (int j = 0; j < ACROSS; j++) v[j] = loadUpTo(x + j * Lanes::width, count - j * Lanes::width);
    // Rows are too far apart to be foreseen.
    __builtin_prefetch(x + 16 * job.stride);
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; i++) {
      const F h = Lanes::set(hidden[i]);
#pragma GCC unroll 8
      for (int j = 0; j < ACROSS; j++) sums[i][j] = Lanes::fma(h, v[j], sums[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < COUNT; i++)
#pragma GCC unroll 8
    for (int j = 0; j < ACROSS; j++)
      storeUpTo(job.slopes + (r + i) * job.width + c + j * Lanes::width, sums[i][j], count - j * Lanes::width);
}

template <class E>
static void slopesOf(const LowRankJob& job, int64_t begin, int64_t end) {
  constexpr int most = Lanes::width == 16 ? 8 : 4;
  for (int64_t c = begin; c < end;) {
    const bool two = end - c >= 2 * Lanes::width;
    for (int64_t r = 0; r < job.rank;) {
      const bool all = job.rank - r >= most;
      if (two && all) slopeTile<E, most, 2>(job, r, c);
      else if (two) slopeTile<E, 1, 2>(job, r, c);
      else if (all) slopeTile<E, most, 1>(job, r, c);
      else slopeTile<E, 1, 1>(job, r, c);
      r += all ? most : 1;
    }
    c += two ? 2 * Lanes::width : Lanes::width;
  }
}

static void factorSlopes(Element element, const LowRankJob& job, int64_t begin, int64_t end, void*) {
  if (element == Element::f32) slopesOf<float>(job, begin, end);
  else slopesOf<Bf16>(job, begin, end);
}
