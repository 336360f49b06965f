/* Chapter 13 and what surrounds it: choices, weights and drops against DeepSpeed's own gates (tests/golden/moe-gates.bin, made
 * by tools/reference/make_gates.py), a layer against DeepSpeed's, and what callbacks, counters and the binder promise.  The
 * networks' stages are in test_golden.c, determinism is in test_model.c.  Uses the helpers of test_kernels.c, test_model.c,
 * test_memory.c and test_golden.c. */

/* --- choosing: DeepSpeed's gates ------------------------------------------------------------------- */

static const golden_array *moe_array(const golden *g, const char *id, const char *part) {
    char name[48];
    snprintf(name, sizeof name, "%s.%s", id, part);
    return golden_find(g, name);
}
static int moe_gates_open(golden *g) {
    memset(g, 0, sizeof *g);
    g->bin = golden_file("moe-gates", ".bin", &g->bin_bytes);
    return CHECK(g->bin != NULL) && CHECK(golden_parse(g) == 0);
}
/* As oct__moe_route does it, from logits. */
static void moe_choose(const oct__kernels *k, const oct__moe_rule *rule, const float *logits, int n_tok, int n_expert,
                       bool capacity, int32_t *chosen, float *weights) {
    int32_t taken[OCT__MAX_EXPERTS];
    for (int t = 0; t < n_tok; t++)
        oct__route_token(k, logits + t * n_expert, n_expert, rule->k, chosen + t * rule->k, weights + t * rule->k);
    if (capacity) oct__route_drop(rule, chosen, weights, n_tok, n_expert, taken);
    for (int t = 0; t < n_tok; t++) oct__route_weigh(rule, weights + t * rule->k);
}
static oct__moe_rule moe_rule(int k, float factor, int min_capacity) {
    oct__moe_rule rule;
    memset(&rule, 0, sizeof rule);
    rule.k = k;
    rule.raw_one = true;
    rule.has_capacity = true;
    rule.factor = factor;
    rule.min_capacity = min_capacity;
    return rule;
}

