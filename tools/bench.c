/* octavius-bench - what this machine can do, and how much of it octavius.h gets.
 *
 *     octavius-bench [FILE] [--threads N] [--isa scalar|avx2|avx512|neon] [--json]
 *
 * First the machine's own limits, measured: fused multiply-adds, int8 dot products, bf16 dot products where the CPU has
 * them, and streaming reads.  Then the library: with a model FILE its loading, prefill of 512 tokens and decode of 64;
 * without one, bare matrix products by shape and type.  A share is of the limit that binds: arithmetic of the instruction
 * set in use for prefill and large products (int8 for quantised weights, else fused multiply-adds), reading for decode.
 * Every figure is a median, with the smallest and the largest beside it.  Close other programs first.
 *
 * Exit codes: 0 ok, 2 usage, 3 model unreadable or unsupported, 5 out of memory.
 */
#if !defined(_GNU_SOURCE)
#  define _GNU_SOURCE
#endif
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"
#include "synth.h"
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#  include <immintrin.h>
#elif defined(__aarch64__)
#  include <arm_neon.h>
#endif

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- the machine's limits ---------------------------------------------------------------------
 * Each loop keeps more independent chains going than the units have latency, and hides its operands from the optimiser
 * once a round, so that nothing can be computed ahead.  They return how many operations they made. */
#define HIDE_X(v)  __asm__ volatile("" : "+x"(v))
#define HIDE_V(v)  __asm__ volatile("" : "+v"(v))
#define HIDE_W(v)  __asm__ volatile("" : "+w"(v))
#define CHAINS(m)  m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) m(8) m(9) m(10) m(11)

typedef double (*peak_fn)(long rounds);

