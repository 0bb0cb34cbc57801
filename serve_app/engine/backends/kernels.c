// The operations of a T5 for which PyTorch is slow on a CPU: integer products of few rows, attention of one query to a
// cache, self-attention of a prompt, and the normalisation; and a whole decoding step of these.
//
// kernels.h says what each function computes; kernels.py builds this file with the machine's C compiler and loads it;
// compiled.py calls it; vectors.h has what differs between processors. Where there is no compiler, or no such processor,
// eager.py computes the same by PyTorch. Each row, and each slot, is computed separately and always in the same order of
// operations, so a result does not depend on the rest of the batch (law 2), nor on the processor. Without OpenMP the
// compiler skips the pragmas, and there is one thread.
//
// The functions named share_... are called by all threads of a parallel region: each does a part of the work, and waits
// in the end until all of it is done. An operation that Python calls is a region of its own, a decoding step is one.

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "vectors.h"

#include "kernels.h"

enum {
    // A tile is what the innermost loops compute in registers.
    CHANNELS = BLOCKS * LANES,  // width of a product's tile, in output channels; its height is ROWS
    QUERIES = 6,                // height of an attention's tile, in queries: each key and value read is used for all
    LINE = 32,                  // 16-bit numbers in a cache line
    AHEAD = 24,                 // tokens by which keys and values are prefetched
    WEIGHTS_AHEAD = 2048,       // bytes by which weights are
    MANY = 16,                  // tokens from which on several threads are faster than one
};

static int threads = 1;

void set_threads(int count) { threads = count; }

// --- helpers --------------------------------------------------------------------------------------------------------

static int64_t up_to(int64_t multiple, int64_t count) { return (count + multiple - 1) / multiple * multiple; }

INLINE floats power_of_two(ints n) { PARTWISE(floats, (float_register)((n.part[p] + 127) << 23)); }

// e^x for x <= 0 as 2^n * 2^f, f in [-0.5, 0.5], with the Taylor series of 2^f (relative error below 1e-6).
static inline floats exponential(floats x) {
    floats t = times(larger(every(-87), x), every(1.44269504f));
    ints n = rounded(t);
    floats f = subtract(t, from_ints(n));
    floats y = every(1.54035304e-4f);
    y = times_plus(y, f, every(1.33335581e-3f));
    y = times_plus(y, f, every(9.61812911e-3f));
    y = times_plus(y, f, every(5.55041087e-2f));
    y = times_plus(y, f, every(2.40226507e-1f));
    y = times_plus(y, f, every(6.93147181e-1f));
    y = times_plus(y, f, every(1));
    return times(y, power_of_two(n));
}

// The softmax of `scores`, in place, but for its division: each becomes e^(score - largest), and their sum is returned.
// bias [count] is added to the scores first, unless it is 0. There is room for whole vectors of scores.
static inline float numerators(float *scores, const float *bias, int64_t count) {
    for (int64_t i = count; i % LANES; i++) scores[i] = -INFINITY;
    floats highest_yet = every(-INFINITY), sum = every(0);
    for (int64_t i = 0; i < count; i += LANES) {
        floats score = load(scores + i);
        if (bias) score = add(score, load_first(count - i, bias + i));
        store(score, scores + i);
        highest_yet = larger(highest_yet, score);
    }
    floats largest = every(highest(highest_yet));
    for (int64_t i = 0; i < count; i += LANES) {
        floats numerator = exponential(subtract(load(scores + i), largest));
        store(numerator, scores + i);
        sum = add(sum, numerator);
    }
    return total(sum);
}

// --- normalisation --------------------------------------------------------------------------------------------------

static void norm_row(const float *x, const float *weight, float epsilon, int64_t width, float *y) {
    floats squares = every(0);
    for (int64_t i = 0; i < width; i += LANES) {
        floats some = load_first(width - i, x + i);
        squares = times_plus(some, some, squares);
    }
    floats scale = every(1 / sqrtf(total(squares) / (float)width + epsilon));
    for (int64_t i = 0; i < width; i += LANES) {
        floats some = times(load_first(width - i, x + i), scale);
        store_first(width - i, times(some, load_first(width - i, weight + i)), y + i);
    }
}

