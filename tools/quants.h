/* quants.h - rows of F32 to the types of a model file, and which type a tensor of a model gets.
 *
 * quants_row(type, src, dst, n): F32, F16, BF16 and blocks of 32 as blocks.h has them, which is bit for bit what
 * llama.cpp writes; Q4_K, Q5_K and Q6_K by a search of our own for the scales that bring the row back best:
 *   1. each group alone: some twenty steps around "largest minus smallest by number of levels"; for each step the
 *      levels are rounded, and then scale (and minimum) are those of least squares for these levels;
 *   2. the block: its d (and dmin) follow from the largest scale (and minimum), every group tries the whole numbers next to
 *      its own scale (and minimum), d and dmin become those of least squares for what was chosen, and the groups try again.
 * Errors are weighted by size: sqrt(mean square + x^2), so that the few large weights, which move a sum most, are nearer.
 *
 * Stands alone beside blocks.h.  C11 or C++17 of gcc or clang (vectors of floats).
 */
#ifndef OCTAVIUS_QUANTS_H
#define OCTAVIUS_QUANTS_H
#include <stdio.h>
#include <stdlib.h>
#include "blocks.h"

/* --- eight choices at a time -------------------------------------------------------------- */

typedef float   quants_v4 __attribute__((vector_size(16)));
typedef int32_t quants_i4 __attribute__((vector_size(16)));
typedef float   quants_v8 __attribute__((vector_size(32)));       /* never passed by value: how depends on the instruction set */
typedef int32_t quants_i8 __attribute__((vector_size(32)));

/* A body that is compiled for AVX2 too; without fused multiply-adds, so that both give the same bits. */
#if defined(__x86_64__) && !defined(QUANTS_NO_SIMD) && !defined(OCTAVIUS_TEST_INTRINSICS)
#  define QUANTS_AVX2 1
#  define QUANTS_TARGET __attribute__((target("avx2")))
#  include <immintrin.h>
#endif
/* gcc makes vectors of the rest at this level alone. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__)
#  define QUANTS_O3 __attribute__((optimize("O3")))
#else
#  define QUANTS_O3
#endif
#define QUANTS_BODY static inline __attribute__((always_inline))

static inline quants_v4 quants_splat(float x) {
    const quants_v4 v = { x, x, x, x };
    return v;
}
/* From first in equal steps. */
static inline quants_v4 quants_ramp(float first, float step) {
    const quants_v4 v = { first, first + step, first + 2 * step, first + 3 * step };
    return v;
}
static inline quants_v4 quants_pick(quants_i4 mask, quants_v4 yes, quants_v4 no) {
    return (quants_v4)((mask & (quants_i4)yes) | (~mask & (quants_i4)no));
}

/* --- one group ------------------------------------------------------------------------------ */

/* x ~ (level + rest) * step + min, where levels are whole numbers: sums over a group, a lane for each choice of step and
 * minimum.  Rests are small, so nothing cancels, and floats are enough. */