static double peak_fma_scalar(long rounds) {
    volatile float seed = 0.5f;
    float a = seed, b = seed, c[12];
    for (int i = 0; i < 12; i++) c[i] = seed;
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < 12; i++) c[i] = c[i] * a + b;
    for (int i = 0; i < 12; i++) seed = c[i];
    return 24.0 * (double)rounds;
}
static double peak_int8_scalar(long rounds) {
    volatile int seed = 3;
    int a = seed, c[12];
    for (int i = 0; i < 12; i++) c[i] = seed;
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < 12; i++) c[i] = c[i] * a + i;
    for (int i = 0; i < 12; i++) seed = c[i];
    return 24.0 * (double)rounds;
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static double peak_fma_avx2(long rounds) {
    __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
#define M(i) __m256 c##i = _mm256_set1_ps((float)i);
    CHAINS(M)
#undef M
    for (long r = 0; r < rounds; r++) {
        HIDE_X(a);
        HIDE_X(b);
#define M(i) c##i = _mm256_fmadd_ps(c##i, a, b);
        CHAINS(M)
#undef M
    }
#define M(i) HIDE_X(c##i);
    CHAINS(M)
#undef M
    return 12.0 * 16.0 * (double)rounds;
}
/* vpmaddubsw, vpmaddwd, vpaddd: how int8 is multiplied without VNNI. */
#define INT8_BODY(V, W, HIDE, SET8, SET16, SET32, ADD, MADD, MADDUBS)                          \
    V a = SET8(3), one = SET16(1), b = SET8(5);                                               \
    V c0 = SET32(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0, c7 = c0;           \
    for (long r = 0; r < rounds; r++) {                                                       \
        HIDE(b); c0 = ADD(c0, MADD(MADDUBS(a, b), one));                                      \
        HIDE(b); c1 = ADD(c1, MADD(MADDUBS(a, b), one));                                      \
        HIDE(b); c2 = ADD(c2, MADD(MADDUBS(a, b), one));                                      \
        HIDE(b); c3 = ADD(c3, MADD(MADDUBS(a, b), one));                                      \
        HIDE(b); c4 = ADD(c4, MADD(MADDUBS(a, b), one));                                      \
        HIDE(b); c5 = ADD(c5, MADD(MADDUBS(a, b), one));                                      \
        HIDE(b); c6 = ADD(c6, MADD(MADDUBS(a, b), one));                                      \
        HIDE(b); c7 = ADD(c7, MADD(MADDUBS(a, b), one));                                      \
    }                                                                                         \
    HIDE(c0); HIDE(c1); HIDE(c2); HIDE(c3); HIDE(c4); HIDE(c5); HIDE(c6); HIDE(c7);           \
    return 8.0 * 2.0 * (W) * (double)rounds;
__attribute__((target("avx2"))) static double peak_int8_avx2(long rounds) {
    INT8_BODY(__m256i, 32, HIDE_X, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_add_epi32, _mm256_madd_epi16,
              _mm256_maddubs_epi16)
}
__attribute__((target("avx512f,avx512bw"))) static double peak_int8_avx512(long rounds) {
    INT8_BODY(__m512i, 64, HIDE_V, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32, _mm512_add_epi32, _mm512_madd_epi16,
              _mm512_maddubs_epi16)
}
__attribute__((target("avx2,avxvnni"))) static double peak_int8_avxvnni(long rounds) {
    __m256i a = _mm256_set1_epi32(0x01020304), b = _mm256_set1_epi32(0x04030201);
#define M(i) __m256i c##i = _mm256_set1_epi32(i);
    CHAINS(M)
#undef M
    for (long r = 0; r < rounds; r++) {
        HIDE_X(a);
        HIDE_X(b);
#define M(i) c##i = _mm256_dpbusd_avx_epi32(c##i, a, b);
        CHAINS(M)
#undef M
    }
#define M(i) HIDE_X(c##i);
    CHAINS(M)
#undef M
    return 12.0 * 64.0 * (double)rounds;
}
__attribute__((target("avx512f"))) static double peak_fma_avx512(long rounds) {
    __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
#define M(i) __m512 c##i = _mm512_set1_ps((float)i);
    CHAINS(M)
#undef M
    for (long r = 0; r < rounds; r++) {
        HIDE_V(a);
        HIDE_V(b);
#define M(i) c##i = _mm512_fmadd_ps(c##i, a, b);
        CHAINS(M)
#undef M
    }
#define M(i) HIDE_V(c##i);
    CHAINS(M)
#undef M
    return 12.0 * 32.0 * (double)rounds;
}
__attribute__((target("avx512f,avx512vnni"))) static double peak_int8_vnni(long rounds) {
    __m512i a = _mm512_set1_epi32(0x01020304), b = _mm512_set1_epi32(0x04030201);
#define M(i) __m512i c##i = _mm512_set1_epi32(i);
    CHAINS(M)
#undef M
    for (long r = 0; r < rounds; r++) {
        HIDE_V(a);
        HIDE_V(b);
#define M(i) c##i = _mm512_dpbusd_epi32(c##i, a, b);
        CHAINS(M)
#undef M
    }
#define M(i) HIDE_V(c##i);
    CHAINS(M)
#undef M
    return 12.0 * 128.0 * (double)rounds;
}
__attribute__((target("avx512f,avx512bf16"))) static double peak_bf16_avx512(long rounds) {
    __m512 x = _mm512_set1_ps(0.5f);
    __m512bh a = _mm512_cvtne2ps_pbh(x, x), b = a;
#define M(i) __m512 c##i = _mm512_set1_ps((float)i);
    CHAINS(M)
#undef M
    for (long r = 0; r < rounds; r++) {
        HIDE_V(a);
        HIDE_V(b);
#define M(i) c##i = _mm512_dpbf16_ps(c##i, a, b);
        CHAINS(M)
#undef M
    }
#define M(i) HIDE_V(c##i);
    CHAINS(M)
#undef M
    return 12.0 * 64.0 * (double)rounds;
}
#elif defined(__aarch64__)
static double peak_fma_neon(long rounds) {
    float32x4_t a = vdupq_n_f32(0.5f), b = vdupq_n_f32(0.25f);
#define M(i) float32x4_t c##i = vdupq_n_f32((float)i);
    CHAINS(M)
#undef M
    for (long r = 0; r < rounds; r++) {
        HIDE_W(a);
        HIDE_W(b);
#define M(i) c##i = vfmaq_f32(c##i, a, b);
        CHAINS(M)
#undef M
    }
#define M(i) HIDE_W(c##i);
    CHAINS(M)
#undef M
    return 12.0 * 8.0 * (double)rounds;
}
/* smull, sadalp: what every ARMv8 has. */
static double peak_int8_neon(long rounds) {
    int8x16_t a = vdupq_n_s8(3);
#define M(i) int32x4_t c##i = vdupq_n_s32(i);
    CHAINS(M)
#undef M
    for (long r = 0; r < rounds; r++) {
        int8x16_t b = vdupq_n_s8(5);
#define M(i) HIDE_W(b); c##i = vpadalq_s16(c##i, vmlal_s8(vmull_s8(vget_low_s8(a), vget_low_s8(b)), vget_high_s8(a), vget_high_s8(b)));
        CHAINS(M)
#undef M
    }
#define M(i) HIDE_W(c##i);
    CHAINS(M)
#undef M
    return 12.0 * 32.0 * (double)rounds;
}
__attribute__((target("arch=armv8.2-a+dotprod"))) static double peak_int8_dot(long rounds) {
    int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(5);
#define M(i) int32x4_t c##i = vdupq_n_s32(i);
    CHAINS(M)
#undef M
    for (long r = 0; r < rounds; r++) {
        HIDE_W(a);
        HIDE_W(b);
#define M(i) c##i = vdotq_s32(c##i, a, b);
        CHAINS(M)
#undef M
    }
#define M(i) HIDE_W(c##i);
    CHAINS(M)
#undef M
    return 12.0 * 32.0 * (double)rounds;
}
#endif

/* The loops that fit the kernels in use; NULL: this CPU lacks the instructions. */
static void peaks_of(const char *isa, peak_fn *fma, peak_fn *int8, peak_fn *bf16) {
    *fma = peak_fma_scalar;
    *int8 = peak_int8_scalar;
    *bf16 = NULL;
#if defined(__x86_64__)
    if (strncmp(isa, "avx2", 4) == 0) {
        *fma = peak_fma_avx2;
        *int8 = strcmp(isa, "avx2_vnni") == 0 ? peak_int8_avxvnni : peak_int8_avx2;
    } else if (strncmp(isa, "avx512", 6) == 0) {             /* with VNNI or without */
        *fma = peak_fma_avx512;
        *int8 = __builtin_cpu_supports("avx512vnni") ? peak_int8_vnni : peak_int8_avx512;
        *bf16 = __builtin_cpu_supports("avx512bf16") ? peak_bf16_avx512 : NULL;
    }
#elif defined(__aarch64__)
    if (strncmp(isa, "neon", 4) == 0) {
        *fma = peak_fma_neon;
        *int8 = strcmp(isa, "neon_dot") == 0 ? peak_int8_dot : peak_int8_neon;
    }
#else
    (void)isa;
#endif
}

/* --- timing ------------------------------------------------------------------------------------- */

enum { MAX_TRIES = 15, MAX_RUNS = 128 };

typedef struct stat3 { double median, min, max; } stat3;

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static stat3 stat_of(double *v, int n) {                     /* sorts v */
    stat3 s = { 0, 0, 0 };
    if (n == 0) return s;
    qsort(v, (size_t)n, sizeof *v, by_size);
    s.min = v[0];
    s.max = v[n - 1];
    s.median = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
    return s;
}

typedef struct bench {
    oct__pool   pool;
    int         threads, json, serve;
    oct_isa     isa;
    const char *isa_name;
    stat3       fma, int8, bf16, read;                       /* GFLOP/s, GOP/s, GFLOP/s, GB/s */
    int         has_bf16;
    volatile uint64_t sink;                                  /* what was read must be used for something */
    struct run { char name[48], type[16], unit[12]; stat3 s; double share; } runs[MAX_RUNS];
    int         n_runs;
} bench;

typedef struct peak_job { peak_fn fn; long rounds; double *ops; } peak_job;
static void peak_task(void *arg, int i) {
    peak_job *job = (peak_job *)arg;
    job->ops[i * 8] = job->fn(job->rounds);                  /* 8: one cache line each */
}
static stat3 peak_measure(bench *b, peak_fn fn) {
    double   ops[256 * 8], v[7];
    peak_job job;
    job.fn = fn;
    job.rounds = 1000;
    job.ops = ops;
    for (double took = 0; took < 0.01; job.rounds *= 2) {    /* long enough to time */
        const double start = now();
        fn(job.rounds);
        took = now() - start;
    }
    job.rounds *= 4;
    for (int t = 0; t < 7; t++) {
        const double start = now();
        oct__parallel(&b->pool, peak_task, &job);
        const double took = now() - start;
        v[t] = 0;
        for (int i = 0; i < b->threads; i++) v[t] += ops[i * 8];
        v[t] *= 1e-9 / took;
    }
    return stat_of(v, 7);
}

/* Each thread reads one long run from end to end, in pieces of 1 MiB that it fetches in turn within its share. */
typedef struct read_job { const unsigned char *data; size_t bytes; int n; uint64_t *sums; } read_job;
static void read_task(void *arg, int i) {
    read_job *job = (read_job *)arg;
    const size_t   each = job->bytes / (size_t)job->n / 256 * 256;
    const uint64_t *p = (const uint64_t *)(const void *)(job->data + each * (size_t)i);
    uint64_t s[16] = { 0 };
    for (size_t j = 0; j + 16 <= each / 8; j += 16)
        for (int k = 0; k < 16; k++) s[k] ^= p[j + (size_t)k];
    for (int k = 1; k < 16; k++) s[0] ^= s[k];
    job->sums[i * 8] = s[0];
}
#if defined(__x86_64__)
__attribute__((target("avx2"))) static void read_task_avx2(void *arg, int i) {
    read_job *job = (read_job *)arg;
    const size_t   each = job->bytes / (size_t)job->n / 256 * 256;
    const unsigned char *p = job->data + each * (size_t)i;
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (size_t j = 0; j + 128 <= each; j += 128) {
        a = _mm256_xor_si256(a, _mm256_loadu_si256((const __m256i *)(const void *)(p + j)));
        b = _mm256_xor_si256(b, _mm256_loadu_si256((const __m256i *)(const void *)(p + j + 32)));
        c = _mm256_xor_si256(c, _mm256_loadu_si256((const __m256i *)(const void *)(p + j + 64)));
        d = _mm256_xor_si256(d, _mm256_loadu_si256((const __m256i *)(const void *)(p + j + 96)));
    }
    a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
    job->sums[i * 8] = (uint64_t)_mm256_extract_epi64(a, 0) ^ (uint64_t)_mm256_extract_epi64(a, 2);
}
#endif
static stat3 read_measure(bench *b, const unsigned char *data, size_t bytes) {
    uint64_t    sums[256 * 8];
    double      v[9];
    read_job    job;
    oct_task_fn task = read_task;
    job.data = data;
    job.bytes = bytes;
    job.n = b->threads;
    job.sums = sums;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) task = read_task_avx2;
#endif
    for (int t = -1; t < 9; t++) {                           /* the first touches the pages */
        const double start = now();
        oct__parallel(&b->pool, task, &job);
        const double took = now() - start;
        for (int i = 0; i < b->threads; i++) b->sink ^= sums[i * 8];
        if (t >= 0) v[t] = (double)(bytes / (size_t)b->threads / 256 * 256 * (size_t)b->threads) * 1e-9 / took;
    }
    return stat_of(v, 9);
}

