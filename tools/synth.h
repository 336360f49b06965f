/* synth.h - random models of real shape, written as GGUF files: for octavius-synth, and in memory for the tests.
 *
 * What matters for speed and for correctness is as in real files: keys, names, shapes, types, the order of rows, a whole
 * tokenizer.  The weights are noise of sane scale: each matrix keeps the size of what passes through it, and what is added
 * to the residual stream is scaled by 1 / sqrt(2 L), so that activations stay finite at any depth.  The same (model, type,
 * seed) gives the same bytes everywhere.
 *
 * C11 and C++17.  blocks.h, beside this file, encodes the quantised types.
 */
#ifndef SYNTH_H
#define SYNTH_H
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "blocks.h"

#if defined(__GNUC__)
#  define SYNTH_FN __attribute__((unused)) static
#else
#  define SYNTH_FN static
#endif

enum { SYNTH_F32 = BLOCKS_F32, SYNTH_F16 = BLOCKS_F16, SYNTH_Q8_0 = BLOCKS_Q8_0, SYNTH_Q4_K = BLOCKS_Q4_K, SYNTH_Q5_K = BLOCKS_Q5_K,
       SYNTH_Q6_K = BLOCKS_Q6_K };
enum { SYNTH_SPM, SYNTH_PHI2, SYNTH_STABLELM2, SYNTH_QWEN, SYNTH_QWEN2 };       /* vocabularies */

typedef struct synth_model {
    const char *name, *arch;
    int         n_layer, n_embd, n_head, n_kv, n_rot, n_ff, n_vocab, n_ctx;     /* n_ff: rows of one gate or up matrix */
    double      eps, rope_base;
    int         tied;                                                           /* no output matrix of its own */
    int         vocab, n_pad;                                                   /* n_pad: rows past the last real token */
    int         n_expert, k_top, moe_step;                                      /* every moe_step-th layer, from 0, has experts */
    int         n_lora, rank;                                                   /* LoRA experts of every layer's attention, and a gate */
    const char *tower;                                                          /* OCTAVIUS: a picture encoder in the file, by name */
} synth_model;

/* d_head = n_embd / n_head everywhere.  A picture encoder (arch clip) is an mmproj file, all of whose blocks are run; it has
 * n_rot for the side of a patch, n_ctx for that of the picture, n_vocab for the width of the text model, and tied where it has
 * no class token, as SigLIP.  As another model's tower it has a projector of one layer and our own keys. */