void rms_norm(const float *x, const float *weight, float epsilon, int64_t rows, int64_t width, float *y) {
#pragma omp parallel for num_threads(threads) if (rows >= MANY)
    for (int64_t row = 0; row < rows; row++) norm_row(x + row * width, weight, epsilon, width, y + row * width);
}

// --- products -------------------------------------------------------------------------------------------------------

// Activations are quantized to `precision` signed bytes, 1 or 2; two stand for 256 * first + second. Each byte of a token
// is a row of activations, or the two are one row, where there is room for both.
//
// Weights are packed as [channels / LANES][depth / GROUP][LANES][GROUP], plus ZERO. So a vector holds GROUP weights of
// each of LANES channels, each lane sums for one channel, and no sum across lanes is needed.

typedef struct {
    int64_t depth;     // numbers in a row: the layer's width, rounded up to whole vectors
    int64_t rows;      // of a token
    activation *row;   // [tokens * rows, depth], with room for whole tiles of ROWS rows
    int32_t *surplus;  // [tokens, precision]: ZERO times the sum of the bytes, by which their products are too large
    float *scale;      // [tokens]
} activations;

static int64_t depth_of(int64_t width) { return up_to(LANES, width); }

// Both bytes are one row only where eager int8's two sums are exact in a float: else it rounds thrice, and one sum once.
static int64_t rows_of(int64_t width, int64_t precision) {
    return precision == sizeof(activation) && width <= 1024 ? 1 : precision;
}

int64_t linear_scratch(const layer *by, int64_t tokens) {
    int64_t rows = up_to(ROWS, tokens * rows_of(by->width, by->precision)), numbers = rows * depth_of(by->width);
    return numbers * (int64_t)sizeof(activation) / (int64_t)sizeof(float) + tokens * (by->precision + 1);
}

static activations activations_of(const layer *by, int64_t tokens, float *scratch) {
    int32_t *surplus = (int32_t *)(scratch + tokens);
    activation *row = (activation *)(surplus + tokens * by->precision);
    return (activations){depth_of(by->width), rows_of(by->width, by->precision), row, surplus, scratch};
}

