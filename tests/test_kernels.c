/* Chapters 5 and 8: every kernel table that runs here, against sums in double and against each other.  All tables with
 * fma must give the same bits; the scalar table and the true value are met within bounds that follow from the sums. */
#include "../tools/blocks.h"
#include <pthread.h>

/* --- helpers ------------------------------------------------------------------------- */

static uint64_t kt_state = 1;
static double kt_uniform(void) {                       /* -1 to 1 */
    kt_state = kt_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(kt_state >> 11) * 0x1p-52 - 1.0;
}
static float *kt_floats(size_t n, double size) {
    float *x = (float *)malloc((n + 16) * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        const double u = kt_uniform();
        x[i] = (float)(size * u * (1 + 3 * u * u));    /* some larger than most */
    }
    return x;
}
static void *kt_aligned(size_t bytes) {
    void *p = NULL;
    if (posix_memalign(&p, 64, bytes ? bytes : 64)) abort();
    return p;
}
static const oct__kernels *kt_table(int i) {
    const oct__kernels *k = oct__kernels_list(i);
    if (!k || !test_isa()) return k;
    /* `make test ISA=...`: that family alone */
    const char *want = test_isa();
    const oct_isa isa = !strcmp(want, "scalar") ? OCT_ISA_SCALAR : !strcmp(want, "avx2") ? OCT_ISA_AVX2 :
                        !strcmp(want, "avx512") ? OCT_ISA_AVX512 : !strcmp(want, "neon") ? OCT_ISA_NEON : OCT_ISA_AUTO;
    int n = 0;
    for (int j = 0; (k = oct__kernels_list(j)) != NULL; j++)
        if ((isa == OCT_ISA_AUTO || k->isa == isa) && n++ == i) return k;
    return NULL;
}

/* A pool of real threads; notes whether task 0 stayed on the caller's. */
typedef struct kt_job { oct_task_fn fn; void *arg; int i; } kt_job;
static void *kt_thread(void *p) {
    kt_job *job = (kt_job *)p;
    job->fn(job->arg, job->i);
    return NULL;
}
static void kt_parallel(void *user, oct_task_fn fn, void *arg, int n) {
    pthread_t threads[16];
    kt_job jobs[16];
    (void)user;
    for (int i = 0; i < n; i++) {
        jobs[i].fn = fn;
        jobs[i].arg = arg;
        jobs[i].i = i;
        if (pthread_create(&threads[i], NULL, kt_thread, &jobs[i])) abort();
    }
    for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
}
/* Tasks one after another, the last first. */
static void kt_backwards(void *user, oct_task_fn fn, void *arg, int n) {
    (void)user;
    while (n-- > 0) fn(arg, n);
}
static oct__compute kt_compute(const oct__kernels *k, int n_threads, oct_parallel_fn parallel, int d_head) {
    oct__compute c;
    memset(&c, 0, sizeof c);
    c.k = k;
    c.pool.n_threads = n_threads;
    c.pool.parallel_for = parallel;
    c.scratch_bytes = oct__scratch_bytes(4096, d_head);
    c.scratch = (unsigned char *)kt_aligned(c.scratch_bytes * (size_t)n_threads);
    return c;
}

typedef struct kt_case {
    oct__mat       w;
    unsigned char *data;
    float         *x, *bias;
    double        *exact, *size;                       /* [n_tok, rows]: sum w x, sum |w x| */
    int            n_tok;
} kt_case;
static kt_case kt_make(int type, int rows, int cols, int n_tok) {
    kt_case t;
    memset(&t, 0, sizeof t);
    t.n_tok = n_tok;
    t.w.type = type;
    t.w.rows = rows;
    t.w.cols = cols;
    t.w.row_bytes = oct__row_bytes(type, cols);
    t.data = (unsigned char *)malloc(t.w.row_bytes * (size_t)rows + 1);
    t.w.data = t.data + 1;                             /* no alignment is promised */
    float *w = kt_floats((size_t)rows * (size_t)cols, 0.3);
    t.x = kt_floats((size_t)n_tok * (size_t)cols, 1.0);
    t.bias = kt_floats((size_t)rows, 1.0);
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < cols; i++) w[(size_t)r * (size_t)cols + (size_t)i] += 0.1f;       /* minimums matter */
        blocks_encode(type, w + (size_t)r * (size_t)cols, t.data + 1 + (size_t)r * t.w.row_bytes, cols);
        oct__dequant_row(type, t.data + 1 + (size_t)r * t.w.row_bytes, w + (size_t)r * (size_t)cols, cols);
    }
    t.exact = (double *)calloc((size_t)n_tok * (size_t)rows, sizeof(double));
    t.size = (double *)calloc((size_t)n_tok * (size_t)rows, sizeof(double));
    for (int n = 0; n < n_tok; n++)
        for (int r = 0; r < rows; r++) {
            double sum = 0, size = 0;
            for (int i = 0; i < cols; i++) {
                const double p = (double)w[(size_t)r * (size_t)cols + (size_t)i] * (double)t.x[(size_t)n * (size_t)cols + (size_t)i];
                sum += p;
                size += fabs(p);
            }
            t.exact[n * rows + r] = sum + (double)t.bias[r];
            t.size[n * rows + r] = size + fabs((double)t.bias[r]);
        }
    free(w);
    return t;
}
static void kt_drop(kt_case *t) {
    free(t->data);
    free(t->x);
    free(t->bias);
    free(t->exact);
    free(t->size);
}
static oct__acts kt_acts(int n_tok, int cols, void **memory) {
    oct__acts acts;
    oct__arena a;
    memset(&a, 0, sizeof a);
    oct__acts_take(&a, &acts, n_tok, cols);
    *memory = a.base = (unsigned char *)kt_aligned(a.used);
    a.cap = a.used;
    a.used = 0;
    oct__acts_take(&a, &acts, n_tok, cols);
    return acts;
}
/* y [n_tok, rows + 3], the margin filled with 7. */
static void kt_run(oct__compute *c, const kt_case *t, bool exact, int step, float *y) {
    void *memory;
    const size_t stride = (size_t)t->w.rows + 3;
    oct__acts acts = kt_acts(t->n_tok, t->w.cols, &memory);
    oct__mm job;
    job.gate = NULL;
    job.w = &t->w;
    job.bias = t->bias;
    job.y_stride = stride;
    c->exact = exact;
    for (size_t i = 0; i < stride * (size_t)t->n_tok; i++) y[i] = 7.0f;
    for (int from = 0; from < t->n_tok; from += step) {
        job.y = y + (size_t)from * stride;
        oct__acts_set(c, &acts, t->x + (size_t)from * (size_t)t->w.cols, OCT__MIN(step, t->n_tok - from), t->w.cols, true);
        oct__matmul(c, &job, 1, &acts);
    }
    free(memory);
}
/* Sums of int8 activations, in integers, joined as the header promises: what every table with fma must give. */
static void kt_int8_model(const kt_case *t, float *y) {
    const oct__type_info *type = oct__type(t->w.type);
    const int cols = t->w.cols, group = type->group, k = cols / group;
    int *u = (int *)malloc((size_t)cols * sizeof *u), *q = (int *)malloc((size_t)cols * sizeof *q);
    float *s = (float *)malloc((size_t)k * sizeof *s), *m = (float *)malloc((size_t)k * sizeof *m), *d = (float *)malloc((size_t)k * sizeof *d);
    for (int r = 0; r < t->w.rows; r++) {
        const unsigned char *b = t->w.data + (size_t)r * t->w.row_bytes;
        for (int i = 0; i < cols; i++) {
            const unsigned char *p = b + i / type->block_elems * type->block_bytes;
            const int j = i % type->block_elems, h = j / 128, g = j / 32 % 4, l = j % 32, lo = j % 16, hi = j / 16 % 2;
            int sc, mn;
            float ds, dm = 0.0f;
            switch (t->w.type) {
            case 2: u[i] = (hi ? p[2 + lo] >> 4 : p[2 + lo] & 15) - 8; ds = oct__half(p); break;
            case 20: u[i] = oct__iq4_nl_values[hi ? p[2 + lo] >> 4 : p[2 + lo] & 15]; ds = oct__half(p); break;
            case 3: u[i] = hi ? p[4 + lo] >> 4 : p[4 + lo] & 15; ds = oct__half(p); dm = oct__half(p + 2); break;
            case 6: u[i] = (hi ? p[6 + lo] >> 4 : p[6 + lo] & 15) + 16 * (p[2 + j / 8] >> j % 8 & 1) - 16; ds = oct__half(p); break;
            case 7: u[i] = (hi ? p[8 + lo] >> 4 : p[8 + lo] & 15) + 16 * (p[4 + j / 8] >> j % 8 & 1); ds = oct__half(p); dm = oct__half(p + 2); break;
            case 8: u[i] = (signed char)p[2 + j]; ds = oct__half(p); break;
            case 10: u[i] = p[16 + 32 * h + l] >> 2 * g & 3; ds = oct__half(p + 80) * (float)(p[j / 16] & 15); dm = -oct__half(p + 82) * (float)(p[j / 16] >> 4); break;
            case 11: u[i] = (p[32 + 32 * h + l] >> 2 * g & 3) + 4 * (p[l] >> (4 * h + g) & 1) - 4; ds = oct__half(p + 108) * (float)oct__q3_scale(p + 96, j / 16); break;
            case 12: oct__k_scale(p + 4, j / 32, &sc, &mn); u[i] = p[16 + 32 * (j / 64) + l] >> 4 * (j / 32 % 2) & 15; ds = oct__half(p) * (float)sc; dm = -oct__half(p + 2) * (float)mn; break;
            case 13: oct__k_scale(p + 4, j / 32, &sc, &mn); u[i] = (p[48 + 32 * (j / 64) + l] >> 4 * (j / 32 % 2) & 15) + 16 * (p[16 + l] >> j / 32 & 1); ds = oct__half(p) * (float)sc; dm = -oct__half(p + 2) * (float)mn; break;
            default: u[i] = ((p[64 * h + 32 * (g & 1) + l] >> 4 * (g >> 1) & 15) | (p[128 + 32 * h + l] >> 2 * g & 3) << 4) - 32; ds = oct__half(p + 208) * (float)(signed char)p[192 + j / 16]; break;
            }
            s[i / group] = ds;
            m[i / group] = dm;
        }
        for (int n = 0; n < t->n_tok; n++) {
            const float *x = t->x + (size_t)n * (size_t)cols;
            float acc = 0.0f;
            for (int i = 0; i < cols; i += 32) {
                float amax = 0.0f;
                for (int j = 0; j < 32; j++) amax = fmaxf(amax, fabsf(x[i + j]));
                const float inverse = 127.0f / amax;
                for (int j = 0; j < 32; j++) q[i + j] = (int)nearbyintf(x[i + j] * inverse);
                d[i / 32] = amax / 127.0f;
            }
            for (int g = 0; g < k; g++) {
                int dot = 0, sum = 0;
                for (int i = g * group; i < (g + 1) * group; i++) {
                    dot += u[i] * q[i];
                    sum += q[i];
                }
                const float da = d[g * group / 32], scaled = (float)dot * s[g], ms = da * (float)sum;
                acc = fmaf(scaled, da, acc);
                if (type->zero_shift == 32) acc = fmaf(m[g], ms, acc);
            }
            y[(size_t)n * ((size_t)t->w.rows + 3) + (size_t)r] = acc + t->bias[r];
        }
    }
    free(u);
    free(q);
    free(s);
    free(m);
    free(d);
}

