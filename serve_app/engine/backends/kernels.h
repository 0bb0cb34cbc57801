// The functions of kernels.c, as the C compiler and cffi (kernels.py) read them: so C and Python cannot disagree. There
// are no preprocessor lines, which cffi cannot read; `half`, a 16-bit float, is defined before this file is read.
//
// Every array is contiguous and row-major. `scratch` is memory of as many floats as the function of that name says.

// Threads to compute with, from now on. Until then one.
void set_threads(int count);

// T5's layer norm of each row: x [rows, width], weight [width] -> y [rows, width].
void rms_norm(const float *x, const float *weight, float epsilon, int64_t rows, int64_t width, float *y);

// Weights [channels, width] in -127..127 -> the form that `linear` reads, which differs between processors.
int64_t packed_bytes(int64_t channels, int64_t width);
void pack(const int8_t *weight, int64_t channels, int64_t width, int8_t *packed);

// y [tokens, channels] = x weight^T for x [tokens, width]. weight: packed; channel_scale [channels] is what its integers
// are multiplied by. added: to y instead of replacing it. relu: applied last. precision: bytes of an activation, 1 or 2.
// Each weight is read from memory once for all tokens.
int64_t linear_scratch(int64_t tokens, int64_t width, int64_t precision);
void linear(const float *x, const int8_t *weight, const float *channel_scale, int64_t tokens, int64_t width,
            int64_t channels, int64_t precision, int64_t relu, int64_t added, float *scratch, float *y);

// A prompt's self-attention: qkv [tokens, 3, heads, size] -> y [tokens, heads, size]. bias: [heads, 2 * longest - 1],
// by the key's position minus the query's, plus longest - 1.
int64_t attend_prompt_scratch(int64_t tokens, int64_t heads, int64_t size);
void attend_prompt(const float *qkv, int64_t tokens, int64_t heads, int64_t size, const float *bias, int64_t longest,
                   float *scratch, float *y);

// A prompt's keys and values [tokens, 2, heads, size] -> a slot's keys and values [heads, capacity, depth], of which
// tokens are filled. depth: size rounded up to a multiple of 16; the rest stays as it is, zero.
void store_prompt(const float *keys_values, int64_t tokens, int64_t heads, int64_t capacity, int64_t size,
                  int64_t depth, half *keys, half *values);

// Self-attention, one token a slot, whose key and value are stored at its position first: qkv [slots, 3, heads, size],
// keys and values [slots, heads, capacity, depth], positions [slots], bias [heads, capacity] by distance -> y [slots,
// heads, size].
void attend_to_reply(const float *qkv, half *keys, half *values, const int64_t *positions, const float *bias,
                     int64_t slots, int64_t heads, int64_t capacity, int64_t size, int64_t depth, float *y);

// Cross-attention, one query a slot: queries [slots, heads, size], keys and values [slots, heads, capacity, depth] of
// which tokens [slots] are filled -> y [slots, heads, size].
void attend_to_prompt(const float *queries, const half *keys, const half *values, const int64_t *tokens, int64_t slots,
                      int64_t heads, int64_t capacity, int64_t size, int64_t depth, float *y);
