// What PyTorch does slowly for a T5 on a CPU: products with few rows, attention of one query, and the passes between.
//
// compiled.py builds this file with the machine's C compiler and calls it, where the processor has AVX-512 VNNI (Intel's
// servers since 2019, AMD's since 2022); eager.py computes the same with PyTorch alone. Every array is contiguous and
// row-major unless a stride is given. Each row, and each slot, is computed by itself and always in the same order, so a
// reply is the same in any company (law 2).

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifndef __AVX512VNNI__
#error "these kernels need a processor with AVX-512 VNNI"
#endif
#include <immintrin.h>

enum {
    CHANNELS = 16,  // of a vector of packed weights
    BLOCKS = 2,     // of a product's tile: as many such vectors are read side by side
    ROWS = 8,       // of a product's tile: as many tokens share one reading of the weights
    LANES = 16,     // floats of a vector
    LINE = 32,      // 16-bit numbers that memory hands over at once
    AHEAD = 24,     // keys, or values, that are asked for before they are needed
    QUERIES = 6,    // of an attention's tile: as many share one reading of the keys, and of the values
};

typedef _Float16 half;
typedef float vector __attribute__((vector_size(LANES * sizeof(float))));

static int threads = 1;

void set_threads(int count) { threads = count; }

// --- small things ---------------------------------------------------------------------------------------------------

static inline vector widen(const half *x) {
    return (vector)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)x));
}

// x [count] -> y, of which a `half` is at most 65504 in size.
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

// e^x for x <= 0 by 2^n * 2^f, f in [-0.5, 0.5], with 2^f's Taylor series (relative error below 1e-6): unlike expf, a
// loop over it becomes vector instructions.
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

// Scores -> weights e^(score - largest), not yet divided by their sum, which is returned.
static inline float soften(float *scores, int64_t count) {
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

// --- between the products -------------------------------------------------------------------------------------------

void rms_norm(const float *x, const float *weight, float epsilon, int64_t rows, int64_t width, float *y) {
#pragma omp parallel for num_threads(threads) if (rows >= 16)
    for (int64_t row = 0; row < rows; row++) {
        const float *in = x + row * width;
        float squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < width; i++) squares += in[i] * in[i];
        float scale = 1 / sqrtf(squares / (float)width + epsilon);
        for (int64_t i = 0; i < width; i++) y[row * width + i] = in[i] * scale * weight[i];
    }
}

// x [rows, width] -> integers of one byte or two, and each row's scale, so that integer * scale is about x.
// q: [rows, bytes, width]; of two bytes the first counts 256 times.
void quantize(const float *x, int64_t rows, int64_t width, int64_t bytes, int8_t *q, float *scale) {
    const float limit = bytes == 1 ? 127 : 127 * 256;
#pragma omp parallel for num_threads(threads) if (rows >= 16)
    for (int64_t row = 0; row < rows; row++) {
        const float *in = x + row * width;
        int8_t *out = q + row * bytes * width;
        float largest = 1.17549435e-38f;  // the smallest normal float: a row of zeros must not divide by zero
#pragma omp simd reduction(max : largest)
        for (int64_t i = 0; i < width; i++) largest = fabsf(in[i]) > largest ? fabsf(in[i]) : largest;
        float factor = limit * (1 / largest);  // as PyTorch divides a number by a tensor
        if (bytes == 1)
            for (int64_t i = 0; i < width; i++) out[i] = (int8_t)(int32_t)rintf(in[i] * factor);
        else
            for (int64_t i = 0; i < width; i++) {
                int32_t whole = (int32_t)rintf(in[i] * factor), high = (whole + 128) >> 8;
                out[i] = (int8_t)high;
                out[width + i] = (int8_t)(whole - 256 * high);
            }
        scale[row] = largest / limit;
    }
}