/* --- matmul ------------------------------------------------------------------------------- */

static const int kt_types[] = { 0, 1, 30, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20 };
enum { KT_TYPES = 14 };

/* One shape through all tables, F32 or int8. */
static void kt_matmul(int type, int rows, int cols, int n_tok, bool exact) {
    kt_case t = kt_make(type, rows, cols, n_tok);
    const size_t stride = (size_t)rows + 3, n = stride * (size_t)n_tok;
    float *y = kt_floats(n, 0), *first = kt_floats(n, 0);
    bool have = false;
    const oct__kernels *k;
    const bool int8 = !exact && oct__type(type)->computes == 2;
    if (int8) {
        for (size_t i = 0; i < n; i++) first[i] = 7.0f;
        kt_int8_model(&t, first);
        have = true;
    }
    for (int i = 0; (k = kt_table(i)) != NULL; i++) {
        oct__compute c = kt_compute(k, 1, NULL, 64);
        double worst = 0, apart = 0;
        int margin = 0, same = 1;
        kt_run(&c, &t, exact, n_tok, y);
        for (int r = 0; r < n_tok; r++) {
            for (int j = 0; j < rows; j++) {
                const double e = t.exact[r * rows + j], s = t.size[r * rows + j];
                worst = fmax(worst, fabs((double)y[(size_t)r * stride + (size_t)j] - e) / s);
                apart = fmax(apart, fabs((double)y[(size_t)r * stride + (size_t)j] - (double)first[(size_t)r * stride + (size_t)j]) / s);
            }
            for (int j = rows; j < rows + 3; j++) margin += y[(size_t)r * stride + (size_t)j] != 7.0f;
        }
        CHECK_INT(margin, 0);
        /* each rounding is at most 2^-24 of sums of |w x|; a chain has as many as additions, twice that without fma,
         * and dequantising costs up to three.  int8 activations are off by up to half a step of 1/127 of the largest. */
        const double roundings = (k->fma ? 1 : 2) * (OCT__MIN(cols, 256) + cols / 256 + 4);
        CHECK_NEAR(worst, 0, int8 ? 0.02 : roundings * 0x1p-24);
        if (have && k->fma) same = memcmp(y, first, n * sizeof *y) == 0;
        CHECK(same);
        if (!same) printf("     %s, %s, rows %d, cols %d, tokens %d\n", k->name, oct__type_name(type), rows, cols, n_tok);
        /* without fma: products of integers are exact in both, one more rounding a group and of its scale */
        if (int8) CHECK_NEAR(apart, 0, 4 * (cols / 16 + 2) * 0x1p-24);
        if (k->fma && !have) {
            memcpy(first, y, n * sizeof *y);
            have = true;
        }
        free(c.scratch);
    }
    free(first);
    free(y);
    kt_drop(&t);
}
TEST(kernels, matmul_f32) {
    static const int shape[][3] = { { 1, 1, 1 }, { 5, 3, 2 }, { 16, 8, 7 }, { 17, 172, 8 }, { 33, 300, 19 }, { 32, 1500, 1 }, { 40, 257, 5 }, { 64, 512, 1 } };
    for (int i = 0; i < 3; i++)
        for (size_t j = 0; j < sizeof shape / sizeof *shape; j++) kt_matmul(kt_types[i], shape[j][0], shape[j][1], shape[j][2], true);
}
TEST(kernels, matmul_int8) {
    static const int shape[][3] = { { 1, 1, 1 }, { 15, 2, 2 }, { 16, 3, 3 }, { 17, 1, 19 }, { 33, 6, 6 }, { 31, 4, 9 }, { 32, 47, 4 } };
    for (int i = 3; i < KT_TYPES; i++)
        for (size_t j = 0; j < sizeof shape / sizeof *shape; j++) {
            const int block = oct__type(kt_types[i])->block_elems, cols = OCT__MIN(shape[j][1] * block, block == 32 ? 1504 : 1536);
            kt_matmul(kt_types[i], shape[j][0], cols, shape[j][2], false);
        }
}
TEST(kernels, matmul_exact) {
    static const int shape[][3] = { { 1, 1, 1 }, { 17, 2, 5 }, { 33, 6, 2 }, { 16, 4, 9 } };
    for (int i = 3; i < KT_TYPES; i++)
        for (size_t j = 0; j < sizeof shape / sizeof *shape; j++)
            kt_matmul(kt_types[i], shape[j][0], shape[j][1] * oct__type(kt_types[i])->block_elems, shape[j][2], true);
}
/* The comparisons above can fail: one weight or one scale changed shows. */
TEST(kernels, matmul_sees_a_change) {
    const oct__kernels *k;
    kt_case t = kt_make(OCT__Q4_K, 17, 512, 3);
    float *a = kt_floats(60, 0), *b = kt_floats(60, 0);
    for (int i = 0; (k = kt_table(i)) != NULL; i++) {
        oct__compute c = kt_compute(k, 1, NULL, 64);
        for (int exact = 0; exact < 2; exact++) {
            kt_run(&c, &t, exact != 0, 3, a);
            t.data[1 + 16 * t.w.row_bytes + 144 + 30] ^= 0x40;
            kt_run(&c, &t, exact != 0, 3, b);
            t.data[1 + 16 * t.w.row_bytes + 144 + 30] ^= 0x40;
            CHECK(memcmp(a, b, 16 * sizeof *a) == 0 && a[16] != b[16]);
        }
        free(c.scratch);
    }
    free(a);
    free(b);
    kt_drop(&t);
}
/* --- outliers ---------------------------------------------------------------------------------- */

