/* Whole models, tiny and random: what must not change the result (threads, chunks, snapshots, rewinds), and what must
 * leave a session usable (a full context, an abort).  Included by test_main.c; the public API does the work. */
#include "../tools/synth.h"
#include <pthread.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#  define MODEL_SLOW_BUILD 1
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#    define MODEL_SLOW_BUILD 1
#  endif
#endif
#if !defined(MODEL_SLOW_BUILD)
#  define MODEL_SLOW_BUILD 0
#endif

enum { MODEL_IDS = 45, MODEL_STEPS = 4, MODEL_VOCAB = 640 };

/* --- a pool of plain threads, as a caller would hand in --------------------------------------- */

typedef struct model_task { oct_task_fn fn; void *arg; int i; } model_task;

static void *model_thread(void *user) {
    model_task *t = (model_task *)user;
    t->fn(t->arg, t->i);
    return NULL;
}
static void model_parallel(void *user, oct_task_fn fn, void *arg, int n) {
    pthread_t  thread[16];
    model_task task[16];
    int        started[16];
    OCT__UNUSED(user);
    for (int i = 1; i < n && i < 16; i++) {
        task[i].fn = fn;
        task[i].arg = arg;
        task[i].i = i;
        started[i] = pthread_create(&thread[i], NULL, model_thread, &task[i]) == 0;
        if (!started[i]) fn(arg, i);
    }
    fn(arg, 0);
    for (int i = 1; i < n && i < 16; i++)
        if (started[i]) pthread_join(thread[i], NULL);
}

/* --- models ---------------------------------------------------------------------------------------- */

typedef struct model_kit {
    unsigned char *file;
    size_t         bytes;
    oct_model     *m;
    int32_t        ids[MODEL_IDS];
    int            n_vocab;
} model_kit;

static int model_open(model_kit *k, const synth_model *shape, int type) {
    unsigned long long seed = 5;
    oct_error err;
    memset(k, 0, sizeof *k);
    memset(&err, 0, sizeof err);
    k->file = synth_memory(shape, type, 11, &k->bytes);
    if (!CHECK(k->file != NULL)) return 0;
    if (!CHECK_INT(oct_model_open_memory(&k->m, k->file, k->bytes, NULL, &err), OCT_OK)) CHECK_STR(err.message, "");
    k->n_vocab = shape->n_vocab;
    for (int i = 0; i < MODEL_IDS; i++)                               /* past symbols and bytes, before control tokens */
        k->ids[i] = 259 + (int32_t)(test_random(&seed) % 120);
    return k->m != NULL;
}
static void model_close(model_kit *k) {
    oct_model_close(k->m);
    free(k->file);
}

typedef struct model_way { int n_batch, n_threads, own_pool, exact; oct_kv_type kv; } model_way;

static void model_desc(oct_session_desc *d, const model_way *way, int n_ctx) {
    memset(d, 0, sizeof *d);
    d->n_ctx = n_ctx;
    d->raw = 1;
    d->n_batch = way->n_batch;
    d->n_threads = way->n_threads;
    d->exact = way->exact;
    d->kv_type = way->kv;
    if (way->own_pool) d->parallel_for = model_parallel;
    static const char *const isas[] = { "scalar", "avx2", "avx512", "neon" };
    for (int i = 0; test_isa() && i < 4; i++)
        if (strcmp(test_isa(), isas[i]) == 0 && oct_isa_available((oct_isa)(OCT_ISA_SCALAR + i))) d->isa = (oct_isa)(OCT_ISA_SCALAR + i);
}
static const oct__kernels *model_kernels;            /* instead of those that the description asks for; NULL: those */
static oct_session *model_session(const model_kit *k, const model_way *way, int n_ctx) {
    oct_session_desc d;
    oct_session     *s = NULL;
    oct_error        err;
    memset(&err, 0, sizeof err);
    model_desc(&d, way, n_ctx);
    if (!CHECK_INT(oct_session_open(&s, k->m, &d, &err), OCT_OK)) CHECK_STR(err.message, "");
    if (s && model_kernels) s->compute.k = model_kernels;
    return s;
}
/* Takes in ids [from, to) and appends the logits after them, then of n_steps greedy steps: out [1 + n_steps, n_vocab]. */
static int model_run(oct_session *s, const model_kit *k, int from, int to, int n_steps, float *out) {
    oct_error err;
    oct_token t;
    memset(&err, 0, sizeof err);
    if (!CHECK_INT(oct_feed_tokens(s, k->ids + from, (size_t)(to - from), &err), OCT_OK)) return 0;
    if (!CHECK_INT(oct_prefill(s, &err), OCT_OK)) {
        CHECK_STR(err.message, "");
        return 0;
    }
    for (int i = 0; i <= n_steps; i++) {
        const float *logits = oct_session_logits(s, NULL);
        if (!CHECK(logits != NULL)) return 0;
        if (out) memcpy(out + (size_t)i * (size_t)k->n_vocab, logits, (size_t)k->n_vocab * sizeof *out);
        /* step with an id of our own: the best one might end the answer */
        if (i < n_steps && (!CHECK_INT(oct_feed_tokens(s, &k->ids[i], 1, &err), OCT_OK) || !CHECK_INT(oct_prefill(s, &err), OCT_OK)))
            return 0;
    }
    OCT__UNUSED(t);
    return 1;
}
static int model_same(const float *a, const float *b, const model_kit *k, int rows) {
    return memcmp(a, b, (size_t)rows * (size_t)k->n_vocab * sizeof *a) == 0;
}
static int model_finite(const float *a, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(a[i]) < 1e6f)) return 0;
    return 1;
}