static float float_of_bits(int32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

INLINE ints without_sign(ints bits) { PARTWISE(ints, bits.part[p] & 0x7fffffff); }

// A number of two bytes = 256 * high + low, each a signed byte.
INLINE ints high_byte(ints whole) { PARTWISE(ints, (whole.part[p] + 128) >> 8); }
INLINE ints low_byte(ints whole, ints high) { PARTWISE(ints, whole.part[p] - 256 * high.part[p]); }

// A token's x [width] -> its rows, their surplus, and the scale that turns them back into x.
INLINE void quantize(const float *x, int64_t width, int64_t precision, int64_t rows, int64_t depth, activation *row,
                     int32_t *surplus, float *scale) {
    const float limit = precision == 1 ? 127 : 127 * 256;
    // The largest |x|, compared as integers: the bits of floats are ordered as the numbers are, then infinity, then
    // NaN. A comparison of floats would miss a NaN.
    ints top = every_int(0x00800000);  // the smallest normal float: a row of zeros must not divide by zero
    for (int64_t i = 0; i < width; i += LANES)
        top = larger_ints(top, without_sign(bits_of(load_first(width - i, x + i))));
    float largest = float_of_bits(highest_int(top));
    memset(surplus, 0, (size_t)precision * sizeof *surplus);
    if (!isfinite(largest)) {  // no integer stands for that, so the scale makes every output of the token a NaN
        memset(row, 0, (size_t)(rows * depth) * sizeof *row);
        *scale = NAN;
        return;
    }
    *scale = largest / limit;
    floats factor = every(limit * (1 / largest));  // as PyTorch divides a number by a tensor
    ints first = every_int(0), second = every_int(0);
    for (int64_t i = 0; i < width; i += LANES) {
        ints whole = rounded(times(load_first(width - i, x + i), factor));
        if (rows == 1) {
            shorten(whole, row + i);
            first = add_ints(first, whole);
        } else {
            ints high = high_byte(whole), low = low_byte(whole, high);
            shorten(high, row + i);
            shorten(low, row + depth + i);
            first = add_ints(first, high);
            second = add_ints(second, low);
        }
    }
    if (ZERO != 0) surplus[0] = ZERO * total_int(first);
    if (ZERO != 0 && rows == 2) surplus[1] = ZERO * total_int(second);
}

// sums[r] = row r . weight, `terms` of each, for a tile's channels. `rows` is a constant at every call, so that the loops
// unroll.
INLINE void multiply_rows(int rows, const activation *row, int64_t depth, int64_t terms, const int8_t *weight,
                          ints sums[ROWS][BLOCKS]) {
    ints sum[ROWS][BLOCKS];
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < BLOCKS; b++) sum[r][b] = every_int(0);
    for (int64_t k = 0; k < terms; k += GROUP) {
        ints w[BLOCKS];
        for (int b = 0; b < BLOCKS; b++) {
            const int8_t *some = weight + (b * depth + k) * LANES;
            __builtin_prefetch(some + WEIGHTS_AHEAD);
            w[b] = load_weights(some);
        }
        for (int r = 0; r < rows; r++) {
            int32_t group;  // GROUP activations
            memcpy(&group, row + r * depth + k, sizeof group);
            for (int b = 0; b < BLOCKS; b++) sum[r][b] = add_dot(sum[r][b], w[b], group);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < BLOCKS; b++) sums[r][b] = sum[r][b];
}

INLINE void multiply(int64_t rows, const activation *row, int64_t depth, int64_t terms, const int8_t *weight,
                     ints sums[ROWS][BLOCKS]) {
    if (rows == 1) multiply_rows(1, row, depth, terms, weight, sums);
    else if (rows == 2) multiply_rows(2, row, depth, terms, weight, sums);
    else if (rows <= 4) multiply_rows(4, row, depth, terms, weight, sums);
    else multiply_rows(ROWS, row, depth, terms, weight, sums);
}

// The same for rows of two bytes: row r . weight = 256 * sums[2 * r] + sums[2 * r + 1].
static void multiply_words(int64_t rows, const activation *row, int64_t depth, const int8_t *weight,
                           ints sums[2 * ROWS][BLOCKS]) {
    const int64_t most = 512;  // terms of 127 * 127 * 256 whose sum has room in 32 bits
    for (int64_t k = 0; k < depth; k += most) {
        ints some[ROWS][BLOCKS];
        multiply(rows, row + k, depth, depth - k < most ? depth - k : most, weight + k * LANES, some);
        for (int64_t r = 0; r < rows; r++)
            for (int b = 0; b < BLOCKS; b++) {
                ints high = k ? sums[2 * r][b] : every_int(0), low = k ? sums[2 * r + 1][b] : every_int(0);
                ints more = high_byte(some[r][b]);
                sums[2 * r][b] = add_ints(high, more);
                sums[2 * r + 1][b] = add_ints(low, low_byte(some[r][b], more));
            }
    }
}

// A token's one or two integer sums, in one block of channels -> floats, not yet scaled by channel.
INLINE floats from_sums(ints sums[][BLOCKS], int block, int64_t precision, const int32_t *surplus, float scale) {
    floats value = from_ints(add_ints(sums[0][block], every_int(-surplus[0])));
    if (precision == 2) {
        floats low = from_ints(add_ints(sums[1][block], every_int(-surplus[1])));
        value = times_plus(value, every(256), low);
    }
    return times(value, every(scale));
}

int64_t packed_bytes(int64_t channels, int64_t width) { return up_to(CHANNELS, channels) * depth_of(width); }

void pack(const int8_t *weight, int64_t channels, int64_t width, int8_t *packed) {
    int64_t depth = depth_of(width);
#pragma omp parallel for num_threads(threads)
    for (int64_t c = 0; c < up_to(CHANNELS, channels); c += LANES) {
        int8_t *out = packed + c * depth;
        for (int64_t k = 0; k < depth; k += GROUP)
            for (int64_t channel = c; channel < c + LANES; channel++)
                for (int64_t i = k; i < k + GROUP; i++) {
                    int whole = channel < channels && i < width ? weight[channel * width + i] : 0;
                    *out++ = (int8_t)(whole + ZERO);
                }
    }
}

// x [width] becomes token t of what the layer multiplies.
static void quantize_token(const layer *by, const float *x, const activations *in, int64_t t) {
    activation *row = in->row + t * in->rows * in->depth;
    int32_t *surplus = in->surplus + t * by->precision;
    if (in->rows == 1) quantize(x, by->width, by->precision, 1, in->depth, row, surplus, in->scale + t);
    else quantize(x, by->width, 2, 2, in->depth, row, surplus, in->scale + t);
}

static void share_product(const layer *by, const activations *in, int64_t tokens, int64_t added, float *y) {
    int64_t height = ROWS / in->rows;  // of a tile, in tokens
#pragma omp for schedule(dynamic)
    for (int64_t c = 0; c < by->channels; c += CHANNELS)
        for (int64_t first = 0; first < tokens; first += height) {
            ints sums[2 * ROWS][BLOCKS];  // [token, byte]
            const activation *row = in->row + first * in->rows * in->depth;
            const int8_t *w = by->weight + c * in->depth;
            int64_t count = tokens - first < height ? tokens - first : height;
            if (in->rows == by->precision) multiply(count * in->rows, row, in->depth, in->depth, w, sums);
            else multiply_words(count, row, in->depth, w, sums);
            for (int64_t t = 0; t < count; t++)
                for (int b = 0; b < BLOCKS; b++) {
                    int64_t token = first + t, channel = c + b * LANES, there = by->channels - channel;
                    const int32_t *surplus = in->surplus + token * by->precision;
                    float *out = y + token * by->channels + channel;
                    floats before = added ? load_first(there, out) : every(0);
                    floats value = from_sums(sums + t * by->precision, b, by->precision, surplus, in->scale[token]);
                    value = times_plus(value, load_first(there, by->scale + channel), before);
                    if (by->relu) value = larger(every(0), value);  // the second operand if one is a NaN
                    store_first(there, value, out);
                }
        }
}

void linear(const layer *by, const float *x, int64_t tokens, int64_t added, float *scratch, float *y) {
    activations in = activations_of(by, tokens, scratch);
#pragma omp parallel for num_threads(threads) if (tokens >= MANY)
    for (int64_t t = 0; t < tokens; t++) quantize_token(by, x + t * by->width, &in, t);
#pragma omp parallel num_threads(threads)
    share_product(by, &in, tokens, added, y);
}

// --- attention ------------------------------------------------------------------------------------------------------

// y[i] = sum over k of left[i][k] * right[k], where each right[k] is a row of CHANNELS floats.
INLINE void combine(const float *left[QUERIES], const float *right, int64_t right_row, int64_t terms,
                    floats y[QUERIES][BLOCKS]) {
    floats sum[QUERIES][BLOCKS];
    for (int i = 0; i < QUERIES; i++)
        for (int b = 0; b < BLOCKS; b++) sum[i][b] = every(0);
    for (int64_t k = 0; k < terms; k++) {
        floats row[BLOCKS];
        for (int b = 0; b < BLOCKS; b++) row[b] = load(right + k * right_row + b * LANES);
        for (int i = 0; i < QUERIES; i++)
            for (int b = 0; b < BLOCKS; b++) sum[i][b] = times_plus(every(left[i][k]), row[b], sum[i][b]);
    }
    for (int i = 0; i < QUERIES; i++)
        for (int b = 0; b < BLOCKS; b++) y[i][b] = sum[i][b];
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

static int64_t padded(int64_t count) { return up_to(CHANNELS, count); }

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
            floats sum[QUERIES][BLOCKS];
            for (int64_t i = 0; i < QUERIES; i++) left[i] = queries + (first + (i < count ? i : 0)) * row;
            for (int64_t j = 0; j < wide; j += CHANNELS) {
                combine(left, keys + j, wide, size, sum);
                for (int i = 0; i < QUERIES; i++)
                    for (int b = 0; b < BLOCKS; b++) store(sum[i][b], weights + i * wide + j + b * LANES);
            }
            for (int64_t i = 0; i < QUERIES; i++) left[i] = weights + (i < count ? i : 0) * wide;
            for (int64_t i = 0; i < count; i++)
                scale[i] = 1 / numerators(weights + i * wide, nearest - first - i, tokens);
            for (int64_t k = 0; k < size; k += CHANNELS) {
                combine(left, values + k, deep, tokens, sum);
                for (int64_t i = 0; i < count; i++)
                    for (int b = 0; b < BLOCKS; b++) {
                        float *out = y + ((first + i) * heads + head) * size + k + b * LANES;
                        store_first(size - k - b * LANES, times(sum[i][b], every(scale[i])), out);
                    }
            }
        }
    }
}

