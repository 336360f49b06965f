/* quants.h - rows of F32 to the types of a model file, and which type a tensor of a model gets.
 *
 * quants_row(type, src, dst, n): F32, F16, BF16 and blocks of 32 as blocks.h has them, which is bit for bit what
 * llama.cpp writes; Q4_K, Q5_K and Q6_K by a search of our own for the scales that bring the row back best:
 *   1. each group alone: some thirty steps around "largest minus smallest by number of levels"; for each step the
 *      levels are rounded, and then scale (and minimum) are those of least squares for these levels;
 *   2. the block: its d (and dmin) follow from the largest scale (and minimum), every group tries the whole numbers next to
 *      its own scale (and minimum), d and dmin become those of least squares for what was chosen, and the groups try again.
 * Errors are weighted by size: sqrt(mean square + x^2), so that the few large weights, which move a sum most, are nearer.
 *
 * Stands alone beside blocks.h.  C11 or C++17 of gcc or clang (vectors of four floats).
 */
#ifndef OCTAVIUS_QUANTS_H
#define OCTAVIUS_QUANTS_H
#include <stdio.h>
#include <stdlib.h>
#include "blocks.h"

/* --- four at a time ------------------------------------------------------------------- */

typedef float   quants_v4 __attribute__((vector_size(16)));
typedef int32_t quants_i4 __attribute__((vector_size(16)));

static inline quants_v4 quants_load(const float *p) {
    quants_v4 v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline quants_v4 quants_splat(float x) {
    const quants_v4 v = { x, x, x, x };
    return v;
}
static inline float quants_sum(quants_v4 v) { return (v[0] + v[1]) + (v[2] + v[3]); }
/* To the nearest whole number, ties to even, for |v| < 2^22. */
static inline quants_v4 quants_nearest(quants_v4 v) {
    const quants_v4 magic = quants_splat(12582912.0f);
    return (v + magic) - magic;
}
static inline quants_v4 quants_pick(quants_i4 mask, quants_v4 yes, quants_v4 no) {
    return (quants_v4)((mask & (quants_i4)yes) | (~mask & (quants_i4)no));
}
static inline quants_v4 quants_clamp(quants_v4 v, float low, float high) {
    const quants_v4 l = quants_splat(low), h = quants_splat(high);
    v = quants_pick(v > l, v, l);
    return quants_pick(v < h, v, h);
}

/* --- one group ------------------------------------------------------------------------------ */

/* x ~ scale * level + min.  What least squares needs of one choice of levels q [n]: */
typedef struct quants_sums { float q, qq, qx; } quants_sums;
typedef struct quants_data { float w, x, xx, min, max; } quants_data;       /* and of the group; w: sum of weights */

/* How much an error in each element counts: sqrt(mean square + x^2). */
static void quants_weights(const float *x, int n, float *w) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    sum /= (float)n;
    for (int i = 0; i < n; i++) w[i] = sqrtf(sum + x[i] * x[i]);
}
static quants_data quants_measure(const float *x, const float *w, int n) {
    quants_data d = { 0, 0, 0, x[0], x[0] };
    for (int i = 0; i < n; i++) {
        d.w += w[i];
        d.x += w[i] * x[i];
        d.xx += w[i] * x[i] * x[i];
        if (x[i] < d.min) d.min = x[i];
        if (x[i] > d.max) d.max = x[i];
    }
    return d;
}
/* Levels low .. high of x ~ (level) / inverse + min. */
static quants_sums quants_try(const float *x, const float *w, int n, float inverse, float min, float low, float high) {
    quants_v4 q = quants_splat(0), qq = q, qx = q;
    const quants_v4 k = quants_splat(inverse), m = quants_splat(min);
    quants_sums s;
    for (int i = 0; i < n; i += 4) {
        const quants_v4 v = quants_load(x + i), l = quants_clamp(quants_nearest((v - m) * k), low, high), wl = quants_load(w + i) * l;
        q += wl;
        qq += wl * l;
        qx += wl * v;
    }
    s.q = quants_sum(q);
    s.qq = quants_sum(qq);
    s.qx = quants_sum(qx);
    return s;
}
/* Weighted squared error of levels with these sums under scale and min. */
static double quants_error_of(const quants_data *d, const quants_sums *s, double scale, double min) {
    return (double)d->xx + scale * scale * (double)s->qq + min * min * (double)d->w + 2 * scale * min * (double)s->q -
           2 * scale * (double)s->qx - 2 * min * (double)d->x;
}
/* Least squares with min <= 0; without a minimum (d->w = 0) the scale alone. */
static void quants_solve(const quants_data *d, const quants_sums *s, double *scale, double *min) {
    const double det = (double)d->w * (double)s->qq - (double)s->q * (double)s->q;
    *scale = s->qq > 0 ? (double)s->qx / (double)s->qq : 0;
    *min = 0;
    if (!(det > 0)) return;
    const double m = ((double)s->qq * (double)d->x - (double)s->q * (double)s->qx) / det;
    if (m >= 0) return;
    *min = m;
    *scale = ((double)d->w * (double)s->qx - (double)d->x * (double)s->q) / det;
}