typedef struct quants_sums { quants_v4 q, qq, r, rr, qr; } quants_sums;
typedef struct quants_data { float w, x, xx, min, max; } quants_data;       /* of the group itself; w: sum of weights */

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
/* k [2]: 1 / step; low .. high: the levels there are. */
QUANTS_BODY void quants_try_body(const float *x, const float *w, int n, const quants_v4 *k, const quants_v4 *min, float low,
                                 float high,
                                 quants_sums *out /* [2] */) {
    const quants_v8 zero = { 0, 0, 0, 0, 0, 0, 0, 0 }, magic = zero + 12582912.0f, lowest = zero + low, highest = zero + high;
    quants_v8 q = zero, qq = zero, r = zero, rr = zero, qr = zero, scale, from;
    memcpy(&scale, k, sizeof scale);
    memcpy(&from, min, sizeof from);
    for (int i = 0; i < n; i++) {
        const quants_v8 weight = zero + w[i], t = ((zero + x[i]) - from) * scale;
        quants_v8 l = (t + magic) - magic;                      /* to the nearest, ties to even, below 2^22 */
        const quants_i8 above = l > lowest;
        l = (quants_v8)((above & (quants_i8)l) | (~above & (quants_i8)lowest));
        const quants_i8 below = l < highest;
        l = (quants_v8)((below & (quants_i8)l) | (~below & (quants_i8)highest));
        const quants_v8 rest = t - l, wl = weight * l, wr = weight * rest;
        q += wl;
        qq += wl * l;
        r += wr;
        rr += wr * rest;
        qr += wl * rest;
    }
    for (int i = 0; i < 2; i++) {
        memcpy(&out[i].q, (const char *)&q + 16 * i, 16);
        memcpy(&out[i].qq, (const char *)&qq + 16 * i, 16);
        memcpy(&out[i].r, (const char *)&r + 16 * i, 16);
        memcpy(&out[i].rr, (const char *)&rr + 16 * i, 16);
        memcpy(&out[i].qr, (const char *)&qr + 16 * i, 16);
    }
}
#if defined(QUANTS_AVX2)
QUANTS_TARGET static void quants_try_avx2(const float *x, const float *w, int n, const quants_v4 *k, const quants_v4 *min,
                                          float low, float high,
                                          quants_sums *out) {
    quants_try_body(x, w, n, k, min, low, high, out);
}
#endif
static void quants_try(const float *x, const float *w, int n, const quants_v4 *k, const quants_v4 *min, float low, float high,
                       quants_sums *out) {
#if defined(QUANTS_AVX2)
    if (__builtin_cpu_supports("avx2")) {
        quants_try_avx2(x, w, n, k, min, low, high, out);
        return;
    }
#endif
    quants_try_body(x, w, n, k, min, low, high, out);
}
/* What least squares makes of these levels: step and minimum <= 0 (0 where the data say w = 0), and the error left. */
static void quants_solve(float w, const quants_sums *s, quants_v4 k, quants_v4 min, quants_v4 *step, quants_v4 *low,
                         quants_v4 *error) {
    const quants_v4 one = quants_splat(1), zero = quants_splat(0), n = quants_splat(w), tiny = quants_splat(1e-30f);
    const quants_v4 det = n * s->qq - s->q * s->q, over = one / quants_pick(det > tiny, det, one);
    const quants_v4 a = (n * s->qr - s->q * s->r) * over, b = (s->qq * s->r - s->q * s->qr) * over;
    /* without a minimum: rests are counted from 0 */
    const quants_v4 c = min * k, qr = s->qr + c * s->q, rr = s->rr + c * (s->r + s->r + c * n);
    const quants_v4 alone = qr / quants_pick(s->qq > tiny, s->qq, one);
    const quants_i4 both = (det > tiny) & (min + b / k < zero);
    *step = (one + quants_pick(both, a, alone)) / k;
    *low = quants_pick(both, min + b / k, zero);
    *error = quants_pick(both, s->rr - a * s->qr - b * s->r, rr - alone * qr) / (k * k);
}

/* --- K-blocks: 256 elements in groups --------------------------------------------------------------- */

/* Levels low .. high; a group's scale is scale_low .. scale_high times d, its minimum 0 .. min_high times -dmin. */
typedef struct quants_kind { int size, low, high, scale_low, scale_high, min_high; } quants_kind;

typedef struct quants_block {
    quants_kind kind;
    float       w[256];
    quants_data data[16];
    float       step[16], min[16];           /* of each group alone */
    int         s[16], m[16];                /* in units of d and dmin */
    double      q[16], qq[16], qx[16];       /* weighted sums of what s and m make of a group: levels, squares, times x */
    uint16_t    d16, dmin16;
    float       d, dmin;
    double      error;
} quants_block;

/* Eight more choices for group g, x its elements: steps whose inverses are first, first + more, ..., all over reach, above min.
 * The best so far stays. */
