/* Memory: every allocation failed once, sizes told before they are taken, memory handed in by the caller, and what stays
 * resident.  Included by test_main.c after test_model.c, whose helpers it uses. */

typedef struct memory_hook { long live, calls, fail_at; size_t live_bytes, taken; } memory_hook;

static void *memory_alloc(void *user, size_t n) {
    memory_hook *h = (memory_hook *)user;
    if (++h->calls == h->fail_at) return NULL;
    size_t *p = (size_t *)malloc(n + 64);
    if (!p) return NULL;
    p[0] = n;
    h->live++;
    h->live_bytes += n;
    h->taken += n;
    memset((char *)p + 64, 0xA5, n < 65536 ? n : 65536);              /* nobody may count on zeroes */
    return (char *)p + 64;
}
static void memory_free(void *user, void *ptr) {
    memory_hook *h = (memory_hook *)user;
    if (!ptr) return;
    size_t *p = (size_t *)(void *)((char *)ptr - 64);
    h->live--;
    h->live_bytes -= p[0];
    free(p);
}
static void memory_desc(oct_model_desc *d, memory_hook *h) {
    memset(d, 0, sizeof *d);
    memset(h, 0, sizeof *h);
    d->allocator.alloc = memory_alloc;
    d->allocator.free = memory_free;
    d->allocator.user = h;
}

/* Opens, feeds, answers.  Returns the first failure. */
static oct_result memory_life(const model_kit *k, const char *path, const oct_model_desc *desc, oct_error *err) {
    oct_model       *m = NULL;
    oct_session     *s = NULL;
    oct_token        t;
    oct_session_desc d;
    size_t           n = 0;
    int              steps = 0;
    memset(&d, 0, sizeof d);
    d.n_ctx = 384;
    d.n_threads = 1;
    d.system = "be brief";
    d.prompt_style = "chatml";
    oct_result r = path ? oct_model_open(&m, path, desc, err) : oct_model_open_memory(&m, k->file, k->bytes, desc, err);
    if (r && m) r = OCT_E_STATE;                                      /* a failed open must leave NULL */
    if (!r) r = oct_tokenize(m, "some text", 9, OCT_TEXT_BOS, NULL, 0, &n, err);
    if (!r) r = oct_session_open(&s, m, &d, err);
    if (!r) r = oct_feed_text(s, "a story", err);
    if (!r) r = oct_feed_tokens(s, k->ids, 3, err);
    while (!r && steps++ < 3) r = oct_next(s, &t, err);
    if (!r) r = oct_feed_text(s, "and then a good deal more text, so that buffers have to grow", err);
    if (!r) r = oct_next(s, &t, err);
    oct_session_close(s);
    oct_model_close(m);
    return r;
}

static void memory_sweep(const char *name, int by_path, int no_mmap) {
    oct_model_desc d;
    memory_hook    h;
    model_kit      k;
    oct_error      err;
    if (!model_open(&k, synth_find(name), SYNTH_Q8_0)) {
        model_close(&k);
        return;
    }
    const char *path = by_path ? test_tmp("sweep.gguf") : NULL;
    if (path) {
        FILE *f = fopen(path, "wb");
        CHECK(f != NULL && fwrite(k.file, 1, k.bytes, f) == k.bytes);
        if (f) fclose(f);
    }
    long n = 0;
    for (oct_result r = OCT_E_MEMORY; r; ) {
        memory_desc(&d, &h);
        d.no_mmap = no_mmap;
        h.fail_at = ++n;
        memset(&err, 0, sizeof err);
        r = memory_life(&k, path, &d, &err);
        if (r) {
            if (!CHECK_INT(r, OCT_E_MEMORY)) printf("     allocation %ld: %s\n", n, err.message);
            CHECK_INT(err.code, r);
            CHECK(err.message[0] != 0);
        } else {
            CHECK(h.calls < n);                                       /* it got through because nothing was refused */
        }
        CHECK_INT(h.live, 0);
        CHECK_INT(h.live_bytes, 0);
        if (n > 100000 || (r && r != OCT_E_MEMORY)) break;
    }
    CHECK(n > 5);
    model_close(&k);
}
TEST(memory, every_allocation_failed_once_spm) { memory_sweep("tiny-llama", 0, 0); }
TEST(memory, every_allocation_failed_once_bpe) { memory_sweep("tiny-qwen", 0, 0); }
TEST(memory, every_allocation_failed_once_mapped) { memory_sweep("tiny-phi2", 1, 0); }
TEST(memory, every_allocation_failed_once_read) { memory_sweep("tiny-stablelm", 1, 1); }

