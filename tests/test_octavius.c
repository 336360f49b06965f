/* OCTAVIUS on images: its tokenizer, its prompts, the gate and the dialogue, on the weights of a golden case made by the
 * official modules (tests/golden/octavius.*, written by tools/reference/make_octavius.py; the picture's rows are theirs too).
 * Included by test_main.c after test_feed.c. */

typedef struct octa {
    char      *file, *lines;
    size_t     bytes;
    oct_model *m;
} octa;

static int octa_open(octa *o, oct_load load) {
    oct_model_desc d;
    oct_error err;
    memset(o, 0, sizeof *o);
    memset(&d, 0, sizeof d);
    err.message[0] = 0;
    d.load = load;
    o->file = golden_file("octavius", ".gguf", &o->bytes);
    o->lines = golden_file("octavius", ".txt", NULL);
    if (!CHECK(o->file && o->lines)) return 0;
    if (oct_model_open_memory(&o->m, o->file, o->bytes, &d, &err)) CHECK_STR(err.message, "");
    return o->m != NULL;
}
static void octa_close(octa *o) {
    oct_model_close(o->m);
    free(o->file);
    free(o->lines);
}
/* The fields of the next line of this kind, at most n; *at is where to look, NULL at first.  Returns how many there are. */
static int octa_line(octa *o, char kind, char **at, char **fields, int n) {
    char *line = *at ? *at : o->lines;
    int got = 0;
    while (line && *line && *line != kind) {
        line = strchr(line, '\n');
        line += line != NULL;
    }
    if (!line || !*line) return 0;
    char *end = strchr(line, '\n'), *p = line;
    if (end) *end = 0;
    *at = end ? end + 1 : line + strlen(line);
    /* dlg_field takes an empty rest for no field: the tabs say how many there are */
    for (int more = 1; more && got < n; got++) {
        char *tab = strchr(p, '\t');
        more = tab != NULL;
        if (tab) *tab = 0;
        fields[got] = p;
        if (*p) dlg_field(&p);
        p = tab ? tab + 1 : p;
    }
    return got;
}
/* Numbers with spaces between them; how many. */
static int octa_ids(const char *s, int32_t *ids, int cap) {
    int n = 0;
    char *end;
    for (; *s && n < cap; s = end) {
        ids[n++] = (int32_t)strtol(s, &end, 10);
        if (end == s) break;
        while (*end == ' ') end++;
    }
    return n;
}
static int octa_same(const int32_t *got, size_t n_got, const char *want, const char *what) {
    int32_t ids[1024];
    const int n = octa_ids(want, ids, 1024);
    if (n_got == (size_t)n && memcmp(got, ids, n_got * sizeof *ids) == 0) return 1;
    printf("     %.150s\n     found ", what);
    for (size_t i = 0; i < n_got; i++) printf(" %d", (int)got[i]);
    printf("\n     wanted %s\n", want);
    return 0;
}

/* --- the tokenizer ---------------------------------------------------------------------------------------- */

TEST(octavius, tags_are_tokenized_as_officially) {
    char *at = NULL, *f[3], text[512];
    int32_t ids[512];
    size_t n = 0;
    octa o;
    int cases = 0;
    if (!octa_open(&o, OCT_LOAD_VOCAB)) return;
    for (; octa_line(&o, 'T', &at, f, 3) == 3; cases++) {
        CHECK_INT(oct_tokenize(o.m, f[1], strlen(f[1]), OCT_TEXT_SPECIAL, ids, 512, &n, NULL), OCT_OK);
        CHECK(octa_same(ids, n, f[2], f[1]));
    }
    CHECK_INT(cases, 26);
    octa_close(&o);
    if (!octa_open(&o, OCT_LOAD_VOCAB)) return;
    for (at = NULL, cases = 0; octa_line(&o, 'D', &at, f, 3) == 3; cases++) {
        const int n_ids = octa_ids(f[1], ids, 512);
        CHECK_INT(oct_detokenize(o.m, ids, (size_t)n_ids, 0, text, sizeof text - 1, &n, NULL), OCT_OK);
        text[n] = 0;
        CHECK_STR(text, f[2]);
    }
    CHECK_INT(cases, 4);
    /* as text a tag is text: none of its ids, whatever is written */
    static const char typed[] = " <Img> </Img><XSFQ/> </s> ";
    CHECK_INT(oct_tokenize(o.m, typed, sizeof typed - 1, 0, ids, 512, &n, NULL), OCT_OK);
    for (size_t i = 0; i < n; i++) CHECK(ids[i] != 2 && ids[i] < 480);
    CHECK_INT(oct_detokenize(o.m, ids, n, 0, text, sizeof text, &n, NULL), OCT_OK);
    CHECK(n == sizeof typed - 1 && memcmp(text, typed, n) == 0);
    octa_close(&o);
}

