/* Tests of chapter 17: boxes in answers.  boxes_answers.h holds 100 answers and what the official evaluator reads in them. */
#include "boxes_answers.h"

enum { BOX_MOST = 128 };
typedef struct box_read { oct_box of[BOX_MOST]; int n; } box_read;

/* Reads a text in pieces of `step` bytes; 0: of sizes that change. */
static void box_read_pieces(box_read *r, const oct_model *m, int width, int height, const char *text, size_t len, size_t step) {
    oct_boxes *b = (oct_boxes *)malloc(sizeof *b);
    unsigned long long seed = 5;
    oct_box box;
    r->n = 0;
    if (!CHECK_INT(oct_boxes_begin(b, m, width, height, NULL), OCT_OK)) return;
    for (size_t at = 0; at < len; ) {
        size_t n = step ? step : 1 + test_random(&seed) % 7;
        if (n > len - at) n = len - at;
        char *piece = (char *)malloc(n);                   /* of its own, so that reading past it is seen */
        memcpy(piece, text + at, n);
        oct_string s = { piece, n };
        while (oct_boxes_next(b, &s, &box))
            if (r->n < BOX_MOST) r->of[r->n++] = box;
        CHECK_INT(s.len, 0);
        free(piece);
        at += n;
    }
    while (oct_boxes_next(b, NULL, &box))
        if (r->n < BOX_MOST) r->of[r->n++] = box;
    free(b);
}
static int box_same(const oct_box *a, const oct_box *b) {
    return a->x1 == b->x1 && a->y1 == b->y1 && a->x2 == b->x2 && a->y2 == b->y2 && a->dropped == b->dropped && a->at == b->at &&
           strcmp(a->label, b->label) == 0 && strcmp(a->text, b->text) == 0;
}
static int box_is(const oct_box *b, const float *v) {
    return fabsf(b->x1 - v[0]) < 1e-6f && fabsf(b->y1 - v[1]) < 1e-6f && fabsf(b->x2 - v[2]) < 1e-6f && fabsf(b->y2 - v[3]) < 1e-6f;
}
/* Whether a box of the evaluator's lies among ours, clamped as ours are. */
static int box_among(const box_read *r, const float *v) {
    float c[4];
    for (int i = 0; i < 4; i++) c[i] = v[i] < 0.0f ? 0.0f : v[i] > 1.0f ? 1.0f : v[i];
    for (int i = 0; i < r->n; i++)
        if (!r->of[i].dropped && box_is(&r->of[i], c)) return 1;
    return 0;
}

TEST(boxes, hundred_answers) {
    box_read *r = (box_read *)malloc(sizeof *r), *again = (box_read *)malloc(sizeof *again);
    int beyond = 0;
    CHECK_INT(sizeof answers / sizeof answers[0], 100);
    for (size_t k = 0; k < sizeof answers / sizeof answers[0]; k++) {
        const answer *a = &answers[k];
        int n = 0, n_drop = 0, out_of_range = 0, good = 1;
        box_read_pieces(r, NULL, 1, 1, a->text, strlen(a->text), strlen(a->text) + 1);
        for (int i = 0; i < r->n; i++) {
            const oct_box *b = &r->of[i];
            for (size_t j = 0; b->text[j]; j++) {          /* line breaks become blanks */
                const char c = a->text[b->at + j];
                good = good && b->text[j] == (c == '\n' ? ' ' : c);
            }
            if (b->dropped) {
                good = good && n_drop < a->n_drop && (int)b->dropped == a->drop[n_drop];
                out_of_range = out_of_range || b->dropped == OCT_DROP_RANGE || b->dropped == OCT_DROP_OUTSIDE;
                n_drop++;
                continue;
            }
            good = good && n < a->n_ours && box_is(b, a->ours[n].v) && strcmp(b->label, a->ours[n].label) == 0;
            n++;
        }
        good = good && n == a->n_ours && n_drop == a->n_drop;
        /* nothing that the evaluator takes is passed over in silence */
        for (int i = 0; i < a->n_official; i++) good = good && (box_among(r, a->official[i].v) || out_of_range);
        if (!a->why) good = good && a->n_ours == a->n_official;
        beyond += a->why != NULL;
        if (!CHECK(good)) printf("     answer %d: %s\n", (int)k, a->text);
        for (size_t step = 0; step < 4; step++) {
            box_read_pieces(again, NULL, 1, 1, a->text, strlen(a->text), step);
            int same = again->n == r->n;
            for (int i = 0; same && i < r->n; i++) same = box_same(&r->of[i], &again->of[i]);
            if (!CHECK(same)) printf("     answer %d in pieces of %d: %s\n", (int)k, (int)step, a->text);
        }
    }
    CHECK_INT(beyond, 35);
    free(again);
    free(r);
}

