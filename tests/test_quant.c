/* Chapter 4: half floats, block formats and the scalar way back, against plain formulas and against numbers that
 * PyPI's gguf (gguf.quants) gave for the same bytes. */
#include "../tools/quants.h"

static const int qt_types[] = { 0, 1, 30, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20 };
enum { QT_N = 14 };

static unsigned qt_byte(uint32_t *s) {
    *s = *s * 1664525u + 1013904223u;
    return *s >> 24;
}
/* Offsets of a type's half floats; 0xFF: none. */
static void qt_halves(int type, int *d, int *m) {
    *d = type == 10 ? 80 : type == 11 ? 108 : type == 14 ? 208 : 0;
    *m = type == 3 || type == 7 || type == 12 || type == 13 ? 2 : type == 10 ? 82 : -1;
}
/* A block of arbitrary bits with the scales 0.05 (0x2A66) and 0.18 (0x31C3). */
static void qt_block(int type, uint32_t seed, unsigned char *b) {
    int d, m;
    for (int i = 0; i < oct__type(type)->block_bytes; i++) b[i] = (unsigned char)qt_byte(&seed);
    qt_halves(type, &d, &m);
    blocks_put16(b + d, 0x2A66);
    if (m >= 0) blocks_put16(b + m, 0x31C3);
}
static double qt_half(const unsigned char *b, int at) {
    uint16_t h;
    memcpy(&h, b + at, 2);
    return (double)blocks_f32(h);
}
static int qt_bit(const unsigned char *p, int i) { return p[i / 8] >> i % 8 & 1; }
/* Scale and minimum j of Q4_K and Q5_K, by bits: number j < 4 lies in the low six bits of byte j (j + 4 for minimums);
 * for j >= 4 the low four bits are a nibble of byte j + 4 and the high two those of byte j - 4 (j for minimums). */
static int qt_k6(const unsigned char *q, int j, int min) {
    const int lone = q[j + (min ? 4 : 0) - (j < 4 ? 0 : 4)];
    if (j < 4) return lone % 64;
    return (min ? q[j + 4] / 16 : q[j + 4] % 16) + lone / 64 * 16;
}
/* Number i of a block, as the format is described. */
static double qt_value(int type, const unsigned char *b, int i) {
    int da, ma;
    qt_halves(type, &da, &ma);
    const double d = qt_half(b, da), m = ma >= 0 ? qt_half(b, ma) : 0.0;
    const int lo = i % 16, hi = i / 16 % 2, h = i / 128, g = i / 32 % 4, l = i % 32;
    switch (type) {
    case 2:  return d * ((hi ? b[2 + lo] / 16 : b[2 + lo] % 16) - 8);
    case 3:  return d * (hi ? b[4 + lo] / 16 : b[4 + lo] % 16) + m;
    case 6:  return d * ((hi ? b[6 + lo] / 16 : b[6 + lo] % 16) + 16 * qt_bit(b + 2, i) - 16);
    case 7:  return d * ((hi ? b[8 + lo] / 16 : b[8 + lo] % 16) + 16 * qt_bit(b + 4, i)) + m;
    case 8:  return d * (b[2 + i] < 128 ? b[2 + i] : b[2 + i] - 256);
    case 10: return d * (b[i / 16] % 16) * (b[16 + 32 * h + l] >> 2 * g & 3) - m * (b[i / 16] / 16);
    case 11: {
        const unsigned char *sc = b + 96;
        const int j = i / 16, low = j < 8 ? sc[j] % 16 : sc[j - 8] / 16, scale = low + 16 * (sc[8 + j % 4] >> 2 * (j / 4) & 3) - 32;
        return d * scale * ((b[32 + 32 * h + l] >> 2 * g & 3) - (b[l] >> (4 * h + g) & 1 ? 0 : 4));
    }
    case 12: return d * qt_k6(b + 4, i / 32, 0) * (i / 32 % 2 ? b[16 + 32 * (i / 64) + l] / 16 : b[16 + 32 * (i / 64) + l] % 16) -
                    m * qt_k6(b + 4, i / 32, 1);
    case 13: return d * qt_k6(b + 4, i / 32, 0) * ((i / 32 % 2 ? b[48 + 32 * (i / 64) + l] / 16 : b[48 + 32 * (i / 64) + l] % 16) +
                                                   16 * (b[16 + l] >> i / 32 & 1)) - m * qt_k6(b + 4, i / 32, 1);
    case 14: {
        const unsigned char *ql = b + 64 * h + (g % 2 ? 32 : 0);
        const int nibble = g < 2 ? ql[l] % 16 : ql[l] / 16, s = b[192 + i / 16];
        return d * (s < 128 ? s : s - 256) * (nibble + 16 * (b[128 + 32 * h + l] >> 2 * g & 3) - 32);
    }
    default: return d * oct__iq4_nl_values[hi ? b[2 + lo] / 16 : b[2 + lo] % 16];
    }
}