static struct run *run_add(bench *b, const char *name, const char *type, const char *unit, stat3 s, double share) {
    struct run *r = &b->runs[b->n_runs < MAX_RUNS - 1 ? b->n_runs++ : MAX_RUNS - 1];
    snprintf(r->name, sizeof r->name, "%s", name);
    snprintf(r->type, sizeof r->type, "%s", type);
    snprintf(r->unit, sizeof r->unit, "%s", unit);
    r->s = s;
    r->share = share;
    return r;
}

/* --- bare matrix products --------------------------------------------------------------------------- */

typedef struct product { oct__compute c; oct__acts acts; oct__mat w; float *x, *y; unsigned char *weights, *arena; int n_tok; double took; } product;

/* W [rows, cols] of noise in a type, and room for n_tok activations; non-zero: no memory. */
static int product_open(bench *b, product *p, int type, int rows, int cols, int n_tok) {
    const size_t row_bytes = oct__row_bytes(type, cols), n_blocks = row_bytes / (size_t)oct__type(type)->block_bytes;
    const int    block_elems = oct__type(type)->block_elems;
    const size_t block_bytes = (size_t)oct__type(type)->block_bytes, pool = 16384 / (size_t)block_elems;
    oct__arena   arena;
    uint64_t     state = 1;
    memset(p, 0, sizeof *p);
    memset(&arena, 0, sizeof arena);
    oct__acts_take(&arena, &p->acts, n_tok, cols);
    p->c.scratch_bytes = oct__scratch_bytes(OCT__MAX(cols, rows), 128);
    (void)oct__take(&arena, (size_t)b->threads, p->c.scratch_bytes);
    const size_t need = arena.used;
    float *noise = (float *)malloc(16384 * sizeof *noise);
    unsigned char *blocks = (unsigned char *)malloc(16384 * sizeof(float));
    p->weights = (unsigned char *)malloc(row_bytes * (size_t)rows + 64);
    p->arena = (unsigned char *)malloc(need + 64);
    p->x = (float *)malloc((size_t)n_tok * (size_t)cols * sizeof(float));
    p->y = (float *)malloc((size_t)n_tok * (size_t)rows * sizeof(float));
    const int bad = !noise || !blocks || !p->weights || !p->arena || !p->x || !p->y;
    if (!bad) {
        synth_normal(&state, noise, 16384, 0, 1);
        blocks_encode(type, noise, blocks, 16384);
        for (size_t i = 0; i < n_blocks * (size_t)rows; i++)
            memcpy(p->weights + i * block_bytes, blocks + (size_t)((synth_next(&state) >> 32) % pool) * block_bytes, block_bytes);
        synth_normal(&state, p->x, (size_t)n_tok * (size_t)cols, 0, 1);
        arena.base = p->arena + (64 - ((uintptr_t)p->arena & 63)) % 64;
        arena.used = 0;
        arena.cap = need;
        oct__acts_take(&arena, &p->acts, n_tok, cols);
        p->c.scratch = (unsigned char *)oct__take(&arena, (size_t)b->threads, p->c.scratch_bytes);
        p->c.k = oct__kernels_pick(b->isa);
        p->c.pool = b->pool;
        p->w.type = type;
        p->w.rows = rows;
        p->w.cols = cols;
        p->w.row_bytes = row_bytes;
        p->w.data = p->weights;
    }
    free(noise);
    free(blocks);
    return bad;
}
static void product_close(product *p) {
    free(p->weights);
    free(p->arena);
    free(p->x);
    free(p->y);
}
static void product_body(void *arg) {                        /* as it stands in a pass, all threads being there */
    product *p = (product *)arg;
    oct__mm  job;
    memset(&job, 0, sizeof job);
    job.w = &p->w;
    job.y = p->y;
    job.y_stride = (size_t)p->w.rows;
    const double start = now();
    oct__acts_set(&p->c, &p->acts, p->x, p->n_tok, p->w.cols, oct__type(p->w.type)->block_elems > 1);
    oct__matmul(&p->c, &job, 1, &p->acts);
    p->took = now() - start;
}
static double product_once(product *p, int n_tok) {
    p->n_tok = n_tok;
    oct__together(&p->c.pool, product_body, p);
    return p->took;
}
static int products(bench *b) {
    static const struct { int rows, cols; } shapes[] = { { 2048, 2048 }, { 5632, 2048 }, { 2048, 5632 } };
    for (int i = 0; i < (int)SYNTH_TYPES; i++)
        for (int j = 0; j < 3; j++)
            for (int n_tok = 512; n_tok >= 1; n_tok -= 511) {
                const int type = synth_types[i].id, rows = shapes[j].rows, cols = shapes[j].cols;
                product   p;
                double    v[MAX_TRIES], spent = 0;
                int       n = 0;
                char      name[48];
                if (j == 0 && n_tok == 1) continue;          /* fits a cache: says nothing about reading */
                if (product_open(b, &p, type, rows, cols, n_tok)) {
                    product_close(&p);
                    return 1;
                }
                (void)product_once(&p, n_tok > 1 ? 16 : 1);
                const double ops = 2.0 * rows * cols * n_tok, bytes = (double)p.w.row_bytes * rows;
                while (n < 3 || (n < MAX_TRIES && spent < 0.25)) {
                    const double took = product_once(&p, n_tok);
                    spent += took;
                    v[n++] = (n_tok > 1 ? ops : bytes) * 1e-9 / took;
                    if (spent > 3) break;                    /* the scalar table is slow */
                }
                const stat3  s = stat_of(v, n);
                const double limit = n_tok == 1 ? b->read.median : synth_types[i].elems > 1 ? b->int8.median : b->fma.median;
                snprintf(name, sizeof name, "matmul %dx%dx%d", rows, cols, n_tok);
                run_add(b, name, synth_types[i].name, n_tok > 1 ? "GOP/s" : "GB/s", s, s.median / limit);
                product_close(&p);
            }
    return 0;
}