// The sum of a token's products: of two bytes, the second's sum is `next` numbers on.
static inline float joined(const int32_t *sum, int64_t bytes, int64_t next) {
    return bytes == 1 ? (float)sum[0] : 256 * (float)sum[0] + (float)sum[next];
}

// Integer sums [rows, bytes, channels] -> floats, by the scale of their row and of their output channel.
void rescale(const int32_t *sums, const float *row_scale, const float *channel_scale, int64_t rows, int64_t bytes,
             int64_t channels, float *y) {
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < channels; i++)
            y[row * channels + i] =
                joined(sums + row * bytes * channels + i, bytes, channels) * row_scale[row] * channel_scale[i];
}

// --- products with few rows -----------------------------------------------------------------------------------------

// Weights are packed for this: [channels / CHANNELS][width / 4][CHANNELS][4], unsigned with a zero of 128. So one vector
// holds four weights of each of CHANNELS channels, and its sums need not be added up across the vector.

// sums[r] = x[r] . weight for BLOCKS blocks of channels; `rows` is a constant wherever this is inlined.
static inline __attribute__((always_inline)) void multiply_tile(const int8_t *x, int rows, const uint8_t *weight,
                                                                int64_t width,
                                                                int32_t sums[ROWS][BLOCKS][CHANNELS]) {
    // One instruction: 16 sums of four products of an unsigned and a signed byte.
    __m512i sum[ROWS][BLOCKS];
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < BLOCKS; b++) sum[r][b] = _mm512_setzero_si512();
    for (int64_t k = 0; k < width; k += 4) {
        __m512i w[BLOCKS];
        for (int b = 0; b < BLOCKS; b++) w[b] = _mm512_loadu_si512(weight + (b * width + k) * CHANNELS);
        for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, x + r * width + k, sizeof four);
            for (int b = 0; b < BLOCKS; b++) sum[r][b] = _mm512_dpbusd_epi32(sum[r][b], w[b], _mm512_set1_epi32(four));
        }
    }
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < BLOCKS; b++) _mm512_storeu_si512(sums[r][b], sum[r][b]);
}

// y [rows, channels] = x weight^T, in integers with their scales. x: [rows, bytes, width] as from `quantize`, with room
// for whole tiles of ROWS; width: a multiple of 4; weight: packed, in whole tiles of BLOCKS * CHANNELS channels. Each
// weight is read from memory once for all rows.
void multiply(const int8_t *x, const float *row_scale, const uint8_t *weight, const float *channel_scale, int64_t rows,
              int64_t bytes, int64_t channels, int64_t width, float *y) {
    int64_t lines = rows * bytes;
    int32_t share[lines];  // of the weights' zero in a line's sums
    for (int64_t r = 0; r < lines; r++) {
        share[r] = 0;
        for (int64_t k = 0; k < width; k++) share[r] += 128 * x[r * width + k];
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t c = 0; c < channels; c += BLOCKS * CHANNELS) {
        int64_t here = channels - c < BLOCKS * CHANNELS ? channels - c : BLOCKS * CHANNELS;
        for (int64_t r = 0; r < lines; r += ROWS) {
            int32_t sums[ROWS][BLOCKS][CHANNELS];
            const int8_t *in = x + r * width;
            const uint8_t *w = weight + c * width;
            int64_t count = lines - r < ROWS ? lines - r : ROWS;
            if (count == 1) multiply_tile(in, 1, w, width, sums);
            else if (count == 2) multiply_tile(in, 2, w, width, sums);
            else if (count <= 4) multiply_tile(in, 4, w, width, sums);
            else multiply_tile(in, ROWS, w, width, sums);
            for (int64_t i = 0; i < count; i += bytes) {
                int64_t row = (r + i) / bytes;
                int32_t *sum = &sums[i][0][0];
                for (int64_t n = 0; n < bytes; n++)
                    for (int64_t j = 0; j < here; j++) sum[n * BLOCKS * CHANNELS + j] -= share[r + i + n];
                for (int64_t j = 0; j < here; j++)
                    y[row * channels + c + j] =
                        joined(sum + j, bytes, BLOCKS * CHANNELS) * row_scale[row] * channel_scale[c + j];
            }
        }
    }
}

