/* Chapter 12: what low-rank matrices add, against a loop in double; the gate against the official one (golden/octavius-2d of the
 * test data) and the Python reference; adapters against merged weights; what the binder refuses.  Networks with LoRA experts are
 * compared stage by stage in test_golden.c (lora-*).  Uses the helpers of test_kernels.c, test_model.c, test_memory.c and
 * test_golden.c. */
#include "../tools/gguf_writer.h"

/* --- a group of linears ---------------------------------------------------------------------------- */

enum { LORA_LINEARS = 3, LORA_COLS = 96, LORA_EXPERTS = 6 };
static const int lora_rows[LORA_LINEARS] = { 48, 37, 130 };

/* Linears that read x, each with n_expert pairs of matrices; rank differs from one to the next. */
typedef struct lora_case {
    int       n_tok, n_expert, type, rank[LORA_LINEARS];
    float    *x;                                           /* [n_tok, LORA_COLS] */
    float    *w[LORA_LINEARS], *bias[LORA_LINEARS];
    oct__mat  mat[LORA_LINEARS];
    oct__lora lora[LORA_LINEARS];
    void     *bytes[2 * LORA_LINEARS];
    double   *want[LORA_LINEARS];                          /* [n_tok, rows] */
} lora_case;

/* n rows of a type, and what they stand for as F32. */
static void *lora_encode(int type, int n_rows, int cols, float **plain) {
    const size_t   row_bytes = oct__row_bytes(type, cols);
    unsigned char *bytes = (unsigned char *)malloc(row_bytes * (size_t)n_rows);
    *plain = kt_floats((size_t)n_rows * (size_t)cols, 0.3);
    for (int r = 0; r < n_rows; r++) {
        blocks_encode(type, *plain + (size_t)r * (size_t)cols, bytes + (size_t)r * row_bytes, cols);
        oct__dequant_row(type, bytes + (size_t)r * row_bytes, *plain + (size_t)r * (size_t)cols, cols);
    }
    return bytes;
}
static oct__mat lora_mat(int type, int rows, int cols, const void *data) {
    oct__mat w;
    w.type = type;
    w.rows = rows;
    w.cols = cols;
    w.row_bytes = oct__row_bytes(type, cols);
    w.data = (const unsigned char *)data;
    return w;
}
static double lora_dot(const float *a, const double *b, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}
/* A group of its own for the given gates; what it should come to by the formula. */
static void lora_case_open(lora_case *c, int n_tok, int n_expert, int type, const int *rank, const float *gate) {
    memset(c, 0, sizeof *c);
    c->n_tok = n_tok;
    c->n_expert = n_expert;
    c->x = kt_floats((size_t)n_tok * LORA_COLS, 1.0);
    for (int j = 0; j < LORA_LINEARS; j++) {
        const int rows = lora_rows[j], r = rank[j];
        float *a, *b;
        double h[320], x[LORA_COLS];
        c->w[j] = kt_floats((size_t)rows * LORA_COLS, 0.3);
        c->bias[j] = kt_floats((size_t)rows, 1.0);
        c->mat[j] = lora_mat(OCT__F32, rows, LORA_COLS, c->w[j]);
        c->lora[j].n_expert = n_expert;
        c->lora[j].rank = r;
        c->lora[j].by = 1.0f;
        c->bytes[2 * j] = lora_encode(type, n_expert * r, LORA_COLS, &a);
        c->bytes[2 * j + 1] = lora_encode(type, n_expert * rows, r, &b);
        c->lora[j].a = lora_mat(type, r, LORA_COLS, c->bytes[2 * j]);
        c->lora[j].b = lora_mat(type, rows, r, c->bytes[2 * j + 1]);
        c->lora[j].a_bytes = (size_t)r * c->lora[j].a.row_bytes;
        c->lora[j].b_bytes = (size_t)rows * c->lora[j].b.row_bytes;
        c->want[j] = (double *)calloc((size_t)n_tok * (size_t)rows, sizeof(double));
        for (int t = 0; t < n_tok; t++) {
            double *y = c->want[j] + (size_t)t * (size_t)rows;
            for (int i = 0; i < LORA_COLS; i++) x[i] = (double)c->x[t * LORA_COLS + i];
            for (int o = 0; o < rows; o++) y[o] = (double)c->bias[j][o] + lora_dot(c->w[j] + (size_t)o * LORA_COLS, x, LORA_COLS);
            for (int e = 0; e < n_expert; e++) {
                for (int i = 0; i < r; i++) h[i] = lora_dot(a + ((size_t)e * (size_t)r + (size_t)i) * LORA_COLS, x, LORA_COLS);
                for (int o = 0; o < rows; o++) y[o] += (double)gate[e] * lora_dot(b + ((size_t)e * (size_t)rows + (size_t)o) * (size_t)r, h, r);
            }
        }
        free(a);
        free(b);
    }
}
static void lora_case_close(lora_case *c) {
    for (int j = 0; j < LORA_LINEARS; j++) {
        free(c->w[j]);
        free(c->bias[j]);
        free(c->want[j]);
        free(c->bytes[2 * j]);
        free(c->bytes[2 * j + 1]);
    }
    free(c->x);
}
/* Through the group, `step` tokens at a time: y [LORA_LINEARS] of [n_tok, rows]. */
static void lora_case_run(const lora_case *c, const oct__kernels *k, int n_threads, oct_parallel_fn pool, int step, const float *gate, float **y) {
    oct__compute compute = kt_compute(k, n_threads, pool, 64);
    oct__group   g;
    oct__acts    acts;
    oct__arena   a;
    size_t       columns = 0;
    memset(&a, 0, sizeof a);
    for (int j = 0; j < LORA_LINEARS; j++) columns += (size_t)c->n_expert * (size_t)c->lora[j].rank;
    for (int pass = 0; pass < 2; pass++) {
        oct__group_take(&a, &g, step, c->n_expert, 0, columns);
        oct__acts_take(&a, &acts, step, LORA_COLS);
        if (pass) break;
        a.cap = a.used;
        a.base = (unsigned char *)kt_aligned(a.used);
        a.used = 0;
    }
    for (int t = 0; t < c->n_tok; t += step) {
        oct__acts_set(&compute, &acts, c->x + (size_t)t * LORA_COLS, OCT__MIN(step, c->n_tok - t), LORA_COLS, false);
        for (int j = 0; j < LORA_LINEARS; j++) {
            oct__group_linear(&g, &c->mat[j], c->bias[j], y[j] + (size_t)t * (size_t)lora_rows[j]);
            for (int e = 0; e < c->n_expert; e++)
                if (gate[e] != 0.0f) oct__group_lora(&g, &c->lora[j], e, gate[e]);
        }
        oct__group_run(&compute, &g, &acts);
    }
    free(a.base);
    free(compute.scratch);
}
static double lora_case_far(const lora_case *c, float *const *y) {
    double far = 0, large = 0;
    for (int j = 0; j < LORA_LINEARS; j++)
        for (int i = 0; i < c->n_tok * lora_rows[j]; i++) {
            far = OCT__MAX(far, fabs((double)y[j][i] - c->want[j][i]));
            large = OCT__MAX(large, fabs(c->want[j][i]));
        }
    return far / large;
}
/* Every table, thread count and cut: near the formula, and the same bits whatever the cut (of tables with fma, whatever the table;
 * those that round activations to bf16 for BF16 matrices have bits of their own). */
