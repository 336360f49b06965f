/* Black box: the first of three units linked into one program, the one that holds the implementation.  Compiled without
 * any feature macro, as a user would.  Only public names are used. */
#define OCTAVIUS_IMPLEMENTATION
#include "../octavius.h"

#define TEST_MAIN
#include "test.h"
#include "../tools/synth.h"
#include <pthread.h>

/* --- malloc interposed: every allocation of the process passes here, whoever makes it ---------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#  define API_INTERPOSE 0
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#    define API_INTERPOSE 0
#  endif
#endif
#if !defined(API_INTERPOSE) && defined(__GLIBC__)
#  define API_INTERPOSE 1
#elif !defined(API_INTERPOSE)
#  define API_INTERPOSE 0
#endif

#if API_INTERPOSE
extern char __executable_start, etext;               /* where this program's own code lies: the linker says so */
static int  api_counting;
static long api_allocations, api_allocations_ours;   /* anybody's, and those called for by this program's own code */
static void api_count(const void *caller) {
    if (!__atomic_load_n(&api_counting, __ATOMIC_RELAXED)) return;
    __atomic_fetch_add(&api_allocations, 1, __ATOMIC_RELAXED);
    if ((uintptr_t)caller >= (uintptr_t)&__executable_start && (uintptr_t)caller < (uintptr_t)&etext)
        __atomic_fetch_add(&api_allocations_ours, 1, __ATOMIC_RELAXED);
}
#  define API_COUNT() api_count(__builtin_return_address(0))
#  ifdef __cplusplus
#    define API_NOTHROW noexcept
extern "C" {
#  else
#    define API_NOTHROW
#  endif
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void *malloc(size_t n) API_NOTHROW {
    API_COUNT();
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size) API_NOTHROW {
    API_COUNT();
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n) API_NOTHROW {
    API_COUNT();
    return __libc_realloc(p, n);
}
void *aligned_alloc(size_t align, size_t n) API_NOTHROW {
    API_COUNT();
    return __libc_memalign(align, n);
}
#  ifdef __cplusplus
}
#  endif
#endif

/* --- helpers -------------------------------------------------------------------------------------- */

static const char *const api_models[] = { "tiny-llama", "tiny-phi2", "tiny-stablelm", "tiny-qwen", "tiny-qwen2" };

/* Opens a tiny random model; *file is what free() takes after the model is closed. */
static oct_model *api_open(const char *name, unsigned char **file, size_t *bytes) {
    oct_error  err;
    oct_model *m = NULL;
    size_t     n = 0;
    memset(&err, 0, sizeof err);
    *file = synth_memory(synth_find(name), SYNTH_F32, 7, &n);
    if (bytes) *bytes = n;
    if (!CHECK(*file != NULL)) return NULL;
    if (!CHECK_INT(oct_model_open_memory(&m, *file, n, NULL, &err), OCT_OK)) CHECK_STR(err.message, "");
    return m;
}
static void api_desc(oct_session_desc *d, int max_tokens) {
    memset(d, 0, sizeof *d);
    d->n_ctx = 96;
    d->n_threads = 2;
    d->raw = 1;
    d->max_tokens = max_tokens;
}
/* The answer's ids, at most cap of them; how many. */
static int api_answer(oct_session *s, const char *prompt, int32_t *ids, int cap) {
    oct_error err;
    oct_token t;
    int       n = 0;
    memset(&err, 0, sizeof err);
    if (!CHECK_INT(oct_feed_text(s, prompt, &err), OCT_OK)) CHECK_STR(err.message, "");
    while (oct_next(s, &t, &err) == OCT_OK && !t.is_end)
        if (n < cap && t.id >= 0) ids[n++] = t.id;
    CHECK_STR(err.message, "");
    return n;
}

/* --- a model answers ---------------------------------------------------------------------------------- */

