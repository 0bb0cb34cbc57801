// What differs between instruction sets, and nothing else. kernels.c is written in vectors of LANES lanes, which take one
// to four registers: so every sum is taken in the same order, and has the same bits, on every processor.
//
// A further instruction set is one more section of the first part: sizes, types, and a dozen lines of intrinsics.

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16 };  // of a vector

typedef uint16_t half;  // a 16-bit float, which is only widened and narrowed

// --- registers ------------------------------------------------------------------------------------------------------

// A dot product adds to each of REGISTER sums the products of GROUP weights and GROUP activations; the activations are
// the same for all sums. Weights are stored plus ZERO. A tile of ROWS rows and BLOCKS vectors is what the registers hold.
//
// times_plus rounds once. larger and smaller return the second operand or a NaN where one is a NaN. round takes the even
// neighbour of a half. total: see below.

#if defined __AVX512VNNI__  // Intel's servers since 2019, AMD's since 2022

#include <immintrin.h>
enum { REGISTER = 16, GROUP = 4, ZERO = 128, ROWS = 8, BLOCKS = 2 };
typedef int8_t activation;
typedef float float_register __attribute__((vector_size(64)));
typedef int32_t int_register __attribute__((vector_size(64)));

INLINE float_register register_times_plus(float_register a, float_register b, float_register c) {
    return _mm512_fmadd_ps(a, b, c);
}
INLINE float_register register_larger(float_register a, float_register b) { return _mm512_max_ps(a, b); }
INLINE float_register register_smaller(float_register a, float_register b) { return _mm512_min_ps(a, b); }
INLINE int_register register_larger_int(int_register a, int_register b) {
    return (int_register)_mm512_max_epi32((__m512i)a, (__m512i)b);
}
INLINE int_register register_round(float_register x) { return (int_register)_mm512_cvtps_epi32(x); }
INLINE float register_total(float_register x) {
    __m256 eight = _mm512_castps512_ps256(x) + _mm256_castpd_ps(_mm512_extractf64x4_pd((__m512d)x, 1));
    __m128 four = _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1);
    __m128 two = four + _mm_movehl_ps(four, four);
    return two[0] + two[1];
}
INLINE float_register register_widen(const half *x) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)x));
}
INLINE void register_narrow(float_register x, half *y) {
    _mm256_storeu_si256((void *)y, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
INLINE void register_shorten(int_register x, activation *y) {
    _mm_storeu_si128((void *)y, _mm512_cvtepi32_epi8((__m512i)x));
}
INLINE int_register register_weights(const int8_t *w) { return (int_register)_mm512_loadu_si512(w); }
INLINE int_register register_dot(int_register sum, int_register weights, int32_t x) {
    return (int_register)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)weights, _mm512_set1_epi32(x));
}

#elif defined __AVX2__ && defined __FMA__ && defined __F16C__  // Intel since 2013, AMD since 2015

#include <immintrin.h>
enum { REGISTER = 8, ROWS = 6, BLOCKS = 1 };
typedef float float_register __attribute__((vector_size(32)));
typedef int32_t int_register __attribute__((vector_size(32)));

