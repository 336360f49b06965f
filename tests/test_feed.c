/* Pictures in a turn, as rows that an encoder made: where they stand, what the session remembers, and that nothing it does
 * (splitting, threads, snapshots, rewinds, failures) shows in the numbers.  Rows are handed in ready-made here: those of token
 * embeddings, so that the same ids fed as text say what must come out.  Included by test_main.c after test_model.c. */

enum { FEED_FROM = 5, FEED_ROWS = 12 };          /* ids [5, 17) come as a picture */

/* Rows of token embeddings, as if they were a picture's. */
static void feed_embeds(oct_embeds *e, const model_kit *k, const int32_t *ids, int n) {
    const oct__mat *w = &k->m->net.token_embd;
    memset(e, 0, sizeof *e);
    e->model = k->m;
    e->n_tokens = n;
    e->n_embd = k->m->net.n_embd;
    e->data = (float *)malloc((size_t)n * (size_t)e->n_embd * sizeof(float));
    if (!CHECK(e->data != NULL)) return;
    for (int i = 0; i < n; i++)
        oct__dequant_row(w->type, w->data + (size_t)ids[i] * w->row_bytes, e->data + (size_t)i * (size_t)e->n_embd, e->n_embd);
}
/* The ids of the kit with a picture in place of some; logits after it, and after n_steps ids more. */
static int feed_run(oct_session *s, const model_kit *k, const oct_embeds *e, int n_steps, float *out) {
    oct_error err;
    memset(&err, 0, sizeof err);
    if (!CHECK_INT(oct_feed_tokens(s, k->ids, FEED_FROM, &err), OCT_OK)) return 0;
    if (!CHECK_INT(oct_feed_embeds(s, e, &err), OCT_OK)) return 0;
    return model_run(s, k, FEED_FROM + FEED_ROWS, MODEL_IDS, n_steps, out);
}
/* Whether the ids in the session are the kit's with -1 for the picture. */
static int feed_ids_right(const oct_session *s, const model_kit *k) {
    int n = 0, right = 1;
    const int32_t *ids = oct_session_tokens(s, &n);
    for (int i = 0; i < MODEL_IDS; i++)
        right &= n > i && ids[i] == (i >= FEED_FROM && i < FEED_FROM + FEED_ROWS ? -1 : k->ids[i]);
    return right;
}

static void feed_equals_tokens(const char *name, int type, oct_kv_type kv) {
    static const int batches[4] = { 1, 7, 16, 256 };
    const model_way plain = { 256, 1, 0, 0, kv };
    oct_embeds e;
    model_kit  k;
    oct_error  err;
    if (!model_open(&k, synth_find(name), type)) return;
    feed_embeds(&e, &k, k.ids + FEED_FROM, FEED_ROWS);
    oct_session *s = model_session(&k, &plain, 128);
    if (s) CHECK(model_run(s, &k, 0, MODEL_IDS, MODEL_STEPS, model_want));
    oct_session_close(s);
    for (int i = 0; i < 4; i++) {
        const model_way way = { batches[i], 1 + i % 2, 0, 0, kv };
        s = model_session(&k, &way, 128);
        if (s && feed_run(s, &k, &e, MODEL_STEPS, model_got)) {
            CHECK(model_same(model_want, model_got, &k, 1 + MODEL_STEPS));
            CHECK(feed_ids_right(s, &k));
        }
        if (s && i == 3) {                                           /* a snapshot holds the picture's rows, a rewind keeps them */
            const size_t bytes = oct_session_snapshot_bytes(s);
            void        *shot = malloc(bytes);
            oct_session *b = model_session(&k, &way, 80);
            CHECK_INT(oct_session_rewind(s, FEED_FROM + FEED_ROWS, &err), OCT_OK);
            CHECK(model_run(s, &k, FEED_FROM + FEED_ROWS, MODEL_IDS, MODEL_STEPS, model_got));
            CHECK(model_same(model_want, model_got, &k, 1 + MODEL_STEPS));
            CHECK_INT(oct_session_snapshot(s, shot, bytes, &err), OCT_OK);
            if (b && CHECK_INT(oct_session_restore(b, shot, bytes, &err), OCT_OK)) {
                CHECK(feed_ids_right(b, &k));
                CHECK_INT(oct_session_rewind(b, FEED_FROM + FEED_ROWS, &err), OCT_OK);
                CHECK(model_run(b, &k, FEED_FROM + FEED_ROWS, MODEL_IDS, MODEL_STEPS, model_got));
                CHECK(model_same(model_want, model_got, &k, 1 + MODEL_STEPS));
            }
            oct_session_close(b);
            free(shot);
        }
        oct_session_close(s);
    }
    /* it can fail: other rows, other logits */
    e.data[3 * e.n_embd] += 1.0f;
    s = model_session(&k, &plain, 128);
    if (s && feed_run(s, &k, &e, 0, model_got)) CHECK(!model_same(model_want, model_got, &k, 1));
    oct_session_close(s);
    free(e.data);
    model_close(&k);
}
TEST(feed, rows_of_tokens_equal_tokens_llama) { feed_equals_tokens("tiny-llama", SYNTH_F32, OCT_KV_F16); }
TEST(feed, rows_of_tokens_equal_tokens_phi2) { feed_equals_tokens("tiny-phi2", SYNTH_Q8_0, OCT_KV_F32); }
TEST(feed, rows_of_tokens_equal_tokens_stablelm) { feed_equals_tokens("tiny-stablelm", SYNTH_F32, OCT_KV_Q8_0); }
TEST(feed, rows_of_tokens_equal_tokens_qwen) { feed_equals_tokens("tiny-qwen", SYNTH_Q8_0, OCT_KV_F16); }