TEST(quant, types) {
    int elems, bytes;
    CHECK_STR(oct__type_name(12), "Q4_K");
    CHECK_STR(oct__type_name(17), "IQ2_XS");
    CHECK_STR(oct__type_name(31), "?");
    CHECK_STR(oct__type_name(-1), "?");
    CHECK_STR(oct__type_name(4), "?");
    CHECK(oct__type(9) == NULL && oct__type(15) == NULL && oct__type(24) == NULL && oct__type(40) == NULL && oct__type(-1) == NULL);
    CHECK(oct__type_size(28, &elems, &bytes) && elems == 1 && bytes == 8);
    CHECK(!oct__type_size(36, &elems, &bytes) && !oct__type_size(99, &elems, &bytes));
    CHECK_INT(oct__row_bytes(14, 512), 420);
    CHECK_INT(oct__row_bytes(0, 3), 12);
    for (int i = 0; i < QT_N; i++) CHECK(oct__type(qt_types[i]) != NULL);
}
TEST(quant, half_floats) {
    int bad = 0;
    for (int h = 0; h < 65536; h++) {
        const float x = oct__f16_to_f32((uint16_t)h), y = blocks_f32((uint16_t)h);
        const uint16_t back = oct__f32_to_f16(x);
        if (x != x) bad += !(y != y) || (back & 0x7FFF) <= 0x7C00;
        else bad += memcmp(&x, &y, 4) != 0 || back != h;
        /* halfway to the next one goes to the even one */
        if ((h & 0x7FFF) < 0x7BFF) {
            const float z = blocks_f32((uint16_t)(h + 1)), mid = (float)(((double)x + (double)z) / 2);
            bad += oct__f32_to_f16(mid) != (h & 1 ? h + 1 : h);
            bad += oct__f32_to_f16(nextafterf(mid, x)) != h || oct__f32_to_f16(nextafterf(mid, z)) != h + 1;
        }
        bad += oct__f32_to_bf16(oct__bf16_to_f32((uint16_t)h)) != ((h & 0x7FFF) > 0x7F80 ? h | 0x40 : h);
    }
    CHECK_INT(bad, 0);
    CHECK_INT(oct__f32_to_f16(65519.9f), 0x7BFF);
    CHECK_INT(oct__f32_to_f16(65520.0f), 0x7C00);
    CHECK_INT(oct__f32_to_f16(-1e30f), 0xFC00);
    CHECK_INT(oct__f32_to_bf16(1.00390625f), 0x3F80);             /* halfway, to even */
    CHECK_INT(oct__f32_to_bf16(1.01171875f), 0x3F82);
    for (uint32_t u = 1, i = 0; i < 100000; i++) {
        u = u * 1664525u + 1013904223u;
        const float x = oct__bits_f32(u);
        if (x == x) bad += oct__f32_to_f16(x) != blocks_f16(x);
    }
    CHECK_INT(bad, 0);
}
TEST(quant, dequant_formulas) {
    unsigned char b[5 * 256];
    float y[2 * 256];
    for (int k = 3; k < QT_N; k++) {
        const int type = qt_types[k], n = oct__type(type)->block_elems, bytes = oct__type(type)->block_bytes;
        double worst = 0;
        for (uint32_t seed = 1; seed <= 20; seed++) {
            qt_block(type, seed, b + 1);                          /* at an odd address */
            qt_block(type, seed + 99, b + 1 + bytes);
            oct__dequant_row(type, b + 1, y, 2 * n);
            for (int i = 0; i < 2 * n; i++) {
                const double e = qt_value(type, b + 1 + i / n * bytes, i % n);
                worst = fmax(worst, fabs((double)y[i] - e) / (fabs(e) + 25.0));      /* 25: minimums that cancel */
            }
        }
        CHECK_NEAR(worst, 0, 2e-7);
    }
}
TEST(quant, dequant_gguf_py) {
    static const struct { int type; float at[4]; double weighted; } known[] = {
        { 2, { -0.149963379f, -0.299926758f, 0.299926758f, 0.0f }, 6.598388671875 },
        { 3, { 0.629943848f, 0.33001709f, 0.82989502f, 0.230041504f }, 284.6220703125 },
        { 6, { -0.449890137f, 0.49987793f, 0.749816895f, 0.549865723f }, 43.389404296875 },
        { 7, { 1.37976074f, 1.6796875f, 1.57971191f, 0.529968262f }, 479.22454833984375 },
        { 8, { 0.049987793f, -0.299926758f, 4.54888916f, -4.89880371f }, 93.97705078125 },
        { 10, { -1.80053711f, -1.80053711f, 1.52923584f, -0.720214844f }, -13701.284729003906 },
        { 11, { -0.799804688f, -3.19921875f, 1.19970703f, 4.49890137f }, -4250.761962890625 },
        { 12, { 0.328063965f, -2.17132568f, 24.0722656f, 1.01477051f }, 194451.59826660156 },
        { 13, { -2.76147461f, -0.811950684f, 37.1860352f, 25.4112549f }, 908112.1240234375 },
        { 14, { 1.49963379f, -1.59960938f, 25.343811f, 11.7971191f }, 167716.84350585938 },
        { 20, { 0.049987793f, 2.64935303f, -3.24920654f, 3.44915771f }, -191.753173828125 },
    };
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        unsigned char b[256];
        float y[256];
        double sum = 0;
        const int type = known[k].type, n = oct__type(type)->block_elems;
        qt_block(type, 1000u + (uint32_t)type, b);
        oct__dequant_row(type, b, y, n);
        for (int i = 0; i < n; i++) sum += (double)y[i] * (i + 1);
        CHECK_NEAR(sum, known[k].weighted, fabs(known[k].weighted) * 1e-6);
        for (int i = 0; i < 4; i++) CHECK_NEAR(y[i < 2 ? i : i == 2 ? n / 2 : n - 1], known[k].at[i], 4e-6);
    }
}
/* 512 numbers that grow along the row, as (integer of 24 bits) / 2^23 - 1 times 1 to 16. */
static void qt_numbers(float *x) {
    uint32_t s = 77;
    for (int i = 0; i < 512; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = (float)(((double)(s >> 8) - 8388608.0) / 8388608.0 * (1 + i / 32));
    }
}
TEST(quant, encoders) {
    /* FNV-1a of gguf.quants.quantize's bytes */
    static const struct { int type; uint32_t hash; } known[] = {
        { 2, 0x240D30C4u }, { 3, 0xF3C136E8u }, { 6, 0xDE688449u }, { 7, 0xD5EB39C8u }, { 8, 0x6837434Fu },
    };
    /* error at most this share of a group's reach: half a step and the rounding of scales; a whole step where the
     * far end has no level (Q4_0, Q5_0, IQ4_NL) */
    static const double bound[] = { 0, 5e-4, 4e-3, 0.126, 0.068, 0.064, 0.033, 0.0043, 0.36, 0.21, 0.073, 0.035, 0.033, 0.115 };
    float x[512], y[512];
    unsigned char b[2048];
    qt_numbers(x);
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        uint32_t h = 2166136261u;
        blocks_encode(known[k].type, x, b, 512);
        for (size_t i = 0; i < oct__row_bytes(known[k].type, 512); i++) h = (h ^ b[i]) * 16777619u;
        CHECK_INT(h, known[k].hash);
    }
    for (int k = 0; k < QT_N; k++) {
        double worst = 0;
        blocks_encode(qt_types[k], x, b, 512);
        oct__dequant_row(qt_types[k], b, y, 512);
        for (int i = 0; i < 512; i++) worst = fmax(worst, fabs((double)y[i] - (double)x[i]) / (1 + (oct__type(qt_types[k])->block_elems == 256 ? i / 256 * 8 + 7 : i / 32)));
        CHECK_NEAR(worst, 0, bound[k]);
        memset(x, 0, sizeof x);
        blocks_encode(qt_types[k], x, b, 512);
        oct__dequant_row(qt_types[k], b, y, 512);
        for (int i = 0; i < 512; i++) if (y[i] != 0.0f) { CHECK(y[i] == 0.0f); break; }
        qt_numbers(x);
    }
}

