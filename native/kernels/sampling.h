// Owns how a token is drawn from a row of logits, without a sort: plainly, or from what bias, penalty, top-k, top-p and
// min-p leave. Included after body.h, once for each instruction set.

/// The softmax of one row: its weights are exp(logit / divisor - highest), summed here block by block.
struct Mass {
  static constexpr int64_t mostBlocks = 1024;
  float highest, logTotal;
  double total, sums[mostBlocks];
  int64_t block, blocks;
};

template <class E>
static void weigh(const E* logits, int64_t n, float divisor, Mass& mass) {
  const F by = Lanes::set(divisor);
  F largest = Lanes::set(-__builtin_inff());
  int64_t i = 0;
  for (; i + Lanes::width <= n; i += Lanes::width) largest = Lanes::max(largest, Lanes::load(logits + i));
  float most = Lanes::largest(largest);
  for (; i < n; i++) most = Operand<E>::read(logits[i]) > most ? Operand<E>::read(logits[i]) : most;
  mass.highest = most / divisor;
  const F offset = Lanes::set(mass.highest);

  const int64_t least = (n + Mass::mostBlocks - 1) / Mass::mostBlocks;
  const int64_t size = (least < 256 ? 256 : least) + Lanes::width - 1;
  mass.block = size - size % Lanes::width;
  mass.total = 0;
  mass.blocks = 0;
  for (int64_t first = 0; first < n; first += mass.block, mass.blocks++) {
    const int64_t end = first + mass.block < n ? first + mass.block : n;
    F part = Lanes::zero();
    for (i = first; i + Lanes::width <= end; i += Lanes::width)
      part = part + exponential(Lanes::div(Lanes::load(logits + i), by) - offset);
    float sum = Lanes::sum(part);
    if (i < end) {
      float room[Lanes::width];
      Lanes::store(room, exponential(Lanes::div(Lanes::loadSome(logits + i, end - i), by) - offset));
      for (int64_t j = 0; j < end - i; j++) sum += room[j];
    }
    mass.sums[mass.blocks] = sum;
    mass.total += sum;
  }
  mass.logTotal = static_cast<float>(__builtin_log(mass.total));
}

template <class E>
static int64_t likeliest(const E* logits, int64_t n) {
  int64_t best = 0;
  float most = Operand<E>::read(logits[0]);
  for (int64_t i = 1; i < n; i++) {
    const float x = Operand<E>::read(logits[i]);
    if (x > most || most != most) most = x, best = i;
  }
  return best;
}

template <class E>
static Sampled sampleOf(const SampleJob& job) {
  const E* const logits = static_cast<const E*>(job.logits);
  const int64_t n = job.vocabulary;
  const bool greedy = job.temperature == 0;
  const float divisor = greedy ? 1.0f : job.temperature;
  Mass mass;
  weigh(logits, n, divisor, mass);
  if (!(mass.total > 0)) return {-1, __builtin_nanf("")};
  const auto drawn = [&](int64_t id) {
    return Sampled{static_cast<int32_t>(id), Operand<E>::read(logits[id]) / divisor - mass.highest - mass.logTotal};
  };
  if (greedy) return drawn(likeliest(logits, n));
  const F by = Lanes::set(divisor), offset = Lanes::set(mass.highest);
  const double threshold = mass.total * static_cast<double>(job.uniform);
  double before = 0;
  int64_t chosen = 0;
  while (chosen < mass.blocks - 1 && before + mass.sums[chosen] < threshold) before += mass.sums[chosen++];
  // Sums in another order may leave the threshold just behind the block's end; then its last likely token is meant.
  int64_t id = -1;
  for (int64_t from = chosen; id < 0; from = from > 0 ? from - 1 : mass.blocks - 1) {
    const int64_t end = (from + 1) * mass.block < n ? (from + 1) * mass.block : n;
    for (int64_t i = from * mass.block; i < end; i += Lanes::width) {
      float room[Lanes::width];
      const int64_t count = end - i < Lanes::width ? end - i : Lanes::width;
      Lanes::store(room, exponential(Lanes::div(loadUpTo(logits + i, count), by) - offset));
      for (int64_t j = 0; j < count; j++) {
        before += room[j];
        if (room[j] > 0) id = i + j;
        if (id >= 0 && before >= threshold) return drawn(id);
      }
    }
  }
  return drawn(id);
}

static Sampled sample(const SampleJob& job) {
  return job.element == Element::f32 ? sampleOf<float>(job) : sampleOf<Bf16>(job);
}

