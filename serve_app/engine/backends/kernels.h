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

// A linear layer. weight: packed; scale [channels] is what its integers are multiplied by. precision: bytes of an
// activation, 1 or 2. relu: applied last.
typedef struct {
    const int8_t *weight;
    const float *scale;
    int64_t channels, width, precision, relu;
} layer;

// y [tokens, channels] = x weight^T for x [tokens, width]. added: to y instead of replacing it. Each weight is read from
// memory once for all tokens.
int64_t linear_scratch(const layer *by, int64_t tokens);
void linear(const layer *by, const float *x, int64_t tokens, int64_t added, float *scratch, float *y);

// A prompt's self-attention: qkv [tokens, 3, heads, size] -> y [tokens, heads, size]. bias: [heads, 2 * longest - 1],
// by the key's position minus the query's, plus longest - 1.
int64_t attend_prompt_scratch(int64_t tokens, int64_t heads, int64_t size);
void attend_prompt(const float *qkv, int64_t tokens, int64_t heads, int64_t size, const float *bias, int64_t longest,
                   float *scratch, float *y);

// The keys and values of all slots in one layer of the decoder: [slots, heads, max_reply or max_prompt, depth], of which
// reply_tokens or prompt_tokens [slots] are filled. depth: size rounded up to a multiple of 16; what is beyond size stays
// zero. reply_bias: [heads, max_reply], by distance.
//
// In a decoding step a slot has one row or several, for the next tokens of its reply: rows first_row[slot] to
// first_row[slot + 1] - 1. first_row: [slots + 1].
typedef struct {
    int64_t heads, size, depth, max_reply, max_prompt;
    half *reply_keys, *reply_values, *prompt_keys, *prompt_values;
    const int64_t *reply_tokens, *prompt_tokens, *first_row;
    const float *reply_bias;
} kv_cache;

// Stores a prompt's keys and values [tokens, 2, heads, size].
void store_prompt(const kv_cache *cache, int64_t slot, const float *keys_values, int64_t tokens);

// Self-attention. The keys and values of all of a slot's rows are stored first, behind those of its reply; then each row
// attends up to its own: qkv [rows, 3, heads, size] -> y [rows, heads, size].
void attend_to_reply(const kv_cache *cache, const float *qkv, int64_t slots, float *y);

// Cross-attention: queries [rows, heads, size] -> y [rows, heads, size].
void attend_to_prompt(const kv_cache *cache, const float *queries, int64_t slots, float *y);

// One layer of a T5's decoder whose feed-forward part is relu. norm, cross_norm, feed_forward_norm: [d_model].
typedef struct {
    const float *norm, *cross_norm, *feed_forward_norm;
    layer qkv, out, cross_q, cross_out, wi, wo;
    kv_cache cache;
} decoder_layer;

// A T5's decoder: embedding [vocabulary, d_model]; norm [d_model], whose result is multiplied by logit_scale before the
// head reads it. And the memory that a step computes in, for so many rows as it may have: x [rows, d_model], wide [rows,
// the most channels of by_layer], attended [rows, heads * size], and for each of the threads that compute it scratch
// [scratch_floats]: d_model and as much as the product that needs most.
typedef struct {
    int64_t d_model, layers, threads, scratch_floats;
    const float *embedding, *norm;
    float epsilon, logit_scale;
    layer head;
    const decoder_layer *by_layer;
    float *x, *wide, *attended, *scratch;
} decoder;

// A decoding step: tokens [rows] -> logits [rows, vocabulary]. It computes, and stores, what the functions above do.
void decode(const decoder *model, const int64_t *tokens, int64_t slots, float *logits);