TEST(api, five_architectures_answer_twice_the_same) {
    for (int i = 0; i < 5; i++) {
        unsigned char   *file;
        oct_model       *m = api_open(api_models[i], &file, NULL);
        oct_session     *s = NULL;
        oct_session_desc d;
        oct_error        err;
        int32_t          a[12], b[12];
        memset(&err, 0, sizeof err);
        api_desc(&d, 12);
        if (m && CHECK_INT(oct_session_open(&s, m, &d, &err), OCT_OK)) {
            const int n = api_answer(s, "once upon a time", a, 12);
            oct_session_reset(s);
            CHECK_INT(api_answer(s, "once upon a time", b, 12), n);
            CHECK(memcmp(a, b, (size_t)n * sizeof *a) == 0);
            CHECK(n > 0);
        }
        oct_session_close(s);
        oct_model_close(m);
        free(file);
    }
}

TEST(api, max_tokens_ends_an_answer_and_the_next_turn_goes_on) {
    unsigned char   *file;
    oct_model       *m = api_open("tiny-llama", &file, NULL);
    oct_session     *s = NULL;
    oct_session_desc d;
    oct_token        t;
    int32_t          ids[8];
    api_desc(&d, 3);
    if (m && CHECK_INT(oct_session_open(&s, m, &d, NULL), OCT_OK)) {
        CHECK_INT(oct_next(s, &t, NULL), OCT_E_STATE);
        const int n = api_answer(s, "tell", ids, 8);
        CHECK(n <= 3 && n > 0);
        CHECK_INT(oct_next(s, &t, NULL), OCT_OK);
        CHECK(t.is_end);
        const int at = oct_session_position(s);
        CHECK(api_answer(s, "more", ids, 8) > 0);
        CHECK(oct_session_position(s) > at);
    }
    oct_session_close(s);
    oct_model_close(m);
    free(file);
}

TEST(api, logits_and_probabilities_can_be_read) {
    unsigned char   *file;
    oct_model       *m = api_open("tiny-stablelm", &file, NULL);
    oct_session     *s = NULL;
    oct_session_desc d;
    oct_model_info   info;
    oct_token        t;
    int32_t          top[5];
    float            p[5];
    int              n = 0;
    api_desc(&d, 8);
    oct_model_info_get(m, &info);
    if (m && CHECK_INT(oct_session_open(&s, m, &d, NULL), OCT_OK)) {
        CHECK(oct_session_logits(s, &n) == NULL);
        CHECK_INT(oct_session_top(s, top, p, 5), 0);
        CHECK_INT(oct_feed_text(s, "the", NULL), OCT_OK);
        CHECK_INT(oct_prefill(s, NULL), OCT_OK);
        const float *logits = oct_session_logits(s, &n);
        CHECK_INT(n, info.n_vocab);
        if (CHECK(logits != NULL) && CHECK_INT(oct_session_top(s, top, p, 5), 5)) {
            double sum = 0;
            for (int i = 0; i < n; i++) sum += (double)oct_session_prob(s, i);
            CHECK_NEAR(sum, 1, 1e-4);
            for (int i = 1; i < 5; i++) CHECK(p[i] <= p[i - 1] && logits[top[i]] <= logits[top[i - 1]]);
            CHECK_NEAR(oct_session_prob(s, top[0]), p[0], 1e-6);
            CHECK_INT(oct_next(s, &t, NULL), OCT_OK);
            if (!t.is_end) CHECK_INT(t.id, top[0]);                     /* greedy takes the best */
        }
        CHECK_NEAR(oct_session_prob(s, -1), 0, 0);
        CHECK_NEAR(oct_session_prob(s, 1 << 30), 0, 0);
    }
    oct_session_close(s);
    oct_model_close(m);
    free(file);
}

/* --- two threads --------------------------------------------------------------------------------------- */

typedef struct api_job { const oct_model *m; int32_t ids[24]; int n, bad; const char *prompt; } api_job;

static void *api_worker(void *user) {
    api_job         *job = (api_job *)user;
    oct_session     *s = NULL;
    oct_session_desc d;
    oct_token        t;
    api_desc(&d, 24);
    d.n_threads = 1;
    job->bad = oct_session_open(&s, job->m, &d, NULL) || oct_feed_text(s, job->prompt, NULL);
    while (!job->bad && !(job->bad = oct_next(s, &t, NULL) != OCT_OK) && !t.is_end)
        if (job->n < 24 && t.id >= 0) job->ids[job->n++] = t.id;
    oct_session_close(s);
    return NULL;
}