/// The order of floats as that of whole numbers; both zeros are one, and what is no number comes last.
static inline uint32_t rankOf(float x) {
  if (x != x) return 0;
  uint32_t bits;
  const float one = x == 0 ? 0.0f : x;
  memcpy(&bits, &one, sizeof bits);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static inline float ofRank(uint32_t rank) {
  const uint32_t bits = rank >> 31 ? rank & 0x7fffffffu : ~rank;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/// Where a row in descending order is cut: the last score that is kept, and the amount of all above it.
struct Cut {
  float score;
  uint64_t before, goal;
};

/// The score at which the amounts, taken from the highest score down, reach wanted(their sum): a search by the digits of
/// the scores' ranks, three readings of the row. Amounts are whole numbers, so that no order of adding them matters.
template <class Amount, class Wanted>
static Cut cutWhere(const float* scores, int64_t n, const Amount& amount, const Wanted& wanted) {
  uint64_t amounts[2048];
  uint64_t before = 0, goal = 0;
  uint32_t found = 0;
  for (int level = 0; level < 3; level++) {
    const int shift = level == 0 ? 21 : level == 1 ? 10 : 0, width = level == 2 ? 10 : 11;
    const uint32_t last = (1u << width) - 1;
    for (uint32_t d = 0; d <= last; d++) amounts[d] = 0;
    for (int64_t i = 0; i < n; i++) {
      const uint32_t rank = rankOf(scores[i]);
      if (level == 0 || rank >> (shift + width) == found) amounts[(rank >> shift) & last] += amount(i);
    }
    if (level == 0) {
      uint64_t sum = 0;
      for (uint32_t d = 0; d <= last; d++) sum += amounts[d];
      goal = wanted(sum);
    }
    uint32_t digit = last;
    while (digit > 0 && before + amounts[digit] < goal) before += amounts[digit--];
    found = found << width | digit;
  }
  return {ofRank(found), before, goal};
}

/// Bias, penalty and bans on the logits, then the temperature: what top-k, top-p and min-p look at.
template <class E>
static void adjust(const DrawJob& job, float divisor, float* scores) {
  const E* const logits = static_cast<const E*>(job.logits);
  const int64_t n = job.vocabulary;
  for (int64_t i = 0; i < n; i += Lanes::width) storeUpTo(scores + i, loadUpTo(logits + i, n - i), n - i);
  for (int64_t k = 0; k < job.bannedCount; k++) scores[job.banned[k]] = -__builtin_inff();
  for (int64_t k = 0; k < job.biasCount; k++) scores[job.biased[k]] += job.bias[k];
  for (int64_t k = 0; k < job.seenCount; k++) {
    const int32_t id = job.seen[k];
    // From the logit and not from the score, which may have had its penalty already.
    float value = Operand<E>::read(logits[id]);
    for (int64_t b = 0; b < job.bannedCount; b++) value = job.banned[b] == id ? -__builtin_inff() : value;
    for (int64_t b = 0; b < job.biasCount; b++) value = job.biased[b] == id ? value + job.bias[b] : value;
    scores[id] = value < 0 ? value * job.penalty : value / job.penalty;
  }
  const F by = Lanes::set(divisor);
  for (int64_t i = 0; i < n; i += Lanes::width) storeUpTo(scores + i, Lanes::div(loadUpTo(scores + i, n - i), by), n - i);
}

/// What is kept of a row, in the order of ids: always so many of its likeliest. Of equal scores that top-p cuts through,
/// the lower ids are kept; top-k keeps all that equal its last.
struct Kept {
  const float* scores;
  const float* weights;
  int64_t n;
  float least;   // score of the last kept
  int64_t ties;  // how many of that score
  float minP;

  /// Calls visit(id) until it gives false.
  template <class Visit>
  void each(const Visit& visit) const {
    int64_t left = ties;
    for (int64_t i = 0; i < n; i++) {
      if (!(scores[i] >= least) || weights[i] < minP || scores[i] == -__builtin_inff()) continue;
      if (scores[i] == least && left-- <= 0) continue;
      if (!visit(i)) return;
    }
  }
};

/// Weights as whole numbers, so small that a row's sum fits.
static inline double unitFor(int64_t n) {
  int bits = 0;
  while ((int64_t{1} << bits) < n) bits++;
  return static_cast<double>(uint64_t{1} << (62 - bits));
}

static Kept keptOf(const DrawJob& job, const float* scores, const float* weights, double unit) {
  const int64_t n = job.vocabulary;
  Kept kept{scores, weights, n, -__builtin_inff(), n, job.minP};
  if (job.topK > 0 && job.topK < n) {
    const auto goal = static_cast<uint64_t>(job.topK);
    kept.least = cutWhere(scores, n, [](int64_t) { return uint64_t{1}; }, [&](uint64_t) { return goal; }).score;
  }
  if (job.topP < 1) {
    const auto amount = [&](int64_t i) { return scores[i] >= kept.least ? static_cast<uint64_t>(weights[i] * unit) : 0; };
    const auto wanted = [&](uint64_t sum) {
      const double share = __builtin_ceil(job.topP * static_cast<double>(sum));
      return share < 1 ? uint64_t{1} : static_cast<uint64_t>(share);
    };
    const Cut cut = cutWhere(scores, n, amount, wanted);
    int64_t at = 0;
    while (at < n - 1 && !(scores[at] == cut.score)) at++;
    const auto each = static_cast<uint64_t>(weights[at] * unit);
    kept.least = cut.score;
    kept.ties = each == 0 ? 1 : static_cast<int64_t>((cut.goal - cut.before + each - 1) / each);
  }
  return kept;
}

/// In nats, of the weights exp(logit / divisor - highest). A weight of 0 takes part as if its logit were `least` below the highest.
template <class E>
static float entropyOf(const E* logits, int64_t n, float divisor, const Mass& mass, float least = -100.0f) {
  const F by = Lanes::set(divisor), offset = Lanes::set(mass.highest), floor = Lanes::set(least);
  double sum = 0;
  for (int64_t first = 0; first < n; first += 4096) {
    const int64_t end = first + 4096 < n ? first + 4096 : n;
    F part = Lanes::zero();
    int64_t i = first;
    for (; i + Lanes::width <= end; i += Lanes::width) {
      const F below = Lanes::div(Lanes::load(logits + i), by) - offset;
      part = Lanes::fma(exponential(below), Lanes::max(below, floor), part);
    }
    sum += Lanes::sum(part);
    if (i < end) {
      const F below = Lanes::div(Lanes::loadSome(logits + i, end - i), by) - offset;
      float room[Lanes::width];
      Lanes::store(room, exponential(below) * Lanes::max(below, floor));
      for (int64_t j = 0; j < end - i; j++) sum += room[j];
    }
  }
  return static_cast<float>(__builtin_log(mass.total) - sum / mass.total);
}

/// The likeliest ids in descending order, of equals the lower ones, with their log-probabilities. Overwrites `scores`.
template <class E>
static void listLikeliest(const DrawJob& job, float divisor, const Mass& mass, float* scores) {
  const E* const logits = static_cast<const E*>(job.logits);
  const int64_t n = job.vocabulary, wanted = job.alternatives;
  if (wanted <= 0) return;
  for (int64_t i = 0; i < n; i += Lanes::width) storeUpTo(scores + i, loadUpTo(logits + i, n - i), n - i);
  const Cut cut = cutWhere(scores, n, [](int64_t) { return uint64_t{1}; }, [&](uint64_t) { return static_cast<uint64_t>(wanted); });
  int64_t ties = wanted - static_cast<int64_t>(cut.before), count = 0;
  for (int64_t i = 0; i < n && count < wanted; i++) {
    const float score = scores[i];
    if (!(score > cut.score) && (rankOf(score) != rankOf(cut.score) || ties-- <= 0)) continue;
    int64_t at = count++;
    for (; at > 0 && job.likeliestLogps[at - 1] < score; at--) {
      job.likeliestLogps[at] = job.likeliestLogps[at - 1];
      job.likeliest[at] = job.likeliest[at - 1];
    }
    job.likeliestLogps[at] = score;
    job.likeliest[at] = static_cast<int32_t>(i);
  }
  for (int64_t k = 0; k < count; k++) job.likeliestLogps[k] = job.likeliestLogps[k] / divisor - mass.highest - mass.logTotal;
}

template <class E>
static Drawn drawOf(const DrawJob& job, float* scores, float* weights) {
  const E* const logits = static_cast<const E*>(job.logits);
  const int64_t n = job.vocabulary;
  const bool greedy = job.temperature == 0;
  const float divisor = greedy ? 1.0f : job.temperature;
  Drawn drawn{-1, 0, __builtin_nanf(""), 0, 0, 0};
  adjust<E>(job, divisor, scores);
  Mass mass;
  weigh(scores, n, 1.0f, mass);
  if (!(mass.total > 0)) return drawn;
  if (greedy) {
    drawn.id = static_cast<int32_t>(likeliest(scores, n));
    drawn.kept = 1;
  } else {
    const F offset = Lanes::set(mass.highest);
    for (int64_t i = 0; i < n; i += Lanes::width) storeUpTo(weights + i, exponential(loadUpTo(scores + i, n - i) - offset), n - i);
    const double unit = unitFor(n);
    const Kept kept = keptOf(job, scores, weights, unit);
    uint64_t total = 0, before = 0;
    kept.each([&](int64_t i) {
      total += static_cast<uint64_t>(weights[i] * unit);
      drawn.kept++;
      return true;
    });
    const double threshold = static_cast<double>(total) * static_cast<double>(job.uniform);
    kept.each([&](int64_t i) {
      before += static_cast<uint64_t>(weights[i] * unit);
      drawn.id = static_cast<int32_t>(i);
      return static_cast<double>(before) < threshold;
    });
    drawn.samplingLogp = scores[drawn.id] - mass.highest - static_cast<float>(__builtin_log(static_cast<double>(total) / unit));
  }
  weigh(logits, n, divisor, mass);
  const float chosen = Operand<E>::read(logits[drawn.id]);
  drawn.logp = chosen / divisor - mass.highest - mass.logTotal;
  if (job.alternatives < 0) return drawn;
  drawn.entropy = entropyOf(logits, n, divisor, mass);
  listLikeliest<E>(job, divisor, mass, scores);
  if (divisor != 1) weigh(logits, n, 1.0f, mass);
  drawn.plainLogp = chosen - mass.highest - mass.logTotal;
  return drawn;
}

static Drawn draw(const DrawJob& job, float* scores, float* weights) {
  return job.element == Element::f32 ? drawOf<float>(job, scores, weights) : drawOf<Bf16>(job, scores, weights);
}