/* A vocabulary of a few tokens with this array of tags. */
static oct_result octa_tags(int type, const int32_t *tags, uint64_t n, oct_error *err) {
    static const char *const tokens[] = { "<unk>", "<s>", "</s>", "\xE2\x96\x81", "a", "<Img>" };
    static const int32_t types[] = { 2, 3, 3, 1, 1, 3 };
    gguf_writer w;
    size_t len;
    oct_model *m = NULL;
    oct_model_desc d;
    memset(&d, 0, sizeof d);
    d.load = OCT_LOAD_VOCAB;
    gw_begin(&w);
    gw_str(&w, "general.architecture", "llama");
    gw_str(&w, "tokenizer.ggml.model", "llama");
    gw_array_str(&w, "tokenizer.ggml.tokens", tokens, 6);
    gw_array_i32(&w, "tokenizer.ggml.token_type", types, 6);
    if (type == 5) gw_array_i32(&w, "octavius.tokenizer.tags", tags, n);
    else gw_u32(&w, "octavius.tokenizer.tags", 5);
    unsigned char *bytes = gw_finish(&w, &len);
    const oct_result r = oct_model_open_memory(&m, bytes, len, &d, err);
    oct_model_close(m);
    free(bytes);
    return r;
}
TEST(octavius, tags_that_are_none_are_refused) {
    static const int32_t good[] = { 5, 1 }, past[] = { 6 }, below[] = { -1 }, plain[] = { 5, 4 };
    static int32_t many[300];
    oct_error err;
    CHECK_INT(octa_tags(5, good, 2, &err), OCT_OK);
    CHECK_INT(octa_tags(5, good, 0, &err), OCT_OK);
    CHECK_INT(octa_tags(5, past, 1, &err), OCT_E_FORMAT);
    CHECK_INT(octa_tags(5, below, 1, &err), OCT_E_FORMAT);
    CHECK_INT(octa_tags(5, plain, 2, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "metadata 'octavius.tokenizer.tags': token 4 'a' is no control token");
    CHECK_INT(octa_tags(5, many, 300, &err), OCT_E_FORMAT);
    CHECK_INT(octa_tags(4, good, 1, &err), OCT_E_FORMAT);
}

/* --- prompts ---------------------------------------------------------------------------------------------- */

TEST(octavius, dialogues_are_rendered_as_officially) {
    char *at = NULL, *f[16];
    octa o;
    int cases = 0;
    if (!octa_open(&o, OCT_LOAD_VOCAB)) return;
    for (int n; (n = octa_line(&o, 'C', &at, f, 16)) > 4; cases++) {
        const oct_string system = oct__str(f[2]);
        oct__part parts[16];
        oct__buf ids;
        int n_parts = 0;
        size_t suffix = 0;
        memset(&ids, 0, sizeof ids);
        ids.allocator = &o.m->desc.allocator;
        for (int i = 3; strcmp(f[i], "=") != 0; i++)
            parts[n_parts++] = dlg_part(i % 2 ? OCT__PART_TEXT : OCT__PART_ANSWER, f[i], strlen(f[i]));
        parts[n_parts++] = dlg_part(OCT__PART_IMAGE, NULL, 1);                /* wherever it is fed */
        CHECK_INT(oct__style_render_for(oct__style_find(f[1]), NULL, &o.m->vocab, strcmp(f[2], "-") == 0 ? NULL : &system, parts, n_parts,
                                        true, OCT__ANSWER_NONE, &ids, &suffix, NULL), OCT_OK);
        CHECK(octa_same(oct__ids(&ids), oct__ids_count(&ids), f[n - 1], f[1]));
        CHECK_INT(suffix, 6);                                                 /* </Img> */
        /* without the picture: the same, but for it and its tags */
        oct__buf bare = ids;
        memset(&ids, 0, sizeof ids);
        ids.allocator = &o.m->desc.allocator;
        suffix = 0;
        CHECK_INT(oct__style_render_for(oct__style_find(f[1]), NULL, &o.m->vocab, strcmp(f[2], "-") == 0 ? NULL : &system, parts, n_parts - 1,
                                        true, OCT__ANSWER_NONE, &ids, &suffix, NULL), OCT_OK);
        CHECK_INT(suffix, 4);
        if (CHECK_INT(oct__ids_count(&ids) + 3, oct__ids_count(&bare)))
            CHECK(memcmp(oct__ids(&ids) + 4, oct__ids(&bare) + 7, (oct__ids_count(&ids) - 4) * sizeof(int32_t)) == 0);
        oct__buf_free(&bare);
        oct__buf_free(&ids);
    }
    CHECK_INT(cases, 36);
    octa_close(&o);
}

/* The official code resizes a picture in its own colour mode and makes RGB of it afterwards. */
TEST(octavius, pictures_of_other_modes) {
    static const char *const modes[] = { "L", "P", "RGBA", "1", "LA" };
    enum { SIDE = 70, N = 3 * SIDE * SIDE };
    oct__image_prep p = vision_prep(OCT__RESIZE_SQUASH, 1, SIDE, 0);
    oct_allocator a;
    memset(&a, 0, sizeof a);
    for (int i = 0; i < 3; i++) {
        p.mean[i] = vision_clip_mean[i];
        p.std[i] = vision_clip_std[i];
    }
    for (int i = 0; i < 5; i++) {
        char name[100];
        size_t len = 0;
        oct_picture picture;
        oct_error err;
        snprintf(name, sizeof name, "golden/octavius-2d/out/modes/v.pixels.%s.npy", modes[i]);
        const char *npy = test_data(name);
        snprintf(name, sizeof name, "golden/octavius-2d/in/mode_%s.png", modes[i]);
        const char *png = test_data(name);
        if (!npy || !png) return;
        char *want = test_read_file(npy, &len);
        float *got = (float *)malloc(N * sizeof *got);
        double worst = 0;
        if (CHECK(want && got && len >= N * sizeof *got) && CHECK_INT(oct_picture_open(&picture, png, NULL, &err), OCT_OK)) {
            CHECK_INT(oct__image_prepare(&a, &picture.image, &p, got, &err), OCT_OK);
            for (int j = 0; j < N; j++) {
                float x;
                memcpy(&x, want + len - N * sizeof x + (size_t)j * sizeof x, sizeof x);
                const double off = fabs((double)x - (double)got[j]);
                if (!(off <= worst)) worst = off;
            }
            if (!CHECK(worst < 1e-5)) printf("     mode %s: %g\n", modes[i], worst);
            oct_picture_close(&picture);
        }
        free(want);
        free(got);
    }
}

/* --- runs of the official model ---------------------------------------------------------------------------- */

enum { OCTA_VOCAB = 483, OCTA_EXPERTS = 4 };

/* The rows of the golden picture; free e->data. */
static int octa_picture(const octa *o, oct_embeds *e) {
    size_t bytes = 0;
    memset(e, 0, sizeof *e);
    e->model = o->m;
    e->data = (float *)(void *)golden_file("octavius", ".bin", &bytes);
    e->n_embd = o->m->net.n_embd;
    e->n_tokens = (int)(bytes / sizeof(float) / (size_t)e->n_embd);
    return CHECK(e->data != NULL) && CHECK_INT(e->n_tokens, 25);
}
/* Greedy, F32 everywhere. */
static void octa_desc(oct_session_desc *d, const char *style) {
    const model_way way = { 0, 1, 0, 1, OCT_KV_F32 };
    model_desc(d, &way, 512);
    d->raw = style == NULL;
    d->prompt_style = style;
    d->sampling.temperature = -1;
}
static oct_session *octa_session(const octa *o, const oct_session_desc *d) {
    oct_session *s = NULL;
    oct_error err;
    err.message[0] = 0;
    if (oct_session_open(&s, o->m, d, &err)) CHECK_STR(err.message, "");
    return s;
}
/* Takes an answer: its ids into ids [*n], its text into text, which may hold NULs; how it ended. */
static size_t octa_len;                  /* of the last answer's text */
static oct_end octa_answer(oct_session *s, int most, int32_t *ids, int *n, char *text, size_t cap) {
    oct_token t;
    oct_error err;
    size_t len = 0;
    *n = 0;
    memset(&t, 0, sizeof t);
    text[0] = 0;
    err.message[0] = 0;
    while (*n < most && !t.is_end) {
        if (!CHECK_INT(oct_next(s, &t, &err), OCT_OK)) {
            CHECK_STR(err.message, "");
            return OCT_END_NONE;
        }
        if (t.id >= 0) ids[(*n)++] = t.id;
        if (CHECK(len + t.len < cap)) memcpy(text + len, t.text, t.len);
        text[len += t.len] = 0;
    }
    octa_len = len;
    return t.end;
}
static double octa_gate_off(const oct_session *s, const char *want) {
    int n = 0;
    const float *gate = oct_session_gate(s, &n);
    double worst = 0;
    char *end;
    if (!CHECK(gate != NULL) || !CHECK_INT(n, OCTA_EXPERTS)) return 1;
    for (int e = 0; e < n; e++, want = end) worst = fmax(worst, fabs(strtod(want, &end) - (double)gate[e]));
    return worst;
}

TEST(octavius, runs_of_the_official_model) {
    char *at = NULL, *f[8], text[500];
    int32_t ids[64];
    oct_embeds picture;
    octa o;
    int cases = 0, n = 0;
    if (!octa_open(&o, OCT_LOAD_ALL) || !octa_picture(&o, &picture)) return;
    CHECK_STR(o.m->style->name, "bare");
    for (; octa_line(&o, 'R', &at, f, 7) == 7; cases++) {
        oct_session_desc d;
        octa_desc(&d, f[1]);
        d.system = strcmp(f[2], "-") == 0 ? NULL : f[2];
        for (int text_first = 0; text_first < 2; text_first++) {
            oct_session *s = octa_session(&o, &d);
            if (!s) break;
            CHECK(oct_session_gate(s, &n) == NULL && n == 0);
            if (text_first) CHECK_INT(oct_feed_text(s, f[3], NULL), OCT_OK);
            CHECK_INT(oct_feed_embeds(s, &picture, NULL), OCT_OK);
            if (!text_first) CHECK_INT(oct_feed_text(s, f[3], NULL), OCT_OK);
            CHECK_INT(oct_prefill(s, NULL), OCT_OK);
            const int32_t *rendered = oct_session_tokens(s, &n);
            CHECK(octa_same(rendered, (size_t)n, f[4], f[1]));
            CHECK(octa_gate_off(s, f[5]) < 1e-6);
            octa_answer(s, 16, ids, &n, text, sizeof text);
            CHECK(octa_same(ids, (size_t)n, f[6], f[1]));
            oct_session_close(s);
        }
    }
    CHECK_INT(cases, 2);
    free(picture.data);
    octa_close(&o);
}

TEST(octavius, an_answer_that_a_stop_suffix_ends) {
    char *at = NULL, *f[8], text[500];
    int32_t ids[64];
    oct_session_desc d;
    oct_embeds picture;
    octa o;
    int n = 0, n_past = 0;
    if (!octa_open(&o, OCT_LOAD_ALL) || !octa_picture(&o, &picture) || !CHECK_INT(octa_line(&o, 'E', &at, f, 5), 5)) return;
    CHECK_INT(o.m->n_stops, 3);
    CHECK_INT(o.m->max_tokens, 400);
    CHECK_INT(o.m->sampling.top_k, 50);                               /* the official ones, which a draw takes */
    CHECK_NEAR(o.m->sampling.temperature, 1, 0);
    CHECK_NEAR(o.m->sampling.top_p, 0.9, 1e-6);
    octa_desc(&d, "bare");
    oct_session *s = octa_session(&o, &d);
    if (s) {
        CHECK_INT(oct_feed_embeds(s, &picture, NULL), OCT_OK);
        CHECK_INT(oct_feed_text(s, f[1], NULL), OCT_OK);
        CHECK_INT(oct_prefill(s, NULL), OCT_OK);
        const int32_t *rendered = oct_session_tokens(s, &n);
        CHECK(octa_same(rendered, (size_t)n, f[2], f[1]));
        CHECK_INT(octa_answer(s, 64, ids, &n, text, sizeof text), OCT_END_STOP);
        CHECK(octa_same(ids, (size_t)n, f[3], f[1]));
        CHECK_STR(text, f[4]);                                        /* its last space stays */
        CHECK_INT(oct_session_position(s), 45 + n - 1);               /* the stop's id comes with the next turn */
        /* appended to what the cache holds, the ### that the model wrote is the end of its turn */
        s->desc.keep_gate = 1;
        CHECK_INT(oct_feed_text(s, "What is it?", NULL), OCT_OK);
        CHECK_INT(oct_prefill(s, NULL), OCT_OK);
        rendered = oct_session_tokens(s, &n_past);
        CHECK(octa_same(rendered + 45 + n - 1, (size_t)(n_past - 45 - n + 1), "272 310 450 377 267 337 461 13 262 436 311 450", "later turn"));
    }
    oct_session_close(s);
    free(picture.data);
    octa_close(&o);
}

TEST(octavius, stop_suffixes_of_files) {
    static const struct { const char *text; oct_result r; int n; } cases[] = {
        { "1 2", OCT_OK, 2 }, { " 7  9 ", OCT_OK, 2 }, { "0", OCT_OK, 1 }, { "1 2 3 4 5 6 7 8", OCT_OK, 8 },
        { "1 2 3 4 5 6 7 8 9", OCT_E_FORMAT, 0 }, { "10", OCT_E_FORMAT, 0 }, { "99999999999999999999999999", OCT_E_FORMAT, 0 },
        { "-1", OCT_E_FORMAT, 0 }, { "1,2", OCT_E_FORMAT, 0 }, { "", OCT_E_FORMAT, 0 }, { "  ", OCT_E_FORMAT, 0 },
    };
    oct__suffix s;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (!CHECK_INT(oct__suffix_read(oct__str(cases[i].text), 10, &s, NULL), cases[i].r)) printf("     '%s'\n", cases[i].text);
        if (!cases[i].r) CHECK_INT(s.n, cases[i].n);
    }
    const int32_t ids[] = { 2, 5, 7 };
    CHECK_INT(oct__suffix_read(oct__str("5 7"), 10, &s, NULL), OCT_OK);
    CHECK(oct__suffix_ends(&s, 1, ids, 3) && !oct__suffix_ends(&s, 1, ids, 2));
    CHECK_INT(oct__suffix_read(oct__str("1 2"), 10, &s, NULL), OCT_OK);
    CHECK(oct__suffix_ends(&s, 1, ids, 1) && !oct__suffix_ends(&s, 3, ids, 1) && !oct__suffix_ends(&s, 1, ids, 2));
    CHECK_INT(oct__suffix_read(oct__str("1 2 5 7"), 10, &s, NULL), OCT_OK);
    CHECK(oct__suffix_ends(&s, 1, ids, 3) && !oct__suffix_ends(&s, 1, ids, 1));
}

