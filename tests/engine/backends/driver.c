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
    } else {  // a slot's cache: heads, capacity, size, depth, tokens, rows
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