static void lora_formula(int n_expert, int type, int n_tok, const int *rank, const float *gate) {
    static const int cuts[][2] = { { 1, 64 }, { 3, 64 }, { 1, 1 }, { 2, 7 }, { 1, 13 } };      /* threads, tokens at a time */
    const oct__kernels *k;
    lora_case c;
    float *first[3][LORA_LINEARS] = { { NULL } }, *y[LORA_LINEARS];
    char   text[160];
    lora_case_open(&c, n_tok, n_expert, type, rank, gate);
    for (int i = 0; (k = kt_table(i)) != NULL; i++)
        for (int cut = 0; cut < 5; cut++) {
            const int bf16 = type == OCT__BF16 && k->mul_bf16, bits = bf16 ? 2 : k->fma;
            int same = 1;
            for (int j = 0; j < LORA_LINEARS; j++) y[j] = (float *)malloc((size_t)n_tok * (size_t)lora_rows[j] * sizeof(float));
            lora_case_run(&c, k, cuts[cut][0], cuts[cut][0] > 1 ? kt_backwards : NULL, cuts[cut][1], gate, y);
            const double far = lora_case_far(&c, y);
            for (int j = 0; j < LORA_LINEARS; j++) {
                const size_t bytes = (size_t)n_tok * (size_t)lora_rows[j] * sizeof(float);
                same = same && (!first[bits][j] || memcmp(first[bits][j], y[j], bytes) == 0);
                if (first[bits][j]) free(y[j]);
                else first[bits][j] = y[j];
            }
            snprintf(text, sizeof text, "%d experts, type %d, %d tokens, %s, %d threads, %d at a time: off by %.2g, %s bits", n_expert, type, n_tok,
                     k->name, cuts[cut][0], cuts[cut][1], far, same ? "the same" : "other");
            test_check(far <= (bf16 ? 0x1p-8 : 2e-6) && same, __FILE__, __LINE__, text);
        }
    for (int j = 0; j < LORA_LINEARS; j++) {
        free(first[0][j]);
        free(first[1][j]);
        free(first[2][j]);
    }
    lora_case_close(&c);
}
TEST(lora, as_the_formula) {
    static const int   rank[][LORA_LINEARS] = { { 32, 32, 32 }, { 1, 5, 17 }, { 300, 3, 64 } };
    static const float two[LORA_EXPERTS] = { 0, 0.7f, 0, 0.3f, 0, 0 }, all[LORA_EXPERTS] = { 0.3f, -0.6f, 0.2f, 1.5f, -0.1f, 0.4f };
    for (int r = 0; r < 3; r++) {
        lora_formula(4, OCT__F16, 30, rank[r], two);
        lora_formula(3, OCT__F32, 13, rank[r], all);
        lora_formula(6, OCT__F16, 1, rank[r], all);
    }
    lora_formula(6, OCT__BF16, 25, rank[0], two);
    lora_formula(1, OCT__Q8_0, 25, rank[0], all);                         /* an adapter may be quantised */
}
/* The kernel for one token gives the bits of the panels that many tokens meet. */
TEST(lora, one_token_as_many) {
    static const int types[] = { OCT__F32, OCT__F16, OCT__BF16 }, lengths[] = { 1, 3, 4, 8, 13, 16, 40, 255, 256 };
    const oct__kernels *k;
    for (int i = 0; (k = kt_table(i)) != NULL; i++)
        for (int j = 0; j < 27; j++) {
            const int type = types[j / 9], n = lengths[j % 9];
            float    *plain, *x = kt_floats((size_t)n, 1.0), *start = kt_floats(16, 1.0), a[16], b[16];
            void     *rows = lora_encode(type, 16, n, &plain);
            float    *panel = (float *)kt_aligned((size_t)n * 16 * sizeof(float));
            oct__panel p;
            memset(&p, 0, sizeof p);
            p.u = (unsigned char *)kt_aligned(2 * (size_t)OCT__K_QUANT * OCT__PANEL);
            memcpy(a, start, sizeof a);
            memcpy(b, start, sizeof b);
            k->unpack_f(type, (const unsigned char *)rows, oct__row_bytes(type, n), n, &p, panel);
            k->mul_f(panel, 0, 1, n, x, (size_t)n, 1, a, 16, OCT__MUL_CHAIN);
            k->one_f(type, (const unsigned char *)rows, oct__row_bytes(type, n), n, x, &p, b);
            CHECK(memcmp(a, b, sizeof a) == 0);
            free(p.u);
            free(panel);
            free(rows);
            free(plain);
            free(start);
            free(x);
        }
}
TEST(lora, equal_experts_are_one) {
    static const int   rank[LORA_LINEARS] = { 32, 32, 32 };
    static const float one[4] = { 1, 0, 0, 0 }, shared[4] = { 0.1f, 0.2f, 0.3f, 0.4f };
    lora_case c;
    float    *y[LORA_LINEARS];
    lora_case_open(&c, 9, 4, OCT__F16, rank, one);
    for (int j = 0; j < LORA_LINEARS; j++) {
        y[j] = (float *)malloc((size_t)c.n_tok * (size_t)lora_rows[j] * sizeof(float));
        c.lora[j].a_bytes = c.lora[j].b_bytes = 0;                        /* every expert is the first */
    }
    lora_case_run(&c, oct__kernels_list(0), 1, NULL, 9, shared, y);
    CHECK_NEAR(lora_case_far(&c, y), 0, 2e-6);
    for (int j = 0; j < LORA_LINEARS; j++) free(y[j]);
    lora_case_close(&c);
}