/* --- the gate ---------------------------------------------------------------------------------------------- */

TEST(octavius, gates_of_the_official_module) {
    char *at = NULL, *f[3];
    int32_t ids[128];
    oct_session_desc d;
    octa o;
    int cases = 0;
    if (!octa_open(&o, OCT_LOAD_ALL)) return;
    octa_desc(&d, NULL);
    oct_session *s = octa_session(&o, &d);
    for (; s && octa_line(&o, 'G', &at, f, 3) == 3; cases++) {
        oct_session_reset(s);
        CHECK_INT(oct_feed_tokens(s, ids, (size_t)octa_ids(f[1], ids, 128), NULL), OCT_OK);
        CHECK_INT(oct_prefill(s, NULL), OCT_OK);
        CHECK(octa_gate_off(s, f[2]) < 1e-6);
    }
    CHECK_INT(cases, 20);
    oct_session_close(s);
    octa_close(&o);
}

/* --- dialogues --------------------------------------------------------------------------------------------- */

static const char *const octa_questions[] = { "What colour is the small boat on the left?", "Where is the bed?", "  Why ### so?\n" };

/* One turn: a picture or none, the question, an answer of at most 12 ids; its text is added to said. */
static void octa_turn(oct_session *s, const oct_embeds *picture, const char *question, char *said /* [500] */) {
    int32_t ids[64];
    int n;
    said[0] = 0;
    if (picture) CHECK_INT(oct_feed_embeds(s, picture, NULL), OCT_OK);
    CHECK_INT(oct_feed_text(s, question, NULL), OCT_OK);
    oct_session_set_max_tokens(s, 12);
    octa_answer(s, 64, ids, &n, said, 500);
}
/* Whether two sessions stand alike, to the bit. */
static int octa_alike(const oct_session *a, const oct_session *b) {
    int n = 0, m = 0, ok;
    const int32_t *x = oct_session_tokens(a, &n), *y = oct_session_tokens(b, &m);
    ok = CHECK_INT(n, m) && CHECK(memcmp(x, y, (size_t)n * sizeof *x) == 0);
    const float *g = oct_session_gate(a, &n), *h = oct_session_gate(b, &m);
    ok = ok && CHECK_INT(n, m) && CHECK(g && h && memcmp(g, h, (size_t)n * sizeof *g) == 0);
    g = oct_session_logits(a, &n);
    h = oct_session_logits(b, &m);
    return ok && CHECK(g && h && memcmp(g, h, (size_t)n * sizeof *g) == 0);
}

