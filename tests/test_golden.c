/* The decoder against numbers of the Python reference (tools/reference/make_golden.py): tests/golden/CASE.gguf is a tiny
 * random model, CASE.bin holds every stage of a pass over it.  "Within 1e-4" is max|ours - ref| / max|ref| of a stage.
 * Then the quantised types against the same weights as F32. */
#include "../tools/synth.h"

enum { GOLDEN_MAX = 80 };                                   /* arrays of one dump */
#define GOLDEN_TOLERANCE 1e-4

typedef struct golden_array {
    char           name[32];
    int            is_int, rows, cols;
    const float   *f;                                       /* [rows, cols] */
    const int32_t *i;
} golden_array;

typedef struct golden {
    char        *gguf, *bin;
    size_t       gguf_bytes, bin_bytes;
    golden_array a[GOLDEN_MAX];
    int          n;
} golden;

/* --- reading ----------------------------------------------------------------- */

static char *golden_file(const char *name, const char *end, size_t *bytes) {
    char        path[512];
    const char *here = __FILE__, *slash = strrchr(here, '/');
    snprintf(path, sizeof path, "%.*sgolden/%s%s", slash ? (int)(slash - here + 1) : 0, here, name, end);
    char *data = test_read_file(path, bytes);
    if (data) return data;
    snprintf(path, sizeof path, "tests/golden/%s%s", name, end);
    return test_read_file(path, bytes);
}

static const golden_array *golden_find(const golden *g, const char *name) {
    for (int i = 0; i < g->n; i++)
        if (strcmp(g->a[i].name, name) == 0) return &g->a[i];
    return NULL;
}

/* The next u32 of the dump; past its end 0, and *at stays past the end. */
static uint32_t golden_u32(const golden *g, size_t *at) {
    uint32_t v = 0;
    if (*at + 4 <= g->bin_bytes) memcpy(&v, g->bin + *at, 4);
    *at += 4;
    return v;
}

/* Format: see make_golden.py.  Non-zero: not a dump. */
static int golden_parse(golden *g) {
    size_t at = 4;
    if (g->bin_bytes < 12 || memcmp(g->bin, "OCTG", 4) != 0 || golden_u32(g, &at) != 1) return 1;
    g->n = (int)golden_u32(g, &at);
    if (g->n > GOLDEN_MAX) return 1;
    for (int i = 0; i < g->n; i++) {
        golden_array  *a = &g->a[i];
        const uint32_t len = golden_u32(g, &at);
        if (len >= sizeof a->name || at + len > g->bin_bytes) return 1;
        memcpy(a->name, g->bin + at, len);
        at += (len + 3) / 4 * 4;
        a->is_int = (int)golden_u32(g, &at);
        const uint32_t dims = golden_u32(g, &at);
        a->rows = (int)golden_u32(g, &at);
        a->cols = dims == 2 ? (int)golden_u32(g, &at) : 1;
        if (at + (size_t)a->rows * (size_t)a->cols * 4 > g->bin_bytes) return 1;
        a->f = (const float *)(const void *)(g->bin + at);
        a->i = (const int32_t *)(const void *)(g->bin + at);
        at += (size_t)a->rows * (size_t)a->cols * 4;
    }
    return at != g->bin_bytes;
}

static int golden_open(golden *g, const char *name) {
    memset(g, 0, sizeof *g);
    g->gguf = golden_file(name, ".gguf", &g->gguf_bytes);
    g->bin = golden_file(name, ".bin", &g->bin_bytes);
    return CHECK(g->gguf && g->bin) && CHECK(golden_parse(g) == 0);
}
static void golden_close(golden *g) {
    free(g->gguf);
    free(g->bin);
}

/* --- running ------------------------------------------------------------------ */

/* What the stage callback gathers: all rows of every stage that the dump knows, or of the logits alone. */
typedef struct golden_watch {
    const golden *g;
    int           n_tok, logits_only, n_vocab;
    float        *got[GOLDEN_MAX];                          /* [n_tok, cols], NULL: not watched */
    int           seen[GOLDEN_MAX];                         /* rows */
    float        *logits;                                   /* [n_tok, n_vocab] */
    int           logits_seen;
} golden_watch;