// Prefetches; an address beyond the array is harmless.
static inline void prefetch(const half *x, int64_t count) {
    for (int64_t i = 0; i < count; i += LINE) __builtin_prefetch(x + i);
}

// x [size] -> y, up to its depth. What is beyond `size` stays zero.
INLINE void narrow_row(const float *x, int64_t size, half *y) {
    for (int64_t k = 0; k < size; k += LANES) narrow(load_first(size - k, x + k), y + k);
}

// Attention of one query [size] to keys and values [tokens, depth]; depth: size rounded up to LANES, padded with zeros.
// backwards: the position bias, by distance from the last key; 0: none.
INLINE void attend_one(const float *query, const half *keys, const half *values, const float *backwards,
                       int64_t tokens, int64_t size, int64_t depth, float *y) {
    float weights[up_to(LANES, tokens)];
    floats q[depth / LANES], sum[depth / LANES];
    for (int64_t k = 0; k < depth; k += LANES) {
        q[k / LANES] = load_first(size - k, query + k);
        sum[k / LANES] = every(0);
    }
    for (int64_t j = 0; j < tokens; j++) {
        prefetch(keys + (j + AHEAD) * depth, depth);
        floats score = every(0);
        for (int64_t k = 0; k < depth; k += LANES)
            score = times_plus(q[k / LANES], widen(keys + j * depth + k), score);
        weights[j] = total(score) + (backwards ? backwards[tokens - 1 - j] : 0);
    }
    float scale = 1 / numerators(weights, 0, tokens);
    for (int64_t j = 0; j < tokens; j++) {
        prefetch(values + (j + AHEAD) * depth, depth);
        floats weight = every(weights[j] * scale);
        for (int64_t k = 0; k < depth; k += LANES)
            sum[k / LANES] = times_plus(weight, widen(values + j * depth + k), sum[k / LANES]);
    }
    for (int64_t k = 0; k < depth; k += LANES) store_first(size - k, sum[k / LANES], y + k);
}

