/* octavius-bench - what this machine can do, and how much of it octavius.h gets.
 *
 *     octavius-bench [FILE] [--threads N] [--isa scalar|avx2|avx512|neon|TABLE] [--only NAME-PART] [--json]
 *
 * First the machine's own limits, by one thread and by all: fused multiply-adds, int8 and bf16 dot products by the best
 * instruction of the kernels in use, streaming reads.  Then the library.  Without a FILE: bare matrix products by shape and
 * weight type, and attention.  With one: opening it, memory, prefill, decode at the start and behind 2000 tokens, attention;
 * of a file with a picture encoder (an mmproj file has nothing else): encoding a picture, projector included.
 * Every figure is the median of several tries, with the smallest and the largest; a share is of the limit that binds, as
 * it was in the same seconds: arithmetic for prompts (int8 where weights are quantised, else multiply-adds), reading for
 * decode, over the same mapped file.  --only matmul, --only "matmul 1x", --only q4_k, --only decode: just those.  --isa takes
 * the best kernels of a family, or those of the name that the heading shows: avx512_bf16, where avx512_vnni is better.
 * Takes about a minute.  Close other programs first.
 *
 * --serve FILE waits for orders on stdin instead: tools/race.py has this program and llama.cpp run by turns.
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
 * once a round, so that nothing can be computed ahead. */
#define HIDE_R(v)  __asm__ volatile("" : "+r"(v))
#define HIDE_X(v)  __asm__ volatile("" : "+x"(v))
#define HIDE_V(v)  __asm__ volatile("" : "+v"(v))
#define HIDE_W(v)  __asm__ volatile("" : "+w"(v))
#define CHAINS(m)  m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) m(8) m(9) m(10) m(11)

typedef double (*peak_fn)(long rounds);                     /* returns how many operations it made */

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
#  if OCT__ARM_BF16
__attribute__((target("arch=armv8.2-a+bf16"))) static double peak_bf16_neon(long rounds) {
    uint16x8_t   half = vdupq_n_u16(0x3F00);
    HIDE_W(half);                                            /* gcc 12 takes a constant for one of IEEE's half floats */
    bfloat16x8_t a = vreinterpretq_bf16_u16(half), b = a;
#define M(i) float32x4_t c##i = vdupq_n_f32(i);
    CHAINS(M)
#undef M
    for (long r = 0; r < rounds; r++) {
        HIDE_W(a);
        HIDE_W(b);
#define M(i) c##i = vbfdotq_f32(c##i, a, b);
        CHAINS(M)
#undef M
    }
#define M(i) HIDE_W(c##i);
    CHAINS(M)
#undef M
    return 12.0 * 16.0 * (double)rounds;
}
#  endif
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
#if OCT__ARM_I8MM
__attribute__((target("arch=armv8.2-a+i8mm"))) static double peak_int8_i8mm(long rounds) {
    uint8x16_t a = vdupq_n_u8(3);
    int8x16_t b = vdupq_n_s8(5);
#define M(i) int32x4_t c##i = vdupq_n_s32(i);
    CHAINS(M)
#undef M
    for (long r = 0; r < rounds; r++) {
        HIDE_W(a);
        HIDE_W(b);
#define M(i) c##i = vusmmlaq_s32(c##i, a, b);
        CHAINS(M)
#undef M
    }
#define M(i) HIDE_W(c##i);
    CHAINS(M)
#undef M
    return 12.0 * 64.0 * (double)rounds;
}
#endif
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
#  if OCT__ARM_I8MM
        if (strcmp(isa, "neon_i8mm") == 0 || strcmp(isa, "neon_bf16") == 0) *int8 = peak_int8_i8mm;
#  endif
#  if OCT__ARM_BF16
        if (strcmp(isa, "neon_bf16") == 0) *bf16 = peak_bf16_neon;
#  endif
    }
#else
    (void)isa;
#endif
}

/* --- figures -------------------------------------------------------------------------------------------
 * A machine that others use as well is never still.  So everything is measured in turns: one try of each task, then the
 * next round, and before each try a burst of the limit that it is compared with.  A share is the median of the tries over
 * the median of those bursts: a limit of the same seconds. */

enum { MAX_TRIES = 15, MAX_RUNS = 96, MAX_TASKS = 16, MAX_PROBES = 2048, MAX_THREADS = 256, STREAMS = 16, LINE = 8 /* uint64_t in a cache line */ };
enum { LIMIT_FMA, LIMIT_INT8, LIMIT_BF16, LIMIT_READ, N_LIMITS, LIMIT_NONE = N_LIMITS };
static const char *const limit_names[] = { "fma", "int8", "bf16", "read", "" };
static const char *const limit_units[] = { "GFLOP/s", "GOP/s", "GFLOP/s", "GB/s" };

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

typedef struct limit {
    peak_fn fn;                                              /* NULL: reading, or not on this CPU */
    long    rounds;                                          /* of a burst, about 8 ms */
    double  probes[MAX_PROBES];                              /* every burst of all threads */
    int     n;
} limit;

typedef struct run {
    char   name[48], type[16], unit[12];
    int    threads, of;
    stat3  s;
    double share;                                            /* below 0: none */
} run;

typedef struct bench {
    oct__pool            pool;
    int                  threads, json, serve, progress;
    int                  n_prompt, n_steps;                  /* tokens of a prefill and of a decode: fewer for scalar kernels */
    oct_isa              isa;
    const oct__kernels  *k;
    const char          *only;                               /* part of the names wanted; NULL: all */
    limit                limits[N_LIMITS];
    const unsigned char *data;                               /* what a burst of reading reads */
    size_t               data_bytes;
    unsigned char       *memory;                             /* data, where it is anonymous memory */
    volatile uint64_t    sink;                               /* what was read must be used for something */
    run                  runs[MAX_RUNS];
    int                  n_runs;
    oct_error            err;
} bench;

static int wanted(const bench *b, const char *name) { return !b->only || strstr(name, b->only) != NULL; }

static void say(const bench *b, const char *what) {          /* progress, on a terminal only */
    if (b->progress) fprintf(stderr, "\r\033[K%s%s", what, *what ? " ..." : "");
}

static void run_add(bench *b, const char *name, const char *type, int threads, const char *unit, stat3 s, double share, int of) {
    run *r = &b->runs[b->n_runs < MAX_RUNS - 1 ? b->n_runs++ : MAX_RUNS - 1];
    snprintf(r->name, sizeof r->name, "%s", name);
    snprintf(r->type, sizeof r->type, "%s", type);
    snprintf(r->unit, sizeof r->unit, "%s", unit);
    r->threads = threads;
    r->s = s;
    r->share = share;
    r->of = of;
}

/* --- bursts of a limit ---------------------------------------------------------------------------------- */

typedef struct burst { peak_fn fn; long rounds; const unsigned char *data; size_t each; int streams; double *ops; uint64_t *sums; } burst;