static void moe_gate_case(const golden *g, const char *id, const oct__kernels *k) {
    const golden_array *r = moe_array(g, id, "rule"), *logits = moe_array(g, id, "logits"), *choice = moe_array(g, id, "choice");
    const golden_array *location = moe_array(g, id, "location"), *weight = moe_array(g, id, "weight");
    const oct__moe_rule rule = moe_rule((int)r->f[0], r->f[1], (int)r->f[2]);
    const int n_tok = logits->rows, n_expert = logits->cols;
    int32_t chosen[128];
    float   weights[128];
    char    text[160];
    if (!CHECK(n_tok * rule.k <= 128)) return;
    moe_choose(k, &rule, logits->f, n_tok, n_expert, true, chosen, weights);
    CHECK_INT(oct__moe_capacity(&rule, n_tok, n_expert), r->f[3]);
    for (int i = 0; i < n_tok * rule.k; i++) {
        const double want = (double)weight->f[i];
        snprintf(text, sizeof text, "gate %s, %s, choice %d: expert %d weighs %g, wanted %d and %g", id, k->name, i, chosen[i],
                 (double)weights[i], choice->i[i], want);
        /* below the smallest normal float ours are 0 */
        test_check(chosen[i] == choice->i[i] && fabs((double)weights[i] - want) <= 2e-6 * want + 1e-38, __FILE__, __LINE__, text);
        if (location->i[i] < 0) CHECK(weights[i] == 0.0f);
    }
}
TEST(moe, gates_as_deepspeed) {
    golden              g;
    const oct__kernels *k;
    int                 n = 0;
    if (moe_gates_open(&g))
        for (int i = 0; (k = kt_table(i)) != NULL; i++)
            for (int j = 0; j < g.n; j++)
                if (strstr(g.a[j].name, ".logits")) {
                    char id[8];
                    snprintf(id, sizeof id, "%.2s", g.a[j].name);
                    moe_gate_case(&g, id, k);
                    n++;
                }
    CHECK(n >= 11);
    golden_close(&g);
}
TEST(moe, capacity_in_float) {
    const oct__moe_rule a = moe_rule(2, 0.9f, 0), b = moe_rule(1, 0.6f, 0), c = moe_rule(2, 0.25f, 4), d = moe_rule(2, 1e6f, 0);
    CHECK_INT(oct__moe_capacity(&a, 25, 3), 15);                       /* exact arithmetic: 16 */
    CHECK_INT(oct__moe_capacity(&b, 35, 3), 8);                        /* exact arithmetic: 7 */
    CHECK_INT(oct__moe_capacity(&c, 3, 4), 4);
    CHECK_INT(oct__moe_capacity(&d, 1 << 22, 4), 1 << 22);
}
TEST(moe, ties_go_to_the_lowest_index) {
    static const float logits[3][4] = { { 1, 1, 1, 1 }, { 0, 2, 1, 2 }, { -1, 3, 5, 3 } };
    static const int   want[3][2] = { { 0, 1 }, { 1, 3 }, { 2, 1 } };
    const oct__moe_rule rule = moe_rule(2, 2.0f, 0);
    int32_t chosen[6];
    float   weights[6];
    moe_choose(oct__kernels_list(0), &rule, logits[0], 3, 4, false, chosen, weights);
    for (int t = 0; t < 3; t++) {
        CHECK_INT(chosen[2 * t], want[t][0]);
        CHECK_INT(chosen[2 * t + 1], want[t][1]);
    }
    CHECK_NEAR(weights[0], 0.5, 0);
    CHECK_NEAR(weights[4], 1 / (1 + exp(-2.0)), 1e-6);
}
TEST(moe, one_choice_by_either_rule) {
    static const float logits[3] = { 0.5f, 1.5f, -1.0f };
    oct__moe_rule rule = moe_rule(1, 2.0f, 0);
    int32_t chosen[1];
    float   weights[1];
    moe_choose(oct__kernels_list(0), &rule, logits, 1, 3, false, chosen, weights);
    CHECK_INT(chosen[0], 1);
    CHECK_NEAR(weights[0], exp(1.5) / (exp(0.5) + exp(1.5) + exp(-1.0)), 1e-6);
    rule.raw_one = false;                                              /* llama.cpp's */
    moe_choose(oct__kernels_list(0), &rule, logits, 1, 3, false, chosen, weights);
    CHECK_NEAR(weights[0], 1, 0);
}
TEST(moe, a_broken_router_chooses_still) {
    float   logits[4] = { NAN, NAN, INFINITY, NAN };
    int32_t chosen[4];
    float   probs[4];
    oct__route_token(oct__kernels_list(0), logits, 4, 4, chosen, probs);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j <= i; j++) CHECK(chosen[i] >= 0 && chosen[i] < 4 && (j == i || chosen[i] != chosen[j]));
}

/* --- a layer ------------------------------------------------------------------------------------------- */

typedef struct moe_kit {
    oct__compute     c;
    oct__moe         moe;
    oct__moe_rule    rule;
    oct__moe_scratch s;
    oct__acts        acts;
    oct__expert      parts[3 * 8];                                     /* up, gate, down */
    float           *router;
    void            *scratch_memory, *acts_memory;
} moe_kit;

