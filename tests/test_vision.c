/* Pictures as their encoder takes them: against Pillow and the processors of transformers (tools/reference/make_vision.py). */
#include "../tools/gguf_writer.h"

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
/* Long strips, in every mode: done in time, and their colour comes out. */
TEST(pictures, strips) {
    const int n = test_quick() ? 1 << 16 : 1 << 18;
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

/* --- encoders: every stage against transformers' modules ----------------------------------------- */

enum { VISION_STAGES = 12, VISION_FLOATS = 96 * 36 };
/* What a run showed. */
typedef struct vision_seen {
    char  name[VISION_STAGES][24];
    int   rows[VISION_STAGES], cols[VISION_STAGES], n;
    float data[VISION_STAGES][VISION_FLOATS];
} vision_seen;

static void vision_stage(void *user, const char *name, const float *data, int rows, int cols, int pos) {
    vision_seen *seen = (vision_seen *)user;
    if (!CHECK(seen->n < VISION_STAGES && rows * cols <= VISION_FLOATS && pos == 0)) return;
    snprintf(seen->name[seen->n], sizeof seen->name[0], "%s", name);
    seen->rows[seen->n] = rows;
    seen->cols[seen->n] = cols;
    memcpy(seen->data[seen->n++], data, (size_t)rows * (size_t)cols * sizeof *data);
}
static const float *vision_last(const vision_seen *seen) { return seen->data[seen->n - 1]; }

static oct_model *vision_open(const void *file, size_t bytes) {
    oct_model_desc d;
    oct_model     *m = NULL;
    oct_error      err;
    memset(&d, 0, sizeof d);
    d.load = OCT_LOAD_DIRECTORY;
    if (oct_model_open_memory(&m, file, bytes, &d, &err)) test_check(0, __FILE__, __LINE__, err.message);
    return m;
}
/* Encodes the picture of the goldens; the last stage shown is the result. */
static oct_result vision_run(const void *file, size_t bytes, oct_isa isa, int n_threads, vision_seen *seen, oct_error *err) {
    oct_model      *m = vision_open(file, bytes);
    oct__compute    c;
    oct__vit        v;
    oct__vit_watch  watch;
    oct_image       image;
    float           out[VISION_FLOATS];
    unsigned char  *pixels = vision_make("RGB", 97, 61, 0, &image);
    memset(&c, 0, sizeof c);
    memset(&watch, 0, sizeof watch);
    seen->n = 0;
    err->message[0] = 0;
    oct_result r = m && pixels ? oct__vit_load(&v, &m->gguf, &m->desc.allocator, 0, err) : OCT_E_MEMORY;
    if (!r) {
        c.k = oct__kernels_pick(isa);
        c.pool.n_threads = n_threads;
        c.exact = true;
        watch.stage = vision_stage;
        watch.stage_user = seen;
        if (CHECK(oct__vit_tokens(&v) * v.n_out <= VISION_FLOATS))
            r = oct__vit_encode(&v, &c, &m->desc.allocator, &image, NULL, &watch, out, err);
        oct__vit_free(&v, &m->desc.allocator);
    }
    oct_model_close(m);
    free(pixels);
    return r;
}

static const char *const vision_cases[] = { "vit-clip", "vit-siglip", "vit-plain" };

TEST(vision, every_stage) {
    vision_seen *seen = (vision_seen *)malloc(sizeof *seen), *first = (vision_seen *)malloc(sizeof *first);
    oct_error    err;
    oct_isa      isa;
    char         text[200];
    for (int i = 0; i < 3 && CHECK(seen && first); i++) {
        golden g;
        if (!golden_open(&g, vision_cases[i])) continue;
        for (int j = 0; golden_isa(j, &isa); j++) {
            for (int n_threads = 1; n_threads <= 3 && isa != OCT_ISA_AUTO; n_threads++) {
                if (!CHECK_INT(vision_run(g.gguf, g.gguf_bytes, isa, n_threads, seen, &err), OCT_OK)) break;
                CHECK_INT(seen->n, g.n);
                for (int s = 0; s < OCT__MIN(g.n, seen->n); s++) {
                    const golden_array *a = golden_find(&g, seen->name[s]);
                    const bool same = a && a->rows == seen->rows[s] && a->cols == seen->cols[s];
                    const double far = same ? golden_distance(seen->data[s], a->f, (size_t)a->rows * (size_t)a->cols) : HUGE_VAL;
                    snprintf(text, sizeof text, "%s, %s: stage %s [%d, %d], relative error %.2g", vision_cases[i],
                             oct_isa_name(isa), seen->name[s], seen->rows[s], seen->cols[s], far);
                    test_check(far <= GOLDEN_TOLERANCE, __FILE__, __LINE__, text);
                }
                if (n_threads == 1) *first = *seen;
                const size_t last = (size_t)(seen->rows[seen->n - 1] * seen->cols[seen->n - 1]);
                CHECK(memcmp(vision_last(first), vision_last(seen), last * sizeof(float)) == 0);
            }
        }
        golden_close(&g);
    }
    free(first);
    free(seen);
}

/* --- files made of other files -------------------------------------------------------------------- */

/* What to change on the way: pairs of words, "drop blk.0.ln1 image_size 6".
 *   clip 1: llama.cpp's keys; clip 2: and its older converter's names.  feature_layer N: with clip
 *   drop, zero, turn NAME: tensors with NAME in theirs are left out, all zeros, have ne[0] and ne[1] exchanged
 *   add NAME: one tensor more
 *   without KEY: leave the key out
 *   KEY VALUE: a number, a word, or the first item of an array instead; keys go without "octavius.v." */
static const char *vision_edit(const char *edit, const char *what) {
    static char value[64];
    char        word[2][64];
    for (int n = 0; sscanf(edit, "%63s %63s%n", word[0], word[1], &n) == 2; edit += n)
        if (strcmp(word[0], what) == 0) return strcpy(value, word[1]);
    return NULL;
}
static int vision_clip(const char *edit) {
    const char *clip = vision_edit(edit, "clip");
    return clip ? atoi(clip) : 0;
}
/* Does the edit name this tensor for that? */
static int vision_names(const char *edit, const char *what, const char *name) {
    const char *part = vision_edit(edit, what);
    return part && strstr(name, part);
}

static void vision_copy_meta(gguf_writer *w, const oct_meta *meta, const char *edit) {
    char       key[200];
    const int  ours = meta->key.len > 11 && memcmp(meta->key.data, "octavius.v.", 11) == 0, clip = vision_clip(edit);
    const int  skip = ours ? 11 : 0;
    char       name[100];
    snprintf(key, sizeof key, "%.*s", (int)meta->key.len, meta->key.data);
    snprintf(name, sizeof name, "%.80s", key + skip);
    if (vision_names(edit, "without", name)) return;
    if (clip && ours && (meta->type == GW_STRING || strcmp(name, "resize_side") == 0)) return;
    const char *attention = strcmp(name, "head_count") == 0 || strcmp(name, "layer_norm_epsilon") == 0 ? "attention." : "";
    if (clip && ours) snprintf(key, sizeof key, "clip.vision.%s%s", attention, name);
    const char *set = vision_edit(edit, name);
    if (meta->type == GW_ARRAY) {
        float v[3];
        memcpy(v, meta->items, sizeof v);
        if (set) v[0] = (float)atof(set);
        gw_array_f32(w, key, v, 3);
    } else if (meta->type == GW_STRING) {
        if (strcmp(key, "general.architecture") == 0) gw_str(w, key, clip ? "clip" : "octavius");
        else if (set) gw_str(w, key, set);
        else gw_strn(w, key, meta->s.data, meta->s.len);
    } else if (meta->type == GW_F32) {
        gw_f32(w, key, (float)meta->f);
    } else {
        gw_u32(w, key, set ? (uint32_t)strtoul(set, NULL, 10) : (uint32_t)meta->u);
    }
}
static void vision_copy_tensor(gguf_writer *w, const oct_tensor *t, const char *edit) {
    char     name[96], end[16];
    uint64_t ne[4];
    snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.data);
    for (int i = 0; i < 4; i++) ne[i] = (uint64_t)t->ne[i];
    if (vision_names(edit, "drop", name)) return;
    if (vision_names(edit, "turn", name)) {
        ne[0] = (uint64_t)t->ne[1];
        ne[1] = (uint64_t)t->ne[0];
    }
    const void *data = vision_names(edit, "zero", name) ? NULL : t->data;
    char *ffn = strstr(name, "ffn_");
    if (ffn && vision_clip(edit) == 2) {
        const int up = ffn[4] == 'u';
        snprintf(end, sizeof end, "%s", strchr(ffn, '.'));
        snprintf(ffn, 32, "ffn_%s%s", up ? "down" : "up", end);
    }
    gw_tensor(w, name, (uint32_t)t->type, (uint32_t)t->n_dims, ne, data, t->bytes);
}
/* free() it. */
static unsigned char *vision_rewrite(const golden *g, const char *edit, size_t *bytes) {
    gguf_writer w;
    oct_meta    meta;
    oct_tensor  t;
    oct_model  *m = vision_open(g->gguf, g->gguf_bytes);
    gw_begin(&w);
    for (size_t i = 0; oct_model_meta(m, i, &meta) == OCT_OK; i++) vision_copy_meta(&w, &meta, edit);
    if (vision_clip(edit)) {
        gw_bool(&w, "clip.has_vision_encoder", 1);
        gw_str(&w, "clip.projector_type", "mlp");
    }
    const char *layer = vision_edit(edit, "feature_layer");
    const int32_t number = layer ? atoi(layer) : 0;
    if (layer) gw_array_i32(&w, "clip.vision.feature_layer", &number, 1);
    for (size_t i = 0; oct_model_tensor(m, i, &t) == OCT_OK; i++) vision_copy_tensor(&w, &t, edit);
    const char *more = vision_edit(edit, "add");
    if (more) gw_tensor_1d(&w, more, 0, 32, NULL);
    oct_model_close(m);
    return gw_finish(&w, bytes);
}
static oct_result vision_run_edit(const golden *g, const char *edit, vision_seen *seen, oct_error *err) {
    size_t         bytes = 0;
    unsigned char *file = vision_rewrite(g, edit, &bytes);
    const oct_result r = vision_run(file, bytes, OCT_ISA_AUTO, 1, seen, err);
    free(file);
    return r;
}