static void arithmetic_task(void *arg, int i) {
    burst *job = (burst *)arg;
    job->ops[i * LINE] = job->fn(job->rounds);
}
/* Each thread reads its part from end to end: in one run, or in several side by side, a cache line of each in turn. */
static void read_task(void *arg, int i) {
    burst               *job = (burst *)arg;
    const size_t         stream = job->each / (size_t)job->streams;
    const unsigned char *p = job->data + job->each * (size_t)i;
    uint64_t             s[8] = { 0 };
    for (size_t j = 0; j < stream; j += 64)
        for (int k = 0; k < job->streams; k++) {
            const uint64_t *line = (const uint64_t *)(const void *)(p + stream * (size_t)k + j);
            for (int l = 0; l < 8; l++) s[l] ^= line[l];
        }
    for (int l = 1; l < 8; l++) s[0] ^= s[l];
    job->sums[i * LINE] = s[0];
}
#if defined(__x86_64__)
__attribute__((target("avx2"))) static void read_task_avx2(void *arg, int i) {
    burst               *job = (burst *)arg;
    const size_t         stream = job->each / (size_t)job->streams;
    const unsigned char *p = job->data + job->each * (size_t)i;
    __m256i              a = _mm256_setzero_si256(), b = a;
    for (size_t j = 0; j < stream; j += 64)
        for (int k = 0; k < job->streams; k++) {
            const unsigned char *line = p + stream * (size_t)k + j;
            a = _mm256_xor_si256(a, _mm256_loadu_si256((const __m256i *)(const void *)line));
            b = _mm256_xor_si256(b, _mm256_loadu_si256((const __m256i *)(const void *)(line + 32)));
        }
    a = _mm256_xor_si256(a, b);
    job->sums[i * LINE] = (uint64_t)_mm256_extract_epi64(a, 0) ^ (uint64_t)_mm256_extract_epi64(a, 2);
}
#endif
static oct_task_fn read_task_best(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return read_task_avx2;
#endif
    return read_task;
}

/* What `threads` threads get of a limit just now, in G/s; nothing is kept.  streams: of reading, in each thread. */
static double burst_of(bench *b, int of, int threads, int streams) {
    double      ops[MAX_THREADS * LINE], all = 0;
    uint64_t    sums[MAX_THREADS * LINE];
    oct__pool   pool = b->pool;
    burst       job;
    memset(&job, 0, sizeof job);
    pool.n_threads = threads;
    job.fn = b->limits[of].fn;
    job.rounds = b->limits[of].rounds;
    job.data = b->data;
    job.each = b->data_bytes / (size_t)threads / 1024 * 1024;        /* whole cache lines of 16 streams */
    job.streams = streams;
    job.ops = ops;
    job.sums = sums;
    const double start = now();
    oct__parallel(&pool, of == LIMIT_READ ? read_task_best() : arithmetic_task, &job);
    const double took = now() - start;
    for (int i = 0; i < threads; i++) {
        if (of == LIMIT_READ) b->sink ^= sums[i * LINE];
        all += of == LIMIT_READ ? (double)job.each : ops[i * LINE];
    }
    return all * 1e-9 / took;
}
static double burst_now(bench *b, int of, int threads) { return burst_of(b, of, threads, 1); }
/* The same with all threads, kept for the machine's figures. */
static double probe(bench *b, int of) {
    limit       *l = &b->limits[of];
    const double v = burst_now(b, of, b->threads);
    if (l->n < MAX_PROBES) l->probes[l->n++] = v;
    return v;
}
static double limit_median(const bench *b, int of) {
    static double copy[MAX_PROBES];
    memcpy(copy, b->limits[of].probes, (size_t)b->limits[of].n * sizeof *copy);
    return stat_of(copy, b->limits[of].n).median;
}
static void limit_prepare(limit *l) {
    l->rounds = 1000;
    for (double took = 0; took < 0.004; l->rounds *= 2) {    /* ends between 8 and 16 ms */
        const double start = now();
        l->fn(l->rounds);
        took = now() - start;
    }
}

/* One limit by one thread and by all, in turns: `name` in the table. */
static void limit_run(bench *b, int of, const char *name, const char *type) {
    double one[MAX_TRIES], all[MAX_TRIES];
    int    n = 0;
    say(b, name);
    (void)burst_now(b, of, b->threads);                      /* wakes threads, touches pages */
    for (; n < 7; n++) {
        all[n] = probe(b, of);
        one[n] = b->threads > 1 ? burst_now(b, of, 1) : all[n];
    }
    run_add(b, name, type, 1, limit_units[of], stat_of(one, n), -1, LIMIT_NONE);
    if (b->threads > 1) run_add(b, name, type, b->threads, limit_units[of], stat_of(all, n), -1, LIMIT_NONE);
}

/* Reading in one run a thread is the limit that shares refer to.  On some CPUs a thread that reads in several places at
 * once gets more, on others less: that is shown beside it. */
static void read_run(bench *b, const char *name) {
    char   full[48];
    double one[MAX_TRIES], all[MAX_TRIES];
    limit_run(b, LIMIT_READ, name, "peak");
    for (int n = 0; n < 5; n++) {
        one[n] = burst_of(b, LIMIT_READ, 1, STREAMS);
        all[n] = burst_of(b, LIMIT_READ, b->threads, STREAMS);
    }
    snprintf(full, sizeof full, "%s, %d places", name, STREAMS);
    run_add(b, full, "peak", 1, limit_units[LIMIT_READ], stat_of(one, 5), -1, LIMIT_NONE);
    if (b->threads > 1) run_add(b, full, "peak", b->threads, limit_units[LIMIT_READ], stat_of(all, 5), -1, LIMIT_NONE);
}

static int data_anonymous(bench *b) {
    const size_t bytes = (size_t)512 << 20;                  /* more than caches hold */
    b->memory = (unsigned char *)malloc(bytes);
    if (!b->memory) return oct__fail(&b->err, OCT_E_MEMORY, "out of memory for a buffer of %zu bytes", bytes) != OCT_OK;
    memset(b->memory, 1, bytes);
    b->data = b->memory;
    b->data_bytes = bytes;
    return 0;
}
static void data_free(bench *b) {
    free(b->memory);
    b->memory = NULL;
}

static int machine_prepare(bench *b) {
    peaks_of(b->k->name, &b->limits[LIMIT_FMA].fn, &b->limits[LIMIT_INT8].fn, &b->limits[LIMIT_BF16].fn);
    for (int of = LIMIT_FMA; of <= LIMIT_BF16; of++)
        if (b->limits[of].fn) limit_prepare(&b->limits[of]);
    return data_anonymous(b);
}
static int machine(bench *b) {
    if (machine_prepare(b)) return 1;
    for (int of = LIMIT_FMA; of <= LIMIT_BF16; of++)
        if (b->limits[of].fn) limit_run(b, of, limit_names[of], "peak");
    read_run(b, "read memory");
    return 0;
}