/* --- K-blocks: 256 elements in groups --------------------------------------------------------------- */

/* Levels low .. high; a group's scale is scale_low .. scale_high times d, its minimum 0 .. min_high times -dmin. */
typedef struct quants_kind { int size, low, high, scale_low, scale_high, min_high; } quants_kind;

typedef struct quants_block {
    quants_kind kind;
    float       w[256];
    quants_data data[16];
    quants_sums sums[16];
    double      scale[16], min[16];          /* of each group alone */
    int         s[16], m[16];                /* in units of d and dmin */
    uint16_t    d16, dmin16;
    double      d, dmin, error;
} quants_block;

/* One more choice for group g, x its elements: kept if it is the best so far. */
static void quants_group_step(quants_block *b, int g, const float *x, float inverse, double min, double *best) {
    const quants_data *data = &b->data[g];
    double scale, low;
    const quants_sums s = quants_try(x, b->w + g * b->kind.size, b->kind.size, inverse, (float)min, (float)b->kind.low, (float)b->kind.high);
    quants_solve(data, &s, &scale, &low);
    const double error = quants_error_of(data, &s, scale, low);
    if (!(error < *best)) return;
    *best = error;
    b->scale[g] = scale;
    b->min[g] = low;
}
/* The group alone: steps around the full reach, then twice the levels that the best scale and minimum ask for. */
static void quants_group(quants_block *b, int g, const float *x) {
    const quants_kind *k = &b->kind;
    quants_data *data = &b->data[g];
    *data = quants_measure(x, b->w + g * k->size, k->size);
    double best = (double)data->xx;
    b->scale[g] = b->min[g] = 0;
    if (k->min_high) {
        if (data->min > 0) data->min = 0;
        const float reach = data->max - data->min;
        if (!(reach > 0)) {
            b->min[g] = (double)data->min;
            return;
        }
        for (int i = -10; i <= 8; i++) quants_group_step(b, g, x, ((float)k->high + 0.1f * (float)i) / reach, (double)data->min, &best);
    } else {
        data->w = 0;                                    /* no minimum: see quants_solve */
        const float far = data->max > -data->min ? data->max : data->min;
        if (far == 0.0f) return;
        for (int i = -12; i <= 8; i++) quants_group_step(b, g, x, ((float)k->low - 0.12f * (float)i) / far, 0, &best);
        for (int i = -4; i <= 4; i++) quants_group_step(b, g, x, ((float)k->high - 0.12f * (float)i) / far, 0, &best);
    }
    for (int i = 0; i < 2 && b->scale[g] != 0; i++) quants_group_step(b, g, x, (float)(1 / b->scale[g]), b->min[g], &best);
}
static int quants_within(double v, int low, int high) { return !(v > (double)low) ? low : v < (double)high ? (int)rint(v) : high; }