static float model_want[(1 + MODEL_STEPS) * MODEL_VOCAB], model_got[(1 + MODEL_STEPS) * MODEL_VOCAB];

/* Every way of computing gives the bits of one thread and one chunk. */
static void model_deterministic(const char *name, int type, int exact, oct_kv_type kv) {
    static const int batches[3] = { 1, 7, 256 }, threads[4] = { 1, 2, 3, 8 };
    synth_model shape = *synth_find(name);
    model_kit   k;
    if (blocks_type_of(type)->elems == 256) {                           /* rows that hold whole blocks of 256 */
        shape.n_embd = 256;
        shape.n_ff = 512;
        shape.n_rot *= 4;
    }
    const model_way plain = { 256, 1, 0, exact, kv };
    if (!model_open(&k, &shape, type)) {
        model_close(&k);
        return;
    }
    oct_session *s = model_session(&k, &plain, 128);
    if (s && model_run(s, &k, 0, MODEL_IDS, MODEL_STEPS, model_want)) {
        CHECK(model_finite(model_want, (size_t)(1 + MODEL_STEPS) * (size_t)k.n_vocab));
        CHECK(memcmp(model_want, model_want + k.n_vocab, (size_t)k.n_vocab * sizeof(float)) != 0);
    }
    oct_session_close(s);
    for (int b = 0; b < 3; b++)
        for (int t = 0; t < 4; t++)
            for (int pool = 0; pool < 2; pool++) {
                const model_way way = { batches[b], threads[t], pool, exact, kv };
                if ((MODEL_SLOW_BUILD || test_quick()) && (b != 1 + pool || t != 2 + pool)) continue;    /* 3 threads, 8 of the pool */
                memset(model_got, 0, sizeof model_got);
                s = model_session(&k, &way, 128);
                const int ran = s && model_run(s, &k, 0, MODEL_IDS, MODEL_STEPS, model_got);
                if (ran && !CHECK(model_same(model_want, model_got, &k, 1 + MODEL_STEPS)))
                    printf("     %s: chunks of %d, %d threads%s\n", name, batches[b], threads[t], pool ? " of the caller's" : "");
                oct_session_close(s);
            }
    model_close(&k);
}