TEST(api, two_sessions_in_two_threads_share_a_model) {
    static const char *const prompts[2] = { "a first story of some length", "the second one" };
    unsigned char *file;
    oct_model     *m = api_open("tiny-qwen2", &file, NULL);
    api_job        alone[2], both[2];
    pthread_t      thread[2];
    memset(alone, 0, sizeof alone);
    memset(both, 0, sizeof both);
    for (int i = 0; m && i < 2; i++) {
        alone[i].m = both[i].m = m;
        alone[i].prompt = both[i].prompt = prompts[i];
        api_worker(&alone[i]);
    }
    for (int i = 0; m && i < 2; i++) CHECK_INT(pthread_create(&thread[i], NULL, api_worker, &both[i]), 0);
    for (int i = 0; m && i < 2; i++) {
        pthread_join(thread[i], NULL);
        CHECK_INT(both[i].bad, 0);
        CHECK(both[i].n > 0);
        CHECK_INT(both[i].n, alone[i].n);
        CHECK(memcmp(both[i].ids, alone[i].ids, sizeof both[i].ids) == 0);
    }
    oct_model_close(m);
    free(file);
}

/* --- no allocation per token ------------------------------------------------------------------------------ */

/* With one thread nothing at all is allocated in the whole process.  With two, clang's OpenMP may take memory for itself. */
static void api_next_allocates_nothing(int n_threads) {
#if API_INTERPOSE
    for (int i = 0; i < 5; i++) {
        unsigned char   *file;
        oct_model       *m = api_open(api_models[i], &file, NULL);
        oct_session     *s = NULL;
        oct_session_desc d;
        oct_token        t;
        long             n = 0;
        api_desc(&d, 0);
        d.n_threads = n_threads;
        d.sampling.temperature = 0.8f;
        d.sampling.top_k = 40;
        d.sampling.top_p = 0.9f;
        d.sampling.repeat_penalty = 1.1f;
        if (m && CHECK_INT(oct_session_open(&s, m, &d, NULL), OCT_OK)) {
            CHECK_INT(oct_feed_text(s, "warm up", NULL), OCT_OK);
            CHECK_INT(oct_prefill(s, NULL), OCT_OK);                    /* OpenMP starts its threads here */
            oct_session_reset(s);
            CHECK_INT(oct_feed_text(s, "the prompt is taken in by the first call", NULL), OCT_OK);
            api_allocations = api_allocations_ours = 0;
            __atomic_store_n(&api_counting, 1, __ATOMIC_SEQ_CST);
            while (n < 24 && oct_next(s, &t, NULL) == OCT_OK && !t.is_end) n++;
            __atomic_store_n(&api_counting, 0, __ATOMIC_SEQ_CST);
            CHECK(n > 1);
            CHECK_INT(api_allocations_ours, 0);
            if (n_threads == 1) CHECK_INT(api_allocations, 0);
        }
        oct_session_close(s);
        oct_model_close(m);
        free(file);
    }
#else
    (void)n_threads;
    SKIP("malloc is the sanitizer's");
#endif
}
TEST(api, next_allocates_nothing) { api_next_allocates_nothing(1); }
TEST(api, next_allocates_nothing_in_threads) { api_next_allocates_nothing(2); }

/* --- arguments ---------------------------------------------------------------------------------------------- */

static void *api_alloc(void *user, size_t n) {
    (void)user;
    return malloc(n);
}