static void golden_stage(void *user, const char *name, const float *data, int rows, int cols, int pos) {
    golden_watch *w = (golden_watch *)user;
    const size_t  n = (size_t)rows * (size_t)cols, at = (size_t)pos * (size_t)cols;
    if (pos < 0 || pos + rows > w->n_tok) return;
    if (strcmp(name, "logits") == 0 && cols == w->n_vocab) {
        memcpy(w->logits + at, data, n * sizeof *data);
        w->logits_seen += rows;
    }
    for (int i = 0; i < w->g->n && !w->logits_only; i++) {
        if (strcmp(w->g->a[i].name, name) != 0 || w->g->a[i].cols != cols) continue;
        memcpy(w->got[i] + at, data, n * sizeof *data);
        w->seen[i] += rows;
    }
}
static void golden_watch_open(golden_watch *w, const golden *g, int n_tok, int n_vocab, int logits_only) {
    memset(w, 0, sizeof *w);
    w->g = g;
    w->n_tok = n_tok;
    w->n_vocab = n_vocab;
    w->logits_only = logits_only;
    w->logits = (float *)calloc((size_t)n_tok * (size_t)n_vocab, sizeof(float));
    for (int i = 0; i < g->n && !logits_only; i++)
        w->got[i] = (float *)calloc((size_t)n_tok * (size_t)g->a[i].cols, sizeof(float));
}
static void golden_watch_close(golden_watch *w) {
    for (int i = 0; i < GOLDEN_MAX; i++) free(w->got[i]);
    free(w->logits);
}

/* How a pass is cut: n_batch tokens at once, and the last n_step one call each. */
typedef struct golden_run { oct_isa isa; oct_kv_type kv; int exact, n_threads, n_batch, n_step; } golden_run;

/* Feeds ids to a fresh session on m, everything into w.  A failure is a failed check. */
static int golden_feed(const oct_model *m, const golden_run *run, const int32_t *ids, int n, golden_watch *w) {
    oct_session_desc d;
    oct_session     *s = NULL;
    oct_error        err;
    memset(&d, 0, sizeof d);
    memset(&err, 0, sizeof err);
    d.n_ctx = n + 8;
    d.n_batch = run->n_batch;
    d.n_threads = run->n_threads;
    d.isa = run->isa;
    d.kv_type = run->kv;
    d.exact = run->exact;
    d.raw = 1;
    d.stage = golden_stage;
    d.stage_user = w;
    d.keep_gate = 1;                                                  /* or every step would compute the whole anew */
    oct_result r = oct_session_open(&s, m, &d, &err);
    const golden_array *gate = golden_find(w->g, "given.gate");       /* LoRA experts: all of them at once */
    if (!r && gate) {
        s->gate_rule.given = true;
        memcpy(s->gate_rule.weights, gate->f, (size_t)gate->cols * sizeof(float));
    }
    for (int at = 0; at < n && !r;) {
        const int count = at < n - run->n_step ? n - run->n_step : 1;
        r = oct_feed_tokens(s, ids + at, (size_t)count, &err);
        if (!r) r = oct_prefill(s, &err);
        at += count;
    }
    if (r) test_check(0, __FILE__, __LINE__, err.message);
    oct_session_close(s);
    return !r;
}

static oct_model *golden_model(const void *data, size_t bytes) {
    oct_model *m = NULL;
    oct_error  err;
    memset(&err, 0, sizeof err);
    if (oct_model_open_memory(&m, data, bytes, NULL, &err)) test_check(0, __FILE__, __LINE__, err.message);
    return m;
}

/* max|a - b| / max|b|; a NaN anywhere gives infinity. */
static double golden_distance(const float *a, const float *b, size_t n) {
    double far = 0, large = 0;
    for (size_t i = 0; i < n; i++) {
        const double diff = fabs((double)a[i] - (double)b[i]);
        if (!(diff <= 1e30)) return HUGE_VAL;
        if (diff > far) far = diff;
        if (fabs((double)b[i]) > large) large = fabs((double)b[i]);
    }
    return far / (large > 0 ? large : 1);
}

