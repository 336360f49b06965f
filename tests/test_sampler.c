/* Chapter 15, white box: every filter against a plain reference in double, distributions by chi-square with fixed seeds. */

enum { SMP_MAX = 4096 };

typedef struct smp_rig { oct__sampler s; void *memory; } smp_rig;
static void smp_open(smp_rig *r, int n) {
    oct__arena a;
    memset(&a, 0, sizeof a);
    oct__sampler_take(&a, &r->s, n);
    r->memory = malloc(a.used + 64);
    a.cap = a.used;
    a.used = 0;
    a.base = (unsigned char *)r->memory + (64 - (uintptr_t)r->memory % 64) % 64;
    memset(a.base, 0xEE, a.cap);                       /* nothing may rely on cleared memory */
    oct__sampler_take(&a, &r->s, n);
    CHECK(!a.failed);
}
static void smp_close(smp_rig *r) { free(r->memory); }

static oct_sampling smp_greedy(void) {
    oct_sampling p;
    memset(&p, 0, sizeof p);
    return p;
}
static oct_sampling smp_at(float temperature) {
    oct_sampling p = smp_greedy();
    p.temperature = temperature;
    return p;
}
static int32_t smp_draw(oct__sampler *s, const oct_sampling *p, const float *x, int n, uint64_t seed, int pos) {
    return oct__sample(s, p, x, n, NULL, NULL, 0, seed, pos);
}

/* --- the reference: sort by value, lower ids first among equals, then filter as the API says ---------------- */

static const float *smp_values;
static int smp_order(const void *a, const void *b) {
    const int i = *(const int *)a, j = *(const int *)b;
    return smp_values[i] > smp_values[j] ? -1 : smp_values[i] < smp_values[j] ? 1 : i - j;
}
/* p [n]: the probability of each id, 0 where a filter drops it. */
static void smp_reference(const oct_sampling *s, const float *x, int n, double *p) {
    static int order[SMP_MAX];
    double sum = 0, acc = 0, kept = 0;
    int k = s->top_k > 0 && s->top_k < n ? s->top_k : n;
    for (int i = 0; i < n; i++) order[i] = i;
    smp_values = x;
    qsort(order, (size_t)n, sizeof *order, smp_order);
    for (int i = 0; i < n; i++) p[i] = 0;
    for (int i = 0; i < k; i++) sum += p[order[i]] = exp(((double)x[order[i]] - (double)x[order[0]]) / (double)s->temperature);
    for (int i = 0; i < k; i++) {
        const double w = p[order[i]];
        if ((s->top_p > 0 && s->top_p < 1 && acc >= (double)s->top_p * sum) || w < (double)s->min_p) p[order[i]] = 0;
        acc += w;
    }
    for (int i = 0; i < n; i++) kept += p[i];
    for (int i = 0; i < n; i++) p[i] /= kept;
}
/* Whether the sampler keeps the same ids, with the same probabilities. */
static int smp_same(oct__sampler *s, const oct_sampling *o, const float *x, int n) {
    static double want[SMP_MAX], have[SMP_MAX];
    double sum = 0, worst = 0;
    (void)smp_draw(s, o, x, n, 1, 1);                   /* leaves candidates behind */
    float best = x[0];
    for (int i = 1; i < n; i++) best = x[i] > best ? x[i] : best;
    const int kept = oct__sampler_filter(s, o, n, best);
    smp_reference(o, x, n, want);
    for (int i = 0; i < n; i++) have[i] = 0;
    for (int j = 0; j < kept; j++) sum += s->w[j];
    for (int j = 0; j < kept; j++) have[s->ids[j]] = s->w[j] / sum;
    for (int i = 0; i < n; i++) {
        if ((have[i] == 0) != (want[i] == 0) && want[i] > 1e-18) return 0;
        worst = fabs(have[i] - want[i]) > worst ? fabs(have[i] - want[i]) : worst;
    }
    return worst < 1e-12;
}
static double smp_chi2(oct__sampler *s, const oct_sampling *drawn, const oct_sampling *model, const float *x, int n, int draws, int *dof) {
    static double want[SMP_MAX];
    static int seen[SMP_MAX];
    double chi2 = 0;
    memset(seen, 0, sizeof seen);
    smp_reference(model, x, n, want);
    for (int i = 0; i < draws; i++) seen[smp_draw(s, drawn, x, n, 77, i)]++;
    *dof = -1;
    for (int i = 0; i < n; i++) {
        const double e = want[i] * draws;
        if (e == 0 && seen[i]) return 1e9;              /* an id that may not come */
        if (e == 0) continue;
        chi2 += (seen[i] - e) * (seen[i] - e) / e;
        ++*dof;
    }
    return chi2;
}

