/* Tests of chapter 18: what is drawn, pixel by pixel, and that PNG and SVG hold the picture they were made of.  That others
 * read them too is looked at by tools/reference/read_drawings.py. */

typedef struct draw_file { unsigned char *data; size_t len, cap, refuse_at; } draw_file;
static int draw_write(void *user, const void *data, size_t n) {
    draw_file *f = (draw_file *)user;
    if (f->refuse_at && f->len + n >= f->refuse_at) return 1;
    if (f->len + n > f->cap) {
        f->cap = 2 * (f->len + n);
        f->data = (unsigned char *)realloc(f->data, f->cap);
        if (!CHECK(f->data != NULL)) return 1;
    }
    memcpy(f->data + f->len, data, n);
    f->len += n;
    return 0;
}
/* A picture of one colour, in the caller's memory. */
static void draw_blank(oct_picture *p, int width, int height, int n_ch, unsigned char grey) {
    const size_t n = (size_t)width * (size_t)height * (size_t)n_ch;
    unsigned char *pixels = (unsigned char *)malloc(n);
    memset(p, 0, sizeof *p);
    memset(pixels, grey, n);
    p->image.pixels = pixels;
    p->image.width = width;
    p->image.height = height;
    p->image.n_channels = n_ch;
    p->memory = pixels;
}
static const unsigned char *draw_at(const oct_picture *p, int x, int y) {
    const int c = p->image.n_channels == 4 ? 4 : 3;
    return p->image.pixels + (size_t)c * ((size_t)y * (size_t)p->image.width + (size_t)x);
}
static int draw_is(const oct_picture *p, int x, int y, int r, int g, int b) {
    const unsigned char *c = draw_at(p, x, y);
    return c[0] == r && c[1] == g && c[2] == b;
}
static oct_box draw_box(float x1, float y1, float x2, float y2, const char *label) {
    oct_box b;
    memset(&b, 0, sizeof b);
    b.x1 = x1;
    b.y1 = y1;
    b.x2 = x2;
    b.y2 = y2;
    snprintf(b.label, sizeof b.label, "%s", label);
    return b;
}