/* --- tools/quants.h: the quantisers of octavius-quantize and octavius-convert ------------------------ */

enum { QT_BLOCKS = 64, QT_WEIGHTS = QT_BLOCKS * 256 };

/* Sum of four uniform numbers, in -4 .. 4. */
static double qt_bell(uint32_t *s) {
    double total = 0;
    for (int i = 0; i < 4; i++) {
        *s = *s * 1664525u + 1013904223u;
        total += (double)(*s >> 8);
    }
    return total / 8388608.0 - 4.0;
}
/* 0 bell-shaped, 1 with heavy tails, 2 of one sign; x [QT_WEIGHTS].  As weights() in tools/reference/quants.py. */
static void qt_weights(int kind, float *x) {
    uint32_t s = 12345u + (uint32_t)kind;
    for (int i = 0; i < QT_WEIGHTS; i++) {
        const double v = qt_bell(&s);
        x[i] = (float)(kind == 0 ? v : kind == 1 ? v * qt_bell(&s) : fabs(v));
    }
}
/* Squared error of x [QT_WEIGHTS] there and back. */
static double qt_error(int type, const float *x, int plain) {
    static unsigned char b[QT_WEIGHTS * 4];
    static float y[QT_WEIGHTS];
    double sum = 0;
    if (plain) blocks_encode(type, x, b, QT_WEIGHTS);
    else CHECK(quants_row(type, x, b, QT_WEIGHTS));
    oct__dequant_row(type, b, y, QT_WEIGHTS);
    for (int i = 0; i < QT_WEIGHTS; i++) sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    return sum;
}
/* Against llama.cpp's squared errors for the same weights: see tools/reference/quants.py. */
TEST(quant, search_by_llama_cpp) {
    static const struct { int type; double error[3]; } known[] = {
        { 12, { 103.6459, 213.7473, 34.05367 } }, { 13, { 26.72951, 55.43659, 8.201065 } }, { 14, { 6.404117, 14.56386, 6.162041 } },
    }, same[] = {
        { 8, { 0.5684686, 1.406686, 0.5514218 } }, { 6, { 37.05009, 85.49061, 34.25103 } }, { 2, { 148.1176, 335.978, 139.3653 } },
    };
    static float x[QT_WEIGHTS];
    for (int kind = 0; kind < 3; kind++) {
        qt_weights(kind, x);
        for (int k = 0; k < 3; k++) {
            const double ours = qt_error(known[k].type, x, 0);
            CHECK_NEAR(ours / known[k].error[kind], 0, 1.01);
            CHECK_NEAR(ours / qt_error(known[k].type, x, 1), 0, 0.99);        /* and the search is worth its time */
            CHECK_NEAR(qt_error(same[k].type, x, 0) / same[k].error[kind], 1, 1e-5);
        }
    }
}
/* Q8_0 in quants.h is another body for blocks_q8_0: the bits, ties included. */
TEST(quant, fast_q8_0) {
    uint32_t s = 5;
    int bad = 0;
    for (int k = 0; k < 5000; k++) {
        float x[32];
        unsigned char a[34], b[34], c[34];
        for (int i = 0; i < 32; i++) x[i] = (float)((int)(s = s * 1664525u + 1013904223u) >> 8) * (k % 3 ? 1.1920929e-7f : 3e-12f);
        if (k % 4 == 0)
            for (int i = 0; i < 32; i++) x[i] = i == 0 ? 127.0f : floorf(x[i] * (k % 3 ? 100.0f : 1e6f)) + 0.5f;
        quants_q8_0(x, a, 1);
        quants_q8_0_plain(x, c, 1);
        blocks_q8_0(x, b);
        bad += memcmp(a, b, 34) != 0 || memcmp(c, b, 34) != 0;
    }
    CHECK_INT(bad, 0);
    for (int k = 0; k < 3 * 32; k++) {                     /* what no block can hold, wherever it stands */
        float x[64] = { 0 };
        unsigned char a[68];
        x[32 + k % 32] = k < 32 ? -1e9f : k < 64 ? (float)INFINITY : (float)NAN;
        CHECK_INT(quants_q8_0(x, a, 2) || quants_q8_0_plain(x, a, 2), 0);
    }
}
/* Rows that have little in them, or too much.  Scales are halves: what lies below 1e-6 may be lost. */
TEST(quant, odd_rows) {
    static const int types[] = { 8, 6, 2, 12, 13, 14 };
    float x[256], y[256];
    unsigned char b[512];
    for (int k = 0; k < 6; k++) {
        for (int kind = 0; kind < 8; kind++) {
            for (int i = 0; i < 256; i++)
                x[i] = kind == 0 ? 0.0f : kind == 1 ? -0.75f : kind == 2 ? 0.75f : kind == 3 ? (i == 77 ? 5.0f : 0.0f) : kind == 4 ? 1e-30f * (float)(i - 99) :
                       kind == 5 ? (i < 128 ? 0.0f : (float)(i % 7)) : kind == 6 ? 1e4f * (float)(i % 5 - 2) : (i & 1 ? -0.0f : 1e-6f);
            CHECK(quants_row(types[k], x, b, 256));
            oct__dequant_row(types[k], b, y, 256);
            double most = 0, apart = 0;
            for (int i = 0; i < 256; i++) {
                most = fmax(most, fabs((double)x[i]));
                apart = fmax(apart, fabs((double)x[i] - (double)y[i]));
                if (x[i] == 0.0f && kind < 3) CHECK_NEAR(y[i], 0, 0);
            }
            CHECK_NEAR(apart, 0, kind == 4 ? 2e-28 : (kind == 7 ? 1 : 0.14) * most);
        }
        x[200] = INFINITY;
        CHECK(!quants_row(types[k], x, b, 256));
        x[200] = NAN;
        CHECK(!quants_row(types[k], x, b, 256));
        x[200] = 2e9f;
        CHECK(!quants_row(types[k], x, b, 256));
    }
    x[200] = INFINITY;
    CHECK(quants_row(30, x, b, 256));
    CHECK(quants_row(1, x, b, 256));
}
TEST(quant, types_of_tensors) {
    static const struct { const char *name; int n_dims; int64_t cols; int type, wanted; } known[] = {
        { "token_embd.weight", 2, 2048, 13, 13 },       { "output.weight", 2, 2048, 14, 14 },
        { "output.bias", 1, 2048, 0, 0 },               { "output_norm.weight", 1, 2048, 0, 0 },
        { "blk.3.attn_q.weight", 2, 2048, 12, 12 },     { "blk.3.attn_qkv.weight", 2, 2048, 13, 13 },
        { "blk.0.attn_v.weight", 2, 2048, 14, 14 },     { "blk.5.attn_v.weight", 2, 2048, 12, 12 },
        { "blk.15.ffn_down_exps.weight", 3, 512, 14, 14 }, { "blk.5.ffn_down.weight", 2, 512, 12, 12 },
        { "blk.4.ffn_gate.weight", 2, 512, 12, 12 },    { "blk.4.ffn_gate_inp.weight", 2, 512, 0, 0 },
        { "blk.4.ffn_up_exps.bias", 2, 512, 0, 0 },     { "blk.4.attn_q_norm.weight", 2, 512, 0, 0 },
        { "blk.4.attn_q.weight", 2, 576, 6, 12 },       { "blk.0.attn_v.weight", 2, 576, 8, 14 },
        { "blk.4.attn_qkv.weight", 2, 576, 7, 13 },     { "blk.4.attn_q.weight", 2, 80, 1, 12 },
        { "v.patch_embd.weight", 4, 14, 1, 12 },        { "v.position_embd.weight", 2, 1024, 0, 0 },
        { "v.blk.4.ffn_down.weight", 2, 4096, 12, 12 }, { "v.class_embd", 1, 1024, 0, 0 },
        { "mm.0.weight", 2, 1024, 12, 12 },             { "blk.9.ffn_up.weight", 2, 2048, 8, 8 },
        { "blk.1.attn_q.lora_a", 2, 32, 1, 1 },
    };
    char rules[2][40] = { "blk.9.*=q6_k", "*.ffn_up.weight=q8_0" };
    quants_plan p;
    memset(&p, 0, sizeof p);
    p.type = 12;
    p.n_layer = 16;
    p.n_vision = 24;
    CHECK(quants_rule(&p, rules[0]) == NULL && quants_rule(&p, rules[1]) == NULL);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const int64_t ne[4] = { known[i].cols, 4, 2, 2 };
        int wanted = -1;
        CHECK_INT(quants_choose(&p, known[i].name, known[i].n_dims, ne, &wanted), known[i].type);
        CHECK_INT(wanted, known[i].wanted);
    }
    CHECK(quants_match("*", "") && quants_match("a*c", "abcbc") && quants_match("", "") && quants_match("a**", "a"));
    CHECK(!quants_match("a*c", "abcb") && !quants_match("", "a") && !quants_match("b", "ab") && !quants_match("a*b*", "ac"));
}