/* Root of the mean square of y's distance from the true sums. */
static double kt_distance(const kt_case *t, const float *y) {
    double sum = 0;
    for (int n = 0; n < t->n_tok; n++)
        for (int r = 0; r < t->w.rows; r++) {
            const double e = (double)y[(size_t)n * ((size_t)t->w.rows + 3) + (size_t)r] - t->exact[n * t->w.rows + r];
            sum += e * e;
        }
    return sqrt(sum / (t->n_tok * t->w.rows));
}
/* A case in which some tokens have channels sixty times the others, as real networks do. */
static kt_case kt_outliers(int type) {
    static const int channels[] = { 3, 40, 41, 600, 1023 };
    kt_case t = kt_make(type, 34, 1024, 19);
    float *w = kt_floats((size_t)t.w.cols, 0);
    for (int n = 0; n < t.n_tok; n++)
        for (int i = 0; n % 3 != 2 && i < 5; i++) t.x[n * t.w.cols + channels[i]] *= 60.0f;
    for (int r = 0; r < t.w.rows; r++) {
        oct__dequant_row(type, t.w.data + (size_t)r * t.w.row_bytes, w, t.w.cols);
        for (int n = 0; n < t.n_tok; n++) {
            double sum = (double)t.bias[r];
            for (int i = 0; i < t.w.cols; i++) sum += (double)w[i] * (double)t.x[n * t.w.cols + i];
            t.exact[n * t.w.rows + r] = sum;
        }
    }
    free(w);
    return t;
}
/* Their groups take a second int8: nearer to the true sums than one int8 can be, and with the same bits however the
 * tokens are tiled, by every table with fma. */
TEST(kernels, outliers) {
    static const int types[] = { OCT__Q8_0, OCT__Q4_1, OCT__Q4_K, OCT__Q6_K };
    const oct__kernels *k;
    for (int j = 0; j < 4; j++) {
        kt_case t = kt_outliers(types[j]);
        const size_t n = 37 * 19;
        float *one = kt_floats(n, 0), *want = kt_floats(n, 0), *y = kt_floats(n, 0);
        bool have = false;
        kt_int8_model(&t, one);
        for (int i = 0; (k = kt_table(i)) != NULL; i++) {
            oct__compute c = kt_compute(k, 1, NULL, 64);
            kt_run(&c, &t, false, 19, y);
            if (!CHECK(kt_distance(&t, y) < kt_distance(&t, one) / 3)) printf("     %s: %g, with one int8 %g\n", k->name, kt_distance(&t, y), kt_distance(&t, one));
            if (k->fma && have) CHECK(memcmp(y, want, n * sizeof *y) == 0);
            if (k->fma || !have) memcpy(want, y, n * sizeof *y);
            have = have || k->fma;
            for (int step = 1; step < 19; step += 6) {
                float *again = kt_floats(n, 0);
                kt_run(&c, &t, false, step, again);
                CHECK(memcmp(y, again, n * sizeof *y) == 0);
                free(again);
            }
            free(c.scratch);
        }
        free(one);
        free(want);
        free(y);
        kt_drop(&t);
    }
}

typedef struct kt_stop { int calls, limit, strangers; pthread_t owner; } kt_stop;
static int kt_abort(void *user) {
    kt_stop *s = (kt_stop *)user;
    s->strangers += !pthread_equal(pthread_self(), s->owner);
    return ++s->calls > s->limit;
}
TEST(kernels, bits_do_not_depend_on_threads_or_chunks) {
    static const struct { int type, cols; bool exact; } cases[] = {
        { OCT__F32, 300, true }, { OCT__Q8_0, 544, false }, { OCT__Q4_K, 256, false }, { OCT__Q6_K, 256, true }, { OCT__BF16, 301, false },
    };
    static const int threads[] = { 1, 2, 3, 8 };
    const oct__kernels *k;
    for (int i = 0; (k = kt_table(i)) != NULL; i++)
        for (int j = 0; j < 5; j++) {
            kt_case t = kt_make(cases[j].type, 34, cases[j].cols, 61);
            const size_t n = 37 * 61;
            float *want = kt_floats(n, 0), *y = kt_floats(n, 0);
            for (int l = 0; l < 4; l++) {
                oct__compute c = kt_compute(k, threads[l], NULL, 64);
                kt_stop stop;
                int bad = 0;
                memset(&stop, 0, sizeof stop);
                stop.limit = 1 << 30;
                stop.owner = pthread_self();
                if (l == 0) kt_run(&c, &t, cases[j].exact, 61, want);
                for (int step = 1; step <= 61; step += step == 1 ? 6 : 54) {
                    if (step == 1 && l > 0) continue;                            /* many threads for little */
                    c.pool.parallel_for = step == 7 ? kt_backwards : kt_parallel;
                    kt_run(&c, &t, cases[j].exact, step, y);
                    bad += memcmp(y, want, n * sizeof *y) != 0;
                }
                c.abort = kt_abort;                                              /* in shorter regions */
                c.abort_user = &stop;
                kt_run(&c, &t, cases[j].exact, 61, y);
                bad += memcmp(y, want, n * sizeof *y) != 0;
                c.pool.parallel_for = NULL;                                      /* OpenMP, where there is one */
                kt_run(&c, &t, cases[j].exact, 61, y);
                bad += memcmp(y, want, n * sizeof *y) != 0;
                CHECK_INT(bad, 0);
                CHECK_INT(stop.strangers, 0);
                free(c.scratch);
            }
            free(want);
            free(y);
            kt_drop(&t);
        }
}
/* More tokens than meet a panel before it is unpacked again. */
TEST(kernels, many_tokens) {
    const oct__kernels *k;
    for (int i = 0; (k = kt_table(i)) != NULL; i++) {
        kt_case t = kt_make(OCT__Q5_1, 18, 32, 2 * OCT__TOKENS + 11);
        const size_t n = 21 * (2 * OCT__TOKENS + 11);
        float *want = kt_floats(n, 0), *y = kt_floats(n, 0);
        oct__compute c = kt_compute(k, 1, NULL, 64);
        for (int exact = 0; exact < 2; exact++) {
            kt_run(&c, &t, exact != 0, t.n_tok, y);
            kt_run(&c, &t, exact != 0, 50, want);
            CHECK(!memcmp(y, want, n * sizeof *y));
        }
        free(want);
        free(y);
        free(c.scratch);
        kt_drop(&t);
    }
}
/* Several matrices in one region, with and without bias, of different types. */
TEST(kernels, jobs_share_a_region) {
    const oct__kernels *k;
    kt_case t[4];
    t[0] = kt_make(OCT__Q4_0, 40, 256, 5);
    t[1] = kt_make(OCT__F32, 3, 256, 5);
    t[2] = kt_make(OCT__Q6_K, 33, 256, 5);
    t[3] = kt_make(OCT__BF16, 20, 256, 5);
    for (int i = 0; (k = kt_table(i)) != NULL; i++) {
        oct__compute c = kt_compute(k, 3, kt_parallel, 64);
        void *memory;
        oct__acts acts = kt_acts(5, 256, &memory);
        oct__mm jobs[4];
        float *y[4], *want = kt_floats(43 * 5, 0);
        for (int j = 0; j < 4; j++) {
            y[j] = kt_floats(43 * 5, 0);
            jobs[j].w = &t[j].w;
            jobs[j].gate = NULL;
            jobs[j].bias = j == 1 ? NULL : t[j].bias;
            jobs[j].y = y[j];
            jobs[j].y_stride = (size_t)t[j].w.rows + 3;
        }
        oct__acts_set(&c, &acts, t[0].x, 5, 256, true);
        oct__matmul(&c, jobs, 4, &acts);
        for (int j = 0; j < 4; j++) {
            const float *x = t[j].x;
            t[j].x = t[0].x;
            kt_run(&c, &t[j], false, 5, want);
            t[j].x = (float *)(void *)(uintptr_t)x;
            for (int r = 0; r < 5; r++)
                for (int l = 0; l < t[j].w.rows; l++) {
                    const size_t at = (size_t)r * jobs[j].y_stride + (size_t)l;
                    if (j == 1) CHECK_NEAR(y[j][at] + t[j].bias[l], want[at], 1e-6 * (1 + fabs((double)want[at])));
                    else if (y[j][at] != want[at]) CHECK_NEAR(y[j][at], want[at], 0);
                }
            free(y[j]);
        }
        free(want);
        free(memory);
        free(c.scratch);
    }
    for (int j = 0; j < 4; j++) kt_drop(&t[j]);
}
/* To the nearest number of 8 bits, ties to even. */
static double kt_bf16(double x) {
    int e;
    const double m = frexp(x, &e);
    return ldexp(nearbyint(ldexp(m, 8)), e - 8);
}
/* BF16 weights in tables that have a dot product for them: sums of products with activations in bf16, each of at most as many
 * roundings as an fma's, and near the sums of F32 activations, which `exact` still gives. */