/* Zeroes each class of tensor: the result must lie 100 tolerances away.  Biases of keys add the same to every score of a
 * query, which softmax does not see. */
TEST(vision, the_comparison_can_fail) {
    vision_seen *seen = (vision_seen *)malloc(sizeof *seen);
    oct_error    err;
    for (int i = 0; i < 3 && CHECK(seen != NULL); i++) {
        golden     g;
        oct_tensor t;
        if (!golden_open(&g, vision_cases[i])) continue;
        oct_model *m = vision_open(g.gguf, g.gguf_bytes);
        const golden_array *a = &g.a[g.n - 1];
        for (size_t j = 0; oct_model_tensor(m, j, &t) == OCT_OK; j++) {
            char name[96], edit[120], text[200];
            snprintf(name, sizeof name, "%.*s", (int)t.name.len, t.name.data);
            snprintf(edit, sizeof edit, "zero %s", strncmp(name, "v.blk.0.", 8) == 0 ? name + 8 : name);
            if (strncmp(name, "v.blk.1.", 8) == 0) continue;
            if (!CHECK_INT(vision_run_edit(&g, edit, seen, &err), OCT_OK)) break;
            const double far = golden_distance(vision_last(seen), a->f, (size_t)a->rows * (size_t)a->cols);
            const bool   unseen = strstr(name, "attn_k.bias") != NULL;
            snprintf(text, sizeof text, "%s without %s: the result moves by %.2g", vision_cases[i], name, far);
            test_check(unseen ? far <= GOLDEN_TOLERANCE : far >= 100 * GOLDEN_TOLERANCE, __FILE__, __LINE__, text);
        }
        oct_model_close(m);
        golden_close(&g);
    }
    free(seen);
}