/* Scale s and minimum m for group g under the block's d and dmin: kept if the best so far. */
static void quants_group_at(quants_block *b, int g, const float *x, int s, int m, double *best) {
    const quants_kind *k = &b->kind;
    if (s < k->scale_low || s > k->scale_high || m < 0 || m > k->min_high) return;
    const double scale = b->d * s, min = -b->dmin * m;
    const quants_sums sums = quants_try(x, b->w + g * k->size, k->size, scale != 0 ? (float)(1 / scale) : 0, (float)min, (float)k->low, (float)k->high);
    const double error = quants_error_of(&b->data[g], &sums, scale, min);
    if (!(error < *best)) return;
    *best = error;
    b->s[g] = s;
    b->m[g] = m;
    b->sums[g] = sums;
}
/* Every group chooses under d and dmin, which are first rounded to halves. */
static void quants_block_at(quants_block *b, const float *x, double d, double dmin) {
    const quants_kind *k = &b->kind;
    b->d16 = blocks_f16((float)d);
    b->dmin16 = blocks_f16((float)dmin);
    b->d = (double)blocks_f32(b->d16);
    b->dmin = (double)blocks_f32(b->dmin16);
    b->error = 0;
    for (int g = 0; g < 256 / k->size; g++) {
        const int s = b->d != 0 ? quants_within(b->scale[g] / b->d, k->scale_low, k->scale_high) : 0;
        const int m = b->dmin > 0 ? quants_within(-b->min[g] / b->dmin, 0, k->min_high) : 0;
        double best = (double)INFINITY;
        for (int i = -1; i <= 1; i++)
            for (int j = -1; j <= 1; j++) quants_group_at(b, g, x + g * k->size, s + i, m + j, &best);
        b->error += best;
    }
}
/* The d and dmin of least squares for what the groups have chosen; 0: there are none. */
static int quants_block_solve(const quants_block *b, double *d, double *dmin) {
    double ss = 0, sm = 0, mm = 0, sx = 0, mx = 0;
    for (int g = 0; g < 256 / b->kind.size; g++) {
        const double s = b->s[g], m = -b->m[g];
        ss += s * s * (double)b->sums[g].qq;
        sm += s * m * (double)b->sums[g].q;
        mm += m * m * (double)b->data[g].w;
        sx += s * (double)b->sums[g].qx;
        mx += m * (double)b->data[g].x;
    }
    const double det = ss * mm - sm * sm;
    *dmin = 0;
    if (!(ss > 0)) return 0;
    *d = sx / ss;
    if (!(det > 0)) return 1;
    *d = (sx * mm - mx * sm) / det;
    *dmin = (mx * ss - sx * sm) / det;
    return *dmin >= 0;
}
/* x [256] -> b: halves, scales and minimums of all groups; q: levels, counted from the lowest. */
static void quants_k(quants_block *b, quants_kind kind, const float *x, unsigned char *q /* [256] */) {
    double scale = 0, min = 0, d, dmin;
    b->kind = kind;
    for (int g = 0; g < 256 / kind.size; g++) {
        quants_weights(x + g * kind.size, kind.size, b->w + g * kind.size);
        quants_group(b, g, x + g * kind.size);
        if (fabs(b->scale[g]) > fabs(scale)) scale = b->scale[g];
        if (b->min[g] < min) min = b->min[g];
    }
    quants_block_at(b, x, kind.scale_low ? scale / kind.scale_low : scale / kind.scale_high, kind.min_high ? -min / kind.min_high : 0);
    for (int i = 0; i < 2 && quants_block_solve(b, &d, &dmin); i++) {
        quants_block other = *b;
        quants_block_at(&other, x, d, dmin);
        if (!(other.error < b->error)) break;
        *b = other;
    }
    for (int g = 0; g < 256 / kind.size; g++) {
        const double step = b->d * b->s[g], low = -b->dmin * b->m[g];
        const float inverse = step != 0 ? (float)(1 / step) : 0;
        for (int i = g * kind.size; i < (g + 1) * kind.size; i++)
            q[i] = (unsigned char)(blocks_round((x[i] - (float)low) * inverse, kind.low, kind.high) - kind.low);
    }
}

/* --- rows -------------------------------------------------------------------------------------------- */