/* The other metric of the evaluator looks at numbers in brackets alone.  What it takes for boxes, ours gives or reports. */
TEST(boxes, loose_metric) {
    box_read *r = (box_read *)malloc(sizeof *r);
    int taken = 0, garbled = 0;
    for (size_t k = 0; k < sizeof answers / sizeof answers[0]; k++) {
        const answer *a = &answers[k];
        box_read_pieces(r, NULL, 1, 1, a->text, strlen(a->text), 9);
        for (int i = 0; i < a->n_loose; i++) {
            if (box_among(r, a->loose[i])) taken++;
            else if (CHECK(r->n > 0 || a->loose[i][2] > 1.0f)) garbled++;
        }
    }
    CHECK_INT(taken, 91);
    CHECK_INT(garbled, 14);              /* numbers of several broken boxes strung together, of words, or pixels */
    free(r);
}

/* --- back to the picture's pixels --------------------------------------------------------------------------- */

/* Where a bright rectangle painted into a picture lies in the square that the encoder takes, as fractions of that. */
static int box_seen(const oct__image_prep *prep, int width, int height, const int *at /* x1, y1, x2, y2 */, double *seen) {
    static const oct_allocator plain = { NULL, NULL, NULL };
    const int size = prep->size;
    unsigned char *rgb = (unsigned char *)calloc((size_t)width * (size_t)height, 3), *square = (unsigned char *)malloc((size_t)size * (size_t)size * 3);
    oct_image image;
    memset(&image, 0, sizeof image);
    for (int y = at[1]; y < at[3]; y++) memset(rgb + 3 * (y * width + at[0]), 255, (size_t)(3 * (at[2] - at[0])));
    image.pixels = rgb;
    image.width = width;
    image.height = height;
    int found = !oct__image_square(&plain, &image, prep, square, NULL);
    double *sums = (double *)calloc((size_t)size, 2 * sizeof *sums), most[2] = { 0, 0 };
    for (int i = 0; i < size * size; i++)
        if (square[3 * i] > 128) {                         /* the padding is dark */
            sums[i % size]++;
            sums[size + i / size]++;
        }
    for (int axis = 0; axis < 2; axis++) {
        const double *s = sums + axis * size;
        int from = 0, to = size;
        for (int i = 0; i < size; i++) most[axis] = s[i] > most[axis] ? s[i] : most[axis];
        while (from < size && s[from] < most[axis] / 2) from++;
        while (to > from && s[to - 1] < most[axis] / 2) to--;
        seen[axis] = (double)from / size;
        seen[axis + 2] = (double)to / size;
        found = found && most[axis] > 0;
    }
    free(sums);
    free(square);
    free(rgb);
    return found;
}
TEST(boxes, source_pixels) {
    static const int sizes[][2] = { { 64, 64 }, { 100, 40 }, { 40, 100 }, { 97, 61 }, { 120, 17 }, { 17, 120 }, { 33, 32 }, { 90, 89 } };
    static const oct__resize modes[] = { OCT__RESIZE_SQUASH, OCT__RESIZE_PAD, OCT__RESIZE_CROP, OCT__RESIZE_CROP };
    static const int sides[] = { 0, 0, 0, 496 };
    int seen_all = 0;
    for (int mode = 0; mode < 4; mode++)
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            const int w = sizes[k][0], h = sizes[k][1], s = w < h ? w : h;
            /* near the middle, where a crop leaves it */
            const int at[4] = { w / 2 - s / 3, h / 2 - s / 4, w / 2 + s / 4, h / 2 + s / 3 };
            double seen[4];
            oct__image_prep prep;
            oct_boxes *b = (oct_boxes *)malloc(sizeof *b);
            oct_box box;
            memset(&prep, 0, sizeof prep);
            memset(&box, 0, sizeof box);
            prep.size = 448;
            prep.side = sides[mode];
            prep.resize = modes[mode];
            for (int i = 0; i < 3; i++) prep.mean[i] = 0.2f, prep.std[i] = 0.27f;
            oct__boxes_begin(b, &prep, w, h);
            if (CHECK(box_seen(&prep, w, h, at, seen))) {
                oct__box_place(b, seen, &box);
                if (!CHECK(!box.dropped && fabs((double)box.x1 - at[0]) < 1 && fabs((double)box.y1 - at[1]) < 1 &&
                           fabs((double)box.x2 - at[2]) < 1 && fabs((double)box.y2 - at[3]) < 1))
                    printf("     mode %d, %d x %d: %g %g %g %g, wanted %d %d %d %d\n", mode, w, h, (double)box.x1, (double)box.y1,
                           (double)box.x2, (double)box.y2, at[0], at[1], at[2], at[3]);
                seen_all++;
            }
            /* all that the encoder sees is clamped to the picture */
            const double all[4] = { 0, 0, 1, 1 };
            oct__box_place(b, all, &box);
            CHECK(!box.dropped && box.x1 >= 0 && box.y1 >= 0 && box.x2 <= (float)w && box.y2 <= (float)h);
            if (modes[mode] != OCT__RESIZE_CROP) CHECK(box.x1 == 0 && box.y1 == 0 && box.x2 == (float)w && box.y2 == (float)h);
            free(b);
        }
    CHECK_INT(seen_all, 32);
}
/* What the official programs would make of the same numbers, for pictures of any shape: squashed, a fraction of each side. */
TEST(boxes, squashed_exactly) {
    static const int sides[] = { 1, 2, 3, 224, 500, 1023, 4000, 30000 };
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++)
        for (size_t j = 0; j < sizeof sides / sizeof sides[0]; j++) {
            oct__image_prep prep;
            oct_boxes *b = (oct_boxes *)malloc(sizeof *b);
            oct_box box;
            const double v[4] = { 0.25, 0.07, 0.5, 0.99 };
            memset(&prep, 0, sizeof prep);
            memset(&box, 0, sizeof box);
            prep.size = 224;
            prep.resize = OCT__RESIZE_SQUASH;
            oct__boxes_begin(b, &prep, sides[i], sides[j]);
            oct__box_place(b, v, &box);
            CHECK(!box.dropped);
            CHECK_NEAR(box.x1, 0.25 * sides[i], 0.01);
            CHECK_NEAR(box.y1, 0.07 * sides[j], 0.01);
            CHECK_NEAR(box.x2, 0.5 * sides[i], 0.01);
            CHECK_NEAR(box.y2, 0.99 * sides[j], 0.01);
            free(b);
        }
}
TEST(boxes, in_the_padding) {
    oct__image_prep prep;
    oct_boxes *b = (oct_boxes *)malloc(sizeof *b);
    oct_box box;
    const double above[4] = { 0.1, 0.0, 0.9, 0.2 }, half[4] = { 0.1, 0.0, 0.9, 0.5 };
    memset(&prep, 0, sizeof prep);
    prep.size = 336;
    prep.resize = OCT__RESIZE_PAD;
    oct__boxes_begin(b, &prep, 400, 200);                  /* 100 rows of padding above and below */
    memset(&box, 0, sizeof box);
    oct__box_place(b, above, &box);
    CHECK_INT(box.dropped, OCT_DROP_OUTSIDE);
    memset(&box, 0, sizeof box);
    oct__box_place(b, half, &box);
    CHECK_INT(box.dropped, OCT_DROP_NONE);
    CHECK_NEAR(box.x1, 40, 1e-3);
    CHECK_NEAR(box.y1, 0, 1e-3);
    CHECK_NEAR(box.x2, 360, 1e-3);
    CHECK_NEAR(box.y2, 100, 1e-3);
    free(b);
}