static const synth_model synth_models[] = {
    /* name               arch       L   embd  head kv  rot    ff   vocab   ctx   eps   rope   tied vocabulary     pad  experts */
    { "tinyllama-1.1b",   "llama",    22, 2048, 32,  4,  64,  5632,  32000, 2048, 1e-5, 1e4,   0, SYNTH_SPM,         0, 0, 0, 0, 0, 0, NULL },
    { "phi-2",            "phi2",     32, 2560, 32, 32,  32, 10240,  51200, 2048, 1e-5, 1e4,   0, SYNTH_PHI2,      905, 0, 0, 0, 0, 0, NULL },
    { "stablelm-2-1.6b",  "stablelm", 24, 2048, 32, 32,  16,  5632, 100352, 4096, 1e-5, 1e4,   0, SYNTH_STABLELM2,  63, 0, 0, 0, 0, 0, NULL },
    { "qwen-1.8b",        "qwen",     24, 2048, 16, 16, 128,  5504, 151936, 8192, 1e-6, 1e4,   0, SYNTH_QWEN,       85, 0, 0, 0, 0, 0, NULL },
    { "qwen2-0.5b",       "qwen2",    24,  896, 14,  2,  64,  4864, 151936, 32768, 1e-6, 1e6,  1, SYNTH_QWEN2,     290, 0, 0, 0, 0, 0, NULL },
    { "llama-2-13b",      "llama",    40, 5120, 40, 40, 128, 13824,  32000, 4096, 1e-5, 1e4,   0, SYNTH_SPM,         0, 0, 0, 0, 0, 0, NULL },
    { "moe4-1.7b",        "llama",    10, 2048, 32, 32,  64,  5632,  32000, 2048, 1e-5, 1e4,   0, SYNTH_SPM,         0, 4, 2, 1, 0, 0, NULL },
    { "moe-llava-phi2-2.7b-4e", "phi2", 32, 2560, 32, 32,  32, 10240,  51200, 2048, 1e-5, 1e4,   0, SYNTH_PHI2,      905, 4, 2, 2, 0, 0, NULL },
    { "moe-llava-stablelm-1.6b-4e", "stablelm", 24, 2048, 32, 32, 16, 5632, 100352, 4096, 1e-5, 1e4, 0, SYNTH_STABLELM2, 63, 4, 2, 2, 0, 0, NULL },
    { "moe-llava-qwen-1.8b-4e", "qwen", 24, 2048, 16, 16, 128,  5504, 151936, 8192, 1e-6, 1e4,   0, SYNTH_QWEN,       85, 4, 2, 2, 0, 0, NULL },
    { "llama-13b",        "llama",    40, 5120, 40, 40, 128, 13824,  32000, 2048, 1e-6, 1e4,   0, SYNTH_SPM,         0, 0, 0, 0, 0, 0, NULL },
    { "octavius-2d",      "llama",    40, 5120, 40, 40, 128, 13824,  32003, 2048, 1e-6, 1e4,   0, SYNTH_SPM,         0, 0, 0, 0, 4, 32, "octavius-clip-l" },
    { "octavius-2d-1b",   "llama",    22, 2048, 32, 32,  64,  5632,  32003, 2048, 1e-6, 1e4,   0, SYNTH_SPM,         0, 0, 0, 0, 4, 32, NULL },
    { "micro",            "llama",     6,  288,  6,  6,  48,   768,  32000, 2048, 1e-5, 1e4,   0, SYNTH_SPM,         0, 0, 0, 0, 0, 0, NULL },
    { "tiny-llama",       "llama",     2,   64,  4,  2,  16,   160,    512,  512, 1e-5, 1e4,   0, SYNTH_SPM,         0, 0, 0, 0, 0, 0, NULL },
    { "tiny-wide",        "llama",     2,  256,  4,  2,  64,   512,    512,  512, 1e-5, 1e4,   0, SYNTH_SPM,         0, 0, 0, 0, 0, 0, NULL },
    { "tiny-phi2",        "phi2",      2,   64,  4,  4,   8,   160,    512,  512, 1e-5, 1e4,   0, SYNTH_PHI2,        9, 0, 0, 0, 0, 0, NULL },
    { "tiny-stablelm",    "stablelm",  2,   64,  4,  4,   4,   160,    512,  512, 1e-5, 1e4,   0, SYNTH_STABLELM2,   7, 0, 0, 0, 0, 0, NULL },
    { "tiny-qwen",        "qwen",      2,   64,  4,  4,  16,   160,    640,  512, 1e-6, 1e4,   0, SYNTH_QWEN,        5, 0, 0, 0, 0, 0, NULL },
    { "tiny-qwen2",       "qwen2",     2,   64,  4,  2,  16,   160,    512,  512, 1e-6, 1e6,   1, SYNTH_QWEN2,       6, 0, 0, 0, 0, 0, NULL },
    { "tiny-moe-llama",    "llama",    2,   64,  4,  2,  16,   160,    512,  512, 1e-5, 1e4,   0, SYNTH_SPM,         0, 4, 2, 1, 0, 0, NULL },
    { "tiny-moe-phi2",     "phi2",     2,   64,  4,  4,   8,   160,    512,  512, 1e-5, 1e4,   0, SYNTH_PHI2,        9, 4, 2, 2, 0, 0, NULL },
    { "tiny-moe-stablelm", "stablelm", 2,   64,  4,  4,   4,   160,    512,  512, 1e-5, 1e4,   0, SYNTH_STABLELM2,   7, 5, 1, 2, 0, 0, NULL },
    { "tiny-moe-qwen",     "qwen",     2,   64,  4,  4,  16,   160,    640,  512, 1e-6, 1e4,   0, SYNTH_QWEN,        5, 20, 3, 2, 0, 0, NULL },
    { "tiny-octavius-2d", "llama",     2,   64,  4,  4,  16,   160,    515,  512, 1e-6, 1e4,   0, SYNTH_SPM,         0, 0, 0, 0, 4, 4, "tiny-octavius-clip" },
    { "tiny-octavius-moe", "llama",    2,   64,  4,  2,  16,   160,    515,  512, 1e-6, 1e4,   0, SYNTH_SPM,         0, 4, 2, 2, 3, 8, NULL },
    { "clip-l-336",       "clip",     23, 1024, 16, 16,  14,  4096,   2048,  336, 1e-5, 0,     0, SYNTH_SPM,         0, 0, 0, 0, 0, 0, NULL },
    { "clip-l-336-2560",  "clip",     23, 1024, 16, 16,  14,  4096,   2560,  336, 1e-5, 0,     0, SYNTH_SPM,         0, 0, 0, 0, 0, 0, NULL },
    { "clip-l-224",       "clip",     23, 1024, 16, 16,  14,  4096,   2048,  224, 1e-5, 0,     0, SYNTH_SPM,         0, 0, 0, 0, 0, 0, NULL },
    { "siglip-so400m-384", "clip",    26, 1152, 16, 16,  14,  4304,   2048,  384, 1e-6, 0,     1, SYNTH_SPM,         0, 0, 0, 0, 0, 0, NULL },
    { "octavius-clip-l",  "clip",     24, 1024, 16, 16,  14,  4096,   5120,  224, 1e-5, 0,     0, SYNTH_SPM,         0, 0, 0, 0, 0, 0, NULL },
    { "tiny-octavius-clip", "clip",    2,   64,  4,  4,   7,    96,     64,   28, 1e-5, 0,     0, SYNTH_SPM,         0, 0, 0, 0, 0, 0, NULL },
    { "tiny-clip",        "clip",      2,   64,  4,  4,   7,    96,     64,   28, 1e-5, 0,     0, SYNTH_SPM,         0, 0, 0, 0, 0, 0, NULL },
};
enum { SYNTH_MODELS = sizeof synth_models / sizeof synth_models[0] };

static int synth_is_clip(const synth_model *m) { return strcmp(m->arch, "clip") == 0; }
SYNTH_FN const synth_model *synth_find(const char *name) {
    for (int i = 0; i < (int)SYNTH_MODELS; i++)
        if (strcmp(synth_models[i].name, name) == 0) return &synth_models[i];
    return NULL;
}

/* --- bytes in memory ---------------------------------------------------------- */

typedef struct synth_buf { unsigned char *data; size_t len, cap; int failed; } synth_buf;

static void synth_put(synth_buf *b, const void *data, size_t n) {
    if (b->failed) return;
    if (b->len + n > b->cap) {
        const size_t   cap = (b->len + n) * 2;
        unsigned char *p = (unsigned char *)realloc(b->data, cap);
        if (!p) {
            b->failed = 1;
            return;
        }
        b->data = p;
        b->cap = cap;
    }
    if (n) memcpy(b->data + b->len, data, n);
    b->len += n;
}
static void synth_u32(synth_buf *b, uint32_t v) { synth_put(b, &v, 4); }
static void synth_u64(synth_buf *b, uint64_t v) { synth_put(b, &v, 8); }
static void synth_str(synth_buf *b, const char *s) {
    synth_u64(b, strlen(s));
    synth_put(b, s, strlen(s));
}

/* Metadata: the count is patched into the header at the end. */
typedef struct synth_head { synth_buf b; uint64_t n_meta; const char *arch; } synth_head;