static void kt_matmul_bf16(const oct__kernels *k, int rows, int cols, int n_tok) {
    kt_case t = kt_make(OCT__BF16, rows, cols, n_tok);
    const size_t stride = (size_t)rows + 3, n = stride * (size_t)n_tok;
    float *y = kt_floats(n, 0), *exact = kt_floats(n, 0), *w = kt_floats((size_t)cols, 0);
    oct__compute c = kt_compute(k, 1, NULL, 64);
    double worst = 0, rounded = 0, cosine = 1;
    int margin = 0;
    kt_run(&c, &t, true, n_tok, exact);
    kt_run(&c, &t, false, n_tok, y);
    for (int i = 0; i < n_tok; i++) {
        double xy = 0, xx = 0, yy = 0;
        for (int r = 0; r < rows; r++) {
            const double got = (double)y[(size_t)i * stride + (size_t)r], full = t.exact[i * rows + r];
            double sum = (double)t.bias[r];
            oct__dequant_row(OCT__BF16, t.w.data + (size_t)r * t.w.row_bytes, w, cols);
            for (int j = 0; j < cols; j++) sum += (double)w[j] * kt_bf16((double)t.x[i * cols + j]);
            worst = fmax(worst, fabs(got - sum) / t.size[i * rows + r]);
            rounded = fmax(rounded, fabs(got - full) / t.size[i * rows + r]);
            xy += got * full;
            xx += got * got;
            yy += full * full;
        }
        cosine = fmin(cosine, xy / sqrt(xx * yy));
        for (int r = rows; r < rows + 3; r++) margin += y[(size_t)i * stride + (size_t)r] != 7.0f;
    }
    CHECK_INT(margin, 0);
    if (!CHECK(worst <= (OCT__MIN(cols, 256) + cols / 256 + 4) * 0x1p-24))
        printf("     %s, rows %d, cols %d, tokens %d: off by %g\n", k->name, rows, cols, n_tok, worst);
    CHECK_NEAR(rounded, 0, 0x1p-8);
    CHECK(cosine >= 0.9999);
    CHECK(memcmp(y, exact, n * sizeof *y) != 0);
    free(c.scratch);
    free(w);
    free(exact);
    free(y);
    kt_drop(&t);
}
TEST(kernels, matmul_bf16) {
    static const int shape[][3] = { { 1, 1, 1 }, { 5, 3, 2 }, { 16, 8, 7 }, { 17, 171, 8 }, { 33, 301, 19 }, { 40, 1500, 1 }, { 70, 257, 49 }, { 64, 512, 12 } };
    const oct__kernels *k;
    int n = 0;
    for (int i = 0; (k = kt_table(i)) != NULL; i++)
        for (size_t j = 0; j < sizeof shape / sizeof *shape && k->mul_bf16; j++, n++) kt_matmul_bf16(k, shape[j][0], shape[j][1], shape[j][2]);
    if (n == 0) SKIP("no kernels for bf16 run here");
}
/* A gate beside a matrix: the bits of the two apart, and of silu and the product after them. */
static void kt_gated(const oct__kernels *k, const kt_case *gate, const kt_case *up, int n_threads) {
    const int n_tok = up->n_tok;
    const size_t rows = (size_t)up->w.rows, n = rows * (size_t)n_tok;
    oct__compute c = kt_compute(k, n_threads, kt_parallel, 64);
    void *memory;
    oct__acts acts = kt_acts(n_tok, up->w.cols, &memory);
    float *y[3];
    oct__mm jobs[2];
    memset(jobs, 0, sizeof jobs);
    for (int i = 0; i < 3; i++) y[i] = kt_floats(n, 0);
    for (int j = 0; j < 2; j++) {
        jobs[j].w = j ? &up->w : &gate->w;
        jobs[j].y = y[j];
        jobs[j].y_stride = rows;
    }
    oct__acts_set(&c, &acts, up->x, n_tok, up->w.cols, true);
    oct__matmul(&c, jobs, 2, &acts);
    k->silu_mul(y[0], y[0], y[1], (int)n);
    jobs[1].gate = &gate->w;
    jobs[1].y = y[2];
    oct__matmul(&c, jobs + 1, 1, &acts);
    CHECK(memcmp(y[0], y[2], n * sizeof **y) == 0);
    for (int i = 0; i < 3; i++) free(y[i]);
    free(memory);
    free(c.scratch);
}
TEST(kernels, gate_and_up_in_one) {
    static const int types[] = { OCT__Q8_0, OCT__Q4_K, OCT__Q6_K, OCT__F16 }, tokens[] = { 5, 1, 605, 31 }, sizes[][2] = { { 40, 256 }, { 112, 1280 } };
    const oct__kernels *k;
    for (int type = 0; type < 4; type++)
        for (int i = 0; i < 4; i++) {
            const int *size = sizes[i % 2];
            kt_case gate = kt_make(types[type], size[0], size[1], tokens[i]), up = kt_make(types[type], size[0], size[1], tokens[i]);
            for (int j = 0; (k = kt_table(j)) != NULL; j++) kt_gated(k, &gate, &up, 1 + i % 3);
            kt_drop(&gate);
            kt_drop(&up);
        }
}
/* Any bytes: nothing may trap, read past the rows (address sanitizer), or convert what does not fit (undefined behaviour
 * sanitizer). */
TEST(kernels, hostile_bytes) {
    const oct__kernels *k;
    for (int i = 0; (k = kt_table(i)) != NULL; i++)
        for (int j = 0; j < KT_TYPES; j++) {
            kt_case t = kt_make(kt_types[j], 19, 512, 3);
            float *y = kt_floats(22 * 3, 0);
            oct__compute c = kt_compute(k, 1, NULL, 64);
            for (int kind = 0; kind < 3; kind++) {
                for (size_t b = 0; b < 19 * t.w.row_bytes; b++) t.data[1 + b] = kind == 0 ? 0xFF : kind == 1 ? 0x7C : (unsigned char)(int)(kt_uniform() * 127);
                t.x[5] = kind == 0 ? NAN : 1e30f;
                t.x[600] = kind == 1 ? INFINITY : -1e-40f;
                kt_run(&c, &t, false, 3, y);
                kt_run(&c, &t, true, 3, y);
            }
            free(c.scratch);
            free(y);
            kt_drop(&t);
        }
    CHECK(1);
}

/* --- stopping --------------------------------------------------------------------------------- */

