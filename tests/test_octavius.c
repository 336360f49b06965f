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
                worst = fmax(worst, fabs((double)x - (double)got[j]));
            }
            if (!CHECK(worst < 1e-5)) printf("     mode %s: %g\n", modes[i], worst);
            oct_picture_close(&picture);
        }
        free(want);
        free(got);
    }
}