TEST(model, deterministic_llama) { model_deterministic("tiny-llama", SYNTH_F32, 0, OCT_KV_F16); }
TEST(model, deterministic_phi2) { model_deterministic("tiny-phi2", SYNTH_F32, 0, OCT_KV_F16); }
TEST(model, deterministic_stablelm) { model_deterministic("tiny-stablelm", SYNTH_F32, 0, OCT_KV_F16); }
TEST(model, deterministic_qwen) { model_deterministic("tiny-qwen", SYNTH_F32, 0, OCT_KV_F16); }
TEST(model, deterministic_qwen2) { model_deterministic("tiny-qwen2", SYNTH_F32, 0, OCT_KV_F16); }
TEST(model, deterministic_q8_0) { model_deterministic("tiny-llama", SYNTH_Q8_0, 0, OCT_KV_Q8_0); }
TEST(model, deterministic_q4_k) { model_deterministic("tiny-llama", SYNTH_Q4_K, 0, OCT_KV_F32); }
TEST(model, deterministic_q4_k_exact) { model_deterministic("tiny-qwen2", SYNTH_Q4_K, 1, OCT_KV_F16); }
TEST(model, deterministic_q2_k) { model_deterministic("tiny-phi2", 10, 0, OCT_KV_F16); }
TEST(model, deterministic_bf16) { model_deterministic("tiny-stablelm", 30, 0, OCT_KV_F16); }
/* The same of kernels that round activations to bf16, which are not the first choice everywhere; and near those that do not. */
static void model_bf16(const char *name) {
    const model_way exact = { 256, 1, 0, 1, OCT_KV_F16 };
    const size_t    n = (size_t)(1 + MODEL_STEPS) * MODEL_VOCAB;
    int             tables = 0;
    for (int i = 0; oct__kernels_list(i); i++) {
        double    xy = 0, xx = 0, yy = 0;
        model_kit k;
        if (!oct__kernels_list(i)->mul_bf16) continue;
        tables++;
        model_kernels = oct__kernels_list(i);
        memset(model_want, 0, sizeof model_want);
        memset(model_got, 0, sizeof model_got);
        model_deterministic(name, OCT__BF16, 0, OCT_KV_F16);
        oct_session *s = model_open(&k, synth_find(name), OCT__BF16) ? model_session(&k, &exact, 128) : NULL;
        if (s) CHECK(model_run(s, &k, 0, MODEL_IDS, MODEL_STEPS, model_got));
        for (size_t j = 0; j < n; j++) {
            xy += (double)model_want[j] * (double)model_got[j];
            xx += (double)model_want[j] * (double)model_want[j];
            yy += (double)model_got[j] * (double)model_got[j];
        }
        CHECK(memcmp(model_want, model_got, sizeof model_got) != 0);
        if (!CHECK(xy / sqrt(xx * yy) > 0.9999)) printf("     %s: 1 - cosine %g\n", name, 1 - xy / sqrt(xx * yy));
        oct_session_close(s);
        model_close(&k);
        model_kernels = NULL;
    }
    if (tables == 0) SKIP("no kernels for bf16 run here");
}
TEST(model, deterministic_pairs) { model_bf16("tiny-stablelm"); }
TEST(model, deterministic_pairs_moe) { model_bf16("tiny-moe-llama"); }
TEST(model, deterministic_moe_f32) { model_deterministic("tiny-moe-llama", SYNTH_F32, 0, OCT_KV_F16); }
TEST(model, deterministic_moe_q8_0) { model_deterministic("tiny-moe-llama", SYNTH_Q8_0, 0, OCT_KV_F16); }
TEST(model, deterministic_moe_q4_k) { model_deterministic("tiny-moe-llama", SYNTH_Q4_K, 0, OCT_KV_F32); }
TEST(model, deterministic_moe_q4_0) { model_deterministic("tiny-moe-qwen", 2, 0, OCT_KV_F32); }
TEST(model, deterministic_moe_exact) { model_deterministic("tiny-moe-qwen", SYNTH_Q4_K, 1, OCT_KV_F16); }
TEST(model, deterministic_moe_parallel_block) { model_deterministic("tiny-moe-phi2", SYNTH_Q8_0, 0, OCT_KV_F16); }
TEST(model, deterministic_moe_one_expert) { model_deterministic("tiny-moe-stablelm", SYNTH_Q6_K, 0, OCT_KV_F16); }

/* --- snapshot, restore, rewind, split prompts ------------------------------------------------------ */

