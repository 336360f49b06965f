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