/* llama.cpp's spelling gives the same bits; feature_layer ends the tower early. */
TEST(vision, mmproj_keys) {
    static const char *const same[] = { "clip 1", "clip 2", "clip 1 add v.post_ln.weight", "clip 1 feature_layer 2" };
    vision_seen *seen = (vision_seen *)malloc(sizeof *seen), *own = (vision_seen *)malloc(sizeof *own);
    golden       g;
    oct_error    err;
    if (!CHECK(seen && own) || !golden_open(&g, "vit-clip")) return;
    const size_t bytes = (size_t)g.a[g.n - 1].rows * (size_t)g.a[g.n - 1].cols * sizeof(float);
    CHECK_INT(vision_run(g.gguf, g.gguf_bytes, OCT_ISA_AUTO, 1, own, &err), OCT_OK);
    for (int i = 0; i < 4; i++)
        if (CHECK_INT(vision_run_edit(&g, same[i], seen, &err), OCT_OK))
            CHECK(memcmp(vision_last(seen), vision_last(own), bytes) == 0);
    if (CHECK_INT(vision_run_edit(&g, "clip 1 feature_layer 1", seen, &err), OCT_OK)) {
        CHECK_INT(seen->n, own->n - 1);
        CHECK_STR(seen->name[4], "v.selected");
        CHECK(memcmp(seen->data[4], own->data[3] + 48, 16 * 48 * sizeof(float)) == 0);
    }
    CHECK_INT(vision_run_edit(&g, "clip 1 feature_layer 3", seen, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "metadata 'clip.vision.feature_layer': 3, expected an integer from 1 to 2");
    golden_close(&g);
    if (golden_open(&g, "vit-siglip")) {                    /* without a class token, all rows are patches */
        if (CHECK_INT(vision_run_edit(&g, "clip 1", seen, &err), OCT_OK)) CHECK_INT(seen->rows[seen->n - 1], 16);
        golden_close(&g);
    }
    free(seen);
    free(own);
}
/* A tower of known depth that is all there stops one block short; one that lacks its last block does not. */
TEST(vision, blocks_of_an_mmproj) {
    static const int sizes[][3] = {
        { 1024, 24, 23 }, { 1024, 23, 23 }, { 1152, 27, 26 }, { 1152, 26, 26 }, { 768, 12, 11 }, { 48, 24, 24 },
    };
    oct__vit_binder b;
    oct__gguf       g;
    oct__vit        v;
    memset(&b, 0, sizeof b);
    memset(&g, 0, sizeof g);
    b.g = &g;
    b.v = &v;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memset(&v, 0, sizeof v);
        v.n_embd = sizes[i][0];
        v.n_block = sizes[i][1];
        CHECK_INT(oct__vit_clip_blocks(&b), OCT_OK);
        CHECK_INT(v.n_block, sizes[i][2]);
    }
}

typedef struct vision_refusal { const char *file, *edit; oct_result code; const char *message; } vision_refusal;