/* Every instruction set of this machine, or the one asked for, in turn; AUTO: not this one. */
static int golden_isa(int i, oct_isa *out) {
    static const oct_isa all[] = { OCT_ISA_SCALAR, OCT_ISA_AVX2, OCT_ISA_AVX512, OCT_ISA_NEON };
    const char *want = test_isa();
    if (i >= 4) return 0;
    *out = all[i];
    if (!oct_isa_available(all[i]) || (want && strncmp(oct_isa_name(all[i]), want, strlen(want)) != 0)) *out = OCT_ISA_AUTO;
    return 1;
}

/* --- every stage, however the prompt is cut ------------------------------------------------ */

static void golden_compare(const char *name, const golden_run *run, const golden_watch *w) {
    char text[200];
    for (int i = 0; i < w->g->n; i++) {
        const golden_array *a = &w->g->a[i];
        if (a->is_int || strncmp(a->name, "long.", 5) == 0 || strstr(a->name, ".gate")) continue;
        const double far = golden_distance(w->got[i], a->f, (size_t)a->rows * (size_t)a->cols);
        snprintf(text, sizeof text, "%s, %s, batches of %d, %d steps: stage %s: %d of %d rows, relative error %.2g", name,
                 oct_isa_name(run->isa), run->n_batch, run->n_step, a->name, w->seen[i], a->rows, far);
        if (!test_check(w->seen[i] == a->rows && far <= GOLDEN_TOLERANCE, __FILE__, __LINE__, text)) return;
    }
}

static void golden_stages(const char *name, const golden *g, const oct_model *m, oct_isa isa) {
    static const int cut[][3] = { { 256, 0, 1 }, { 1, 0, 1 }, { 7, 0, 2 }, { 256, 6, 3 }, { 256, 30, 1 } };   /* batch, steps, threads */
    const golden_array *ids = golden_find(g, "ids");
    const int     n_vocab = golden_find(g, "logits")->cols;
    float        *first = NULL;
    for (int c = 0; c < 5; c++) {
        const golden_run run = { isa, OCT_KV_F32, 1, cut[c][2], cut[c][0], cut[c][1] };
        golden_watch w;
        golden_watch_open(&w, g, ids->rows, n_vocab, 0);
        if (golden_feed(m, &run, ids->i, ids->rows, &w)) {
            golden_compare(name, &run, &w);
            if (first) CHECK(memcmp(first, w.logits, (size_t)ids->rows * (size_t)n_vocab * sizeof(float)) == 0);
        }
        if (!first) {
            first = w.logits;
            w.logits = NULL;
        }
        golden_watch_close(&w);
    }
    free(first);
}

/* 600 positions: over the edges of attention's tiles and spans.  The dump has some rows of the logits. */
static void golden_long(const char *name, const golden *g, const oct_model *m, oct_isa isa) {
    const golden_array *ids = golden_find(g, "long.ids"), *rows = golden_find(g, "long.rows"), *ref = golden_find(g, "long.logits");
    const golden_run    run = { isa, OCT_KV_F32, 1, 1, 100, 0 };
    golden_watch        w;
    char                text[200];
    golden_watch_open(&w, g, ids->rows, ref->cols, 1);
    if (golden_feed(m, &run, ids->i, ids->rows, &w)) {
        CHECK_INT(w.logits_seen, ids->rows);
        for (int i = 0; i < rows->rows; i++) {
            const double far = golden_distance(w.logits + (size_t)rows->i[i] * (size_t)ref->cols, ref->f + (size_t)i * (size_t)ref->cols,
                                               (size_t)ref->cols);
            snprintf(text, sizeof text, "%s, %s: logits at position %d of 600: relative error %.2g", name, oct_isa_name(isa),
                     rows->i[i], far);
            test_check(far <= GOLDEN_TOLERANCE, __FILE__, __LINE__, text);
        }
    }
    golden_watch_close(&w);
}

/* --- the comparison can fail ------------------------------------------------------------ */

