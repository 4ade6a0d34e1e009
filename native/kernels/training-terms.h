// Owns what training asks of one row of logits: a token's log-probability, which has the bits that the draw gave it, the
// entropy, and the gradient of both. Included after sampling.h.

template <class E>
static TokenTerms termsOf(const E* logits, int64_t n, float divisor, int64_t target) {
  Mass mass;
  weigh(logits, n, divisor, mass);
  const float norm = mass.highest + mass.logTotal, logp = Operand<E>::read(logits[target]) / divisor - mass.highest - mass.logTotal;
  return {logp, entropyOf(logits, n, divisor, mass, -__builtin_inff()), norm};
}

static TokenTerms terms(Element element, const void* logits, int64_t n, float divisor, int64_t target) {
  return element == Element::f32 ? termsOf(static_cast<const float*>(logits), n, divisor, target)
                                 : termsOf(static_cast<const Bf16*>(logits), n, divisor, target);
}

/// With p the softmax of logits / divisor, and log p + entropy where its gradient is asked for:
/// (logp (onehot - p) - entropy p (log p + H)) / divisor.
template <class E>
static void termSlopesOf(const TermSlopes& job, E* to) {
  const E* const logits = static_cast<const E*>(job.logits);
  const float share = 1.0f / job.divisor, none = job.terms.norm - job.terms.norm;  // 0, or no number where there is one
  const float logp = job.logp * share + none;
  const F by = Lanes::set(job.divisor), norm = Lanes::set(job.terms.norm);
  const F constant = Lanes::set(-logp - (job.entropy == 0 ? 0 : job.entropy * share * job.terms.entropy)), along = Lanes::set(-job.entropy * share);
  const float at = Operand<E>::read(logits[job.target]);
  for (int64_t i = 0; i < job.count; i += Lanes::width) {
    const int64_t count = job.count - i;
    const F below = Lanes::div(loadUpTo(logits + i, count), by) - norm, p = exponential(below);
    storeUpTo(to + i, job.entropy == 0 ? p * constant : p * Lanes::fma(along, below, constant), count);
  }
  float room[Lanes::width];
  const float below = at / job.divisor - job.terms.norm;
  Lanes::store(room, exponential(Lanes::set(below)));
  put(to + job.target, room[0] * (-logp - (job.entropy == 0 ? 0 : job.entropy * share * (below + job.terms.entropy))) + logp);
}

static void termSlopes(Element element, const TermSlopes& job, void* to) {
  if (element == Element::f32) termSlopesOf(job, static_cast<float*>(to));
  else termSlopesOf(job, static_cast<Bf16*>(to));
}