static void model_continues(const char *name, oct_kv_type kv) {
    const model_way way = { 7, 2, 0, 0, kv };
    const int       half = 20;
    model_kit       k;
    oct_error       err;
    if (model_open(&k, synth_find(name), SYNTH_Q8_0)) {
        oct_session *a = model_session(&k, &way, 128), *b = model_session(&k, &way, 80);
        if (a && b && model_run(a, &k, 0, MODEL_IDS, MODEL_STEPS, model_want)) {
            /* a prompt in two parts */
            oct_session_reset(a);
            CHECK(model_run(a, &k, 0, half, 0, NULL));
            const int at = oct_session_position(a);                           /* with a BOS where the file asks for one */
            CHECK(at == half || at == half + 1);
            const size_t   bytes = oct_session_snapshot_bytes(a);
            unsigned char *snapshot = (unsigned char *)malloc(bytes);
            CHECK(snapshot != NULL);
            CHECK_INT(oct_session_snapshot(a, snapshot, bytes - 1, &err), OCT_E_LIMIT);
            CHECK_INT(oct_session_snapshot(a, snapshot, bytes, &err), OCT_OK);
            CHECK(model_run(a, &k, half, MODEL_IDS, MODEL_STEPS, model_got));
            CHECK(model_same(model_want, model_got, &k, 1 + MODEL_STEPS));
            /* restored elsewhere, the context being shorter there */
            memset(model_got, 0, sizeof model_got);
            CHECK_INT(oct_session_restore(b, snapshot, bytes, &err), OCT_OK);
            CHECK_INT(oct_session_snapshot_bytes(b), bytes);
            CHECK(model_run(b, &k, half, MODEL_IDS, MODEL_STEPS, model_got));
            CHECK(model_same(model_want, model_got, &k, 1 + MODEL_STEPS));
            /* wound back */
            memset(model_got, 0, sizeof model_got);
            CHECK_INT(oct_session_rewind(a, at, &err), OCT_OK);
            CHECK(model_run(a, &k, half, MODEL_IDS, MODEL_STEPS, model_got));
            CHECK(model_same(model_want, model_got, &k, 1 + MODEL_STEPS));
            /* bytes that are no snapshot, cut or changed: refused, and the session goes on */
            CHECK_INT(oct_session_restore(b, snapshot, bytes - 1, &err), OCT_E_FORMAT);
            CHECK_INT(oct_session_restore(b, snapshot, 3, &err), OCT_E_FORMAT);
            snapshot[0] ^= 1;
            CHECK_INT(oct_session_restore(b, snapshot, bytes, &err), OCT_E_FORMAT);
            CHECK(oct_session_position(b) > half);
            free(snapshot);
        }
        oct_session_close(a);
        oct_session_close(b);
    }
    model_close(&k);
}
TEST(model, continues_llama) { model_continues("tiny-llama", OCT_KV_F16); }
TEST(model, continues_phi2) { model_continues("tiny-phi2", OCT_KV_Q8_0); }
TEST(model, continues_stablelm) { model_continues("tiny-stablelm", OCT_KV_F32); }
TEST(model, continues_qwen) { model_continues("tiny-qwen", OCT_KV_F16); }
TEST(model, continues_qwen2) { model_continues("tiny-qwen2", OCT_KV_Q8_0); }

TEST(model, a_snapshot_of_another_model_is_refused) {
    const model_way way = { 0, 1, 0, 0, OCT_KV_F16 };
    static unsigned char snapshot[1 << 16];
    model_kit a, b;
    oct_error err;
    memset(&err, 0, sizeof err);
    if (model_open(&a, synth_find("tiny-llama"), SYNTH_F32) & model_open(&b, synth_find("tiny-stablelm"), SYNTH_F32)) {
        oct_session *sa = model_session(&a, &way, 32), *sb = model_session(&b, &way, 32);
        if (sa && sb && model_run(sa, &a, 0, 9, 0, NULL)) {
            const size_t bytes = oct_session_snapshot_bytes(sa);
            CHECK(bytes <= sizeof snapshot);
            CHECK_INT(oct_session_snapshot(sa, snapshot, sizeof snapshot, &err), OCT_OK);
            CHECK_INT(oct_session_restore(sb, snapshot, bytes, &err), OCT_E_FORMAT);
            CHECK_INT(oct_session_position(sb), 0);
        }
        oct_session_close(sa);
        oct_session_close(sb);
    }
    model_close(&a);
    model_close(&b);
}