/* --- the gate ------------------------------------------------------------------------------------------------ */

TEST(lora, gate_as_the_reference) {
    static const char *const names[] = { "lora-llama", "lora-phi2", "lora-moe-llama" };
    for (int i = 0; i < 3; i++) {
        golden         g;
        oct__gate_rule rule;
        float          gate[OCT__MAX_GATE];
        memset(&rule, 0, sizeof rule);
        if (golden_open(&g, names[i])) {
            const golden_array *ids = golden_find(&g, "ids"), *own = golden_find(&g, "own.gate");
            oct_model *m = golden_model(g.gguf, g.gguf_bytes);
            if (m) {
                oct__gate_compute(&m->net, ids->i, (size_t)ids->rows, &rule, gate);
                CHECK_INT(m->net.instance_gate.n_expert, own->cols);
                for (int e = 0; e < own->cols; e++) CHECK_NEAR(gate[e], own->f[e], 1e-6);
            }
            oct_model_close(m);
        }
        golden_close(&g);
    }
}
/* That the comparisons can fail: without the gate, and with the gate's matrix cleared. */
TEST(lora, gate_matters) {
    golden g;
    if (golden_open(&g, "lora-llama")) {
        const golden_array *given = golden_find(&g, "given.gate"), *ids = golden_find(&g, "ids"), *own = golden_find(&g, "own.gate");
        oct_model     *m;
        oct_tensor     t;
        oct__gate_rule rule;
        float          gate[OCT__MAX_GATE];
        double         far = 0;
        memset(g.bin + ((const char *)(const void *)given->f - g.bin), 0, (size_t)given->cols * sizeof(float));
        golden_must_move("lora-llama", "the gate", &g, g.gguf);
        memset(&rule, 0, sizeof rule);
        if ((m = golden_model(g.gguf, g.gguf_bytes)) != NULL && CHECK(oct_model_tensor_find(m, "gate.weight", &t) == OCT_OK)) {
            memset(g.gguf + ((const char *)t.data - g.gguf), 0, t.bytes);
            oct_model_close(m);
            if ((m = golden_model(g.gguf, g.gguf_bytes)) != NULL) oct__gate_compute(&m->net, ids->i, (size_t)ids->rows, &rule, gate);
            for (int e = 0; m && e < own->cols; e++) far = OCT__MAX(far, fabs((double)(gate[e] - own->f[e])));
            CHECK(far > 100 * 1e-6);
        }
        oct_model_close(m);
    }
    golden_close(&g);
}
TEST(lora, gate_rules) {
    static const double logits[5] = { 1, 3, 2, 3, 0 };
    oct__gate      g = { 5, 2, NULL };
    oct__gate_rule rule;
    float          gate[5];
    memset(&rule, 0, sizeof rule);
    oct__gate_choose(&g, &rule, logits, gate);                           /* ties to the lowest index */
    CHECK_NEAR(gate[1], 0.5, 1e-7);
    CHECK_NEAR(gate[3], 0.5, 1e-7);
    CHECK(gate[0] == 0 && gate[2] == 0 && gate[4] == 0);
    rule.muted = 1u << 1;
    oct__gate_choose(&g, &rule, logits, gate);
    CHECK_NEAR(gate[3], 1 / (1 + exp(-1.0)), 1e-7);
    CHECK_NEAR(gate[2], 1 / (1 + exp(1.0)), 1e-7);
    rule.pinned = 1u << 4;                                               /* alone it gets everything */
    oct__gate_choose(&g, &rule, logits, gate);
    CHECK_NEAR(gate[4], 1, 1e-7);
    CHECK(gate[0] == 0 && gate[1] == 0 && gate[2] == 0 && gate[3] == 0);
    rule.muted = 0x1F;                                                   /* nobody competes */
    oct__gate_choose(&g, &rule, logits, gate);
    for (int e = 0; e < 5; e++) CHECK(gate[e] == 0);
    g.k = 5;
    memset(&rule, 0, sizeof rule);
    const double broken[5] = { (double)NAN, (double)NAN, HUGE_VAL, 1, (double)NAN };
    oct__gate_choose(&g, &rule, broken, gate);                           /* ends, whatever it says */
}
/* Without text every expert is as good as another. */
TEST(lora, gate_without_text) {
    static const int32_t pictures[3] = { -1, -1, -2 };
    oct__gate_rule rule;
    float          gate[4];
    model_kit      k;
    memset(&rule, 0, sizeof rule);
    if (model_open(&k, synth_find("tiny-octavius-2d"), SYNTH_F16)) {
        oct__gate_compute(&k.m->net, pictures, 3, &rule, gate);
        CHECK_NEAR(gate[0], 0.5, 1e-7);
        CHECK_NEAR(gate[1], 0.5, 1e-7);
        CHECK(gate[2] == 0 && gate[3] == 0);
        rule.given = true;
        rule.weights[2] = -2.5f;
        oct__gate_compute(&k.m->net, pictures, 3, &rule, gate);
        CHECK(gate[0] == 0 && gate[1] == 0 && gate[2] == -2.5f && gate[3] == 0);
    }
    model_close(&k);
}

/* --- the official case ------------------------------------------------------------------------------------------ */

/* The numbers of an NPY file of float32 or int32; NULL: not there.  free() *file. */
static const float *lora_npy(const char *stage, char **file, size_t *n) {
    char name[96];
    snprintf(name, sizeof name, "golden/octavius-2d/out/bare/%s.npy", stage);
    const char *path = test_data(name);
    *file = path ? test_read_file(path, n) : NULL;
    if (!*file || *n < 10) return NULL;
    const size_t at = 10 + (size_t)(unsigned char)(*file)[8] + 256 * (size_t)(unsigned char)(*file)[9];
    *n = (*n - at) / 4;
    return (const float *)(const void *)(*file + at);
}
typedef struct lora_watch { int n_seen; double worst; char worst_name[48]; } lora_watch;