/* All logits of the short prompt; NULL after a failed check.  free() them. */
static float *golden_logits(const golden *g, const char *file) {
    const golden_array *ids = golden_find(g, "ids"), *ref = golden_find(g, "logits");
    const golden_run    run = { OCT_ISA_AUTO, OCT_KV_F32, 1, 1, 256, 0 };
    golden_watch        w;
    float              *out = NULL;
    oct_model          *m = golden_model(file, g->gguf_bytes);
    if (!m) return NULL;
    golden_watch_open(&w, g, ids->rows, ref->cols, 1);
    if (golden_feed(m, &run, ids->i, ids->rows, &w)) {
        out = w.logits;
        w.logits = NULL;
    }
    golden_watch_close(&w);
    oct_model_close(m);
    return out;
}

/* The logits of the changed file must lie at least 100 tolerances from the reference's. */
static void golden_must_move(const char *name, const char *what, const golden *g, const char *file) {
    const golden_array *ref = golden_find(g, "logits");
    char                text[200];
    float              *logits = golden_logits(g, file);
    if (!logits) return;
    const double far = golden_distance(logits, ref->f, (size_t)ref->rows * (size_t)ref->cols);
    snprintf(text, sizeof text, "%s without %s: the logits move by %.2g, wanted at least %.2g", name, what, far, 100 * GOLDEN_TOLERANCE);
    test_check(far >= 100 * GOLDEN_TOLERANCE, __FILE__, __LINE__, text);
    free(logits);
}

/* "blk.3.attn_q.bias" -> "attn_q.bias" */
static const char *golden_class(const char *name, size_t *len) {
    if (strncmp(name, "blk.", 4) != 0) return name;
    const char *dot = (const char *)memchr(name + 4, '.', *len - 4);
    *len -= (size_t)(dot + 1 - name);
    return dot + 1;
}

/* Zeroes part `part` of `parts` equal parts of every tensor of t's class in copy, whose tensors dir describes.  Divisors
 * of the rotary frequencies are doubled instead. */
static void golden_clear(char *copy, const golden *g, const oct_model *dir, const oct_tensor *t, int part, int parts) {
    size_t      n_want = t->name.len, n;
    const char *want = golden_class(t->name.data, &n_want);
    oct_tensor  u;
    for (size_t i = 0; oct_model_tensor(dir, i, &u) == OCT_OK; i++) {
        n = u.name.len;
        const char *class_name = golden_class(u.name.data, &n);
        if (n != n_want || memcmp(class_name, want, n) != 0) continue;
        char        *data = copy + ((const char *)u.data - g->gguf);
        const size_t size = u.bytes / (size_t)parts;
        if (strncmp(want, "rope_freqs", 10) != 0) {
            memset(data + size * (size_t)part, 0, size);
            continue;
        }
        for (size_t j = 0; j < u.bytes; j += 4) {
            float f;
            memcpy(&f, data + j, 4);
            f *= 2;
            memcpy(data + j, &f, 4);
        }
    }
}

/* Each class of tensor in turn, fused q, k and v by parts. */
static void golden_without_tensors(const char *name, const golden *g, char *copy) {
    oct_model_desc d;
    oct_model     *dir = NULL;
    oct_error      err;
    oct_tensor     t;
    memset(&d, 0, sizeof d);
    d.load = OCT_LOAD_DIRECTORY;
    if (!CHECK(oct_model_open_memory(&dir, g->gguf, g->gguf_bytes, &d, &err) == OCT_OK)) return;
    for (size_t i = 0; oct_model_tensor(dir, i, &t) == OCT_OK; i++) {
        const int first_layer = strncmp(t.name.data, "blk.", 4) != 0 || strncmp(t.name.data, "blk.0.", 6) == 0;
        size_t    len = t.name.len;
        const char *kind = golden_class(t.name.data, &len);
        if (len == 11 && memcmp(kind, "gate.weight", 11) == 0) continue;                               /* these cases are given a gate */
        const int experts = len > 11 && memcmp(kind + len - 11, "exps.weight", 11) == 0 ? (int)t.ne[2]       /* one at a time */
                          : len > 6 && memcmp(kind + len - 6, "lora_", 5) == 0 ? (int)t.ne[2]
                          : len > 9 && memcmp(kind + len - 9, "exps.bias", 9) == 0 ? (int)t.ne[1] : 1;
        const int parts = strncmp(kind, "attn_qkv", 8) == 0 ? 3 : experts;
        for (int part = 0; part < parts && first_layer; part++) {
            char what[80];
            snprintf(what, sizeof what, "%.*s (part %d of %d)", (int)t.name.len, t.name.data, part + 1, parts);
            memcpy(copy, g->gguf, g->gguf_bytes);
            golden_clear(copy, g, dir, &t, part, parts);
            golden_must_move(name, what, g, copy);
        }
    }
    oct_model_close(dir);
}

