/* Pictures as their encoder takes them: against Pillow and the processors of transformers (tools/reference/make_vision.py). */

typedef struct vision_picture {
    int         width, height;
    const char *mode;
    oct__resize resize;
    int         late, size, side;
    uint32_t    crc;                                        /* of the 8-bit square */
    float       some[3];                                    /* the first float, the middle one of plane 1, the last */
} vision_picture;
#include "vision_pictures.h"

static const float vision_clip_mean[3] = { 0.48145466f, 0.4578275f, 0.40821073f };
static const float vision_clip_std[3] = { 0.26862954f, 0.26130258f, 0.27577711f };

static uint32_t vision_crc32(const unsigned char *p, size_t n) {
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int j = 0; j < 8; j++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0u);
    }
    return ~crc;
}
/* make_vision.py's noise() */
static unsigned vision_noise(uint32_t x, uint32_t y, uint32_t c) {
    uint32_t v = x * 73856093u ^ y * 19349663u ^ c * 83492791u;
    v = (v ^ v >> 13) * 0x5BD1E995u;
    v = v ^ v >> 15;
    return ((x / 16 + y / 16) & 1 ? v : x * 3 + y * 5 + c * 40) & 255u;
}
/* The pixels of one of its pictures, rows `extra` bytes longer than they need be. */
static unsigned char *vision_make(const char *mode, int width, int height, size_t extra, oct_image *image) {
    const int n_ch = strcmp(mode, "RGBA") == 0 ? 4 : 3;
    const size_t stride = (size_t)width * (size_t)n_ch + extra;
    unsigned char *pixels = (unsigned char *)calloc((size_t)height, stride);
    memset(image, 0, sizeof *image);
    image->pixels = pixels;
    image->width = width;
    image->height = height;
    image->stride_bytes = extra ? stride : 0;
    image->n_channels = n_ch == 4 ? 4 : 0;
    image->nearest = mode[0] == 'P' || mode[0] == '1';
    for (int y = 0; pixels && y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < n_ch; c++) {
                unsigned v = vision_noise((uint32_t)x, (uint32_t)y, image->nearest ? 0u : (uint32_t)c);
                if (mode[0] == 'P') v = c == 0 ? v : c == 1 ? 255 - v : v * 7 & 255u;
                if (mode[0] == '1') v = v >= 128 ? 255 : 0;
                if (c == 3) v = v < 64 ? 0 : v > 192 ? 255 : v;
                pixels[(size_t)y * stride + (size_t)x * (size_t)n_ch + (size_t)c] = (unsigned char)v;
            }
    return pixels;
}
static oct__image_prep vision_prep(oct__resize resize, int late, int size, int side) {
    oct__image_prep p;
    const int clip = resize != OCT__RESIZE_SQUASH || late;
    memset(&p, 0, sizeof p);
    p.size = size;
    p.side = side;
    p.resize = resize;
    p.convert_late = late != 0;
    for (int i = 0; i < 3; i++) {
        p.mean[i] = clip ? vision_clip_mean[i] : 0.5f;
        p.std[i] = clip ? vision_clip_std[i] : 0.5f;
    }
    return p;
}

TEST(pictures, prepared_as_pillow_and_transformers_do) {
    oct_allocator a;
    memset(&a, 0, sizeof a);
    for (size_t i = 0; i < sizeof vision_pictures / sizeof vision_pictures[0]; i++) {
        const vision_picture *v = &vision_pictures[i];
        const oct__image_prep p = vision_prep(v->resize, v->late, v->size, v->side);
        const size_t n = (size_t)v->size * (size_t)v->size;
        oct_image image;
        oct_error err;
        if (test_quick() && v->width * v->height > 300000) continue;
        unsigned char *pixels = vision_make(v->mode, v->width, v->height, i % 3, &image);
        unsigned char *square = (unsigned char *)malloc(3 * n);
        float *out = (float *)malloc(3 * n * sizeof *out);
        const bool ok = CHECK(pixels && square && out) && CHECK(oct__image_square(&a, &image, &p, square, &err) == OCT_OK) &&
                        CHECK(oct__image_prepare(&a, &image, &p, out, &err) == OCT_OK);
        if (ok && !CHECK_INT(vision_crc32(square, 3 * n), v->crc))
            printf("     %d x %d %s, resize %d late %d, to %d by %d\n", v->width, v->height, v->mode, (int)v->resize, v->late,
                   v->size, v->side);
        if (ok) {
            CHECK_NEAR(out[0], v->some[0], 1e-6);
            CHECK_NEAR(out[n + n / 2], v->some[1], 1e-6);
            CHECK_NEAR(out[3 * n - 1], v->some[2], 1e-6);
        }
        free(pixels);
        free(square);
        free(out);
    }
}