/* GHz, from a chain of additions of which each takes a cycle. */
static double clock_now(void) {
    uint64_t     x = 1, y = 3;
    const double start = now();
    for (int i = 0; i < 1000000; i++) {
        HIDE_R(y);                                           /* a constant could be added without taking a cycle */
        x += y; HIDE_R(x); x += y; HIDE_R(x); x += y; HIDE_R(x); x += y; HIDE_R(x);
        x += y; HIDE_R(x); x += y; HIDE_R(x); x += y; HIDE_R(x); x += y; HIDE_R(x);
    }
    return 8e6 * 1e-9 / (now() - start);
}

/* --- tasks, measured in turns ----------------------------------------------------------------------------- */

typedef double (*once_fn)(bench *b, void *arg);              /* seconds; below 0: failed, b->err says why */
typedef struct task {
    char        name[48];
    const char *type, *unit;
    double      amount;                                      /* a try of t seconds gives amount / t in unit; unit "ms": t * 1e3 */
    int         of;                                          /* the limit */
    double      cost;                                        /* G of the limit behind one of unit */
    once_fn     once;
    void       *arg;
    double      v[MAX_TRIES], limit[MAX_TRIES];
    int         n;
} task;

static void task_set(task *t, const char *name, const char *type, const char *unit, double amount, int of, double cost, once_fn once, void *arg) {
    memset(t, 0, sizeof *t);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->type = type;
    t->unit = unit;
    t->amount = amount;
    t->of = of;
    t->cost = cost;
    t->once = once;
    t->arg = arg;
}
static int task_try(bench *b, task *t) {
    if (t->of != LIMIT_NONE) t->limit[t->n] = probe(b, t->of);
    const double took = t->once(b, t->arg);
    if (took < 0) return 1;
    t->v[t->n++] = strcmp(t->unit, "ms") == 0 ? took * 1e3 : t->amount / took;
    return 0;
}
static void task_done(bench *b, task *t) {
    double      share = -1;
    const stat3 s = stat_of(t->v, t->n);
    if (t->of != LIMIT_NONE) share = s.median * t->cost / stat_of(t->limit, t->n).median;
    run_add(b, t->name, t->type, b->threads, t->unit, s, share, t->of);
}
/* At least five rounds (three where one takes over 8 s), then more while they fit into `seconds`.  Non-zero: failed. */
static int measure(bench *b, task *tasks, int n, double seconds) {
    const double start = now();
    double       round = 0;
    for (int i = 0; i < n; i++) {                            /* the first try fills caches and buffers */
        say(b, tasks[i].name);
        if (tasks[i].once(b, tasks[i].arg) < 0) return 1;
    }
    for (int r = 0; r < MAX_TRIES && (r < 3 || (r < 5 && round < 8) || now() - start + round < seconds); r++) {
        const double began = now();
        for (int i = 0; i < n; i++) {
            say(b, tasks[i].name);
            if (task_try(b, &tasks[i])) return 1;
        }
        round = now() - began;
    }
    for (int i = 0; i < n; i++) task_done(b, &tasks[i]);
    return 0;
}

/* --- bare matrix products --------------------------------------------------------------------------------- */

/* y [n_tok, rows] = x [n_tok, cols] times the transpose of w [rows, cols], then of the next of `copies` such matrices. */
typedef struct product {
    oct__compute   c;
    oct__acts      acts;
    oct__mat       w;
    int            n_tok, copies;
    float         *x, *y;
    unsigned char *weights, *arena;
    double         took;
} product;

static void product_close(product *p) {
    free(p->weights);
    free(p->arena);
    free(p->x);
    free(p->y);
    memset(p, 0, sizeof *p);
}
static void *aligned_in(unsigned char *p) { return p + (64 - ((uintptr_t)p & 63)) % 64; }

/* Blocks of noise drawn from a pool: encoding every one of them would take longer than the timing. */
static int weights_fill(int type, unsigned char *dst, size_t bytes) {
    const size_t elems = (size_t)oct__type(type)->block_elems, block = (size_t)oct__type(type)->block_bytes, pool = 16384 / elems;
    float         *noise = (float *)malloc(16384 * sizeof *noise);
    unsigned char *blocks = (unsigned char *)malloc(16384 * sizeof *noise);
    uint64_t       state = 1;
    const int      bad = !noise || !blocks;
    if (!bad) {
        synth_normal(&state, noise, 16384, 0, 1);
        blocks_encode(type, noise, blocks, 16384);
        for (size_t i = 0; i + block <= bytes; i += block)
            memcpy(dst + i, blocks + (size_t)((synth_next(&state) >> 32) % pool) * block, block);
    }
    free(noise);
    free(blocks);
    return bad;
}
static void compute_take(oct__arena *a, bench *b, product *p) {
    p->c.scratch_bytes = oct__scratch_bytes(OCT__MAX(p->w.cols, p->w.rows), 128);
    p->c.scratch = (unsigned char *)oct__take(a, (size_t)b->threads, p->c.scratch_bytes);
    oct__acts_take(a, &p->acts, p->n_tok, p->w.cols);
}
/* Non-zero: no memory. */
static int product_open(bench *b, product *p, int type, int rows, int cols, int n_tok, int copies) {
    oct__arena arena;
    uint64_t   state = 2;
    memset(p, 0, sizeof *p);
    memset(&arena, 0, sizeof arena);
    p->w.type = type;
    p->w.rows = rows;
    p->w.cols = cols;
    p->w.row_bytes = oct__row_bytes(type, cols);
    p->n_tok = n_tok;
    p->copies = copies;
    compute_take(&arena, b, p);                              /* counts */
    const size_t bytes = p->w.row_bytes * (size_t)rows;
    p->arena = (unsigned char *)malloc(arena.used + 64);
    p->weights = (unsigned char *)malloc(bytes * (size_t)copies + 64);
    p->x = (float *)malloc((size_t)n_tok * (size_t)cols * sizeof(float));
    p->y = (float *)malloc((size_t)n_tok * (size_t)rows * sizeof(float));
    if (!p->arena || !p->weights || !p->x || !p->y || weights_fill(type, p->weights, bytes))
        return oct__fail(&b->err, OCT_E_MEMORY, "out of memory for a matrix product") != OCT_OK;
    for (int i = 1; i < copies; i++) memcpy(p->weights + bytes * (size_t)i, p->weights, bytes);
    synth_normal(&state, p->x, (size_t)n_tok * (size_t)cols, 0, 1);
    arena.base = (unsigned char *)aligned_in(p->arena);
    arena.cap = arena.used;
    arena.used = 0;
    compute_take(&arena, b, p);
    p->c.k = b->k;
    p->c.pool = b->pool;
    return 0;
}
static void product_body(void *arg) {                        /* as it stands in a pass, all threads being there */
    product     *p = (product *)arg;
    const double start = now();
    for (int i = 0; i < p->copies; i++) {
        oct__mm job;
        memset(&job, 0, sizeof job);
        p->w.data = p->weights + p->w.row_bytes * (size_t)p->w.rows * (size_t)i;
        job.w = &p->w;
        job.y = p->y;
        job.y_stride = (size_t)p->w.rows;
        oct__acts_set(&p->c, &p->acts, p->x, p->n_tok, p->w.cols, oct__type(p->w.type)->block_elems > 1);
        oct__matmul(&p->c, &job, 1, &p->acts);
    }
    p->took = now() - start;
}
static double product_once(bench *b, void *arg) {
    product *p = (product *)arg;
    OCT__UNUSED(b);
    oct__together(&p->c.pool, product_body, p);
    return p->took;
}