/* Three turns, the third with another picture; after each, fresh sessions that are fed the same, computed in other ways.  nth: in
 * a slow build, the one way of the first turn, so that three dialogues try all ways on all turns. */
static void octa_dialogue(int nth, const char *style, oct_kv_type kv) {
    static const model_way ways[3] = { { 0, 1, 0, 1, OCT_KV_F32 }, { 7, 2, 0, 1, OCT_KV_F32 }, { 1, 3, 1, 1, OCT_KV_F32 } };
    char said[3][500], again[500];
    size_t len[3];
    float gate[OCTA_EXPERTS];
    oct_session_desc d;
    oct_embeds picture, other;
    octa o;
    if (!octa_open(&o, OCT_LOAD_ALL) || !octa_picture(&o, &picture) || !octa_picture(&o, &other)) return;
    other.n_tokens = 9;
    for (int i = 0; i < 9 * other.n_embd; i++) other.data[i] *= -0.5f;
    octa_desc(&d, style);
    d.kv_type = kv;
    oct_session *s = octa_session(&o, &d);
    for (int t = 0; s && t < 3; t++) {
        octa_turn(s, t == 0 ? &picture : t == 2 ? &other : NULL, octa_questions[t], said[t]);
        len[t] = octa_len;
        CHECK(len[t] > 0);
        const float *now = oct_session_gate(s, NULL);
        CHECK(t == 0 || memcmp(gate, now, sizeof gate) != 0);                 /* a question has a gate of its own */
        memcpy(gate, now, sizeof gate);
        for (int w = 0; w < 3; w++) {
            if (test_quick() && w != (nth + t) % 3) continue;
            oct_session_desc e = d;
            e.n_batch = ways[w].n_batch;
            e.n_threads = ways[w].n_threads;
            if (ways[w].own_pool) e.parallel_for = model_parallel;
            oct_session *fresh = octa_session(&o, &e);
            for (int i = 0; fresh && i < t; i++) {
                if (i == 0) CHECK_INT(oct_feed_embeds(fresh, &picture, NULL), OCT_OK);
                CHECK_INT(oct_feed_text(fresh, octa_questions[i], NULL), OCT_OK);
                CHECK_INT(oct_feed_answer(fresh, said[i], len[i], NULL), OCT_OK);
            }
            octa_turn(fresh, t == 0 ? &picture : t == 2 ? &other : NULL, octa_questions[t], again);
            CHECK(octa_len == len[t] && memcmp(again, said[t], len[t]) == 0);
            CHECK(octa_alike(s, fresh));
            oct_session_close(fresh);
        }
    }
    oct_session_close(s);
    free(picture.data);
    free(other.data);
    octa_close(&o);
}
TEST(octavius, a_turn_equals_a_fresh_session_bare)   { octa_dialogue(0, "bare", OCT_KV_F32); }
TEST(octavius, a_turn_equals_a_fresh_session_chef)   { octa_dialogue(1, "chef", OCT_KV_F16); }
TEST(octavius, a_turn_equals_a_fresh_session_legacy) { octa_dialogue(2, "legacy", OCT_KV_Q8_0); }
TEST(octavius, a_turn_equals_a_fresh_session_other)  { octa_dialogue(3, "vicuna_v1", OCT_KV_F32); }

/* Two sessions after one turn, the same in everything; said: what was answered. */
typedef struct octa_pair { octa o; oct_embeds picture; oct_session_desc d; oct_session *a, *b; char said[500]; } octa_pair;
static int octa_stop;
static int octa_progress(void *user, float done) {
    OCT__UNUSED(user);
    return octa_stop && done > 0.4f;
}
static int octa_pair_open(octa_pair *p, int keep_gate, int n_ctx) {
    char text[500];
    if (!octa_open(&p->o, OCT_LOAD_ALL) || !octa_picture(&p->o, &p->picture)) return 0;
    octa_desc(&p->d, "bare");
    p->d.keep_gate = keep_gate;
    p->d.n_batch = 16;
    p->d.progress = octa_progress;
    p->d.n_ctx = n_ctx;
    octa_stop = 0;
    p->a = octa_session(&p->o, &p->d);
    p->b = octa_session(&p->o, &p->d);
    if (!p->a || !p->b) return 0;
    octa_turn(p->a, &p->picture, octa_questions[0], p->said);
    octa_turn(p->b, &p->picture, octa_questions[0], text);
    return CHECK_STR(text, p->said);
}
static void octa_pair_close(octa_pair *p) {
    oct_session_close(p->a);
    oct_session_close(p->b);
    free(p->picture.data);
    octa_close(&p->o);
}

TEST(octavius, a_turn_that_fails_stays_pending) {
    char said[500], want[500];
    int32_t ids[64];
    oct_error err;
    octa_pair p;
    int n = 0;
    if (!octa_pair_open(&p, 0, 512)) return;
    const int position = oct_session_position(p.a);
    CHECK_INT(oct_feed_text(p.a, octa_questions[1], NULL), OCT_OK);
    octa_stop = 1;
    for (int i = 0; i < 2; i++) {
        CHECK_INT(oct_prefill(p.a, &err), OCT_E_ABORTED);
        CHECK_INT(oct_session_position(p.a), position);
        CHECK(oct_session_logits(p.a, NULL) == NULL);
        int m = 0;
        const int32_t *x = oct_session_tokens(p.a, &n), *y = oct_session_tokens(p.b, &m);
        CHECK(n == m && memcmp(x, y, (size_t)n * sizeof *x) == 0);
        CHECK(memcmp(oct_session_gate(p.a, NULL), oct_session_gate(p.b, NULL), OCTA_EXPERTS * sizeof(float)) == 0);
    }
    octa_stop = 0;
    CHECK_INT(oct_prefill(p.a, &err), OCT_OK);                        /* pending still */
    octa_answer(p.a, 64, ids, &n, said, sizeof said);
    octa_turn(p.b, NULL, octa_questions[1], want);
    CHECK_STR(said, want);
    CHECK(octa_alike(p.a, p.b));
    /* given up, the session goes on where it stood */
    octa_stop = 1;
    CHECK_INT(oct_feed_text(p.a, octa_questions[2], NULL), OCT_OK);
    CHECK_INT(oct_prefill(p.a, &err), OCT_E_ABORTED);
    octa_stop = 0;
    oct_feed_clear(p.a);
    const size_t bytes = oct_session_snapshot_bytes(p.a);
    void *shot = malloc(bytes);
    CHECK_INT(oct_session_snapshot(p.a, shot, bytes, &err), OCT_OK);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(oct_session_rewind(i ? p.a : p.b, oct_session_position(p.b), &err), OCT_OK);
        if (i == 0) continue;
        octa_answer(p.a, 5, ids, &n, said, sizeof said);
        octa_answer(p.b, 5, ids, &n, want, sizeof want);
        CHECK_STR(said, want);
        CHECK(octa_alike(p.a, p.b));
    }
    oct_session_reset(p.a);
    CHECK_INT(oct_session_restore(p.a, shot, bytes, &err), OCT_OK);   /* a snapshot of it knows as much */
    CHECK_INT(oct_session_rewind(p.a, oct_session_position(p.a), &err), OCT_OK);
    octa_answer(p.a, 5, ids, &n, said, sizeof said);
    CHECK_STR(said, want);
    CHECK(octa_alike(p.a, p.b));
    free(shot);
    octa_pair_close(&p);
}