/* --- a model -------------------------------------------------------------------------------------------- */

/* What a token costs, as the share counts it: matrices of the layers, and bytes that decode must read.  type: of most
 * weights in the layers. */
static void model_cost(const oct_model *m, double *ops, double *bytes, const char **type, int *quantised) {
    const oct__net *net = &m->net;
    double          of_type[64] = { 0 }, most = 0;
    *ops = *bytes = 0;
    *type = "?";
    for (size_t i = 0; i < oct_model_tensor_count(m); i++) {
        oct_tensor t;
        if (oct_model_tensor(m, i, &t)) continue;
        const int layer = t.name.len > 4 && memcmp(t.name.data, "blk.", 4) == 0;
        const int embd = oct__str_is(t.name, "token_embd.weight");
        if (layer && t.n_dims >= 2) {
            *ops += 2.0 * (double)t.ne[0] * (double)t.ne[1];
            of_type[t.type & 63] += (double)t.ne[0] * (double)t.ne[1];
            if (of_type[t.type & 63] > most) {
                most = of_type[t.type & 63];
                *type = t.type_name;
                *quantised = oct__type(t.type)->block_elems > 1;
            }
        }
        if (!embd || net->output.w.data == net->token_embd.data) *bytes += (double)t.bytes;
    }
}