/* Every byte of a small snapshot turned over, one at a time: refused or taken, never worse. */
TEST(model, a_snapshot_with_any_byte_changed_does_no_harm) {
    const model_way way = { 0, 1, 0, 0, OCT_KV_Q8_0 };
    static unsigned char snapshot[1 << 16];
    model_kit k;
    if (model_open(&k, synth_find("tiny-qwen2"), SYNTH_F32)) {
        oct_session *s = model_session(&k, &way, 16), *b = model_session(&k, &way, 16);
        oct_token    t;
        if (s && b && model_run(s, &k, 0, 3, 0, NULL)) {
            const size_t bytes = oct_session_snapshot_bytes(s), step = MODEL_SLOW_BUILD ? 7 : 1;
            CHECK(bytes <= sizeof snapshot);
            CHECK_INT(oct_session_snapshot(s, snapshot, sizeof snapshot, NULL), OCT_OK);
            for (size_t i = 0; i < bytes && i < sizeof snapshot; i += i < 1200 && !test_quick() ? 1 : 37 * step) {
                snapshot[i] ^= 0xFF;
                if (oct_session_restore(b, snapshot, bytes, NULL) == OCT_OK && i % 8 == 0) (void)oct_next(b, &t, NULL);
                snapshot[i] ^= 0xFF;
            }
            CHECK_INT(oct_session_restore(b, snapshot, bytes, NULL), OCT_OK);
        }
        oct_session_close(s);
        oct_session_close(b);
    }
    model_close(&k);
}

/* --- a full context ------------------------------------------------------------------------------------ */

TEST(model, context_full_leaves_the_session_usable) {
    const model_way way = { 0, 1, 0, 0, OCT_KV_F16 };
    model_kit k;
    oct_error err;
    oct_token t;
    memset(&err, 0, sizeof err);
    if (model_open(&k, synth_find("tiny-qwen2"), SYNTH_F32)) {
        oct_session *s = model_session(&k, &way, 16), *fresh = model_session(&k, &way, 16);
        if (s && fresh) {
            CHECK_INT(oct_feed_tokens(s, k.ids, 17, &err), OCT_OK);
            CHECK_INT(oct_prefill(s, &err), OCT_E_CONTEXT);
            CHECK(strstr(err.message, "16") != NULL);
            CHECK_INT(oct_session_position(s), 0);
            CHECK_INT(oct_prefill(s, &err), OCT_E_CONTEXT);               /* the turn is still pending */
            oct_feed_clear(s);
            CHECK(model_run(s, &k, 0, 12, 0, model_got));
            CHECK(model_run(fresh, &k, 0, 12, 0, model_want));
            CHECK(model_same(model_want, model_got, &k, 1));
            oct_result r = OCT_OK;
            int        n = 0;
            while (n < 40 && (r = oct_next(s, &t, &err)) == OCT_OK) n += 1 + 40 * t.is_end;
            if (n < 40) {
                CHECK_INT(r, OCT_E_CONTEXT);
                CHECK_INT(oct_session_position(s), 16);
                CHECK_INT(oct_next(s, &t, &err), OCT_E_CONTEXT);          /* and again the same */
            }
            CHECK_INT(oct_session_rewind(s, 12, &err), OCT_OK);
            CHECK_INT(oct_next(s, &t, &err), OCT_OK);
            const float *logits = oct_session_logits(s, NULL);
            CHECK(logits != NULL && memcmp(logits, model_want, (size_t)k.n_vocab * sizeof *logits) == 0);
            CHECK_INT(oct_session_rewind(s, 0, &err), OCT_OK);
            CHECK(model_run(s, &k, 0, 12, 0, model_got));
            CHECK(model_same(model_want, model_got, &k, 1));
        }
        oct_session_close(s);
        oct_session_close(fresh);
    }
    model_close(&k);
}

/* --- abort ------------------------------------------------------------------------------------------------ */

typedef struct model_abort {
    double last, widest, asked, took;   /* seconds of this thread's CPU time: last call, widest gap, when it said stop, and
                                         * how long after that it was obeyed */
    int    calls, stop_at;              /* say stop at this call; 0: never */
} model_abort;