TEST(kernels, abort) {
    kt_case t = kt_make(OCT__Q8_0, 160, 1024, 130);
    float *y = kt_floats(163 * 130, 0);
    for (int p = 0; p < 3; p++) {
        kt_stop stop;
        oct__compute c = kt_compute(kt_table(0), p == 0 ? 1 : 3, p == 2 ? kt_parallel : NULL, 64);
        memset(&stop, 0, sizeof stop);
        stop.owner = pthread_self();
        stop.limit = 1;
        c.abort = kt_abort;
        c.abort_user = &stop;
        kt_run(&c, &t, false, 130, y);
        CHECK_INT(stop.strangers, 0);
        CHECK_INT(oct__aborted(&c), stop.calls > 1);
        if (p != 1) CHECK_INT(stop.calls, 2);             /* of OpenMP's threads the caller's may get nothing to do */
        const bool stopped = oct__aborted(&c);
        kt_run(&c, &t, false, 130, y);
        if (stopped) CHECK_INT(y[0], 7);                  /* sticky: nothing was computed */
        free(c.scratch);
    }
    free(y);
    kt_drop(&t);
}

/* --- functions of one number ---------------------------------------------------------------------- */

static double kt_relative(const float *y, const double *want, size_t n, double floor) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        const double e = fabs((double)y[i] - want[i]) / fmax(fabs(want[i]), floor);
        if (!(e <= worst)) worst = e;
    }
    return worst;
}
TEST(kernels, exp_silu_gelu) {
    enum { N = 40013 };
    const oct__kernels *k;
    float *x = kt_floats(N, 0), *y = kt_floats(N, 0), *one = kt_floats(N, 0), *first = kt_floats((size_t)N * 5, 0);
    double *want = (double *)malloc(N * sizeof *want);
    bool have = false;
    for (int i = 0; i < N; i++) {
        x[i] = (float)((i - N / 2) * (88.0 / (N / 2)));
        if (i % 3 == 0) x[i] *= 0.01f;
        one[i] = 1.0f;
    }
    for (int i = 0; (k = kt_table(i)) != NULL; i++) {
        k->expv(x, y, N);
        if (k->fma && have) CHECK(!memcmp(y, first, N * sizeof *y));
        else if (k->fma) memcpy(first, y, N * sizeof *y);
        for (int j = 0; j < N; j++) want[j] = x[j] < -86.6f ? 0.0 : exp((double)x[j]);
        CHECK_NEAR(kt_relative(y, want, N, 1e-38), 0, 3e-7);
        k->silu_mul(y, x, one, N);
        if (k->fma && have) CHECK(!memcmp(y, first + N, N * sizeof *y));
        else if (k->fma) memcpy(first + N, y, N * sizeof *y);
        for (int j = 0; j < N; j++) want[j] = (double)x[j] / (1 + exp(-(double)x[j]));
        CHECK_NEAR(kt_relative(y, want, N, 1e-36), 0, 5e-7);
        for (int kind = 0; kind < 3; kind++) {
            k->gelu(y, x, N, kind);
            if (k->fma && have) CHECK(!memcmp(y, first + (2 + kind) * N, N * sizeof *y));
            else if (k->fma) memcpy(first + (2 + kind) * N, y, N * sizeof *y);
            for (int j = 0; j < N; j++) {
                const double v = (double)x[j];
                want[j] = kind == OCT__GELU_TANH ? v / (1 + exp(-2 * sqrt(2 / 3.14159265358979323846) * (v + 0.044715 * v * v * v))) :
                          kind == OCT__GELU_ERF ? 0.5 * v * erfc(-v / sqrt(2.0)) : v / (1 + exp(-1.702 * v));
            }
            /* far in the tail the exponent itself has lost digits: 88 * 2^-24 and more */
            CHECK_NEAR(kt_relative(y, want, N, 1e-3), 0, 1e-6);
            CHECK_NEAR(kt_relative(y, want, N, 1e-30), 0, 2e-5);
        }
        if (k->fma) have = true;
    }
    free(first);
    free(one);
    free(x);
    free(y);
    free(want);
}
TEST(kernels, extremes) {
    const oct__kernels *k;
    for (int i = 0; (k = kt_table(i)) != NULL; i++) {
        const float x[9] = { 0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e38f, -1e38f, 88.8f, -104.0f };
        float y[9], one[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 };
        k->expv(x, y, 9);
        CHECK(y[0] == 1.0f && y[1] == 1.0f && y[2] == INFINITY && y[3] == 0.0f && y[4] != y[4] && y[5] == INFINITY && y[6] == 0.0f);
        CHECK(y[7] == INFINITY && y[8] == 0.0f);
        k->silu_mul(y, x, one, 9);
        CHECK(y[0] == 0.0f && y[2] == INFINITY && y[4] != y[4] && y[5] == 1e38f && y[6] == 0.0f && fabsf(y[8]) < 1e-30f);
        for (int kind = 0; kind < 3; kind++) {
            k->gelu(y, x, 9, kind);
            CHECK(y[0] == 0.0f && y[2] == INFINITY && y[4] != y[4] && y[5] == 1e38f && y[6] == 0.0f && fabsf(y[8]) < 1e-30f);
        }
    }
}
TEST(kernels, norm) {
    static const int sizes[] = { 1, 7, 16, 33, 64, 80, 288, 2048, 2561 };
    const oct__kernels *k;
    for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
        const int n = sizes[j];
        float *x = kt_floats((size_t)n * 3, 2), *w = kt_floats((size_t)n, 1), *b = kt_floats((size_t)n, 1), *y = kt_floats((size_t)n * 3, 0);
        float *first = kt_floats((size_t)n * 12, 0);
        bool have = false;
        for (int l = 0; l < 3 * n; l++) x[l] += 0.7f;
        for (int i = 0; (k = kt_table(i)) != NULL; i++) {
            oct__compute c = kt_compute(k, 2, kt_parallel, 64);
            for (int kind = 0; kind < 4; kind++) {
                const bool rms = kind % 2 == 0, bias = kind >= 2;
                double worst = 0;
                oct__norm(&c, y, x, 3, n, w, bias ? b : NULL, 1e-5f, rms);
                for (int t = 0; t < 3; t++) {
                    double mean = 0, var = 0;
                    for (int l = 0; l < n && !rms; l++) mean += (double)x[t * n + l] / n;
                    for (int l = 0; l < n; l++) var += ((double)x[t * n + l] - mean) * ((double)x[t * n + l] - mean) / n;
                    for (int l = 0; l < n; l++) {
                        const double want = ((double)x[t * n + l] - mean) / sqrt(var + 1e-5) * (double)w[l] + (bias ? (double)b[l] : 0.0);
                        worst = fmax(worst, fabs((double)y[t * n + l] - want) / (1 + fabs(want)));
                    }
                }
                CHECK_NEAR(worst, 0, n == 1 && !rms ? 1e-4 : 2e-6);
                if (k->fma && have) CHECK(!memcmp(first + kind * 3 * n, y, (size_t)n * 3 * sizeof *y));
                else if (k->fma) memcpy(first + kind * 3 * n, y, (size_t)n * 3 * sizeof *y);
            }
            memcpy(y, x, (size_t)n * 3 * sizeof *y);
            oct__norm(&c, y, y, 3, n, w, b, 1e-5f, false);                 /* in place */
            if (k->fma && have) CHECK(!memcmp(first + 9 * n, y, (size_t)n * 3 * sizeof *y));
            have = have || k->fma;
            free(c.scratch);
        }
        free(x);
        free(w);
        free(b);
        free(y);
        free(first);
    }
}
TEST(kernels, rope) {
    enum { TOK = 5, HEADS = 3, D = 20, ROT = 12, STRIDE = 64 };
    for (int neox = 0; neox < 2; neox++) {
        oct__compute c = kt_compute(kt_table(0), 2, kt_parallel, 64);
        float *x = kt_floats(TOK * STRIDE, 1), *y = kt_floats(TOK * STRIDE, 0), cs[TOK * ROT];
        double worst = 0;
        for (int i = 0; i < TOK * ROT / 2; i++) {
            cs[2 * i] = (float)cos(0.37 * i);
            cs[2 * i + 1] = (float)sin(0.37 * i);
        }
        memcpy(y, x, TOK * STRIDE * sizeof *x);
        oct__rope(&c, y, TOK, HEADS, D, STRIDE, cs, ROT, neox != 0);
        for (int t = 0; t < TOK; t++)
            for (int l = 0; l < STRIDE; l++) {
                const int j = l % D;
                double want = (double)x[t * STRIDE + l];
                if (l < HEADS * D && j < ROT) {
                    const int pair = neox ? j % (ROT / 2) : j / 2, second = neox ? j >= ROT / 2 : j & 1, step = neox ? ROT / 2 : 1;
                    const double angle = 0.37 * (t * ROT / 2 + pair), other = (double)x[t * STRIDE + l + (second ? -step : step)];
                    want = want * cos(angle) + (second ? 1 : -1) * other * sin(angle);
                }
                worst = fmax(worst, fabs(want - (double)y[t * STRIDE + l]));
            }
        CHECK_NEAR(worst, 0, 1e-6);
        free(x);
        free(y);
        free(c.scratch);
    }
}
TEST(kernels, elementwise) {
    const size_t n = 70001;                                 /* more than one row of work, and a rest */
    float *a = kt_floats(n, 1), *b = kt_floats(n, 1), *y = kt_floats(n, 0), *z = kt_floats(n, 0);
    const oct__kernels *k;
    for (int i = 0; (k = kt_table(i)) != NULL; i++) {
        oct__compute c = kt_compute(k, 3, kt_parallel, 64);
        int bad = 0;
        memcpy(y, a, n * sizeof *y);
        oct__add_rows(&c, y, b, n);
        for (size_t j = 0; j < n; j++) bad += y[j] != a[j] + b[j];
        CHECK_INT(bad, 0);
        k->silu_mul(z, a, b, (int)n);
        memcpy(y, b, n * sizeof *y);
        oct__silu_mul(&c, y, a, y, n);                      /* y may be up */
        CHECK(!memcmp(y, z, n * sizeof *y));
        k->gelu(z, a, (int)n, OCT__GELU_TANH);
        memcpy(y, a, n * sizeof *y);
        oct__gelu(&c, y, y, n, OCT__GELU_TANH);
        CHECK(!memcmp(y, z, n * sizeof *y));
        free(c.scratch);
    }
    free(a);
    free(b);
    free(y);
    free(z);
}

