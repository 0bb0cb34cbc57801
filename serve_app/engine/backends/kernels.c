// The operations of a T5 for which PyTorch is slow on a CPU: integer products of few rows, attention of one query to a
// cache, self-attention of a prompt, and the normalisation.
//
// kernels.h says what each function computes; kernels.py builds this file with the machine's C compiler and loads it;
// compiled.py calls it. It needs AVX-512 VNNI (Intel's servers since 2019, AMD's since 2022); elsewhere eager.py
// computes the same by PyTorch. Each row, and each slot, is computed separately and always in the same order of
// operations, so a result does not depend on the rest of the batch (law 2).

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifndef __AVX512VNNI__
#error "these kernels need a processor with AVX-512 VNNI"
#endif
#include <immintrin.h>

enum {
    // A tile is what the innermost loops compute in registers.
    CHANNELS = 16,  // output channels whose weights are packed into one vector
    BLOCKS = 2,     // width of a product's tile, in blocks of CHANNELS output channels
    ROWS = 8,       // height of a product's tile, in rows of activations: each weight read is used for all of them
    QUERIES = 6,    // height of an attention's tile, in queries: each key and value read is used for all of them
    LANES = 16,     // floats in a vector register
    LINE = 32,      // 16-bit numbers in a cache line
    AHEAD = 24,     // tokens by which keys and values are prefetched
    MANY = 16,      // tokens from which on several threads are faster than one
};

typedef _Float16 half;
#include "kernels.h"

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));

static int threads = 1;

void set_threads(int count) { threads = count; }

// --- helpers --------------------------------------------------------------------------------------------------------

static int64_t up_to(int64_t multiple, int64_t count) { return (count + multiple - 1) / multiple * multiple; }

static inline vector widen(const half *x) {
    return (vector)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)x));
}

// x [count] -> y [count], clamped to the range of a `half`, +-65504.
static inline void narrow(const float *x, int64_t count, half *y) {
    for (int64_t i = 0; i < count; i++) {
        float bounded = x[i] < -65504 ? -65504 : x[i] > 65504 ? 65504 : x[i];
        y[i] = (half)bounded;
    }
}

static inline float total(vector x) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += x[i];
    return sum;
}

// A mask of the first `count` lanes of a vector; `count` may be negative or exceed LANES.
static inline __mmask16 first_lanes(int64_t count) {
    return count >= LANES ? 0xffff : count > 0 ? (__mmask16)((1 << count) - 1) : 0;
}

// e^x for x <= 0 as 2^n * 2^f, f in [-0.5, 0.5], with the Taylor series of 2^f (relative error below 1e-6). Unlike
// expf, the compiler can vectorise it.
static inline float exponential(float x) {
    float t = (x > -87.0f ? x : -87.0f) * 1.44269504f;
    float n = rintf(t);
    float f = t - n;
    float y = 1.54035304e-4f;
    y = y * f + 1.33335581e-3f;
    y = y * f + 9.61812911e-3f;
    y = y * f + 5.55041087e-2f;
    y = y * f + 2.40226507e-1f;
    y = y * f + 6.93147181e-1f;
    y = y * f + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return y * power;
}

// The softmax of `scores`, in place, but for its division: each becomes e^(score - largest), and their sum is returned.
// bias [count] is added to the scores first, unless it is 0.
static inline float numerators(float *scores, const float *bias, int64_t count) {
    if (bias)
        for (int64_t i = 0; i < count; i++) scores[i] += bias[i];
    float largest = scores[0];
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < count; i++) largest = scores[i] > largest ? scores[i] : largest;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) {
        scores[i] = exponential(scores[i] - largest);
        sum += scores[i];
    }
    return sum;
}

// --- normalisation --------------------------------------------------------------------------------------------------