static void quants_group_try(quants_block *b, int g, const float *x, float first, float more, float reach, float min,
                             float *best) {
    const quants_kind *kind = &b->kind;
    const quants_v4 over = quants_splat(reach), mins[2] = { quants_splat(min), quants_splat(min) };
    const quants_v4 k[2] = { quants_ramp(first, more) / over, quants_ramp(first + 4 * more, more) / over };
    quants_sums s[2];
    quants_try(x, b->w + g * kind->size, kind->size, k, mins, (float)kind->low, (float)kind->high, s);
    for (int half = 0; half < 2; half++) {
        quants_v4 step, low, error;
        quants_solve(kind->min_high ? b->data[g].w : 0, &s[half], k[half], mins[half], &step, &low, &error);
        for (int i = 0; i < 4; i++) {
            if (!(error[i] < *best)) continue;
            *best = error[i];
            b->step[g] = step[i];
            b->min[g] = low[i];
        }
    }
}
/* The group alone: steps around the full reach, then the neighbourhood of the best. */
static void quants_group(quants_block *b, int g, const float *x) {
    const quants_kind *k = &b->kind;
    quants_data *data = &b->data[g];
    *data = quants_measure(x, b->w + g * k->size, k->size);
    float best = INFINITY;
    b->step[g] = b->min[g] = 0;
    if (k->min_high) {
        if (data->min > 0) data->min = 0;
        const float reach = data->max - data->min;
        b->min[g] = data->min;
        if (!(reach > 1e-25f)) return;
        quants_group_try(b, g, x, (float)k->high - 1.0f, 0.125f, reach, data->min, &best);
        quants_group_try(b, g, x, (float)k->high, 0.125f, reach, data->min, &best);
    } else {
        const float far = data->max > -data->min ? data->max : data->min;
        if (!(fabsf(far) > 1e-25f)) return;
        quants_group_try(b, g, x, (float)k->low - 0.9f, 0.15f, far, 0, &best);
        quants_group_try(b, g, x, (float)k->low + 0.3f, 0.15f, far, 0, &best);
        quants_group_try(b, g, x, (float)k->high - 0.4f, 0.15f, far, 0, &best);
    }
    if (b->step[g] != 0) quants_group_try(b, g, x, 0.97f, 0.01f, b->step[g], b->min[g], &best);
}
static int quants_within(float v, int low, int high) { return !(v > (float)low) ? low : v < (float)high ? (int)floorf(v) : high; }

/* The best of eight whole scales and minimums for group g under the block's d and dmin, near to those that it has alone: two
 * scales with four minimums, or eight scales where there are no minimums. */