/* --- limits ----------------------------------------------------------------------------------------------------- */

TEST(boxes, long_texts) {
    box_read *r = (box_read *)malloc(sizeof *r);
    const size_t len = 100000;
    char *text = (char *)malloc(len + 64);
    int n = 0;
    /* one sentence without end, a box every 1000 bytes: some of them across the edge of two parts */
    memset(text, 'x', len);
    for (size_t at = 995; at + 40 < len; at += 1000, n++) memcpy(text + at, " [0.25, 0.5, 0.75, 1.0] ", 24);
    box_read_pieces(r, NULL, 4, 4, text, len, 0);
    CHECK_INT(r->n, n);
    for (int i = 0; i < r->n; i++) {
        CHECK(!r->of[i].dropped && r->of[i].x1 == 1 && r->of[i].y1 == 2 && r->of[i].x2 == 3 && r->of[i].y2 == 4);
        CHECK_INT(r->of[i].at, 996 + 1000 * i);
    }
    memset(text, '[', len);                                /* brackets alone: nothing, and in no time */
    box_read_pieces(r, NULL, 4, 4, text, len, 7);
    CHECK_INT(r->n, 1);
    CHECK_INT(r->of[0].dropped, OCT_DROP_CUT);
    memset(text, '1', len);
    text[0] = '[';
    box_read_pieces(r, NULL, 4, 4, text, len, 7);
    CHECK(r->n <= 1);
    strcpy(text, "[");                                     /* more numbers than a box has room for */
    for (int i = 0; i < 100; i++) strcat(text, "0.5,");
    strcat(text, "0.5] is that. [0.5, 0.5, 0.75, 0.75]");
    box_read_pieces(r, NULL, 4, 4, text, strlen(text), 7);
    if (CHECK_INT(r->n, 2)) {
        CHECK_INT(r->of[0].dropped, OCT_DROP_COUNT);
        CHECK_INT(strlen(r->of[0].text), OCT_BOX_TEXT - 1);
        CHECK_INT(r->of[1].dropped, OCT_DROP_NONE);
    }
    /* labels are whole characters, and nothing else */
    strcpy(text, "An object at [0.5, 0.5, 0.75, 0.75] is classified as ");
    for (int i = 0; i < 40; i++) strcat(text, "\xC3\xA9");
    strcat(text, "\x01\xFF, yes.");
    box_read_pieces(r, NULL, 4, 4, text, strlen(text), 1);
    if (CHECK_INT(r->n, 1)) CHECK_INT(strlen(r->of[0].label), 62);
    free(text);
    free(r);
}
TEST(boxes, reader_is_reused) {
    oct_boxes *b = (oct_boxes *)malloc(sizeof *b);
    oct_box box;
    CHECK_INT(oct_boxes_begin(b, NULL, 10, 10, NULL), OCT_OK);
    for (int turn = 0; turn < 3; turn++) {
        oct_string s = oct__str("x [0.1, 0.2, 0.3, 0.4");
        CHECK(!oct_boxes_next(b, &s, &box));
        CHECK(oct_boxes_next(b, NULL, &box));
        CHECK_INT(box.dropped, OCT_DROP_CUT);
        CHECK_INT(box.at, 2);
        CHECK(!oct_boxes_next(b, NULL, &box));
    }
    CHECK_INT(oct_boxes_begin(NULL, NULL, 10, 10, NULL), OCT_E_ARG);
    CHECK_INT(oct_boxes_begin(b, NULL, 0, 10, NULL), OCT_E_ARG);
    CHECK_INT(oct_boxes_next(NULL, NULL, &box), 0);
    for (int i = 0; i <= (int)OCT_DROP_OUTSIDE + 1; i++) CHECK(oct_drop_reason((oct_drop)i) != NULL);
    free(b);
}