TEST(drawing, frame) {
    oct_picture p;
    draw_blank(&p, 200, 150, 3, 200);
    const oct_box b[2] = { draw_box(50, 40, 120, 100, ""), draw_box(0, 0, 200, 150, "") };
    CHECK_INT(oct_boxes_draw(&p, b, 1, NULL), OCT_OK);
    int drawn = 0, wrong = 0;
    for (int y = 0; y < 150; y++)
        for (int x = 0; x < 200; x++) {
            const int inside = x >= 50 && x <= 120 && y >= 40 && y <= 100;
            const int edge = inside && (x == 50 || x == 120 || y == 40 || y == 100);
            const int red = draw_is(&p, x, y, 230, 57, 70);
            wrong += edge ? !red : !draw_is(&p, x, y, 200, 200, 200);
            drawn += red;
        }
    CHECK_INT(wrong, 0);                                   /* a line one pixel wide where the picture is small */
    CHECK_INT(drawn, 2 * (71 + 61) - 4);
    CHECK_INT(oct_boxes_draw(&p, b + 1, 1, NULL), OCT_OK); /* the whole picture: its line is seen at the edge */
    CHECK(draw_is(&p, 0, 0, 230, 57, 70) && draw_is(&p, 199, 149, 230, 57, 70) && draw_is(&p, 100, 0, 230, 57, 70));
    free(p.memory);
    draw_blank(&p, 2000, 1500, 3, 200);                    /* wider lines on a larger one */
    CHECK_INT(oct_boxes_draw(&p, b, 1, NULL), OCT_OK);
    CHECK(draw_is(&p, 50, 60, 230, 57, 70) && draw_is(&p, 47, 60, 230, 57, 70) && draw_is(&p, 52, 60, 230, 57, 70));
    CHECK(draw_is(&p, 80, 70, 200, 200, 200) && draw_is(&p, 30, 60, 200, 200, 200));
    CHECK(!draw_is(&p, 45, 60, 200, 200, 200) && !draw_is(&p, 45, 60, 230, 57, 70));       /* dim beside the line */
    free(p.memory);
}
/* The letters of a label, as they stand in the picture. */
TEST(drawing, letters) {
    static const char *const rows[9] = { "#...#...#..", "#...#......", "#...#..##..", "#####...#..", "#...#...#..", "#...#...#..",
                                         "#...#..###.", "...........", "..........." };
    oct_picture p;
    draw_blank(&p, 100, 60, 3, 250);
    const oct_box b = draw_box(30, 40, 80, 55, "Hi");
    CHECK_INT(oct_boxes_draw(&p, &b, 1, NULL), OCT_OK);
    int wrong = 0;
    for (int y = 0; y < 9; y++)                            /* the plate stands on the box: 11 rows above it */
        for (int x = 0; x < 11; x++) {
            const int ink = rows[y][x] == '#';
            wrong += ink ? !draw_is(&p, 32 + x, 31 + y, 255, 255, 255) : !draw_is(&p, 32 + x, 31 + y, 230, 57, 70);
        }
    CHECK_INT(wrong, 0);
    CHECK(draw_is(&p, 30, 29, 230, 57, 70) && draw_is(&p, 30, 28, 250, 250, 250) && draw_is(&p, 46, 35, 250, 250, 250));
    free(p.memory);
    /* every character has a shape of its own; what is no ASCII gets the letter without its accent, or an empty frame */
    for (int32_t c = 33; c < 127; c++)
        for (int32_t d = 32; d < c; d++) CHECK(memcmp(oct__font_glyph(c), oct__font_glyph(d), OCT__FONT_H) != 0);
    CHECK(oct__font_glyph(0xE9) == oct__font_glyph('e') && oct__font_glyph(0xFF) == oct__font_glyph('y'));
    CHECK(oct__font_glyph(0x4E2D) == oct__font_glyph(127) && oct__font_glyph(-1) == oct__font_glyph(127));
    for (int scale = 1; scale < 9; scale++)                /* the same shape at every size */
        for (int y = 0; y < OCT__FONT_H; y++)
            for (int x = 0; x < OCT__FONT_W; x++) {
                const int mid = oct__font_cover(oct__font_glyph('R'), scale, x * scale + scale / 2, y * scale + scale / 2);
                CHECK(oct__font_pixel(oct__font_glyph('R'), x, y) ? mid > 128 : mid < 128);
            }
}
TEST(drawing, plates_keep_apart) {
    oct_picture p;
    oct_box b[24];
    oct__placed *placed = NULL;
    size_t n = 0;
    static const oct_allocator plain = { NULL, NULL, NULL };
    for (int i = 0; i < 24; i++) {
        char label[8];
        snprintf(label, sizeof label, "no %d", i % 12);
        b[i] = draw_box((float)(i % 6 * 80), (float)(i / 6 * 90), (float)(i % 6 * 80 + 90), (float)(i / 6 * 90 + 100), label);
    }
    b[3].dropped = OCT_DROP_ORDER;
    draw_blank(&p, 500, 400, 3, 0);
    const oct__pen pen = oct__pen_of(500, 400);
    CHECK_INT(oct__place(&pen, b, 24, &plain, &placed, &n, NULL), OCT_OK);
    CHECK_INT(n, 23);
    for (size_t i = 0; i < n; i++) {
        CHECK(placed[i].plate.x1 >= 0 && placed[i].plate.y1 >= 0 && placed[i].plate.x2 <= 500 && placed[i].plate.y2 <= 400);
        for (size_t j = 0; j < i; j++) {
            CHECK(!oct__area_meets(placed[i].plate, placed[j].plate));
            CHECK((strcmp(placed[i].of->label, placed[j].of->label) == 0) == (placed[i].colour == placed[j].colour));
        }
    }
    free(placed);
    free(p.memory);
}
TEST(drawing, anything_goes) {
    static const int sizes[][2] = { { 1, 1 }, { 2, 3 }, { 1, 500 }, { 500, 1 }, { 33, 33 }, { 60, 40 }, { 999, 41 } };
    static const float odd[] = { 0.0f, -1e30f, 1e30f, 0.5f, 17.0f, 1.0f };
    unsigned long long seed = 3;
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        oct_picture p;
        oct_box b[40];
        draw_blank(&p, sizes[k][0], sizes[k][1], k & 1 ? 4 : 3, 9);
        for (int i = 0; i < 40; i++) {
            float v[4];
            for (int j = 0; j < 4; j++) v[j] = test_random(&seed) % 9 == 0 ? NAN : odd[test_random(&seed) % 6];
            b[i] = draw_box(v[0], v[1], v[2], v[3], i & 1 ? "a label \xFF that is much too long for this \xC3\xA9" : "x");
        }
        CHECK_INT(oct_boxes_draw(&p, b, 40, NULL), OCT_OK);
        free(p.memory);
    }
    oct_error err;
    oct_picture p;
    draw_blank(&p, 4, 4, 3, 0);
    const oct_box b = draw_box(1, 1, 2, 2, "");
    CHECK_INT(oct_boxes_draw(&p, &b, 5000, &err), OCT_E_LIMIT);
    CHECK_INT(oct_boxes_draw(&p, NULL, 1, &err), OCT_E_ARG);
    CHECK_INT(oct_boxes_draw(&p, NULL, 0, &err), OCT_OK);
    CHECK_INT(oct_boxes_draw(NULL, &b, 1, &err), OCT_E_ARG);
    CHECK_INT(oct_png_write(&p.image, NULL, NULL, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_svg_write(&p.image, &b, 1, NULL, NULL, NULL, &err), OCT_E_ARG);
    free(p.memory);
}