// The same; with constants for the usual size, T5's d_kv of 64, so that its loops unroll.
static void attend(const float *query, const half *keys, const half *values, const float *backwards, int64_t tokens,
                   int64_t size, int64_t depth, float *y) {
    if (size == 64) attend_one(query, keys, values, backwards, tokens, 64, 64, y);
    else attend_one(query, keys, values, backwards, tokens, size, depth, y);
}

static void share_attention_to_reply(const kv_cache *cache, const float *qkv, int64_t slots, float *y) {
    const int64_t heads = cache->heads, size = cache->size, depth = cache->depth;
#pragma omp for collapse(2) schedule(dynamic, 2)
    for (int64_t slot = 0; slot < slots; slot++)
        for (int64_t head = 0; head < heads; head++) {
            int64_t row = cache->first_row[slot], count = cache->first_row[slot + 1] - row;
            int64_t begin = (slot * heads + head) * cache->max_reply * depth, position = cache->reply_tokens[slot];
            half *keys = cache->reply_keys + begin, *values = cache->reply_values + begin;
            const float *queries = qkv + (row * 3 * heads + head) * size, *bias = cache->reply_bias + head * cache->max_reply;
            for (int64_t i = 0; i < count; i++) {
                const float *key = queries + (3 * i + 1) * heads * size;
                narrow_row(key, size, keys + (position + i) * depth);
                narrow_row(key + heads * size, size, values + (position + i) * depth);
            }
            for (int64_t i = 0; i < count; i++)
                attend(queries + 3 * i * heads * size, keys, values, bias, position + i + 1, size, depth,
                       y + ((row + i) * heads + head) * size);
        }
}

static void share_attention_to_prompt(const kv_cache *cache, const float *queries, int64_t slots, float *y) {
    const int64_t heads = cache->heads, size = cache->size, depth = cache->depth;
#pragma omp for collapse(2) schedule(dynamic, 2)
    for (int64_t slot = 0; slot < slots; slot++)
        for (int64_t head = 0; head < heads; head++) {
            int64_t begin = (slot * heads + head) * cache->max_prompt * depth;
            const half *keys = cache->prompt_keys + begin, *values = cache->prompt_values + begin;
            for (int64_t row = cache->first_row[slot]; row < cache->first_row[slot + 1]; row++) {
                int64_t at = (row * heads + head) * size;
                attend(queries + at, keys, values, 0, cache->prompt_tokens[slot], size, depth, y + at);
            }
        }
}