TEST(vision, files_that_are_refused) {
    static const vision_refusal all[] = {
        { "vit-clip", "drop v.patch_embd", OCT_E_FORMAT, "tensor 'v.patch_embd.weight': missing, expected [7, 7, 3, 48]" },
        { "vit-clip", "drop blk.1.attn_v.w", OCT_E_FORMAT, "tensor 'v.blk.1.attn_v.weight': missing, expected [48, 48]" },
        { "vit-clip", "drop mm.0", OCT_E_FORMAT, "tensor 'mm.0.weight': missing, expected [48, 0]" },
        { "vit-clip", "drop class_embd", OCT_E_FORMAT, "tensor 'v.position_embd.weight': shape [48, 17], expected [48, 16]" },
        { "vit-clip", "turn blk.0.ffn_up.w", OCT_E_FORMAT,
          "tensor 'v.blk.0.ffn_down.weight': shape [88, 48], expected [48, 88]" },
        { "vit-clip", "turn mm.2.w", OCT_E_FORMAT, "tensor 'mm.2.weight': shape [48, 56], expected [56, 56]" },
        { "vit-clip", "patch_size 8", OCT_E_FORMAT, "tensor 'v.patch_embd.weight': shape [7, 7, 3, 48], expected [8, 8, 3, 48]" },
        { "vit-clip", "add v.blk.0.attn_x.weight", OCT_E_UNSUPPORTED,
          "tensor 'v.blk.0.attn_x.weight': not part of a vision tower as this version knows it" },
        { "vit-clip", "block_count 1", OCT_E_UNSUPPORTED,
          "tensor 'v.blk.1.ln1.weight': not part of a vision tower as this version knows it" },
        { "vit-clip", "block_count 3", OCT_E_FORMAT, "tensor 'v.blk.2.ln1.weight': missing, expected [48, 1]" },
        { "vit-clip", "block_count 0", OCT_E_FORMAT, "metadata 'octavius.v.block_count': 0, expected 1 to 256" },
        { "vit-clip", "image_size 2147483648", OCT_E_FORMAT, "metadata 'octavius.v.image_size': 2147483648, expected 1 to 2048" },
        { "vit-clip", "image_size 6", OCT_E_FORMAT, "metadata 'octavius.v.patch_size': 7, expected 1 to 6" },
        { "vit-clip", "patch_size 0", OCT_E_FORMAT, "metadata 'octavius.v.patch_size': 0, expected 1 to 28" },
        { "vit-clip", "image_size 2048 patch_size 1", OCT_E_UNSUPPORTED,
          "metadata 'octavius.v.patch_size': 1, in 2048 x 2048 pixels that is 4194304 patches, expected at most 16384" },
        { "vit-clip", "head_count 5", OCT_E_FORMAT,
          "metadata 'octavius.v.head_count': 5, expected a divisor of the width 48, heads of at most 1024" },
        { "vit-clip", "embedding_length 1073741824", OCT_E_FORMAT,
          "metadata 'octavius.v.embedding_length': 1073741824, expected 1 to 16384" },
        { "vit-clip", "activation relu", OCT_E_UNSUPPORTED,
          "metadata 'octavius.v.activation': 'relu', expected gelu_quick|gelu_tanh|gelu" },
        { "vit-clip", "without activation", OCT_E_FORMAT,
          "metadata 'octavius.v.activation': missing or empty, expected gelu_quick|gelu_tanh|gelu" },
        { "vit-clip", "without image_mean", OCT_E_FORMAT, "metadata 'octavius.v.image_mean': missing, expected array of 3 f32" },
        { "vit-clip", "image_mean -0.5", OCT_E_FORMAT, "metadata 'octavius.v.image_mean': item 0 is -0.5, expected 0 to 1" },
        { "vit-clip", "image_std 0", OCT_E_FORMAT, "metadata 'octavius.v.image_std': item 0 is 0, expected 0.0001 to 10000" },
        { "vit-clip", "without image_size", OCT_E_FORMAT,
          "metadata 'octavius.v.image_size': missing, and general.architecture is not 'clip': no vision tower" },
        { "vit-clip", "clip 1 without image_size", OCT_E_FORMAT,
          "metadata 'clip.vision.image_size': missing, expected an integer" },
        { "vit-siglip", "image_size 13 resize_side 13", OCT_E_FORMAT,
          "tensor 'v.class_embd': missing, and one patch alone leaves no row" },
        { "vit-siglip", "image_size 20 resize_side 20", OCT_E_FORMAT,
          "tensor 'v.position_embd.weight': shape [40, 16], expected [40, 4]" },
        { "vit-plain", "drop post_ln", OCT_E_FORMAT, "tensor 'v.post_ln.weight': missing, expected [48, 1]" },
    };
    vision_seen *seen = (vision_seen *)malloc(sizeof *seen);
    oct_error    err;
    for (size_t i = 0; i < sizeof all / sizeof all[0] && CHECK(seen != NULL); i++) {
        golden g;
        if (!golden_open(&g, all[i].file)) continue;
        CHECK_INT(vision_run_edit(&g, all[i].edit, seen, &err), all[i].code);
        CHECK_STR(err.message, all[i].message);
        golden_close(&g);
    }
    free(seen);
}

/* --- through the public functions ------------------------------------------------------------------- */