/* --- files ----------------------------------------------------------------------------------------------------- */

static int draw_same_pixels(const oct_image *a, const oct_image *b) {
    const size_t n = (size_t)a->width * (a->n_channels == 4 ? 4 : 3);
    if (a->width != b->width || a->height != b->height || (a->n_channels == 4) != (b->n_channels == 4)) return 0;
    for (int y = 0; y < a->height; y++)
        if (memcmp(a->pixels + (size_t)y * (a->stride_bytes ? a->stride_bytes : n),
                   b->pixels + (size_t)y * (b->stride_bytes ? b->stride_bytes : n), n) != 0) return 0;
    return 1;
}
/* Pictures that ask for every kind of match, code and filter. */
static void draw_pattern(unsigned char *to, size_t n, int kind, unsigned long long *seed) {
    for (size_t i = 0; i < n; i++)
        switch (kind) {
            case 0: to[i] = 77; break;
            case 1: to[i] = (unsigned char)test_random(seed); break;
            case 2: to[i] = (unsigned char)(i / 3); break;
            case 3: to[i] = (unsigned char)(test_random(seed) % 3 * 100); break;
            case 4: to[i] = (unsigned char)(i > 40000 ? to[i - 32767 + i % 2] : (unsigned)test_random(seed)); break;
            default: {                                     /* symbols of very uneven frequency: codes at their limit */
                unsigned v = 0;
                while (v < 40 && test_random(seed) % 2) v++;
                to[i] = (unsigned char)(v * 6);
            }
        }
}
TEST(drawing, png_comes_back) {
    static const int sizes[][2] = { { 1, 1 }, { 1, 300 }, { 300, 1 }, { 37, 29 }, { 256, 256 }, { 401, 187 } };
    unsigned long long seed = 12;
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
        for (int kind = 0; kind < 6; kind++)
            for (int n_ch = 3; n_ch <= 4; n_ch++) {
                draw_file f;
                oct_image image;
                oct_picture back;
                oct_error err;
                const size_t stride = (size_t)(sizes[k][0] * n_ch + (kind == 1 ? 5 : 0));
                unsigned char *pixels = (unsigned char *)malloc(stride * (size_t)sizes[k][1]);
                memset(&f, 0, sizeof f);
                memset(&image, 0, sizeof image);
                memset(&err, 0, sizeof err);
                draw_pattern(pixels, stride * (size_t)sizes[k][1], kind, &seed);
                image.pixels = pixels;
                image.width = sizes[k][0];
                image.height = sizes[k][1];
                image.n_channels = n_ch;
                image.stride_bytes = stride;
                CHECK_INT(oct_png_write(&image, NULL, draw_write, &f, &err), OCT_OK);
                if (CHECK_INT(oct_picture_open_memory(&back, f.data, f.len, NULL, &err), OCT_OK)) CHECK(draw_same_pixels(&image, &back.image));
                else CHECK_STR(err.message, "");
                const size_t raw = (size_t)(sizes[k][0] * n_ch + 1) * (size_t)sizes[k][1];
                CHECK(f.len < raw + raw / 100 + 200);      /* noise does not grow */
                if (kind == 0 && raw > 100000) CHECK(f.len < raw / 100);
                oct_picture_close(&back);
                free(f.data);
                free(pixels);
            }
}
/* The sizes that Pillow 12.3 gives the same pixels, at its default level. */
TEST(drawing, png_is_small) {
    static const struct { const char *name; size_t pillow; } files[] = {
        { "images/china.jpg", 493343 }, { "images/flower.jpg", 356118 }, { "images/astronaut.png", 427141 },
        { "images/coffee.png", 449225 }, { "images/chelsea.png", 223403 }, { "images/rocket.jpg", 312845 } };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *path = test_data(files[i].name);
        oct_picture p, back;
        draw_file f;
        if (!path) return;
        memset(&f, 0, sizeof f);
        if (!CHECK_INT(oct_picture_open(&p, path, NULL, NULL), OCT_OK)) continue;
        CHECK_INT(oct_png_write(&p.image, NULL, draw_write, &f, NULL), OCT_OK);
        if (!CHECK((double)f.len < 1.1 * (double)files[i].pillow)) printf("     %s: %d bytes\n", files[i].name, (int)f.len);
        if (CHECK_INT(oct_picture_open_memory(&back, f.data, f.len, NULL, NULL), OCT_OK)) CHECK(draw_same_pixels(&p.image, &back.image));
        oct_picture_close(&back);
        oct_picture_close(&p);
        free(f.data);
    }
}
static int draw_base64_value(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}
TEST(drawing, svg) {
    oct_picture p, back;
    draw_file f;
    const oct_box b[3] = { draw_box(10, 20, 60, 70, "a & <b> \"c\""), draw_box(1, 1, 30, 90, "x\x01\xFFy"), draw_box(0, 0, 9, 9, "") };
    unsigned long long seed = 4;
    memset(&f, 0, sizeof f);
    draw_blank(&p, 101, 99, 4, 0);
    draw_pattern((unsigned char *)p.memory, 101 * 99 * 4, 3, &seed);
    CHECK_INT(oct_svg_write(&p.image, b, 3, NULL, draw_write, &f, NULL), OCT_OK);
    CHECK_INT(draw_write(&f, "", 1), 0);
    char *svg = (char *)f.data, *at = strstr(svg, "base64,"), *end = at ? strchr(at, '"') : NULL;
    CHECK(strstr(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"101\" height=\"99\"") == svg);
    CHECK(strstr(svg, "a &amp; &lt;b&gt; &quot;c&quot;</text>") != NULL && strstr(svg, "x\xEF\xBF\xBD\xEF\xBF\xBDy</title>") != NULL);
    CHECK(strcmp(svg + strlen(svg) - 7, "</svg>\n") == 0);
    if (CHECK(at && end)) {
        size_t n = 0;
        for (char *s = at + 7; s + 4 <= end; s += 4) {     /* decoded in place, over the text before it */
            int v[4];
            for (int i = 0; i < 4; i++) v[i] = draw_base64_value(s[i]);
            CHECK(v[0] >= 0 && v[1] >= 0 && (v[2] >= 0 || v[3] < 0));
            f.data[n++] = (unsigned char)(v[0] << 2 | v[1] >> 4);
            if (v[2] >= 0) f.data[n++] = (unsigned char)((v[1] << 4 | v[2] >> 2) & 255);
            if (v[3] >= 0) f.data[n++] = (unsigned char)((v[2] << 6 | v[3]) & 255);
        }
        if (CHECK_INT(oct_picture_open_memory(&back, f.data, n, NULL, NULL), OCT_OK)) CHECK(draw_same_pixels(&p.image, &back.image));
        oct_picture_close(&back);
    }
    free(f.data);
    free(p.memory);
}