TEST(octavius, a_full_context_stays_as_it_is) {
    char said[500], want[500];
    oct_error err;
    octa_pair p;
    if (!octa_pair_open(&p, 0, 100)) return;
    CHECK_INT(oct_feed_text(p.a, "a question that is much too long for so few positions, as everybody can see who counts them", NULL), OCT_OK);
    CHECK_INT(oct_prefill(p.a, &err), OCT_E_CONTEXT);
    CHECK(strstr(err.message, "context full") != NULL);
    oct_feed_clear(p.a);
    CHECK(octa_alike(p.a, p.b));
    octa_turn(p.a, NULL, "Why?", said);
    octa_turn(p.b, NULL, "Why?", want);
    CHECK_STR(said, want);
    CHECK(octa_alike(p.a, p.b));
    octa_pair_close(&p);
}

/* The session equals a raw one that is fed its ids, the picture among them, under its gate. */
static void octa_raw_alike(octa_pair *p, const oct_session *s) {
    oct_session_desc d = p->d;
    oct_gate g;
    int n = 0;
    const int32_t *ids = oct_session_tokens(s, &n);
    d.raw = 1;
    d.prompt_style = NULL;
    memset(&g, 0, sizeof g);
    g.weights = oct_session_gate(s, &g.n_weights);
    oct_session *raw = octa_session(&p->o, &d);
    CHECK_INT(oct_session_set_gate(raw, &g, NULL), OCT_OK);
    CHECK_INT(oct_feed_tokens(raw, ids, 5, NULL), OCT_OK);
    CHECK_INT(oct_feed_embeds(raw, &p->picture, NULL), OCT_OK);
    CHECK_INT(oct_feed_tokens(raw, ids + 30, (size_t)(n - 30), NULL), OCT_OK);
    CHECK_INT(oct_prefill(raw, NULL), OCT_OK);
    CHECK(octa_alike(s, raw));
    oct_session_close(raw);
}

/* The first gate and the cache stay; then an order for another gate makes everything anew. */
TEST(octavius, keep_gate_appends) {
    static const int mute[] = { 0 };
    float gate[OCTA_EXPERTS];
    oct_gate g;
    octa_pair p;
    int n = 0;
    if (!octa_pair_open(&p, 1, 512)) return;
    memcpy(gate, oct_session_gate(p.a, NULL), sizeof gate);
    const int before = oct_session_position(p.a);
    CHECK_INT(oct_feed_text(p.a, octa_questions[1], NULL), OCT_OK);
    CHECK_INT(oct_prefill(p.a, NULL), OCT_OK);
    CHECK(memcmp(gate, oct_session_gate(p.a, NULL), sizeof gate) == 0);
    const int32_t *x = oct_session_tokens(p.a, &n), *y = oct_session_tokens(p.b, NULL);
    CHECK(n > before && memcmp(x, y, (size_t)before * sizeof *x) == 0);
    octa_raw_alike(&p, p.a);
    /* muted: the dialogue is rendered anew, as without keep_gate */
    memset(&g, 0, sizeof g);
    g.mute = mute;
    g.n_mute = 1;
    CHECK_INT(oct_feed_text(p.b, octa_questions[1], NULL), OCT_OK);          /* pending: rendered once more by what comes next */
    CHECK_INT(oct_session_set_gate(p.b, &g, NULL), OCT_OK);
    CHECK_INT(oct_prefill(p.b, NULL), OCT_OK);
    oct_session_desc d = p.d;
    d.keep_gate = 0;
    oct_session *fresh = octa_session(&p.o, &d);
    CHECK_INT(oct_session_set_gate(fresh, &g, NULL), OCT_OK);
    CHECK_INT(oct_feed_embeds(fresh, &p.picture, NULL), OCT_OK);
    CHECK_INT(oct_feed_text(fresh, octa_questions[0], NULL), OCT_OK);
    CHECK_INT(oct_feed_answer(fresh, p.said, strlen(p.said), NULL), OCT_OK);
    CHECK_INT(oct_feed_text(fresh, octa_questions[1], NULL), OCT_OK);
    CHECK_INT(oct_prefill(fresh, NULL), OCT_OK);
    CHECK(octa_alike(p.b, fresh));
    CHECK(oct_session_gate(p.b, NULL)[0] == 0);
    CHECK(memcmp(oct_session_gate(p.b, NULL), oct_session_gate(fresh, NULL), sizeof gate) == 0);
    oct_session_close(fresh);
    octa_pair_close(&p);
}