static void moe_kit_open(moe_kit *kit, const oct__kernels *k, int n_threads, const oct__moe_rule *rule, int n_expert, int n_embd,
                         int n_ff, int max_tok) {
    oct__arena a;
    memset(kit, 0, sizeof *kit);
    kit->c = kt_compute(k, n_threads, n_threads > 1 ? kt_backwards : NULL, 64);
    kit->rule = *rule;
    kit->moe.n_expert = n_expert;
    kit->moe.n_ff = n_ff;
    kit->moe.up = kit->parts;
    kit->moe.gate = kit->parts + n_expert;
    kit->moe.down = kit->parts + 2 * n_expert;
    kit->router = (float *)calloc((size_t)n_embd * 16, sizeof(float));
    kit->moe.router = kit->router;
    kit->acts = kt_acts(max_tok * rule->k, OCT__MAX(n_embd, n_ff), &kit->acts_memory);
    memset(&a, 0, sizeof a);
    oct__moe_take(&a, &kit->s, max_tok, rule->k, n_expert, n_embd, n_ff);
    kit->scratch_memory = a.base = (unsigned char *)kt_aligned(a.used);
    a.cap = a.used;
    a.used = 0;
    oct__moe_take(&a, &kit->s, max_tok, rule->k, n_expert, n_embd, n_ff);
}
static void moe_kit_close(moe_kit *kit) {
    free(kit->c.scratch);
    free(kit->router);
    free(kit->scratch_memory);
    free(kit->acts_memory);
}
static void moe_kit_run(moe_kit *kit, const float *x, float *y, int n_tok, int n_embd, bool capacity, bool quantised) {
    oct__moe_run run;
    memset(&run, 0, sizeof run);
    run.c = &kit->c;
    run.moe = &kit->moe;
    run.rule = &kit->rule;
    run.s = &kit->s;
    run.x = x;
    run.y = y;
    run.n_tok = n_tok;
    run.n_embd = n_embd;
    oct__moe_route(&run, capacity);
    oct__moe_experts(&run, &kit->acts, quantised);
}
static void moe_mat(oct__mat *w, int type, int rows, int cols, const void *data) {
    w->type = type;
    w->rows = rows;
    w->cols = cols;
    w->row_bytes = oct__row_bytes(type, cols);
    w->data = (const unsigned char *)data;
}

/* DeepSpeed's layer: 22 tokens, 4 experts fc2(gelu(fc1(x))) with biases; with drops, two and one expert a token. */
static void moe_layer_case(const golden *g, const char *id, const oct__kernels *k, int n_threads) {
    const golden_array *r = moe_array(g, "layer", id), *x = moe_array(g, "layer", "x"), *router = moe_array(g, "layer", "router");
    const golden_array *fc1 = moe_array(g, "layer", "fc1.weight"), *b1 = moe_array(g, "layer", "fc1.bias");
    const golden_array *fc2 = moe_array(g, "layer", "fc2.weight"), *b2 = moe_array(g, "layer", "fc2.bias");
    char    name[40], text[160];
    moe_kit kit;
    snprintf(name, sizeof name, "%s.rule", id);
    const golden_array *f = moe_array(g, "layer", name);
    const oct__moe_rule rule = moe_rule((int)f->f[0], f->f[1], (int)f->f[2]);
    const int n_expert = router->rows, d = x->cols, ff = fc1->rows / n_expert;
    float *y = kt_floats((size_t)x->rows * (size_t)d, 1.0);
    moe_kit_open(&kit, k, n_threads, &rule, n_expert, d, ff, x->rows);
    kit.moe.gate = NULL;
    for (int e = 0; e < n_expert; e++) {
        oct__moe_router_row(kit.router, e, router->f + e * d, d);
        moe_mat(&kit.moe.up[e].w, OCT__F32, ff, d, fc1->f + e * ff * d);
        moe_mat(&kit.moe.down[e].w, OCT__F32, d, ff, fc2->f + e * d * ff);
        kit.moe.up[e].b = b1->f + e * ff;
        kit.moe.down[e].b = b2->f + e * d;
    }
    moe_kit_run(&kit, x->f, y, x->rows, d, true, false);
    const double far = golden_distance(y, r->f, (size_t)x->rows * (size_t)d);
    snprintf(text, sizeof text, "layer %s, %s, %d threads: relative error %.2g", id, k->name, n_threads, far);
    test_check(far <= 2e-6, __FILE__, __LINE__, text);
    free(y);
    moe_kit_close(&kit);
}
TEST(moe, layer_as_deepspeed) {
    static const char *const runs[3] = { "top2", "top2-full", "top1-full" };
    golden              g;
    const oct__kernels *k;
    if (moe_gates_open(&g))
        for (int i = 0; (k = kt_table(i)) != NULL; i++)
            for (int j = 0; j < 6; j++) moe_layer_case(&g, runs[j % 3], k, j < 3 ? 1 : 3);
    golden_close(&g);
}