static int model_run(bench *b, const char *path) {
    oct_error        err = { OCT_OK, "" };
    oct_model       *m = NULL;
    oct_session     *s = NULL;
    oct_session_desc d;
    oct_token        t;
    double           v[MAX_TRIES], ops, bytes, spent = 0;
    const char      *type;
    static int32_t   ids[512];
    int              quantised = 0, n = 0;
    memset(&d, 0, sizeof d);
    for (n = 0; n < 5; n++) {
        oct_model_close(m);
        const double start = now();
        if (oct_model_open(&m, path, NULL, &err)) {
            fprintf(stderr, "octavius-bench: %s\n", err.message);
            return err.code == OCT_E_MEMORY ? 5 : 3;
        }
        v[n] = (now() - start) * 1e3;
    }
    model_cost(m, &ops, &bytes, &type, &quantised);
    run_add(b, "load", type, "ms", stat_of(v, n), -1);
    size_t         file_bytes = 0;
    const unsigned char *data = NULL;
    for (size_t i = 0; i < oct_model_tensor_count(m); i++) { /* the mapped tensors are what decode reads */
        oct_tensor tensor;
        if (oct_model_tensor(m, i, &tensor)) continue;
        if (!data) data = (const unsigned char *)tensor.data;
        if ((const unsigned char *)tensor.data >= data) file_bytes = (size_t)((const unsigned char *)tensor.data - data) + tensor.bytes;
    }
    if (m->source.n_parts == 1) {                            /* a file too small for the caches says nothing */
        const stat3 read = read_measure(b, data, file_bytes);
        if (file_bytes > (size_t)256 << 20) b->read = read;
    }
    d.n_ctx = OCT__MIN(1024, OCT__MAX(m->net.n_ctx_train, 640));
    d.n_threads = b->threads;
    d.isa = b->isa;
    d.raw = 1;
    if (oct_session_open(&s, m, &d, &err)) goto fail;
    for (int i = 0, id = 0; i < 512; id = (id + 7919) % m->net.n_vocab)
        if (!m->banned[id] && !oct__vocab_is_control(&m->vocab, id)) ids[i++] = id;
    const double per_token = ops + 4.0 * m->net.n_out * 256.0 * m->net.n_layer;
    for (n = 0; n < 3 || (n < 7 && spent < 8); n++) {
        oct_session_reset(s);
        if (oct_feed_tokens(s, ids, 512, &err)) goto fail;
        const double start = now();
        if (oct_prefill(s, &err)) goto fail;
        const double took = now() - start;
        v[n] = 512 / took;
        spent += took;
    }
    stat3 st = stat_of(v, n);
    run_add(b, "prefill 512", type, "tokens/s", st, st.median * per_token * 1e-9 / (quantised ? b->int8.median : b->fma.median));
    spent = 0;
    for (n = 0; n < 3 || (n < 7 && spent < 8); n++) {        /* decode at the start of a context, as others measure it */
        oct_session_reset(s);
        if (oct_feed_tokens(s, ids, 4, &err) || oct_next(s, &t, &err)) goto fail;
        const double start = now();
        for (int i = 0; i < 64; i++) {
            if (t.is_end && oct_feed_tokens(s, ids + i, 1, &err)) goto fail;
            if (oct_next(s, &t, &err)) goto fail;
        }
        const double took = now() - start;
        v[n] = 64 / took;
        spent += took;
    }
    st = stat_of(v, n);
    run_add(b, "decode 64", type, "tokens/s", st, st.median * bytes * 1e-9 / b->read.median);
    oct_session_close(s);
    oct_model_close(m);
    return 0;
fail:
    fprintf(stderr, "octavius-bench: %s: %s\n", path, err.message);
    oct_session_close(s);
    oct_model_close(m);
    return err.code == OCT_E_MEMORY ? 5 : 3;
}