TEST(octavius, snapshots_and_rewinds_know_the_dialogue) {
    char said[500], want[500];
    oct_error err;
    const int32_t *ids;
    octa_pair p;
    int n = 0;
    if (!octa_pair_open(&p, 0, 512)) return;
    const size_t bytes = oct_session_snapshot_bytes(p.a);
    const int end = oct_session_position(p.a);
    void *shot = malloc(bytes);
    CHECK_INT(oct_session_snapshot(p.a, shot, bytes, &err), OCT_OK);
    octa_turn(p.b, NULL, octa_questions[1], want);
    for (int i = 0; i < 2; i++) {                                     /* into another session, and back into its own */
        oct_session *c = i ? p.a : octa_session(&p.o, &p.d);
        if (i) octa_turn(c, NULL, octa_questions[2], said);
        CHECK_INT(oct_session_restore(c, shot, bytes, &err), OCT_OK);
        octa_turn(c, NULL, octa_questions[1], said);
        CHECK(memcmp(said, want, octa_len) == 0);
        CHECK(octa_alike(c, p.b));
        if (!i) oct_session_close(c);
    }
    /* inside the answer: what is left of it is the answer */
    oct_session_reset(p.b);
    CHECK_INT(oct_session_restore(p.b, shot, bytes, &err), OCT_OK);
    CHECK_INT(oct_session_rewind(p.b, end - 7, &err), OCT_OK);
    const int left = oct_session_position(p.b) - p.b->answer_from;
    octa_turn(p.b, NULL, octa_questions[1], want);
    oct_session_reset(p.a);
    CHECK_INT(oct_feed_embeds(p.a, &p.picture, NULL), OCT_OK);
    CHECK_INT(oct_feed_text(p.a, octa_questions[0], NULL), OCT_OK);
    oct_session_set_max_tokens(p.a, left);
    int32_t some[64];
    octa_answer(p.a, 64, some, &n, said, sizeof said);
    CHECK_INT(n, left);
    octa_turn(p.a, NULL, octa_questions[1], said);
    CHECK(octa_alike(p.a, p.b));
    /* inside the prompt: those positions stay as they are, and a turn follows them */
    for (int keep = 32; keep < 48; keep += 5) {
        CHECK_INT(oct_session_restore(p.b, shot, bytes, &err), OCT_OK);
        CHECK_INT(oct_session_rewind(p.b, keep, &err), OCT_OK);
        octa_turn(p.b, NULL, octa_questions[1], want);
        octa_turn(p.b, NULL, octa_questions[2], want);
        int32_t before[64];
        memcpy(before, (const unsigned char *)shot + sizeof(oct__snapshot), (size_t)keep * sizeof *before);
        ids = oct_session_tokens(p.b, &n);
        CHECK(n > keep && memcmp(ids, before, (size_t)keep * sizeof *ids) == 0);
        octa_raw_alike(&p, p.b);
    }
    /* a session without a style takes one from a session with it, and goes on with its ids */
    oct_session_desc d = p.d;
    d.raw = 1;
    d.prompt_style = NULL;
    d.keep_gate = 1;
    oct_session *raw = octa_session(&p.o, &d);
    CHECK_INT(oct_session_restore(raw, shot, bytes, &err), OCT_OK);
    CHECK_INT(oct_session_restore(p.a, shot, bytes, &err), OCT_OK);
    CHECK(octa_alike(raw, p.a));
    CHECK_INT(oct_feed_text(raw, "x", NULL), OCT_OK);
    CHECK_INT(oct_prefill(raw, NULL), OCT_OK);
    CHECK_INT(oct_session_position(raw), end + 2 + (p.a->last >= 0) - 1);
    oct_session_close(raw);
    free(shot);
    octa_pair_close(&p);
}

/* Every byte of what a snapshot says about the dialogue turned over, and many more: refused or taken, never worse. */
TEST(octavius, a_snapshot_with_any_byte_changed_does_no_harm) {
    oct_error err;
    oct_token t;
    octa_pair p;
    int taken = 0;
    if (!octa_pair_open(&p, 0, 512)) return;
    const size_t bytes = oct_session_snapshot_bytes(p.a), head = offsetof(oct__snapshot, stream), ids = sizeof(oct__snapshot);
    const size_t dialogue = ids + (size_t)p.a->n_past * 5 + OCTA_EXPERTS * 4 + OCTA_VOCAB * 4 + p.a->past.rows;
    const size_t kv = dialogue + p.a->past.bytes + p.a->past.parts / sizeof(oct__part) * sizeof(oct__snapshot_part);
    unsigned char *shot = (unsigned char *)malloc(bytes);
    CHECK_INT(oct_session_snapshot(p.a, shot, bytes, &err), OCT_OK);
    for (size_t i = 0; i < kv; i++) {
        if (i >= head && i < dialogue && i % 61) continue;
        for (int bit = 0; bit < 3; bit++) {
            const unsigned char flip = (unsigned char)(bit == 0 ? 0xFF : bit == 1 ? 1 : 0x80);
            shot[i] ^= flip;
            if (oct_session_restore(p.b, shot, bytes, NULL) == OCT_OK) {
                taken++;
                CHECK_INT(oct_feed_text(p.b, "x", NULL), OCT_OK);          /* renders all that it holds */
                if (i % 16 == 0) (void)oct_next(p.b, &t, NULL);
            }
            shot[i] ^= flip;
        }
    }
    CHECK(taken > 0);
    CHECK_INT(oct_session_restore(p.b, shot, bytes - 1, &err), OCT_E_FORMAT);
    CHECK_INT(oct_session_restore(p.b, shot, bytes, &err), OCT_OK);
    CHECK(octa_alike(p.a, p.b));
    free(shot);
    octa_pair_close(&p);
}

/* Nothing outside the suffix changes the gate, everything in it does. */
TEST(octavius, the_gate_is_that_of_the_suffix) {
    static const char *const questions[] = { "bed no boat bed?", "bed no boat  bed?" };
    float gate[4][OCTA_EXPERTS];
    oct_session_desc d;
    oct_embeds picture;
    octa o;
    if (!octa_open(&o, OCT_LOAD_ALL) || !octa_picture(&o, &picture)) return;
    for (int i = 0; i < 4; i++) {                            /* as it is, another picture, other words, a system text */
        octa_desc(&d, "bare");
        d.system = i == 3 ? "Be brief." : NULL;
        if (i == 1) {
            picture.n_tokens = 7;
            picture.data[3] += 1.0f;
        }
        oct_session *s = octa_session(&o, &d);
        CHECK_INT(oct_feed_embeds(s, &picture, NULL), OCT_OK);
        CHECK_INT(oct_feed_text(s, questions[i == 2], NULL), OCT_OK);
        CHECK_INT(oct_prefill(s, NULL), OCT_OK);
        memcpy(gate[i], oct_session_gate(s, NULL), sizeof gate[i]);
        CHECK(memcmp(gate[0], gate[i], sizeof gate[i]) == 0 ? i < 2 : i >= 2);
        oct_session_close(s);
    }
    free(picture.data);
    octa_close(&o);
}