/* What one dense layer gives for x, into y. */
static void moe_dense(moe_kit *kit, const float *x, float *y, int n_tok, int d, int ff, bool quantised) {
    float  *gate = kt_floats((size_t)n_tok * (size_t)ff, 1.0), *up = kt_floats((size_t)n_tok * (size_t)ff, 1.0);
    oct__mm jobs[2];
    memset(jobs, 0, sizeof jobs);
    jobs[0].w = &kit->moe.gate[0].w;
    jobs[0].y = gate;
    jobs[1].w = &kit->moe.up[0].w;
    jobs[1].y = up;
    jobs[0].y_stride = jobs[1].y_stride = (size_t)ff;
    oct__acts_set(&kit->c, &kit->acts, x, n_tok, d, quantised);
    oct__matmul(&kit->c, jobs, 2, &kit->acts);
    oct__silu_mul(&kit->c, up, gate, up, (size_t)n_tok * (size_t)ff);
    jobs[0].w = &kit->moe.down[0].w;
    jobs[0].y = y;
    jobs[0].y_stride = (size_t)d;
    oct__acts_set(&kit->c, &kit->acts, up, n_tok, ff, quantised);
    oct__matmul(&kit->c, jobs, 1, &kit->acts);
    free(gate);
    free(up);
}
/* Four times the same expert is that expert, for any router. */
static void moe_identical(const oct__kernels *k, int type, int n_tok) {
    enum { D = 256, FF = 512, N = 4 };
    const oct__moe_rule rule = moe_rule(2, 2.0f, 0);
    kt_case up = kt_make(type, FF, D, n_tok), gate = kt_make(type, FF, D, 1), down = kt_make(type, D, FF, 1);
    float  *y = kt_floats((size_t)n_tok * D, 1.0), *want = kt_floats((size_t)n_tok * D, 1.0), *row = kt_floats(D, 0.1);
    char    text[120];
    moe_kit kit;
    moe_kit_open(&kit, k, 3, &rule, N, D, FF, n_tok);
    for (int e = 0; e < N; e++) {
        for (int i = 0; i < D; i++) row[i] = (float)(0.2 * kt_uniform());
        oct__moe_router_row(kit.router, e, row, D);
        kit.moe.up[e].w = up.w;
        kit.moe.gate[e].w = gate.w;
        kit.moe.down[e].w = down.w;
    }
    moe_kit_run(&kit, up.x, y, n_tok, D, false, true);
    moe_dense(&kit, up.x, want, n_tok, D, FF, true);
    const double far = golden_distance(y, want, (size_t)n_tok * D);
    snprintf(text, sizeof text, "four times the same expert, type %d, %s, %d tokens: %.2g from the dense layer", type, k->name,
             n_tok, far);
    test_check(far <= 1e-6, __FILE__, __LINE__, text);
    moe_kit_close(&kit);
    free(y);
    free(want);
    free(row);
    kt_drop(&up);
    kt_drop(&gate);
    kt_drop(&down);
}
TEST(moe, identical_experts_are_the_dense_layer) {
    static const int    types[4] = { OCT__F32, OCT__F16, OCT__Q8_0, OCT__Q4_K };
    const oct__kernels *k;
    for (int i = 0; (k = kt_table(i)) != NULL; i++)
        for (int j = 0; j < 4; j++) {
            moe_identical(k, types[j], 1);
            moe_identical(k, types[j], 61);
        }
}