// --- attention ------------------------------------------------------------------------------------------------------

// y[i] = sum over k of left[i][k] * right[k], where each right[k] is LANES * 2 floats; QUERIES rows of left, of which
// `count` are there (rows beyond it read the first one, and are not to be used).
static inline void combine(const float *left, int64_t left_row, int64_t count, const float *right, int64_t right_row,
                           int64_t terms, vector y[QUERIES][2]) {
    vector sum[QUERIES][2] = {{{0}}};
    const float *rows[QUERIES];
    for (int i = 0; i < QUERIES; i++) rows[i] = left + (i < count ? i : 0) * left_row;
    for (int64_t k = 0; k < terms; k++) {
        vector first, second;
        memcpy(&first, right + k * right_row, sizeof first);
        memcpy(&second, right + k * right_row + LANES, sizeof second);
        for (int i = 0; i < QUERIES; i++) {
            sum[i][0] += rows[i][k] * first;
            sum[i][1] += rows[i][k] * second;
        }
    }
    memcpy(y, sum, sizeof sum);
}

// A head's keys for `combine`: [tokens, size] at a stride of `row` -> [size, stride], zeros behind.
static void copy_columns(const float *x, int64_t tokens, int64_t row, int64_t size, int64_t stride, float *y) {
    for (int64_t k = 0; k < size; k++) {
        for (int64_t j = 0; j < tokens; j++) y[k * stride + j] = x[j * row + k];
        for (int64_t j = tokens; j < stride; j++) y[k * stride + j] = 0;
    }
}

// A head's values for `combine`: [tokens, size] at a stride of `row` -> [tokens, stride], zeros behind.
static void copy_rows(const float *x, int64_t tokens, int64_t row, int64_t size, int64_t stride, float *y) {
    for (int64_t j = 0; j < tokens; j++) {
        memcpy(y + j * stride, x + j * row, (size_t)size * sizeof *y);
        memset(y + j * stride + size, 0, (size_t)(stride - size) * sizeof *y);
    }
}

static int64_t padded(int64_t count) { return (count + 2 * LANES - 1) / (2 * LANES) * (2 * LANES); }

int64_t attend_prompt_scratch(int64_t tokens, int64_t heads, int64_t size) {
    return heads * (size * padded(tokens) + tokens * padded(size) + QUERIES * padded(tokens));
}

// A prompt's self-attention: qkv [tokens, 3, heads, size] -> y [tokens, heads, size]. bias: [heads, longest, longest],
// by query and key position. scratch: attend_prompt_scratch floats.
void attend_prompt(const float *qkv, int64_t tokens, int64_t heads, int64_t size, const float *bias, int64_t longest,
                   float *scratch, float *y) {
    int64_t row = 3 * heads * size, wide = padded(tokens), deep = padded(size);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t head = 0; head < heads; head++) {
        const float *queries = qkv + head * size;
        float *keys = scratch + head * (size * wide + tokens * deep + QUERIES * wide);
        float *values = keys + size * wide, *weights = values + tokens * deep;
        copy_columns(queries + heads * size, tokens, row, size, wide, keys);
        copy_rows(queries + 2 * heads * size, tokens, row, size, deep, values);
        for (int64_t first = 0; first < tokens; first += QUERIES) {
            int64_t count = tokens - first < QUERIES ? tokens - first : QUERIES;
            vector sum[QUERIES][2];
            for (int64_t j = 0; j < wide; j += 2 * LANES) {
                combine(queries + first * row, row, count, keys + j, wide, size, sum);
                for (int i = 0; i < QUERIES; i++) memcpy(weights + i * wide + j, sum[i], sizeof sum[i]);
            }
            float scale[QUERIES];
            for (int64_t i = 0; i < count; i++) {
                const float *biases = bias + (head * longest + first + i) * longest;
                for (int64_t j = 0; j < tokens; j++) weights[i * wide + j] += biases[j];
                scale[i] = 1 / soften(weights + i * wide, tokens);
            }
            for (int64_t k = 0; k < size; k += 2 * LANES) {
                combine(weights, wide, count, values + k, deep, tokens, sum);
                for (int64_t i = 0; i < count; i++) {
                    float *out = y + ((first + i) * heads + head) * size + k;
                    for (int64_t n = 0; n < 2 * LANES && k + n < size; n++)
                        out[n] = sum[i][n / LANES][n % LANES] * scale[i];
                }
            }
        }
    }
}