static int octa_route(oct_session *s, const float *weights, int n_weights, int pin, int mute) {
    int pins[4], mutes[4];                                   /* bits as lists */
    oct_gate g;
    oct_error err;
    memset(&g, 0, sizeof g);
    for (int e = 0; e < 4; e++) {
        if (pin >> e & 1) pins[g.n_pin++] = e;
        if (mute >> e & 1) mutes[g.n_mute++] = e;
    }
    g.pin = pins;
    g.mute = mutes;
    g.weights = weights;
    g.n_weights = n_weights;
    const oct_result r = oct_session_set_gate(s, &g, &err);
    CHECK(r == OCT_OK || (err.code == r && err.message[0]));
    return (int)r;
}
TEST(octavius, experts_pinned_muted_and_given) {
    const float given[4] = { 0.25f, 0.0f, -1.0f, 2.0f }, bad[4] = { 0.0f, NAN, 0.0f, 0.0f };
    const int past[] = { 4 };
    oct_gate g;
    oct_error err;
    octa_pair p;
    model_kit k;
    if (!octa_pair_open(&p, 0, 512)) return;
    const float *now = oct_session_gate(p.a, NULL);
    float was[4];
    memcpy(was, now, sizeof was);
    CHECK_INT(octa_route(p.a, given, 4, 1, 0), OCT_E_ARG);
    CHECK_INT(octa_route(p.a, given, 3, 0, 0), OCT_E_ARG);
    CHECK_INT(octa_route(p.a, bad, 4, 0, 0), OCT_E_ARG);
    CHECK_INT(octa_route(p.a, NULL, 4, 0, 0), OCT_E_ARG);
    CHECK_INT(octa_route(p.a, NULL, 0, 0, 15), OCT_E_ARG);
    CHECK_INT(octa_route(p.a, NULL, 0, 6, 7), OCT_E_ARG);
    memset(&g, 0, sizeof g);
    g.pin = past;
    g.n_pin = 1;
    CHECK_INT(oct_session_set_gate(p.a, &g, &err), OCT_E_ARG);
    CHECK_STR(err.message, "pin: expert 4, expected 0 to 3");
    CHECK(octa_alike(p.a, p.b));                             /* none of that did anything */
    /* pinned: only they compete; the prompt is computed anew at the next prefill, and not before */
    CHECK_INT(octa_route(p.a, NULL, 0, 6, 0), OCT_OK);
    CHECK(octa_alike(p.a, p.b));
    CHECK_INT(oct_prefill(p.a, &err), OCT_OK);
    CHECK(now[0] == 0 && now[3] == 0 && now[1] > 0 && now[2] > 0);
    CHECK_NEAR(now[1] + now[2], 1, 1e-6);
    CHECK(memcmp(oct_session_logits(p.a, NULL), oct_session_logits(p.b, NULL), OCTA_VOCAB * sizeof(float)) != 0);
    /* muted: the next best takes the place */
    CHECK_INT(octa_route(p.a, NULL, 0, 0, was[0] > was[3] ? 1 : 8), OCT_OK);
    CHECK_INT(oct_prefill(p.a, &err), OCT_OK);
    CHECK((was[0] > was[3] ? now[0] == 0 && now[3] > 0 : now[3] == 0 && now[0] > 0));
    CHECK_INT(octa_route(p.a, given, 4, 0, 0), OCT_OK);
    CHECK_INT(oct_prefill(p.a, &err), OCT_OK);
    CHECK(memcmp(now, given, sizeof given) == 0);
    /* as the text says again: to the bit */
    CHECK_INT(oct_session_set_gate(p.a, NULL, &err), OCT_OK);
    CHECK_INT(oct_prefill(p.a, &err), OCT_OK);
    CHECK(octa_alike(p.a, p.b));
    CHECK_INT(oct_session_set_gate(NULL, NULL, &err), OCT_E_ARG);
    octa_pair_close(&p);
    if (!model_open(&k, synth_find("tiny-llama"), SYNTH_F32)) return;
    const model_way way = { 0, 1, 0, 0, OCT_KV_F16 };
    oct_session *s = model_session(&k, &way, 64);
    CHECK_INT(oct_session_set_gate(s, NULL, &err), OCT_E_UNSUPPORTED);
    CHECK_STR(err.message, "the model has no LoRA experts, so no gate of theirs");
    int n = 7;
    CHECK(oct_session_gate(s, &n) == NULL && n == 0);
    oct_session_close(s);
    model_close(&k);
}

/* oct_next allocates nothing, whatever it computes anew; every allocation that fails leaves a session that goes on. */
typedef struct octa_heap { int n, left; } octa_heap;         /* left: so many more succeed; below 0: all */
static void *octa_alloc(void *user, size_t bytes) {
    octa_heap *h = (octa_heap *)user;
    h->n++;
    if (h->left == 0) return NULL;
    if (h->left > 0) h->left--;
    return malloc(bytes);
}
static void octa_give(void *user, void *p) {
    OCT__UNUSED(user);
    free(p);
}
TEST(octavius, next_allocates_nothing) {
    octa_heap heap = { 0, -1 };
    oct_model_desc md;
    oct_session_desc d;
    oct_embeds picture;
    oct_error err;
    octa o;
    char said[500];
    if (!octa_open(&o, OCT_LOAD_ALL)) return;
    oct_model_close(o.m);
    o.m = NULL;
    memset(&md, 0, sizeof md);
    md.allocator.alloc = octa_alloc;
    md.allocator.free = octa_give;
    md.allocator.user = &heap;
    if (!CHECK_INT(oct_model_open_memory(&o.m, o.file, o.bytes, &md, &err), OCT_OK) || !octa_picture(&o, &picture)) return;
    octa_desc(&d, "bare");
    oct_session *s = octa_session(&o, &d);
    for (int t = 0; s && t < 3; t++) {
        int32_t ids[64];
        int n = 0;
        if (t == 0) CHECK_INT(oct_feed_embeds(s, &picture, &err), OCT_OK);
        oct_session_set_max_tokens(s, 5);
        for (int fail = 0, done = 0; !done; fail++) {        /* fail the 1st, 2nd, ... allocation of feeding */
            heap.left = t ? fail : -1;
            const oct_result r = oct_feed_text(s, octa_questions[t], &err);
            heap.left = -1;
            done = r == OCT_OK;
            if (!done && !CHECK_INT(r, OCT_E_MEMORY)) break;
            if (!done) CHECK(s->parts.len == s->past.parts && s->turn.len == 0);
            if (!done) CHECK_INT(oct_session_position(s) > 0, 1);
        }
        const int before = heap.n;
        octa_answer(s, 64, ids, &n, said, sizeof said);
        CHECK_INT(n, 5);
        CHECK_INT(heap.n, before);
    }
    oct_session_close(s);
    free(picture.data);
    octa_close(&o);
}