static oct_result vision_prepare(const oct_image *image, oct_error *err) {
    const oct__image_prep p = vision_prep(OCT__RESIZE_PAD, 0, 8, 0);
    oct_allocator a;
    float out[3 * 8 * 8];
    memset(&a, 0, sizeof a);
    return oct__image_prepare(&a, image, &p, out, err);
}
TEST(pictures, arguments_that_are_refused) {
    const unsigned char pixels[64] = { 0 };
    oct_image image;
    oct_error err;
    memset(&image, 0, sizeof image);
    CHECK_INT(vision_prepare(NULL, &err), OCT_E_ARG);
    CHECK_INT(vision_prepare(&image, &err), OCT_E_ARG);
    image.pixels = pixels;
    CHECK_INT(vision_prepare(&image, &err), OCT_E_ARG);
    CHECK_STR(err.message, "picture: 0 x 0, expected at least 1 x 1");
    image.width = image.height = 4;
    CHECK_INT(vision_prepare(&image, &err), OCT_OK);
    image.n_channels = 2;
    CHECK_INT(vision_prepare(&image, &err), OCT_E_ARG);
    CHECK_STR(err.message, "picture: 2 channels, expected 3 or 4");
    image.n_channels = 4;
    image.stride_bytes = 15;
    CHECK_INT(vision_prepare(&image, &err), OCT_E_ARG);
    CHECK_STR(err.message, "picture: stride of 15 bytes, expected at least 16");
    image.height = 2000000;
    CHECK_INT(vision_prepare(&image, &err), OCT_E_LIMIT);
    CHECK_STR(err.message, "picture: 4 x 2000000, expected sides of at most 1048576");
}
/* The longest strips there may be, in every mode: done in time, and their colour comes out. */
TEST(pictures, strips) {
    const int n = test_quick() ? 1 << 16 : OCT__MAX_SIDE;
    const oct__resize modes[3] = { OCT__RESIZE_PAD, OCT__RESIZE_CROP, OCT__RESIZE_SQUASH };
    oct_allocator a;
    float out[3 * 16 * 16];
    oct_error err;
    unsigned char *pixels = (unsigned char *)malloc(3 * (size_t)n);
    memset(&a, 0, sizeof a);
    if (!CHECK(pixels != NULL)) return;
    memset(pixels, 200, 3 * (size_t)n);
    for (int i = 0; i < 12; i++) {
        oct__image_prep p = vision_prep(modes[i % 3], i / 3 % 2, 16, 0);
        oct_image image;
        memset(&image, 0, sizeof image);
        image.pixels = pixels;
        image.width = i >= 6 ? n : 1;
        image.height = i >= 6 ? 1 : n;
        image.nearest = i / 3 % 2;
        CHECK_INT(oct__image_prepare(&a, &image, &p, out, &err), OCT_OK);
        if (modes[i % 3] != OCT__RESIZE_PAD) CHECK_NEAR(out[0], (200.0 / 255.0 - (double)p.mean[0]) / (double)p.std[0], 1e-5);
        else CHECK_NEAR(out[0], (122.0 / 255.0 - (double)p.mean[0]) / (double)p.std[0], 1e-5);
    }
    free(pixels);
}
