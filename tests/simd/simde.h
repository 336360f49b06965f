/* x86 intrinsics in plain C, by SIMDe, so that the AVX2, AVX-512, VNNI and bf16 tables are tested on CPUs and machines that
 * lack them:  -DOCTAVIUS_TEST_INTRINSICS='"tests/simd/simde.h"'  replaces the compiler's header and its target attributes
 * (octavius.h, chapter 5).  Compile without -march.  Below stands what SIMDe 0.7.4 does not have. */
#ifndef OCTAVIUS_TEST_SIMDE_H
#define OCTAVIUS_TEST_SIMDE_H
#define SIMDE_ENABLE_NATIVE_ALIASES
#if defined(__GNUC__)
#  pragma GCC diagnostic push
#  pragma GCC diagnostic ignored "-Wpedantic"
#  pragma GCC diagnostic ignored "-Wconversion"
#  pragma GCC diagnostic ignored "-Wsign-conversion"
#  pragma GCC diagnostic ignored "-Wshadow"
#  pragma GCC diagnostic ignored "-Wundef"
#  pragma GCC diagnostic ignored "-Wdouble-promotion"
#  pragma GCC diagnostic ignored "-Wcast-qual"
#  pragma GCC diagnostic ignored "-Wvla"
#endif
#include <simde/x86/avx512.h>
#include <simde/x86/avx2.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#if defined(__GNUC__)
#  pragma GCC diagnostic pop
#endif
#include <string.h>
#if defined(__GNUC__)                                 /* wide vectors pass through inline functions alone */
#  pragma GCC diagnostic ignored "-Wpsabi"
#endif

static inline __m512 test_cvtepi32_ps(__m512i a) {
    int32_t x[16];
    float y[16];
    __m512 r;
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 16; i++) y[i] = (float)x[i];
    memcpy(&r, y, sizeof y);
    return r;
}
static inline __m512i test_cvtepi8_epi32(__m128i a) {
    signed char x[16];
    int32_t y[16];
    __m512i r;
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 16; i++) y[i] = x[i];
    memcpy(&r, y, sizeof y);
    return r;
}
static inline __m128i test_cvtepi32_epi8(__m512i a) {
    uint32_t x[16];
    unsigned char y[16];
    __m128i r;
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 16; i++) y[i] = (unsigned char)(x[i] & 255u);
    memcpy(&r, y, sizeof y);
    return r;
}
/* Half floats in two steps that SIMDe has; its own conversions in plain C round correctly only in part, so the
 * library's scalar ones are used: they are tested against all 65536 values and every halfway case. */
static uint16_t oct__f32_to_f16(float x);
static float oct__f16_to_f32(uint16_t h);
static inline __m256 test_cvtph_ps256(__m128i a) {
    uint16_t x[8];
    float y[8];
    __m256 r;
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 8; i++) y[i] = oct__f16_to_f32(x[i]);
    memcpy(&r, y, sizeof y);
    return r;
}
static inline __m128i test_cvtps_ph256(__m256 a) {
    float x[8];
    uint16_t y[8];
    __m128i r;
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 8; i++) y[i] = oct__f32_to_f16(x[i]);
    memcpy(&r, y, sizeof y);
    return r;
}
static inline __m512 test_cvtph_ps512(__m256i a) {
    uint16_t x[16];
    float y[16];
    __m512 r;
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 16; i++) y[i] = oct__f16_to_f32(x[i]);
    memcpy(&r, y, sizeof y);
    return r;
}
static inline __m256i test_cvtps_ph512(__m512 a) {
    float x[16];
    uint16_t y[16];
    __m256i r;
    memcpy(x, &a, sizeof x);
    for (int i = 0; i < 16; i++) y[i] = oct__f32_to_f16(x[i]);
    memcpy(&r, y, sizeof y);
    return r;
}
/* One rounding, as the instruction has: SIMDe's plain C multiplies and adds. */
static inline __m256 test_fmadd256(__m256 a, __m256 b, __m256 c) {
    float x[8], y[8], z[8];
    __m256 r;
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    memcpy(z, &c, sizeof z);
    for (int i = 0; i < 8; i++) z[i] = __builtin_fmaf(x[i], y[i], z[i]);
    memcpy(&r, z, sizeof z);
    return r;
}
static inline __m512 test_fmadd512(__m512 a, __m512 b, __m512 c) {
    float x[16], y[16], z[16];
    __m512 r;
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    memcpy(z, &c, sizeof z);
    for (int i = 0; i < 16; i++) z[i] = __builtin_fmaf(x[i], y[i], z[i]);
    memcpy(&r, z, sizeof z);
    return r;
}
/* The sum of an odd pair's product and c, then of the even one's: each rounded. */
static inline __m512 test_dpbf16(__m512 c, __m512i a, __m512i b) {
    uint32_t x[16], y[16];
    float z[16];
    __m512 r;
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    memcpy(z, &c, sizeof z);
    for (int i = 0; i < 16; i++)
        for (int half = 1; half >= 0; half--) {
            const uint32_t u = half ? x[i] & 0xFFFF0000u : x[i] << 16, v = half ? y[i] & 0xFFFF0000u : y[i] << 16;
            float p, q;
            memcpy(&p, &u, sizeof p);
            memcpy(&q, &v, sizeof q);
            z[i] = __builtin_fmaf(p, q, z[i]);
        }
    memcpy(&r, z, sizeof r);
    return r;
}
static uint16_t oct__f32_to_bf16(float x);
static inline __m512i test_cvtne2ps_pbh(__m512 a, __m512 b) {
    float x[32];
    uint16_t y[32];
    __m512i r;
    memcpy(x, &b, sizeof b);
    memcpy(x + 16, &a, sizeof a);
    for (int i = 0; i < 32; i++) y[i] = oct__f32_to_bf16(x[i]);
    memcpy(&r, y, sizeof r);
    return r;
}
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtepi8_epi32
#undef _mm512_cvtepi32_epi8
#undef _mm512_cvtph_ps
#undef _mm512_cvtps_ph
#undef _mm256_cvtph_ps
#undef _mm256_cvtps_ph
#undef _mm256_fmadd_ps
#undef _mm512_fmadd_ps
#undef _mm256_dpbusd_avx_epi32
#undef _mm512_dpbf16_ps
#undef _mm512_cvtne2ps_pbh
#undef _mm512_madd_epi16                      /* its alias is that of the masked one */
#define _mm512_cvtepi32_ps(a)            test_cvtepi32_ps(a)
#define _mm512_cvtepi8_epi32(a)          test_cvtepi8_epi32(a)
#define _mm512_cvtepi32_epi8(a)          test_cvtepi32_epi8(a)
#define _mm512_cvtph_ps(a)               test_cvtph_ps512(a)
#define _mm512_cvtps_ph(a, mode)         test_cvtps_ph512(a)
#define _mm256_cvtph_ps(a)               test_cvtph_ps256(a)
#define _mm256_cvtps_ph(a, mode)         test_cvtps_ph256(a)
#define _mm256_fmadd_ps(a, b, c)         test_fmadd256(a, b, c)
#define _mm512_fmadd_ps(a, b, c)         test_fmadd512(a, b, c)
#define _mm512_dpbf16_ps(c, a, b)        test_dpbf16(c, (__m512i)(a), (__m512i)(b))
#define _mm512_cvtne2ps_pbh(a, b)        test_cvtne2ps_pbh(a, b)
#define _mm512_madd_epi16(a, b)          simde_mm512_madd_epi16(a, b)
#define _mm256_dpbusd_avx_epi32(c, u, s) _mm256_dpbusd_epi32(c, u, s)
#endif