/* --- served: one loaded model, asked by another program --------------------------------------------------------
 * A line in, a line out.  Each answer is seconds, or "error" and why.
 *     prefill N          N tokens into an empty context
 *     decode N DEPTH     N steps of one token each from position DEPTH on; it is brought there untimed */
static double serve_prefill(oct_session *s, const int32_t *ids, int n, oct_error *err) {
    oct_session_reset(s);
    if (oct_feed_tokens(s, ids, (size_t)n, err)) return -1;
    const double start = now();
    return oct_prefill(s, err) ? -1 : now() - start;
}
/* The context that is there already is kept as far as it goes. */
static double serve_decode(oct_session *s, const int32_t *ids, int n, int depth, oct_error *err) {
    oct_token t;
    const int kept = OCT__MIN(depth, oct_session_position(s));
    if (oct_session_rewind(s, kept, err)) return -1;
    if (depth > kept && (oct_feed_tokens(s, ids + kept, (size_t)(depth - kept), err) || oct_prefill(s, err))) return -1;
    if (oct_feed_tokens(s, ids + depth, 1, err)) return -1;
    const double start = now();
    while (oct_session_position(s) < depth + n) {            /* an answer that ends is followed by another turn */
        if (oct_next(s, &t, err) || (t.is_end && oct_feed_tokens(s, ids, 1, err))) return -1;
    }
    return now() - start;
}
static int serve(bench *b, const char *path) {
    oct_error        err = { OCT_OK, "" };
    oct_model       *m = NULL;
    oct_session     *s = NULL;
    oct_session_desc d;
    char             line[128];
    int32_t          ids[4096];
    int              n, depth;
    memset(&d, 0, sizeof d);
    d.n_threads = b->threads;
    d.isa = b->isa;
    d.raw = 1;
    if (oct_model_open(&m, path, NULL, &err)) goto done;
    d.n_ctx = OCT__MIN(m->net.n_ctx_train, 4096);
    if (oct_session_open(&s, m, &d, &err)) goto done;
    for (int i = 0, id = 0; i < d.n_ctx; id = (id + 7919) % m->net.n_vocab)
        if (!m->banned[id] && !oct__vocab_is_control(&m->vocab, id)) ids[i++] = id;
    printf("ready %s %d\n", b->isa_name, d.n_ctx);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        double took = -1;
        snprintf(err.message, sizeof err.message, "expected: prefill N, decode N DEPTH; %d positions", d.n_ctx);
        if (sscanf(line, "prefill %d", &n) == 1 && n > 0 && n <= d.n_ctx) took = serve_prefill(s, ids, n, &err);
        else if (sscanf(line, "decode %d %d", &n, &depth) == 2 && n > 0 && depth >= 0 && n <= d.n_ctx - depth)
            took = serve_decode(s, ids, n, depth, &err);
        if (took < 0) printf("error %s\n", err.message);
        else printf("%.9f\n", took);
        fflush(stdout);
    }
    err.code = OCT_OK;