/* GGUF holds rotary pairs side by side, the official order has them half a head apart. */
static float lora_official(const float *data, const char *name, int row, int col, int cols) {
    const size_t len = strlen(name);
    const int    d = 16, h = col / d, i = col % d, turned = strcmp(name + len - 2, ".q") == 0 || strcmp(name + len - 2, ".k") == 0;
    return data[(size_t)row * (size_t)cols + (size_t)(turned ? h * d + 2 * (i % (d / 2)) + i / (d / 2) : col)];
}
static void lora_stage(void *user, const char *name, const float *data, int rows, int cols, int pos) {
    lora_watch  *w = (lora_watch *)user;
    char        *file;
    size_t       n;
    const float *ref = lora_npy(name, &file, &n);
    double       far = 0, large = 0;
    if (ref && CHECK((size_t)(pos + rows) * (size_t)cols <= n)) {
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < cols; c++) {
                const double want = (double)ref[(size_t)(pos + r) * (size_t)cols + (size_t)c];
                far = OCT__MAX(far, fabs((double)lora_official(data, name, r, c, cols) - want));
                large = OCT__MAX(large, fabs(want));
            }
        w->n_seen++;
        if (far / large > w->worst) snprintf(w->worst_name, sizeof w->worst_name, "%s", name);
        w->worst = OCT__MAX(w->worst, far / large);
    }
    free(file);
}
/* The rows of the picture are the official ones, so that the text model stands alone here.  tests/golden/octavius.gguf is
 * the case's checkpoint by tools/reference/golden_gguf.py --text --f16. */
TEST(lora, octavius_2d_as_the_official_code) {
    char         *ids_file, *rows_file, *gguf;
    size_t        n, n_rows, bytes;
    const float  *numbers = lora_npy("ids", &ids_file, &n);
    const float  *embd = lora_npy("embd", &rows_file, &n_rows);
    gguf = golden_file("octavius", ".gguf", &bytes);
    oct_model    *m = numbers && embd && CHECK(gguf != NULL) ? golden_model(gguf, bytes) : NULL;
    oct_session  *s = NULL;
    oct_session_desc d;
    oct_error     err;
    oct_isa       isa;
    lora_watch    w;
    int32_t       ids[128];
    float         rows[64 * 64];
    int           last = 0, n_pictures = 0;
    for (size_t i = 0; m && i < n && CHECK(n <= 128); i++) {
        ids[i] = ((const int32_t *)(const void *)numbers)[i];
        if (ids[i] >= 0) continue;
        last = (int)i + 1;
        memcpy(rows + 64 * n_pictures++, embd + 64 * i, 64 * sizeof(float));
    }
    for (int i = 0; m && golden_isa(i, &isa); i++) {
        if (isa == OCT_ISA_AUTO) continue;
        memset(&d, 0, sizeof d);
        memset(&w, 0, sizeof w);
        d.n_ctx = d.n_batch = 128;
        d.raw = d.exact = d.n_threads = 1;
        d.isa = isa;
        d.kv_type = OCT_KV_F32;
        d.stage = lora_stage;
        d.stage_user = &w;
        if (!CHECK(oct_session_open(&s, m, &d, &err) == OCT_OK)) break;
        oct__gate_compute(&m->net, ids + last, n - (size_t)last, &s->gate_rule, s->pass.lora_gate);
        lora_stage(&w, "gate", s->pass.lora_gate, 1, 4, 0);
        CHECK(oct__pass_run(&s->pass, ids, rows, (int)n, 0, true, &err) == OCT_OK);
        CHECK_INT(w.n_seen, 26);                                          /* 25 stages, the logits in two parts */
        if (!CHECK_NEAR(w.worst, 0, 1e-5)) CHECK_STR(w.worst_name, "");
        oct_session_close(s);
        s = NULL;
    }
    oct_model_close(m);
    free(gguf);
    free(ids_file);
    free(rows_file);
}
/* Three of the twenty gates that the official code gave for suffixes of these ids. */
TEST(lora, gates_of_octavius_2d) {
    static const struct { int32_t ids[16]; int n; float gate[4]; } cases[] = {
        { { 482, 461, 432, 166, 61, 138, 142, 323, 400, 322, 340, 64, 333, 64, 438 }, 15, { 0, 0.823184133f, 0, 0.176815853f } },
        { { 482, 392, 379, 443, 42, 254, 47, 300, 457, 246 }, 10, { 0.629486978f, 0.370512992f, 0, 0 } },
        { { 482, 15, 35, 288, 63, 74, 281, 6, 384, 260, 112, 441, 420, 288, 21, 372 }, 16, { 0.254060358f, 0, 0, 0.745939672f } },
    };
    size_t     bytes;
    char      *gguf = golden_file("octavius", ".gguf", &bytes);
    oct_model *m = CHECK(gguf != NULL) ? golden_model(gguf, bytes) : NULL;
    for (int i = 0; m && i < 3; i++) {
        oct__gate_rule rule;
        float          gate[4];
        memset(&rule, 0, sizeof rule);
        oct__gate_compute(&m->net, cases[i].ids, (size_t)cases[i].n, &rule, gate);
        for (int e = 0; e < 4; e++) CHECK_NEAR(gate[e], cases[i].gate[e], 1e-6);
    }
    oct_model_close(m);
    free(gguf);
}

/* --- whole models: the same bits however it is computed ---------------------------------------------------------- */