INLINE float_register register_times_plus(float_register a, float_register b, float_register c) {
    return _mm256_fmadd_ps(a, b, c);
}
INLINE float_register register_larger(float_register a, float_register b) { return _mm256_max_ps(a, b); }
INLINE float_register register_smaller(float_register a, float_register b) { return _mm256_min_ps(a, b); }
INLINE int_register register_larger_int(int_register a, int_register b) {
    return (int_register)_mm256_max_epi32((__m256i)a, (__m256i)b);
}
INLINE int_register register_round(float_register x) { return (int_register)_mm256_cvtps_epi32(x); }
INLINE float register_total(float_register x) {
    __m128 four = _mm256_castps256_ps128(x) + _mm256_extractf128_ps(x, 1);
    __m128 two = four + _mm_movehl_ps(four, four);
    return two[0] + two[1];
}
INLINE float_register register_widen(const half *x) { return _mm256_cvtph_ps(_mm_loadu_si128((const void *)x)); }
INLINE void register_narrow(float_register x, half *y) {
    _mm_storeu_si128((void *)y, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
INLINE __m128i eight_words(int_register x) {
    return _mm_packs_epi32(_mm256_castsi256_si128((__m256i)x), _mm256_extracti128_si256((__m256i)x, 1));
}

#ifdef __AVXVNNI__  // Intel since 2021, AMD since 2024
enum { GROUP = 4, ZERO = 128 };
typedef int8_t activation;
INLINE void register_shorten(int_register x, activation *y) {
    _mm_storel_epi64((void *)y, _mm_packs_epi16(eight_words(x), eight_words(x)));
}
INLINE int_register register_weights(const int8_t *w) { return (int_register)_mm256_loadu_si256((const void *)w); }
INLINE int_register register_dot(int_register sum, int_register weights, int32_t x) {
    return (int_register)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)weights, _mm256_set1_epi32(x));
}
#else
// vpmaddubsw multiplies bytes, but its sums of two saturate at 16 bits. So both factors are widened to 16 bits: weights
// as they are read, activations as they are stored.
enum { GROUP = 2, ZERO = 0 };
typedef int16_t activation;
INLINE void register_shorten(int_register x, activation *y) { _mm_storeu_si128((void *)y, eight_words(x)); }
INLINE int_register register_weights(const int8_t *w) {
    return (int_register)_mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)w));
}
INLINE int_register register_dot(int_register sum, int_register weights, int32_t x) {
    return sum + (int_register)_mm256_madd_epi16((__m256i)weights, _mm256_set1_epi32(x));
}
#endif

#elif defined __ARM_FEATURE_DOTPROD  // ARM's servers since 2019, Apple's

#include <arm_neon.h>
enum { REGISTER = 4, GROUP = 4, ZERO = 0, ROWS = 6, BLOCKS = 1 };
typedef int8_t activation;
typedef float float_register __attribute__((vector_size(16)));
typedef int32_t int_register __attribute__((vector_size(16)));

INLINE float_register register_times_plus(float_register a, float_register b, float_register c) { return vfmaq_f32(c, a, b); }
INLINE float_register register_larger(float_register a, float_register b) { return vmaxq_f32(a, b); }
INLINE float_register register_smaller(float_register a, float_register b) { return vminq_f32(a, b); }
INLINE int_register register_larger_int(int_register a, int_register b) { return vmaxq_s32(a, b); }
INLINE int_register register_round(float_register x) { return vcvtnq_s32_f32(x); }
INLINE float register_total(float_register x) {
    float32x2_t two = vadd_f32(vget_low_f32(x), vget_high_f32(x));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
INLINE float_register register_widen(const half *x) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x))); }
INLINE void register_narrow(float_register x, half *y) { vst1_u16(y, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
INLINE void register_shorten(int_register x, activation *y) {
    int16x4_t words = vmovn_s32(x);
    int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    memcpy(y, &bytes, 4);
}
INLINE int_register register_weights(const int8_t *w) { return vreinterpretq_s32_s8(vld1q_s8(w)); }
INLINE int_register register_dot(int_register sum, int_register weights, int32_t x) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(weights), vreinterpretq_s8_s32(vdupq_n_s32(x)));
}

#else
#error "these kernels need a processor with AVX-512 VNNI, AVX2 (with FMA and F16C) or ARM's dot products"
#endif

// --- vectors --------------------------------------------------------------------------------------------------------

enum { PARTS = LANES / REGISTER };

typedef struct {
    float_register part[PARTS];
} floats;

typedef struct {
    int_register part[PARTS];
} ints;

// A vector whose every part is an expression of the parts [p] of others.
#define PARTWISE(type, expression)                            \
    type y;                                                   \
    for (int p = 0; p < PARTS; p++) y.part[p] = (expression); \
    return y