/* --- constrained boxes ------------------------------------------------------------------------------------------- */

/* One number as the rule has it, by another reading than the rule's: its hundredths, or -1.  *n: its bytes. */
static int rule_number(const char *s, int *n) {
    static const char *const digits = "0123456789";
    const int whole = s[0] == '0' || s[0] == '1' ? s[0] - '0' : -1;
    *n = 1;
    if (whole < 0 || s[1] != '.') return whole < 0 ? -1 : 100 * whole;
    const int decimals = (int)strspn(s + 2, digits);
    *n = 2 + decimals;
    if (decimals < 1 || decimals > 2) return -1;
    const int v = 100 * whole + 10 * (s[2] - '0') + (decimals == 2 ? s[3] - '0' : 0);
    return v <= 100 ? v : -1;
}
/* Bytes of the valid box that s begins with; 0: none. */
static size_t rule_box(const char *s) {
    const char *p = s;
    int v[4], n;
    for (int i = 0; i < 4; i++) {
        if (*p++ != (i ? ',' : '[')) return 0;
        if (*p == ' ') p++;
        v[i] = rule_number(p, &n);
        if (v[i] < 0) return 0;
        p += n;
    }
    if (*p == ' ') p++;
    return *p == ']' && v[0] <= v[2] && v[1] <= v[3] ? (size_t)(p + 1 - s) : 0;
}
/* Whether every "[" opens a valid box; *n counts them. */
static int rule_text(const char *s, int *n) {
    for (*n = 0; (s = strchr(s, '[')) != NULL; ++*n) {
        const size_t len = rule_box(s);
        if (len == 0) return 0;
        s += len;
    }
    return 1;
}
static int rule_takes(const char *s) {
    oct__rule r;
    memset(&r, 0, sizeof r);
    return oct__rule_bytes(&r, s, strlen(s)) && r.place == OCT__RULE_TEXT;
}