/* Experts that nobody chose are not read: their weights are NaN. */
TEST(moe, only_chosen_experts_are_read) {
    enum { D = 64, FF = 96, N = 4 };
    const oct__moe_rule rule = moe_rule(2, 2.0f, 0);
    kt_case good = kt_make(OCT__F32, FF, D, 1), down = kt_make(OCT__F32, D, FF, 1);
    float  *bad = kt_floats(FF * D, 1.0), x[D], y[D];
    moe_kit kit;
    moe_kit_open(&kit, oct__kernels_list(0), 1, &rule, N, D, FF, 1);
    for (int i = 0; i < FF * D; i++) bad[i] = NAN;
    for (int i = 0; i < D; i++) x[i] = 0.5f;
    for (int e = 0; e < N; e++) {
        float row[D];
        for (int i = 0; i < D; i++) row[i] = e % 2 ? 0.1f : -0.1f;     /* 1 and 3 */
        oct__moe_router_row(kit.router, e, row, D);
        moe_mat(&kit.moe.up[e].w, OCT__F32, FF, D, e % 2 ? good.w.data : (const void *)bad);
        moe_mat(&kit.moe.gate[e].w, OCT__F32, FF, D, e % 2 ? good.w.data : (const void *)bad);
        moe_mat(&kit.moe.down[e].w, OCT__F32, D, FF, e % 2 ? down.w.data : (const void *)bad);
    }
    moe_kit_run(&kit, x, y, 1, D, false, false);
    for (int i = 0; i < D; i++) CHECK(fabsf(y[i]) < 1e6f);
    moe_kit_close(&kit);
    free(bad);
    kt_drop(&good);
    kt_drop(&down);
}

/* --- sessions: callback, counters, capacity -------------------------------------------------------------- */

typedef struct moe_seen {
    int      calls, bad, dropped, last_layer;
    uint64_t counts[2][4];
} moe_seen;

static void moe_watch(void *user, const oct_route *r) {
    moe_seen *seen = (moe_seen *)user;
    float     sum = 0;
    seen->calls++;
    seen->bad += r->n_expert != 4 || r->k != 2 || r->layer < 0 || r->layer > 1 || r->position < 0 || r->modality != 0;
    if (r->n_expert != 4 || r->k != 2 || r->layer < 0 || r->layer > 1) return;
    seen->bad += r->chosen[0] == r->chosen[1] || r->logits[r->chosen[0]] < r->logits[r->chosen[1]];
    for (int i = 0; i < 2; i++) {
        sum += r->weights[i];
        seen->dropped += r->weights[i] == 0.0f;
        seen->counts[r->layer][r->chosen[i]] += r->weights[i] != 0.0f;
    }
    seen->bad += sum != 0.0f && fabsf(sum - 1.0f) > 1e-6f;
}

