// Owns causal attention of whole sequences for training, forward and back: of the weights only the logarithms of their
// sums are kept, and the way back computes them once more, some queries at a time. Included after training-products.h.

/// Below every score, and far enough from the smallest number that differences of two are finite.
constexpr float kHidden = -1e30f;

/// Rows of one head of one sequence, `stride` elements apart.
struct HeadRows {
  const Bf16* rows;
  int64_t stride;

  Left left(int64_t first) const { return {rows + first * stride, stride / 2, 1}; }
};

/// Queries q to q + rows of a sequence and the keys from to `to` (multiples of kColumns) that some of them see.
struct Block {
  int64_t q, rows, from, to;

  int64_t columns() const { return to - from; }
};

static Block blockAt(int64_t q, int64_t length, const int32_t* starts) {
  const int64_t rows = length - q < kQueries ? length - q : kQueries;
  int64_t from = starts ? starts[q] : 0;
  for (int64_t i = 1; starts && i < rows; i++) from = starts[q + i] < from ? starts[q + i] : from;
  return {q, rows, from / kColumns * kColumns, roundedUp(q + rows, kColumns)};
}

/// Rows as the right factor of a product with their transpose: pairs of neighbours [dim / 2, padded].
static void layAcross(HeadRows x, int64_t count, int64_t padded, int64_t dim, Bf16* to) {
  for (int64_t j = 0; j < dim / 2; j++, to += 2 * padded) {
    const Bf16* at = x.rows + 2 * j;
    for (int64_t t = 0; t < count; t++, at += x.stride) __builtin_memcpy(to + 2 * t, at, 2 * sizeof(Bf16));
    __builtin_memset(to + 2 * count, 0, static_cast<size_t>(padded - count) * 2 * sizeof(Bf16));
  }
}

/// Rows as the right factor of a product: two at a time side by side [padded / 2, dim]; those beyond `count` are zeros.
static void layPaired(HeadRows x, int64_t count, int64_t padded, int64_t dim, Bf16* to) {
  for (int64_t t = 0; t < padded; t += 2, to += 2 * dim) {
    const Bf16* const at = x.rows + t * x.stride;
    for (int64_t d = 0; d < dim; d += Lanes::width) {
      const F first = t < count ? Lanes::load(at + d) : Lanes::zero();
      storePairs(to + 2 * d, first, t + 1 < count ? Lanes::load(at + x.stride + d) : Lanes::zero());
    }
  }
}

/// Hides what query t of the block does not see in its row of scores.
static void hide(float* scores, const Block& block, int64_t t, const int32_t* starts) {
  for (int64_t c = starts ? starts[t] - block.from - 1 : -1; c >= 0; c--) scores[c] = kHidden;
  for (int64_t c = t + 1 - block.from; c < block.columns(); c++) scores[c] = kHidden;
}

/// Weights of one row from its raw scores, and the logarithm of their sum.
static float weighRow(float* scores, int64_t columns, float scale, Bf16* weights) {
  const F by = Lanes::set(scale);
  F largest = Lanes::set(kHidden);
  for (int64_t c = 0; c < columns; c += Lanes::width) {
    const F s = Lanes::rounded(Lanes::load(scores + c) * by);
    Lanes::store(scores + c, s);
    largest = Lanes::max(largest, s);
  }
  const float most = Lanes::largest(largest);
  const F top = Lanes::set(most);
  F total = Lanes::zero();
  for (int64_t c = 0; c < columns; c += Lanes::width) {
    const F e = exponential(Lanes::load(scores + c) - top);
    Lanes::store(scores + c, e);
    total = total + e;
  }
  const float sum = Lanes::sum(total);
  const F share = Lanes::set(1.0f / sum);
  for (int64_t c = 0; c < columns; c += Lanes::width) Lanes::store(weights + c, Lanes::load(scores + c) * share);
  return most + __builtin_logf(sum);
}

/// Where one group of one sequence lies, and the sizes that its parts share.
struct Place {
  const CausalJob& job;
  int64_t sequence, group, shared, padded, width;
  const int32_t* starts;
  float scale;

  Place(const CausalJob& of, int64_t at, int64_t which)
      : job(of), sequence(at), group(which), shared(of.heads / of.groups), padded(roundedUp(of.length, kColumns)),
        width((of.heads + 2 * of.groups) * of.dim), starts(of.starts ? of.starts + at * of.length : nullptr),
        scale(1.0f / __builtin_sqrtf(static_cast<float>(of.dim))) {}