static void quants_q4_k(const float *x, unsigned char *out) {
    const quants_kind kind = { 32, 0, 15, 0, 63, 63 };
    unsigned char q[256];
    quants_block b;
    quants_k(&b, kind, x, q);
    blocks_put16(out, b.d16);
    blocks_put16(out + 2, b.dmin16);
    blocks_q4_k_pack(b.s, b.m, q, out);
}
static void quants_q5_k(const float *x, unsigned char *out) {
    const quants_kind kind = { 32, 0, 31, 0, 63, 63 };
    unsigned char q[256];
    quants_block b;
    quants_k(&b, kind, x, q);
    blocks_put16(out, b.d16);
    blocks_put16(out + 2, b.dmin16);
    blocks_q5_k_pack(b.s, b.m, q, out);
}
static void quants_q6_k(const float *x, unsigned char *out) {
    const quants_kind kind = { 16, -32, 31, -128, 127, 0 };
    unsigned char q[256];
    quants_block b;
    quants_k(&b, kind, x, q);
    blocks_put16(out + 208, b.d16);
    blocks_q6_k_pack(b.s, q, out);
}
/* Q8_0 as blocks_q8_0, in a form that compilers turn into vectors: adding the number before 0.5 and cutting is roundf. */
static void quants_q8_0(const float *x, unsigned char *b) {
    uint32_t bits[32], most = 0;
    float d;
    int32_t q[32];
    memcpy(bits, x, sizeof bits);
    for (int i = 0; i < 32; i++) {
        const uint32_t size = bits[i] & 0x7FFFFFFFu;
        most = size > most ? size : most;
    }
    memcpy(&d, &most, sizeof d);
    d /= 127.0f;
    const float id = d != 0.0f ? 1.0f / d : 0.0f;
    blocks_put16(b, blocks_f16(d));
    for (int i = 0; i < 32; i++) {
        const float v = x[i] * id;
        q[i] = (int32_t)(v + (v < 0 ? -0.49999997f : 0.49999997f));
    }
    for (int i = 0; i < 32; i++) b[2 + i] = (unsigned char)(signed char)q[i];
}
/* Blocks hold no infinities and no NaNs, and their scales are halves: nothing beyond 1e9 comes near to fitting. */
static int quants_fits(const float *x, int64_t n) {
    int bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= !(fabsf(x[i]) < 1e9f);
    return !bad;
}
/* src [n], whole blocks.  Returns 0 if a quantised type cannot hold the row: not finite, or far too large. */
static int quants_row(int type, const float *src, void *dst, int64_t n) {
    unsigned char *b = (unsigned char *)dst;
    const int elems = blocks_type_of(type)->elems, bytes = blocks_type_of(type)->bytes;
    void (*block)(const float *, unsigned char *) = type == BLOCKS_Q8_0 ? quants_q8_0 : type == BLOCKS_Q4_K ? quants_q4_k :
                                                    type == BLOCKS_Q5_K ? quants_q5_k : type == BLOCKS_Q6_K ? quants_q6_k : NULL;
    if (elems > 1 && !quants_fits(src, n)) return 0;
    if (!block) blocks_encode(type, src, dst, n);
    else for (int64_t i = 0; i < n; i += elems, b += bytes) block(src + i, b);
    return 1;
}
/* Adds the sum of squared differences and of squares to sums [2]. */
BLOCKS_FN void quants_error(const float *x, const float *y, int64_t n, double *sums) {
    double e[4] = { 0, 0, 0, 0 }, s[4] = { 0, 0, 0, 0 };
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)x[i] - (double)y[i];
        e[i & 3] += d * d;
        s[i & 3] += (double)x[i] * (double)x[i];
    }
    sums[0] += (e[0] + e[1]) + (e[2] + e[3]);
    sums[1] += (s[0] + s[1]) + (s[2] + s[3]);
}

/* --- which type a tensor gets ------------------------------------------------------------------------- */

typedef struct quants_plan {
    int type;                                /* of the file */
    int n_layer, n_vision;                   /* blocks of the text model and of the vision tower */
    int tied;                                /* no output.weight: token_embd is the output matrix too */
    struct { const char *pattern; int type; } rules[64];       /* the last that matches counts */
    int n_rules;
} quants_plan;