/* Takes in n ids with this desc; what the router chose goes into seen, the last logits into out. */
static oct_session *moe_session(const model_kit *k, int n, int capacity, int n_batch, moe_seen *seen, float *out) {
    const model_way  way = { n_batch, 2, 0, 0, OCT_KV_F16 };
    oct_session_desc d;
    oct_session     *s = NULL;
    oct_error        err;
    memset(&err, 0, sizeof err);
    memset(seen, 0, sizeof *seen);
    model_desc(&d, &way, 64);
    d.capacity = capacity;
    d.router = moe_watch;
    d.router_user = seen;
    if (!CHECK_INT(oct_session_open(&s, k->m, &d, &err), OCT_OK)) CHECK_STR(err.message, "");
    if (s) CHECK(model_run(s, k, 0, n, 0, out));
    return s;
}
TEST(moe, callback_and_counters) {
    model_kit k;
    moe_seen  seen;
    uint64_t  counts[4], all;
    oct_error err;
    oct_model_info info;
    if (model_open(&k, synth_find("tiny-moe-phi2"), SYNTH_F32)) {
        oct_session *s = moe_session(&k, 40, 0, 7, &seen, model_got);
        oct_model_info_get(k.m, &info);
        CHECK_INT(info.n_expert, 4);
        CHECK_INT(info.k_top, 2);
        CHECK_INT(seen.calls, 40);                                     /* layer 0 has experts, layer 1 has none */
        CHECK_INT(seen.bad, 0);
        CHECK_INT(seen.dropped, 0);
        for (int layer = 0; s && layer < 2; layer++) {
            all = 0;
            CHECK_INT(oct_session_expert_counts(s, layer, 0, counts, 4, &err), OCT_OK);
            for (int e = 0; e < 4; e++) {
                CHECK_INT(counts[e], seen.counts[layer][e]);
                all += counts[e];
            }
            CHECK_INT(all, layer == 0 ? 80 : 0);
            CHECK_INT(oct_session_expert_counts(s, layer, 1, counts, 4, &err), OCT_OK);
            CHECK_INT(counts[0] + counts[1] + counts[2] + counts[3], 0);
        }
        if (s) {
            CHECK_INT(oct_session_expert_counts(s, 2, 0, counts, 4, &err), OCT_E_ARG);
            CHECK_INT(oct_session_expert_counts(s, 0, 3, counts, 4, &err), OCT_E_ARG);
            CHECK_INT(oct_session_expert_counts(s, 0, 0, counts, 5, &err), OCT_E_ARG);
            CHECK_INT(oct_session_expert_counts(s, 0, 0, NULL, 4, &err), OCT_E_ARG);
            CHECK_INT(oct_session_expert_counts(NULL, 0, 0, counts, 4, &err), OCT_E_ARG);
            oct_session_reset(s);
            CHECK_INT(oct_session_expert_counts(s, 0, 0, counts, 4, &err), OCT_OK);
            CHECK_INT(counts[0] + counts[1] + counts[2] + counts[3], 0);
        }
        oct_session_close(s);
    }
    model_close(&k);
}
/* Where key stands in a file, behind its type; NULL: nowhere. */
static unsigned char *moe_value(model_kit *k, const char *key) {
    const size_t n = strlen(key);
    for (size_t i = 0; i + n + 8 < k->bytes; i++)
        if (memcmp(k->file + i, key, n) == 0) return k->file + i + n + 4;
    return NULL;
}
TEST(moe, capacity_drops_and_is_off_by_default) {
    model_kit k;
    moe_seen  seen;
    oct_error err;
    if (model_open(&k, synth_find("tiny-moe-phi2"), SYNTH_F32)) {
        unsigned char *factor = moe_value(&k, "octavius.moe.capacity_factor");
        const float    small = 0.5f;
        oct_session   *s = moe_session(&k, 40, 0, 64, &seen, model_want);
        oct_session_close(s);
        s = moe_session(&k, 40, 1, 64, &seen, model_got);              /* the file's factor 2 drops nothing */
        CHECK_INT(seen.dropped, 0);
        CHECK(model_same(model_want, model_got, &k, 1));
        oct_session_close(s);
        oct_model_close(k.m);
        k.m = NULL;
        if (CHECK(factor != NULL)) memcpy(factor, &small, 4);
        CHECK_INT(oct_model_open_memory(&k.m, k.file, k.bytes, NULL, &err), OCT_OK);
        s = moe_session(&k, 40, 0, 64, &seen, model_got);
        CHECK_INT(seen.dropped, 0);
        CHECK(model_same(model_want, model_got, &k, 1));
        oct_session_close(s);
        s = moe_session(&k, 40, 1, 64, &seen, model_got);
        CHECK_INT(seen.bad, 0);
        CHECK(seen.dropped > 0);
        for (int e = 0; e < 4; e++) CHECK(seen.counts[0][e] <= 10);    /* ceil(40 / 4 * 0.5 * 2) */
        CHECK(!model_same(model_want, model_got, &k, 1));
        oct_session_close(s);
    }
    model_close(&k);
    if (model_open(&k, synth_find("tiny-moe-llama"), SYNTH_F32)) {
        oct_session     *s = NULL;
        oct_session_desc d;
        memset(&d, 0, sizeof d);
        d.capacity = 1;
        CHECK_INT(oct_session_open(&s, k.m, &d, &err), OCT_E_ARG);
        CHECK_STR(err.message, "capacity: the file has no octavius.moe.capacity_factor");
    }
    model_close(&k);
}

/* --- memory, and files that are wrong ------------------------------------------------------------------------ */

TEST(moe, every_allocation_failed_once) { memory_sweep("tiny-moe-phi2", 0, 0); }
TEST(moe, every_allocation_failed_once_llama) { memory_sweep("tiny-moe-llama", 0, 0); }

