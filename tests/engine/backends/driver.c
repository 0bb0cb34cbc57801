// Calls functions of kernels.h on what it reads from standard input, for processors that Python does not run on.
//
// A call is its name [16 bytes], eight int64, the number of arrays, and of each array its size in bytes and its bytes.
// The last array is what the call computes: its bytes afterwards are written to standard output.

#include <stdio.h>
#include <stdlib.h>

#include "kernels.c"

typedef struct {
    char name[16];
    int64_t number[8], arrays, size[4];
    void *array[4];
} call;

static void get(void *to, int64_t size) {
    if (fread(to, 1, (size_t)size, stdin) != (size_t)size) exit(1);
}

static void *reserve(int64_t count, size_t size) {
    return calloc((size_t)count, size);
}

static const float *take(const float **from, int64_t count) {
    *from += count;
    return *from - count;
}

static layer take_layer(const float **floats, const int8_t **weights, int64_t channels, int64_t width,
                        int64_t precision, int64_t relu) {
    int8_t *weight = reserve(packed_bytes(channels, width), 1);
    pack(*weights, channels, width, weight);
    *weights += channels * width;
    return (layer){weight, take(floats, channels), channels, width, precision, relu};
}

// Steps of a decoder whose slot i has a prompt of 3 * i + 1 tokens. What it is made of is taken in the order in which
// test_instruction_sets.py puts it.
static void run_decode(const int64_t *n, const int64_t *tokens, const float *floats, const int8_t *weights, float *y) {
    enum { LAYERS = 2, SLOTS = 20, ROOM = 64 };  // ROOM: tokens of a prompt, and of a reply
    const int64_t width = n[0], heads = n[1], size = n[2], d_ff = n[3], vocabulary = n[4], slots = n[5], steps = n[6];
    const int64_t inner = heads * size, depth = up_to(LANES, size), room = slots * heads * ROOM * depth;
    int64_t replies[SLOTS] = {0}, prompts[SLOTS], first_row[SLOTS + 1];
    for (int64_t slot = 0; slot <= slots; slot++) first_row[slot] = slot;
    for (int64_t slot = 0; slot < slots; slot++) prompts[slot] = 3 * slot + 1;
    decoder_layer by_layer[LAYERS];
    decoder model = {.d_model = width, .layers = LAYERS, .threads = 2, .epsilon = 1e-6f, .by_layer = by_layer};
    model.logit_scale = *take(&floats, 1);
    model.embedding = take(&floats, vocabulary * width);
    model.norm = take(&floats, width);
    model.head = take_layer(&floats, &weights, vocabulary, width, 1, 0);
    const float *bias = take(&floats, heads * ROOM);
    for (decoder_layer *l = by_layer; l < by_layer + LAYERS; l++) {
        l->norm = take(&floats, width);
        l->qkv = take_layer(&floats, &weights, 3 * inner, width, 2, 0);
        l->out = take_layer(&floats, &weights, width, inner, 1, 0);
        l->cross_norm = take(&floats, width);
        l->cross_q = take_layer(&floats, &weights, inner, width, 2, 0);
        l->cross_out = take_layer(&floats, &weights, width, inner, 1, 0);
        l->feed_forward_norm = take(&floats, width);
        l->wi = take_layer(&floats, &weights, d_ff, width, 1, 1);
        l->wo = take_layer(&floats, &weights, width, d_ff, 1, 0);
        half *caches = reserve(4 * room, sizeof *caches);
        l->cache = (kv_cache){heads, size, depth, ROOM, ROOM, caches, caches + room, caches + 2 * room,
                              caches + 3 * room, replies, prompts, first_row, bias};
        for (int64_t slot = 0; slot < slots; slot++)
            store_prompt(&l->cache, slot, take(&floats, prompts[slot] * 2 * inner), prompts[slot]);
    }
    model.x = reserve(slots * width, sizeof(float));
    model.wide = reserve(slots * (3 * inner + d_ff), sizeof(float));
    model.attended = reserve(slots * inner, sizeof(float));
    model.scratch_floats = 1000 * (slots + 8);  // more than any of its products needs
    model.scratch = reserve(model.threads * model.scratch_floats, sizeof(float));
    for (int64_t step = 0; step < steps; step++, tokens += slots, y += slots * vocabulary) {
        decode(&model, tokens, slots, y);
        for (int64_t slot = 0; slot < slots; slot++) replies[slot]++;
    }
}

static void run(call *c) {
    int64_t *n = c->number;
    void **a = c->array;
    if (!strcmp(c->name, "rms_norm")) rms_norm(a[0], a[1], 1e-6f, n[0], n[1], a[2]);
    else if (!strcmp(c->name, "linear")) {  // x, weight, scale, y; tokens, width, channels, precision, relu, added
        int8_t *weight = malloc((size_t)packed_bytes(n[2], n[1]));
        pack(a[1], n[2], n[1], weight);
        layer by = {weight, a[2], n[2], n[1], n[3], n[4]};
        linear(&by, a[0], n[0], n[5], malloc((size_t)linear_scratch(&by, n[0]) * sizeof(float)), a[3]);
    } else if (!strcmp(c->name, "attend_prompt")) {  // qkv, bias, y; tokens, heads, size, longest
        float *scratch = malloc((size_t)attend_prompt_scratch(n[0], n[1], n[2]) * sizeof *scratch);
        attend_prompt(a[0], n[0], n[1], n[2], a[1], n[3], scratch, a[2]);
    } else if (!strcmp(c->name, "decode")) run_decode(n, a[0], a[1], a[2], a[3]);
    else {  // a slot's cache: heads, capacity, size, depth, tokens, rows
        size_t count = (size_t)(n[0] * n[1] * n[3]);
        half *keys = calloc(count, sizeof *keys), *values = calloc(count, sizeof *values);
        int64_t filled = 0, first_row[] = {0, n[5]};
        kv_cache cache = {n[0], n[2], n[3], n[1], n[1], keys, values, keys, values, &filled, n + 4, first_row, a[1]};
        if (!strcmp(c->name, "prompt")) {  // keys_values, queries, y
            store_prompt(&cache, 0, a[0], n[4]);
            attend_to_prompt(&cache, a[1], 1, a[2]);
        } else if (!strcmp(c->name, "reply")) {  // qkv of each token, bias, y of each token
            float *qkv = a[0], *y = a[2];
            for (; filled < n[4]; filled += n[5])
                attend_to_reply(&cache, qkv + filled * 3 * n[0] * n[2], 1, y + filled * n[0] * n[2]);
        } else exit(2);
    }
}

int main(void) {
    set_threads(2);
    call c;
    while (fread(c.name, 1, sizeof c.name, stdin) == sizeof c.name) {
        get(c.number, sizeof c.number);
        get(&c.arrays, sizeof c.arrays);
        for (int64_t i = 0; i < c.arrays; i++) {
            get(&c.size[i], sizeof c.size[i]);
            get(c.array[i] = malloc((size_t)c.size[i]), c.size[i]);
        }
        run(&c);
        fwrite(c.array[c.arrays - 1], 1, (size_t)c.size[c.arrays - 1], stdout);
    }
    return 0;
}