/* A key that begins with '.' gets the architecture's name in front. */
static void synth_key(synth_head *h, const char *key, uint32_t type) {
    char full[128];
    snprintf(full, sizeof full, "%s%s", key[0] == '.' ? h->arch : "", key);
    synth_str(&h->b, full);
    synth_u32(&h->b, type);
    h->n_meta++;
}
static void synth_meta_u32(synth_head *h, const char *key, int v) {
    synth_key(h, key, 4);
    synth_u32(&h->b, (uint32_t)v);
}
static void synth_meta_f32(synth_head *h, const char *key, double v) {
    const float f = (float)v;
    synth_key(h, key, 6);
    synth_put(&h->b, &f, 4);
}
static void synth_meta_flag(synth_head *h, const char *key, int v) {
    const unsigned char c = (unsigned char)(v != 0);
    synth_key(h, key, 7);
    synth_put(&h->b, &c, 1);
}
static void synth_meta_str(synth_head *h, const char *key, const char *v) {
    synth_key(h, key, 8);
    synth_str(&h->b, v);
}
static void synth_meta_array(synth_head *h, const char *key, uint32_t item_type, uint64_t n, const synth_buf *items) {
    synth_key(h, key, 9);
    synth_u32(&h->b, item_type);
    synth_u64(&h->b, n);
    synth_put(&h->b, items->data, items->len);
    h->b.failed |= items->failed;
}

/* --- noise --------------------------------------------------------------------- */