  int64_t headOf(int64_t h) const { return group * shared + h; }
  int64_t keyPart() const { return job.heads + group; }
  int64_t valuePart() const { return job.heads + job.groups + group; }
  /// Part number `part` of the rows of qkv, or of something of that shape.
  template <class P>
  P* part(P* qkv, int64_t number) const { return qkv + sequence * job.length * width + number * job.dim; }
  HeadRows rowsOf(int64_t number) const { return {part(job.qkv, number), width}; }
  /// A head's rows of y, or of something of that shape.
  template <class P>
  P* output(P* y, int64_t head) const { return y + (sequence * job.length * job.heads + head) * job.dim; }
  float* logSums(int64_t head) const { return job.logSums + (sequence * job.heads + head) * job.length; }
};

static void causal(const CausalJob& job, int64_t sequence, int64_t group, float* scratch) {
  const Place place(job, sequence, group);
  const int64_t dim = job.dim, padded = place.padded, outStride = job.heads * dim;
  Bf16* const keys = reinterpret_cast<Bf16*>(scratch);
  Bf16* const values = keys + padded * dim;
  float* const scores = scratch + padded * dim;
  float* const sums = scores + kQueries * padded;
  Bf16* const weights = reinterpret_cast<Bf16*>(sums + kQueries * dim);
  layAcross(place.rowsOf(place.keyPart()), job.length, padded, dim, keys);
  layPaired(place.rowsOf(place.valuePart()), job.length, padded, dim, values);
  for (int64_t h = 0; h < place.shared; h++) {
    const int64_t head = place.headOf(h);
    const HeadRows queries = place.rowsOf(head);
    Bf16* const y = place.output(job.y, head);
    float* const logSums = place.logSums(head);
    for (int64_t q = 0; q < job.length; q += kQueries) {
      const Block block = blockAt(q, job.length, place.starts);
      product(queries.left(q), {keys + 2 * block.from, padded}, block.rows, block.columns(), dim / 2, scores, padded, false);
      for (int64_t i = 0; i < block.rows; i++) {
        hide(scores + i * padded, block, q + i, place.starts);
        logSums[q + i] = weighRow(scores + i * padded, block.columns(), place.scale, weights + i * padded);
      }
      product({weights, padded / 2, 1}, {values + block.from * dim, dim}, block.rows, dim, block.columns() / 2, sums, dim, false);
      for (int64_t i = 0; i < block.rows; i++)
        for (int64_t d = 0; d < dim; d += Lanes::width) Lanes::store(y + (q + i) * outStride + d, Lanes::load(sums + i * dim + d));
    }
  }
}

/// Where the way back keeps what it needs of one group.
struct BackScratch {
  Bf16 *keysAcross, *valuesAcross, *keysPaired;    // of all keys
  float *keySlopes, *valueSlopes;                  // [padded, dim]
  float *scores, *slopes;                          // [kQueries, padded]
  Bf16 *scoreSlopes;                               // [kQueries, padded]
  Bf16 *weightPairs, *scoreSlopePairs;             // [kQueries / 2, padded] pairs
  float* sums;                                     // [kQueries, dim]
  Bf16 *queryPairs, *slopePairs;                   // [kQueries / 2, dim] pairs

  BackScratch(float* room, int64_t padded, int64_t dim) {
    const auto floats = [&room](int64_t count) { float* const at = room; room += count; return at; };
    const auto halves = [&floats](int64_t count) { return reinterpret_cast<Bf16*>(floats(count / 2)); };
    keysAcross = halves(padded * dim), valuesAcross = halves(padded * dim), keysPaired = halves(padded * dim);
    keySlopes = floats(padded * dim), valueSlopes = floats(padded * dim);
    scores = floats(kQueries * padded), slopes = floats(kQueries * padded);
    scoreSlopes = halves(kQueries * padded), weightPairs = halves(kQueries * padded), scoreSlopePairs = halves(kQueries * padded);
    sums = floats(kQueries * dim);
    queryPairs = halves(kQueries * dim), slopePairs = halves(kQueries * dim);
  }
};

/// g . y of one row.
static float productOf(const Bf16* g, const Bf16* y, int64_t dim) {
  F sum = Lanes::zero();
  for (int64_t d = 0; d < dim; d += Lanes::width) sum = Lanes::fma(Lanes::load(g + d), Lanes::load(y + d), sum);
  return Lanes::sum(sum);
}

/// Weights and the gradients of their scores, of queries i and i + 1 of a block, where `both` exist.
static void slopesOfPair(const BackScratch& s, int64_t i, bool both, int64_t padded, int64_t columns, float scale, const float* logSums,
                         const float* along) {
  const F by = Lanes::set(scale);
  const F log0 = Lanes::set(logSums[0]), log1 = Lanes::set(both ? logSums[1] : 0.0f);
  const F along0 = Lanes::set(along[0]), along1 = Lanes::set(along[1]);
  const float* const scores = s.scores + i * padded;
  const float* const slopes = s.slopes + i * padded;
  Bf16* const rows = s.scoreSlopes + i * padded;
  for (int64_t c = 0; c < columns; c += Lanes::width) {
    const F w0 = exponential(Lanes::rounded(Lanes::load(scores + c) * by) - log0);
    const F d0 = w0 * (Lanes::load(slopes + c) - along0);
    F w1 = Lanes::zero(), d1 = Lanes::zero();
    if (both) {
      w1 = exponential(Lanes::rounded(Lanes::load(scores + padded + c) * by) - log1);
      d1 = w1 * (Lanes::load(slopes + padded + c) - along1);
      Lanes::store(rows + padded + c, d1);
    }
    Lanes::store(rows + c, d0);
    storePairs(s.weightPairs + i * padded + 2 * c, w0, w1);
    storePairs(s.scoreSlopePairs + i * padded + 2 * c, d0, d1);
  }
}