/* What binds a product with weights of this type.  Kernels that take bf16 pairs say so in their name. */
static int limit_of_type(const bench *b, int type) {
    if (oct__type(type)->block_elems > 1) return LIMIT_INT8;
    return type == OCT__BF16 && strstr(b->k->name, "bf16") && b->limits[LIMIT_BF16].fn ? LIMIT_BF16 : LIMIT_FMA;
}

/* One shape in every type that is asked for, measured in turns. */
static int products_of(bench *b, const char *const *types, int n_types, int n_tok, int cols, int rows, double seconds) {
    static product p[MAX_TASKS];
    static task    tasks[MAX_TASKS];
    int            n = 0, bad = 0;
    char           name[48];
    snprintf(name, sizeof name, "matmul %dx%d->%d", n_tok, cols, rows);
    for (int i = 0; i < n_types && !bad; i++) {
        const int    type = blocks_type_find(types[i]), one = n_tok == 1;
        const double bytes = (double)oct__row_bytes(type, cols) * rows, ops = 2.0 * rows * cols * n_tok;
        const int    copies = one ? (int)(268435456 / bytes) + 1 : 1;        /* one token: from memory, as in decoding */
        char         full[64];
        snprintf(full, sizeof full, "%s %s", name, types[i]);                /* --only may name the type as well */
        if (!wanted(b, full)) continue;
        say(b, full);
        bad = product_open(b, &p[n], type, rows, cols, n_tok, copies);
        task_set(&tasks[n], name, types[i], one ? "GB/s" : "GOP/s", (one ? bytes * copies : ops) * 1e-9,
                 one ? LIMIT_READ : limit_of_type(b, type), 1, product_once, &p[n]);
        n++;
    }
    if (!bad && n) bad = measure(b, tasks, n, seconds);
    for (int i = 0; i < n; i++) product_close(&p[i]);
    return bad;
}
static int products(bench *b) {
    static const char *const types[] = { "q8_0", "q4_0", "q4_k", "q5_k", "q6_k", "f16", "bf16", "f32" }, *const floats[] = { "bf16", "f32" };
    const int n = b->n_prompt;
    if (products_of(b, types, 8, n, 2048, 2048, 4) || products_of(b, types, 8, n, 2048, 5632, 6) || products_of(b, types, 8, n, 5632, 2048, 6) ||
        products_of(b, floats, 2, n + n / 8 + 1, 1024, 1024, 2) || products_of(b, floats, 2, n + n / 8 + 1, 1024, 4096, 2))
        return 1;
    for (int i = 0; i < 8; i++)                              /* one by one: each takes 256 MiB */
        if (products_of(b, types + i, 1, 1, 2048, 5632, 1) || products_of(b, types + i, 1, 1, 5632, 2048, 1)) return 1;
    return 0;
}

/* --- bare attention ----------------------------------------------------------------------------------------- */

/* n_tok tokens behind `depth` others, in `layers` layers. */
typedef struct attending {
    oct__compute   c;
    oct__kv       *kv;                                       /* [layers] */
    float         *q, *out;                                  /* [n_tok, n_head * d_head] */
    unsigned char *cache, *scratch;
    int            n_head, layers, depth, n_tok;
    double         took;
} attending;

static void attending_body(void *arg) {
    attending   *a = (attending *)arg;
    const double start = now();
    for (int i = 0; i < a->layers; i++)
        oct__attention(&a->c, a->out, a->q, &a->kv[i], a->n_head, a->depth, a->n_tok, (float)(1.0 / sqrt((double)a->kv[i].d_head)), true);
    a->took = now() - start;
}
static double attending_once(bench *b, void *arg) {
    attending *a = (attending *)arg;
    OCT__UNUSED(b);
    oct__together(&a->c.pool, attending_body, a);
    return a->took;
}
static void attending_close(attending *a) {
    free(a->kv);
    free(a->q);
    free(a->out);
    free(a->cache);
    free(a->scratch);
    memset(a, 0, sizeof *a);
}
/* A cache of F16 noise; non-zero: no memory. */
static int attending_open(bench *b, attending *a, int n_head, int n_kv, int d_head, int layers, int depth, int n_tok) {
    oct__kv      shape;
    oct__kv_init(&shape, OCT_KV_F16, depth + n_tok, n_kv, d_head);
    const size_t k_bytes = (size_t)n_kv * shape.k_bytes, both = k_bytes + (size_t)n_kv * shape.v_bytes;
    const size_t width = (size_t)n_tok * (size_t)n_head * (size_t)d_head;
    uint64_t     state = 3;
    memset(a, 0, sizeof *a);
    a->n_head = n_head;
    a->layers = layers;
    a->depth = depth;
    a->n_tok = n_tok;
    a->c.k = b->k;
    a->c.pool = b->pool;
    a->c.scratch_bytes = oct__scratch_bytes(n_head * d_head, d_head);
    a->kv = (oct__kv *)calloc((size_t)layers, sizeof *a->kv);
    a->q = (float *)malloc(width * sizeof(float));
    a->out = (float *)malloc(width * sizeof(float));
    a->cache = (unsigned char *)malloc(both * (size_t)layers + 64);
    a->scratch = (unsigned char *)malloc((size_t)b->threads * a->c.scratch_bytes + 64);
    if (!a->kv || !a->q || !a->out || !a->cache || !a->scratch || weights_fill(OCT__F16, a->cache, both))
        return oct__fail(&b->err, OCT_E_MEMORY, "out of memory for a cache of %d positions", depth + n_tok) != OCT_OK;
    a->c.scratch = (unsigned char *)aligned_in(a->scratch);
    synth_normal(&state, a->q, width, 0, 1);
    for (int i = 0; i < layers; i++) {
        oct__kv *kv = &a->kv[i];
        *kv = shape;
        kv->k = a->cache + both * (size_t)i;
        kv->v = kv->k + k_bytes;
        if (i) memcpy(kv->k, a->cache, both);
    }
    return 0;
}
/* Of a prompt's last batch, where arithmetic binds, and of a step, where reading the cache does. */
static int attention(bench *b, int n_head, int n_kv, int d_head) {
    static attending many, one;
    static task      tasks[2];
    const int        n = b->n_prompt, depth = 2048 - n, layers = 1 + (int)(268435456.0 / (4.0 * 2000 * n_kv * d_head));
    char             name[48];
    int              n_tasks = 0, bad = 0;
    snprintf(name, sizeof name, "attention %d at %d", n, depth);
    if (wanted(b, name)) {
        const double ops = 4.0 * n_head * d_head * ((double)depth + n / 2.0) * n;
        bad = attending_open(b, &many, n_head, n_kv, d_head, 1, depth, n);
        task_set(&tasks[n_tasks++], name, "f16", "GFLOP/s", ops * 1e-9, LIMIT_FMA, 1, attending_once, &many);
    }
    if (!bad && wanted(b, "attention 1 at 2000")) {
        bad = attending_open(b, &one, n_head, n_kv, d_head, layers, 2000, 1);
        task_set(&tasks[n_tasks++], "attention 1 at 2000", "f16", "GB/s", 4e-9 * 2001 * n_kv * d_head * layers, LIMIT_READ, 1, attending_once, &one);
    }
    if (!bad && n_tasks) bad = measure(b, tasks, n_tasks, 2);
    attending_close(&many);
    attending_close(&one);
    return bad;
}