TEST(boxes, rule_of_pairs) {
    char s[80];
    int wrong = 0;
    for (int a = 0; a <= 110; a++)
        for (int b = 0; b <= 110; b++) {
            snprintf(s, sizeof s, "[%d.%02d, 0.5, %d.%02d, 1]", a / 100, a % 100, b / 100, b % 100);
            wrong += rule_takes(s) != (a <= b && b <= 100);
            snprintf(s, sizeof s, "[0,%d.%02d,1.0,%d.%02d ]", a / 100, a % 100, b / 100, b % 100);
            wrong += rule_takes(s) != (a <= b && b <= 100);
            wrong += rule_takes(s) != (rule_box(s) == strlen(s));
        }
    CHECK_INT(wrong, 0);
    static const char *const bad[] = { "[]", "[[0, 0, 1, 1]", "[a", "[ 0.1, 0.2, 0.3 0.4]", "[  0, 0, 1, 1]", "[0.123, 0, 1, 1]", "[0., 0, 1, 1]",
                                       "[.5, 0, 1, 1]", "[-0, 0, 1, 1]", "[0, 0, 1]", "[0, 0, 1, 1, 1]", "[00, 0, 1, 1]", "[0 , 0, 1, 1]",
                                       "[0, 0, 1, 1  ]", "[2, 2, 3, 3]", "[1.01, 0, 1.01, 1]", "[1, 0, 0.99, 1]" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (!CHECK(!rule_takes(bad[i]))) printf("     %s\n", bad[i]);
    static const char *const good[] = { "[0, 0, 1, 1]", "[0.5,0.25,0.5,0.25]", "[ 0.1, 0.2, 0.3, 0.4 ]", "x] [1.0, 1.00, 1, 1] and [0,0,0,0]" };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!CHECK(rule_takes(good[i]))) printf("     %s\n", good[i]);
}
/* Every state that bytes can lead to can be completed, and is what an exhaustive look says. */
TEST(boxes, rule_never_stuck) {
    unsigned long long seed = 3;
    static const char bytes[] = "0123456789., ]";
    for (int round = 0; round < 6000; round++) {
        oct__rule r;
        char s[64] = "[";
        int n = 1;
        memset(&r, 0, sizeof r);
        (void)oct__rule_byte(&r, '[');
        while (r.place != OCT__RULE_TEXT && n < 60) {
            char can[16];
            int n_can = 0;
            for (int i = 0; bytes[i]; i++) {
                oct__rule next = r;
                if (oct__rule_byte(&next, bytes[i]) && bytes[i] != ' ') can[n_can++] = bytes[i];
            }
            if (!CHECK(n_can > 0)) return;
            s[n] = can[test_random(&seed) % (unsigned)n_can];
            (void)oct__rule_byte(&r, s[n++]);
        }
        s[n] = 0;
        if (!CHECK(rule_box(s) == (size_t)n && oct__rule_valid(&r))) {
            printf("     %s\n", s);
            return;
        }
    }
}

