// Owns the vector registers of any processor: four floats, by the compiler's own vectors (SSE2, NEON). Included inside a
// namespace of its own by portable.cpp.

struct Lanes {
  typedef float F __attribute__((vector_size(16), aligned(4), may_alias));
  typedef uint32_t U __attribute__((vector_size(16), aligned(4), may_alias));
  /// Two vectors' worth of bf16.
  struct B {
    F even, odd;
  };
  static constexpr int width = 4;
  static constexpr int mixedHeads = 2;
  static constexpr int tileRows = 4;
  static constexpr int tileVectors = 2;

  static inline F zero() { return F{0, 0, 0, 0}; }
  static inline F set(float x) { return F{x, x, x, x}; }
  static inline F load(const float* p) { return *reinterpret_cast<const F*>(p); }
  static inline F loadSome(const float* p, int64_t n) {
    F v = zero();
    for (int i = 0; i < width && i < n; i++) v[i] = p[i];
    return v;
  }
  static inline void store(float* p, F v) { *reinterpret_cast<F*>(p) = v; }
  static inline void storeSome(float* p, F v, int64_t n) {
    for (int i = 0; i < width && i < n; i++) p[i] = v[i];
  }
  static inline F load(const Bf16* p) { return F{widen(p[0]), widen(p[1]), widen(p[2]), widen(p[3])}; }
  static inline F loadSome(const Bf16* p, int64_t n) {
    F v = zero();
    for (int i = 0; i < width && i < n; i++) v[i] = widen(p[i]);
    return v;
  }
  static inline void store(Bf16* p, F v) { storeSome(p, v, width); }
  static inline void storeSome(Bf16* p, F v, int64_t n) {
    for (int i = 0; i < width && i < n; i++) p[i] = narrow(v[i]);
  }
  static inline F load(const int8_t* p) {
    return F{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]), static_cast<float>(p[3])};
  }
  static inline F fma(F a, F b, F c) { return a * b + c; }
  /// The second where one of them is no number, as x86 has it.
  static inline F max(F a, F b) { return a > b ? a : b; }
  static inline F div(F a, F b) { return a / b; }
  /// 0 where x is at most the limit, else v.
  static inline F dropUpTo(F x, F limit, F v) { return x <= limit ? zero() : v; }
  static inline float sum(F v) { return (v[0] + v[2]) + (v[1] + v[3]); }
  static inline float largest(F v) {
    const float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
    return a > b ? a : b;
  }
  /// The sums of four vectors.
  static inline void sums(F a, F b, F c, F d, float* out) {
    out[0] = sum(a), out[1] = sum(b), out[2] = sum(c), out[3] = sum(d);
  }
  static inline F round(F v) {
    const F shift = set(12582912.0f);  // 1.5 x 2^23: what is added to it is rounded to a whole number
    return (v + shift) - shift;
  }
  /// 2^n for whole n from -126 to 127.
  static inline F power(F n) {
    typedef int32_t I __attribute__((vector_size(16)));
    const I bits = (__builtin_convertvector(n, I) + 127) << 23;
    return reinterpret_cast<const F&>(bits);
  }

  typedef B Pairs;
  static inline Pairs pairs(const Bf16* p) {
    const U raw = *reinterpret_cast<const U*>(p);
    const U even = raw << 16, odd = raw & 0xffff0000u;
    return {reinterpret_cast<const F&>(even), reinterpret_cast<const F&>(odd)};
  }
  static inline Pairs pairOf(const Bf16* p) { return {set(widen(p[0])), set(widen(p[1]))}; }
  static inline Pairs pairs(const int8_t* p) {
    return {F{static_cast<float>(p[0]), static_cast<float>(p[2]), static_cast<float>(p[4]), static_cast<float>(p[6])},
            F{static_cast<float>(p[1]), static_cast<float>(p[3]), static_cast<float>(p[5]), static_cast<float>(p[7])}};
  }
  /// Two vectors' worth of whole numbers, which bf16 and f32 hold exactly.
  static inline void unpack(const int8_t* p, float* to) {
    store(to, load(p));
    store(to + width, load(p + width));
  }
  static inline void unpack(const int8_t* p, Bf16* to) {
    for (int i = 0; i < 2 * width; i++) to[i] = narrow(static_cast<float>(p[i]));
  }
  static inline F dot(F sum, Pairs a, Pairs b) { return fma(a.odd, b.odd, fma(a.even, b.even, sum)); }
  static constexpr int transposedBytes = 0;  // none
  template <class V>
  static void transpose(V* rows);
  static inline F rounded(F v) {
    Bf16 room[width];
    store(room, v);
    return load(room);
  }
};