/* --- a model -------------------------------------------------------------------------------------------------- */

enum { DEPTH = 2000, DEPTH_STEPS = 32 };

typedef struct subject {
    const char  *path, *type;                                /* type: of most weights in the layers */
    oct_model   *m;
    oct_session *s;                                          /* of as many positions as the tasks need */
    int          of;                                         /* what binds prefill */
    double       ops, bytes;                                 /* of a token: matrices of the layers; what a step must read */
    double       kv_bytes;                                   /* of a position */
    int32_t      ids[4096];
} subject;

/* What a token costs, as the share counts it: of an expert layer, the experts that it uses. */
static void model_cost(bench *b, subject *u) {
    const oct__net *net = &u->m->net;
    double          of_type[64] = { 0 }, most = 0;
    u->ops = u->bytes = 0;
    u->type = "?";
    for (size_t i = 0; i < oct_model_tensor_count(u->m); i++) {
        oct_tensor t;
        if (oct_model_tensor(u->m, i, &t)) continue;
        const double used = t.n_dims == 3 ? (double)net->moe.k / (double)t.ne[2] : 1;
        if (t.name.len > 4 && memcmp(t.name.data, "blk.", 4) == 0 && t.n_dims >= 2) {
            const double n = (double)t.ne[0] * (double)t.ne[1] * (double)t.ne[2] * used;
            u->ops += 2.0 * n;
            of_type[t.type & 63] += n;
            if (of_type[t.type & 63] > most) {
                most = of_type[t.type & 63];
                u->type = t.type_name;
                u->of = limit_of_type(b, t.type);
            }
        }
        /* of the embeddings a step reads one row, unless they are the output matrix too */
        if (!oct__str_is(t.name, "token_embd.weight") || net->output.w.data == net->token_embd.data)
            u->bytes += (double)t.bytes * used;
    }
    u->kv_bytes = 4.0 * net->n_kv * net->d_head * net->n_layer;
}
/* Operations of n tokens in a row behind `depth` others; each sees half of its fellows on average. */
static double model_ops(const subject *u, int n, int depth) {
    const oct__net *net = &u->m->net;
    return n * (u->ops + 4.0 * net->n_out * ((double)depth + n / 2.0) * net->n_layer);
}
/* Ordinary ids, no control tokens. */
static void model_ids(subject *u) {
    for (int i = 0, id = 0; i < 4096; id = (id + 7919) % u->m->net.n_vocab)
        if (!u->m->banned[id] && !oct__vocab_is_control(&u->m->vocab, id)) u->ids[i++] = id;
}
static int model_open(bench *b, subject *u, int n_ctx) {
    oct_session_desc d;
    memset(&d, 0, sizeof d);
    d.n_ctx = n_ctx;
    d.n_threads = b->threads;
    d.isa = b->isa;
    d.raw = 1;
    if (oct_model_open(&u->m, u->path, NULL, &b->err)) return 1;
    if (d.n_ctx == 0) d.n_ctx = OCT__MIN(u->m->net.n_ctx_train, 4096);
    if (oct_session_open(&u->s, u->m, &d, &b->err)) return 1;
    u->s->compute.k = b->k;
    model_cost(b, u);
    model_ids(u);
    return 0;
}
static void model_close(subject *u) {
    oct_session_close(u->s);
    oct_model_close(u->m);
    u->s = NULL;
    u->m = NULL;
}
/* Bursts of reading read the mapped tensors, where they are one piece and too much for a cache. */
static int model_data(bench *b, const subject *u) {
    const unsigned char *first = NULL;
    size_t               bytes = 0;
    for (size_t i = 0; i < oct_model_tensor_count(u->m); i++) {
        oct_tensor t;
        if (oct_model_tensor(u->m, i, &t)) continue;
        if (!first) first = (const unsigned char *)t.data;
        if ((const unsigned char *)t.data >= first) bytes = (size_t)((const unsigned char *)t.data - first) + t.bytes;
    }
    if (u->m->source.n_parts != 1 || bytes < (size_t)256 << 20) return 0;
    b->data = first;
    b->data_bytes = bytes;
    return 1;
}

/* Positions 0 .. depth - 1 as if they had been computed: how fast a pass is does not depend on what the cache holds. */
static void model_pretend(subject *u, int depth) {
    oct_session *s = u->s;
    oct_session_reset(s);
    memcpy(s->tokens, u->ids, (size_t)depth * sizeof *u->ids);
    memset(s->open, 0, (size_t)depth);
    s->n_past = depth;
}
static void model_fill_cache(subject *u) {                   /* so that its pages exist */
    const oct_session *s = u->s;
    for (int i = 0; i < u->m->net.n_layer; i++) {
        const oct__kv *kv = &s->pass.kv[i];
        (void)weights_fill(OCT__F16, kv->k, (size_t)kv->n_kv * kv->k_bytes);
        (void)weights_fill(OCT__F16, kv->v, (size_t)kv->n_kv * kv->v_bytes);
    }
}
static double model_prefill(bench *b, subject *u, int n) {
    if (oct_feed_tokens(u->s, u->ids, (size_t)n, &b->err)) return -1;
    const double start = now();
    return oct_prefill(u->s, &b->err) ? -1 : now() - start;
}
static double model_decode(bench *b, subject *u, int n) {
    oct_token t;
    const int end = oct_session_position(u->s) + n;
    if (oct_feed_tokens(u->s, u->ids, 1, &b->err)) return -1;
    const double start = now();
    while (oct_session_position(u->s) < end)                 /* an answer that ends is followed by another turn */
        if (oct_next(u->s, &t, &b->err) || (t.is_end && oct_feed_tokens(u->s, u->ids, 1, &b->err))) return -1;
    return now() - start;
}
static double once_open(bench *b, void *arg) {
    oct_model   *m = NULL;
    const double start = now();
    if (oct_model_open(&m, ((subject *)arg)->path, NULL, &b->err)) return -1;
    const double took = now() - start;
    oct_model_close(m);
    return took;
}
static double once_prefill(bench *b, void *arg) {
    oct_session_reset(((subject *)arg)->s);
    return model_prefill(b, (subject *)arg, b->n_prompt);
}
static double once_decode(bench *b, void *arg) {
    oct_session_reset(((subject *)arg)->s);
    return model_decode(b, (subject *)arg, b->n_steps);
}
static double once_decode_deep(bench *b, void *arg) {
    model_pretend((subject *)arg, DEPTH);
    return model_decode(b, (subject *)arg, DEPTH_STEPS);
}