/* Several pictures, one after another and apart, each with rows of its own; the handles go before the prefill. */
TEST(feed, several_pictures_in_a_turn) {
    static const int cuts[6] = { 0, 4, 9, 9, 20, MODEL_IDS };          /* text, picture, picture of none, picture, text: by ends */
    const model_way way = { 6, 1, 0, 0, OCT_KV_F16 };
    model_kit k;
    oct_error err;
    if (!model_open(&k, synth_find("tiny-qwen2"), SYNTH_F32)) return;
    oct_session *s = model_session(&k, &way, 128);
    if (s && model_run(s, &k, 0, MODEL_IDS, 0, model_want)) {
        oct_session_reset(s);
        for (int i = 0; i < 5; i++) {
            const int n = cuts[i + 1] - cuts[i];
            oct_embeds e;
            if (n == 0) continue;
            if (i == 0 || i == 4) {
                CHECK_INT(oct_feed_tokens(s, k.ids + cuts[i], (size_t)n, &err), OCT_OK);
                continue;
            }
            feed_embeds(&e, &k, k.ids + cuts[i], n);
            CHECK_INT(oct_feed_embeds(s, &e, &err), OCT_OK);
            memset(e.data, 0x7F, (size_t)n * (size_t)e.n_embd * sizeof(float));
            free(e.data);
        }
        CHECK_INT(oct_session_position(s), 0);                        /* nothing is computed before it is asked for */
        CHECK_INT(oct_prefill(s, &err), OCT_OK);
        CHECK(memcmp(oct_session_logits(s, NULL), model_want, (size_t)k.n_vocab * sizeof(float)) == 0);
        CHECK_INT(oct_session_position(s), MODEL_IDS);
    }
    oct_session_close(s);
    model_close(&k);
}