/* The golden's file under a path of this run's; an edit may be made. */
static const char *vision_file(const char *name, const char *edit) {
    golden g;
    size_t bytes = 0;
    if (!golden_open(&g, name)) return "";
    unsigned char *file = vision_rewrite(&g, edit, &bytes);
    const char    *path = test_tmp("vision-mmproj.gguf");
    FILE          *f = fopen(path, "wb");
    if (CHECK(f && fwrite(file, 1, bytes, f) == bytes)) fclose(f);
    free(file);
    golden_close(&g);
    return path;
}
/* A value of any type goes over as its bytes. */
static void vision_join_meta(gguf_writer *w, const oct_meta *meta) {
    static const unsigned char sizes[13] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    const uint32_t type = (uint32_t)meta->type;
    const float    f = (float)meta->f;
    if (type == GW_STRING || type == GW_ARRAY) {
        gw_meta_raw(w, meta->key.data, meta->key.len, type, NULL, 0);
        if (type == GW_STRING) gw_put_string(&w->meta, meta->s.data, meta->s.len);
        else gw_put_u32(&w->meta, (uint32_t)meta->item_type);
        if (type == GW_ARRAY) gw_put_u64(&w->meta, meta->count);
        if (type == GW_ARRAY) gw_put(&w->meta, meta->items, meta->items_bytes);
    } else {
        const void *value = type == GW_F32 ? (const void *)&f : type == GW_F64 ? (const void *)&meta->f : (const void *)&meta->u;
        gw_meta_raw(w, meta->key.data, meta->key.len, type, value, sizes[type]);
    }
}
/* One file with a text model and a tower.  free() it. */
static unsigned char *vision_join(const golden *text, const golden *tower, size_t *bytes) {
    const golden *both[2] = { text, tower };
    gguf_writer   w;
    gw_begin(&w);
    for (int i = 0; i < 2; i++) {
        oct_meta   meta;
        oct_tensor t;
        oct_model *m = vision_open(both[i]->gguf, both[i]->gguf_bytes);
        for (size_t j = 0; oct_model_meta(m, j, &meta) == OCT_OK; j++)
            if (i == 0 || strncmp(meta.key.data, "octavius.", 9) == 0) vision_join_meta(&w, &meta);
        for (size_t j = 0; oct_model_tensor(m, j, &t) == OCT_OK; j++) vision_copy_tensor(&w, &t, "");
        oct_model_close(m);
    }
    return gw_finish(&w, bytes);
}

typedef struct vision_asked { int calls, stop_at; } vision_asked;
static int vision_abort(void *user) {
    vision_asked *a = (vision_asked *)user;
    return ++a->calls == a->stop_at;
}
static int vision_never(void *user) { return user != NULL; }
static void vision_pool(void *user, oct_task_fn fn, void *arg, int n) {
    (void)user;
    for (int i = n - 1; i >= 0; i--) fn(arg, i);
}
static int vision_progress(void *user, float done) { return vision_abort(user) || !(done > 0.0f && done <= 1.0f); }

/* Encodes the goldens' picture on a session of its own. */
static oct_result vision_encode(const oct_model *m, const oct_session_desc *desc, oct_embeds **e, oct_error *err) {
    oct_session   *s = NULL;
    oct_image      image;
    unsigned char *pixels = vision_make("RGB", 97, 61, 0, &image);
    oct_result     r = pixels ? oct_session_open(&s, m, desc, err) : OCT_E_MEMORY;
    *e = NULL;
    if (!r) r = oct_encode_image(e, s, &image, err);
    oct_session_close(s);
    free(pixels);
    return r;
}
static void vision_embeds_match(const oct_embeds *e, const golden *g) {
    const golden_array *a = golden_find(g, "mm.out");
    int rows = 0, cols = 0;
    const float *data = oct_embeds_data(e, &rows, &cols);
    if (CHECK(data != NULL) && CHECK_INT(rows, a->rows) && CHECK_INT(cols, a->cols))
        CHECK(golden_distance(data, a->f, (size_t)rows * (size_t)cols) <= GOLDEN_TOLERANCE);
}

