// Owns the vector registers of AVX-512: sixteen floats; with RECKON_BF16 the processor multiplies bf16 itself. Included
// inside a namespace of its own by avx512.cpp and avx512-bf16.cpp.

struct Lanes {
  using F = __m512;
  static constexpr int width = 16;
  static constexpr int mixedHeads = 4;
#ifdef RECKON_BF16
  static constexpr int tileRows = 6;
#else
  static constexpr int tileRows = 5;
#endif
  static constexpr int tileVectors = 4;

  static inline __mmask16 mask(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
  static inline F zero() { return _mm512_setzero_ps(); }
  static inline F set(float x) { return _mm512_set1_ps(x); }
  static inline F load(const float* p) { return _mm512_loadu_ps(p); }
  static inline F loadSome(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(mask(n), p); }
  static inline void store(float* p, F v) { _mm512_storeu_ps(p, v); }
  static inline void storeSome(float* p, F v, int64_t n) { _mm512_mask_storeu_ps(p, mask(n), v); }
  static inline F widened(__m256i raw) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
  }
  static inline F load(const Bf16* p) { return widened(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
  static inline F loadSome(const Bf16* p, int64_t n) { return widened(_mm256_maskz_loadu_epi16(mask(n), p)); }
#ifdef RECKON_BF16
  static inline __m256i narrowed(F v) { return (__m256i)_mm512_cvtneps_pbh(v); }
#else
  static inline __m256i narrowed(F v) {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7fc0)));
  }
#endif
  static inline F rounded(F v) { return widened(narrowed(v)); }
  static inline void store(Bf16* p, F v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrowed(v)); }
  static inline void storeSome(Bf16* p, F v, int64_t n) { _mm256_mask_storeu_epi16(p, mask(n), narrowed(v)); }
  static inline F load(const int8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static inline F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static inline F max(F a, F b) { return _mm512_max_ps(a, b); }
  static inline F div(F a, F b) { return _mm512_div_ps(a, b); }
  static inline F dropUpTo(F x, F limit, F v) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_NLE_UQ), v);
  }
  static inline float sum(F v) { return _mm512_reduce_add_ps(v); }
  static inline float largest(F v) { return _mm512_reduce_max_ps(v); }
  static inline void sums(F a, F b, F c, F d, float* out) {
    const F ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const F cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512d low = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    const __m512d high = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    const F u = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
    const __m256 half = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(u), 1));
    const __m256 v = _mm256_add_ps(_mm512_castps512_ps256(u), half);
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)));
  }
  static inline F round(F v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static inline F power(F n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
  }

  /// Sixteen rows of sixteen words, of which each becomes a lane of sixteen vectors.
  template <class V>
  static inline void transpose(V* rows) {
    __m512i a[16], b[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
      const __m512i even = (__m512i)rows[i], odd = (__m512i)rows[i + 1];
      a[i] = _mm512_unpacklo_epi32(even, odd);
      a[i + 1] = _mm512_unpackhi_epi32(even, odd);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 4)
#pragma GCC unroll 2
      for (int j = 0; j < 2; j++) {
        b[i + 2 * j] = _mm512_unpacklo_epi64(a[i + j], a[i + j + 2]);
        b[i + 2 * j + 1] = _mm512_unpackhi_epi64(a[i + j], a[i + j + 2]);
      }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const __m512i evenLow = _mm512_shuffle_i32x4(b[j], b[j + 4], 0x88), oddLow = _mm512_shuffle_i32x4(b[j], b[j + 4], 0xdd);
      const __m512i evenHigh = _mm512_shuffle_i32x4(b[j + 8], b[j + 12], 0x88), oddHigh = _mm512_shuffle_i32x4(b[j + 8], b[j + 12], 0xdd);
      rows[j] = (V)_mm512_shuffle_i32x4(evenLow, evenHigh, 0x88);
      rows[j + 8] = (V)_mm512_shuffle_i32x4(evenLow, evenHigh, 0xdd);
      rows[j + 4] = (V)_mm512_shuffle_i32x4(oddLow, oddHigh, 0x88);
      rows[j + 12] = (V)_mm512_shuffle_i32x4(oddLow, oddHigh, 0xdd);
    }
  }

  /// Two vectors' worth of whole numbers, which bf16 and f32 hold exactly.
  static inline void unpack(const int8_t* p, float* to) {
    store(to, load(p));
    store(to + width, load(p + width));
  }

#ifdef RECKON_BF16
  using Pairs = __m512i;
  static inline Pairs pairs(const Bf16* p) { return _mm512_loadu_si512(p); }
  /// (even[0], odd[0]), (even[1], odd[1]), ...
  static inline Pairs zipped(__m256i even, __m256i odd) {
    return _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
  }
  static inline Pairs zipped(const Bf16* even, const Bf16* odd) {
    return zipped(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(even)), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(odd)));
  }
  /// Of each four words, in 128 bits, the lower and the upper half of pairs (a, b).
  static inline Pairs interleavedLow(Pairs a, Pairs b) { return _mm512_unpacklo_epi16(a, b); }
  static inline Pairs interleavedHigh(Pairs a, Pairs b) { return _mm512_unpackhi_epi16(a, b); }
  /// Rounds sums of what those two gave, in the order of their elements.
  static inline void storeInterleaved(Bf16* p, F low, F high) {
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    store(p, _mm512_permutex2var_ps(low, first, high));
    store(p + width, _mm512_permutex2var_ps(low, second, high));
  }
  static inline Pairs pairOf(const Bf16* p) {
    int bits;
    memcpy(&bits, p, sizeof bits);
    return _mm512_set1_epi32(bits);
  }
  static inline Pairs pairs(const int8_t* p) { return (__m512i)_mm512_cvtne2ps_pbh(load(p + width), load(p)); }
  static inline void unpack(const int8_t* p, Bf16* to) { _mm512_storeu_si512(to, pairs(p)); }
  static inline F dot(F sum, Pairs a, Pairs b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
#else
  struct Pairs {
    F even, odd;
  };
  static inline Pairs pairs(const Bf16* p) {
    const __m512i raw = _mm512_loadu_si512(p);
    return {_mm512_castsi512_ps(_mm512_slli_epi32(raw, 16)),
            _mm512_castsi512_ps(_mm512_and_si512(raw, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
  }
  static inline Pairs pairOf(const Bf16* p) { return {set(widen(p[0])), set(widen(p[1]))}; }
  static inline Pairs pairs(const int8_t* p) {
    const __m512i both = _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return {_mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(both, 24), 24)),
            _mm512_cvtepi32_ps(_mm512_srai_epi32(both, 8))};
  }
  static inline void unpack(const int8_t* p, Bf16* to) {
    for (int i = 0; i < 2 * width; i += width) {
      const __m512i bits = _mm512_castps_si512(load(p + i));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
    }
  }
  static inline F dot(F sum, Pairs a, Pairs b) { return fma(a.odd, b.odd, fma(a.even, b.even, sum)); }
#endif
  /// `transpose` serves vectors of this size.
  static constexpr int transposedBytes = 64;
};