/* The turn stays pending when it does not fit or is stopped, pictures and all. */
static int feed_stop;
static int feed_progress(void *user, float done) {
    OCT__UNUSED(user);
    return feed_stop && done > 0.4f;
}
TEST(feed, a_failing_prefill_keeps_the_turn) {
    const model_way  way = { 8, 1, 0, 0, OCT_KV_F16 };
    oct_session_desc d;
    oct_session     *s = NULL, *tight = NULL;
    oct_embeds       e, other;
    model_kit        k;
    oct_error        err;
    oct_token        t;
    if (!model_open(&k, synth_find("tiny-llama"), SYNTH_F32)) return;
    feed_embeds(&e, &k, k.ids + FEED_FROM, FEED_ROWS);
    other = e;
    other.model = NULL;
    model_desc(&d, &way, 128);
    d.progress = feed_progress;
    feed_stop = 0;
    CHECK_INT(oct_session_open(&s, k.m, &d, &err), OCT_OK);
    if (s && feed_run(s, &k, &e, 0, model_want)) {
        oct_session_reset(s);
        CHECK_INT(oct_feed_tokens(s, k.ids, FEED_FROM, &err), OCT_OK);
        CHECK_INT(oct_feed_embeds(s, &e, &err), OCT_OK);
        CHECK_INT(oct_feed_embeds(s, &other, &err), OCT_E_ARG);       /* another model's: nothing is fed */
        CHECK_INT(oct_feed_tokens(s, k.ids + FEED_FROM + FEED_ROWS, MODEL_IDS - FEED_FROM - FEED_ROWS, &err), OCT_OK);
        feed_stop = 1;
        CHECK_INT(oct_prefill(s, &err), OCT_E_ABORTED);
        CHECK_INT(oct_session_position(s), 0);
        feed_stop = 0;
        CHECK_INT(oct_prefill(s, &err), OCT_OK);
        CHECK(memcmp(oct_session_logits(s, NULL), model_want, (size_t)k.n_vocab * sizeof(float)) == 0);
        /* behind a picture alone there is no id to compute again: after a rewind to there, something must be fed */
        CHECK_INT(oct_session_rewind(s, FEED_FROM + FEED_ROWS, &err), OCT_OK);
        CHECK_INT(oct_next(s, &t, &err), OCT_E_STATE);
        CHECK(strstr(err.message, "picture") != NULL);
    }
    oct_session_close(s);
    tight = model_session(&k, &way, FEED_ROWS + 1);         /* room for a BOS and the picture */
    if (tight) {
        CHECK_INT(oct_feed_embeds(tight, &e, &err), OCT_OK);
        CHECK_INT(oct_feed_tokens(tight, k.ids, 1, &err), OCT_OK);
        CHECK_INT(oct_prefill(tight, &err), OCT_E_CONTEXT);
        CHECK_INT(oct_session_position(tight), 0);
        CHECK_INT(oct_prefill(tight, &err), OCT_E_CONTEXT);
        oct_feed_clear(tight);
        CHECK_INT(oct_feed_embeds(tight, &e, &err), OCT_OK);           /* a picture alone, as many rows as there is room for */
        CHECK_INT(oct_prefill(tight, &err), OCT_OK);
        CHECK_INT(oct_session_position(tight), FEED_ROWS + 1);
        CHECK_INT(oct_next(tight, &t, &err), OCT_OK);
    }
    oct_session_close(tight);
    free(e.data);
    model_close(&k);
}

/* --- with an encoder: tests/golden/vit-clip.gguf, 16 rows of 48, beside a text model as wide --------------------------- */

enum { FEED_SIDE = 20, FEED_PIXELS = FEED_SIDE * (FEED_SIDE + 3) * 3, FEED_VOCAB = 512 };

static void feed_golden(char *path, size_t cap) {
    const char *here = __FILE__, *slash = strrchr(here, '/');
    snprintf(path, cap, "%.*sgolden/vit-clip.gguf", slash ? (int)(slash - here + 1) : 0, here);
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    else snprintf(path, cap, "tests/golden/vit-clip.gguf");
}
static int feed_model(model_kit *k, oct_model_desc *d) {
    synth_model shape = *synth_find("tiny-llama");
    char path[512];
    oct_error err;
    memset(k, 0, sizeof *k);
    err.message[0] = 0;
    feed_golden(path, sizeof path);
    shape.n_embd = 48;
    shape.n_head = shape.n_kv = 3;
    k->file = synth_memory(&shape, SYNTH_F32, 3, &k->bytes);
    d->mmproj = path;
    if (!CHECK(k->file != NULL)) return 0;
    if (!CHECK_INT(oct_model_open_memory(&k->m, k->file, k->bytes, d, &err), OCT_OK)) CHECK_STR(err.message, "");
    k->n_vocab = shape.n_vocab;
    return k->m != NULL;
}
/* Noise, the same for the same seed whatever the stride. */
static oct_image feed_picture(unsigned char *pixels, unsigned long long seed, size_t padding) {
    oct_image image;
    memset(&image, 0, sizeof image);
    memset(pixels, 0xEE, FEED_PIXELS);
    image.pixels = pixels;
    image.width = FEED_SIDE;
    image.height = FEED_SIDE - 3;
    image.stride_bytes = padding ? (size_t)image.width * 3 + padding : 0;
    const size_t stride = (size_t)image.width * 3 + padding;
    for (int y = 0; y < image.height; y++)
        for (int x = 0; x < image.width * 3; x++) pixels[(size_t)y * stride + (size_t)x] = (unsigned char)test_random(&seed);
    return image;
}
/* A question with that picture in what was a fresh session; logits after it. */
static int feed_on(oct_session *s, const oct_image *image, float *out) {
    oct_error err;
    err.message[0] = 0;
    if (!CHECK_INT(oct_feed_image(s, image, &err), OCT_OK) || !CHECK_INT(oct_feed_text(s, "What is it?", &err), OCT_OK) ||
        !CHECK_INT(oct_prefill(s, &err), OCT_OK)) {
        CHECK_STR(err.message, "");
        return 0;
    }
    int n = 0;
    memcpy(out, oct_session_logits(s, &n), sizeof *out * FEED_VOCAB);
    return CHECK_INT(n, FEED_VOCAB);
}
static int feed_ask(oct_session *s, const oct_image *image, float *out) {
    oct_session_reset(s);
    return feed_on(s, image, out);
}
static void feed_counts(const oct_session *s, int encoded, int reused) {
    oct_session_stats stats;
    oct_session_stats_get(s, &stats);
    CHECK_INT(stats.images_encoded, encoded);
    CHECK_INT(stats.images_reused, reused);
}