/* A session of a tiny random model at temperature 1, in whose prompt stands what boxes are made of: a negative penalty then
 * makes such tokens likely. */
static oct_session *rule_session(const model_kit *k, uint64_t seed, float temperature, int boxes) {
    oct_session *s = NULL;
    oct_session_desc d;
    oct_error err;
    memset(&d, 0, sizeof d);
    memset(&err, 0, sizeof err);
    d.n_ctx = 400;
    d.n_threads = 1;
    d.raw = 1;
    d.seed = seed;
    d.boxes = boxes;
    d.sampling.temperature = temperature;
    d.sampling.presence_penalty = -5.0f;
    d.sampling.penalty_window = -1;
    if (!CHECK_INT(oct_session_open(&s, k->m, &d, &err), OCT_OK)) CHECK_STR(err.message, "");
    if (s) CHECK_INT(oct_feed_text(s, "[0.12, 0.57, 0.89, 1.0] [3, 4] ab", &err), OCT_OK);
    return s;
}
/* Goes on until `least` tokens have come and no box is open. */
static int rule_answer(oct_session *s, int least, char *text, size_t cap) {
    oct_token t;
    size_t len = 0;
    int n = 0;
    memset(&t, 0, sizeof t);
    while ((n < least || (s->desc.boxes && s->guard.now.place != OCT__RULE_TEXT)) && !oct_next(s, &t, NULL) && !t.is_end && len + t.len < cap) {
        memcpy(text + len, t.text, t.len);
        len += t.len;
        n++;
    }
    text[len] = 0;
    return n;
}
static void rule_of_model(const char *name) {
    model_kit k;
    const int seeds = test_quick() ? 4 : 48;
    int all = 0, broken = 0;
    static char text[4096], again[4096];
    if (!model_open(&k, synth_find(name), SYNTH_F32)) return;
    for (uint64_t seed = 0; seed < (uint64_t)seeds; seed++) {
        int n = 0;
        oct_session *s = rule_session(&k, seed, seed == 0 ? -1.0f : 1.0f, 1);
        if (!s) break;
        const int n_tokens = rule_answer(s, 50, text, sizeof text);
        if (!CHECK(rule_text(text, &n))) printf("     seed %d: %s\n", (int)seed, text);
        all += n;
        if (seed < (test_quick() ? 1u : 3u)) {             /* the same, wherever it is taken up again inside a box */
            oct_session *b = rule_session(&k, seed, seed == 0 ? -1.0f : 1.0f, 1);
            char *shot = (char *)malloc(1 << 22);
            int stop = 0, mid = 0;
            oct_token t;
            size_t len = 0;
            for (; b && stop < n_tokens && (stop < 20 || mid < 3); stop++) {
                if (oct_next(b, &t, NULL) || t.is_end) break;
                memcpy(again + len, t.text, t.len);
                len += t.len;
                mid = b->guard.now.place != OCT__RULE_TEXT ? mid + 1 : 0;
            }
            if (b && CHECK(oct_session_snapshot_bytes(b) <= 1 << 22) && CHECK_INT(oct_session_snapshot(b, shot, 1 << 22, NULL), OCT_OK)) {
                oct_session *c = rule_session(&k, seed, seed == 0 ? -1.0f : 1.0f, 1);
                CHECK_INT(oct_session_restore(c, shot, oct_session_snapshot_bytes(b), NULL), OCT_OK);
                CHECK(memcmp(&c->guard.now, &b->guard.now, sizeof c->guard.now) == 0);
                (void)rule_answer(c, n_tokens - stop, again + len, sizeof again - len);
                CHECK_STR(again, text);
                oct_session_close(c);
            }
            if (b && mid) {                                /* a rewind knows where it stands, too */
                CHECK_INT(oct_session_rewind(b, oct_session_position(b), NULL), OCT_OK);
                CHECK(b->guard.now.place != OCT__RULE_TEXT);
            }
            free(shot);
            oct_session_close(b);
        }
        oct_session_close(s);
        s = rule_session(&k, seed, 1.0f, 0);               /* without the rule they break */
        if (s) (void)rule_answer(s, 50, text, sizeof text);
        if (s && !rule_text(text, &n)) broken++;
        oct_session_close(s);
    }
    if (!CHECK(all >= seeds / 2 && broken >= seeds / 3)) printf("     %s: %d boxes, %d answers broken without the rule\n", name, all, broken);
    model_close(&k);
}
TEST(boxes, always_completed_spm) { rule_of_model("tiny-llama"); }
TEST(boxes, always_completed_bpe) { rule_of_model("tiny-qwen"); }