done:
    if (err.code) fprintf(stderr, "octavius-bench: %s\n", err.message);
    oct_session_close(s);
    oct_model_close(m);
    return err.code == OCT_OK ? 0 : err.code == OCT_E_MEMORY ? 5 : 3;
}

/* --- output --------------------------------------------------------------------------------------------------- */

static void bar(double share) {
    const int n = share < 0 ? 0 : share > 1 ? 20 : (int)(share * 20 + 0.5);
    printf("  ");
    for (int i = 0; i < 20; i++) printf("%s", i < n ? "\xE2\x96\x88" : "\xE2\x96\x91");
    printf(" %3.0f %%", share * 100);
}
static void print_table(const bench *b) {
    printf("kernels %s, %d thread%s\n\n", b->isa_name, b->threads, b->threads == 1 ? "" : "s");
    printf("machine              median      min      max\n");
    printf("fma              %10.1f %8.1f %8.1f GFLOP/s\n", b->fma.median, b->fma.min, b->fma.max);
    printf("int8             %10.1f %8.1f %8.1f GOP/s\n", b->int8.median, b->int8.min, b->int8.max);
    if (b->has_bf16) printf("bf16             %10.1f %8.1f %8.1f GFLOP/s\n", b->bf16.median, b->bf16.min, b->bf16.max);
    else printf("bf16             not with these kernels on this CPU\n");
    printf("streaming read   %10.1f %8.1f %8.1f GB/s\n\n", b->read.median, b->read.min, b->read.max);
    printf("%-26s %-7s %9s %9s %9s\n", "octavius.h", "type", "median", "min", "max");
    for (int i = 0; i < b->n_runs; i++) {
        const struct run *r = &b->runs[i];
        printf("%-26s %-7s %9.1f %9.1f %9.1f %-8s", r->name, r->type, r->s.median, r->s.min, r->s.max, r->unit);
        if (r->share >= 0) bar(r->share);
        printf("\n");
    }
}
static void print_json(const bench *b) {
    printf("{\"machine\":{\"fma_gflops\":%.2f,\"int8_gops\":%.2f,", b->fma.median, b->int8.median);
    if (b->has_bf16) printf("\"bf16_gflops\":%.2f,", b->bf16.median);
    else printf("\"bf16_gflops\":null,");
    printf("\"read_gbs\":%.2f},\"runs\":[", b->read.median);
    for (int i = 0; i < b->n_runs; i++) {
        const struct run *r = &b->runs[i];
        printf("%s{\"name\":\"%s\",\"type\":\"%s\",\"threads\":%d,\"median\":%.4f,\"min\":%.4f,\"max\":%.4f,\"unit\":\"%s\",", i ? "," : "",
               r->name, r->type, b->threads, r->s.median, r->s.min, r->s.max, r->unit);
        if (r->share >= 0) printf("\"share\":%.4f}", r->share);
        else printf("\"share\":null}");
    }
    printf("]}\n");
}