static int model_tasks(bench *b, subject *u, task *t) {
    char name[48];
    int  n = 0;
    snprintf(name, sizeof name, "prefill %d", b->n_prompt);
    if (wanted(b, name))
        task_set(&t[n++], name, u->type, "tokens/s", b->n_prompt, u->of, model_ops(u, b->n_prompt, 0) * 1e-9 / b->n_prompt, once_prefill, u);
    snprintf(name, sizeof name, "decode %d", b->n_steps);
    if (wanted(b, name))
        task_set(&t[n++], name, u->type, "tokens/s", b->n_steps, LIMIT_READ, (u->bytes + u->kv_bytes * b->n_steps / 2) * 1e-9, once_decode, u);
    snprintf(name, sizeof name, "decode %d at %d", DEPTH_STEPS, DEPTH);
    if (wanted(b, name) && u->s->desc.n_ctx > DEPTH + DEPTH_STEPS && b->n_prompt > 64) {
        model_fill_cache(u);
        task_set(&t[n++], name, u->type, "tokens/s", DEPTH_STEPS, LIMIT_READ, (u->bytes + u->kv_bytes * DEPTH) * 1e-9, once_decode_deep, u);
    }
    return n;
}
/* What of a deep step is attention: what it takes longer than one at the start, in turns. */
static void attention_share(bench *b, const task *flat, const task *deep) {
    double v[MAX_TRIES];
    for (int i = 0; i < deep->n; i++) v[i] = 100 * (1 - deep->v[i] / flat->v[i]);
    run_add(b, "attention of a step at 2000", deep->type, b->threads, "%", stat_of(v, deep->n), -1, LIMIT_NONE);
}

/* Resident memory of this process in MiB: its own, and pages of mapped files.  0: not known here. */
static void resident(double *own, double *mapped) {
    char  line[160];
    FILE *f = fopen("/proc/self/status", "r");
    *own = *mapped = 0;
    while (f && fgets(line, sizeof line, f)) {
        (void)sscanf(line, "RssAnon: %lf", own);
        (void)sscanf(line, "RssFile: %lf", mapped);
    }
    if (f) fclose(f);
    *own /= 1024;
    *mapped /= 1024;
}
static void run_memory(bench *b, const char *name, const char *type, double mib) {
    const stat3 s = { mib, mib, mib };
    if (mib > 0 && wanted(b, name)) run_add(b, name, type, b->threads, "MiB", s, -1, LIMIT_NONE);
}
/* Opening and the first prompt, and how much memory this program has after them that it had not before. */
static int model_first(bench *b, subject *u, double *own, double *mapped) {
    double own_before, mapped_before;
    say(b, "opening");
    resident(&own_before, &mapped_before);
    if (model_open(b, u, OCT__MAX(b->n_prompt, DEPTH + 48)) || once_prefill(b, u) < 0) return 1;
    resident(own, mapped);
    *own -= own_before;
    *mapped -= mapped_before;
    return 0;
}
static int model_measure(bench *b, subject *u) {
    static task tasks[3], opening;
    task_set(&opening, "open", u->type, "ms", 0, LIMIT_NONE, 0, once_open, u);
    if (wanted(b, "open") && measure(b, &opening, 1, 0.3)) return 1;
    const int n = model_tasks(b, u, tasks);
    if (n && measure(b, tasks, n, 25)) return 1;
    if (n == 3) attention_share(b, &tasks[1], &tasks[2]);
    return attention(b, u->m->net.n_head, u->m->net.n_kv, u->m->net.d_head);
}
static int model_run(bench *b, const char *path) {
    static subject u;
    double         own = 0, mapped = 0;
    u.path = path;
    int bad = model_first(b, &u, &own, &mapped);
    if (!bad && model_data(b, &u)) {
        data_free(b);
        b->limits[LIMIT_READ].n = 0;                         /* the machine's figure is that of the mapped file */
        read_run(b, "read mapped file");
    }
    if (!bad) {
        run_memory(b, "memory own", u.type, own);
        run_memory(b, "memory of mapped file", u.type, mapped);
        bad = model_measure(b, &u);
    }
    b->data = NULL;                                          /* the mapping goes */
    model_close(&u);
    return bad;
}

/* --- a picture encoder ---------------------------------------------------------------------------------------- */

typedef struct encoder {
    oct_model     *m;
    oct__vit       v;
    oct__compute   c;
    oct__vit_watch watch;
    oct_image      image;
    unsigned char *pixels;                                   /* [480, 640, 3] */
    float         *out;                                      /* [tokens, n_out] */
} encoder;

