// Owns the vector registers of AVX2 with FMA: eight floats. Included inside a namespace of its own by avx2.cpp.

struct Lanes {
  using F = __m256;
  struct Pairs {
    F even, odd;
  };
  static constexpr int width = 8;
  static constexpr int mixedHeads = 2;
  static constexpr int tileRows = 4;
  static constexpr int tileVectors = 2;

  static inline __m256i mask(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static inline F zero() { return _mm256_setzero_ps(); }
  static inline F set(float x) { return _mm256_set1_ps(x); }
  static inline F load(const float* p) { return _mm256_loadu_ps(p); }
  static inline F loadSome(const float* p, int64_t n) { return _mm256_maskload_ps(p, mask(n)); }
  static inline void store(float* p, F v) { _mm256_storeu_ps(p, v); }
  static inline void storeSome(float* p, F v, int64_t n) { _mm256_maskstore_ps(p, mask(n), v); }
  static inline F widened(__m128i raw) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
  }
  static inline F load(const Bf16* p) { return widened(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
  static inline F loadSome(const Bf16* p, int64_t n) {
    alignas(16) Bf16 room[8] = {};
    for (int64_t i = 0; i < 8 && i < n; i++) room[i] = p[i];
    return load(room);
  }
  static inline void store(Bf16* p, F v) {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m256i words = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc0), nan);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0xd8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }
  static inline void storeSome(Bf16* p, F v, int64_t n) {
    Bf16 room[8];
    store(room, v);
    for (int64_t i = 0; i < 8 && i < n; i++) p[i] = room[i];
  }
  static inline F load(const int8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static inline F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static inline F max(F a, F b) { return _mm256_max_ps(a, b); }
  static inline F div(F a, F b) { return _mm256_div_ps(a, b); }
  static inline F dropUpTo(F x, F limit, F v) { return _mm256_and_ps(v, _mm256_cmp_ps(x, limit, _CMP_NLE_UQ)); }
  static inline float sum(F v) {
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
  }
  static inline float largest(F v) {
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
  }
  static inline void sums(F a, F b, F c, F d, float* out) {
    const F u = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(u), _mm256_extractf128_ps(u, 1)));
  }
  static inline F round(F v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static inline F power(F n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
  }

  static inline Pairs pairs(const Bf16* p) {
    const __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(raw, 16)),
            _mm256_castsi256_ps(_mm256_and_si256(raw, _mm256_set1_epi32(static_cast<int>(0xffff0000u))))};
  }
  static inline Pairs pairOf(const Bf16* p) { return {set(widen(p[0])), set(widen(p[1]))}; }
  static inline Pairs pairs(const int8_t* p) {
    const __m256i both = _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return {_mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(both, 24), 24)),
            _mm256_cvtepi32_ps(_mm256_srai_epi32(both, 8))};
  }
  /// Two vectors' worth of whole numbers, which bf16 and f32 hold exactly.
  static inline void unpack(const int8_t* p, float* to) {
    store(to, load(p));
    store(to + width, load(p + width));
  }
  static inline void unpack(const int8_t* p, Bf16* to) {
    const __m256i low = _mm256_srli_epi32(_mm256_castps_si256(load(p)), 16);
    const __m256i high = _mm256_srli_epi32(_mm256_castps_si256(load(p + width)), 16);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), words);
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