/* Rotary attention sees differences of positions only, so shifting all of them alike moves nothing.  Instead the angles are
 * made wrong: base 10000 (or what the file says) becomes 9, and with scaling the factor 1.5. */
static void golden_wrong_positions(const char *name, const golden *g, char *copy) {
    static const char *const keys[] = { ".rope.freq_base", ".rope.scaling.factor", ".rope.scaling.attn_factor" };
    static const float wrong[] = { 9.0f, 1.5f, 1.2f };
    for (int k = 0; k < 3; k++) {
        const size_t len = strlen(keys[k]);
        memcpy(copy, g->gguf, g->gguf_bytes);
        for (size_t i = 0; i + len + 8 < g->gguf_bytes && i < 4096; i++) {
            if (memcmp(copy + i, keys[k], len) != 0) continue;
            memcpy(copy + i + len + 4, &wrong[k], 4);                   /* key, u32 type, f32 */
            golden_must_move(name, keys[k], g, copy);
            break;
        }
    }
}

/* Every token but the first one place further: the others' neighbours change. */
static void golden_shifted(const char *name, const golden *g) {
    const golden_array *ids = golden_find(g, "ids"), *ref = golden_find(g, "logits");
    const golden_run    run = { OCT_ISA_AUTO, OCT_KV_F32, 1, 1, 256, 0 };
    const int           n = ids->rows;
    int32_t             moved[64];
    char                text[200];
    golden_watch        w;
    oct_model          *m = golden_model(g->gguf, g->gguf_bytes);
    if (!m || !CHECK(n < 64)) return;
    for (int i = 0; i < n; i++) moved[i] = ids->i[i == n - 1 ? i : i == 0 ? n - 2 : i - 1];
    golden_watch_open(&w, g, n, ref->cols, 1);
    if (golden_feed(m, &run, moved, n, &w)) {
        const size_t last = (size_t)(n - 1) * (size_t)ref->cols;
        const double far = golden_distance(w.logits + last, ref->f + last, (size_t)ref->cols);
        snprintf(text, sizeof text, "%s: the same tokens before the last, one place further: the logits move by %.2g", name, far);
        test_check(far >= 100 * GOLDEN_TOLERANCE, __FILE__, __LINE__, text);
    }
    golden_watch_close(&w);
    oct_model_close(m);
}

/* --- the cases ------------------------------------------------------------------------ */

static void golden_case(const char *name) {
    golden  g;
    oct_isa isa;
    if (golden_open(&g, name)) {
        oct_model *m = golden_model(g.gguf, g.gguf_bytes);
        for (int i = 0; m && golden_isa(i, &isa); i++) {
            if (isa == OCT_ISA_AUTO) continue;
            golden_stages(name, &g, m, isa);
            golden_long(name, &g, m, isa);
        }
        oct_model_close(m);
    }
    golden_close(&g);
}
static void golden_can_fail(const char *name) {
    golden g;
    if (golden_open(&g, name)) {
        char *copy = (char *)malloc(g.gguf_bytes);
        if (CHECK(copy != NULL)) {
            golden_without_tensors(name, &g, copy);
            golden_wrong_positions(name, &g, copy);
            golden_shifted(name, &g);
        }
        free(copy);
    }
    golden_close(&g);
}