/* --- the session's size ------------------------------------------------------------------------------ */

TEST(memory, session_bytes_is_what_open_takes) {
    static const int n_ctx[3] = { 1, 33, 512 };
    oct_model_desc   md;
    memory_hook      h;
    model_kit        k;
    oct_error        err;
    if (model_open(&k, synth_find("tiny-qwen2"), SYNTH_Q8_0)) {
        oct_model *m = NULL;
        memory_desc(&md, &h);
        CHECK_INT(oct_model_open_memory(&m, k.file, k.bytes, &md, &err), OCT_OK);
        for (int i = 0; m && i < 9; i++) {
            oct_session_desc d;
            oct_session     *s = NULL;
            size_t           bytes = 0;
            memset(&d, 0, sizeof d);
            d.n_ctx = n_ctx[i % 3];
            d.kv_type = (oct_kv_type)(i / 3);
            d.n_threads = 1 + i;
            d.system = i & 1 ? "a system text" : NULL;
            const long   calls = h.calls;
            const size_t before = h.live_bytes;
            CHECK_INT(oct_session_bytes(m, &d, &bytes, &err), OCT_OK);
            CHECK_INT(h.calls, calls);                                /* asking costs nothing */
            CHECK_INT(oct_session_open(&s, m, &d, &err), OCT_OK);
            CHECK(h.live_bytes - before >= bytes && h.live_bytes - before <= bytes + 64);     /* 64: to align it */
            oct_session_close(s);
            CHECK_INT(h.live_bytes, before);
        }
        oct_model_close(m);
        CHECK_INT(h.live, 0);
    }
    model_close(&k);
}

TEST(memory, memory_of_the_callers) {
    const model_way  way = { 0, 2, 0, 0, OCT_KV_F16 };
    oct_model_desc   md;
    memory_hook      h;
    model_kit        k;
    oct_error        err;
    if (model_open(&k, synth_find("tiny-llama"), SYNTH_Q8_0)) {
        oct_model       *own = k.m;
        oct_session     *s = NULL, *plain = model_session(&k, &way, 64);
        oct_session_desc d;
        size_t           bytes = 0;
        memory_desc(&md, &h);
        k.m = NULL;
        CHECK_INT(oct_model_open_memory(&k.m, k.file, k.bytes, &md, &err), OCT_OK);
        model_desc(&d, &way, 64);
        CHECK_INT(oct_session_bytes(k.m, &d, &bytes, &err), OCT_OK);
        unsigned char *block = (unsigned char *)malloc(bytes + 192), *at = block + 64 - ((uintptr_t)block & 63);
        if (CHECK(block != NULL)) {
            memset(block, 0x5A, bytes + 192);
            d.memory = at;
            d.memory_bytes = bytes - 1;
            CHECK_INT(oct_session_open(&s, k.m, &d, &err), OCT_E_MEMORY);
            d.memory = at + 4;
            d.memory_bytes = bytes + 64;
            CHECK_INT(oct_session_open(&s, k.m, &d, &err), OCT_E_ARG);
            CHECK(s == NULL);
            d.memory = at;
            d.memory_bytes = bytes;
            const long calls = h.calls;
            CHECK_INT(oct_session_open(&s, k.m, &d, &err), OCT_OK);
            CHECK_INT(h.calls, calls);                                /* nothing taken beside it */
            if (s && plain) {
                CHECK(model_run(s, &k, 0, 30, 0, model_got));
                CHECK(model_run(plain, &k, 0, 30, 0, model_want));
                CHECK(model_same(model_want, model_got, &k, 1));
            }
            oct_session_close(s);
            CHECK_INT(at[bytes], 0x5A);                               /* and nothing written past it */
            CHECK_INT(at[bytes + 63], 0x5A);
        }
        free(block);
        oct_session_close(plain);
        oct_model_close(k.m);
        CHECK_INT(h.live, 0);
        k.m = own;
    }
    model_close(&k);
}