/* --- attention --------------------------------------------------------------------------------------- */

typedef struct kt_att {
    oct__kv kv;
    int     n_head;
    bool    causal;
    float  *k, *v, *q;                                      /* [n_ctx, n_kv * d], [n_ctx, n_head * d] */
} kt_att;
static kt_att kt_att_make(oct_kv_type type, int n_ctx, int n_kv, int n_head, int d) {
    kt_att a;
    memset(&a, 0, sizeof a);
    oct__kv_init(&a.kv, type, n_ctx, n_kv, d);
    a.n_head = n_head;
    a.causal = true;
    a.kv.k = (unsigned char *)kt_aligned(a.kv.k_bytes * (size_t)n_kv);
    a.kv.v = (unsigned char *)kt_aligned(a.kv.v_bytes * (size_t)n_kv);
    memset(a.kv.k, 0xFF, a.kv.k_bytes * (size_t)n_kv);      /* what is not stored yet is NaN */
    memset(a.kv.v, 0xFF, a.kv.v_bytes * (size_t)n_kv);
    a.k = kt_floats((size_t)n_ctx * (size_t)(n_kv * d), 1);
    a.v = kt_floats((size_t)n_ctx * (size_t)(n_kv * d), 1);
    a.q = kt_floats((size_t)n_ctx * (size_t)(n_head * d), 1);
    return a;
}
static void kt_att_drop(kt_att *a) {
    free(a->kv.k);
    free(a->kv.v);
    free(a->k);
    free(a->v);
    free(a->q);
}
/* A row of the cache as numbers. */
static void kt_att_row(const kt_att *a, bool values, int h, int pos, float *y) {
    const int d = a->kv.d_head, key = pos % 64;
    const size_t blocks = ((size_t)d + 31) / 32, tile = (size_t)(pos / 64) * 64, d16 = ((size_t)d + 15) / 16 * 16;
    const unsigned char *head = values ? a->kv.v + (size_t)h * a->kv.v_bytes : a->kv.k + (size_t)h * a->kv.k_bytes;
    for (int i = 0; i < d; i++) {
        const size_t at = values ? tile * d16 + (size_t)((i / 16 * 64 + key) * 16 + i % 16)
                                 : tile * (size_t)d + (size_t)((key / 16 * d + i) * 16 + key % 16);
        if (a->kv.type == OCT_KV_F32) memcpy(&y[i], head + 4 * at, 4);
        else if (a->kv.type == OCT_KV_F16) y[i] = oct__half(head + 2 * at);
        else if (values) {
            const unsigned char *p = head + (tile * blocks + (size_t)(i / 32 * 64)) * 34;
            y[i] = oct__half(p + 2 * key) * (float)(signed char)p[128 + (i % 32 / 16 * 64 + key) * 16 + i % 16];
        } else {
            const unsigned char *p = head + (tile * blocks + ((size_t)(key / 16) * blocks + (size_t)(i / 32)) * 16) * 34;
            y[i] = oct__half(p + 2 * (key % 16)) * (float)(signed char)p[32 + i % 32 * 16 + key % 16];
        }
    }
}
/* Of the token at pos, which sees the first n keys. */
static double kt_att_error(const kt_att *a, const float *out, int pos, int n, float scale) {
    const int d = a->kv.d_head, group = a->n_head / a->kv.n_kv;
    float row[256];
    double worst = 0, *s = (double *)malloc((size_t)n * sizeof *s), *o = (double *)malloc((size_t)d * sizeof *o);
    for (int h = 0; h < a->n_head; h++) {
        double max = -1e300, sum = 0;
        for (int j = 0; j < n; j++) {
            kt_att_row(a, false, h / group, j, row);
            s[j] = 0;
            for (int i = 0; i < d; i++) s[j] += (double)row[i] * (double)a->q[((size_t)pos * (size_t)a->n_head + (size_t)h) * (size_t)d + (size_t)i] * (double)scale;
            max = fmax(max, s[j]);
        }
        memset(o, 0, (size_t)d * sizeof *o);
        for (int j = 0; j < n; j++) {
            const double e = exp(s[j] - max);
            kt_att_row(a, true, h / group, j, row);
            sum += e;
            for (int i = 0; i < d; i++) o[i] += e * (double)row[i];
        }
        for (int i = 0; i < d; i++) worst = fmax(worst, fabs(o[i] / sum - (double)out[h * d + i]));
    }
    free(s);
    free(o);
    return worst;
}
/* Tokens from .. from + n - 1 in pieces of `step`, the cache filled up to `from` before. */
static void kt_att_run(oct__compute *c, const kt_att *a, int from, int n, int step, float *out) {
    const size_t kd = (size_t)(a->kv.n_kv * a->kv.d_head), qd = (size_t)(a->n_head * a->kv.d_head);
    const float scale = 1.0f / sqrtf((float)a->kv.d_head);
    memset(a->kv.k, 0xFF, a->kv.k_bytes * (size_t)a->kv.n_kv);
    memset(a->kv.v, 0xFF, a->kv.v_bytes * (size_t)a->kv.n_kv);
    if (from) oct__kv_store(c, &a->kv, 0, from, a->k, a->v, kd);
    for (int t = 0; t < n; t += step) {
        const int m = OCT__MIN(step, n - t), pos = from + t;
        oct__kv_store(c, &a->kv, pos, m, a->k + (size_t)pos * kd, a->v + (size_t)pos * kd, kd);
        oct__attention(c, out + (size_t)t * qd, a->q + (size_t)pos * qd, &a->kv, a->n_head, pos, m, scale, a->causal);
    }
}
TEST(kernels, attention) {
    static const struct { int d, n_kv, n_head; oct_kv_type type; int from, n; } cases[] = {
        { 8, 2, 4, OCT_KV_F16, 0, 20 },    { 32, 1, 4, OCT_KV_F32, 0, 70 },   { 32, 2, 2, OCT_KV_Q8_0, 500, 20 },
        { 64, 1, 8, OCT_KV_F16, 500, 20 }, { 64, 1, 2, OCT_KV_Q8_0, 60, 9 },  { 64, 2, 2, OCT_KV_F32, 120, 16 },
        { 80, 2, 2, OCT_KV_F16, 500, 15 }, { 80, 1, 3, OCT_KV_Q8_0, 0, 66 },  { 80, 1, 1, OCT_KV_F32, 1020, 10 },
        { 128, 1, 2, OCT_KV_F16, 120, 12 }, { 128, 1, 5, OCT_KV_Q8_0, 510, 8 }, { 128, 2, 2, OCT_KV_F32, 60, 10 },
        { 48, 1, 1, OCT_KV_F16, 0, 67 },   { 6, 1, 70, OCT_KV_F16, 62, 5 },    { 64, 1, 1, OCT_KV_F16, 1500, 200 },
        { 16, 1, 24, OCT_KV_F16, 2600, 3 }, { 72, 1, 200, OCT_KV_F32, 0, 3 },
    };
    const oct__kernels *k;
    for (size_t j = 0; j < sizeof cases / sizeof *cases; j++) {
        if (test_quick() && cases[j].n > 100) continue;
        kt_att a = kt_att_make(cases[j].type, cases[j].from + cases[j].n + 70, cases[j].n_kv, cases[j].n_head, cases[j].d);
        const size_t qd = (size_t)(a.n_head * a.kv.d_head), n = (size_t)cases[j].n * qd;
        const float scale = 1.0f / sqrtf((float)a.kv.d_head);
        const int last = cases[j].from + cases[j].n - 1;
        float *all = kt_floats(n, 0), *y = kt_floats(n, 0), *first = kt_floats(n, 0);
        bool have = false;
        for (int i = 0; (k = kt_table(i)) != NULL; i++) {
            oct__compute c = kt_compute(k, 3, kt_parallel, cases[j].d);
            kt_att_run(&c, &a, cases[j].from, cases[j].n, cases[j].n, all);
            for (int t = 0; t < cases[j].n; t += OCT__MAX(cases[j].n - 1, 1) / 3 + 1)
                CHECK_NEAR(kt_att_error(&a, all + (size_t)t * qd, cases[j].from + t, cases[j].from + t + 1, scale), 0, 1e-5);
            CHECK_NEAR(kt_att_error(&a, all + (size_t)(cases[j].n - 1) * qd, last, last + 1, scale), 0, 1e-5);
            c.pool.parallel_for = NULL;
            kt_att_run(&c, &a, cases[j].from, cases[j].n, 7, y);
            CHECK(!memcmp(y, all, n * sizeof *y));
            c.pool.n_threads = 1;
            kt_att_run(&c, &a, cases[j].from, cases[j].n, 1, y);
            CHECK(!memcmp(y, all, n * sizeof *y));
            if (k->fma && have) CHECK(!memcmp(all, first, n * sizeof *y));
            else if (k->fma) memcpy(first, all, n * sizeof *y);
            have = have || k->fma;
            free(c.scratch);
        }
        free(all);
        free(y);
        free(first);
        kt_att_drop(&a);
    }
}
/* Not causal, as in an image encoder: all rows see all keys. */
TEST(kernels, attention_to_all) {
    static const struct { int d, n_kv, n_head, n; oct_kv_type type; } cases[] = {
        { 64, 2, 2, 97, OCT_KV_F32 }, { 72, 1, 1, 577, OCT_KV_F32 }, { 8, 1, 3, 70, OCT_KV_F16 },
    };
    const oct__kernels *k;
    for (int j = 0; j < 3; j++) {
        kt_att a = kt_att_make(cases[j].type, cases[j].n, cases[j].n_kv, cases[j].n_head, cases[j].d);
        const int n = cases[j].n;
        const size_t qd = (size_t)(a.n_head * a.kv.d_head);
        float *y = kt_floats((size_t)n * qd, 0), *first = kt_floats((size_t)n * qd, 0);
        bool have = false;
        a.causal = false;
        for (int i = 0; (k = kt_table(i)) != NULL; i++) {
            oct__compute c = kt_compute(k, 3, kt_parallel, cases[j].d);
            kt_att_run(&c, &a, 0, n, n, y);
            for (int t = 0; t < n; t += n / 5)
                CHECK_NEAR(kt_att_error(&a, y + (size_t)t * qd, t, n, 1.0f / sqrtf((float)cases[j].d)), 0, 1e-5);
            if (k->fma && have) CHECK(!memcmp(y, first, (size_t)n * qd * sizeof *y));
            else if (k->fma) memcpy(first, y, (size_t)n * qd * sizeof *y);
            have = have || k->fma;
            free(c.scratch);
        }
        free(y);
        free(first);
        kt_att_drop(&a);
    }
}
/* Later keys and values that are no numbers do nothing to earlier rows of the same pass. */
TEST(kernels, attention_sees_no_later_key) {
    static const oct_kv_type types[] = { OCT_KV_F16, OCT_KV_F32, OCT_KV_Q8_0 };
    const oct__kernels *k;
    for (int j = 0; j < 6; j++) {
        const int group = j < 3 ? 1 : 3, n = 90, bad = 70;
        kt_att a = kt_att_make(types[j % 3], n, 1, group, 32);
        const size_t qd = (size_t)group * 32;
        float *want = kt_floats((size_t)n * qd, 0), *y = kt_floats((size_t)n * qd, 0);
        for (int i = 0; (k = kt_table(i)) != NULL; i++) {
            oct__compute c = kt_compute(k, 2, kt_parallel, 32);
            kt_att_run(&c, &a, 0, n, n, want);
            for (int l = bad * 32; l < n * 32; l++) a.k[l] = a.v[l] = l % 2 ? NAN : -INFINITY;
            kt_att_run(&c, &a, 0, n, n, y);
            CHECK(!memcmp(y, want, (size_t)bad * qd * sizeof *y));
            for (int l = bad * 32; l < n * 32; l++) a.k[l] = a.v[l] = (float)kt_uniform();
            free(c.scratch);
        }
        free(want);
        free(y);
        kt_att_drop(&a);
    }
}
/* One token with many threads: spans are tasks, and the bits are those of one thread. */
TEST(kernels, attention_split_by_keys) {
    static const struct { int d, n_kv, n_head, pos, n; oct_kv_type type; } cases[] = {
        { 32, 1, 1, 600, 1, OCT_KV_F16 }, { 32, 2, 6, 1024, 1, OCT_KV_F32 }, { 16, 1, 40, 3000, 1, OCT_KV_F16 },
        { 16, 1, 1, 20000, 2, OCT_KV_F16 }, { 16, 1, 2, 1020, 7, OCT_KV_Q8_0 }, { 16, 3, 3, 1023, 30, OCT_KV_F16 },
    };
    static const int threads[] = { 1, 2, 3, 5, 16 };
    const oct__kernels *k;
    for (int j = 0; j < 6; j++) {
        kt_att a = kt_att_make(cases[j].type, cases[j].pos + cases[j].n, cases[j].n_kv, cases[j].n_head, cases[j].d);
        const size_t qd = (size_t)(a.n_head * a.kv.d_head), n = (size_t)cases[j].n * qd;
        float *want = kt_floats(n, 0), *y = kt_floats(n, 0);
        for (int i = 0; (k = kt_table(i)) != NULL; i++)
            for (int l = 0; l < 5; l++) {
                oct__compute c = kt_compute(k, threads[l], l % 2 ? kt_parallel : kt_backwards, cases[j].d);
                kt_att_run(&c, &a, cases[j].pos, cases[j].n, cases[j].n, l ? y : want);
                if (l) CHECK(!memcmp(y, want, n * sizeof *y));
                free(c.scratch);
            }
        free(want);
        free(y);
        kt_att_drop(&a);
    }
}
/* The multiplication of a cache's tile is mul_f of the same numbers. */
TEST(kernels, att_mul) {
    const oct__kernels *k;
    const int steps = 37;
    const size_t stride = 40 * 16;
    uint16_t *w = (uint16_t *)malloc(5 * stride * sizeof *w);
    float *f = kt_floats(5 * stride, 1), *x = kt_floats(35 * 64, 1), *y = kt_floats(35 * 64, 0), *z = kt_floats(35 * 64, 0);
    for (size_t i = 0; i < 5 * stride; i++) {
        w[i] = oct__f32_to_f16(f[i]);
        f[i] = oct__f16_to_f32(w[i]);
    }
    for (int i = 0; (k = kt_table(i)) != NULL; i++)
        for (int half = 0; half < 2; half++)
            for (int n = 1; n <= 35; n++)
                for (int p = 1; p <= 4; p++) {
                    const int chain = (n + p) % 2;
                    for (int j = 0; j < 35 * 64; j++) y[j] = z[j] = (float)j;
                    k->att_mul(half ? (const void *)w : f, half, stride, p, steps, x, n, y, chain);
                    k->mul_f(f, stride, p, steps, x, 64, n, z, 64, chain ? OCT__MUL_CHAIN : OCT__MUL_SET);
                    CHECK(!memcmp(y, z, (size_t)(35 * 64) * sizeof *y));
                }
    free(w);
    free(f);
    free(x);
    free(y);
    free(z);
}
/* Rows of scores of every length: against sums in double, and e to the x of the other kernels. */
TEST(kernels, softmax) {
    const oct__kernels *k;
    for (int i = 0; (k = kt_table(i)) != NULL; i++) {
        float s[24 * 64], was[24 * 64], max[24], sum[24], acc[24 * 64];
        int seen[24];
        for (int from = 1; from <= 41; from += 8) {
            for (int j = 0; j < 24 * 64; j++) was[j] = s[j] = (float)(kt_uniform() * (j % 3 ? 4 : 100));
            for (int r = 0; r < 24; r++) {
                seen[r] = from + r;
                max[r] = r % 4 ? (float)(kt_uniform() * 20) : -INFINITY;
                sum[r] = r % 4 ? 2.0f : 0.0f;
                for (int j = 0; j < 16; j++) acc[r * 64 + j] = r % 4 ? 1.0f : 0.0f;
            }
            float old[24];
            memcpy(old, max, sizeof old);
            k->softmax(s, seen, 24, max, sum, acc, 16);
            for (int r = 0; r < 24; r++) {
                float top = old[r], e[64];
                for (int j = 0; j < seen[r]; j++) top = OCT__MAX(top, was[r * 64 + j]);
                CHECK(max[r] == top);
                for (int j = 0; j < seen[r]; j++) e[j] = was[r * 64 + j] - top;
                k->expv(e, e, seen[r]);
                if (k->fma) CHECK(!memcmp(e, s + r * 64, (size_t)seen[r] * sizeof *e));
                const double factor = r % 4 ? exp((double)old[r] - (double)top) : 0;
                double want = 2 * factor;
                for (int j = 0; j < seen[r]; j++) want += exp((double)was[r * 64 + j] - (double)top);
                CHECK_NEAR((double)sum[r] / want, 1, 1e-6);
                for (int j = 0; j < 16; j++) CHECK_NEAR(acc[r * 64 + j], factor, 1e-6);
            }
        }
    }
}
/* A cache's rows, taken out and put into another, are what was packed, and give the same bytes. */
TEST(kernels, kv_rows) {
    static const oct_kv_type types[] = { OCT_KV_F16, OCT_KV_F32, OCT_KV_Q8_0 };
    static const int sizes[] = { 6, 32, 48, 80, 128 };
    oct__compute c = kt_compute(kt_table(0), 3, kt_parallel, 128);
    for (int i = 0; i < 15; i++) {
        const int d = sizes[i / 3], n = 150;
        kt_att a = kt_att_make(types[i % 3], n, 2, 2, d), b = kt_att_make(types[i % 3], n, 2, 2, d);
        const size_t bytes = oct__kv_row_bytes(types[i % 3], d);
        unsigned char row[512], want[512];
        memset(b.kv.k, 0xFF, b.kv.k_bytes * 2);
        memset(b.kv.v, 0xFF, b.kv.v_bytes * 2);
        oct__kv_store(&c, &a.kv, 0, 100, a.k, a.v, 2 * (size_t)d);
        oct__kv_store(&c, &a.kv, 100, 50, a.k + 200 * d, a.v + 200 * d, 2 * (size_t)d);
        for (int pos = 0; pos < n; pos++)
            for (int h = 0; h < 4; h++) {
                const bool values = h >= 2;
                oct__kv_pack(c.k, types[i % 3], (values ? a.v : a.k) + (2 * pos + h % 2) * d, want, d);
                CHECK_INT(oct__kv_row(&a.kv, values, h % 2, pos, row, false), bytes);
                CHECK(!memcmp(row, want, bytes));
                CHECK_INT(oct__kv_row(&b.kv, values, h % 2, pos, row, true), bytes);
            }
        CHECK(!memcmp(a.kv.k, b.kv.k, a.kv.k_bytes * 2));
        CHECK(!memcmp(a.kv.v, b.kv.v, a.kv.v_bytes * 2));
        kt_att_drop(&a);
        kt_att_drop(&b);
    }
    free(c.scratch);
}
/* Scores far apart, equal, and all minus infinity apart from one. */
TEST(kernels, attention_extremes) {
    const oct__kernels *k;
    for (int i = 0; (k = kt_table(i)) != NULL; i++) {
        oct__compute c = kt_compute(k, 1, NULL, 32);
        kt_att a = kt_att_make(OCT_KV_F32, 600, 1, 1, 32);
        float out[32];
        for (int j = 0; j < 600 * 32; j++) a.k[j] = j / 32 == 300 ? 1000.0f : -1000.0f;
        for (int j = 0; j < 600 * 32; j++) a.q[j] = 1.0f;
        kt_att_run(&c, &a, 599, 1, 1, out);
        for (int j = 0; j < 32; j++) if (out[j] != a.v[300 * 32 + j]) CHECK_NEAR(out[j], a.v[300 * 32 + j], 0);
        for (int j = 0; j < 600 * 32; j++) a.k[j] = 0.0f;
        kt_att_run(&c, &a, 599, 1, 1, out);
        CHECK_NEAR(kt_att_error(&a, out, 599, 600, 1.0f), 0, 1e-6);
        for (int j = 0; j < 600 * 32; j++) a.k[j] = NAN;    /* hostile: any result, no trap */
        kt_att_run(&c, &a, 599, 1, 1, out);
        free(c.scratch);
        kt_att_drop(&a);
    }
}
TEST(kernels, kv_q8_0) {
    unsigned char b[3 * 34];
    float x[80], y[96];
    for (int i = 0; i < 80; i++) x[i] = (float)kt_uniform();
    memset(b, 0xAA, sizeof b);
    oct__kv_pack_q8_0(x, b, 80);
    CHECK_INT(oct__kv_row_bytes(OCT_KV_Q8_0, 80), 3 * 34);
    oct__dequant_row(OCT__Q8_0, b, y, 96);
    for (int i = 0; i < 80; i++) if (fabsf(x[i] - y[i]) > 0.0042f) CHECK_NEAR(y[i], x[i], 0.0042);
    for (int i = 80; i < 96; i++) CHECK(y[i] == 0.0f);
    for (int i = 0; i < 80; i++) x[i] = i % 2 ? NAN : INFINITY;
    oct__kv_pack_q8_0(x, b, 80);
}
TEST(kernels, pick) {
    CHECK(oct__kernels_pick(OCT_ISA_SCALAR) != NULL && !oct__kernels_pick(OCT_ISA_SCALAR)->fma);
    CHECK(oct__kernels_pick(OCT_ISA_AUTO) == oct__kernels_list(0));
    for (int i = 0; oct__kernels_list(i); i++) {
        const oct__kernels *k = oct__kernels_list(i);
        CHECK(oct__kernels_pick(k->isa) && oct__kernels_pick(k->isa)->isa == k->isa);
        CHECK(k->tile <= OCT__TILE_MAX && 48 % k->tile == 0 && OCT__TOKENS % k->tile == 0);
    }
#if defined(OCTAVIUS_NO_SIMD)
    CHECK(oct__kernels_list(1) == NULL);
#elif defined(__aarch64__) && !defined(OCTAVIUS_TEST_INTRINSICS)
    CHECK(oct__kernels_pick(OCT_ISA_NEON) != NULL);
#endif
}