void rms_norm(const float *x, const float *weight, float epsilon, int64_t rows, int64_t width, float *y) {
#pragma omp parallel for num_threads(threads) if (rows >= MANY)
    for (int64_t row = 0; row < rows; row++) {
        const float *in = x + row * width;
        float squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < width; i++) squares += in[i] * in[i];
        float scale = 1 / sqrtf(squares / (float)width + epsilon);
        for (int64_t i = 0; i < width; i++) y[row * width + i] = in[i] * scale * weight[i];
    }
}

// --- products -------------------------------------------------------------------------------------------------------

// Activations are quantized to rows of signed bytes. `precision` is the number of bytes of an activation, 1 or 2, and
// of rows of a token; two rows stand for 256 * first + second.
//
// Weights are packed as [channels / CHANNELS][depth / 4][CHANNELS][4], unsigned, with 128 for zero. So one vector holds
// four weights of each of CHANNELS channels, each lane sums for one channel, and no sum across lanes is needed.

typedef struct {
    int64_t depth;     // bytes of a row: the layer's width, rounded up to 4
    int8_t *bytes;     // [rows, depth], with room for whole tiles of ROWS rows
    int32_t *surplus;  // [rows]: 128 times the sum of the row, by which its products are too large
    float *scale;      // [tokens]
} activations;

int64_t linear_scratch(int64_t tokens, int64_t width, int64_t precision) {
    return up_to(ROWS, tokens * precision) * (up_to(4, width) / 4 + 2);
}

static activations activations_in(float *scratch, int64_t tokens, int64_t width, int64_t precision) {
    int64_t rows = up_to(ROWS, tokens * precision), depth = up_to(4, width);
    int32_t *surplus = (int32_t *)(scratch + rows);
    return (activations){depth, (int8_t *)(surplus + rows), surplus, scratch};
}

// A token's x [width] -> its one or two rows of bytes, their surplus, and the scale that turns them back into x.
static inline __attribute__((always_inline)) void quantize(const float *x, int64_t width, int64_t precision,
                                                           int64_t depth, int8_t *bytes, int32_t *surplus,
                                                           float *scale) {
    const float limit = precision == 1 ? 127 : 127 * 256;
    // The largest |x|, compared as integers: the bits of floats are ordered as the numbers are, then infinity, then
    // NaN. A comparison of floats would miss a NaN.
    __m512i top = _mm512_set1_epi32(0x00800000);  // the smallest normal float: a row of zeros must not divide by zero
    for (int64_t i = 0; i < width; i += LANES) {
        __m512i bits = _mm512_maskz_loadu_epi32(first_lanes(width - i), x + i);
        top = _mm512_max_epi32(top, _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)));
    }
    float largest = _mm512_cvtss_f32(_mm512_castsi512_ps(_mm512_set1_epi32(_mm512_reduce_max_epi32(top))));
    if (!isfinite(largest)) {  // no integer stands for that, so the scale makes every output of the token a NaN
        memset(bytes, 0, (size_t)(precision * depth));
        memset(surplus, 0, (size_t)precision * sizeof *surplus);
        *scale = NAN;
        return;
    }
    float factor = limit * (1 / largest);  // as PyTorch divides a number by a tensor
    int32_t first = 0, second = 0;
#pragma omp simd reduction(+ : first, second)
    for (int64_t i = 0; i < width; i++) {
        int32_t whole = (int32_t)rintf(x[i] * factor);
        int32_t high = precision == 1 ? whole : (whole + 128) >> 8;
        bytes[i] = (int8_t)high;
        first += high;
        if (precision == 2) {
            bytes[depth + i] = (int8_t)(whole - 256 * high);
            second += whole - 256 * high;
        }
    }
    for (int64_t row = 0; row < precision; row++) memset(bytes + row * depth + width, 0, (size_t)(depth - width));
    surplus[0] = 128 * first;
    if (precision == 2) surplus[1] = 128 * second;
    *scale = largest / limit;
}