TEST(feed, a_picture_is_encoded_once) {
    static unsigned char pixels[3][FEED_PIXELS];
    static float want[FEED_VOCAB], got[FEED_VOCAB];
    oct_model_desc md;
    oct_session_desc d;
    model_kit k;
    oct_error err;
    memset(&md, 0, sizeof md);
    if (feed_model(&k, &md)) {
        const size_t row = (size_t)k.n_vocab * sizeof(float);
        const oct_image a = feed_picture(pixels[0], 1, 0), wide = feed_picture(pixels[1], 1, 9), b = feed_picture(pixels[2], 2, 0);
        for (int cache = -1; cache <= 2; cache++) {
            oct_session *s = NULL, *other = NULL;
            oct_embeds  *e = NULL;
            int          n = 0, width = 0;
            memset(&d, 0, sizeof d);
            d.n_ctx = 256;
            d.image_cache = cache;
            d.prompt_style = "vicuna_v1";
            if (!CHECK_INT(oct_session_open(&s, k.m, &d, &err), OCT_OK)) break;
            CHECK(feed_ask(s, &a, want));
            feed_counts(s, 1, 0);
            CHECK(feed_ask(s, &wide, got));                           /* the same pixels, other rows between them */
            CHECK(memcmp(want, got, row) == 0);
            feed_counts(s, cache < 0 ? 2 : 1, cache < 0 ? 0 : 1);
            CHECK(feed_ask(s, &b, got));
            CHECK(memcmp(want, got, row) != 0);
            CHECK(feed_ask(s, &a, got));                              /* a cache of one has forgotten it */
            CHECK(memcmp(want, got, row) == 0);
            feed_counts(s, cache < 0 ? 4 : cache == 1 ? 3 : 2, cache < 0 ? 0 : cache == 1 ? 1 : 2);
            /* a handle, fed to another session, and closed before it is computed */
            CHECK_INT(oct_encode_image(&e, s, &a, &err), OCT_OK);
            CHECK(oct_embeds_data(e, &n, &width) != NULL);
            CHECK_INT(n, 16);
            CHECK_INT(width, 48);
            feed_counts(s, cache < 0 ? 5 : cache == 1 ? 3 : 2, cache < 0 ? 0 : cache == 1 ? 2 : 3);
            if (CHECK_INT(oct_session_open(&other, k.m, &d, &err), OCT_OK)) {
                CHECK_INT(oct_feed_embeds(other, e, &err), OCT_OK);
                oct_embeds_close(e);
                CHECK_INT(oct_feed_text(other, "What is it?", &err), OCT_OK);
                CHECK_INT(oct_prefill(other, &err), OCT_OK);
                CHECK(memcmp(want, oct_session_logits(other, NULL), row) == 0);
                feed_counts(other, 0, 0);
            }
            oct_session_close(other);
            oct_session_close(s);
        }
    }
    model_close(&k);
}