static int usage(const char *why, const char *what) {
    fprintf(stderr, "octavius-bench: %s%s\nusage: octavius-bench [FILE] [--threads N] [--isa scalar|avx2|avx512|neon] [--json]\n", why, what);
    return 2;
}

int main(int argc, char **argv) {
    static bench b;
    const char  *path = NULL;
    b.isa = OCT_ISA_AUTO;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            b.json = 1;
        } else if (strcmp(argv[i], "--serve") == 0) {
            b.serve = 1;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            printf("usage: octavius-bench [FILE] [--threads N] [--isa scalar|avx2|avx512|neon] [--json]\n");
            return 0;
        } else if (strcmp(argv[i], "--threads") == 0 || strcmp(argv[i], "--isa") == 0) {
            if (i + 1 == argc) return usage("needs a value: ", argv[i]);
            const char *value = argv[++i];
            if (argv[i - 1][2] == 't') {
                b.threads = atoi(value);
                if (b.threads < 1 || b.threads > 256) return usage("not a number of threads: ", value);
            } else {
                static const char *const names[] = { "scalar", "avx2", "avx512", "neon" };
                for (int k = 0; k < 4; k++)
                    if (strcmp(value, names[k]) == 0) b.isa = (oct_isa)(OCT_ISA_SCALAR + k);
                if (b.isa == OCT_ISA_AUTO) return usage("unknown instruction set: ", value);
                if (!oct_isa_available(b.isa)) return usage("this machine or build lacks ", value);
            }
        } else if (argv[i][0] == '-' || path) {
            return usage("unexpected argument: ", argv[i]);
        } else {
            path = argv[i];
        }
    }
    peak_fn fma, int8, bf16;
    b.isa_name = oct_isa_name(b.isa);
    if (b.threads == 0) b.threads = oct__threads_default(NULL);
    b.pool.n_threads = b.threads;
    if (b.serve) return path ? serve(&b, path) : usage("--serve needs a model", "");
    peaks_of(b.isa_name, &fma, &int8, &bf16);
    b.fma = peak_measure(&b, fma);
    b.int8 = peak_measure(&b, int8);
    b.has_bf16 = bf16 != NULL;
    if (bf16) b.bf16 = peak_measure(&b, bf16);
    const size_t   bytes = (size_t)512 << 20;
    unsigned char *memory = (unsigned char *)malloc(bytes);
    if (!memory) {
        fprintf(stderr, "octavius-bench: out of memory for a buffer of 512 MiB\n");
        return 5;
    }
    memset(memory, 1, bytes);
    b.read = read_measure(&b, memory, bytes);
    free(memory);
    const int bad = path ? model_run(&b, path) : products(&b) * 5;
    if (bad) return bad;
    if (b.json) print_json(&b);
    else print_table(&b);
    return 0;
}