TEST(lora, same_bits_for_threads_and_chunks) {
    static const model_way ways[] = { { 64, 1, 0, 0, OCT_KV_F16 }, { 7, 3, 1, 0, OCT_KV_F16 }, { 1, 1, 0, 0, OCT_KV_F16 }, { 64, 2, 0, 0, OCT_KV_F16 } };
    static const char *const names[] = { "tiny-octavius-2d", "tiny-octavius-moe" };
    static const int types[] = { SYNTH_Q8_0, SYNTH_F32, SYNTH_F16 };
    for (int i = 0; i < 6; i += test_quick() ? 5 : 1) {
        float     out[4][(1 + MODEL_STEPS) * MODEL_VOCAB];
        model_kit k;
        if (model_open(&k, synth_find(names[i % 2]), types[i / 2]))
            for (int j = 0; j < 4; j++) {
                oct_session *s = model_session(&k, &ways[j], 64);
                if (s && model_run(s, &k, 0, MODEL_IDS, MODEL_STEPS, out[j]))
                    CHECK(memcmp(out[0], out[j], (size_t)(1 + MODEL_STEPS) * (size_t)k.n_vocab * sizeof(float)) == 0);
                oct_session_close(s);
            }
        model_close(&k);
    }
}
/* A session brought back goes on with the gate it had. */
TEST(lora, snapshots_hold_the_gate) {
    static const model_way way = { 64, 1, 0, 0, OCT_KV_F16 };
    float     whole[(1 + MODEL_STEPS) * MODEL_VOCAB], rest[(1 + MODEL_STEPS) * MODEL_VOCAB];
    model_kit k;
    oct_error err;
    if (model_open(&k, synth_find("tiny-octavius-2d"), SYNTH_F16)) {
        oct_session *s = model_session(&k, &way, 64), *again = model_session(&k, &way, 64);
        if (s && again && model_run(s, &k, 0, 20, 0, whole)) {
            const size_t bytes = oct_session_snapshot_bytes(s);
            void *shot = malloc(bytes);
            CHECK_INT(oct_session_snapshot(s, shot, bytes, &err), OCT_OK);
            CHECK_INT(oct_session_restore(again, shot, bytes, &err), OCT_OK);
            CHECK(memcmp(s->pass.lora_gate, again->pass.lora_gate, 4 * sizeof(float)) == 0);
            CHECK(model_run(s, &k, 20, MODEL_IDS, MODEL_STEPS, whole) && model_run(again, &k, 20, MODEL_IDS, MODEL_STEPS, rest));
            CHECK(memcmp(whole, rest, (size_t)(1 + MODEL_STEPS) * (size_t)k.n_vocab * sizeof(float)) == 0);
            free(shot);
        }
        oct_session_close(s);
        oct_session_close(again);
    }
    model_close(&k);
}
static long lora_count_next(const model_kit *k, memory_hook *h) {
    oct_session_desc d;
    oct_session     *s = NULL;
    oct_error        err;
    oct_token        t;
    long             calls = -1;
    memset(&d, 0, sizeof d);
    d.raw = 1;
    d.n_ctx = 64;
    d.n_threads = 1;
    d.sampling.temperature = -1;
    if (CHECK(oct_session_open(&s, k->m, &d, &err) == OCT_OK) && CHECK(oct_feed_tokens(s, k->ids, 20, &err) == OCT_OK)) {
        calls = h->calls;
        for (int i = 0; i < 4; i++) CHECK(oct_next(s, &t, &err) == OCT_OK);
        calls = h->calls - calls;
    }
    oct_session_close(s);
    return calls;
}
TEST(lora, next_allocates_nothing) {
    oct_model_desc d;
    memory_hook    h;
    model_kit      k;
    oct_error      err;
    if (model_open(&k, synth_find("tiny-octavius-2d"), SYNTH_F16)) {
        oct_model_close(k.m);
        k.m = NULL;
        memory_desc(&d, &h);
        if (CHECK(oct_model_open_memory(&k.m, k.file, k.bytes, &d, &err) == OCT_OK)) CHECK_INT(lora_count_next(&k, &h), 0);
        oct_model_close(k.m);
        k.m = NULL;
        CHECK_INT(h.live, 0);
    }
    model_close(&k);
}

/* --- files that contradict themselves -------------------------------------------------------------------------------- */

/* Where the directory entry of a tensor has its numbers of dimensions; NULL: there is none. */
static char *lora_entry(char *file, size_t bytes, const char *name) {
    const size_t n = strlen(name);
    for (size_t i = 8; i + n + 64 < bytes; i++)
        if (memcmp(file + i, name, n) == 0 && memcmp(file + i - 8, &n, 8) == 0) return file + i + n;
    return NULL;
}
/* The file with one tensor's dimensions changed, or (ne NULL) another name of the same length: must not open, and say why. */
static void lora_refused(const model_kit *k, const char *name, const int64_t *ne, const char *other, oct_result code, const char *why) {
    char      *copy = (char *)malloc(k->bytes), *at;
    oct_model *m = NULL;
    oct_error  err;
    memset(&err, 0, sizeof err);
    memcpy(copy, k->file, k->bytes);
    at = lora_entry(copy, k->bytes, name);
    if (CHECK(at != NULL)) {
        if (ne) memcpy(at + 4, ne, 8 * (size_t)*at);
        else memcpy(at - strlen(name), other, strlen(name));
        CHECK_INT(oct_model_open_memory(&m, copy, k->bytes, NULL, &err), code);
        if (!CHECK(strstr(err.message, why) != NULL)) CHECK_STR(err.message, why);
    }
    oct_model_close(m);
    free(copy);
}
TEST(lora, refuses_what_does_not_fit) {
    static const int64_t two[] = { 64, 8, 2 }, cols[] = { 32, 8, 4 }, rank[] = { 8, 32, 4 }, none[] = { 64, 0, 4 };
    static const int64_t wide[] = { 2, 64, 8 }, huge[] = { 1, 64, 16 }, gate[] = { 32, 8, 0 };
    model_kit k;
    if (model_open(&k, synth_find("tiny-octavius-2d"), SYNTH_F32)) {          /* n_embd 64, 4 experts of rank 4 */
        lora_refused(&k, "blk.0.attn_q.lora_a", two, NULL, OCT_E_FORMAT, "'blk.0.attn_q.lora_a': shape [64, 8, 2, 1], expected [64, rank (1 to 2048), 4]");
        lora_refused(&k, "blk.1.attn_k.lora_a", cols, NULL, OCT_E_FORMAT, "'blk.1.attn_k.lora_a': shape [32, 8, 4, 1]");
        lora_refused(&k, "blk.1.attn_v.lora_b", rank, NULL, OCT_E_FORMAT, "'blk.1.attn_v.lora_b': shape [8, 32, 4, 1], expected [4, 64, 4]");
        lora_refused(&k, "blk.1.attn_v.lora_b", wide, NULL, OCT_E_FORMAT, "'blk.1.attn_v.lora_b': shape [2, 64, 8, 1], expected [4, 64, 4]");
        lora_refused(&k, "blk.1.attn_output.lora_b", huge, NULL, OCT_E_FORMAT, "'blk.1.attn_output.lora_b': shape [1, 64, 16, 1]");
        lora_refused(&k, "blk.0.attn_q.lora_a", none, NULL, OCT_E_FORMAT, "blk.0.attn_q.lora_a");
        lora_refused(&k, "gate.weight", gate, NULL, OCT_E_FORMAT, "'gate.weight': shape [32, 8]");
        lora_refused(&k, "blk.1.attn_q.lora_a", NULL, "blk.9.attn_q.lora_a", OCT_E_FORMAT, "'blk.1.attn_q.lora_a': missing, expected beside 'blk.1.attn_q.lora_b'");
        lora_refused(&k, "blk.1.attn_q.lora_b", NULL, "blk.1.attn_q.lora_c", OCT_E_FORMAT, "'blk.1.attn_q.lora_b': missing");
        lora_refused(&k, "gate.weight", NULL, "gait.weight", OCT_E_FORMAT, "'gate.weight': missing, expected [64, number of experts] for 'blk.0.attn_q.lora_a'");
    }
    model_close(&k);
}
TEST(lora, refuses_a_count_of_gates) {
    const char *key = "octavius.lora.expert_used_count";
    model_kit k;
    oct_error err;
    if (model_open(&k, synth_find("tiny-octavius-2d"), SYNTH_F16))
        for (uint32_t n = 0; n < 6; n++) {
            oct_model *m = NULL;
            for (size_t i = 0; i < 1 << 16; i++)
                if (memcmp(k.file + i, key, strlen(key)) == 0) memcpy(k.file + i + strlen(key) + 4, &n, 4);
            CHECK_INT(oct_model_open_memory(&m, k.file, k.bytes, NULL, &err) == OCT_OK, n >= 1 && n <= 4);
            if (m) CHECK_INT(m->net.instance_gate.k, n);
            oct_model_close(m);
        }
    model_close(&k);
}

