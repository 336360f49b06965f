/* blocks.h - numbers to the block formats of GGUF files, for tools and tests
 *
 * blocks_encode(type, src, dst, n): n numbers, whole blocks, of every type that octavius.h computes with.
 * Round to nearest, no search: Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1 have the bits of llama.cpp's reference
 * quantisers; K-blocks take each group's minimum and maximum and round the scales; IQ4_NL takes the extreme.
 * Little-endian machines.  Stands alone: standard C, no part of octavius.h is needed.  quants.h, beside this file,
 * spends time to find better K-blocks.
 */
#ifndef OCTAVIUS_BLOCKS_H
#define OCTAVIUS_BLOCKS_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#  define BLOCKS_FN __attribute__((unused)) static
#else
#  define BLOCKS_FN static
#endif

/* --- types ------------------------------------------------------------------------ */

typedef struct blocks_type { const char *name; int id, elems, bytes, file_type, fallback; } blocks_type;

/* fallback: what llama.cpp takes for rows that are no multiple of 256.  file_type: its number for such a file. */
static const blocks_type blocks_types[] = {
    { "f32",    0,   1,   4,  0, -1 }, { "f16",   1,   1,   2,  1, -1 }, { "bf16", 30,   1,   2, 32, -1 },
    { "q8_0",   8,  32,  34,  7, -1 }, { "q4_0",  2,  32,  18,  2, -1 }, { "q4_1",  3,  32,  20,  3, -1 },
    { "q5_0",   6,  32,  22,  8, -1 }, { "q5_1",  7,  32,  24,  9, -1 }, { "q2_k", 10, 256,  84, 10, 20 },
    { "q3_k",  11, 256, 110, 11, 20 }, { "q4_k", 12, 256, 144, 15,  6 }, { "q5_k", 13, 256, 176, 16,  7 },
    { "q6_k",  14, 256, 210, 18,  8 }, { "iq4_nl", 20, 32, 18, 25, -1 },
};
enum { BLOCKS_TYPES = sizeof blocks_types / sizeof blocks_types[0] };
enum { BLOCKS_F32 = 0, BLOCKS_F16 = 1, BLOCKS_Q4_0 = 2, BLOCKS_Q5_0 = 6, BLOCKS_Q8_0 = 8, BLOCKS_Q4_K = 12, BLOCKS_Q5_K = 13,
       BLOCKS_Q6_K = 14, BLOCKS_BF16 = 30 };

BLOCKS_FN const blocks_type *blocks_type_of(int id) {
    for (int i = 0; i < (int)BLOCKS_TYPES; i++)
        if (blocks_types[i].id == id) return &blocks_types[i];
    return NULL;
}
/* "q4_k", in any case, and "q4_k_m"; -1: no such type. */
BLOCKS_FN int blocks_type_find(const char *name) {
    char low[16];
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof low; n++) low[n] = (char)(name[n] >= 'A' && name[n] <= 'Z' ? name[n] + 32 : name[n]);
    low[n] = 0;
    if (strcmp(low, "q4_k_m") == 0) return BLOCKS_Q4_K;
    for (int i = 0; i < (int)BLOCKS_TYPES; i++)
        if (strcmp(low, blocks_types[i].name) == 0) return blocks_types[i].id;
    return -1;
}
/* Bytes of a row of n elements, which must be whole blocks. */
BLOCKS_FN size_t blocks_row_bytes(int id, int64_t n) {
    const blocks_type *t = blocks_type_of(id);
    return (size_t)(n / t->elems) * (size_t)t->bytes;
}
/* llama.cpp's choice of layers that get more bits in Q4_K_M: the first and last eighth, and every third between. */
BLOCKS_FN int blocks_more_bits(int i, int n) { return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2; }

/* --- half floats: to nearest, ties to even ---------------------------------------- */
static uint16_t blocks_f16(float x) {
    uint32_t u, sign;
    memcpy(&u, &x, sizeof u);
    sign = (u >> 16) & 0x8000u;
    u &= 0x7FFFFFFFu;
    if (u > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);
    if (u >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u);
    if (u < 0x38800000u) {                              /* subnormal: units of 2^-24 */
        const double m = (double)fabsf(x) * 16777216.0;
        return (uint16_t)(sign | (uint32_t)nearbyint(m));
    }
    return (uint16_t)(sign | ((u - 0x38000000u + 0xFFFu + ((u >> 13) & 1u)) >> 13));
}
static float blocks_f32(uint16_t h) {
    const int e = (h >> 10) & 31, m = h & 1023;
    const double v = e == 31 ? (m ? (double)NAN : (double)INFINITY) : e ? ldexp(1024.0 + m, e - 25) : ldexp(m, -24);
    return (float)(h & 0x8000 ? -v : v);
}
static uint16_t blocks_bf16(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}
static void blocks_put16(unsigned char *p, uint16_t h) { memcpy(p, &h, sizeof h); }