static uint64_t synth_next(uint64_t *state) {                          /* splitmix64 */
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
static uint64_t synth_seed(uint64_t seed, const char *name) {
    uint64_t h = 1469598103934665603u ^ (seed * 0x9E3779B97F4A7C15u);
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 1099511628211u;
    return h;
}
/* Nearly normal: four uniform 16-bit numbers of one 64-bit draw, summed; variance 4 * 65536^2 / 12. */
static void synth_normal(uint64_t *state, float *out, size_t n, double mean, double dev) {
    const double scale = dev / (65536.0 * 0.5773502691896258);
    for (size_t i = 0; i < n; i++) {
        const uint64_t z = synth_next(state);
        const int      sum = (int)((z & 0xFFFF) + (z >> 16 & 0xFFFF) + (z >> 32 & 0xFFFF) + (z >> 48)) - 131070;
        out[i] = (float)(mean + scale * sum);
    }
}

/* --- tokenizer -------------------------------------------------------------------
 * Pieces are made as training makes them: a new one joins two old ones.  Vowels and consonants take turns, so what a
 * random model says can be pronounced.
 */
typedef struct synth_pieces {
    synth_buf text;                 /* pieces, each ended by NUL */
    uint32_t *at;                   /* [n] where each begins */
    int      *left, *right;         /* [n] what it was joined from, -1: a symbol */
    int       n, cap;
    int32_t  *table;                /* [slots] hash table of pieces, -1: free */
    uint32_t  slots;
    int       failed;
} synth_pieces;

static const char *synth_piece(const synth_pieces *p, int i) { return (const char *)p->text.data + p->at[i]; }

static int synth_pieces_open(synth_pieces *p, int cap) {
    memset(p, 0, sizeof *p);
    p->cap = cap;
    for (p->slots = 1024; p->slots < (uint32_t)cap * 2; p->slots *= 2) {}
    p->at = (uint32_t *)malloc((size_t)cap * sizeof *p->at);
    p->left = (int *)malloc((size_t)cap * sizeof *p->left);
    p->right = (int *)malloc((size_t)cap * sizeof *p->right);
    p->table = (int32_t *)malloc(p->slots * sizeof *p->table);
    if (!p->at || !p->left || !p->right || !p->table) return 1;
    memset(p->table, 0xFF, p->slots * sizeof *p->table);
    return 0;
}
static void synth_pieces_close(synth_pieces *p) {
    free(p->text.data);
    free(p->at);
    free(p->left);
    free(p->right);
    free(p->table);
}
/* Adds a piece unless it exists or there is no room; non-zero if added. */
static int synth_piece_add(synth_pieces *p, const char *text, int left, int right) {
    uint32_t slot = (uint32_t)synth_seed(0, text) & (p->slots - 1);
    if (p->n == p->cap) return 0;
    for (; p->table[slot] >= 0; slot = (slot + 1) & (p->slots - 1))
        if (strcmp(synth_piece(p, p->table[slot]), text) == 0) return 0;
    p->table[slot] = p->n;
    p->at[p->n] = (uint32_t)p->text.len;
    p->left[p->n] = left;
    p->right[p->n] = right;
    synth_put(&p->text, text, strlen(text) + 1);
    p->n += !p->text.failed;
    p->failed |= p->text.failed;
    return !p->text.failed;
}
/* The printable character that stands for a byte in byte-level vocabularies, as UTF-8. */
static void synth_byte_symbol(int byte, char out[4]) {
    int cp = byte, k = 0;
    const int plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    if (!plain) {
        for (int b = 0; b < byte; b++) k += !((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174);
        cp = 256 + k;
    }
    if (cp < 0x80) {
        out[0] = (char)cp;
        out[1] = 0;
    } else {
        out[0] = (char)(0xC0 | (cp >> 6));
        out[1] = (char)(0x80 | (cp & 0x3F));
        out[2] = 0;
    }
}
static int synth_is_vowel(char c) { return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' || c == 'y'; }

/* Symbols first, then joined pieces up to n in all.  space: what stands for one, at the beginning of a piece alone. */
static void synth_pieces_fill(synth_pieces *p, int n, int spm, uint64_t seed) {
    const char *const space = spm ? "\xE2\x96\x81" : "\xC4\xA0";
    char     text[64];
    uint64_t state = seed;
    int      letters[27], n_letters = 0;
    if (spm) {
        for (int c = 33; c < 127; c++) {
            text[0] = (char)c;
            text[1] = 0;
            synth_piece_add(p, text, -1, -1);
        }
        synth_piece_add(p, space, -1, -1);
    } else {
        for (int pass = 0; pass < 2; pass++)                 /* GPT-2's order: bytes that stand for themselves first */
            for (int c = 0; c < 256; c++) {
                synth_byte_symbol(c, text);
                const int plain = (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || c >= 174;
                if (plain != pass) synth_piece_add(p, text, -1, -1);
            }
    }
    for (int i = 0; i < p->n; i++) {
        const char *t = synth_piece(p, i);
        if ((t[0] >= 'a' && t[0] <= 'z' && !t[1]) || strcmp(t, space) == 0) letters[n_letters++] = i;
    }
    const int first_joined = p->n;
    for (long tries = 0; p->n < n && !p->failed && tries < 400L * n; tries++) {
        const int pool = n_letters + p->n - first_joined;
        int       pick[2];
        for (int j = 0; j < 2; j++) {
            const double u = (double)(synth_next(&state) >> 11) / 9007199254740992.0;
            const int    k = (int)(u * u * pool);            /* early pieces, the frequent ones, are joined more often */
            pick[j] = k < n_letters ? letters[k] : first_joined + k - n_letters;
        }
        const char *a = synth_piece(p, pick[0]), *b = synth_piece(p, pick[1]);
        const size_t na = strlen(a), nb = strlen(b);
        if (na + nb > 15 || (b[0] & 0x80)) continue;         /* a space stands in front only */
        if (!(a[na - 1] & 0x80) && synth_is_vowel(a[na - 1]) == synth_is_vowel(b[0])) continue;
        memcpy(text, a, na);
        memcpy(text + na, b, nb + 1);
        synth_piece_add(p, text, pick[0], pick[1]);
    }
    if (p->n < n) p->failed = 1;
}

typedef struct synth_vocab { synth_buf tokens, scores, types, merges; int n; uint64_t n_merges; } synth_vocab;

static void synth_token(synth_vocab *v, const char *text, int type, double score) {
    const float f = (float)score;
    synth_str(&v->tokens, text);
    synth_put(&v->scores, &f, 4);
    synth_u32(&v->types, (uint32_t)type);
    v->n++;
}

static const char *const synth_tags[] = { "<XSFQ/>", "<Img>", "</Img>" };       /* OCTAVIUS's, the last ids */
enum { SYNTH_TAGS = sizeof synth_tags / sizeof synth_tags[0] };

/* Token types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. */
static void synth_vocab_spm(synth_vocab *v, const synth_model *m, synth_pieces *p) {
    char text[32];
    synth_token(v, "<unk>", 2, 0);
    synth_token(v, "<s>", 3, 0);
    synth_token(v, "</s>", 3, 0);
    for (int c = 0; c < 256; c++) {
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)c);
        synth_token(v, text, 6, 0);
    }
    synth_pieces_fill(p, m->n_vocab - 259 - (m->n_lora ? (int)SYNTH_TAGS : 0), 1, 17);
    for (int i = 0; i < p->n; i++) synth_token(v, synth_piece(p, i), 1, -(double)i);
    for (int i = 0; m->n_lora && i < (int)SYNTH_TAGS; i++) synth_token(v, synth_tags[i], 3, -1000);
}
static void synth_vocab_bpe(synth_vocab *v, const synth_model *m, synth_pieces *p) {
    char      text[64];
    const int n_special = m->vocab == SYNTH_PHI2 ? 39 : m->vocab == SYNTH_QWEN ? 208 : 3;
    synth_pieces_fill(p, m->n_vocab - m->n_pad - n_special, 0, 17);
    for (int i = 0; i < p->n; i++) {
        synth_token(v, synth_piece(p, i), 1, 0);
        if (p->left[i] < 0) continue;
        snprintf(text, sizeof text, "%s %s", synth_piece(p, p->left[i]), synth_piece(p, p->right[i]));
        synth_str(&v->merges, text);
        v->n_merges++;
    }
    synth_token(v, "<|endoftext|>", 3, 0);
    if (m->vocab == SYNTH_PHI2) {                            /* its runs of spaces and tabs, longest first */
        memset(text, ' ', sizeof text);
        for (int n = 31; n >= 2; n--) {
            text[n] = 0;
            synth_token(v, text, 4, 0);
        }
        memset(text, '\t', sizeof text);
        for (int n = 9; n >= 2; n--) {
            text[n] = 0;
            synth_token(v, text, 4, 0);
        }
    } else {
        synth_token(v, "<|im_start|>", 3, 0);
        synth_token(v, "<|im_end|>", 3, 0);
        for (int i = 0; i < n_special - 3; i++) {
            snprintf(text, sizeof text, "<|extra_%d|>", i);
            synth_token(v, text, 3, 0);
        }
    }
    while (v->n < m->n_vocab) {
        snprintf(text, sizeof text, "[PAD%d]", v->n);
        synth_token(v, text, 5, 0);
    }
}

static void synth_head_tokenizer(synth_head *h, const synth_model *m) {
    static const char *const pre[] = { "default", "phi-2", "stablelm2", "qwen2", "qwen2" };
    const int    spm = m->vocab == SYNTH_SPM;
    synth_vocab  v;
    synth_pieces p;
    memset(&v, 0, sizeof v);
    if (synth_pieces_open(&p, m->n_vocab)) p.failed = 1;
    else if (spm) synth_vocab_spm(&v, m, &p);
    else synth_vocab_bpe(&v, m, &p);
    synth_meta_str(h, "tokenizer.ggml.model", spm ? "llama" : "gpt2");
    synth_meta_str(h, "tokenizer.ggml.pre", pre[m->vocab]);
    synth_meta_array(h, "tokenizer.ggml.tokens", 8, (uint64_t)v.n, &v.tokens);
    if (spm) synth_meta_array(h, "tokenizer.ggml.scores", 6, (uint64_t)v.n, &v.scores);
    synth_meta_array(h, "tokenizer.ggml.token_type", 5, (uint64_t)v.n, &v.types);
    if (spm) {
        synth_meta_u32(h, "tokenizer.ggml.bos_token_id", 1);
        synth_meta_u32(h, "tokenizer.ggml.eos_token_id", 2);
        synth_meta_u32(h, "tokenizer.ggml.unknown_token_id", 0);
        synth_meta_flag(h, "tokenizer.ggml.add_bos_token", 1);
        synth_meta_flag(h, "tokenizer.ggml.add_eos_token", 0);
    } else {
        synth_meta_array(h, "tokenizer.ggml.merges", 8, v.n_merges, &v.merges);
        synth_meta_u32(h, "tokenizer.ggml.bos_token_id", p.n);           /* <|endoftext|> */
        synth_meta_u32(h, "tokenizer.ggml.eos_token_id", p.n);
        synth_meta_flag(h, "tokenizer.ggml.add_bos_token", 0);
    }
    if (p.failed || v.n != m->n_vocab) h->b.failed = 1;
    synth_pieces_close(&p);
    free(v.tokens.data);
    free(v.scores.data);
    free(v.types.data);
    free(v.merges.data);
}

static const float synth_clip_mean[] = { 0.48145466f, 0.4578275f, 0.40821073f }, synth_clip_dev[] = { 0.26862954f, 0.26130258f, 0.27577711f };

/* As llama.cpp's own converter writes it. */
static void synth_head_clip(synth_head *h, const synth_model *m) {
    static const float half[3] = { 0.5f, 0.5f, 0.5f };
    synth_buf items;
    memset(&items, 0, sizeof items);
    synth_meta_flag(h, ".has_text_encoder", 0);
    synth_meta_flag(h, ".has_vision_encoder", 1);
    synth_meta_flag(h, ".has_llava_projector", 1);
    synth_meta_str(h, ".projector_type", "mlp");
    synth_meta_flag(h, ".use_gelu", m->tied);
    synth_meta_u32(h, ".vision.image_size", m->n_ctx);
    synth_meta_u32(h, ".vision.patch_size", m->n_rot);
    synth_meta_u32(h, ".vision.embedding_length", m->n_embd);
    synth_meta_u32(h, ".vision.feed_forward_length", m->n_ff);
    synth_meta_u32(h, ".vision.projection_dim", m->n_vocab);
    synth_meta_u32(h, ".vision.attention.head_count", m->n_head);
    synth_meta_f32(h, ".vision.attention.layer_norm_epsilon", m->eps);
    synth_meta_u32(h, ".vision.block_count", m->n_layer);
    synth_put(&items, m->tied ? half : synth_clip_mean, sizeof half);
    synth_meta_array(h, ".vision.image_mean", 6, 3, &items);
    items.len = 0;
    synth_put(&items, m->tied ? half : synth_clip_dev, sizeof half);
    synth_meta_array(h, ".vision.image_std", 6, 3, &items);
    items.len = 0;
    synth_u32(&items, (uint32_t)m->n_layer);                     /* else llama.cpp leaves out the last block */
    synth_meta_array(h, ".vision.feature_layer", 5, 1, &items);
    free(items.data);
}

static void synth_head_tower(synth_head *h, const synth_model *m) {
    synth_buf items;
    memset(&items, 0, sizeof items);
    synth_meta_u32(h, "octavius.v.image_size", m->n_ctx);
    synth_meta_u32(h, "octavius.v.patch_size", m->n_rot);
    synth_meta_u32(h, "octavius.v.embedding_length", m->n_embd);
    synth_meta_u32(h, "octavius.v.feed_forward_length", m->n_ff);
    synth_meta_u32(h, "octavius.v.block_count", m->n_layer);
    synth_meta_u32(h, "octavius.v.head_count", m->n_head);
    synth_meta_f32(h, "octavius.v.layer_norm_epsilon", m->eps);
    synth_put(&items, synth_clip_mean, sizeof synth_clip_mean);
    synth_meta_array(h, "octavius.v.image_mean", 6, 3, &items);
    items.len = 0;
    synth_put(&items, synth_clip_dev, sizeof synth_clip_dev);
    synth_meta_array(h, "octavius.v.image_std", 6, 3, &items);
    free(items.data);
    synth_meta_str(h, "octavius.v.activation", "gelu_quick");
    synth_meta_str(h, "octavius.v.resize", "squash");
    synth_meta_str(h, "octavius.v.convert", "after");
    synth_meta_str(h, "octavius.v.feature", "patch");
}
/* What OCTAVIUS's files say beside a LLaMA's.  The vocabulary has no longer piece of '#' than one, which is id 261. */
static void synth_head_octavius(synth_head *h, const synth_model *m) {
    synth_buf items;
    memset(&items, 0, sizeof items);
    synth_meta_u32(h, "octavius.lora.expert_used_count", m->n_lora < 2 ? m->n_lora : 2);
    synth_meta_str(h, "octavius.prompt_style", "bare");
    synth_meta_f32(h, "octavius.sampling.temp", 1.0);
    synth_meta_u32(h, "octavius.sampling.top_k", 50);
    synth_meta_f32(h, "octavius.sampling.top_p", 0.9);
    synth_meta_u32(h, "octavius.max_tokens", 400);
    for (int i = 0; i < (int)SYNTH_TAGS; i++) synth_u32(&items, (uint32_t)(m->n_vocab - (int)SYNTH_TAGS + i));
    synth_meta_array(h, "octavius.tokenizer.tags", 5, SYNTH_TAGS, &items);
    items.len = 0;
    synth_str(&items, "261 261 261");
    synth_str(&items, "1 2");
    synth_meta_array(h, "octavius.stop_suffixes", 8, 2, &items);
    free(items.data);
}

static void synth_head_model(synth_head *h, const synth_model *m, int type) {
    char      name[64];
    const int rms = strcmp(m->arch, "phi2") != 0 && strcmp(m->arch, "stablelm") != 0;
    const int qwen = strcmp(m->arch, "qwen") == 0;
    snprintf(name, sizeof name, "synth %s", m->name);
    synth_meta_str(h, "general.architecture", m->arch);
    synth_meta_str(h, "general.name", name);
    synth_meta_u32(h, "general.file_type", blocks_type_of(type)->file_type);
    synth_meta_u32(h, "general.quantization_version", 2);
    if (synth_is_clip(m)) {
        synth_head_clip(h, m);
        return;
    }
    synth_meta_u32(h, ".context_length", m->n_ctx);
    synth_meta_u32(h, ".embedding_length", m->n_embd);
    synth_meta_u32(h, ".block_count", m->n_layer);
    synth_meta_u32(h, ".feed_forward_length", qwen ? 2 * m->n_ff : m->n_ff);      /* Qwen-1 counts gate and up together */
    synth_meta_u32(h, ".attention.head_count", m->n_head);
    synth_meta_u32(h, ".attention.head_count_kv", m->n_kv);
    synth_meta_f32(h, rms ? ".attention.layer_norm_rms_epsilon" : ".attention.layer_norm_epsilon", m->eps);
    synth_meta_u32(h, ".rope.dimension_count", m->n_rot);
    synth_meta_f32(h, ".rope.freq_base", m->rope_base);
    if (strcmp(m->arch, "stablelm") == 0) synth_meta_flag(h, ".use_parallel_residual", 0);
    synth_meta_u32(h, ".vocab_size", m->n_vocab);
    if (m->n_lora) synth_head_octavius(h, m);
    if (m->tower) synth_head_tower(h, synth_find(m->tower));
    if (m->n_expert == 0) return;
    synth_meta_u32(h, ".expert_count", m->n_expert);
    synth_meta_u32(h, ".expert_used_count", m->k_top);
    if (strcmp(m->arch, "llama") == 0) return;                       /* as llama.cpp has it; the others are MoE-LLaVA's */
    synth_meta_f32(h, "octavius.moe.capacity_factor", 2.0);
    synth_meta_u32(h, "octavius.moe.min_capacity", 0);
}

/* --- tensors ---------------------------------------------------------------------- */

typedef struct synth_tensor {
    char     name[64];
    int      type, n_dims;
    int64_t  cols, rows, slabs;                                      /* rows: of all slabs together */
    double   mean, dev;
    uint64_t offset, bytes;
} synth_tensor;

typedef struct synth_list { synth_tensor *t; int n; const synth_model *m; int type; } synth_list;

/* The type of a matrix: the file's, but as llama.cpp mixes them. */
static int synth_matrix_type(const synth_list *l, const char *what, int layer, int64_t cols) {
    int type = l->type;
    const int is_output = strcmp(what, "output") == 0 || (l->m->tied && strcmp(what, "token_embd") == 0);
    if (blocks_type_of(type)->elems > 1 && type != SYNTH_Q8_0 && is_output) type = SYNTH_Q6_K;
    if (type == SYNTH_Q4_K) {
        if (strcmp(what, "attn_qkv") == 0) type = SYNTH_Q5_K;
        if ((strcmp(what, "attn_v") == 0 || strncmp(what, "ffn_down", 8) == 0) && blocks_more_bits(layer, l->m->n_layer))
            type = SYNTH_Q6_K;
    }
    if (cols % 256 && blocks_type_of(type)->fallback >= 0) type = blocks_type_of(type)->fallback;
    return cols % blocks_type_of(type)->elems ? SYNTH_F16 : type;
}

static synth_tensor *synth_tensor_add(synth_list *l, int layer, const char *what, const char *end, int64_t cols, int64_t rows) {
    synth_tensor *t = &l->t[l->n++];
    memset(t, 0, sizeof *t);
    if (layer < 0) snprintf(t->name, sizeof t->name, "%s.%s", what, end);
    else snprintf(t->name, sizeof t->name, "blk.%d.%s.%s", layer, what, end);
    t->cols = cols;
    t->rows = rows;
    t->slabs = 1;
    t->n_dims = rows ? 2 : 1;
    t->type = rows ? synth_matrix_type(l, what, layer, cols) : SYNTH_F32;
    const blocks_type *type = blocks_type_of(t->type);
    t->bytes = (uint64_t)(cols / type->elems) * (uint64_t)type->bytes * (uint64_t)(rows ? rows : 1);
    return t;
}
/* W [rows, cols], gain: size of what comes out against what goes in.  bias: a vector beside it. */
static void synth_matrix(synth_list *l, int layer, const char *what, int64_t cols, int64_t rows, double gain, int bias) {
    synth_tensor_add(l, layer, what, "weight", cols, rows)->dev = gain / sqrt((double)cols);
    if (bias) synth_tensor_add(l, layer, what, "bias", rows, 0)->dev = 0.1 * gain;
}
/* The same for every expert: W [E, rows, cols], bias [E, rows]. */
static void synth_experts(synth_list *l, int layer, const char *what, int64_t cols, int64_t rows, double gain, int bias) {
    char          name[32];
    const int64_t n = l->m->n_expert;
    snprintf(name, sizeof name, "%s_exps", what);
    synth_tensor *t = synth_tensor_add(l, layer, name, "weight", cols, rows * n);
    t->dev = gain / sqrt((double)cols);
    t->slabs = n;
    t->n_dims = 3;
    if (!bias) return;
    t = synth_tensor_add(l, layer, name, "bias", rows * n, 0);
    t->dev = 0.1 * gain;
    t->cols = rows;
    t->rows = n;
    t->n_dims = 2;
}
/* Always F32, as the router.  Far from even for the mean of some tens of embeddings, whose numbers are about 1. */
static void synth_gate(synth_list *l) {
    synth_tensor *t = synth_tensor_add(l, -1, "gate", "weight", l->m->n_embd, l->m->n_lora);
    t->dev = 8 / sqrt((double)l->m->n_embd);
    t->type = SYNTH_F32;
    t->bytes = (uint64_t)(t->cols * t->rows) * 4;
}
/* Always F32. */
static void synth_router(synth_list *l, int layer) {
    synth_tensor *t = synth_tensor_add(l, layer, "ffn_gate_inp", "weight", l->m->n_embd, l->m->n_expert);
    t->dev = 1 / sqrt((double)l->m->n_embd);
    t->type = SYNTH_F32;
    t->bytes = (uint64_t)(t->cols * t->rows) * 4;
}
/* A [E, rank, cols] and B [E, rows, rank] beside W [rows, cols]; F16, in a file of F32 that. */
static void synth_lora(synth_list *l, int layer, const char *what, int64_t cols, int64_t rows, double gain) {
    const int64_t n = l->m->n_lora, rank = l->m->rank;
    for (int b = 0; b < 2 && n; b++) {
        synth_tensor *t = synth_tensor_add(l, layer, what, b ? "lora_b" : "lora_a", b ? rank : cols, (b ? rows : rank) * n);
        t->type = l->type == SYNTH_F32 ? SYNTH_F32 : SYNTH_F16;
        t->bytes = (uint64_t)(t->cols * t->rows) * (uint64_t)blocks_type_of(t->type)->bytes;
        t->dev = b ? 0.7 * gain / sqrt((double)rank) : 1 / sqrt((double)cols);
        t->slabs = n;
        t->n_dims = 3;
    }
}
static void synth_norm(synth_list *l, int layer, const char *what, int64_t n, int bias) {
    synth_tensor *t = synth_tensor_add(l, layer, what, "weight", n, 0);
    t->mean = 1;
    t->dev = 0.1;
    if (bias) synth_tensor_add(l, layer, what, "bias", n, 0)->dev = 0.1;
}

static void synth_layer(synth_list *l, int i) {
    const synth_model *m = l->m;
    const int    phi = strcmp(m->arch, "phi2") == 0, qwen = strcmp(m->arch, "qwen") == 0;
    const int    stablelm = strcmp(m->arch, "stablelm") == 0, qwen2 = strcmp(m->arch, "qwen2") == 0;
    const int    d = m->n_embd, kv = m->n_embd / m->n_head * m->n_kv, ln = phi || stablelm;
    const int    moe = m->n_expert > 0 && i % m->moe_step == 0;
    void (*const ffn)(synth_list *, int, const char *, int64_t, int64_t, double, int) = moe ? synth_experts : synth_matrix;
    const double add = 1 / sqrt(2.0 * m->n_layer);                /* of what joins the residual stream */
    synth_norm(l, i, "attn_norm", d, ln);
    if (phi || qwen) {
        synth_matrix(l, i, "attn_qkv", d, d + 2 * kv, 1, 1);
    } else {
        synth_matrix(l, i, "attn_q", d, d, 1, stablelm || qwen2);
        synth_matrix(l, i, "attn_k", d, kv, 1, stablelm || qwen2);
        synth_matrix(l, i, "attn_v", d, kv, 1, stablelm || qwen2);
    }
    synth_matrix(l, i, "attn_output", d, d, 2 * add, phi);        /* times 2: attention averages, and so shrinks */
    synth_lora(l, i, "attn_q", d, d, 1);
    synth_lora(l, i, "attn_k", d, kv, 1);
    synth_lora(l, i, "attn_v", d, kv, 1);
    synth_lora(l, i, "attn_output", d, d, 2 * add);
    if (!phi) synth_norm(l, i, "ffn_norm", d, ln);
    if (moe) synth_router(l, i);
    if (!phi) ffn(l, i, "ffn_gate", d, m->n_ff, 1, 0);
    ffn(l, i, "ffn_up", d, m->n_ff, 1, phi);
    ffn(l, i, "ffn_down", m->n_ff, d, 2 * add, phi);
}

/* The encoder m and its projector. */
static void synth_clip(synth_list *l, const synth_model *m) {
    const int     d = m->n_embd, grid = m->n_ctx / m->n_rot, n_pixel = 3 * m->n_rot * m->n_rot;
    const double  add = 1 / sqrt(2.0 * m->n_layer);
    char          name[32];
    synth_tensor *t = synth_tensor_add(l, -1, "v.patch_embd", "weight", n_pixel, d);
    t->dev = 1 / sqrt((double)n_pixel);
    t->n_dims = 4;                                                /* [n_embd, 3, patch, patch] */
    t = synth_tensor_add(l, -1, "v.position_embd", "weight", d, grid * grid + !m->tied);
    t->dev = 0.3;
    t->type = SYNTH_F32;
    t->bytes = (uint64_t)t->cols * (uint64_t)t->rows * 4;
    if (m->tied) {
        synth_tensor_add(l, -1, "v.patch_embd", "bias", d, 0)->dev = 0.1;
    } else {
        t = synth_tensor_add(l, -1, "v.class_embd", "", d, 0);
        t->dev = 0.5;
        t->name[strlen(t->name) - 1] = 0;                         /* it has no end, nor the point before it */
        synth_norm(l, -1, "v.pre_ln", d, 1);
    }
    for (int i = 0; i < m->n_layer; i++) {
        static const char *const names[] = { "attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down" };
        for (int j = 0; j < 6; j++) {
            snprintf(name, sizeof name, "v.blk.%d.%s", i, names[j]);
            synth_matrix(l, -1, name, j == 5 ? m->n_ff : d, j == 4 ? m->n_ff : d, j == 3 || j == 5 ? 2 * add : 1, 1);
        }
        for (int j = 1; j <= 2; j++) {
            snprintf(name, sizeof name, "v.blk.%d.ln%d", i, j);
            synth_norm(l, -1, name, d, 1);
        }
    }
    synth_matrix(l, -1, "mm.0", d, m->n_vocab, 1, 1);
    if (m == l->m) synth_matrix(l, -1, "mm.2", m->n_vocab, m->n_vocab, 1, 1);
}

static int synth_list_fill(synth_list *l, const synth_model *m, int type) {
    const int phi = strcmp(m->arch, "phi2") == 0, ln = phi || strcmp(m->arch, "stablelm") == 0;
    uint64_t  at = 0;
    l->m = m;
    l->type = type;
    l->n = 0;
    const synth_model *tower = m->tower ? synth_find(m->tower) : NULL;
    l->t = (synth_tensor *)malloc((size_t)(24 * m->n_layer + (tower ? 16 * tower->n_layer : 0) + 24) * sizeof *l->t);
    if (!l->t) return 1;
    if (synth_is_clip(m)) {
        synth_clip(l, m);
    } else {
        synth_matrix(l, -1, "token_embd", m->n_embd, m->n_vocab, sqrt((double)m->n_embd), 0);
        if (m->tied) l->t[0].dev = 3 / sqrt((double)m->n_embd);
        for (int i = 0; i < m->n_layer; i++) synth_layer(l, i);
        synth_norm(l, -1, "output_norm", m->n_embd, ln);
        if (!m->tied) synth_matrix(l, -1, "output", m->n_embd, m->n_vocab, 3, phi);
        if (m->n_lora) synth_gate(l);
        if (tower) synth_clip(l, tower);
    }
    for (int i = 0; i < l->n; i++) {
        l->t[i].offset = at;
        at += (l->t[i].bytes + 31) / 32 * 32;
    }
    return 0;
}

/* --- the file ------------------------------------------------------------------------ */

/* Takes the file's bytes in order; non-zero: stop. */
typedef int (*synth_sink)(void *user, const void *data, size_t n);

/* Row-wise noise of a small tensor, every element drawn. */
static int synth_tensor_plain(const synth_tensor *t, uint64_t seed, synth_sink sink, void *user) {
    const blocks_type *type = blocks_type_of(t->type);
    const int64_t     rows = t->rows ? t->rows : 1;
    const size_t      bytes = (size_t)(t->cols / type->elems * type->bytes);
    float            *x = (float *)malloc((size_t)t->cols * sizeof *x);
    void             *q = malloc(bytes);
    uint64_t          state = synth_seed(seed, t->name);
    int               bad = !x || !q;
    for (int64_t r = 0; r < rows && !bad; r++) {
        synth_normal(&state, x, (size_t)t->cols, t->mean, t->dev);
        blocks_encode(t->type, x, q, t->cols);
        bad = sink(user, q, bytes);
    }
    free(x);
    free(q);
    return bad;
}
/* Large tensors: each block is one of some thousands drawn and encoded once, picked at random, which is as fast as
 * copying.  With b blocks a row there are thousands^b rows, so no two are alike. */
static int synth_tensor_pooled(const synth_tensor *t, uint64_t seed, synth_sink sink, void *user) {
    enum { ELEMS = 256, POOL = 4096 };
    const blocks_type *type = blocks_type_of(t->type);
    const size_t      step = type->elems == 256 || t->cols % ELEMS == 0 ? ELEMS : 32;        /* elements picked at once */
    const size_t      bytes = step / (size_t)type->elems * (size_t)type->bytes;
    const size_t      pool = (size_t)POOL * ELEMS / step, per_row = (size_t)t->cols / step;
    float            *x = (float *)malloc(ELEMS * POOL * sizeof *x);
    unsigned char    *q = (unsigned char *)malloc(pool * bytes), *row = (unsigned char *)malloc(per_row * bytes);
    uint64_t          state = synth_seed(seed, t->name);
    int               bad = !x || !q || !row;
    if (!bad) {
        synth_normal(&state, x, ELEMS * POOL, t->mean, t->dev);
        blocks_encode(t->type, x, q, (int64_t)ELEMS * POOL);
    }
    for (int64_t r = 0; r < t->rows && !bad; r++) {
        for (size_t j = 0; j < per_row; j++)
            memcpy(row + j * bytes, q + (size_t)((synth_next(&state) >> 32) % pool) * bytes, bytes);
        bad = sink(user, row, per_row * bytes);
    }
    free(x);
    free(q);
    free(row);
    return bad;
}

/* Writes the whole file through sink.  Non-zero: no memory, or what sink returned. */
SYNTH_FN int synth_write(const synth_model *m, int type, uint64_t seed, synth_sink sink, void *user) {
    static const unsigned char zeros[32] = { 0 };
    synth_head head;
    synth_list list;
    memset(&head, 0, sizeof head);
    head.arch = m->arch;
    int bad = synth_list_fill(&list, m, type);
    if (bad) return bad;
    synth_put(&head.b, "GGUF", 4);
    synth_u32(&head.b, 3);
    synth_u64(&head.b, (uint64_t)list.n);
    synth_u64(&head.b, 0);                                       /* how many keys: set below */
    synth_head_model(&head, m, type);
    if (!synth_is_clip(m)) synth_head_tokenizer(&head, m);
    for (int i = 0; i < list.n; i++) {
        const synth_tensor *t = &list.t[i];
        synth_str(&head.b, t->name);
        synth_u32(&head.b, (uint32_t)t->n_dims);
        const int patch = m->tower ? synth_find(m->tower)->n_rot : m->n_rot;
        for (int j = 0; j < 3 && t->n_dims == 4; j++) synth_u64(&head.b, (uint64_t)(j < 2 ? patch : 3));
        if (t->n_dims < 4) synth_u64(&head.b, (uint64_t)t->cols);
        if (t->n_dims > 1) synth_u64(&head.b, (uint64_t)(t->rows / t->slabs));
        if (t->n_dims == 3) synth_u64(&head.b, (uint64_t)t->slabs);
        synth_u32(&head.b, (uint32_t)t->type);
        synth_u64(&head.b, t->offset);
    }
    synth_put(&head.b, zeros, (32 - head.b.len % 32) % 32);
    bad = head.b.failed;
    if (!bad) {
        memcpy(head.b.data + 16, &head.n_meta, 8);
        bad = sink(user, head.b.data, head.b.len);
    }
    for (int i = 0; i < list.n && !bad; i++) {
        const synth_tensor *t = &list.t[i];
        const int           large = t->rows && t->cols * t->rows > 2 << 20 && t->cols % 32 == 0;
        bad = large ? synth_tensor_pooled(t, seed, sink, user) : synth_tensor_plain(t, seed, sink, user);
        if (!bad) bad = sink(user, zeros, (size_t)((32 - t->bytes % 32) % 32));
    }
    free(head.b.data);
    free(list.t);
    return bad;
}

/* How many bytes of tensors the file will hold. */
SYNTH_FN uint64_t synth_data_bytes(const synth_model *m, int type) {
    synth_list list;
    if (synth_list_fill(&list, m, type)) return 0;
    const uint64_t bytes = list.t[list.n - 1].offset + list.t[list.n - 1].bytes;
    free(list.t);
    return bytes;
}

static int synth_sink_memory(void *user, const void *data, size_t n) {
    synth_put((synth_buf *)user, data, n);
    return ((synth_buf *)user)->failed;
}
/* The file in memory, for free(); NULL: no memory. */
SYNTH_FN unsigned char *synth_memory(const synth_model *m, int type, uint64_t seed, size_t *bytes) {
    synth_buf b;
    memset(&b, 0, sizeof b);
    if (synth_write(m, type, seed, synth_sink_memory, &b)) {
        free(b.data);
        return NULL;
    }
    *bytes = b.len;
    return b.data;
}
#endif /* SYNTH_H */