/* --- numbers ------------------------------------------------------------------------------------------------- */

TEST(sampler, exponential) {
    double worst = 0;
    for (int i = 0; i < 700000; i += 7) {
        const double x = -i / 1000.0, e = fabs(oct__sampler_exp(x) / exp(x) - 1.0);
        worst = e > worst ? e : worst;
    }
    CHECK(worst < 1e-15);
    CHECK(oct__sampler_exp(0.0) == 1.0);
    CHECK(oct__sampler_exp(-701.0) == 0.0 && oct__sampler_exp(-1e300) == 0.0);
}

TEST(sampler, key_order) {
    const float up[] = { -FLT_MAX, -1e30f, -1.5f, -1.0f, -FLT_MIN, -0.0f, FLT_MIN, 0.5f, 1.0f, 3e38f, FLT_MAX };
    for (size_t i = 1; i < sizeof up / sizeof up[0]; i++) CHECK(oct__float_key(up[i]) > oct__float_key(up[i - 1]));
    CHECK(oct__float_key(0.0f) == oct__float_key(-0.0f));
}

TEST(sampler, draw_is_uniform_and_keyed) {
    int bins[64] = { 0 };
    double chi2 = 0, sum = 0;
    for (int i = 0; i < 64000; i++) {
        const double u = oct__draw(5, i);
        if (!CHECK(u >= 0.0 && u < 1.0)) return;
        bins[(int)(u * 64)]++;
        sum += u;
    }
    for (int i = 0; i < 64; i++) chi2 += (bins[i] - 1000.0) * (bins[i] - 1000.0) / 1000.0;
    CHECK(chi2 > 25 && chi2 < 120);                     /* 63 degrees of freedom: outside once in 10^5 */
    CHECK_NEAR(sum / 64000, 0.5, 0.006);
    CHECK(oct__draw(5, 9) == oct__draw(5, 9));
    CHECK(oct__draw(5, 9) != oct__draw(5, 10) && oct__draw(5, 9) != oct__draw(6, 9) && oct__draw(0, 0) != oct__draw(0, 1));
    CHECK(oct__draw(1, 2) != oct__draw(2, 1));
}

/* --- greedy ---------------------------------------------------------------------------------------------------- */