/* --- adapters ------------------------------------------------------------------------------------------------------------ */

typedef struct lora_file { gguf_writer w; unsigned char *file; size_t bytes; float *kept[64]; int n_kept; } lora_file;

static void lora_file_begin(lora_file *f, const char *arch, float alpha) {
    memset(f, 0, sizeof *f);
    gw_begin(&f->w);
    gw_str(&f->w, "general.type", "adapter");
    gw_str(&f->w, "general.architecture", arch);
    gw_str(&f->w, "adapter.type", "lora");
    gw_f32(&f->w, "adapter.lora.alpha", alpha);
}
/* STEM.weight.lora_a [rank, cols] and .lora_b [rows, rank]; what they hold is kept. */
static void lora_file_pair(lora_file *f, const char *stem, int rank, int cols, int rows) {
    char name[96];
    float *a = f->kept[f->n_kept++] = kt_floats((size_t)rank * (size_t)cols, 0.3), *b = f->kept[f->n_kept++] = kt_floats((size_t)rank * (size_t)rows, 0.3);
    snprintf(name, sizeof name, "%s.weight.lora_a", stem);
    gw_tensor_2d(&f->w, name, 0, (uint64_t)cols, (uint64_t)rank, a);
    snprintf(name, sizeof name, "%s.weight.lora_b", stem);
    gw_tensor_2d(&f->w, name, 0, (uint64_t)rank, (uint64_t)rows, b);
}
static oct_lora *lora_file_open(lora_file *f, const oct_model *m) {
    oct_lora *l = NULL;
    oct_error err;
    memset(&err, 0, sizeof err);
    f->file = gw_finish(&f->w, &f->bytes);
    if (oct_lora_open_memory(&l, m, f->file, f->bytes, &err)) test_check(0, __FILE__, __LINE__, err.message);
    return l;
}
static void lora_file_close(lora_file *f) {
    for (int i = 0; i < f->n_kept; i++) free(f->kept[i]);
    free(f->file);
}
/* W += by * B A in the F32 file, W [rows, cols]. */
static void lora_merge(char *file, size_t bytes, const char *name, const float *a, const float *b, int rank, int cols, int rows, double by) {
    oct_model_desc d;
    oct_model     *dir = NULL;
    oct_tensor     t;
    oct_error      err;
    memset(&d, 0, sizeof d);
    d.load = OCT_LOAD_DIRECTORY;
    if (CHECK(oct_model_open_memory(&dir, file, bytes, &d, &err) == OCT_OK) && CHECK(oct_model_tensor_find(dir, name, &t) == OCT_OK) &&
        CHECK(t.type == 0 && t.ne[0] == cols && t.ne[1] == rows)) {
        char *w = file + ((const char *)t.data - file);
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < cols; c++, w += 4) {
                float  x;
                double sum = 0;
                memcpy(&x, w, 4);
                for (int i = 0; i < rank; i++) sum += (double)b[r * rank + i] * (double)a[i * cols + c];
                x = (float)((double)x + by * sum);
                memcpy(w, &x, 4);
            }
    }
    oct_model_close(dir);
}
/* Logits of the case's prompt with these adapters; NULL after a failed check. */
static float *lora_logits(const golden *g, const oct_model *m, const oct_lora *const *loras, const float *scales, int n, int n_step) {
    const golden_array *ids = golden_find(g, "ids"), *ref = golden_find(g, "logits");
    oct_session_desc d;
    oct_session     *s = NULL;
    oct_error        err;
    golden_watch     w;
    float           *out = NULL;
    memset(&d, 0, sizeof d);
    memset(&err, 0, sizeof err);
    golden_watch_open(&w, g, ids->rows, ref->cols, 1);
    d.n_ctx = ids->rows;
    d.raw = d.exact = d.n_threads = 1;
    d.kv_type = OCT_KV_F32;
    d.stage = golden_stage;
    d.stage_user = &w;
    oct_result r = oct_session_open(&s, m, &d, &err);
    if (!r) r = oct_session_set_lora(s, loras, scales, n, &err);
    for (int at = 0; at < ids->rows && !r; at++) {
        const int count = at < ids->rows - n_step ? ids->rows - n_step : 1;
        r = oct_feed_tokens(s, ids->i + at, (size_t)count, &err);
        if (!r) r = oct_prefill(s, &err);
        at += count - 1;
    }
    if (r) test_check(0, __FILE__, __LINE__, err.message);
    else out = w.logits;
    if (!r) w.logits = NULL;
    golden_watch_close(&w);
    oct_session_close(s);
    return out;
}
static void lora_near(const golden *g, const float *a, const float *b, const char *what, double least, double most) {
    const golden_array *ref = golden_find(g, "logits");
    char text[160];
    const double far = a && b ? golden_distance(a, b, (size_t)ref->rows * (size_t)ref->cols) : HUGE_VAL;
    snprintf(text, sizeof text, "%s: %.2g apart, wanted %g to %g", what, far, least, most);
    test_check(far >= least && far <= most, __FILE__, __LINE__, text);
}
/* Two adapters on every kind of matrix, one of them quiet, against weights that they were merged into. */
TEST(lora, adapters_as_merged_weights) {
    static const char *const stems[] = { "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down" };
    static const int rows[] = { 48, 24, 24, 48, 56, 56, 48 }, cols[] = { 48, 48, 48, 48, 48, 48, 56 };
    golden    g;
    lora_file one, two;
    char      stem[64], name[96];
    if (golden_open(&g, "llama")) {
        char       *merged = (char *)malloc(g.gguf_bytes);
        oct_model  *m = golden_model(g.gguf, g.gguf_bytes);
        const int   n_vocab = golden_find(&g, "logits")->cols;
        memcpy(merged, g.gguf, g.gguf_bytes);
        lora_file_begin(&one, "llama", 6.0f);                             /* rank 3: alpha / rank is 2 */
        lora_file_begin(&two, "llama", 0.0f);                             /* no alpha: 1 */
        for (int i = 0; i < 7; i++) {
            snprintf(stem, sizeof stem, "blk.%d.%s", i % 2, stems[i]);
            snprintf(name, sizeof name, "%s.weight", stem);
            lora_file_pair(&one, stem, 3, cols[i], rows[i]);
            lora_merge(merged, g.gguf_bytes, name, one.kept[2 * i], one.kept[2 * i + 1], 3, cols[i], rows[i], 2 * 0.5);
        }
        lora_file_pair(&two, "output", 5, 48, n_vocab);
        lora_merge(merged, g.gguf_bytes, "output.weight", two.kept[0], two.kept[1], 5, 48, n_vocab, 0.25);
        float *turned = (float *)malloc(5 * 48 * sizeof(float)), *embd_b = two.kept[2] = kt_floats(5 * 48, 0.3);
        float *embd_a = two.kept[3] = kt_floats(5 * (size_t)n_vocab, 0.3);
        two.n_kept = 4;
        gw_tensor_2d(&two.w, "token_embd.weight.lora_a", 0, 5, (uint64_t)n_vocab, embd_a);           /* it is stored the other way round */
        gw_tensor_2d(&two.w, "token_embd.weight.lora_b", 0, 5, 48, embd_b);
        gw_tensor_2d(&two.w, "blk.0.attn_norm.weight.lora_a", 0, 5, 1, embd_b);                      /* llama.cpp leaves those out too */
        for (int i = 0; i < 5 * 48; i++) turned[i % 5 * 48 + i / 5] = embd_b[i];
        lora_merge(merged, g.gguf_bytes, "token_embd.weight", turned, embd_a, 5, 48, n_vocab, 0.25);
        free(turned);
        oct_lora *l[2] = { NULL, NULL };
        l[0] = lora_file_open(&one, m);
        l[1] = lora_file_open(&two, m);
        oct_model *whole = golden_model(merged, g.gguf_bytes);
        const oct_lora *list[2] = { l[0], l[1] };
        const float scales[2] = { 0.5f, 0.25f }, off[2] = { 0.5f, 0 };
        if (m && whole && l[0] && l[1]) {
            float *plain = lora_logits(&g, m, NULL, NULL, 0, 0), *want = lora_logits(&g, whole, NULL, NULL, 0, 0);
            float *got = lora_logits(&g, m, list, scales, 2, 0), *steps = lora_logits(&g, m, list, scales, 2, 10), *half = lora_logits(&g, m, list, off, 2, 0);
            lora_near(&g, got, want, "adapters against merged weights", 0, 1e-5);
            lora_near(&g, got, steps, "adapters token by token", 0, 0);
            lora_near(&g, plain, want, "without adapters", 0.01, 1e9);
            lora_near(&g, half, want, "with one adapter of two", 0.01, 1e9);
            free(plain);
            free(want);
            free(got);
            free(steps);
            free(half);
        }
        oct_lora_close(l[0]);
        oct_lora_close(l[1]);
        oct_model_close(whole);
        oct_model_close(m);
        lora_file_close(&one);
        lora_file_close(&two);
        free(merged);
    }
    golden_close(&g);
}
/* A file that gguf-py wrote, F32 and F16, against the reference's merged weights. */
TEST(lora, adapter_as_the_reference) {
    golden  g;
    size_t  bytes;
    char   *file = golden_file("llama", ".gguf", &bytes);
    if (golden_open(&g, "adapter")) {
        oct_model       *m = golden_model(file, bytes);
        oct_lora        *l = NULL;
        oct_error        err;
        const float      scale = 0.5f;
        if (m && CHECK_INT(oct_lora_open_memory(&l, m, g.gguf, g.gguf_bytes, &err), OCT_OK)) {
            const oct_lora *list[1] = { l };
            float *got = lora_logits(&g, m, list, &scale, 1, 4), *plain = lora_logits(&g, m, NULL, NULL, 0, 0);
            lora_near(&g, got, golden_find(&g, "logits")->f, "an adapter", 0, 1e-5);
            lora_near(&g, plain, golden_find(&g, "logits")->f, "without it", 0.01, 1e9);
            free(got);
            free(plain);
        }
        oct_lora_close(l);
        oct_model_close(m);
    }
    golden_close(&g);
    free(file);
}
/* A fused attn_qkv is divided, and so is what an adapter adds to it. */
TEST(lora, adapters_on_fused_qkv) {
    golden    g;
    lora_file f;
    if (golden_open(&g, "phi2")) {
        char      *merged = (char *)malloc(g.gguf_bytes);
        oct_model *m = golden_model(g.gguf, g.gguf_bytes), *whole;
        memcpy(merged, g.gguf, g.gguf_bytes);
        lora_file_begin(&f, "phi2", 4.0f);
        lora_file_pair(&f, "blk.1.attn_qkv", 4, 40, 120);
        lora_merge(merged, g.gguf_bytes, "blk.1.attn_qkv.weight", f.kept[0], f.kept[1], 4, 40, 120, 1);
        oct_lora *l = lora_file_open(&f, m);
        const oct_lora *list[1] = { l };
        whole = golden_model(merged, g.gguf_bytes);
        if (m && whole && l) {
            float *want = lora_logits(&g, whole, NULL, NULL, 0, 0), *got = lora_logits(&g, m, list, NULL, 1, 0), *plain = lora_logits(&g, m, NULL, NULL, 0, 0);
            lora_near(&g, got, want, "an adapter on attn_qkv", 0, 1e-5);
            lora_near(&g, plain, want, "without it", 0.01, 1e9);
            free(want);
            free(got);
            free(plain);
        }
        oct_lora_close(l);
        oct_model_close(whole);
        oct_model_close(m);
        lora_file_close(&f);
        free(merged);
    }
    golden_close(&g);
}
static void lora_not_opened(const oct_model *m, lora_file *f, oct_result code, const char *why) {
    oct_lora *l = NULL;
    oct_error err;
    memset(&err, 0, sizeof err);
    f->file = gw_finish(&f->w, &f->bytes);
    CHECK_INT(oct_lora_open_memory(&l, m, f->file, f->bytes, &err), code);
    CHECK(l == NULL);
    if (!CHECK(strstr(err.message, why) != NULL)) CHECK_STR(err.message, why);
    lora_file_close(f);
}
TEST(lora, adapters_refused) {
    golden    g;
    lora_file f;
    oct_lora *l = NULL;
    oct_error err;
    if (golden_open(&g, "llama")) {
        oct_model *m = golden_model(g.gguf, g.gguf_bytes);
        lora_file_begin(&f, "phi2", 1);
        lora_not_opened(m, &f, OCT_E_UNSUPPORTED, "an adapter for 'phi2', the model is 'llama'");
        memset(&f, 0, sizeof f);
        gw_begin(&f.w);
        gw_str(&f.w, "general.architecture", "llama");
        lora_not_opened(m, &f, OCT_E_UNSUPPORTED, "general.type");
        lora_file_begin(&f, "llama", 1);
        lora_file_pair(&f, "blk.0.attn_q", 4, 48, 47);
        lora_not_opened(m, &f, OCT_E_FORMAT, "'blk.0.attn_q.weight.lora_b': shape [4, 47, 1, 1], expected [4, 48, 1]");
        lora_file_begin(&f, "llama", 1);
        lora_file_pair(&f, "blk.7.attn_q", 4, 48, 48);
        lora_not_opened(m, &f, OCT_E_UNSUPPORTED, "'blk.7.attn_q.weight.lora_a': the model has no linear of this name");
        lora_file_begin(&f, "llama", 1);
        gw_tensor_2d(&f.w, "blk.0.ffn_up.weight.lora_a", 0, 48, 1, golden_find(&g, "logits")->f);
        lora_not_opened(m, &f, OCT_E_FORMAT, "'blk.0.ffn_up.weight.lora_b': missing, expected beside 'blk.0.ffn_up.weight.lora_a'");
        CHECK_INT(oct_lora_open_memory(&l, m, "GGUF", 4, &err), OCT_E_FORMAT);
        CHECK_INT(oct_lora_open(&l, m, test_tmp("no-such.gguf"), &err), OCT_E_IO);
        CHECK_INT(oct_lora_open(&l, NULL, "x", &err), OCT_E_ARG);
        CHECK_INT(oct_session_set_lora(NULL, NULL, NULL, 0, &err), OCT_E_ARG);
        oct_model_close(m);
    }
    golden_close(&g);
}
/* Every allocation of opening and setting an adapter failed once. */
TEST(lora, adapters_without_memory) {
    golden         g;
    lora_file      f;
    oct_model_desc d;
    memory_hook    h;
    oct_error      err;
    if (golden_open(&g, "llama")) {
        lora_file_begin(&f, "llama", 1);
        lora_file_pair(&f, "blk.0.attn_q", 4, 48, 48);
        f.file = gw_finish(&f.w, &f.bytes);
        memory_desc(&d, &h);
        oct_model   *m = NULL;
        oct_session *s = NULL;
        oct_result   r = OCT_E_MEMORY;
        oct_session_desc sd;
        memset(&sd, 0, sizeof sd);
        sd.n_ctx = 32;
        sd.n_threads = 1;
        if (CHECK(oct_model_open_memory(&m, g.gguf, g.gguf_bytes, &d, &err) == OCT_OK) && CHECK(oct_session_open(&s, m, &sd, &err) == OCT_OK)) {
            const long live = h.live;
            for (long n = 1; r == OCT_E_MEMORY && n < 100; n++) {
                oct_lora *l = NULL;
                h.fail_at = h.calls + n;
                r = oct_lora_open_memory(&l, m, f.file, f.bytes, &err);
                const oct_lora *list[1] = { l };
                if (!r) r = oct_session_set_lora(s, list, NULL, 1, &err);
                CHECK(r == OCT_OK || r == OCT_E_MEMORY);
                CHECK(oct_session_set_lora(s, NULL, NULL, 0, NULL) == OCT_OK);
                oct_lora_close(l);
                if (r) CHECK_INT(h.live, live);
            }
            CHECK_INT(r, OCT_OK);
        }
        oct_session_close(s);
        oct_model_close(m);
        CHECK_INT(h.live, 0);
        lora_file_close(&f);
    }
    golden_close(&g);
}