INLINE floats add(floats a, floats b) { PARTWISE(floats, a.part[p] + b.part[p]); }
INLINE floats subtract(floats a, floats b) { PARTWISE(floats, a.part[p] - b.part[p]); }
INLINE floats times(floats a, floats b) { PARTWISE(floats, a.part[p] * b.part[p]); }
INLINE floats times_plus(floats a, floats b, floats c) {
    PARTWISE(floats, register_times_plus(a.part[p], b.part[p], c.part[p]));
}
INLINE floats larger(floats a, floats b) { PARTWISE(floats, register_larger(a.part[p], b.part[p])); }
INLINE floats smaller(floats a, floats b) { PARTWISE(floats, register_smaller(a.part[p], b.part[p])); }
INLINE floats every(float x) { PARTWISE(floats, x - (float_register){0}); }
INLINE floats widen(const half *x) { PARTWISE(floats, register_widen(x + p * REGISTER)); }
INLINE floats from_ints(ints x) { PARTWISE(floats, __builtin_convertvector(x.part[p], float_register)); }
INLINE floats from_bits(ints x) { PARTWISE(floats, (float_register)x.part[p]); }

INLINE ints add_ints(ints a, ints b) { PARTWISE(ints, a.part[p] + b.part[p]); }
INLINE ints larger_ints(ints a, ints b) { PARTWISE(ints, register_larger_int(a.part[p], b.part[p])); }
INLINE ints every_int(int32_t x) { PARTWISE(ints, (int_register){0} + x); }
INLINE ints rounded(floats x) { PARTWISE(ints, register_round(x.part[p])); }
INLINE ints bits_of(floats x) { PARTWISE(ints, (int_register)x.part[p]); }

// By register: a copy of a whole vector may take the detour of a narrower register and of memory.
INLINE float_register register_load(const float *x) {
    float_register y;
    memcpy(&y, x, sizeof y);
    return y;
}
INLINE floats load(const float *x) { PARTWISE(floats, register_load(x + p * REGISTER)); }

INLINE void store(floats x, float *y) {
    for (int p = 0; p < PARTS; p++) memcpy(y + p * REGISTER, &x.part[p], sizeof x.part[p]);
}

// The first `count` numbers, then zeros; `count` may be negative or exceed LANES.
INLINE floats load_first(int64_t count, const float *x) {
    if (count >= LANES) return load(x);
    floats y = {{{0}}};
    if (count > 0) memcpy(&y, x, (size_t)count * sizeof *x);
    return y;
}

INLINE void store_first(int64_t count, floats x, float *y) {
    if (count >= LANES) store(x, y);
    else if (count > 0) memcpy(y, &x, (size_t)count * sizeof *y);
}

// Rounded to 16 bits, and clamped to their range, +-65504.
INLINE void narrow(floats x, half *y) {
    x = smaller(every(65504), larger(every(-65504), x));
    for (int p = 0; p < PARTS; p++) register_narrow(x.part[p], y + p * REGISTER);
}

INLINE void shorten(ints x, activation *y) {
    for (int p = 0; p < PARTS; p++) register_shorten(x.part[p], y + p * REGISTER);
}

INLINE ints load_weights(const int8_t *w) { PARTWISE(ints, register_weights(w + p * REGISTER * GROUP)); }
INLINE ints add_dot(ints sum, ints weights, int32_t x) {
    PARTWISE(ints, register_dot(sum.part[p], weights.part[p], x));
}

// One half of the lanes is added to the other until one number is left.
INLINE float total(floats x) {
    for (int count = PARTS / 2; count; count /= 2)
        for (int p = 0; p < count; p++) x.part[p] += x.part[p + count];
    return register_total(x.part[0]);
}

INLINE float highest(floats x) {
    float lanes[LANES];
    store(x, lanes);
    float y = lanes[0];
    for (int i = 1; i < LANES; i++) y = lanes[i] > y ? lanes[i] : y;
    return y;
}

INLINE int32_t highest_int(ints x) {
    int32_t lanes[LANES], y;
    memcpy(lanes, &x, sizeof lanes);
    y = lanes[0];
    for (int i = 1; i < LANES; i++) y = lanes[i] > y ? lanes[i] : y;
    return y;
}

INLINE int32_t total_int(ints x) {
    int32_t lanes[LANES], y = 0;
    memcpy(lanes, &x, sizeof lanes);
    for (int i = 0; i < LANES; i++) y += lanes[i];
    return y;
}
