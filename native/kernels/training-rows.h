// Owns what training computes of one row: the ways back of the gated SiLU and of the norm, the rotation of heads, and
// the folding of a norm into a matrix. Included after training-products.h. Gradients are computed in f32 and rounded once.

template <class E>
static void swigluBackOf(const E* both, const E* g, E* gboth, int64_t width) {
  const F one = Lanes::set(1.0f);
  const F least = Lanes::set(-88.0f);
  for (int64_t i = 0; i < width; i += Lanes::width) {
    const int64_t count = width - i;
    const F gate = loadUpTo(both + i, count), up = loadUpTo(both + width + i, count), slope = loadUpTo(g + i, count);
    const F share = Lanes::div(one, one + exponential(Lanes::zero() - Lanes::max(gate, least)));
    const F silu = gate * share;
    storeUpTo(gboth + i, slope * up * Lanes::fma(silu, one - share, share), count);
    storeUpTo(gboth + width + i, slope * Operand<E>::rounded(silu), count);
  }
}

static void swigluBack(Element element, const void* both, const void* g, void* gboth, int64_t width) {
  if (element == Element::f32)
    swigluBackOf(static_cast<const float*>(both), static_cast<const float*>(g), static_cast<float*>(gboth), width);
  else swigluBackOf(static_cast<const Bf16*>(both), static_cast<const Bf16*>(g), static_cast<Bf16*>(gboth), width);
}

/// With r = 1 / rms(x): r g - x r^3 (g . x) / width.
template <class E>
static void normaliseBackOf(const E* x, const E* g, E* gx, int64_t width, float epsilon) {
  F squares = Lanes::zero(), products = Lanes::zero();
  for (int64_t i = 0; i < width; i += Lanes::width) {
    const F v = loadUpTo(x + i, width - i);
    squares = Lanes::fma(v, v, squares);
    products = Lanes::fma(v, loadUpTo(g + i, width - i), products);
  }
  const float share = 1.0f / static_cast<float>(width);
  const float scale = 1.0f / __builtin_sqrtf(Lanes::sum(squares) * share + epsilon);
  const F r = Lanes::set(scale), along = Lanes::set(-scale * scale * scale * share * Lanes::sum(products));
  for (int64_t i = 0; i < width; i += Lanes::width) {
    const int64_t count = width - i;
    storeUpTo(gx + i, Lanes::fma(loadUpTo(x + i, count), along, loadUpTo(g + i, count) * r), count);
  }
}

static void normaliseBack(Element element, const void* x, const void* g, void* gx, int64_t width, float epsilon) {
  if (element == Element::f32)
    normaliseBackOf(static_cast<const float*>(x), static_cast<const float*>(g), static_cast<float*>(gx), width, epsilon);
  else normaliseBackOf(static_cast<const Bf16*>(x), static_cast<const Bf16*>(g), static_cast<Bf16*>(gx), width, epsilon);
}

/// The way back is the rotation by the opposite angle: the sines of the other half.
template <class E>
static void rotateBack(const E* g, const E* cos, const E* sin, E* gx, int64_t dim) {
  const int64_t half = dim / 2;
  for (int64_t at = 0; at < dim; at += half) {
    const int64_t other = at == 0 ? half : 0;
    for (int64_t i = 0; i < half; i += Lanes::width) {
      const int64_t count = half - i;
      const F straight = loadUpTo(g + at + i, count) * loadUpTo(cos + at + i, count);
      storeUpTo(gx + at + i, Lanes::fma(loadUpTo(g + other + i, count), loadUpTo(sin + other + i, count), straight), count);
    }
  }
}

template <class E>
static void rotateOf(const RotationJob& job, bool back) {
  const int64_t dim = job.dim;
  const E* const x = static_cast<const E*>(job.x);
  const E* const cos = static_cast<const E*>(job.cos);
  const E* const sin = static_cast<const E*>(job.sin);
  E* const y = static_cast<E*>(job.y);
  for (int64_t h = 0; h < job.turned; h++) {
    if (back) rotateBack(x + h * dim, cos, sin, y + h * dim, dim);
    else rotate(x + h * dim, cos, sin, y + h * dim, dim);
  }
  __builtin_memcpy(y + job.turned * dim, x + job.turned * dim, static_cast<size_t>((job.heads - job.turned) * dim) * sizeof(E));
}

static void rotateHeads(Element element, const RotationJob& job, bool back) {
  if (element == Element::f32) rotateOf<float>(job, back);
  else rotateOf<Bf16>(job, back);
}

template <class E>
static void foldOf(const float* row, const float* norm, E* y, int64_t width) {
  for (int64_t i = 0; i < width; i += Lanes::width)
    storeUpTo(y + i, loadUpTo(row + i, width - i) * loadUpTo(norm + i, width - i), width - i);
}

static void fold(Element element, const float* row, const float* norm, void* y, int64_t width) {
  if (element == Element::f32) foldOf(row, norm, static_cast<float*>(y), width);
  else foldOf(row, norm, static_cast<Bf16*>(y), width);
}

template <class E>
static void foldBackOf(const float* row, const float* norm, const E* g, float* grow, float* gnorm, int64_t width) {
  for (int64_t i = 0; i < width; i += Lanes::width) {
    const int64_t count = width - i;
    const F slope = loadUpTo(g + i, count);
    storeUpTo(grow + i, slope * loadUpTo(norm + i, count), count);
    storeUpTo(gnorm + i, Lanes::fma(slope, loadUpTo(row + i, count), loadUpTo(gnorm + i, count)), count);
  }
}

static void foldBack(Element element, const float* row, const float* norm, const void* g, float* grow, float* gnorm, int64_t width) {
  if (element == Element::f32) foldBackOf(row, norm, static_cast<const float*>(g), grow, gnorm, width);
  else foldBackOf(row, norm, static_cast<const Bf16*>(g), grow, gnorm, width);
}