// Asks for memory before it is needed; an address beyond the end does no harm.
static inline void fetch(const half *x, int64_t count) {
    for (int64_t i = 0; i < count; i += LINE) __builtin_prefetch(x + i);
}

// One query [size] over `tokens` keys and values [tokens, depth]: depth is size rounded up to LANES, filled with zeros.
// backwards: a bias by distance from the last key, or 0.
static inline __attribute__((always_inline)) void attend_one(const float *query, const half *keys, const half *values,
                                                             const float *backwards, int64_t tokens, int64_t size,
                                                             int64_t depth, float *y) {
    float weights[tokens];
    vector q[depth / LANES], sum[depth / LANES];
    memset(q, 0, sizeof q);
    memset(sum, 0, sizeof sum);
    memcpy(q, query, (size_t)size * sizeof *query);
    for (int64_t j = 0; j < tokens; j++) {
        fetch(keys + (j + AHEAD) * depth, depth);
        vector score = {0};
        for (int64_t k = 0; k < depth / LANES; k++) score += q[k] * widen(keys + j * depth + k * LANES);
        weights[j] = total(score) + (backwards ? backwards[tokens - 1 - j] : 0);
    }
    float scale = 1 / soften(weights, tokens);
    for (int64_t j = 0; j < tokens; j++) {
        fetch(values + (j + AHEAD) * depth, depth);
        for (int64_t k = 0; k < depth / LANES; k++)
            sum[k] += weights[j] * scale * widen(values + j * depth + k * LANES);
    }
    memcpy(y, sum, (size_t)size * sizeof *y);
}

// The same, with the loops of the usual size unrolled: T5's d_kv is 64.
static void attend(const float *query, const half *keys, const half *values, const float *backwards, int64_t tokens,
                   int64_t size, int64_t depth, float *y) {
    if (size == 64) attend_one(query, keys, values, backwards, tokens, 64, 64, y);
    else attend_one(query, keys, values, backwards, tokens, size, depth, y);
}

// Of each slot, one query over its prompt: queries [slots, heads, size], keys and values [slots, heads, capacity, depth],
// tokens [slots] -> y [slots, heads, size].
void attend_to_prompt(const float *queries, const half *keys, const half *values, const int64_t *tokens, int64_t slots,
                      int64_t heads, int64_t capacity, int64_t size, int64_t depth, float *y) {
#pragma omp parallel for collapse(2) num_threads(threads) schedule(dynamic, 2)
    for (int64_t slot = 0; slot < slots; slot++)
        for (int64_t head = 0; head < heads; head++) {
            int64_t at = slot * heads + head, cache = at * capacity * depth;
            attend(queries + at * size, keys + cache, values + cache, 0, tokens[slot], size, depth, y + at * size);
        }
}

// Of each slot, the newest token's key and value join its reply's, and its query attends to them all: qkv [slots, 3,
// heads, size], keys and values [slots, heads, capacity, depth], positions [slots], bias [heads, capacity] by distance.
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

// A prompt's keys and values [tokens, 2, heads, size] -> a slot's keys and values [heads, capacity, depth].
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
