// Owns the rounding of a weight's rows to 8 bit. Included after body.h, once for each instruction set.

template <class E>
static float quantiseOf(const E* row, int8_t* values, int64_t count) {
  F most = Lanes::zero();
  F fault = Lanes::zero();  // 0, or NaN once a number was not finite
  for (int64_t i = 0; i < count; i += Lanes::width) {
    const F v = loadUpTo(row + i, count - i);
    most = Lanes::max(most, Lanes::max(v, Lanes::zero() - v));
    fault = Lanes::fma(v, Lanes::zero(), fault);
  }
  const float scale = Lanes::largest(most) / 127.0f + Lanes::sum(fault);
  const float divisor = scale < 1.17549435e-38f ? 1.0f : scale;
  const F by = Lanes::set(divisor);
  for (int64_t i = 0; i < count; i += Lanes::width) {
    float room[Lanes::width];
    Lanes::store(room, Lanes::round(Lanes::div(loadUpTo(row + i, count - i), by)));
    for (int64_t j = 0; j < Lanes::width && i + j < count; j++) values[i + j] = static_cast<int8_t>(static_cast<int>(room[j]));
  }
  return divisor;
}

static float quantise(Element element, const void* row, int8_t* values, int64_t count) {
  if (element == Element::f32) return quantiseOf(static_cast<const float*>(row), values, count);
  return quantiseOf(static_cast<const Bf16*>(row), values, count);
}