void attend_to_reply(const kv_cache *cache, const float *qkv, int64_t slots, float *y) {
#pragma omp parallel num_threads(threads)
    share_attention_to_reply(cache, qkv, slots, y);
}

void attend_to_prompt(const kv_cache *cache, const float *queries, int64_t slots, float *y) {
#pragma omp parallel num_threads(threads)
    share_attention_to_prompt(cache, queries, slots, y);
}

void store_prompt(const kv_cache *cache, int64_t slot, const float *keys_values, int64_t tokens) {
    const int64_t heads = cache->heads, size = cache->size;
#pragma omp parallel for num_threads(threads)
    for (int64_t head = 0; head < heads; head++) {
        int64_t begin = (slot * heads + head) * cache->max_prompt * cache->depth;
        for (int64_t j = 0; j < tokens; j++) {
            const float *key = keys_values + (2 * j * heads + head) * size;
            narrow_row(key, size, cache->prompt_keys + begin + j * cache->depth);
            narrow_row(key + heads * size, size, cache->prompt_values + begin + j * cache->depth);
        }
    }
}

// --- a decoding step ------------------------------------------------------------------------------------------------

// Row `row` of x, normalised if there is a norm, becomes that of what the layer multiplies. normed: [d_model].
static void prepare(const decoder *model, const layer *by, const float *norm, const float *x, int64_t row,
                    const activations *in, float *normed) {
    const float *read = x + row * by->width;
    if (norm) norm_row(read, norm, model->epsilon, by->width, normed);
    quantize_token(by, norm ? normed : read, in, row);
}

// y = the layer of each row of x, which is normalised first if there is a norm. own: this thread's scratch.
static void share_linear(const decoder *model, float *own, const layer *by, const float *norm, const float *x,
                         int64_t rows, int64_t added, float *y) {
    float *normed = own, *all_own = own + model->d_model, *shared = model->scratch + model->d_model;
    activations in = activations_of(by, rows, rows < MANY ? all_own : shared);
    if (rows < MANY) {  // each thread does all, which takes less time than to wait for the others
        for (int64_t row = 0; row < rows; row++) prepare(model, by, norm, x, row, &in, normed);
    } else {
#pragma omp for
        for (int64_t row = 0; row < rows; row++) prepare(model, by, norm, x, row, &in, normed);
    }
    share_product(by, &in, rows, added, y);
}

void decode(const decoder *model, const int64_t *tokens, int64_t slots, float *logits) {
    const int64_t rows = model->by_layer->cache.first_row[slots], width = model->d_model;
    float *x = model->x, *wide = model->wide, *attended = model->attended;
    int arrived = 0;
#pragma omp parallel num_threads(model->threads)
    {
        int me;
#pragma omp atomic capture
        me = arrived++;
        float *own = model->scratch + me * model->scratch_floats;
#pragma omp for
        for (int64_t row = 0; row < rows; row++)
            memcpy(x + row * width, model->embedding + tokens[row] * width, (size_t)width * sizeof *x);
        for (const decoder_layer *l = model->by_layer; l < model->by_layer + model->layers; l++) {
            share_linear(model, own, &l->qkv, l->norm, x, rows, 0, wide);
            share_attention_to_reply(&l->cache, wide, slots, attended);
            share_linear(model, own, &l->out, 0, attended, rows, 1, x);
            share_linear(model, own, &l->cross_q, l->cross_norm, x, rows, 0, wide);
            share_attention_to_prompt(&l->cache, wide, slots, attended);
            share_linear(model, own, &l->cross_out, 0, attended, rows, 1, x);
            share_linear(model, own, &l->wi, l->feed_forward_norm, x, rows, 0, wide);
            share_linear(model, own, &l->wo, 0, wide, rows, 1, x);
        }
#pragma omp for
        for (int64_t row = 0; row < rows; row++) {
            float *last = x + row * width;
            norm_row(last, model->norm, model->epsilon, width, last);
            for (int64_t i = 0; i < width; i++) last[i] *= model->logit_scale;
        }
        share_linear(model, own, &model->head, 0, x, rows, 0, logits);
    }
}