TEST(sampler, greedy) {
    smp_rig r;
    const oct_sampling p = smp_greedy();
    const float nan = (float)NAN, inf = (float)INFINITY;
    smp_open(&r, 8);
    { const float x[5] = { 1, 3, 3, 2, 3 }; CHECK_INT(smp_draw(&r.s, &p, x, 5, 0, 0), 1); }
    { const float x[3] = { -0.0f, 0.0f, -1 }; CHECK_INT(smp_draw(&r.s, &p, x, 3, 0, 0), 0); }
    { const float x[4] = { nan, 1, nan, 2 }; CHECK_INT(smp_draw(&r.s, &p, x, 4, 0, 0), 3); }
    { const float x[3] = { nan, -nan, nan }; CHECK_INT(smp_draw(&r.s, &p, x, 3, 0, 0), 0); }
    { const float x[3] = { -inf, -inf, -inf }; CHECK_INT(smp_draw(&r.s, &p, x, 3, 0, 0), 0); }
    { const float x[4] = { 5, inf, inf, 9 }; CHECK_INT(smp_draw(&r.s, &p, x, 4, 0, 0), 1); }
    {
        const float x[4] = { 5, 9, 8, nan };
        const unsigned char two[4] = { 0, 1, 0, 0 }, three[4] = { 1, 1, 1, 0 }, all[4] = { 1, 1, 1, 1 };
        CHECK_INT(oct__sample(&r.s, &p, x, 4, two, NULL, 0, 0, 0), 2);
        CHECK_INT(oct__sample(&r.s, &p, x, 4, three, NULL, 0, 0, 0), 3);      /* NaN, but the only one allowed */
        CHECK_INT(oct__sample(&r.s, &p, x, 4, all, NULL, 0, 0, 0), 0);
    }
    { oct_sampling q = smp_at(nan); const float x[3] = { 1, 3, 2 }; CHECK_INT(smp_draw(&r.s, &q, x, 3, 0, 0), 1); }
    { oct_sampling q = smp_at(-1); const float x[3] = { 1, 3, 2 }; CHECK_INT(smp_draw(&r.s, &q, x, 3, 0, 0), 1); }
    smp_close(&r);
}

/* The best logit at every place of vocabularies of many lengths, with the same one again further on, NaN between, and, where
 * it is banned, the next best before it. */
TEST(sampler, greedy_anywhere) {
    smp_rig r;
    const oct_sampling p = smp_greedy();
    float x[200];
    unsigned char banned[200] = { 0 };
    int wrong = 0, wrong_banned = 0;
    smp_open(&r, 200);
    for (int n = 1; n <= 200; n += n < 70 ? 1 : 13)
        for (int at = 0; at < n; at++) {
            for (int i = 0; i < n; i++) x[i] = i % 7 == 5 ? (float)NAN : -2.0f - (float)(i % 3);
            if (at > 0) x[at / 2] = -1.0f;
            x[at] = 3.0f;
            if (at + 9 < n) x[at + 9] = 3.0f;
            wrong += smp_draw(&r.s, &p, x, n, 0, 0) != at;
            banned[at] = 1;
            if (at + 9 < n) x[at + 9] = -5.0f;
            if (at > 0) wrong_banned += oct__sample(&r.s, &p, x, n, banned, NULL, 0, 0, 0) != at / 2;
            banned[at] = 0;
        }
    CHECK_INT(wrong, 0);
    CHECK_INT(wrong_banned, 0);
    smp_close(&r);
}

/* --- penalties ---------------------------------------------------------------------------------------------------- */

TEST(sampler, penalties_are_exact) {
    smp_rig r;
    const float x[6] = { 2.0f, -2.0f, 1.0f, 0.0f, 4.0f, 3.0f };
    const int32_t recent[9] = { 0, 1, 4, 4, -1, -2, 6, 4, 0 };          /* rows of pictures and wrong ids pass */
    oct_sampling p = smp_greedy();
    smp_open(&r, 6);
    p.repeat_penalty = 1.25f;
    p.frequency_penalty = 0.5f;
    p.presence_penalty = 0.25f;
    CHECK_INT(oct__sample(&r.s, &p, x, 6, NULL, recent, 9, 0, 0), 5);
    CHECK_NEAR(r.s.x[0], 2.0 / 1.25 - 2 * 0.5 - 0.25, 1e-6);
    CHECK_NEAR(r.s.x[1], -2.0 * 1.25 - 0.5 - 0.25, 1e-6);
    CHECK_NEAR(r.s.x[4], 4.0 / 1.25 - 3 * 0.5 - 0.25, 1e-6);
    CHECK(r.s.x[2] == 1.0f && r.s.x[3] == 0.0f && r.s.x[5] == 3.0f);
    CHECK_INT(oct__sample(&r.s, &p, x, 6, NULL, recent, 9, 0, 0), 5);   /* counts do not add up over calls */
    CHECK_NEAR(r.s.x[4], 4.0 / 1.25 - 3 * 0.5 - 0.25, 1e-6);
    CHECK_INT(oct__sample(&r.s, &p, x, 6, NULL, recent, 0, 0, 0), 4);   /* nothing recent */
    p = smp_greedy();
    p.repeat_penalty = 1.0f;
    CHECK_INT(oct__sample(&r.s, &p, x, 6, NULL, recent, 9, 0, 0), 4);
    p = smp_greedy();
    p.presence_penalty = -3.0f;                                          /* a reward */
    CHECK_INT(oct__sample(&r.s, &p, x, 6, NULL, recent, 2, 0, 0), 0);
    smp_close(&r);
}