// sums[r] = row r . weight for BLOCKS blocks of channels. `rows` is a constant at every call, so that the loops unroll.
static inline __attribute__((always_inline)) void multiply(const int8_t *bytes, int rows, const uint8_t *weight,
                                                           int64_t depth, __m512i sums[ROWS][BLOCKS]) {
    // _mm512_dpbusd_epi32 adds to each of 16 sums four products of an unsigned and a signed byte.
    __m512i sum[ROWS][BLOCKS];
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < BLOCKS; b++) sum[r][b] = _mm512_setzero_si512();
    for (int64_t k = 0; k < depth; k += 4) {
        __m512i w[BLOCKS];
        for (int b = 0; b < BLOCKS; b++) w[b] = _mm512_loadu_si512(weight + (b * depth + k) * CHANNELS);
        for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, bytes + r * depth + k, sizeof four);
            for (int b = 0; b < BLOCKS; b++) sum[r][b] = _mm512_dpbusd_epi32(sum[r][b], w[b], _mm512_set1_epi32(four));
        }
    }
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < BLOCKS; b++) sums[r][b] = sum[r][b];
}

// A token's one or two rows of integer sums, in one block of channels -> floats, not yet scaled by channel.
static inline __m512 floats(__m512i sums[][BLOCKS], int block, int64_t precision, const int32_t *surplus, float scale) {
    __m512 value[2];
    for (int64_t row = 0; row < precision; row++)
        value[row] = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[row][block], _mm512_set1_epi32(surplus[row])));
    if (precision == 2) value[0] = _mm512_fmadd_ps(value[0], _mm512_set1_ps(256), value[1]);
    return _mm512_mul_ps(value[0], _mm512_set1_ps(scale));
}

void linear(const float *x, const uint8_t *weight, const float *channel_scale, int64_t tokens, int64_t width,
            int64_t channels, int64_t precision, int64_t relu, int64_t add, float *scratch, float *y) {
    activations in = activations_in(scratch, tokens, width, precision);
#pragma omp parallel for num_threads(threads) if (tokens >= MANY)
    for (int64_t t = 0; t < tokens; t++) {
        int8_t *bytes = in.bytes + t * precision * in.depth;
        if (precision == 1) quantize(x + t * width, width, 1, in.depth, bytes, in.surplus + t, in.scale + t);
        else quantize(x + t * width, width, 2, in.depth, bytes, in.surplus + 2 * t, in.scale + t);
    }
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t c = 0; c < channels; c += BLOCKS * CHANNELS)
        for (int64_t first = 0; first < tokens * precision; first += ROWS) {
            __m512i sums[ROWS][BLOCKS];
            const int8_t *bytes = in.bytes + first * in.depth;
            const uint8_t *w = weight + c * in.depth;
            int64_t count = tokens * precision - first < ROWS ? tokens * precision - first : ROWS;
            if (count == 1) multiply(bytes, 1, w, in.depth, sums);
            else if (count == 2) multiply(bytes, 2, w, in.depth, sums);
            else if (count <= 4) multiply(bytes, 4, w, in.depth, sums);
            else multiply(bytes, ROWS, w, in.depth, sums);
            for (int64_t r = 0; r < count; r += precision)
                for (int b = 0; b < BLOCKS; b++) {
                    int64_t token = (first + r) / precision, channel = c + b * CHANNELS;
                    float *out = y + token * channels + channel;
                    __mmask16 there = first_lanes(channels - channel);
                    __m512 before = add ? _mm512_maskz_loadu_ps(there, out) : _mm512_setzero_ps();
                    __m512 value = floats(sums + r, b, precision, in.surplus + first + r, in.scale[token]);
                    value = _mm512_fmadd_ps(value, _mm512_loadu_ps(channel_scale + channel), before);
                    if (relu) value = _mm512_max_ps(_mm512_setzero_ps(), value);  // the second operand if one is a NaN
                    _mm512_mask_storeu_ps(out, there, value);
                }
        }
}

// --- attention ------------------------------------------------------------------------------------------------------