static double once_encode(bench *b, void *arg) {
    encoder     *e = (encoder *)arg;
    const double start = now();
    if (oct__vit_encode(&e->v, &e->c, &e->m->desc.allocator, &e->image, NULL, &e->watch, e->out, &b->err)) return -1;
    return now() - start;
}
/* Multiply-adds counted twice: patches, blocks, attention, projector. */
static double encoder_ops(const oct__vit *v) {
    const double n = v->n_row, d = v->n_embd;
    const double block = n * (4 * d * d + 2 * d * v->n_ff) + 2 * n * n * d;
    const double mm = v->n_mid ? d * v->n_mid + (double)v->n_mid * v->n_out : d * v->n_out;
    return 2 * (v->n_patch * 3.0 * v->patch * v->patch * d + block * v->n_block + oct__vit_tokens(v) * mm);
}
static int encoder_prepare(bench *b, encoder *e) {
    uint64_t state = 1;
    e->pixels = (unsigned char *)malloc(640 * 480 * 3);
    e->out = (float *)malloc((size_t)oct__vit_tokens(&e->v) * (size_t)(e->v.n_out + 1) * sizeof(float));
    if (!e->pixels || !e->out) return oct__fail(&b->err, OCT_E_MEMORY, "out of memory for a picture");
    for (int i = 0; i < 640 * 480 * 3; i++) e->pixels[i] = (unsigned char)(synth_next(&state) >> 56);
    e->image.pixels = e->pixels;
    e->image.width = 640;
    e->image.height = 480;
    e->c.k = b->k;
    e->c.pool = b->pool;
    return 0;
}
static int encoder_measure(bench *b, encoder *e) {
    static task t;
    const int   type = e->v.blocks[0].q.w.type;
    if (!wanted(b, "encode picture")) return 0;
    if (encoder_prepare(b, e)) return 1;
    task_set(&t, "encode picture", oct__type_name(type), "images/s", 1, limit_of_type(b, type), encoder_ops(&e->v) * 1e-9, once_encode, e);
    if (measure(b, &t, 1, 10)) return 1;
    for (int i = 0; i < t.n; i++) t.v[i] = 1e3 / t.v[i];
    run_add(b, "encode picture, time", t.type, b->threads, "ms", stat_of(t.v, t.n), -1, LIMIT_NONE);
    return 0;
}
/* *has: the file holds an encoder.  *only: and nothing else. */
static int encoder_open(bench *b, encoder *e, const char *path, int *has, int *only) {
    oct_model_desc d;
    memset(&d, 0, sizeof d);
    d.load = OCT_LOAD_DIRECTORY;
    if (oct_model_open(&e->m, path, &d, &b->err)) return 1;
    *has = oct__vit_in(&e->m->gguf);
    *only = *has && oct__gguf_find(&e->m->gguf, "tokenizer.ggml.model") == NULL;
    return *has && oct__vit_load(&e->v, &e->m->gguf, &e->m->desc.allocator, 0, &b->err);
}
static void encoder_close(encoder *e) {
    if (e->m) oct__vit_free(&e->v, &e->m->desc.allocator);
    free(e->pixels);
    free(e->out);
    oct_model_close(e->m);
}
static int encoder_run(bench *b, const char *path, int *only) {
    static encoder e;
    int has = 0;
    const int bad = encoder_open(b, &e, path, &has, only) || (has && encoder_measure(b, &e));
    encoder_close(&e);
    return bad;
}
/* A file: what it holds of a text model and an encoder. */
static int file_run(bench *b, const char *path) {
    int only = 0;
    return encoder_run(b, path, &only) || (!only && model_run(b, path));
}

/* --- served: one loaded model, asked by another program (tools/race.py) -----------------------------------------
 * A line in, a line out.  Each answer is numbers, or "error" and why.
 *     prefill N          seconds of N tokens into an empty context
 *     decode N DEPTH     seconds of N steps of one token each from position DEPTH on; it is brought there untimed
 *     encode             seconds of a picture, of a file that holds an encoder alone
 *     limits             tokens/s that arithmetic allows at 512 tokens, and reading in decode (pictures/s, twice); GHz; all just now */
static void serve_limits(bench *b, const subject *u) {
    double of[5], reading[5];
    for (int i = 0; i < 5; i++) {
        of[i] = burst_now(b, u->of, b->threads);
        reading[i] = burst_now(b, LIMIT_READ, b->threads);
    }
    printf("%.3f %.3f %.3f\n", stat_of(of, 5).median * 512e9 / model_ops(u, 512, 0), stat_of(reading, 5).median * 1e9 / u->bytes, clock_now());
}
static double serve_decode(bench *b, subject *u, int n, int depth) {
    const int kept = OCT__MIN(depth, oct_session_position(u->s));            /* what is there already stays */
    if (oct_session_rewind(u->s, kept, &b->err)) return -1;
    if (depth > kept && (oct_feed_tokens(u->s, u->ids + kept, (size_t)(depth - kept), &b->err) || oct_prefill(u->s, &b->err))) return -1;
    return model_decode(b, u, n);
}
static double serve_line(bench *b, subject *u, const char *line) {
    const int n_ctx = u->s->desc.n_ctx;
    int       n, depth;
    if (sscanf(line, "prefill %d", &n) == 1 && n > 0 && n <= n_ctx) {
        oct_session_reset(u->s);
        return model_prefill(b, u, n);
    }
    if (sscanf(line, "decode %d %d", &n, &depth) == 2 && n > 0 && depth >= 0 && n <= n_ctx - depth) return serve_decode(b, u, n, depth);
    (void)oct__fail(&b->err, OCT_E_ARG, "expected: prefill N, decode N DEPTH, limits; %d positions", n_ctx);
    return -1;
}
static int serve_model(bench *b, const char *path) {
    static subject u;
    char           line[128];
    u.path = path;
    if (model_open(b, &u, 0)) return 1;
    if (model_data(b, &u)) data_free(b);
    printf("ready %s %s %s\n", b->k->name, u.type, limit_names[u.of]);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (strncmp(line, "limits", 6) == 0) {
            serve_limits(b, &u);
        } else {
            const double took = serve_line(b, &u, line);
            if (took < 0) printf("error %s\n", b->err.message);
            else printf("%.9f\n", took);
        }
        fflush(stdout);
    }
    model_close(&u);
    return 0;
}
static int serve_encoder(bench *b, encoder *e) {
    char         line[128];
    const int    type = e->v.blocks[0].q.w.type, of = limit_of_type(b, type);
    const double ops = encoder_ops(&e->v);
    if (encoder_prepare(b, e)) return 1;
    printf("ready %s %s %s\n", b->k->name, oct__type_name(type), limit_names[of]);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        double took = -1;
        if (strncmp(line, "limits", 6) == 0) {
            double v[5];
            for (int i = 0; i < 5; i++) v[i] = burst_now(b, of, b->threads) * 1e9 / ops;
            printf("%.6f %.6f %.3f\n", stat_of(v, 5).median, stat_of(v, 5).median, clock_now());
        } else if (strncmp(line, "encode", 6) != 0) {
            printf("error expected: encode, limits\n");
        } else if ((took = once_encode(b, e)) < 0) {
            printf("error %s\n", b->err.message);
        } else {
            printf("%.9f\n", took);
        }
        fflush(stdout);
    }
    return 0;
}
static int serve(bench *b, const char *path) {
    static encoder e;
    int has = 0, only = 0, bad = machine_prepare(b) || encoder_open(b, &e, path, &has, &only);
    if (!bad && only) bad = serve_encoder(b, &e);
    encoder_close(&e);
    return bad || (!only && serve_model(b, path));
}

/* --- output --------------------------------------------------------------------------------------------------- */