TEST(sampler, penalties_survive_odd_numbers) {
    smp_rig r;
    const float nan = (float)NAN, inf = (float)INFINITY, x[4] = { inf, -inf, nan, 1 };
    const int32_t recent[4] = { 0, 1, 2, 3 };
    const float odd[] = { nan, inf, -inf, 1e38f, -1e38f, 1e-45f };
    smp_open(&r, 4);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        oct_sampling p = smp_at(0.5f);
        p.repeat_penalty = p.frequency_penalty = p.presence_penalty = odd[i];
        for (int k = 0; k < 20; k++) {
            const int32_t id = oct__sample(&r.s, &p, x, 4, NULL, recent, 4, 3, k);
            CHECK(id >= 0 && id < 4);
        }
    }
    smp_close(&r);
}

/* --- filters ---------------------------------------------------------------------------------------------------- */

/* Logits of many kinds: spread, flat, ties, far out, tiny. */
static void smp_logits(float *x, int n, int kind, unsigned long long *state) {
    for (int i = 0; i < n; i++) {
        const float u = (float)(test_random(state) >> 8) / 16777216.0f;
        x[i] = kind == 0 ? 20 * u - 10 : kind == 1 ? 1.0f : kind == 2 ? (float)(int)(5 * u) : kind == 3 ? (i % 7 ? -1e30f : 1e4f * u)
             : kind == 4 ? 1e-40f * u : -8 * logf(u + 1e-7f);
    }
}

TEST(sampler, filters_equal_the_reference) {
    static float x[SMP_MAX];
    static const int ks[] = { 0, 1, 2, 7, 100, 1000000 };
    static const float ps[] = { 0, 1e-6f, 0.1f, 0.5f, 0.9f, 0.999f, 1 }, ms[] = { 0, 0.01f, 0.3f, 1 };
    static const int sizes[] = { 1, 2, 33, 1000 };
    unsigned long long state = 11;
    smp_rig r;
    smp_open(&r, SMP_MAX);
    for (int kind = 0; kind < 6; kind++)
        for (int a = 0; a < 4; a++)
            for (int b = 0; b < 6; b++)
                for (int c = 0; c < 7; c++)
                    for (int d = 0; d < 4; d++) {
                        oct_sampling p = smp_at(kind == 5 ? 0.7f : 1.0f);
                        p.top_k = ks[b];
                        p.top_p = ps[c];
                        p.min_p = ms[d];
                        smp_logits(x, sizes[a], kind, &state);
                        if (!CHECK(smp_same(&r.s, &p, x, sizes[a]))) {
                            printf("     logits %d, n %d, top_k %d, top_p %g, min_p %g\n", kind, sizes[a], p.top_k, (double)p.top_p, (double)p.min_p);
                            smp_close(&r);
                            return;
                        }
                    }
    smp_close(&r);
}