static int blocks_round(float x, int low, int high) {   /* ties to even; a NaN gives low */
    if (!(x > (float)low)) return low;
    return x < (float)high ? (int)nearbyintf(x) : high;
}
static void blocks_range(const float *x, int n, float *min, float *max) {
    *min = *max = x[0];
    for (int i = 1; i < n; i++) {
        if (x[i] < *min) *min = x[i];
        if (x[i] > *max) *max = x[i];
    }
}
/* The element of largest size, with its sign. */
static float blocks_extreme(const float *x, int n) {
    float best = 0.0f;
    for (int i = 0; i < n; i++) if (fabsf(x[i]) > fabsf(best)) best = x[i];
    return best;
}

/* --- blocks of 32 --------------------------------------------------------------------- */
static void blocks_q8_0(const float *x, unsigned char *b) {
    const float d = fabsf(blocks_extreme(x, 32)) / 127.0f, id = d != 0.0f ? 1.0f / d : 0.0f;
    blocks_put16(b, blocks_f16(d));
    for (int i = 0; i < 32; i++) b[2 + i] = (unsigned char)(signed char)roundf(x[i] * id);
}
/* Q4_0 and Q5_0: the signed extreme becomes the lowest level, -half. */
static void blocks_signed(const float *x, unsigned char *b, int half) {
    const float d = blocks_extreme(x, 32) / (float)-half, id = d != 0.0f ? 1.0f / d : 0.0f;
    unsigned char *q = b + (half == 16 ? 6 : 2);
    uint32_t qh = 0;
    blocks_put16(b, blocks_f16(d));
    for (int i = 0; i < 16; i++) {
        int lo = (int)(x[i] * id + ((float)half + 0.5f)), hi = (int)(x[i + 16] * id + ((float)half + 0.5f));
        if (lo > 2 * half - 1) lo = 2 * half - 1;
        if (hi > 2 * half - 1) hi = 2 * half - 1;
        q[i] = (unsigned char)((lo & 15) | (hi & 15) << 4);
        qh |= (uint32_t)(lo >> 4 & 1) << i | (uint32_t)(hi >> 4 & 1) << (i + 16);
    }
    if (half == 16) memcpy(b + 2, &qh, sizeof qh);
}
/* Q4_1 and Q5_1: d = (max - min) / levels, m = min. */
static void blocks_minimum(const float *x, unsigned char *b, int levels) {
    float min, max;
    unsigned char *q = b + (levels == 31 ? 8 : 4);
    uint32_t qh = 0;
    blocks_range(x, 32, &min, &max);
    {
        const float d = (max - min) / (float)levels, id = d != 0.0f ? 1.0f / d : 0.0f;
        blocks_put16(b, blocks_f16(d));
        blocks_put16(b + 2, blocks_f16(min));
        for (int i = 0; i < 16; i++) {
            int lo = (int)((x[i] - min) * id + 0.5f), hi = (int)((x[i + 16] - min) * id + 0.5f);
            if (lo > levels) lo = levels;
            if (hi > levels) hi = levels;
            q[i] = (unsigned char)((lo & 15) | (hi & 15) << 4);
            qh |= (uint32_t)(lo >> 4 & 1) << i | (uint32_t)(hi >> 4 & 1) << (i + 16);
        }
    }
    if (levels == 31) memcpy(b + 4, &qh, sizeof qh);
}
static void blocks_iq4_nl(const float *x, unsigned char *b) {
    static const signed char values[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
    const float d = blocks_extreme(x, 32) / -127.0f, id = d != 0.0f ? 1.0f / d : 0.0f;
    int q[32];
    blocks_put16(b, blocks_f16(d));
    for (int i = 0; i < 32; i++) {
        q[i] = 0;
        for (int j = 1; j < 16; j++)
            if (fabsf(x[i] * id - (float)values[j]) < fabsf(x[i] * id - (float)values[q[i]])) q[i] = j;
    }
    for (int i = 0; i < 16; i++) b[2 + i] = (unsigned char)(q[i] | q[i + 16] << 4);
}

/* --- blocks of 256 ----------------------------------------------------------------------- */

/* Types with minimums: groups of `size` become levels 0 .. n_levels of scale s[g] above -m[g], where the scales and
 * minimums are themselves d and dmin times 0 .. top. */
static void blocks_k_minimum(const float *x, int size, int n_levels, int top, unsigned char *d16, unsigned char *dmin16,
                             int *s, int *m, unsigned char *q /* [256] */) {
    float scale[16], low[16], scale_max = 0.0f, low_max = 0.0f;
    const int n = 256 / size;
    for (int g = 0; g < n; g++) {
        float min, max;
        blocks_range(x + g * size, size, &min, &max);
        if (min > 0.0f) min = 0.0f;
        scale[g] = (max - min) / (float)n_levels;
        low[g] = -min;
        if (scale[g] > scale_max) scale_max = scale[g];
        if (low[g] > low_max) low_max = low[g];
    }
    blocks_put16(d16, blocks_f16(scale_max / (float)top));
    blocks_put16(dmin16, blocks_f16(low_max / (float)top));
    for (int g = 0; g < n; g++) {
        uint16_t hd, hm;
        memcpy(&hd, d16, 2);
        memcpy(&hm, dmin16, 2);
        const float d = blocks_f32(hd), dmin = blocks_f32(hm);
        s[g] = d > 0.0f ? blocks_round(scale[g] / d, 0, top) : 0;
        m[g] = dmin > 0.0f ? blocks_round(low[g] / dmin, 0, top) : 0;
        for (int i = g * size; i < (g + 1) * size; i++) {
            const float step = d * (float)s[g];
            q[i] = (unsigned char)(step > 0.0f ? blocks_round((x[i] + dmin * (float)m[g]) / step, 0, n_levels) : 0);
        }
    }
}
/* Types without: groups of 16 of levels -half .. half - 1, scales d times -top .. top - 1. */
static void blocks_k_signed(const float *x, int half, int top, unsigned char *d16, int *s, unsigned char *q /* [256], + half */) {
    float scale[16];
    uint16_t h;
    for (int g = 0; g < 16; g++) scale[g] = blocks_extreme(x + 16 * g, 16) / (float)-half;
    h = blocks_f16(blocks_extreme(scale, 16) / (float)-top);
    blocks_put16(d16, h);
    for (int g = 0; g < 16; g++) {
        const float d = blocks_f32(h);
        s[g] = d != 0.0f ? blocks_round(scale[g] / d, -top, top - 1) : 0;
        for (int i = 16 * g; i < 16 * (g + 1); i++) {
            const float step = d * (float)s[g];
            q[i] = (unsigned char)((step != 0.0f ? blocks_round(x[i] / step, -half, half - 1) : 0) + half);
        }
    }
}
static void blocks_k_pack_scales(unsigned char *p /* [12] */, const int *s, const int *m) {
    memset(p, 0, 12);
    for (int j = 0; j < 8; j++) {
        if (j < 4) {
            p[j] = (unsigned char)(p[j] | s[j]);
            p[j + 4] = (unsigned char)(p[j + 4] | m[j]);
        } else {
            p[j + 4] = (unsigned char)((s[j] & 15) | (m[j] & 15) << 4);
            p[j - 4] = (unsigned char)(p[j - 4] | (s[j] >> 4) << 6);
            p[j] = (unsigned char)(p[j] | (m[j] >> 4) << 6);
        }
    }
}
static void blocks_q2_k(const float *x, unsigned char *b) {
    int s[16], m[16];
    unsigned char q[256];
    blocks_k_minimum(x, 16, 3, 15, b + 80, b + 82, s, m, q);
    for (int g = 0; g < 16; g++) b[g] = (unsigned char)(s[g] | m[g] << 4);
    memset(b + 16, 0, 64);
    for (int i = 0; i < 256; i++) b[16 + 32 * (i / 128) + i % 32] |= (unsigned char)(q[i] << 2 * (i / 32 % 4));
}
static void blocks_q3_k(const float *x, unsigned char *b) {
    int s[16];
    unsigned char q[256];
    blocks_k_signed(x, 4, 32, b + 108, s, q);
    memset(b, 0, 108);
    for (int g = 0; g < 16; g++) {
        const int v = s[g] + 32;
        b[96 + g % 8] |= (unsigned char)((v & 15) << 4 * (g / 8));
        b[104 + g % 4] |= (unsigned char)((v >> 4) << 2 * (g / 4));
    }
    for (int i = 0; i < 256; i++) {
        b[32 + 32 * (i / 128) + i % 32] |= (unsigned char)((q[i] & 3) << 2 * (i / 32 % 4));
        b[i % 32] |= (unsigned char)((q[i] >> 2) << (i / 32));
    }
}
/* Scales, minimums and levels of a whole block into its place; d and dmin are the caller's. */
static void blocks_q4_k_pack(const int *s, const int *m, const unsigned char *q /* [256] */, unsigned char *b) {
    blocks_k_pack_scales(b + 4, s, m);
    for (int i = 0; i < 128; i++) b[16 + i] = (unsigned char)(q[64 * (i / 32) + i % 32] | q[64 * (i / 32) + 32 + i % 32] << 4);
}
static void blocks_q5_k_pack(const int *s, const int *m, const unsigned char *q /* [256] */, unsigned char *b) {
    blocks_k_pack_scales(b + 4, s, m);
    memset(b + 16, 0, 32);
    for (int i = 0; i < 256; i++) b[16 + i % 32] |= (unsigned char)((q[i] >> 4) << (i / 32));
    for (int i = 0; i < 128; i++)
        b[48 + i] = (unsigned char)((q[64 * (i / 32) + i % 32] & 15) | (q[64 * (i / 32) + 32 + i % 32] & 15) << 4);
}
static void blocks_q6_k_pack(const int *s, const unsigned char *q /* [256], + 32 */, unsigned char *b) {
    memset(b, 0, 192);
    for (int g = 0; g < 16; g++) b[192 + g] = (unsigned char)(signed char)s[g];
    for (int i = 0; i < 256; i++) {
        const int h = i / 128, g = i / 32 % 4, l = i % 32;
        b[64 * h + 32 * (g & 1) + l] |= (unsigned char)((q[i] & 15) << 4 * (g >> 1));
        b[128 + 32 * h + l] |= (unsigned char)((q[i] >> 4) << 2 * g);
    }
}
static void blocks_q4_k(const float *x, unsigned char *b) {
    int s[8], m[8];
    unsigned char q[256];
    blocks_k_minimum(x, 32, 15, 63, b, b + 2, s, m, q);
    blocks_q4_k_pack(s, m, q, b);
}
static void blocks_q5_k(const float *x, unsigned char *b) {
    int s[8], m[8];
    unsigned char q[256];
    blocks_k_minimum(x, 32, 31, 63, b, b + 2, s, m, q);
    blocks_q5_k_pack(s, m, q, b);
}
static void blocks_q6_k(const float *x, unsigned char *b) {
    int s[16];
    unsigned char q[256];
    blocks_k_signed(x, 32, 128, b + 208, s, q);
    blocks_q6_k_pack(s, q, b);
}

/* type: GGUF's number.  Does nothing for types that octavius.h does not compute with. */
static void blocks_encode(int type, const float *src, void *dst, int64_t n) {
    unsigned char *b = (unsigned char *)dst;
    int64_t i;
    switch (type) {
    case 0:  memcpy(dst, src, (size_t)n * 4); break;
    case 1:  for (i = 0; i < n; i++) blocks_put16(b + 2 * i, blocks_f16(src[i])); break;
    case 2:  for (i = 0; i < n; i += 32, b += 18) blocks_signed(src + i, b, 8); break;
    case 3:  for (i = 0; i < n; i += 32, b += 20) blocks_minimum(src + i, b, 15); break;
    case 6:  for (i = 0; i < n; i += 32, b += 22) blocks_signed(src + i, b, 16); break;
    case 7:  for (i = 0; i < n; i += 32, b += 24) blocks_minimum(src + i, b, 31); break;
    case 8:  for (i = 0; i < n; i += 32, b += 34) blocks_q8_0(src + i, b); break;
    case 10: for (i = 0; i < n; i += 256, b += 84) blocks_q2_k(src + i, b); break;
    case 11: for (i = 0; i < n; i += 256, b += 110) blocks_q3_k(src + i, b); break;
    case 12: for (i = 0; i < n; i += 256, b += 144) blocks_q4_k(src + i, b); break;
    case 13: for (i = 0; i < n; i += 256, b += 176) blocks_q5_k(src + i, b); break;
    case 14: for (i = 0; i < n; i += 256, b += 210) blocks_q6_k(src + i, b); break;
    case 20: for (i = 0; i < n; i += 32, b += 18) blocks_iq4_nl(src + i, b); break;
    case 30: for (i = 0; i < n; i++) blocks_put16(b + 2 * i, blocks_bf16(src[i])); break;
    default: break;
    }
}
#endif /* OCTAVIUS_BLOCKS_H */