// y[i] = sum over k of left[i][k] * right[k], where each right[k] is a row of 2 * LANES floats.
static inline void combine(const float *left[QUERIES], const float *right, int64_t right_row, int64_t terms,
                           vector y[QUERIES][2]) {
    vector sum[QUERIES][2] = {{{0}}};
    for (int64_t k = 0; k < terms; k++) {
        vector first, second;
        memcpy(&first, right + k * right_row, sizeof first);
        memcpy(&second, right + k * right_row + LANES, sizeof second);
        for (int i = 0; i < QUERIES; i++) {
            sum[i][0] += left[i][k] * first;
            sum[i][1] += left[i][k] * second;
        }
    }
    memcpy(y, sum, sizeof sum);
}

// A head's keys, transposed for `combine`: [tokens, size] at a stride of `row` -> [size, stride], padded with zeros.
static void copy_columns(const float *x, int64_t tokens, int64_t row, int64_t size, int64_t stride, float *y) {
    for (int64_t first = 0; first < tokens; first += LANES) {  // so few that they stay in the first-level cache
        int64_t last = tokens - first < LANES ? tokens : first + LANES;
        for (int64_t k = 0; k < size; k++)
            for (int64_t j = first; j < last; j++) y[k * stride + j] = x[j * row + k];
    }
    for (int64_t k = 0; k < size; k++) memset(y + k * stride + tokens, 0, (size_t)(stride - tokens) * sizeof *y);
}

// A head's values, for `combine`: [tokens, size] at a stride of `row` -> [tokens, stride], padded with zeros.
static void copy_rows(const float *x, int64_t tokens, int64_t row, int64_t size, int64_t stride, float *y) {
    for (int64_t j = 0; j < tokens; j++) {
        memcpy(y + j * stride, x + j * row, (size_t)size * sizeof *y);
        memset(y + j * stride + size, 0, (size_t)(stride - size) * sizeof *y);
    }
}

static int64_t padded(int64_t count) { return up_to(2 * LANES, count); }

int64_t attend_prompt_scratch(int64_t tokens, int64_t heads, int64_t size) {
    return heads * (size * padded(tokens) + tokens * padded(size) + QUERIES * padded(tokens));
}

void attend_prompt(const float *qkv, int64_t tokens, int64_t heads, int64_t size, const float *bias, int64_t longest,
                   float *scratch, float *y) {
    int64_t row = 3 * heads * size, wide = padded(tokens), deep = padded(size);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t head = 0; head < heads; head++) {
        const float *queries = qkv + head * size, *nearest = bias + head * (2 * longest - 1) + longest - 1;
        float *keys = scratch + head * (size * wide + tokens * deep + QUERIES * wide);
        float *values = keys + size * wide, *weights = values + tokens * deep;
        copy_columns(queries + heads * size, tokens, row, size, wide, keys);
        copy_rows(queries + 2 * heads * size, tokens, row, size, deep, values);
        for (int64_t first = 0; first < tokens; first += QUERIES) {
            int64_t count = tokens - first < QUERIES ? tokens - first : QUERIES;
            const float *left[QUERIES];  // beyond `count` the first one again, whose results are not used
            float scale[QUERIES];
            vector sum[QUERIES][2];
            for (int64_t i = 0; i < QUERIES; i++) left[i] = queries + (first + (i < count ? i : 0)) * row;
            for (int64_t j = 0; j < wide; j += 2 * LANES) {
                combine(left, keys + j, wide, size, sum);
                for (int i = 0; i < QUERIES; i++) memcpy(weights + i * wide + j, sum[i], sizeof sum[i]);
            }
            for (int64_t i = 0; i < QUERIES; i++) left[i] = weights + (i < count ? i : 0) * wide;
            for (int64_t i = 0; i < count; i++)
                scale[i] = 1 / numerators(weights + i * wide, nearest - first - i, tokens);
            for (int64_t k = 0; k < size; k += 2 * LANES) {
                combine(left, values + k, deep, tokens, sum);
                for (int64_t i = 0; i < count; i++) {
                    float *out = y + ((first + i) * heads + head) * size + k;
                    for (int64_t n = 0; n < 2 * LANES && k + n < size; n++)
                        out[n] = sum[i][n / LANES][n % LANES] * scale[i];
                }
            }
        }
    }
}