/// The gradients of one block's queries, and its share in those of the keys and values.
static void blockBack(const CausalSlopes& slopes, const Place& place, const BackScratch& s, int64_t head, const Block& block) {
  const CausalJob& job = slopes.job;
  const int64_t dim = job.dim, padded = place.padded, outStride = job.heads * dim, columns = block.columns(), q = block.q;
  const HeadRows queries = place.rowsOf(head);
  const Bf16* const y = place.output(static_cast<const Bf16*>(job.y), head);
  const HeadRows g{place.output(slopes.g, head), outStride};
  product(queries.left(q), {s.keysAcross + 2 * block.from, padded}, block.rows, columns, dim / 2, s.scores, padded, false);
  product(g.left(q), {s.valuesAcross + 2 * block.from, padded}, block.rows, columns, dim / 2, s.slopes, padded, false);
  for (int64_t i = 0; i < block.rows; i += 2) {
    const bool both = i + 1 < block.rows;
    float along[2] = {0, 0};
    for (int64_t j = 0; j <= static_cast<int64_t>(both); j++) {
      const int64_t row = (q + i + j) * outStride;
      hide(s.scores + (i + j) * padded, block, q + i + j, place.starts);
      along[j] = productOf(g.rows + row, y + row, dim);
    }
    slopesOfPair(s, i, both, padded, columns, place.scale, place.logSums(head) + q + i, along);
  }
  product({s.scoreSlopes, padded / 2, 1}, {s.keysPaired + block.from * dim, dim}, block.rows, dim, columns / 2, s.sums, dim, false);
  const F by = Lanes::set(place.scale);
  Bf16* const to = place.part(slopes.gqkv, head);
  for (int64_t i = 0; i < block.rows; i++)
    for (int64_t d = 0; d < dim; d += Lanes::width) Lanes::store(to + (q + i) * place.width + d, Lanes::load(s.sums + i * dim + d) * by);
  const int64_t even = roundedUp(block.rows, 2);
  layPaired({queries.rows + q * queries.stride, queries.stride}, block.rows, even, dim, s.queryPairs);
  layPaired({g.rows + q * g.stride, g.stride}, block.rows, even, dim, s.slopePairs);
  const int64_t at = block.from * dim;
  product({s.weightPairs, 1, padded}, {s.slopePairs, dim}, columns, dim, even / 2, s.valueSlopes + at, dim, true);
  product({s.scoreSlopePairs, 1, padded}, {s.queryPairs, dim}, columns, dim, even / 2, s.keySlopes + at, dim, true);
}

static void causalBack(const CausalSlopes& slopes, int64_t sequence, int64_t group, float* scratch) {
  const CausalJob& job = slopes.job;
  const Place place(job, sequence, group);
  const int64_t dim = job.dim, padded = place.padded;
  const BackScratch s(scratch, padded, dim);
  const HeadRows keys = place.rowsOf(place.keyPart()), values = place.rowsOf(place.valuePart());
  layAcross(keys, job.length, padded, dim, s.keysAcross);
  layAcross(values, job.length, padded, dim, s.valuesAcross);
  layPaired(keys, job.length, padded, dim, s.keysPaired);
  for (int64_t i = 0; i < padded * dim; i += Lanes::width) {
    Lanes::store(s.keySlopes + i, Lanes::zero());
    Lanes::store(s.valueSlopes + i, Lanes::zero());
  }
  for (int64_t h = 0; h < place.shared; h++)
    for (int64_t q = 0; q < job.length; q += kQueries)
      blockBack(slopes, place, s, place.headOf(h), blockAt(q, job.length, place.starts));
  const F by = Lanes::set(place.scale);
  Bf16* const gkeys = place.part(slopes.gqkv, place.keyPart());
  Bf16* const gvalues = place.part(slopes.gqkv, place.valuePart());
  for (int64_t t = 0; t < job.length; t++)
    for (int64_t d = 0; d < dim; d += Lanes::width) {
      Lanes::store(gkeys + t * place.width + d, Lanes::load(s.keySlopes + t * dim + d) * by);
      Lanes::store(gvalues + t * place.width + d, Lanes::load(s.valueSlopes + t * dim + d));
    }
}