static double model_cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
static int model_abort_fn(void *user) {
    model_abort *a = (model_abort *)user;
    const double now = model_cpu();
    if (a->calls++ > 0 && now - a->last > a->widest) a->widest = now - a->last;
    a->last = now;
    if (a->stop_at == 0 || a->calls < a->stop_at) return 0;
    if (a->calls == a->stop_at) a->asked = now;
    return 1;
}

/* Prefills 512 ids, fewer in a slow build, asked to stop at the call stop_at (0: never). */
static oct_result model_abort_once(oct_session *s, model_abort *a, int stop_at) {
    static int32_t ids[512];
    const size_t   n = MODEL_SLOW_BUILD || test_quick() ? 128 : 512;
    oct_error      err;
    for (int i = 0; i < 512; i++) ids[i] = 300 + i;
    oct_feed_clear(s);
    memset(a, 0, sizeof *a);
    a->stop_at = stop_at;
    CHECK_INT(oct_feed_tokens(s, ids, n, &err), OCT_OK);
    const oct_result r = oct_prefill(s, &err);
    a->took = model_cpu() - a->asked;
    return r;
}
/* A request may come at any time: it is seen after the widest gap between two questions, and obeyed after a while.  Others on
 * the machine make that longer and never shorter, so the least of several times counts. */
static void model_abort_within(int n_threads, int own_pool, double limit) {
    enum { TRIES = 8 };
    synth_model      shape = *synth_find("tinyllama-1.1b");
    oct_session_desc d;
    oct_session     *s = NULL;
    oct_error        err;
    model_kit        k;
    model_abort      a;
    const model_way  way = { 0, n_threads, own_pool, 0, OCT_KV_F16 };
    shape.n_layer = 2;
    shape.n_vocab = 2000;
    if (MODEL_SLOW_BUILD || limit > 1) {                              /* correctness alone, on less */
        shape.n_embd = 256;
        shape.n_ff = 512;
        shape.n_head = 4;
        shape.n_kv = 4;
    }
    if (model_open(&k, &shape, SYNTH_Q8_0)) {
        model_desc(&d, &way, 600);
        memset(&a, 0, sizeof a);
        d.abort = model_abort_fn;
        d.abort_user = &a;
        CHECK_INT(oct_session_open(&s, k.m, &d, &err), OCT_OK);
        for (int stop_at = 1; s && stop_at <= 28; stop_at += 9) {
            double least = 1e9;
            bool   done = false;
            for (int i = 0; i < TRIES && least > limit && !done; i++) {
                const oct_result r = model_abort_once(s, &a, stop_at);
                done = r == OCT_OK && stop_at > 1 && a.calls < stop_at;       /* this machine was done before */
                if (done) break;
                CHECK_INT(r, OCT_E_ABORTED);
                CHECK_INT(oct_session_position(s), 0);
                least = OCT__MIN(least, a.took + a.widest);
            }
            if (done) break;
            CHECK_NEAR(least, 0, limit);
        }
        double widest = 1e9;                                              /* the session is as good as new */
        for (int i = 0; s && i < TRIES && widest > limit; i++) {
            oct_session_reset(s);
            CHECK_INT(model_abort_once(s, &a, 0), OCT_OK);
            CHECK(a.calls > 0);
            CHECK(oct_session_position(s) >= 128);
            widest = OCT__MIN(widest, a.widest);
        }
        if (s) CHECK_NEAR(widest, 0, limit);
        oct_session_close(s);
    }
    model_close(&k);
}
#if defined(__OPTIMIZE__) && !MODEL_SLOW_BUILD && (defined(__x86_64__) || defined(NATIVE_TIMING))
#  define MODEL_ABORT_LIMIT 0.05
#else
#  define MODEL_ABORT_LIMIT 1000.0
#endif
TEST(model, abort_stops_prefill) { model_abort_within(1, 0, MODEL_ABORT_LIMIT); }
TEST(model, abort_stops_prefill_in_threads) { model_abort_within(2, 0, MODEL_ABORT_LIMIT); }
TEST(model, abort_stops_prefill_in_a_callers_pool) { model_abort_within(2, 1, MODEL_ABORT_LIMIT); }

/* --- stages ----------------------------------------------------------------------------------------------- */

typedef struct model_stages { int n_vocab, logits_rows, calls; float last[MODEL_VOCAB]; } model_stages;