TEST(sampler, filters_at_their_edges) {
    smp_rig r;
    const float x[6] = { 0, 2, 2, 2, 1, -3 };
    smp_open(&r, 6);
    {   /* ties at the cut: the lower ids stay */
        oct_sampling p = smp_at(1);
        p.top_k = 2;
        for (int i = 0; i < 200; i++) {
            const int32_t id = smp_draw(&r.s, &p, x, 6, 3, i);
            CHECK(id == 1 || id == 2);
        }
    }
    {   /* top-p below the best one's share keeps that one; min-p above 1 likewise */
        oct_sampling p = smp_at(1);
        p.top_p = 1e-9f;
        for (int i = 0; i < 50; i++) CHECK_INT(smp_draw(&r.s, &p, x, 6, 3, i), 1);
        p = smp_at(1);
        p.min_p = 2;
        for (int i = 0; i < 50; i++) CHECK(smp_draw(&r.s, &p, x, 6, 3, i) <= 3);
    }
    {   /* top-p is taken over what top-k left: 0.5 of two equal ones is one */
        oct_sampling p = smp_at(1);
        p.top_k = 2;
        p.top_p = 0.5f;
        for (int i = 0; i < 50; i++) CHECK_INT(smp_draw(&r.s, &p, x, 6, 3, i), 1);
    }
    {   /* temperatures without end */
        oct_sampling p = smp_at(1e-45f);
        const float y[3] = { 1, 2, 3 };
        for (int i = 0; i < 50; i++) CHECK_INT(smp_draw(&r.s, &p, y, 3, 3, i), 2);
        p = smp_at(3e38f);
        int seen[3] = { 0, 0, 0 };
        for (int i = 0; i < 300; i++) seen[smp_draw(&r.s, &p, y, 3, 3, i)]++;
        CHECK(seen[0] > 60 && seen[1] > 60 && seen[2] > 60);
    }
    {   /* infinities and NaN while drawing */
        const float inf = (float)INFINITY, y[5] = { (float)NAN, -inf, 1, inf, (float)NAN };
        oct_sampling p = smp_at(1);
        for (int i = 0; i < 50; i++) CHECK_INT(smp_draw(&r.s, &p, y, 5, 3, i), 3);
        const float z[4] = { -inf, 1, (float)NAN, 1 };
        for (int i = 0; i < 50; i++) CHECK(smp_draw(&r.s, &p, z, 4, 3, i) % 2 == 1);
    }
    {   /* banned ids never come, though they were the best */
        const unsigned char banned[6] = { 0, 1, 1, 1, 0, 0 };
        oct_sampling p = smp_at(5);
        for (int i = 0; i < 300; i++) {
            const int32_t id = oct__sample(&r.s, &p, x, 6, banned, NULL, 0, 9, i);
            CHECK(id == 0 || id >= 4);
        }
    }
    smp_close(&r);
}

/* --- distributions ------------------------------------------------------------------------------------------------- */

TEST(sampler, distributions) {
    float x[24];
    smp_rig r;
    int dof;
    smp_open(&r, 24);
    for (int i = 0; i < 24; i++) x[i] = (float)sin(i * 1.7) * 2 + (float)(i % 5) * 0.3f;
    for (int k = 0; k < 6; k++) {
        oct_sampling p = smp_at(k == 1 ? 0.6f : k == 2 ? 1.7f : 1.0f);
        if (k == 3) p.top_k = 6;
        if (k == 4) p.top_p = 0.8f;
        if (k == 5) {
            p.top_k = 15;
            p.top_p = 0.95f;
            p.min_p = 0.1f;
        }
        const double chi2 = smp_chi2(&r.s, &p, &p, x, 24, 20000, &dof);
        if (!CHECK(dof > 2 && chi2 < dof + 4.5 * sqrt(2.0 * dof) + 5)) printf("     case %d: chi2 %g, %d degrees of freedom\n", k, chi2, dof);
    }
    {   /* the test can fail: another temperature, another top-k, a penalty */
        oct_sampling p = smp_at(1.0f), q = smp_at(1.1f);
        CHECK(smp_chi2(&r.s, &q, &p, x, 24, 20000, &dof) > dof + 4.5 * sqrt(2.0 * dof) + 5);
        q = smp_at(1.0f);
        q.top_k = 18;
        CHECK(smp_chi2(&r.s, &q, &p, x, 24, 20000, &dof) > dof + 4.5 * sqrt(2.0 * dof) + 5);
    }
    smp_close(&r);
}