static void quants_group_at(quants_block *b, int g, const float *x) {
    const quants_kind *kind = &b->kind;
    const quants_data *data = &b->data[g];
    const int s0 = (b->d != 0 ? quants_within(b->step[g] / b->d, kind->scale_low,
                                              kind->scale_high) : 0) - (kind->min_high ? 0 : 3);
    const int m0 = b->dmin > 0 ? quants_within(-b->min[g] / b->dmin, 0, kind->min_high) - 1 : 0;
    quants_v4 k[2], min[2];
    quants_sums sums[2];
    double best = (double)INFINITY;
    for (int i = 0; i < 8; i++) {
        const float step = b->d * (float)(kind->min_high ? s0 + i / 4 : s0 + i);
        k[i / 4][i % 4] = step != 0 ? 1 / step : 0;
        min[i / 4][i % 4] = kind->min_high ? -b->dmin * (float)(m0 + i % 4) : 0;
    }
    quants_try(x, b->w + g * kind->size, kind->size, k, min, (float)kind->low, (float)kind->high, sums);
    for (int i = 0; i < 8; i++) {
        const int s = kind->min_high ? s0 + i / 4 : s0 + i, m = kind->min_high ? m0 + i % 4 : 0;
        if (s < kind->scale_low || s > kind->scale_high || m < 0 || m > kind->min_high) continue;
        const quants_sums *at = &sums[i / 4];
        const double step = (double)(b->d * (float)s), low = (double)min[i / 4][i % 4];
        const double flat = (double)data->xx - 2 * low * (double)data->x + low * low * (double)data->w;
        const double error = step != 0 ? step * step * (double)at->rr[i % 4] : flat;
        if (!(error < best)) continue;
        best = error;
        b->s[g] = s;
        b->m[g] = m;
        b->q[g] = (double)at->q[i % 4];
        b->qq[g] = (double)at->qq[i % 4];
        b->qx[g] = step * ((double)at->qq[i % 4] + (double)at->qr[i % 4]) + low * (double)at->q[i % 4];
    }
    b->error += best;
}
/* Every group chooses under d and dmin, which are first rounded to halves. */
static void quants_block_at(quants_block *b, const float *x, double d, double dmin) {
    const quants_kind *k = &b->kind;
    b->d16 = blocks_f16((float)d);
    b->dmin16 = blocks_f16((float)dmin);
    b->d = blocks_f32(b->d16);
    b->dmin = blocks_f32(b->dmin16);
    b->error = 0;
    for (int g = 0; g < 256 / k->size; g++) quants_group_at(b, g, x + g * k->size);
}
/* The d and dmin of least squares for what the groups have chosen; 0: there are none. */
static int quants_block_solve(const quants_block *b, double *d, double *dmin) {
    double ss = 0, sm = 0, mm = 0, sx = 0, mx = 0;
    for (int g = 0; g < 256 / b->kind.size; g++) {
        const double s = b->s[g], m = -b->m[g];
        ss += s * s * b->qq[g];
        sm += s * m * b->q[g];
        mm += m * m * (double)b->data[g].w;
        sx += s * b->qx[g];
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
    double step = 0, min = 0, d, dmin;
    b->kind = kind;
    for (int g = 0; g < 256 / kind.size; g++) {
        quants_weights(x + g * kind.size, kind.size, b->w + g * kind.size);
        quants_group(b, g, x + g * kind.size);
        if (fabs((double)b->step[g]) > fabs(step)) step = (double)b->step[g];
        if ((double)b->min[g] < min) min = (double)b->min[g];
    }
    quants_block_at(b, x, kind.scale_low ? step / kind.scale_low : step / kind.scale_high,
                    kind.min_high ? -min / kind.min_high : 0);
    if (quants_block_solve(b, &d, &dmin)) {
        quants_block other = *b;
        quants_block_at(&other, x, d, dmin);
        if (other.error < b->error) *b = other;
    }
    for (int g = 0; g < 256 / kind.size; g++) {
        const float one = b->d * (float)b->s[g], low = -b->dmin * (float)b->m[g], inverse = one != 0 ? 1 / one : 0;
        for (int i = g * kind.size; i < (g + 1) * kind.size; i++)
            q[i] = (unsigned char)(blocks_round((x[i] - low) * inverse, kind.low, kind.high) - kind.low);
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
/* Blocks hold no infinities and no NaNs, and their scales are halves: nothing beyond 1e9 comes near to fitting. */
#define QUANTS_LARGEST 1e9f
QUANTS_O3 static int quants_fits(const float *x, int64_t n) {
    int bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= !(fabsf(x[i]) < QUANTS_LARGEST);
    return !bad;
}
/* Q8_0 with the bits of blocks_q8_0: rows of n blocks, 0 if they do not fit. */
static int quants_q8_0_plain(const float *x, unsigned char *b, int64_t n) {
    if (!quants_fits(x, 32 * n)) return 0;
    blocks_encode(BLOCKS_Q8_0, x, b, 32 * n);
    return 1;
}
#if defined(QUANTS_AVX2)
/* Adding the number before 0.5 and cutting is roundf; the bits of sizes sort as the sizes do. */
QUANTS_TARGET static __m256i quants_levels(__m256 x, __m256 inverse) {
    const __m256 sign = _mm256_set1_ps(-0.0f), t = _mm256_mul_ps(x, inverse);
    return _mm256_cvttps_epi32(_mm256_add_ps(t, _mm256_or_ps(_mm256_and_ps(t, sign), _mm256_set1_ps(0.49999997f))));
}
QUANTS_TARGET static int quants_q8_0_avx2(const float *x, unsigned char *b, int64_t n) {
    const __m256i size = _mm256_set1_epi32(0x7FFFFFFF), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const float largest = QUANTS_LARGEST;
    int32_t limit;
    memcpy(&limit, &largest, sizeof limit);
    for (; n > 0; n--, x += 32, b += 34) {
        __m256 v[4];
        __m256i most = _mm256_setzero_si256();
        for (int i = 0; i < 4; i++) {
            v[i] = _mm256_loadu_ps(x + 8 * i);
            most = _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(v[i]), size));
        }
        __m128i half = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
        half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4E));
        half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xB1));
        if (_mm_cvtsi128_si32(half) >= limit) return 0;
        const float d = _mm_cvtss_f32(_mm_castsi128_ps(half)) / 127.0f;
        const __m256 inverse = _mm256_set1_ps(d != 0.0f ? 1.0f / d : 0.0f);
        const __m256i low = _mm256_packs_epi32(quants_levels(v[0], inverse), quants_levels(v[1], inverse));
        const __m256i high = _mm256_packs_epi32(quants_levels(v[2], inverse), quants_levels(v[3], inverse));
        const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
        blocks_put16(b, blocks_f16(d));
        memcpy(b + 2, &bytes, sizeof bytes);
    }
    return 1;
}
#endif
static int quants_q8_0(const float *x, unsigned char *b, int64_t n) {
#if defined(QUANTS_AVX2)
    if (__builtin_cpu_supports("avx2")) return quants_q8_0_avx2(x, b, n);
#endif
    return quants_q8_0_plain(x, b, n);
}
/* src [n], whole blocks.  Returns 0 if a quantised type cannot hold the row: not finite, or far too large. */
static int quants_row(int type, const float *src, void *dst, int64_t n) {
    unsigned char *b = (unsigned char *)dst;
    const int elems = blocks_type_of(type)->elems, bytes = blocks_type_of(type)->bytes;
    void (*block)(const float *, unsigned char *) = type == BLOCKS_Q4_K ? quants_q4_k : type == BLOCKS_Q5_K ? quants_q5_k :
                                                    type == BLOCKS_Q6_K ? quants_q6_k : NULL;
    if (type == BLOCKS_Q8_0) return quants_q8_0(src, b, n / 32);
    if (elems > 1 && !quants_fits(src, n)) return 0;
    if (!block) blocks_encode(type, src, dst, n);
    else for (int64_t i = 0; i < n; i += elems, b += bytes) block(src + i, b);
    return 1;
}
/* Adds the sum of squared differences and of squares to sums [2]. */
BLOCKS_FN void quants_error(const float *x, const float *y, int64_t n, double *sums) {
    for (int64_t i = 0; i < n; i += 64) {
        float e[4] = { 0, 0, 0, 0 }, s[4] = { 0, 0, 0, 0 };
        const int some = n - i < 64 ? (int)(n - i) : 64;
        for (int j = 0; j + 4 <= some; j += 4) {
            for (int l = 0; l < 4; l++) {
                const float v = x[i + j + l], d = v - y[i + j + l];
                e[l] += d * d;
                s[l] += v * v;
            }
        }
        for (int j = some & ~3; j < some; j++) {
            const float d = x[i + j] - y[i + j];
            e[0] += d * d;
            s[0] += x[i + j] * x[i + j];
        }
        sums[0] += (double)e[0] + (double)e[1] + (double)e[2] + (double)e[3];
        sums[1] += (double)s[0] + (double)s[1] + (double)s[2] + (double)s[3];
    }
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