// Prefetches; an address beyond the array is harmless.
static inline void prefetch(const half *x, int64_t count) {
    for (int64_t i = 0; i < count; i += LINE) __builtin_prefetch(x + i);
}

// Attention of one query [size] to keys and values [tokens, depth]; depth: size rounded up to LANES, padded with zeros.
// backwards: the position bias, by distance from the last key; 0: none.
static inline __attribute__((always_inline)) void attend_one(const float *query, const half *keys, const half *values,
                                                             const float *backwards, int64_t tokens, int64_t size,
                                                             int64_t depth, float *y) {
    float weights[tokens];
    vector q[depth / LANES], sum[depth / LANES];
    memset(q, 0, sizeof q);
    memset(sum, 0, sizeof sum);
    memcpy(q, query, (size_t)size * sizeof *query);
    for (int64_t j = 0; j < tokens; j++) {
        prefetch(keys + (j + AHEAD) * depth, depth);
        vector score = {0};
        for (int64_t k = 0; k < depth / LANES; k++) score += q[k] * widen(keys + j * depth + k * LANES);
        weights[j] = total(score) + (backwards ? backwards[tokens - 1 - j] : 0);
    }
    float scale = 1 / numerators(weights, 0, tokens);
    for (int64_t j = 0; j < tokens; j++) {
        prefetch(values + (j + AHEAD) * depth, depth);
        for (int64_t k = 0; k < depth / LANES; k++)
            sum[k] += weights[j] * scale * widen(values + j * depth + k * LANES);
    }
    memcpy(y, sum, (size_t)size * sizeof *y);
}

// The same; with constants for the usual size, T5's d_kv of 64, so that its loops unroll.
static void attend(const float *query, const half *keys, const half *values, const float *backwards, int64_t tokens,
                   int64_t size, int64_t depth, float *y) {
    if (size == 64) attend_one(query, keys, values, backwards, tokens, 64, 64, y);
    else attend_one(query, keys, values, backwards, tokens, size, depth, y);
}

void attend_to_prompt(const float *queries, const half *keys, const half *values, const int64_t *tokens, int64_t slots,
                      int64_t heads, int64_t capacity, int64_t size, int64_t depth, float *y) {
#pragma omp parallel for collapse(2) num_threads(threads) schedule(dynamic, 2)
    for (int64_t slot = 0; slot < slots; slot++)
        for (int64_t head = 0; head < heads; head++) {
            int64_t at = slot * heads + head, cache = at * capacity * depth;
            attend(queries + at * size, keys + cache, values + cache, 0, tokens[slot], size, depth, y + at * size);
        }
}

void attend_to_reply(const float *qkv, half *keys, half *values, const int64_t *positions, const float *bias,
                     int64_t slots, int64_t heads, int64_t capacity, int64_t size, int64_t depth, float *y) {
#pragma omp parallel for collapse(2) num_threads(threads) schedule(dynamic, 2)
    for (int64_t slot = 0; slot < slots; slot++)
        for (int64_t head = 0; head < heads; head++) {
            const float *query = qkv + (slot * 3 * heads + head) * size;
            int64_t at = slot * heads + head, cache = at * capacity * depth, last = cache + positions[slot] * depth;
            narrow(query + heads * size, size, keys + last);
            narrow(query + 2 * heads * size, size, values + last);
            attend(query, keys + cache, values + cache, bias + head * capacity, positions[slot] + 1, size, depth,
                   y + at * size);
        }
}

void store_prompt(const float *keys_values, int64_t tokens, int64_t heads, int64_t capacity, int64_t size,
                  int64_t depth, half *keys, half *values) {
#pragma omp parallel for num_threads(threads)
    for (int64_t head = 0; head < heads; head++)
        for (int64_t j = 0; j < tokens; j++) {
            const float *key = keys_values + (2 * j * heads + head) * size;
            narrow(key, size, keys + (head * capacity + j) * depth);
            narrow(key + heads * size, size, values + (head * capacity + j) * depth);
        }
}