static void cpu_name(char *name, size_t cap) {               /* "" where the system does not tell */
    char  line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    name[0] = 0;
    while (f && !name[0] && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(name, cap, ", %s", colon + 1 + (colon[1] == ' '));
    }
    if (f) fclose(f);
}
static void bar(double share, int of) {
    const int n = share > 1 ? 20 : (int)(share * 20 + 0.5);
    for (int i = 0; i < 20; i++) printf("%s", i < n ? "\xE2\x96\x88" : "\xE2\x96\x91");
    printf(" %3.0f %% of %s", share * 100, limit_names[of]);
}
/* The instruction behind "int8". */
static const char *int8_how(const bench *b) {
    const peak_fn fn = b->limits[LIMIT_INT8].fn;
#if defined(__x86_64__)
    if (fn == peak_int8_vnni) return "vpdpbusd zmm";
    if (fn == peak_int8_avxvnni) return "vpdpbusd ymm";
    if (fn == peak_int8_avx512) return "vpmaddubsw, vpmaddwd, vpaddd zmm";
    if (fn == peak_int8_avx2) return "vpmaddubsw, vpmaddwd, vpaddd ymm";
#elif defined(__aarch64__)
#  if OCT__ARM_I8MM
    if (fn == peak_int8_i8mm) return "usmmla";
#  endif
    if (fn == peak_int8_dot) return "sdot";
    if (fn == peak_int8_neon) return "smull, smlal, sadalp";
#endif
    return fn == peak_int8_scalar ? "multiply and add" : "not measured";
}
static int digits(double v) { return v < 10 ? 2 : v < 1000 ? 1 : 0; }
static void print_run(const run *r) {
    printf("  %-27s %-5s %2d  %9.*f %9.*f %9.*f  %-8s ", r->name, r->type, r->threads, digits(r->s.median), r->s.median,
           digits(r->s.median), r->s.min, digits(r->s.median), r->s.max, r->unit);
    if (r->share >= 0) bar(r->share, r->of);
    printf("\n");
}
static int group_of(const run *r) {                          /* a blank line stands between groups */
    if (strcmp(r->type, "peak") == 0) return 0;
    return strncmp(r->name, "matmul", 6) != 0 ? 1 : strncmp(r->name, "matmul 1x", 9) == 0 ? 2 : 3;
}
static void print_table(const bench *b) {
    char cpu[200];
    cpu_name(cpu, sizeof cpu);
    printf("octavius.h %d.%d.%d%s at %.1f GHz\nkernels %s (int8: %s), %d thread%s\n\n", OCT_VERSION_MAJOR, OCT_VERSION_MINOR,
           OCT_VERSION_PATCH, cpu, clock_now(), b->k->name, int8_how(b), b->threads, b->threads == 1 ? "" : "s");
    printf("  %-27s %-5s %2s  %9s %9s %9s\n", "", "type", "t", "median", "min", "max");
    for (int i = 0; i < b->n_runs; i++) {
        const run *r = &b->runs[i];
        if (i && group_of(r) != group_of(r - 1)) printf("\n");
        print_run(r);
    }
}
static void print_json(const bench *b) {
    static const char *const keys[] = { "fma_gflops", "int8_gops", "bf16_gflops", "read_gbs" };
    printf("{\"machine\":{");
    for (int of = 0; of < N_LIMITS; of++) {
        if (b->limits[of].n) printf("%s\"%s\":%.2f", of ? "," : "", keys[of], limit_median(b, of));
        else printf("%s\"%s\":null", of ? "," : "", keys[of]);
    }
    printf("},\"runs\":[");
    for (int i = 0; i < b->n_runs; i++) {
        const run *r = &b->runs[i];
        printf("%s{\"name\":\"%s\",\"type\":\"%s\",\"threads\":%d,\"median\":%.4f,\"min\":%.4f,\"max\":%.4f,\"unit\":\"%s\",", i ? "," : "",
               r->name, r->type, r->threads, r->s.median, r->s.min, r->s.max, r->unit);
        if (r->share >= 0) printf("\"share\":%.4f}", r->share);
        else printf("\"share\":null}");
    }
    printf("]}\n");
}

/* --- the command line --------------------------------------------------------------------------------------------- */

#define USAGE "usage: octavius-bench [FILE] [--threads N] [--isa scalar|avx2|avx512|neon|TABLE] [--only NAME-PART] [--json]\n"

static int usage(const char *why, const char *what) {
    fprintf(stderr, "octavius-bench: %s%s\n" USAGE, why, what);
    return 2;
}
/* An option that has a value; 0, or the exit code. */
static int option(bench *b, const char *name, const char *value) {
    static const char *const names[] = { "scalar", "avx2", "avx512", "neon" };
    if (strcmp(name, "--only") == 0) {
        b->only = value;
        return 0;
    }
    if (strcmp(name, "--threads") == 0) {
        b->threads = atoi(value);
        return b->threads >= 1 && b->threads <= MAX_THREADS ? 0 : usage("not a number of threads: ", value);
    }
    for (int k = 0; k < 4; k++)
        if (strcmp(value, names[k]) == 0) b->isa = (oct_isa)(OCT_ISA_SCALAR + k);
    for (int k = 0; b->isa == OCT_ISA_AUTO && oct__kernels_list(k); k++)
        if (strcmp(value, oct__kernels_list(k)->name) == 0) b->k = oct__kernels_list(k);
    if (b->k) return 0;
    if (b->isa == OCT_ISA_AUTO) return usage("unknown instruction set: ", value);
    return oct_isa_available(b->isa) ? 0 : usage("this machine or build lacks ", value);
}
static int arguments(bench *b, int argc, char **argv, const char **path) {
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        int         rc = 0;
        if (strcmp(a, "--json") == 0) b->json = 1;
        else if (strcmp(a, "--serve") == 0) b->serve = 1;
        else if (strcmp(a, "--threads") == 0 || strcmp(a, "--isa") == 0 || strcmp(a, "--only") == 0)
            rc = i + 1 < argc ? option(b, a, argv[++i]) : usage("needs a value: ", a);
        else if (a[0] == '-' || *path) rc = usage("unexpected argument: ", a);
        else *path = a;
        if (rc) return rc;
    }
    return b->serve && !*path ? usage("--serve needs a model", "") : 0;
}

int main(int argc, char **argv) {
    static bench b;
    const char  *path = NULL;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            printf(USAGE);
            return 0;
        }
    const int rc = arguments(&b, argc, argv, &path);
    if (rc) return rc;
    if (!b.k) b.k = oct__kernels_pick(b.isa);
    if (b.threads == 0) b.threads = OCT__MIN(oct__threads_default(NULL), (int)MAX_THREADS);
    b.pool.n_threads = b.threads;
    b.n_prompt = b.k->isa == OCT_ISA_SCALAR ? 32 : 512;
    b.n_steps = b.k->isa == OCT_ISA_SCALAR ? 4 : 64;
    b.progress = isatty(2) && !b.serve;
    int bad = b.serve ? serve(&b, path) : machine(&b) || (path ? file_run(&b, path) : products(&b) || attention(&b, 32, 4, 64));
    say(&b, "");
    data_free(&b);
    if (bad) {
        const int named = !path || strstr(b.err.message, path) != NULL;
        fprintf(stderr, "octavius-bench: %s%s%s\n", named ? "" : path, named ? "" : ": ", b.err.message);
        return b.err.code == OCT_E_MEMORY ? 5 : 3;
    }
    if (b.serve) return 0;
    if (b.json) print_json(&b);
    else print_table(&b);
    return 0;
}