static void model_stage_fn(void *user, const char *name, const float *data, int rows, int cols, int pos) {
    model_stages *st = (model_stages *)user;
    OCT__UNUSED(pos);
    st->calls++;
    if (strcmp(name, "logits") != 0) return;
    st->logits_rows += rows;
    st->n_vocab = cols;
    memcpy(st->last, data + (size_t)(rows - 1) * (size_t)cols, (size_t)cols * sizeof *data);
}
TEST(model, stages_are_seen_and_change_nothing) {
    const model_way  way = { 7, 2, 0, 0, OCT_KV_F16 };
    oct_session_desc d;
    oct_session     *s = NULL, *plain;
    static model_stages st;
    model_kit        k;
    oct_error        err;
    if (model_open(&k, synth_find("tiny-phi2"), SYNTH_Q8_0)) {
        model_desc(&d, &way, 128);
        d.stage = model_stage_fn;
        d.stage_user = &st;
        plain = model_session(&k, &way, 128);
        CHECK_INT(oct_session_open(&s, k.m, &d, &err), OCT_OK);
        if (s && plain && model_run(s, &k, 0, MODEL_IDS, 0, model_got) && model_run(plain, &k, 0, MODEL_IDS, 0, model_want)) {
            CHECK(model_same(model_want, model_got, &k, 1));
            CHECK_INT(st.logits_rows, MODEL_IDS);
            CHECK_INT(st.n_vocab, k.n_vocab);
            CHECK(memcmp(st.last, model_want, (size_t)k.n_vocab * sizeof(float)) == 0);
            CHECK(st.calls > 10);
        }
        oct_session_close(s);
        oct_session_close(plain);
    }
    model_close(&k);
}

/* Changing any weight must change the logits: what is not read is not tested. */
TEST(model, every_tensor_matters) {
    static const char *const names[] = { "tiny-llama", "tiny-phi2", "tiny-stablelm", "tiny-qwen", "tiny-qwen2" };
    const model_way way = { 0, 1, 0, 0, OCT_KV_F16 };
    for (int i = 0; i < 5; i++) {
        model_kit k;
        if (model_open(&k, synth_find(names[i]), SYNTH_F32)) {
            oct_session *s = model_session(&k, &way, 64);
            const size_t n = oct_model_tensor_count(k.m);
            CHECK(s && model_run(s, &k, 0, 9, 0, model_want));
            oct_session_close(s);
            for (size_t j = 0; j < n; j++) {
                oct_tensor     t;
                unsigned char *copy = (unsigned char *)malloc(k.bytes);
                oct_model     *m = NULL;
                CHECK_INT(oct_model_tensor(k.m, j, &t), OCT_OK);
                if (!CHECK(copy != NULL)) break;
                memcpy(copy, k.file, k.bytes);
                memset(copy + ((const unsigned char *)t.data - k.file), 0, t.bytes);
                CHECK_INT(oct_model_open_memory(&m, copy, k.bytes, NULL, NULL), OCT_OK);
                model_kit changed = k;
                changed.m = m;
                s = m ? model_session(&changed, &way, 64) : NULL;
                if (s && model_run(s, &changed, 0, 9, 0, model_got) &&
                    !CHECK(!model_same(model_want, model_got, &k, 1)))
                    printf("     %s: %.*s\n", names[i], (int)t.name.len, t.name.data);
                oct_session_close(s);
                oct_model_close(m);
                free(copy);
            }
        }
        model_close(&k);
    }
}

/* ---- beyond Qwen's native length ------------------------------------------ */

/* alpha of modeling_qwen.py's get_ntk_alpha, by its own formula. */
TEST(model, stretch_beyond_the_native_length) {
    static oct__net net;                                /* zeroed, all but its native length */
    CHECK_INT(oct__rope_alpha(&net, 100000), 1);
    net.native_length = 48;
    for (int n = 1; n < 2000; n++) {
        const double wanted = pow(2.0, ceil(log2((double)n / 48.0) + 1.0)) - 1.0;
        CHECK_INT(oct__rope_alpha(&net, n), wanted > 1.0 ? (int)wanted : 1);
    }
    net.native_length = 2;
    CHECK_INT(oct__rope_alpha(&net, INT_MAX), (1 << 30) - 1);
}