TEST(api, null_arguments_are_errors) {
    unsigned char   *file;
    size_t           bytes = 0, n = 0;
    oct_model       *m = api_open("tiny-llama", &file, &bytes), *none = NULL;
    oct_session     *s = NULL;
    oct_error        err;
    oct_token        t;
    oct_meta         meta;
    oct_tensor       tensor;
    int32_t          id = 1 << 20;
    char             c;
    float            f;
    memset(&err, 0, sizeof err);
    CHECK_INT(oct_model_open(NULL, "x", NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_model_open(&none, NULL, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_model_open_memory(&none, NULL, 8, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_model_open_memory(NULL, file, bytes, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_model_open_reader(&none, NULL, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_model_open_parts(&none, NULL, 1, NULL, &err), OCT_E_ARG);
    CHECK_INT(err.code, OCT_E_ARG);
    CHECK(none == NULL);
    CHECK_INT(oct_session_open(NULL, m, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_session_open(&s, NULL, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_session_bytes(m, NULL, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_session_bytes(NULL, NULL, &n, &err), OCT_E_ARG);
    CHECK_INT(oct_tokenize(NULL, "a", 1, 0, NULL, 0, &n, &err), OCT_E_ARG);
    CHECK_INT(oct_tokenize(m, NULL, 1, 0, NULL, 0, &n, &err), OCT_E_ARG);
    CHECK_INT(oct_tokenize(m, "a", 1, 0, NULL, 0, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_detokenize(m, NULL, 1, 0, &c, 1, &n, &err), OCT_E_ARG);
    CHECK_INT(oct_detokenize(m, &id, 1, 0, &c, 1, &n, &err), OCT_E_ARG);
    CHECK_INT(oct_model_meta(NULL, 0, &meta), OCT_E_ARG);
    CHECK_INT(oct_model_meta(m, 1u << 30, &meta), OCT_E_ARG);
    CHECK_INT(oct_model_meta_find(m, "no.such.key", &meta), OCT_E_ARG);
    CHECK_INT(oct_model_tensor(m, 1u << 30, &tensor), OCT_E_ARG);
    CHECK_INT(oct_model_tensor_find(m, NULL, &tensor), OCT_E_ARG);
    CHECK_INT(oct_tensor_row(NULL, 0, &f, &err), OCT_E_ARG);
    CHECK_INT(oct_model_meta_count(NULL), 0);
    CHECK_INT(oct_model_tensor_count(NULL), 0);
    CHECK_INT(oct_feed_text(NULL, "a", &err), OCT_E_ARG);
    CHECK_INT(oct_feed_tokens(NULL, &id, 1, &err), OCT_E_ARG);
    CHECK_INT(oct_feed_image(NULL, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_feed_image(s, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_feed_embeds(NULL, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_encode_image(NULL, s, NULL, &err), OCT_E_ARG);
    CHECK(oct_embeds_data(NULL, NULL, NULL) == NULL);
    oct_embeds_close(NULL);
    oct_session_stats_get(NULL, NULL);
    CHECK_INT(oct_feed_points(NULL, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_prefill(NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_next(NULL, &t, &err), OCT_E_ARG);
    CHECK_INT(oct_session_rewind(NULL, 0, &err), OCT_E_ARG);
    CHECK_INT(oct_session_snapshot(NULL, &c, 1, &err), OCT_E_ARG);
    CHECK_INT(oct_session_restore(NULL, &c, 1, &err), OCT_E_ARG);
    CHECK_INT(oct_session_set_sampling(NULL, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_session_snapshot_bytes(NULL), 0);
    CHECK_INT(oct_session_position(NULL), 0);
    CHECK(oct_session_logits(NULL, NULL) == NULL);
    CHECK_INT(oct_session_top(NULL, &id, NULL, 1), 0);
    oct_feed_clear(NULL);
    oct_session_reset(NULL);
    oct_model_info_get(NULL, NULL);
    CHECK(oct_result_name((oct_result)15) != NULL);
    if (m && CHECK_INT(oct_session_open(&s, m, NULL, &err), OCT_OK)) {
        CHECK_INT(oct_feed_text(s, NULL, &err), OCT_E_ARG);
        CHECK_INT(oct_feed_tokens(s, &id, 1, &err), OCT_E_ARG);                /* beyond the vocabulary */
        id = -1;
        CHECK_INT(oct_feed_tokens(s, &id, 1, &err), OCT_E_ARG);
        CHECK_INT(oct_next(s, NULL, &err), OCT_E_ARG);
        CHECK_INT(oct_session_rewind(s, 1, &err), OCT_E_ARG);
        CHECK_INT(oct_session_rewind(s, -1, &err), OCT_E_ARG);
        CHECK_INT(oct_session_snapshot(s, NULL, 0, &err), OCT_E_ARG);
    }
    oct_session_close(s);
    oct_model_close(m);
    free(file);
}

TEST(api, half_filled_allocator_is_an_error) {
    unsigned char *file;
    size_t         bytes = 0;
    oct_model     *m = api_open("tiny-llama", &file, &bytes);
    oct_model_desc d;
    oct_error      err;
    oct_model_close(m);
    memset(&d, 0, sizeof d);
    d.allocator.alloc = api_alloc;
    m = NULL;
    CHECK_INT(oct_model_open_memory(&m, file, bytes, &d, &err), OCT_E_ARG);
    CHECK(m == NULL && strstr(err.message, "allocator") != NULL);
    CHECK_INT(oct_model_open_memory(&m, file, bytes, &d, NULL), OCT_E_ARG);    /* no oct_error is fine */
    free(file);
}

TEST(api, a_desc_out_of_range_is_an_error) {
    unsigned char   *file;
    oct_model       *m = api_open("tiny-llama", &file, NULL);
    oct_session     *s = NULL;
    oct_session_desc d;
    oct_sampling     p;
    oct_error        err;
    for (int i = 0; m && i < 8; i++) {
        api_desc(&d, 0);
        switch (i) {
            case 0: d.n_ctx = -1; break;
            case 1: d.n_batch = -1; break;
            case 2: d.n_threads = -1; break;
            case 3: d.isa = (oct_isa)7; break;
            case 4: d.kv_type = (oct_kv_type)3; break;
            case 5: d.max_tokens = -1; break;
            case 6: d.raw = 0; d.prompt_style = "no such style"; break;
            default: d.sampling.top_p = 2; break;
        }
        memset(&err, 0, sizeof err);
        CHECK_INT(oct_session_open(&s, m, &d, &err), OCT_E_ARG);
        CHECK(s == NULL && err.message[0]);
    }
    api_desc(&d, 0);
    if (m && CHECK_INT(oct_session_open(&s, m, &d, &err), OCT_OK)) {
        memset(&p, 0, sizeof p);
        p.temperature = NAN;
        CHECK_INT(oct_session_set_sampling(s, &p, &err), OCT_E_ARG);
        p.temperature = 1;
        p.top_k = -1;
        CHECK_INT(oct_session_set_sampling(s, &p, &err), OCT_E_ARG);
        CHECK_INT(oct_session_set_sampling(s, NULL, &err), OCT_OK);
    }
    oct_session_close(s);
    oct_model_close(m);
    free(file);
}

TEST(api, without_encoders_pictures_and_clouds_are_refused) {
    unsigned char *file;
    oct_model     *m = api_open("tiny-llama", &file, NULL);
    oct_session   *s = NULL;
    unsigned char  rgb[12] = { 0 };
    float          xyz[3] = { 0, 0, 0 };
    oct_image      image;
    oct_embeds    *none = NULL;
    oct_points     points;
    oct_error      err;
    memset(&image, 0, sizeof image);
    memset(&points, 0, sizeof points);
    image.pixels = rgb;
    image.width = image.height = 2;
    image.stride_bytes = 6;
    points.xyz = xyz;
    points.count = 1;
    if (m && CHECK_INT(oct_session_open(&s, m, NULL, &err), OCT_OK)) {
        CHECK_INT(oct_feed_image(s, &image, &err), OCT_E_UNSUPPORTED);
        CHECK_INT(oct_encode_image(&none, s, &image, &err), OCT_E_UNSUPPORTED);
        CHECK(none == NULL);
        CHECK_INT(oct_feed_points(s, &points, &err), OCT_E_UNSUPPORTED);
    }
    oct_session_close(s);
    oct_model_close(m);
    free(file);
}

/* --- opening by path ----------------------------------------------------------------------------------------------- */

static int api_stop(void *user, float done) {
    (void)done;
    ++*(int *)user;
    return 1;
}

TEST(api, a_path_mapped_or_read_gives_the_same) {
    unsigned char *file;
    size_t         bytes = 0, n = 0;
    oct_model     *m = api_open("tiny-phi2", &file, &bytes), *p = NULL;
    oct_model_desc d;
    oct_model_info a, b;
    oct_error      err;
    const char    *path = test_tmp("phi2.gguf");
    FILE          *f = fopen(path, "wb");
    int            calls = 0;
    if (!CHECK(f != NULL) || !m) return;
    n = fwrite(file, 1, bytes, f);
    fclose(f);
    CHECK_INT(n, bytes);
    oct_model_info_get(m, &a);
    for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
        memset(&d, 0, sizeof d);
        memset(&err, 0, sizeof err);
        d.no_mmap = no_mmap;
        CHECK_INT(oct_model_open(&p, path, &d, &err), OCT_OK);
        CHECK_STR(err.message, "");
        oct_model_info_get(p, &b);
        CHECK_INT(a.n_params, b.n_params);
        CHECK_INT(b.file_bytes, bytes);
        CHECK_INT(b.n_vocab, 512);
        oct_model_close(p);
    }
    d.no_mmap = 1;
    d.progress = api_stop;
    d.progress_user = &calls;
    CHECK_INT(oct_model_open(&p, path, &d, &err), OCT_E_ABORTED);
    CHECK(p == NULL);
    CHECK_INT(calls, 1);
    CHECK_INT(oct_model_open(&p, test_tmp("missing.gguf"), NULL, &err), OCT_E_IO);
    CHECK(strstr(err.message, "missing.gguf") != NULL);
    CHECK_INT(oct_model_open(&p, "/", NULL, &err), OCT_E_IO);
    CHECK(p == NULL);
    oct_model_close(m);
    free(file);
}

TEST(api, less_can_be_loaded) {
    unsigned char *file;
    size_t         bytes = 0, n = 0;
    oct_model     *m = api_open("tiny-qwen", &file, &bytes);
    oct_session   *s = NULL;
    oct_model_desc d;
    oct_meta       meta;
    oct_tensor     t;
    oct_error      err;
    float          row[64];
    oct_model_close(m);
    memset(&d, 0, sizeof d);
    memset(&err, 0, sizeof err);
    d.load = OCT_LOAD_VOCAB;
    if (CHECK_INT(oct_model_open_memory(&m, file, bytes, &d, &err), OCT_OK)) {
        CHECK_INT(oct_tokenize(m, "text", 4, 0, NULL, 0, &n, &err), OCT_OK);
        CHECK(n > 0);
        CHECK_INT(oct_session_open(&s, m, NULL, &err), OCT_E_STATE);
        oct_model_close(m);
    }
    d.load = OCT_LOAD_DIRECTORY;
    if (CHECK_INT(oct_model_open_memory(&m, file, bytes, &d, &err), OCT_OK)) {
        CHECK_INT(oct_tokenize(m, "text", 4, 0, NULL, 0, &n, &err), OCT_E_STATE);
        CHECK_INT(oct_session_open(&s, m, NULL, &err), OCT_E_STATE);
        CHECK_INT(oct_model_meta_find(m, "qwen.block_count", &meta), OCT_OK);
        CHECK_INT(meta.u, 2);
        CHECK_INT(oct_model_tensor_find(m, "blk.1.attn_qkv.weight", &t), OCT_OK);
        CHECK_INT(t.ne[0], 64);
        CHECK_INT(t.ne[1], 192);
        CHECK_STR(t.type_name, "F32");
        CHECK_INT(oct_tensor_row(&t, 191, row, &err), OCT_OK);
        CHECK(memcmp(row, (const char *)t.data + 191 * 64 * 4, sizeof row) == 0);
        CHECK_INT(oct_tensor_row(&t, 192, row, &err), OCT_E_ARG);
        oct_model_close(m);
    }
    free(file);
}

TEST(api, text_to_ids_and_back) {
    static const char text[] = "Once upon a time, caf\xC3\xA9 \xF0\x9F\x90\x99!";
    for (int i = 0; i < 5; i++) {
        unsigned char *file;
        oct_model     *m = api_open(api_models[i], &file, NULL);
        int32_t        ids[128];
        char           back[128];
        size_t         n = 0, counted = 0, len = 0;
        oct_error      err;
        if (m) {
            CHECK_INT(oct_tokenize(m, text, sizeof text - 1, 0, ids, 128, &n, &err), OCT_OK);
            CHECK_INT(oct_tokenize(m, text, sizeof text - 1, 0, NULL, 0, &counted, &err), OCT_OK);
            CHECK_INT(n, counted);
            CHECK_INT(oct_tokenize(m, text, sizeof text - 1, 0, ids, 3, &counted, &err), OCT_E_LIMIT);
            CHECK_INT(n, counted);
            CHECK_INT(oct_tokenize(m, text, sizeof text - 1, 0, ids, 128, &n, &err), OCT_OK);
            CHECK_INT(oct_detokenize(m, ids, n, 0, back, sizeof back - 1, &len, &err), OCT_OK);
            back[len < 127 ? len : 127] = 0;
            CHECK_STR(back, text);
            CHECK_INT(oct_detokenize(m, ids, n, 0, back, 3, &counted, &err), OCT_E_LIMIT);
            CHECK_INT(counted, len);
        }
        oct_model_close(m);
        free(file);
    }
}

/* An answer read, drawn, written and read back, by public names alone. */
typedef struct api_file { unsigned char bytes[65536]; size_t n; } api_file;
static int api_write(void *user, const void *data, size_t n) {
    api_file *f = (api_file *)user;
    if (n > sizeof f->bytes - f->n) return 1;
    memcpy(f->bytes + f->n, data, n);
    f->n += n;
    return 0;
}
TEST(api, boxes_drawn) {
    static unsigned char pixels[60 * 80 * 3];
    static oct_boxes reader;
    static api_file file;
    oct_picture picture, back;
    oct_box box[4];
    oct_error err;
    size_t n = 0;
    const char *answer = "At [0.25, 0.5, 0.75, 0.75] there is an object categorized as dog. And at [0.1, 0.2";
    oct_string text = { answer, strlen(answer) };
    memset(&picture, 0, sizeof picture);
    picture.image.pixels = pixels;
    picture.image.width = 60;
    picture.image.height = 80;
    CHECK_INT(oct_boxes_begin(&reader, NULL, 60, 80, &err), OCT_OK);
    while (n < 4 && oct_boxes_next(&reader, &text, &box[n])) n++;
    CHECK_INT(n, 1);
    while (n < 4 && oct_boxes_next(&reader, NULL, &box[n])) n++;
    if (!CHECK_INT(n, 2)) return;
    CHECK_STR(box[0].label, "dog");
    CHECK(box[0].x1 == 15 && box[0].y1 == 40 && box[0].x2 == 45 && box[0].y2 == 60 && box[0].at == 3);
    CHECK_STR(oct_drop_reason(box[1].dropped), "the answer ends inside it");
    CHECK_INT(oct_boxes_draw(&picture, box, n, &err), OCT_OK);
    CHECK(pixels[3 * (50 * 60 + 15)] == 230 && pixels[3 * (50 * 60 + 30)] == 0);
    CHECK_INT(oct_png_write(&picture.image, NULL, api_write, &file, &err), OCT_OK);
    if (CHECK_INT(oct_picture_open_memory(&back, file.bytes, file.n, NULL, &err), OCT_OK))
        CHECK(memcmp(back.image.pixels, pixels, sizeof pixels) == 0);
    oct_picture_close(&back);
    file.n = 0;
    CHECK_INT(oct_svg_write(&picture.image, box, n, NULL, api_write, &file, &err), OCT_OK);
}

int api_2_version(void);
TEST(api, units_agree_on_the_version) {
    CHECK_INT(api_2_version(), OCT_VERSION_MAJOR * 10000 + OCT_VERSION_MINOR * 100 + OCT_VERSION_PATCH);
}