/* --- what stays resident -------------------------------------------------------------------------------- */

#if defined(__linux__)
/* A line of /proc/self/status in bytes; 0: not there. */
static size_t memory_status(const char *what) {
    char   line[256];
    size_t kib = 0;
    FILE  *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, what, strlen(what)) == 0) kib = (size_t)strtoull(line + strlen(what) + 1, NULL, 10);
    if (f) fclose(f);
    return kib * 1024;
}
static int memory_write_file(void *user, const void *data, size_t n) {
    return n && fwrite(data, 1, n, (FILE *)user) != n;
}

/* The mapped file is the only copy of the weights: private memory grows by the session and the vocabulary. */
TEST(memory, a_mapped_model_is_not_copied) {
    if (MODEL_SLOW_BUILD) SKIP("a sanitizer's memory is not the model's");
    if (!memory_status("RssAnon")) SKIP("no RssAnon in /proc/self/status");
    synth_model shape = *synth_find("tinyllama-1.1b");
    shape.n_layer = 3;
    const char      *path = test_tmp("mapped.gguf");
    FILE            *f = fopen(path, "wb");
    oct_model       *m = NULL;
    oct_session     *s = NULL;
    oct_session_desc d;
    oct_model_info   info;
    oct_token        t;
    oct_error        err;
    size_t           bytes = 0;
    int              bad = !f || synth_write(&shape, SYNTH_Q8_0, 1, memory_write_file, f);
    if (f) bad |= fclose(f) != 0;
    if (!CHECK(!bad)) return;
    memset(&err, 0, sizeof err);
    memset(&d, 0, sizeof d);
    d.n_ctx = 512;
    d.n_threads = 2;
    d.raw = 1;
    const size_t before = memory_status("RssAnon"), all_before = memory_status("VmRSS");
    double took = 1e9;
    for (int i = 0; i < 3; i++) {                                     /* the best of three: others may be busy */
        oct_model_close(m);
        const double start = test_seconds();
        CHECK_INT(oct_model_open(&m, path, NULL, &err), OCT_OK);
        took = OCT__MIN(took, test_seconds() - start);
    }
    CHECK_STR(err.message, "");
    oct_model_info_get(m, &info);
    if (m && CHECK_INT(oct_session_open(&s, m, &d, &err), OCT_OK)) {
        CHECK_INT(oct_session_bytes(m, &d, &bytes, &err), OCT_OK);
        CHECK_INT(oct_feed_text(s, "once upon a time there was a machine with little memory", &err), OCT_OK);
        for (int i = 0; i < 3; i++) CHECK_INT(oct_next(s, &t, &err), OCT_OK);
        const size_t grown = memory_status("RssAnon") - before, all = memory_status("VmRSS") - all_before;
        CHECK(info.file_bytes > (size_t)200 << 20);
        if (!CHECK(grown < bytes + ((size_t)24 << 20))) printf("     %zu bytes private, session %zu\n", grown, bytes);
        CHECK(all < (size_t)info.file_bytes + bytes + ((size_t)150 << 20));
#  if defined(__OPTIMIZE__) && defined(__x86_64__)
        CHECK_NEAR(took, 0, 0.3);
#  endif
    }
    OCT__UNUSED(took);
    oct_session_close(s);
    oct_model_close(m);
    remove(path);
}
#endif