/* Other adapters between two turns: what the cache holds, pictures too, is computed anew under them, by its ids. */
TEST(octavius, adapters_between_turns) {
    const model_way way = { 7, 2, 0, 1, OCT_KV_F32 };
    model_kit k;
    oct_embeds e;
    oct_lora *lora = NULL;
    oct_error err;
    size_t bytes = 0;
    memset(&k, 0, sizeof k);
    k.file = (unsigned char *)golden_file("llama", ".gguf", &k.bytes);
    char *adapter = golden_file("adapter", ".gguf", &bytes);
    err.message[0] = 0;
    if (!CHECK(k.file && adapter) || !CHECK_INT(oct_model_open_memory(&k.m, k.file, k.bytes, NULL, &err), OCT_OK)) return;
    k.n_vocab = k.m->net.n_vocab;
    for (int i = 0; i < MODEL_IDS; i++) k.ids[i] = 259 + (i * 37) % (k.n_vocab - 260);
    feed_embeds(&e, &k, k.ids + FEED_FROM, FEED_ROWS);
    if (oct_lora_open_memory(&lora, k.m, adapter, bytes, &err)) CHECK_STR(err.message, "");
    for (int first = 0; lora && first < 2; first++) {                 /* none and then one, one and then none */
        const oct_lora *const list[1] = { lora };
        oct_session *s = model_session(&k, &way, 128), *fresh = model_session(&k, &way, 128);
        oct_token t;
        CHECK_INT(oct_session_set_lora(s, list, NULL, first, &err), OCT_OK);
        CHECK(feed_run(s, &k, &e, 0, NULL));
        CHECK_INT(oct_next(s, &t, &err), OCT_OK);
        const int32_t said = t.id;                                    /* shown, not in the cache; below 0: the answer is empty */
        CHECK_INT(oct_session_set_lora(s, list, NULL, 1 - first, &err), OCT_OK);
        CHECK_INT(oct_feed_tokens(s, k.ids, 3, &err), OCT_OK);
        CHECK_INT(oct_prefill(s, &err), OCT_OK);
        CHECK_INT(oct_session_set_lora(fresh, list, NULL, 1 - first, &err), OCT_OK);
        CHECK(feed_run(fresh, &k, &e, 0, NULL));
        if (said >= 0) CHECK_INT(oct_feed_tokens(fresh, &said, 1, &err), OCT_OK);
        CHECK_INT(oct_feed_tokens(fresh, k.ids, 3, &err), OCT_OK);
        CHECK_INT(oct_prefill(fresh, &err), OCT_OK);
        int n = 0, m = 0;
        const int32_t *x = oct_session_tokens(s, &n), *y = oct_session_tokens(fresh, &m);
        CHECK(n == m && n == MODEL_IDS + 3 + (said >= 0) && memcmp(x, y, (size_t)n * sizeof *x) == 0);
        CHECK(memcmp(oct_session_logits(s, NULL), oct_session_logits(fresh, NULL), (size_t)k.n_vocab * sizeof(float)) == 0);
        /* with nothing new to say, too */
        CHECK_INT(oct_session_set_lora(s, NULL, NULL, 0, &err), OCT_OK);
        CHECK_INT(oct_prefill(s, &err), OCT_OK);
        CHECK_INT(oct_session_set_lora(fresh, list, NULL, 1, &err), OCT_OK);
        CHECK_INT(oct_prefill(fresh, &err), OCT_OK);
        CHECK(memcmp(oct_session_logits(s, NULL), oct_session_logits(fresh, NULL), (size_t)k.n_vocab * sizeof(float)) != 0);
        CHECK_INT(oct_session_set_lora(fresh, NULL, NULL, 0, &err), OCT_OK);
        CHECK_INT(oct_prefill(fresh, &err), OCT_OK);
        CHECK(memcmp(oct_session_logits(s, NULL), oct_session_logits(fresh, NULL), (size_t)k.n_vocab * sizeof(float)) == 0);
        oct_session_close(s);
        oct_session_close(fresh);
    }
    oct_lora_close(lora);
    free(e.data);
    free(adapter);
    model_close(&k);
}

/* Whatever is called, in whatever order: no call fails but for the context, and what the session says of itself stays true. */
TEST(octavius, random_walks) {
    static const char *const styles[] = { "bare", "chef", "legacy", "vicuna_v1", NULL };
    static const char *const texts[] = { "bed", "", " What is it?\n", "### <Img> \xE2\x96\x81", "\xF0\x9F\x98\x80 a" };
    unsigned long long seed = 77;
    oct_embeds picture;
    octa o;
    if (!octa_open(&o, OCT_LOAD_ALL) || !octa_picture(&o, &picture)) return;
    for (int walk = 0; walk < (test_quick() ? 5 : 25); walk++) {
        unsigned char *shot = NULL;
        size_t shot_bytes = 0;
        oct_session_desc d;
        octa_desc(&d, styles[walk % 5]);
        d.keep_gate = walk % 3 == 0;
        d.n_ctx = 160;
        d.n_batch = 64;
        d.progress = octa_progress;
        oct_session *s = octa_session(&o, &d);
        for (int step = 0; s && step < 60; step++) {
            const char *text = texts[test_random(&seed) % 5];
            const int32_t ids[2] = { 300, 301 };
            oct_token t;
            oct_result r = OCT_OK;
            octa_stop = 0;
            switch (test_random(&seed) % 12) {
                case 0: case 1: r = oct_feed_text(s, text, NULL); break;
                case 2: r = oct_feed_answer(s, text, strlen(text), NULL); break;
                case 3:
                    picture.n_tokens = 3;
                    r = oct_feed_embeds(s, &picture, NULL);
                    break;
                case 4: r = oct_feed_tokens(s, ids, 2, NULL); break;
                case 5: case 6: case 7:
                    for (int i = 0; i < 5 && (r == OCT_OK); i++) r = oct_next(s, &t, NULL);
                    break;
                case 8: octa_stop = 1; r = oct_prefill(s, NULL); break;
                case 9: r = oct_session_rewind(s, (int)(test_random(&seed) % (unsigned)(oct_session_position(s) + 1)), NULL); break;
                case 10:
                    if (shot) {
                        r = oct_session_restore(s, shot, shot_bytes, NULL);
                        free(shot);
                        shot = NULL;
                    } else {
                        shot_bytes = oct_session_snapshot_bytes(s);
                        shot = (unsigned char *)malloc(shot_bytes);
                        r = oct_session_snapshot(s, shot, shot_bytes, NULL);
                    }
                    break;
                default: octa_route(s, NULL, 0, 0, (int)(test_random(&seed) % 3)); break;
            }
            CHECK(r == OCT_OK || r == OCT_E_CONTEXT || r == OCT_E_ABORTED || r == OCT_E_STATE);
            if (r == OCT_E_CONTEXT) {
                oct_feed_clear(s);
                if (test_random(&seed) % 2) oct_session_reset(s);
            }
            int n = 0;
            const int32_t *x = oct_session_tokens(s, &n);
            CHECK_INT(oct__rows_in(x, n) * 64 * sizeof(float), s->past.rows);
            CHECK(s->n_fixed <= s->answer_from && s->answer_from <= n && s->suffix_to <= n && s->suffix_from <= s->suffix_to);
            CHECK(s->parts.len >= s->past.parts && s->bytes.len >= s->past.bytes && s->rows.len >= s->past.rows);
            CHECK(oct_session_logits(s, NULL) == NULL || model_finite(oct_session_logits(s, NULL), OCTA_VOCAB));
        }
        /* what it knows of itself says the same again */
        if (s && s->n_past > 0 && s->tokens[s->n_past - 1] >= 0) {
            oct_feed_clear(s);
            octa_stop = 0;
            shot_bytes = oct_session_snapshot_bytes(s);
            free(shot);
            shot = (unsigned char *)malloc(shot_bytes);
            oct_session *b = octa_session(&o, &d);
            CHECK_INT(oct_session_snapshot(s, shot, shot_bytes, NULL), OCT_OK);
            CHECK_INT(oct_session_restore(b, shot, shot_bytes, NULL), OCT_OK);
            const oct_result x = oct_feed_text(s, "Why?", NULL), y = oct_feed_text(b, "Why?", NULL);
            CHECK(x == OCT_OK && y == OCT_OK);
            memcpy(&b->gate_rule, &s->gate_rule, sizeof b->gate_rule);
            const oct_result p = oct_prefill(s, NULL), q = oct_prefill(b, NULL);
            CHECK_INT(p, q);
            if (p == OCT_OK) CHECK(octa_alike(s, b));
            oct_session_close(b);
        }
        free(shot);
        oct_session_close(s);
    }
    free(picture.data);
    octa_close(&o);
}