TEST(moe, nothing_is_allocated_per_token) {
    const model_way way = { 16, 1, 0, 0, OCT_KV_F16 };
    oct_model_desc  md;
    memory_hook     h;
    model_kit       k;
    oct_error       err;
    memset(&err, 0, sizeof err);
    if (model_open(&k, synth_find("tiny-moe-llama"), SYNTH_Q8_0)) {
        oct_model *own = k.m;
        k.m = NULL;
        memory_desc(&md, &h);
        CHECK_INT(oct_model_open_memory(&k.m, k.file, k.bytes, &md, &err), OCT_OK);
        oct_session *s = k.m ? model_session(&k, &way, 64) : NULL;
        oct_token    t;
        if (s && CHECK_INT(oct_feed_tokens(s, k.ids, 30, &err), OCT_OK)) {
            const long calls = h.calls;
            CHECK_INT(oct_prefill(s, &err), OCT_OK);
            for (int i = 0; i < 5; i++) CHECK_INT(oct_next(s, &t, &err), OCT_OK);
            CHECK_INT(h.calls, calls);
        }
        oct_session_close(s);
        oct_model_close(k.m);
        k.m = own;
    }
    model_close(&k);
}

/* Opens the file with bytes at `at` bytes behind `find` replaced; the error must hold `want`. */
static void moe_wrong(const char *name, const char *find, size_t at, const void *bytes, size_t n, const char *want) {
    model_kit k;
    oct_error err;
    oct_model *m = NULL;
    memset(&err, 0, sizeof err);
    if (model_open(&k, synth_find(name), SYNTH_F32)) {
        const size_t len = strlen(find);
        size_t       i = 0;
        while (i + len + at + n < k.bytes && memcmp(k.file + i, find, len) != 0) i++;
        memcpy(k.file + i + len + at, bytes, n);
        const oct_result r = oct_model_open_memory(&m, k.file, k.bytes, NULL, &err);
        if (!test_check(r == OCT_E_FORMAT || r == OCT_E_UNSUPPORTED, __FILE__, __LINE__, want) || !strstr(err.message, want))
            CHECK_STR(err.message, want);
        CHECK(m == NULL);
        oct_model_close(m);
    }
    model_close(&k);
}
TEST(moe, files_that_are_wrong) {
    static const uint32_t five = 5, none = 0, type_i32 = 26;
    static const uint64_t turned[2] = { 4, 64 }, turned_up[2] = { 4, 160 }, turned_bias[2] = { 4, 160 };
    static const char *const up = "blk.0.ffn_up_exps.weight", *const router = "blk.0.ffn_gate_inp.weight";
    /* a tensor's entry: name, u32 dimensions, u64 sizes, u32 type */
    moe_wrong("tiny-moe-llama", "llama.expert_used_count", 4, &five, 4, "4 experts, expected 5 (as many as a token uses) to 384");
    moe_wrong("tiny-moe-llama", "llama.expert_used_count", 4, &none, 4, "llama.expert_used_count");
    moe_wrong("tiny-moe-llama", "llama.expert_used_coun", 0, "X", 1, "llama.expert_used_count");
    moe_wrong("tiny-moe-llama", router, 4, turned, 16, "blk.0.ffn_gate_inp.weight': shape [4, 64], expected [64, 64]");
    moe_wrong("tiny-moe-llama", router, 4 + 16, &type_i32, 4, "blk.0.ffn_gate_inp.weight': type I32, expected F32");
    moe_wrong("tiny-moe-llama", up, 4 + 8, turned_up, 16, "ffn_up_exps.weight': shape [64, 4, 160, 1], expected [64, 4, 4]");
    moe_wrong("tiny-moe-llama", up, 4 + 24, &type_i32, 4, "blk.0.ffn_up_exps.weight': type I32, expected F32");
    moe_wrong("tiny-moe-llama", "blk.1.ffn_down_exps.weigh", 0, "X", 1, "ffn_down_exps.weight': missing, expected [160, 64, 4]");
    moe_wrong("tiny-moe-llama", "blk.1.ffn_up_exps.weigh", 0, "X", 1, "ffn_up_exps.weight': missing, expected [64, width, 4]");
    moe_wrong("tiny-moe-llama", "blk.0.ffn_gate_inp.weigh", 0, "X", 1, "blk.0.ffn_up.weight': missing");
    moe_wrong("tiny-moe-phi2", "blk.0.ffn_up_exps.bias", 4, turned_bias, 16, "exps.bias': shape [4, 160], expected [160, 4]");
}