/* Whatever allocation of feeding fails, and whenever it is stopped, nothing is fed and nothing wrong is remembered. */
TEST(feed, a_failing_feed_leaves_nothing_behind) {
    static unsigned char pixels[2][FEED_PIXELS];
    static float want[FEED_VOCAB], got[FEED_VOCAB];
    oct_model_desc md;
    oct_session_desc d;
    memory_hook h;
    model_kit k;
    oct_error err;
    oct_token t;
    memory_desc(&md, &h);
    if (feed_model(&k, &md)) {
        const size_t row = (size_t)k.n_vocab * sizeof(float);
        const oct_image a = feed_picture(pixels[0], 1, 0), other = feed_picture(pixels[1], 2, 0);
        oct_session *s = NULL;
        memset(&d, 0, sizeof d);
        d.n_ctx = 256;
        d.n_threads = 1;
        d.progress = feed_progress;
        feed_stop = 0;
        if (CHECK_INT(oct_session_open(&s, k.m, &d, &err), OCT_OK)) CHECK(feed_ask(s, &a, want));
        oct_session_close(s);
        for (int n = 1, done = 0; !done && n < 200; n++) {
            if (!CHECK_INT(oct_session_open(&s, k.m, &d, &err), OCT_OK)) break;
            h.fail_at = h.calls + n;
            const oct_result r = oct_feed_image(s, &other, &err);
            done = h.calls < h.fail_at;
            h.fail_at = 0;
            if (!done) CHECK_INT(r, OCT_E_MEMORY);
            if (!done) CHECK_INT(oct_next(s, &t, &err), OCT_E_STATE);                    /* nothing was fed */
            if (done) oct_session_reset(s);
            CHECK(feed_on(s, &a, got));                                 /* the same turn goes on as if nothing had been */
            CHECK(memcmp(want, got, row) == 0);
            oct_session_close(s);
        }
        CHECK_INT(oct_session_open(&s, k.m, &d, &err), OCT_OK);
        feed_stop = 1;
        CHECK_INT(oct_feed_image(s, &a, &err), OCT_E_ABORTED);
        feed_stop = 0;
        CHECK(feed_on(s, &a, got));
        CHECK(memcmp(want, got, row) == 0);
        {   /* once fed, the answer needs no memory */
            oct_session_reset(s);
            CHECK_INT(oct_feed_image(s, &a, &err), OCT_OK);
            CHECK_INT(oct_feed_text(s, "What?", &err), OCT_OK);
            const long calls = h.calls;
            for (int i = 0; i < 5; i++) CHECK_INT(oct_next(s, &t, &err), OCT_OK);
            CHECK_INT(h.calls, calls);
        }
        oct_session_close(s);
    }
    model_close(&k);
    CHECK_INT(h.live, 0);
}

/* Text models alone, and pictures that are none. */
TEST(feed, pictures_that_are_refused) {
    static unsigned char pixels[FEED_PIXELS];
    const model_way way = { 0, 1, 0, 0, OCT_KV_F16 };
    oct_model_desc md;
    model_kit k;
    oct_error err;
    oct_model_info info;
    oct_embeds *e = NULL;
    memset(&md, 0, sizeof md);
    if (feed_model(&k, &md)) {
        oct_session *s = model_session(&k, &way, 64);
        oct_image a = feed_picture(pixels, 1, 0);
        oct_model_info_get(k.m, &info);
        CHECK_INT(info.image_tokens, 16);
        CHECK_INT(info.has_image, 1);
        a.width = 0;
        CHECK_INT(oct_feed_image(s, &a, &err), OCT_E_ARG);
        a.width = FEED_SIDE;
        a.n_channels = 2;
        CHECK_INT(oct_feed_image(s, &a, &err), OCT_E_ARG);
        a.n_channels = 3;
        a.stride_bytes = 5;
        CHECK_INT(oct_encode_image(&e, s, &a, &err), OCT_E_ARG);
        CHECK(e == NULL);
        CHECK_INT(oct_feed_embeds(s, NULL, &err), OCT_E_ARG);
        CHECK_INT(oct_encode_image(NULL, s, &a, &err), OCT_E_ARG);
        CHECK(oct_embeds_data(NULL, NULL, NULL) == NULL);
        oct_embeds_close(NULL);
        oct_session_close(s);
    }
    model_close(&k);
}