/* '*' stands for any text, also none; everything else for itself. */
BLOCKS_FN int quants_match(const char *pattern, const char *name) {
    const char *star = NULL, *back = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = ++pattern;
            back = name;
        } else if (*pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star;
            name = ++back;
        } else {
            return 0;
        }
    }
    while (*pattern == '*') pattern++;
    return !*pattern;
}
/* The types that --type takes: the others of blocks.h are rounded plainly, for tests. */
BLOCKS_FN int quants_type_find(const char *name) {
    const int type = blocks_type_find(name);
    return type == 3 || type == 7 || type == 10 || type == 11 || type == 20 ? -1 : type;
}
/* "PATTERN=TYPE".  text must stay.  NULL, or what is wrong with it. */
BLOCKS_FN const char *quants_rule(quants_plan *p, char *text) {
    char *equals = strrchr(text, '=');
    if (!equals || equals == text) return "expected PATTERN=TYPE";
    if (p->n_rules == (int)(sizeof p->rules / sizeof p->rules[0])) return "expected at most 64 of these";
    const int type = quants_type_find(equals + 1);
    if (type < 0) return "unknown type";
    *equals = 0;
    p->rules[p->n_rules].pattern = text;
    p->rules[p->n_rules++].type = type;
    return NULL;
}
/* general.file_type of a file made by quants_choose: llama.cpp's number. */
BLOCKS_FN int quants_file_type(int type) { return type == BLOCKS_Q5_K ? 17 : blocks_type_of(type)->file_type; }

/* Norms, biases, routers, gates, positions and class embeddings stay F32: they are small, and all depends on them. */
BLOCKS_FN int quants_is_matrix(const char *name, int n_dims) {
    static const char *const exact[] = { "norm.", "ffn_gate_inp", "gate.", "position_embd", "class_embd" };
    const size_t len = strlen(name);
    if (n_dims < 2 || len < 7 || strcmp(name + len - 7, ".weight") != 0) return strstr(name, ".lora_") != NULL;
    for (size_t i = 0; i < sizeof exact / sizeof exact[0]; i++) {
        const char *at = strstr(name, exact[i]);
        if (at && (i != 2 || at == name)) return 0;                  /* "gate." as a name of its own, not ffn_gate */
    }
    return 1;
}
/* The file's type, but finer where an error costs more: the output matrix and the embeddings, and for K-types the values and
 * the way back from the feed-forward layer in a part of the layers, as llama.cpp mixes them. */
BLOCKS_FN int quants_mixed(const quants_plan *p, const char *name) {
    const int type = p->type, k = type == BLOCKS_Q4_K || type == BLOCKS_Q5_K;
    const char *at = strstr(name, "blk.");
    if (strstr(name, ".lora_") || strncmp(name, "pt.", 3) == 0 || strncmp(name, "det.", 4) == 0 || strncmp(name, "agg.", 4) == 0)
        return type == BLOCKS_F32 ? BLOCKS_F32 : BLOCKS_F16;
    if (blocks_type_of(type)->elems == 1 || type == BLOCKS_Q8_0) return type;
    if (strcmp(name, "output.weight") == 0 || strcmp(name, "v.head.weight") == 0) return BLOCKS_Q6_K;
    if (strcmp(name, "token_embd.weight") == 0)
        return p->tied || type == BLOCKS_Q5_K ? BLOCKS_Q6_K : type == BLOCKS_Q4_K ? BLOCKS_Q5_K : type == BLOCKS_Q4_0 ? BLOCKS_Q5_0 : type;
    if (!k || !at) return type;
    if (strstr(name, ".attn_qkv.")) return type == BLOCKS_Q4_K ? BLOCKS_Q5_K : BLOCKS_Q6_K;
    if ((strstr(name, ".attn_v.") || strstr(name, ".ffn_down")) &&
        blocks_more_bits(atoi(at + 4), name[0] == 'v' ? p->n_vision : p->n_layer)) return BLOCKS_Q6_K;
    return type;
}
/* The type of tensor `name`, ne [n_dims].  *wanted: the same if rows of this length had whole blocks of it. */
BLOCKS_FN int quants_choose(const quants_plan *p, const char *name, int n_dims, const int64_t *ne, int *wanted) {
    int type = BLOCKS_F32;
    if (quants_is_matrix(name, n_dims)) {
        type = quants_mixed(p, name);
        for (int i = 0; i < p->n_rules; i++)
            if (quants_match(p->rules[i].pattern, name)) type = p->rules[i].type;
    }
    *wanted = type;
    if (ne[0] % blocks_type_of(type)->elems && blocks_type_of(type)->fallback >= 0) type = blocks_type_of(type)->fallback;
    return ne[0] % blocks_type_of(type)->elems ? BLOCKS_F16 : type;
}
#endif /* OCTAVIUS_QUANTS_H */