typedef struct draw_hook { long calls, fail_at, live; } draw_hook;
static void *draw_alloc(void *user, size_t n) {
    draw_hook *h = (draw_hook *)user;
    if (++h->calls == h->fail_at) return NULL;
    h->live++;
    return malloc(n);
}
static void draw_free(void *user, void *p) {
    ((draw_hook *)user)->live--;
    free(p);
}
/* Every allocation failed once, and a writer that gives up after any number of bytes. */
TEST(drawing, failures) {
    draw_hook h;
    oct_allocator a = { draw_alloc, draw_free, NULL };
    const oct_box b = draw_box(3, 3, 30, 30, "box");
    oct_picture p;
    oct_result r = OCT_E_MEMORY;
    draw_file f;
    a.user = &h;
    draw_blank(&p, 50, 50, 3, 7);
    p.allocator = a;
    for (long n = 1; r != OCT_OK && n < 50; n++) {
        memset(&h, 0, sizeof h);
        memset(&f, 0, sizeof f);
        h.fail_at = n;
        r = oct_boxes_draw(&p, &b, 1, NULL);
        if (!r) r = oct_svg_write(&p.image, &b, 1, &a, draw_write, &f, NULL);
        CHECK(r == OCT_OK || r == OCT_E_MEMORY);
        CHECK_INT(h.live, 0);
        if (r) free(f.data);
    }
    CHECK_INT(r, OCT_OK);
    const size_t all = f.len;
    free(f.data);
    for (size_t at = 1; at <= all; at += 7) {
        memset(&h, 0, sizeof h);
        memset(&f, 0, sizeof f);
        f.refuse_at = at;
        CHECK_INT(oct_svg_write(&p.image, &b, 1, &a, draw_write, &f, NULL), OCT_E_IO);
        CHECK_INT(h.live, 0);
        free(f.data);
    }
    free(p.memory);
}