TEST(vision, one_file_and_two) {
    golden           text, tower;
    oct_model_desc   d;
    oct_model_info   info;
    oct_session_desc sd;
    oct_model       *m = NULL;
    oct_embeds      *e;
    oct_error        err;
    size_t           bytes = 0;
    if (!golden_open(&text, "llama") || !golden_open(&tower, "vit-clip")) return;
    unsigned char *joined = vision_join(&text, &tower, &bytes);
    memset(&d, 0, sizeof d);
    memset(&sd, 0, sizeof sd);
    sd.n_ctx = 32;
    sd.n_threads = 2;
    for (int i = 0; i < 3; i++) {
        d.mmproj = i == 0 ? NULL : vision_file("vit-clip", i == 1 ? "" : "clip 2");
        const oct_result r = i == 0 ? oct_model_open_memory(&m, joined, bytes, &d, &err)
                                    : oct_model_open_memory(&m, text.gguf, text.gguf_bytes, &d, &err);
        if (!CHECK_INT(r, OCT_OK)) {
            printf("     %s\n", err.message);
            continue;
        }
        oct_model_info_get(m, &info);
        CHECK_INT(info.has_image, 1);
        CHECK_INT(vision_encode(m, &sd, &e, &err), OCT_OK);
        vision_embeds_match(e, &tower);
        oct_embeds *other;
        oct_session_desc foreign = sd;
        foreign.parallel_for = vision_pool;                 /* work is cut differently then */
        foreign.abort = vision_never;
        if (CHECK_INT(vision_encode(m, &foreign, &other, &err), OCT_OK) && e)
            CHECK(memcmp(oct_embeds_data(other, NULL, NULL), oct_embeds_data(e, NULL, NULL), 16 * 48 * sizeof(float)) == 0);
        oct_embeds_close(other);
        oct_embeds_close(e);
        oct_model_close(m);
    }
    d.mmproj = vision_file("vit-clip", "");
    CHECK_INT(oct_model_open_memory(&m, joined, bytes, &d, &err), OCT_E_ARG);
    CHECK(strstr(err.message, "the model has a vision tower of its own") != NULL);
    d.mmproj = test_tmp("no-such-file.gguf");
    CHECK_INT(oct_model_open_memory(&m, text.gguf, text.gguf_bytes, &d, &err), OCT_E_IO);
    d.mmproj = vision_file("vit-siglip", "");
    CHECK_INT(oct_model_open_memory(&m, text.gguf, text.gguf_bytes, &d, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "tensor 'mm.2.weight': shape [56, 24], expected [56, 48], the text model's width");
    d.mmproj = vision_file("vit-plain", "");
    CHECK_INT(oct_model_open_memory(&m, text.gguf, text.gguf_bytes, &d, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "tensor 'mm.0.weight': missing, expected [48, 48]");
    CHECK(m == NULL);
    d.mmproj = NULL;
    if (CHECK_INT(oct_model_open_memory(&m, text.gguf, text.gguf_bytes, &d, &err), OCT_OK)) {
        CHECK_INT(vision_encode(m, &sd, &e, &err), OCT_E_UNSUPPORTED);
        CHECK_STR(err.message, "the model has no image encoder");
        CHECK(e == NULL && oct_embeds_data(NULL, NULL, NULL) == NULL);
    }
    oct_model_close(m);
    free(joined);
    golden_close(&text);
    golden_close(&tower);
}

TEST(vision, stopped_and_out_of_memory) {
    golden           text, tower;
    oct_model_desc   d;
    oct_session_desc sd;
    vision_asked     asked = { 0, 0 };
    memory_hook      hook;
    oct_model       *m = NULL;
    oct_embeds      *e;
    oct_error        err;
    if (!golden_open(&text, "llama") || !golden_open(&tower, "vit-clip")) return;
    memory_desc(&d, &hook);
    d.mmproj = vision_file("vit-clip", "");
    memset(&sd, 0, sizeof sd);
    sd.n_ctx = 32;
    sd.n_threads = 1;
    if (CHECK_INT(oct_model_open_memory(&m, text.gguf, text.gguf_bytes, &d, &err), OCT_OK)) {
        sd.abort = vision_abort;
        sd.abort_user = &asked;
        asked.stop_at = 2;
        CHECK_INT(vision_encode(m, &sd, &e, &err), OCT_E_ABORTED);
        CHECK(e == NULL);
        sd.abort = NULL;
        sd.progress = vision_progress;
        sd.progress_user = &asked;
        asked.calls = 0;
        CHECK_INT(vision_encode(m, &sd, &e, &err), OCT_E_ABORTED);
        asked.calls = asked.stop_at = 0;
        CHECK_INT(vision_encode(m, &sd, &e, &err), OCT_OK);
        CHECK_INT(asked.calls, 2);                          /* once a block */
        oct_embeds_close(e);
        oct_result r = OCT_E_MEMORY;
        const long live = hook.live;
        for (int i = 1; r == OCT_E_MEMORY && i < 100; i++) {
            hook.calls = 0;
            hook.fail_at = i;
            r = vision_encode(m, &sd, &e, &err);
            if (r) CHECK(CHECK_INT(r, OCT_E_MEMORY) && e == NULL && hook.live == live);
        }
        CHECK_INT(r, OCT_OK);
        vision_embeds_match(e, &tower);
        oct_embeds_close(e);
        oct_model_close(m);
    }
    CHECK_INT(hook.live, 0);
    oct_result r = OCT_E_MEMORY;
    for (int i = 1; r == OCT_E_MEMORY && i < 1000; i++) {
        hook.calls = 0;
        hook.fail_at = i;
        r = oct_model_open_memory(&m, text.gguf, text.gguf_bytes, &d, &err);
        if (r) CHECK(CHECK_INT(r, OCT_E_MEMORY) && m == NULL && hook.live == 0);
    }
    CHECK_INT(r, OCT_OK);
    oct_model_close(m);
    golden_close(&text);
    golden_close(&tower);
}

/* --- a real, trained tower with a classifier ------------------------------------------------------- */

/* A tensor of a safetensors file as our own names have it; NULL data: not there.  Only F32, as this file has it. */
static const float *vision_safetensor(const char *file, const char *name, uint64_t ne[4], uint32_t *n_dims) {
    char     quoted[80];
    uint64_t header, shape[4] = { 1, 1, 1, 1 }, from = 0;
    memcpy(&header, file, 8);
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *at = strstr(file + 8, quoted), *s = at ? strstr(at, "\"shape\":[") : NULL;
    const char *offsets = s ? strstr(s, "\"data_offsets\":[") : NULL;
    if (!offsets) return NULL;
    for (s += 9, *n_dims = 0; *n_dims < 4 && *s != ']'; s += *s == ',') {
        char *end;
        shape[(*n_dims)++] = strtoull(s, &end, 10);
        s = end;
    }
    from = strtoull(offsets + 16, NULL, 10);
    for (uint32_t i = 0; i < 4; i++) ne[i] = i < *n_dims ? shape[*n_dims - 1 - i] : 1;
    return (const float *)(const void *)(file + 8 + header + from);
}
static void vision_put_q8_0(gguf_writer *w, const char *name, const uint64_t *ne, const float *x) {
    const size_t   n = (size_t)(ne[0] * ne[1]) / 32;
    unsigned char *blocks = (unsigned char *)malloc(n * 34);
    for (size_t i = 0; blocks && i < n; i++, x += 32) {
        float amax = 0.0f;
        for (int j = 0; j < 32; j++) amax = OCT__MAX(amax, fabsf(x[j]));
        const float    d = amax / 127.0f;
        const uint16_t h = oct__f32_to_f16(d);
        memcpy(blocks + 34 * i, &h, 2);
        for (int j = 0; j < 32; j++)
            blocks[34 * i + 2 + (size_t)j] = (unsigned char)(signed char)lrintf(d > 0.0f ? x[j] / d : 0.0f);
    }
    gw_tensor_2d(w, name, 8, ne[0], ne[1], blocks);
    free(blocks);
}
static void vision_put(gguf_writer *w, const char *file, const char *theirs, const char *ours, int q8_0) {
    uint64_t ne[4];
    uint32_t n_dims = 0;
    const float *x = vision_safetensor(file, theirs, ne, &n_dims);
    if (!x) {
        test_check(0, __FILE__, __LINE__, theirs);
        return;
    }
    const size_t bytes = (size_t)(ne[0] * ne[1] * ne[2] * ne[3]) * sizeof *x;
    if (strcmp(ours, "v.class_embd") == 0) n_dims = 1;      /* [1, 1, n] there, [1, rows, n] of the positions */
    if (n_dims == 3) n_dims = 2;
    if (q8_0 && n_dims == 2 && strcmp(ours, "v.position_embd.weight") != 0) vision_put_q8_0(w, ours, ne, x);
    else gw_tensor(w, ours, 0, n_dims, ne, x, bytes);
}
/* timm's names into a GGUF file.  free() it. */
static unsigned char *vision_timm(const char *file, int q8_0, size_t *bytes) {
    static const char *const ends[][2] = {
        { "patch_embed.proj", "v.patch_embd" }, { "norm", "v.post_ln" }, { "head", "v.head" } };
    static const char *const block[][2] = {
        { "norm1", "ln1" }, { "attn.qkv", "attn_qkv" }, { "attn.proj", "attn_out" }, { "norm2", "ln2" }, { "mlp.fc1", "ffn_up" },
        { "mlp.fc2", "ffn_down" } };
    static const float half[3] = { 0.5f, 0.5f, 0.5f };
    static const char *const kinds[2] = { "weight", "bias" };
    char        theirs[64], ours[64];
    gguf_writer w;
    gw_begin(&w);
    gw_str(&w, "general.architecture", "octavius");
    gw_u32(&w, "octavius.v.image_size", 224);
    gw_u32(&w, "octavius.v.patch_size", 16);
    gw_u32(&w, "octavius.v.embedding_length", 192);
    gw_u32(&w, "octavius.v.feed_forward_length", 768);
    gw_u32(&w, "octavius.v.block_count", 12);
    gw_u32(&w, "octavius.v.head_count", 3);
    gw_f32(&w, "octavius.v.layer_norm_epsilon", 1e-6f);
    gw_array_f32(&w, "octavius.v.image_mean", half, 3);
    gw_array_f32(&w, "octavius.v.image_std", half, 3);
    gw_str(&w, "octavius.v.activation", "gelu");
    gw_str(&w, "octavius.v.resize", "crop");
    gw_u32(&w, "octavius.v.resize_side", 248);
    vision_put(&w, file, "cls_token", "v.class_embd", 0);
    vision_put(&w, file, "pos_embed", "v.position_embd.weight", 0);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 3; i++) {
            snprintf(theirs, sizeof theirs, "%s.%s", ends[i][0], kinds[k]);
            snprintf(ours, sizeof ours, "%s.%s", ends[i][1], kinds[k]);
            vision_put(&w, file, theirs, ours, q8_0);
        }
        for (int i = 0; i < 72; i++) {
            snprintf(theirs, sizeof theirs, "blocks.%d.%s.%s", i / 6, block[i % 6][0], kinds[k]);
            snprintf(ours, sizeof ours, "v.blk.%d.%s.%s", i / 6, block[i % 6][1], kinds[k]);
            vision_put(&w, file, theirs, ours, q8_0);
        }
    }
    return gw_finish(&w, bytes);
}