#define GOLDEN(name, file)                                              \
    TEST(golden, name) { golden_case(file); }                           \
    TEST(golden, name##_can_fail) { golden_can_fail(file); }
GOLDEN(llama, "llama")
GOLDEN(llama_linear, "llama-linear")
GOLDEN(llama_factors, "llama-factors")
GOLDEN(llama_yarn, "llama-yarn")
GOLDEN(llama_yarn_attn, "llama-yarn-attn")
GOLDEN(llama_bias, "llama-bias")
GOLDEN(llama_keylen, "llama-keylen")
GOLDEN(phi2, "phi2")
GOLDEN(phi2_split, "phi2-split")
GOLDEN(stablelm, "stablelm")
GOLDEN(stablelm_plain, "stablelm-plain")
GOLDEN(stablelm_12b, "stablelm-12b")
GOLDEN(qwen, "qwen")
GOLDEN(qwen2, "qwen2")
GOLDEN(qwen2_tied, "qwen2-tied")
GOLDEN(moe_llama, "moe-llama")
GOLDEN(moe_llama_top1, "moe-llama-top1")
GOLDEN(moe_phi2, "moe-phi2")
GOLDEN(moe_stablelm, "moe-stablelm")
GOLDEN(moe_stablelm_top1, "moe-stablelm-top1")
GOLDEN(moe_qwen, "moe-qwen")
GOLDEN(lora_llama, "lora-llama")
GOLDEN(lora_phi2, "lora-phi2")
GOLDEN(lora_moe_llama, "lora-moe-llama")

/* --- quantised weights -------------------------------------------------------------------
 * The same weights twice: as blocks, and as the F32 numbers that the blocks stand for.
 */
typedef struct golden_bytes { char *data; size_t len, cap; } golden_bytes;

static int golden_sink(void *user, const void *data, size_t n) {
    golden_bytes *b = (golden_bytes *)user;
    if (b->len + n > b->cap) {
        const size_t cap = (b->len + n) * 2;
        char        *p = (char *)realloc(b->data, cap);
        if (!p) return 1;
        b->data = p;
        b->cap = cap;
    }
    memcpy(b->data + b->len, data, n);
    b->len += n;
    return 0;
}

/* In place of the rows of file `f32`, whose tensors are all F32, those of m, which has the same tensors. */
static int golden_pour(golden_bytes *f32, const oct_model *m) {
    oct_model_desc d;
    oct_model     *dir = NULL;
    oct_tensor     from, to;
    oct_error      err;
    int            ok = 1;
    memset(&d, 0, sizeof d);
    d.load = OCT_LOAD_DIRECTORY;
    if (!CHECK(oct_model_open_memory(&dir, f32->data, f32->len, &d, &err) == OCT_OK)) return 0;
    for (size_t i = 0; ok && oct_model_tensor(dir, i, &to) == OCT_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)to.name.len, to.name.data);
        ok = CHECK(oct_model_tensor_find(m, name, &from) == OCT_OK) && CHECK_INT(to.type, 0) &&
             CHECK(from.ne[0] == to.ne[0] && from.ne[1] == to.ne[1] && from.ne[2] == to.ne[2]);
        float *row = (float *)malloc((size_t)to.ne[0] * sizeof(float));
        for (int64_t r = 0; ok && row && r < to.ne[1] * to.ne[2]; r++) {
            ok = CHECK(oct_tensor_row(&from, r, row, &err) == OCT_OK);
            memcpy(f32->data + ((const char *)to.data - f32->data) + (size_t)r * (size_t)to.ne[0] * 4, row, (size_t)to.ne[0] * 4);
        }
        ok = ok && row;
        free(row);
    }
    oct_model_close(dir);
    return ok;
}

/* Smallest cosine of two rows, over all rows. */
static double golden_cosine(const float *a, const float *b, int rows, int cols) {
    double worst = 1;
    for (int r = 0; r < rows; r++) {
        double ab = 0, aa = 0, bb = 0;
        for (int c = 0; c < cols; c++) {
            const double x = (double)a[(size_t)r * (size_t)cols + (size_t)c], y = (double)b[(size_t)r * (size_t)cols + (size_t)c];
            ab += x * y;
            aa += x * x;
            bb += y * y;
        }
        const double cosine = ab / sqrt(aa * bb);
        if (!(cosine >= worst)) worst = cosine;                         /* a NaN too */
    }
    return worst;
}