/* Vocabularies of real models: tokens of several bytes, such as "]." and " [", drawn at random from what is allowed. */
static void rule_of_vocabulary(const char *path) {
    oct_model *m = NULL;
    oct_model_desc d;
    oct_error err;
    unsigned long long seed = 9;
    char text[256], piece[OCT__PIECE_MAX];
    oct__guard g;
    memset(&d, 0, sizeof d);
    memset(&err, 0, sizeof err);
    d.load = OCT_LOAD_VOCAB;
    if (!CHECK_INT(oct_model_open(&m, path, &d, &err), OCT_OK)) return;
    const int n_vocab = m->vocab.n_tokens;
    unsigned char *banned = (unsigned char *)calloc((size_t)n_vocab, 1);
    memset(&g, 0, sizeof g);
    g.outside = (unsigned char *)malloc((size_t)n_vocab);
    g.inside = (unsigned char *)malloc((size_t)n_vocab);
    g.candidates = (int32_t *)malloc((size_t)n_vocab * sizeof(int32_t));
    for (int i = 0; i < n_vocab; i++) banned[i] = !oct__vocab_is_real(&m->vocab, i);
    if (!CHECK_INT(oct__guard_check(&m->vocab, banned, n_vocab, &err), OCT_OK)) CHECK_STR(err.message, "");
    oct__guard_init(&g, &m->vocab, banned, n_vocab);
    CHECK(g.n_candidates > 13 && g.n_candidates < n_vocab / 4);
    int n_outside = 0, boxes = 0, last = -1;
    for (int i = 0; i < n_vocab; i++) n_outside += g.outside[i] && !banned[i];
    for (int round = 0; round < 60; round++) {
        memset(&g.now, 0, sizeof g.now);
        strcpy(text, "[");
        (void)oct__rule_byte(&g.now, '[');
        for (int i = 0; i < 60 && g.now.place != OCT__RULE_TEXT; i++) {
            const unsigned char *no = oct__guard_banned(&g, &m->vocab, n_vocab);
            int n_can = 0;
            for (int id = 0; id < n_vocab; id++) n_can += !no[id];
            if (!CHECK(n_can > 0)) return;
            int pick = (int)(test_random(&seed) % (unsigned)n_can), id = 0;
            while (no[id] || pick-- > 0) id++;
            const int n = oct__guard_piece(&m->vocab, id, piece);
            if (!CHECK(strlen(text) + (size_t)n < sizeof text)) return;
            strncat(text, piece, (size_t)n);
            oct__guard_token(&g, &m->vocab, id);
            last = id;
        }
        if (!CHECK(rule_box(text) > 0)) printf("     %s: %s\n", path, text);
        boxes += last >= 0;
    }
    CHECK_INT(boxes, 60);
    CHECK(n_outside > 0);                                  /* tokens such as "[]" and "[a" */
    free(g.candidates);
    free(g.inside);
    free(g.outside);
    free(banned);
    oct_model_close(m);
}
TEST(boxes, rule_of_vocabularies) {
    static const char *const names[] = { "vocab/ggml-vocab-llama-spm.gguf", "vocab/ggml-vocab-llama-bpe.gguf", "vocab/ggml-vocab-qwen2.gguf" };
    for (int i = 0; i < 3; i++) {
        const char *path = test_data(names[i]);
        if (!path) return;
        rule_of_vocabulary(path);
    }
}