/* Keeps the rows after the last block, and the classifier's numbers. */
typedef struct vision_real { float rows[197 * 192], head[1000]; } vision_real;
static void vision_real_stage(void *user, const char *name, const float *data, int rows, int cols, int pos) {
    vision_real *real = (vision_real *)user;
    if (pos == 0 && strcmp(name, "v.post_ln") == 0 && rows * cols == 197 * 192) memcpy(real->rows, data, sizeof real->rows);
    if (pos == 0 && strcmp(name, "v.head") == 0 && rows * cols == 1000) memcpy(real->head, data, sizeof real->head);
}
/* A picture, or pixels [3, 224, 224], through the tower. */
static void vision_real_run(const char *file, int q8_0, int exact, oct_isa isa, const oct_image *image, const float *pixels,
                            vision_real *real) {
    size_t         bytes = 0;
    unsigned char *gguf = vision_timm(file, q8_0, &bytes);
    oct_model     *m = vision_open(gguf, bytes);
    oct__compute   c;
    oct__vit       v;
    oct__vit_watch watch;
    oct_error      err;
    memset(&c, 0, sizeof c);
    memset(&watch, 0, sizeof watch);
    memset(real, 0, sizeof *real);
    c.k = oct__kernels_pick(isa);
    c.pool.n_threads = 2;
    c.exact = exact != 0;
    watch.stage = vision_real_stage;
    watch.stage_user = real;
    if (m && CHECK_INT(oct__vit_load(&v, &m->gguf, &m->desc.allocator, 0, &err), OCT_OK)) {
        CHECK_INT(oct__vit_encode(&v, &c, &m->desc.allocator, image, pixels, &watch, NULL, &err), OCT_OK);
        oct__vit_free(&v, &m->desc.allocator);
    }
    oct_model_close(m);
    free(gguf);
}
/* The least cosine of any row. */
static double vision_cosine(const float *a, const float *b, int rows, int cols) {
    double least = 1;
    for (int t = 0; t < rows; t++, a += cols, b += cols) {
        double ab = 0, aa = 0, bb = 0;
        for (int i = 0; i < cols; i++) {
            ab += (double)a[i] * (double)b[i];
            aa += (double)a[i] * (double)a[i];
            bb += (double)b[i] * (double)b[i];
        }
        const double cosine = ab / sqrt(aa * bb);
        if (!(cosine >= least)) least = cosine;
    }
    return least;
}