TEST(sampler, deterministic) {
    static float x[SMP_MAX];
    unsigned long long state = 3;
    smp_rig a, b;
    oct_sampling p = smp_at(0.9f), other = smp_at(2);
    int32_t ids[64];
    int same = 0;
    smp_open(&a, SMP_MAX);
    smp_open(&b, SMP_MAX);
    p.top_k = 40;
    p.top_p = 0.95f;
    smp_logits(x, SMP_MAX, 0, &state);
    for (int i = 0; i < 64; i++) ids[i] = smp_draw(&a.s, &p, x, SMP_MAX, 42, i);
    for (int i = 63; i >= 0; i--) {                                   /* another order, other draws between */
        (void)smp_draw(&b.s, &other, x, 100, 7, i);
        CHECK_INT(smp_draw(&b.s, &p, x, SMP_MAX, 42, i), ids[i]);
        same += smp_draw(&b.s, &p, x, SMP_MAX, 43, i) == ids[i];
    }
    CHECK(same < 32);
    smp_close(&a);
    smp_close(&b);
}

/* 2^18 equal logits are the worst case of a sort; here they cost what others do. */
TEST(sampler, linear_time) {
    enum { N = 1 << 18 };
    float *x = (float *)malloc(N * sizeof *x);
    oct_sampling p = smp_at(1);
    smp_rig r;
    smp_open(&r, N);
    for (int i = 0; i < N; i++) x[i] = 1;
    p.top_k = N - 5;
    p.top_p = 0.9f;
    const double start = test_seconds();
    const int32_t id = smp_draw(&r.s, &p, x, N, 1, 1);
    CHECK(id >= 0 && id < N * 9 / 10 + 2);
    CHECK(test_seconds() - start < 1.0);
    smp_close(&r);
    free(x);
}

/* --- looking at logits ----------------------------------------------------------------------------------------------- */

TEST(sampler, top_and_prob) {
    static float x[500], probs[500];
    static int32_t ids[500];
    static int order[500];
    static unsigned char banned[500];
    unsigned long long state = 8;
    for (int kind = 0; kind < 6; kind++) {
        double sum = 0;
        int live = 0;
        smp_logits(x, 500, kind, &state);
        for (int i = 0; i < 500; i++) banned[i] = (unsigned char)(i % 11 == 3);
        for (int i = 0; i < 500; i++) if (!banned[i]) order[live++] = i;
        smp_values = x;
        qsort(order, (size_t)live, sizeof *order, smp_order);
        for (int i = 0; i < live; i++) sum += exp((double)x[order[i]] - (double)x[order[0]]);
        const int counts[] = { 1, 2, 10, live, 500 };
        for (int c = 0; c < 5; c++) {
            const int n = oct__top(x, 500, banned, ids, probs, counts[c]);
            if (!CHECK_INT(n, counts[c] < live ? counts[c] : live)) return;
            for (int i = 0; i < n; i++) {
                const double p = exp((double)x[order[i]] - (double)x[order[0]]) / sum;
                if (!CHECK_INT(ids[i], order[i]) || !CHECK_NEAR(probs[i], p, 1e-6)) return;
                CHECK(oct__prob(x, 500, banned, ids[i]) == probs[i]);
            }
        }
    }
    CHECK(oct__prob(x, 500, banned, 3) == 0.0f && oct__prob(x, 500, banned, -1) == 0.0f && oct__prob(x, 500, banned, 500) == 0.0f);
    for (int i = 0; i < 500; i++) x[i] = (float)NAN;
    CHECK_INT(oct__top(x, 500, NULL, ids, probs, 3), 3);
    CHECK(probs[0] == 0.0f && ids[0] == 0);
    CHECK(oct__prob(x, 500, NULL, 5) == 0.0f);
}