static void golden_quant_compare(const oct_model *quantised, const oct_model *plain, const char *type, oct_isa isa, int n_vocab) {
    enum { N = 12 };
    golden       none;
    golden_watch ref, exact, fast;
    int32_t      ids[N];
    char         text[160];
    unsigned long long seed = 11;
    golden_run   run = { isa, OCT_KV_F32, 1, 2, 256, 0 };
    memset(&none, 0, sizeof none);
    for (int i = 0; i < N; i++) ids[i] = 3 + (int32_t)(test_random(&seed) % 250);
    golden_watch_open(&ref, &none, N, n_vocab, 1);
    golden_watch_open(&exact, &none, N, n_vocab, 1);
    golden_watch_open(&fast, &none, N, n_vocab, 1);
    int ok = golden_feed(plain, &run, ids, N, &ref) && golden_feed(quantised, &run, ids, N, &exact);
    run.exact = 0;
    run.n_step = 4;
    if (ok && golden_feed(quantised, &run, ids, N, &fast)) {
        const double far = golden_distance(exact.logits, ref.logits, (size_t)N * (size_t)n_vocab);
        const double cosine = golden_cosine(fast.logits, ref.logits, N, n_vocab);
        CHECK_INT(ref.logits_seen, N);
        CHECK_INT(exact.logits_seen, N);
        CHECK_INT(fast.logits_seen, N);
        snprintf(text, sizeof text, "%s, %s: exact logits off by %.2g, wanted at most 1e-5", type, oct_isa_name(isa), far);
        test_check(far <= 1e-5, __FILE__, __LINE__, text);
        snprintf(text, sizeof text, "%s, %s: cosine of the int8 logits %.6f, wanted at least 0.9995", type, oct_isa_name(isa), cosine);
        test_check(cosine >= 0.9995, __FILE__, __LINE__, text);
    }
    golden_watch_close(&ref);
    golden_watch_close(&exact);
    golden_watch_close(&fast);
}

static void golden_quant(const char *type, int n_expert) {
    synth_model small = { "golden", "llama", 2, 256, 4, 2, 64, 512, 384, 512, 1e-5, 1e4, 0, SYNTH_SPM, 0, 0, 2, 1, 0, 0, NULL };
    golden_bytes q, f;
    oct_isa      isa;
    memset(&q, 0, sizeof q);
    memset(&f, 0, sizeof f);
    small.n_expert = n_expert;
    if (CHECK(synth_write(&small, blocks_type_find(type), 5, golden_sink, &q) == 0) &&
        CHECK(synth_write(&small, SYNTH_F32, 5, golden_sink, &f) == 0)) {
        oct_model *quantised = golden_model(q.data, q.len), *plain = NULL;
        if (quantised && golden_pour(&f, quantised)) plain = golden_model(f.data, f.len);
        for (int i = 0; plain && golden_isa(i, &isa); i++)
            if (isa != OCT_ISA_AUTO) golden_quant_compare(quantised, plain, type, isa, small.n_vocab);
        oct_model_close(plain);
        oct_model_close(quantised);
    }
    free(q.data);
    free(f.data);
}

#define GOLDEN_QUANT(type) TEST(golden, quantised_##type) { golden_quant(#type, 0); }
#define GOLDEN_QUANT_MOE(type) TEST(golden, quantised_moe_##type) { golden_quant(#type, 4); }
GOLDEN_QUANT(f16)
GOLDEN_QUANT(bf16)
GOLDEN_QUANT(q8_0)
GOLDEN_QUANT(q4_0)
GOLDEN_QUANT(q4_1)
GOLDEN_QUANT(q5_0)
GOLDEN_QUANT(q5_1)
GOLDEN_QUANT(q2_k)
GOLDEN_QUANT(q3_k)
GOLDEN_QUANT(q4_k)
GOLDEN_QUANT(q5_k)
GOLDEN_QUANT(q6_k)
GOLDEN_QUANT(iq4_nl)
GOLDEN_QUANT_MOE(f16)
GOLDEN_QUANT_MOE(q8_0)
GOLDEN_QUANT_MOE(q4_0)
GOLDEN_QUANT_MOE(q4_k)
GOLDEN_QUANT_MOE(q6_k)