TEST(vision, a_real_classifier) {
    const char *weights = test_data("vit/vit_tiny_patch16_224.safetensors"), *in = test_data("vit/chelsea.pixels.npy");
    const char *out = test_data("vit/chelsea.logits.npy");
    if (!weights || !in || !out) return;
    size_t  n = 0, n_in = 0, n_out = 0;
    char   *file = test_read_file(weights, &n), *pixels = test_read_file(in, &n_in), *logits = test_read_file(out, &n_out);
    oct_isa isa;
    vision_real *real = (vision_real *)malloc(sizeof *real), *int8 = (vision_real *)malloc(sizeof *int8);
    if (CHECK(file && pixels && logits && real && int8) && CHECK(n_in > 3 * 224 * 224 * 4 && n_out > 4000))
        for (int i = 0; golden_isa(i, &isa); i++) {
            const float *x = (const float *)(const void *)(pixels + n_in - 3 * 224 * 224 * 4);
            const float *want = (const float *)(const void *)(logits + n_out - 4000);
            int best = 0;
            if (isa == OCT_ISA_AUTO || (test_quick() && isa != oct__kernels_pick(OCT_ISA_AUTO)->isa)) continue;
            vision_real_run(file, 0, 1, isa, NULL, x, real);
            for (int j = 0; j < 1000; j++) {
                if (!CHECK_NEAR(real->head[j], want[j], 1e-3)) break;
                if (real->head[j] > real->head[best]) best = j;
            }
            CHECK_INT(best, 285);                           /* Egyptian cat */
            if (test_quick()) continue;
            vision_real_run(file, 1, 1, isa, NULL, x, real);    /* the same weights, F32 and int8 activations */
            vision_real_run(file, 1, 0, isa, NULL, x, int8);
            for (int j = best = 0; j < 1000; j++)
                if (int8->head[j] > int8->head[best]) best = j;
            CHECK_INT(best, 285);
            CHECK(vision_cosine(int8->rows, real->rows, 197, 192) >= 0.999);
        }
    free(real);
    free(int8);
    free(file);
    free(pixels);
    free(logits);
}

#if !defined(OCTAVIUS_NO_PICTURES)
/* From the photograph itself, decoded and prepared here. */
TEST(vision, a_real_photograph) {
    const char *weights = test_data("vit/vit_tiny_patch16_224.safetensors"), *photo = test_data("images/chelsea.png");
    const char *out = test_data("vit/chelsea.logits.npy");
    size_t      n = 0, n_out = 0;
    oct_picture picture;
    oct_error   err;
    if (!weights || !photo || !out) return;
    char        *file = test_read_file(weights, &n), *logits = test_read_file(out, &n_out);
    vision_real *real = (vision_real *)malloc(sizeof *real);
    if (CHECK(file && logits && real && n_out > 4000) && CHECK_INT(oct_picture_open(&picture, photo, NULL, &err), OCT_OK)) {
        vision_real_run(file, 0, 1, OCT_ISA_AUTO, &picture.image, NULL, real);
        CHECK(golden_distance(real->head, (const float *)(const void *)(logits + n_out - 4000), 1000) <= GOLDEN_TOLERANCE);
        oct_picture_close(&picture);
    }
    free(real);
    free(file);
    free(logits);
}
#endif
