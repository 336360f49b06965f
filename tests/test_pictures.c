/* Tests of chapter 9, first part: picture files.  tests/golden/pictures.bin holds small files made by other encoders and
 * checksums of what Pillow reads from them (tools/reference/make_pictures.py); then files cut, spoilt and made up. */

/* --- the pack ---------------------------------------------------------------------- */

enum { PICTURES_MAX = 400 };
typedef struct picture_file {
    char                 name[48];
    const unsigned char *data;             /* NULL: a photograph of the test data */
    size_t               bytes;
    unsigned             width, height, n_channels, nearest, orientation, crc, crc_upright;
} picture_file;
typedef struct picture_pack { char *memory; picture_file files[PICTURES_MAX]; int n; } picture_pack;

static unsigned picture_crc(const unsigned char *p, size_t n) {
    unsigned c = ~0u;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
    }
    return ~c;
}
static unsigned picture_image_crc(const oct_image *m) {
    return picture_crc(m->pixels, (size_t)m->width * (size_t)m->height * (size_t)m->n_channels);
}
static int picture_pack_open(picture_pack *pack) {
    static const char name[] = "golden/pictures.bin";
    const char *here = __FILE__, *slash = strrchr(here, '/');
    char   path[512];
    size_t bytes = 0, at = 12;
    snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - here + 1) : 0, here, name);
    memset(pack, 0, sizeof *pack);
    pack->memory = test_read_file(path, &bytes);
    if (!pack->memory) pack->memory = test_read_file("tests/golden/pictures.bin", &bytes);
    const unsigned char *p = (const unsigned char *)pack->memory;
    if (!CHECK(p != NULL && bytes > at && memcmp(p, "OCTP\1\0\0\0", 8) == 0)) return 0;
    const size_t n = oct__u32(p + 8);
    for (size_t i = 0; i < n && i < PICTURES_MAX && bytes - at >= 80; i++) {
        picture_file *f = &pack->files[i];
        const unsigned char *v = p + at + 48;
        memcpy(f->name, p + at, 47);
        f->bytes = oct__u32(v);
        f->width = oct__u32(v + 4);
        f->height = oct__u32(v + 8);
        f->n_channels = oct__u32(v + 12);
        f->nearest = oct__u32(v + 16);
        f->orientation = oct__u32(v + 20);
        f->crc = oct__u32(v + 24);
        f->crc_upright = oct__u32(v + 28);
        at += 80;
        f->data = f->bytes ? p + at : NULL;
        if (f->bytes > bytes - at) break;
        at += f->bytes;
        pack->n++;
    }
    return CHECK_INT(pack->n, n) && CHECK_INT(at, bytes);
}
static const picture_file *picture_named(const picture_pack *pack, const char *name) {
    for (int i = 0; i < pack->n; i++)
        if (strcmp(pack->files[i].name, name) == 0) return &pack->files[i];
    test_check(0, __FILE__, __LINE__, name);
    return &pack->files[0];
}

/* --- helpers ------------------------------------------------------------------------ */

/* Opens a copy that ends where its memory ends.  A refusal must say so and leave nothing. */
static oct_result picture_open_copy(oct_picture *out, const unsigned char *data, size_t n, const oct_picture_desc *desc, oct_error *err) {
    unsigned char *copy = (unsigned char *)malloc(n ? n : 1);
    if (n) memcpy(copy, data, n);
    memset(out, 0x55, sizeof *out);
    const oct_result r = oct_picture_open_memory(out, copy, n, desc, err);
    free(copy);
    if (!r) return OCT_OK;
    CHECK_INT(err->code, r);
    CHECK(err->message[0] != 0);
    CHECK(out->memory == NULL && out->image.pixels == NULL && out->image.width == 0);
    return r;
}
/* Refused, with these words in the message. */
static void picture_refuse(const void *data, size_t n, oct_result code, const char *words) {
    oct_picture p;
    oct_error err;
    err.message[0] = 0;
    CHECK_INT(picture_open_copy(&p, (const unsigned char *)data, n, NULL, &err), code);
    if (!CHECK(strstr(err.message, words) != NULL)) printf("     \"%s\" is not in \"%s\"\n", words, err.message);
    oct_picture_close(&p);
}
static void picture_is(const picture_file *f, oct_picture *p) {
    oct_error err;
    const int good = CHECK_INT(p->image.width, f->width) & CHECK_INT(p->image.height, f->height) & CHECK_INT(p->image.n_channels, f->n_channels) &
                     CHECK_INT(p->image.nearest, f->nearest) & CHECK_INT(p->orientation, f->orientation) & CHECK_INT(picture_image_crc(&p->image), f->crc);
    CHECK_INT(p->image.stride_bytes, f->width * f->n_channels);
    CHECK_INT(oct_picture_upright(p, &err), OCT_OK);
    CHECK_INT(p->orientation, 1);
    if (!(CHECK_INT(picture_image_crc(&p->image), f->crc_upright) & good)) printf("     file: %s\n", f->name);
}
/* A file of the pack with some bytes replaced; free() it. */
static unsigned char *picture_patched(const picture_file *f, size_t at, const void *bytes, size_t n) {
    unsigned char *copy = (unsigned char *)malloc(f->bytes);
    memcpy(copy, f->data, f->bytes);
    if (CHECK(at + n <= f->bytes)) memcpy(copy + at, bytes, n);
    return copy;
}

/* --- what Pillow reads ------------------------------------------------------------------ */

TEST(pictures, as_pillow_reads_them) {
    static picture_pack pack;
    if (!picture_pack_open(&pack)) return;
    for (int i = 0; i < pack.n; i++) {
        oct_picture p;
        oct_error err;
        if (!pack.files[i].data) continue;
        if (!CHECK_INT(picture_open_copy(&p, pack.files[i].data, pack.files[i].bytes, NULL, &err), OCT_OK)) {
            printf("     file: %s: %s\n", pack.files[i].name, err.message);
            continue;
        }
        CHECK(strncmp(pack.files[i].name, p.format[0] == 'J' ? "jpeg" : p.format[1] == 'M' ? "bmp" : p.format[2] == 'G' ? "png" : "pnm", 3) == 0);
        picture_is(&pack.files[i], &p);
        oct_picture_close(&p);
        CHECK(p.memory == NULL && p.format == NULL);
    }
    free(pack.memory);
}

TEST(pictures, photographs) {
    static picture_pack pack;
    if (!picture_pack_open(&pack)) return;
    for (int i = 0; i < pack.n; i++) {
        oct_picture p;
        oct_error err;
        if (pack.files[i].data) continue;
        const char *path = test_data(pack.files[i].name);
        if (!path) break;
        if (CHECK_INT(oct_picture_open(&p, path, NULL, &err), OCT_OK)) picture_is(&pack.files[i], &p);
        else printf("     file: %s: %s\n", path, err.message);
        oct_picture_close(&p);
    }
    free(pack.memory);
}

/* --- hostile files ------------------------------------------------------------------------- */

/* Every file cut after every byte: an error, or, where only what follows the pixels is missing, all of them. */
TEST(pictures, cut_anywhere) {
    static picture_pack pack;
    if (!picture_pack_open(&pack)) return;
    for (int i = 0; i < pack.n; i++) {
        const picture_file *f = &pack.files[i];
        const size_t step = !f->data ? 0 : f->bytes < 1500 ? (test_quick() ? 7 : 1) : f->bytes / 150;
        for (size_t n = 0; f->data && n < f->bytes; n += step) {
            oct_picture p;
            oct_error err;
            if (picture_open_copy(&p, f->data, n, NULL, &err)) continue;
            const int digits = f->bytes - n < 5 && (memcmp(f->name, "pnm-2", 5) == 0 || memcmp(f->name, "pnm-3", 5) == 0);   /* of the last number */
            if (!CHECK(digits || picture_image_crc(&p.image) == f->crc)) printf("     file: %s, %zu of %zu bytes\n", f->name, n, f->bytes);
            oct_picture_close(&p);
        }
    }
    free(pack.memory);
}

/* Random bytes of good files changed: whatever happens, happens within the limits. */
TEST(pictures, spoilt) {
    static picture_pack pack;
    unsigned long long seed = 5;
    oct_picture_desc d;
    int opened = 0;
    if (!picture_pack_open(&pack)) return;
    memset(&d, 0, sizeof d);
    d.max_pixels = 1 << 18;
    for (int i = 0; i < pack.n; i++) {
        const picture_file *f = &pack.files[i];
        if (!f->data) continue;
        for (int k = 0; k < (test_quick() ? 4 : 40); k++) {
            unsigned char *copy = picture_patched(f, 0, "", 0);
            oct_picture p;
            oct_error err;
            for (unsigned m = test_random(&seed) % 4 + 1; m > 0; m--) copy[test_random(&seed) % f->bytes] = (unsigned char)test_random(&seed);
            if (!picture_open_copy(&p, copy, f->bytes, &d, &err)) {
                opened++;
                CHECK_INT(oct_picture_upright(&p, &err), OCT_OK);
                oct_picture_close(&p);
            }
            free(copy);
        }
    }
    CHECK(opened > 0);
    free(pack.memory);
}

TEST(pictures, other_formats_are_named) {
    static const struct { const char *bytes; size_t n; const char *words; } cases[] = {
        { "RIFF\x10\0\0\0WEBPVP8 ", 16, "WebP" }, { "GIF89a\1\0\1\0", 10, "GIF" }, { "II*\0\x08\0\0\0", 8, "TIFF" }, { "MM\0*\0\0\0\x08", 8, "TIFF" },
        { "\0\0\0\x1c" "ftypavif\0\0\0\0", 16, "AVIF" }, { "\0\0\0\x18" "ftypheic\0\0\0\0", 16, "HEIC" }, { "\0\0\0\x18" "ftypmif1\0\0\0\0", 16, "HEIF" },
        { "\0\0\0\x0cJXL \r\n\x87\n", 12, "JPEG XL" }, { "\xff\x0a\xfa\x7f", 4, "JPEG XL" },
        { "\0\0\0\x0cjP  \r\n\x87\n", 12, "JPEG 2000" }, { "\xff\x4f\xff\x51", 4, "JPEG 2000" }, { "P7\nWIDTH 1\n", 11, "PAM" }, { "PF\n1 1\n", 7, "PFM" } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        picture_refuse(cases[i].bytes, cases[i].n, OCT_E_UNSUPPORTED, cases[i].words);
        picture_refuse(cases[i].bytes, cases[i].n, OCT_E_UNSUPPORTED, "convert it to PNG or JPEG");
    }
    picture_refuse("", 0, OCT_E_FORMAT, "the file is empty");
    picture_refuse("x", 1, OCT_E_FORMAT, "1 bytes from 78 00 00 00 on, expected PNG, JPEG, BMP or PNM");
    picture_refuse("hello, world", 12, OCT_E_FORMAT, "68 65 6c 6c");
    picture_refuse("RIFF\x10\0\0\0WAVEfmt ", 16, OCT_E_FORMAT, "no picture that is known");
    picture_refuse("\x89PNG\r\n\x1a", 7, OCT_E_FORMAT, "no picture that is known");
}

/* A PNG from its chunks: name, data, ... NULL; checksums are made. */
typedef struct picture_png { unsigned char data[4096]; size_t n; } picture_png;
static void picture_be32(unsigned char *p, size_t v) {
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (24 - 8 * i));
}
static void picture_chunk(picture_png *f, const char *name, const void *data, size_t n) {
    if (!f->n) memcpy(f->data, "\x89PNG\r\n\x1a\n", f->n = 8);
    unsigned char *p = f->data + f->n;
    picture_be32(p, n);
    memcpy(p + 4, name, 4);
    if (n) memcpy(p + 8, data, n);
    picture_be32(p + 8 + n, picture_crc(p + 4, n + 4));
    f->n += n + 12;
}
static void picture_ihdr(picture_png *f, unsigned w, unsigned h, int depth, int colour, int interlaced) {
    unsigned char d[13] = { 0 };
    picture_be32(d, w);
    picture_be32(d + 4, h);
    d[8] = (unsigned char)depth;
    d[9] = (unsigned char)colour;
    d[12] = (unsigned char)interlaced;
    f->n = 0;
    picture_chunk(f, "IHDR", d, 13);
}
/* zlib streams of nothing but stored blocks, or of hand-made bits. */
static const unsigned char picture_two[] = { 0x78, 0x01, 1, 2, 0, 0xFD, 0xFF, 0, 77, 0x00, 0x9B, 0x00, 0x4F };     /* filter 0, grey 77; checksum below */

TEST(pictures, png_by_hand) {
    static picture_png f;
    unsigned char z[64];
    oct_picture p;
    oct_error err;
    memcpy(z, picture_two, sizeof picture_two);
    picture_be32(z + 9, oct__adler32(z + 7, 2));
    CHECK_INT(oct__adler32((const unsigned char *)"Wikipedia", 9), 0x11E60398);
    picture_ihdr(&f, 1, 1, 8, 0, 0);
    picture_chunk(&f, "IDAT", z, 5);
    picture_chunk(&f, "IDAT", z + 5, 0);
    picture_chunk(&f, "IDAT", z + 5, 8);
    const size_t without_end = f.n;
    picture_chunk(&f, "IEND", NULL, 0);
    for (int k = 0; k < 2; k++) {                      /* with and without IEND */
        if (CHECK_INT(picture_open_copy(&p, f.data, k ? without_end : f.n, NULL, &err), OCT_OK)) CHECK_INT(p.image.pixels[1], 77);
        oct_picture_close(&p);
    }
    f.data[without_end - 5] ^= 1;                      /* the stream's checksum, then the chunk's */
    picture_refuse(f.data, f.n, OCT_E_FORMAT, "chunk 'IDAT' at byte 62: wrong checksum");
    z[12] ^= 1;
    picture_ihdr(&f, 1, 1, 8, 0, 0);
    picture_chunk(&f, "IDAT", z, 13);
    picture_refuse(f.data, f.n, OCT_E_FORMAT, "has a wrong checksum");
    static const struct { unsigned w, h; int depth, colour, interlaced; oct_result r; const char *words; } headers[] = {
        { 0, 1, 8, 0, 0, OCT_E_FORMAT, "0 x 1 pixels" }, { 1, 0, 8, 0, 0, OCT_E_FORMAT, "1 x 0 pixels" },
        { 1, 1, 3, 0, 0, OCT_E_FORMAT, "colour type 0 with 3 bits" }, { 1, 1, 4, 2, 0, OCT_E_FORMAT, "colour type 2 with 4 bits" },
        { 1, 1, 16, 3, 0, OCT_E_FORMAT, "colour type 3 with 16 bits" }, { 1, 1, 8, 5, 0, OCT_E_FORMAT, "colour type 5" },
        { 1, 1, 8, 0, 2, OCT_E_FORMAT, "interlace 2" }, { 0xFFFFFFFFu, 0xFFFFFFFFu, 16, 6, 0, OCT_E_LIMIT, "expected sides up to" },
        { 16000000, 16000000, 16, 6, 1, OCT_E_LIMIT, "more than the limit of 67108864" }, { 8000, 8000, 16, 6, 1, OCT_E_FORMAT, "cut short" },
        { 1, 1, 8, 3, 0, OCT_E_FORMAT, "no palette" }, { 2, 1, 8, 0, 0, OCT_E_FORMAT, "ends early" } };
    z[12] ^= 1;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        picture_ihdr(&f, headers[i].w, headers[i].h, headers[i].depth, headers[i].colour, headers[i].interlaced);
        picture_chunk(&f, "IDAT", z, 13);
        picture_refuse(f.data, f.n, headers[i].r, headers[i].words);
    }
    picture_ihdr(&f, 1, 1, 8, 0, 0);
    picture_chunk(&f, "CgBI", z, 4);
    picture_refuse(f.data, f.n, OCT_E_UNSUPPORTED, "chunk 'CgBI'");
    picture_ihdr(&f, 1, 1, 8, 0, 0);
    picture_chunk(&f, "IEND", z, 0);
    picture_refuse(f.data, f.n, OCT_E_FORMAT, "no pixels");
    picture_ihdr(&f, 1, 1, 8, 3, 0);
    picture_chunk(&f, "PLTE", z, 4);
    picture_refuse(f.data, f.n, OCT_E_FORMAT, "PLTE of 4 bytes");
    picture_ihdr(&f, 1, 1, 8, 0, 0);
    picture_chunk(&f, "IDAT", z, 5);
    picture_chunk(&f, "tEXt", z, 5);
    picture_chunk(&f, "IDAT", z + 5, 8);
    picture_refuse(f.data, f.n, OCT_E_FORMAT, "apart from the others");
    z[7] = 5;
    picture_be32(z + 9, oct__adler32(z + 7, 2));
    picture_ihdr(&f, 1, 1, 8, 0, 0);
    picture_chunk(&f, "IDAT", z, 13);
    picture_refuse(f.data, f.n, OCT_E_FORMAT, "row 0 has filter 5");
    f.n = 0;
    picture_chunk(&f, "IDAT", z, 13);
    picture_refuse(f.data, f.n, OCT_E_FORMAT, "expected IHDR first");
}

/* Streams whose bits are written here. */
typedef struct picture_bits { unsigned char data[256]; unsigned n; } picture_bits;
static void picture_put(picture_bits *b, unsigned value, unsigned n) {
    for (unsigned i = 0; i < n; i++, b->n++) b->data[b->n / 8] = (unsigned char)(b->data[b->n / 8] | (value >> i & 1) << b->n % 8);
}
static const char *picture_inflate(picture_bits *b, size_t room) {
    static oct__inflate z;
    static unsigned char out[64 + 8];
    return oct__inflate_zlib(&z, b->data, b->n / 8 + 1 + 6, out, room);
}
static void picture_bits_begin(picture_bits *b, unsigned type) {
    memset(b, 0, sizeof *b);
    picture_put(b, 0x0178, 16);
    picture_put(b, 1, 1);
    picture_put(b, type, 2);
}
TEST(pictures, inflate_by_hand) {
    static picture_bits b;
    picture_bits_begin(&b, 3);
    CHECK_STR(picture_inflate(&b, 8), "has a block of no kind");
    picture_bits_begin(&b, 1);
    picture_put(&b, 0x40, 7);                          /* a length of 3, distance 1, before anything was written */
    picture_put(&b, 0, 5);
    CHECK_STR(picture_inflate(&b, 8), "points before its beginning");
    picture_bits_begin(&b, 1);
    picture_put(&b, 0x63, 8);                          /* symbol 286: 11000110 */
    CHECK_STR(picture_inflate(&b, 8), "has a code that stands for nothing");
    picture_bits_begin(&b, 1);
    picture_put(&b, 0x0C, 8);                          /* literal 0, a length of 3, distance code 30 */
    picture_put(&b, 0x40, 7);
    picture_put(&b, 0x0F, 5);
    CHECK_STR(picture_inflate(&b, 8), "has a distance code that stands for nothing");
    picture_bits_begin(&b, 2);
    picture_put(&b, 30, 5);
    CHECK_STR(picture_inflate(&b, 8), "has too many codes");
    picture_bits_begin(&b, 2);
    picture_put(&b, 0, 14);
    CHECK_STR(picture_inflate(&b, 8), "has bad code lengths");
    picture_bits_begin(&b, 2);                         /* four lengths of 1 are too many */
    picture_put(&b, 0, 14);
    picture_put(&b, 1 | 1 << 3 | 1 << 6 | 1 << 9, 12);
    CHECK_STR(picture_inflate(&b, 8), "has bad code lengths");
    picture_bits_begin(&b, 2);                         /* 16 and 17 have a bit each: 16 comes first */
    picture_put(&b, 0, 14);
    picture_put(&b, 1 | 1 << 3, 12);
    CHECK_STR(picture_inflate(&b, 8), "repeats a code length before the first");
    picture_bits_begin(&b, 2);                         /* 17 and 18: all lengths 0, and more of them than there are */
    picture_put(&b, 0, 14);
    picture_put(&b, 1 << 3 | 1 << 6, 12);
    for (int i = 0; i < 2; i++) picture_put(&b, 1 | 127 << 1, 8);
    CHECK_STR(picture_inflate(&b, 8), "has too many code lengths");
    picture_bits_begin(&b, 2);                         /* 138 + 120 zeros: no code at all */
    picture_put(&b, 0, 14);
    picture_put(&b, 1 << 3 | 1 << 6, 12);
    picture_put(&b, 1 | 127 << 1, 8);
    picture_put(&b, 1 | 109 << 1, 8);
    CHECK_STR(picture_inflate(&b, 8), "has a bad prefix code");
    picture_bits_begin(&b, 2);                         /* symbols 256 and 257, one distance: its other bit is no code */
    picture_put(&b, 1 | 0 << 5 | 14 << 10, 14);
    for (int i = 0; i < 18; i++) picture_put(&b, i == 2 || i == 17, 3);
    picture_put(&b, 1 | 127 << 1, 8);
    picture_put(&b, 1 | 107 << 1, 8);
    picture_put(&b, 0, 3);
    picture_put(&b, 3, 2);
    CHECK_STR(picture_inflate(&b, 8), "has a distance code that stands for nothing");
    picture_bits_begin(&b, 0);
    picture_put(&b, 0, 5);
    picture_put(&b, 0xFFFE0002u, 32);
    CHECK_STR(picture_inflate(&b, 8), "has a stored block whose length is spoilt");
    b.data[0] = 0x77;
    CHECK_STR(picture_inflate(&b, 8), "has a bad zlib header");
    b.data[0] = 0x78;
    b.data[1] = 0xBB;                                  /* asks for a dictionary */
    CHECK_STR(picture_inflate(&b, 8), "has a bad zlib header");
}

TEST(pictures, orientation) {
    static const struct { const char *bytes; size_t n; int turn; } cases[] = {
        { "II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0", 22, 6 }, { "MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0", 22, 6 },
        { "MM\0*\0\0\0\x08\0\1\1\x12\0\4\0\0\0\1\0\0\0\5", 22, 5 }, { "II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x09\0\0\0", 22, 1 },
        { "II*\0\x08\0\0\0\1\0\x12\1\2\0\1\0\0\0\6\0\0\0", 22, 1 }, { "II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0", 21, 1 },
        { "II*\0\xff\xff\xff\xff\1\0", 10, 1 }, { "II*\0\x08\0\0\0\1", 9, 1 }, { "II*\0", 4, 1 }, { "IM*\0\x08\0\0\0\0\0", 10, 1 }, { "XX*\0\x08\0\0\0\0\0", 10, 1 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char *copy = (unsigned char *)malloc(cases[i].n);
        memcpy(copy, cases[i].bytes, cases[i].n);
        CHECK_INT(oct__exif_orientation(copy, cases[i].n), cases[i].turn);
        free(copy);
    }
}

TEST(pictures, bmp_by_hand) {
    static picture_pack pack;
    if (!picture_pack_open(&pack)) return;
    const picture_file *f = picture_named(&pack, "bmp-24-40"), *runs = picture_named(&pack, "bmp-runs-8"), *pal = picture_named(&pack, "bmp-4-40");
    static const struct { size_t at, n; const char *bytes; oct_result r; const char *words; } cases[] = {
        { 14, 4, "\x29\0\0\0", OCT_E_UNSUPPORTED, "a header of 41 bytes" }, { 28, 2, "\3\0", OCT_E_UNSUPPORTED, "3 bits with compression 0" },
        { 30, 4, "\4\0\0\0", OCT_E_UNSUPPORTED, "24 bits with compression 4" }, { 30, 4, "\3\0\0\0", OCT_E_UNSUPPORTED, "with the masks" },
        { 18, 4, "\0\0\0\0", OCT_E_FORMAT, "0 x 5 pixels" }, { 22, 4, "\0\0\0\0", OCT_E_FORMAT, "7 x 0 pixels" },
        { 18, 4, "\xff\xff\xff\xff", OCT_E_LIMIT, "expected sides up to" }, { 22, 4, "\0\0\0\x80", OCT_E_LIMIT, "expected sides up to" },
        { 18, 8, "\0\xff\0\0\0\xff\0\0", OCT_E_LIMIT, "more than the limit" }, { 18, 4, "\x09\0\0\0", OCT_E_FORMAT, "cut short" },
        { 10, 4, "\xff\xff\xff\xff", OCT_E_FORMAT, "cut short" } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char *copy = picture_patched(f, cases[i].at, cases[i].bytes, cases[i].n);
        picture_refuse(copy, f->bytes, cases[i].r, cases[i].words);
        free(copy);
    }
    unsigned char *copy = picture_patched(pal, 46, "\1\0\1\0", 4);
    picture_refuse(copy, pal->bytes, OCT_E_FORMAT, "a palette of 65537 colours");
    free(copy);
    copy = picture_patched(pal, 46, "\xff\xff\0\0", 4);
    picture_refuse(copy, pal->bytes, OCT_E_FORMAT, "end in the palette");
    free(copy);
    /* runs that jump far outside, and a picture that its end leaves unpainted */
    static const unsigned char jumps[] = { 0, 2, 255, 255, 0, 2, 255, 255, 255, 7, 0, 1 }, none[] = { 0, 1 };
    oct_picture p;
    oct_error err;
    const size_t at = 14 + 40 + 1024;
    copy = picture_patched(runs, at, jumps, sizeof jumps);
    CHECK_INT(picture_open_copy(&p, copy, at + sizeof jumps, NULL, &err), OCT_OK);
    oct_picture_close(&p);
    memcpy(copy + at, none, sizeof none);
    if (CHECK_INT(picture_open_copy(&p, copy, at + sizeof none, NULL, &err), OCT_OK)) {
        CHECK_INT(p.image.pixels[0], copy[54 + 2]);    /* the first colour */
        CHECK_INT(p.image.pixels[3 * 33 * 9 - 1], copy[54]);
    }
    oct_picture_close(&p);
    free(copy);
    free(pack.memory);
}

TEST(pictures, pnm_by_hand) {
    static const struct { const char *text; oct_result r; const char *words; } cases[] = {
        { "P5", OCT_E_FORMAT, "end in the width" }, { "P5 x", OCT_E_FORMAT, "the width at byte 3: no number" }, { "P5 1 # end", OCT_E_FORMAT, "end in the height" },
        { "P5 1 0 255 ", OCT_E_FORMAT, "1 x 0 pixels" }, { "P5 99999999999 1 255\n", OCT_E_FORMAT, "the width at byte 3" },
        { "P5 1 1 65536\nx", OCT_E_FORMAT, "expected at most 65535" }, { "P5 1 1 0\nx", OCT_E_FORMAT, "the largest value is 0" },
        { "P5 1 1 255", OCT_E_FORMAT, "end in the header" }, { "P6 1 1 255\nxx", OCT_E_FORMAT, "end in the pixels" },
        { "P6 9000 9000 255\nxx", OCT_E_LIMIT, "more than the limit" }, { "P3 8000 8000 255\n1 2 3", OCT_E_FORMAT, "end in the pixels" },
        { "P2 2 1 7\n1 8", OCT_E_FORMAT, "a sample at byte 11: 8 or more, expected at most 7" }, { "P2 2 1 7\n1 -1", OCT_E_FORMAT, "a sample at byte 11: no number" },
        { "P1 2 1 0 2", OCT_E_FORMAT, "byte 9 is no 0 or 1" }, { "P1 3 1 0 1", OCT_E_FORMAT, "end in the pixels" }, { "P5 1 1 255#c\nx", OCT_E_FORMAT, "end in the header" } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) picture_refuse(cases[i].text, strlen(cases[i].text), cases[i].r, cases[i].words);
}

/* Where the data of the k-th marker of this kind begin (its length), from 0. */
static size_t picture_marker(const picture_file *f, int marker, int k) {
    for (size_t i = 2; i + 4 <= f->bytes; i++)
        if (f->data[i] == 0xFF && f->data[i + 1] == marker && k-- == 0) return i + 2;
    test_check(0, __FILE__, __LINE__, "the file has such a marker");
    return 0;
}
/* The file, n of its bytes at `at` replaced, refused with these words. */
static void picture_refuse_patched(const picture_file *f, size_t at, const char *bytes, size_t n, oct_result r, const char *words) {
    unsigned char *copy = picture_patched(f, at, bytes, n);
    picture_refuse(copy, f->bytes, r, words);
    free(copy);
}
TEST(pictures, jpeg_by_hand) {
    static picture_pack pack;
    if (!picture_pack_open(&pack)) return;
    const picture_file *f = picture_named(&pack, "jpeg-420-0"), *deep = picture_named(&pack, "jpeg-deep"), *again = picture_named(&pack, "jpeg-422-0");
    const size_t sof = picture_marker(f, 0xC0, 0), sos = picture_marker(f, 0xDA, 0), dht = picture_marker(f, 0xC4, 0), dqt = picture_marker(f, 0xDB, 0);
    const size_t dri = picture_marker(again, 0xDD, 0), rst = picture_marker(again, 0xD1, 0), first = picture_marker(deep, 0xDA, 0),
                 second = picture_marker(deep, 0xDA, 1), third = picture_marker(deep, 0xDA, 2), deep_sof = picture_marker(deep, 0xC2, 0);
    const struct { const picture_file *f; size_t at, n; const char *bytes; oct_result r; const char *words; } cases[] = {
        { f, sof - 1, 1, "\xC9", OCT_E_UNSUPPORTED, "arithmetic" }, { f, sof - 1, 1, "\xC3", OCT_E_UNSUPPORTED, "lossless" },
        { f, sof - 1, 1, "\xC5", OCT_E_UNSUPPORTED, "hierarchical" }, { f, sof - 1, 1, "\xDC", OCT_E_UNSUPPORTED, "its height behind" },
        { f, sof + 2, 1, "\x0C", OCT_E_UNSUPPORTED, "12 bits a sample" }, { f, sof + 3, 2, "\0\0", OCT_E_UNSUPPORTED, "the height stands behind" },
        { f, sof + 5, 2, "\0\0", OCT_E_FORMAT, "0 x 29 pixels" }, { f, sof + 3, 4, "\xff\xff\xff\xff", OCT_E_LIMIT, "65535 x 65535 pixels" },
        { f, sof + 3, 4, "\x1f\xff\x1f\xff", OCT_E_FORMAT, "cut short" }, { f, sof + 7, 1, "\4", OCT_E_FORMAT, "a frame header of 15 bytes" },
        { f, sof + 9, 1, "\x51", OCT_E_FORMAT, "sampled 5 x 1" }, { f, sof + 9, 1, "\x20", OCT_E_FORMAT, "sampled 2 x 0" },
        { f, sof + 9, 4, "\x32\0\2\x22", OCT_E_UNSUPPORTED, "component 1 is sampled 2 x 2 of 3 x 2" }, { f, sof + 10, 1, "\4", OCT_E_FORMAT, "with table 4" },
        { f, sof + 10, 1, "\3", OCT_E_FORMAT, "the table of divisors 3" }, { f, sof + 9, 8, "\x44\0\2\x22\1\3\x22\1", OCT_E_FORMAT, "24 blocks a unit" },
        { f, sos + 2, 1, "\0", OCT_E_FORMAT, "for 0 components" }, { f, sos + 2, 1, "\4", OCT_E_FORMAT, "for 4 components" },
        { f, sos + 3, 1, "\7", OCT_E_FORMAT, "a scan of component 7" }, { f, sos + 5, 1, "\1", OCT_E_FORMAT, "a scan of component 1" },
        { f, sos + 4, 1, "\x21", OCT_E_FORMAT, "the tables of codes 2 and 1" }, { f, sos + 4, 1, "\x0f", OCT_E_FORMAT, "the tables of codes 0 and 15" },
        { f, sos - 1, 1, "\xD9", OCT_E_FORMAT, "before all of its pixels came" }, { f, sof - 1, 1, "\xFE", OCT_E_FORMAT, "a scan before the frame header" },
        { f, dht + 2, 1, "\4", OCT_E_FORMAT, "table 04 of codes" }, { f, dht + 3, 1, "\3", OCT_E_FORMAT, "table 00 of codes" },
        { f, dht + 3, 3, "\3\0\3", OCT_E_FORMAT, "too many of one length" }, { f, dht, 2, "\0\5", OCT_E_FORMAT, "table 00 of codes with 3 bytes" },
        { f, dht - 1, 1, "\xFE", OCT_E_FORMAT, "the tables of codes" }, { f, dqt - 1, 1, "\xFE", OCT_E_FORMAT, "the table of divisors" },
        { f, dqt + 2, 1, "\x20", OCT_E_FORMAT, "table 20 of divisors" }, { f, dqt + 2, 1, "\x10", OCT_E_FORMAT, "table 10 of divisors" },
        { f, dqt, 2, "\0\1", OCT_E_FORMAT, "has a length of 1" }, { f, dqt - 1, 1, "\x02", OCT_E_FORMAT, "marker 02" },
        { f, sos + 14, 8, "\xff\0\xff\0\xff\0\xff\0", OCT_E_FORMAT, "a code that there is not" },
        { again, dri + 1, 1, "\5", OCT_E_FORMAT, "a restart interval of 3 bytes" }, { again, rst - 1, 1, "\xD4", OCT_E_FORMAT, "expected restart marker D1" },
        { deep, second + 11, 1, "\x31", OCT_E_FORMAT, "bits 3 to 1, which there is not" }, { deep, second + 11, 1, "\x21", OCT_E_FORMAT, "which is known to bit 3" },
        { deep, first + 11, 1, "\x0e", OCT_E_FORMAT, "bits 0 to 14" }, { deep, first + 10, 1, "\5", OCT_E_FORMAT, "coefficients 0 to 5" },
        { deep, third + 5, 2, "\6\5", OCT_E_FORMAT, "coefficients 6 to 5" }, { deep, third + 6, 1, "\x40", OCT_E_FORMAT, "coefficients 1 to 64" },
        { deep, deep_sof - 1, 1, "\xFE", OCT_E_FORMAT, "a scan before the frame header" } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        picture_refuse_patched(cases[i].f, cases[i].at, cases[i].bytes, cases[i].n, cases[i].r, cases[i].words);
    free(pack.memory);
}

/* A progressive picture of grey whose every scan is one code for 32767 blocks: the bits of each coefficient apart. */
static unsigned char *picture_many_scans(int side, int scans, size_t *n) {
    static const unsigned char codes[] = { 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    const int blocks = side / 8 * (side / 8), runs = blocks / 32767 + 1;
    unsigned char *f = (unsigned char *)calloc(1, (size_t)(400 + blocks / 8 + scans * (12 + 2 * runs + 4))), *p = f;
    memcpy(p, "\xff\xd8\xff\xdb\0\x43", 6);
    memset(p + 7, 1, 64);
    p += 71;
    memcpy(p, "\xff\xc2\0\x0b\x08\0\0\0\0\1\1\x11\0", 13);
    p[5] = p[7] = (unsigned char)(side >> 8);
    p[6] = p[8] = (unsigned char)side;
    p += 13;
    for (int ac = 0; ac < 2; ac++) {                   /* the code 0: no difference; no coefficients in 2^14 blocks and more */
        memcpy(p, "\xff\xc4\0\x14", 4);
        p[4] = (unsigned char)(ac << 4);
        memcpy(p + 5, codes, 16);
        p[21] = ac ? 0xE0 : 0;
        p += 22;
    }
    memcpy(p, "\xff\xda\0\x08\1\1\0\0\0\0", 10);
    p += 10 + blocks / 8 + 1;
    for (int i = 0; i < scans; i++) {
        const int k = 1 + i / 14, low = 13 - i % 14;
        memcpy(p, "\xff\xda\0\x08\1\1\0", 7);
        p[7] = p[8] = (unsigned char)k;
        p[9] = (unsigned char)((low == 13 ? 0 : low + 1) << 4 | low);
        p += 10;
        for (int r = 0, bit = 0; r < runs * 15; r++, bit++)                      /* a 0, then fourteen 1 */
            if (r % 15) p[bit / 8] = (unsigned char)(p[bit / 8] | 0x80 >> bit % 8);
        const size_t used = (size_t)(runs * 15 + 7) / 8;
        for (size_t b = used; b > 0; b--)
            if (p[b - 1] == 0xFF) memmove(p + b + 1, p + b, used + 8 - b), p[b] = 0;
        p += used + (size_t)runs;
    }
    memcpy(p, "\xff\xd9", 2);
    *n = (size_t)(p - f) + 2;
    return f;
}
TEST(pictures, bombs) {
    size_t n;
    oct_picture p;
    oct_error err;
    unsigned char *few = picture_many_scans(2048, 63, &n);
    if (!CHECK_INT(picture_open_copy(&p, few, n, NULL, &err), OCT_OK)) printf("     %s\n", err.message);
    oct_picture_close(&p);
    free(few);
    unsigned char *many = picture_many_scans(2048, 64, &n);
    picture_refuse(many, n, OCT_E_LIMIT, "more than 64 times the 65536 it has");
    free(many);
    /* a PNG that says 8000 x 8000 and holds next to nothing, and one that unpacks to more than it says */
    static picture_png f;
    unsigned char z[64] = { 0 };
    memcpy(z, picture_two, sizeof picture_two);
    picture_ihdr(&f, 8000, 8000, 16, 6, 0);
    picture_chunk(&f, "IDAT", z, 13);
    picture_refuse(f.data, f.n, OCT_E_FORMAT, "cut short");
    picture_ihdr(&f, 1, 1, 1, 0, 0);
    z[3] = 40;                                         /* 40 bytes for 2 */
    z[5] = (unsigned char)~40;
    picture_chunk(&f, "IDAT", z, 64);
    CHECK_INT(picture_open_copy(&p, f.data, f.n, NULL, &err), OCT_OK);
    oct_picture_close(&p);
}

/* --- the calls themselves ---------------------------------------------------------------------- */

TEST(pictures, limit) {
    static picture_pack pack;
    oct_picture_desc d;
    oct_picture p;
    oct_error err;
    if (!picture_pack_open(&pack)) return;
    memset(&d, 0, sizeof d);
    for (int i = 0; i < pack.n; i++) {
        const picture_file *f = &pack.files[i];
        const size_t n = (size_t)f->width * f->height;
        if (!f->data) continue;
        d.max_pixels = n;
        CHECK_INT(picture_open_copy(&p, f->data, f->bytes, &d, &err), OCT_OK);
        oct_picture_close(&p);
        d.max_pixels = n - 1;
        if (n > 1) CHECK_INT(picture_open_copy(&p, f->data, f->bytes, &d, &err), OCT_E_LIMIT);
    }
    free(pack.memory);
}

TEST(pictures, no_memory) {
    static picture_pack pack;
    if (!picture_pack_open(&pack)) return;
    for (int i = 0; i < pack.n; i++) {
        const picture_file *f = &pack.files[i];
        oct_result r = OCT_E_MEMORY;
        for (long k = 1; f->data && r == OCT_E_MEMORY && k < 100; k++) {
            memory_hook h;
            oct_model_desc m;
            oct_picture_desc d;
            oct_picture p;
            oct_error err;
            memory_desc(&m, &h);
            memset(&d, 0, sizeof d);
            d.allocator = m.allocator;
            h.fail_at = k;
            r = picture_open_copy(&p, f->data, f->bytes, &d, &err);
            CHECK(r == OCT_OK || r == OCT_E_MEMORY);
            CHECK(k > 1 || r == OCT_E_MEMORY);
            if (!r) {
                CHECK_INT(h.live, 1);
                h.fail_at = h.calls + 1;
                CHECK_INT(oct_picture_upright(&p, &err), f->orientation == 1 ? OCT_OK : OCT_E_MEMORY);
                CHECK_INT(p.orientation, f->orientation);
                CHECK_INT(picture_image_crc(&p.image), f->crc);
                CHECK_INT(oct_picture_upright(&p, &err), OCT_OK);
                CHECK_INT(picture_image_crc(&p.image), f->crc_upright);
            }
            oct_picture_close(&p);
            CHECK_INT(h.live, 0);
        }
        if (f->data) CHECK_INT(r, OCT_OK);
    }
    free(pack.memory);
}

TEST(pictures, arguments) {
    static const unsigned char grey[] = "P5 2 1 255\nab";
    oct_picture_desc d;
    oct_picture p;
    oct_error err;
    memset(&d, 0, sizeof d);
    CHECK_INT(oct_picture_open(NULL, "x", NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_picture_open(&p, NULL, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_picture_open(&p, "", NULL, NULL), OCT_E_ARG);
    CHECK_INT(oct_picture_open_memory(NULL, grey, sizeof grey - 1, NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_picture_open_memory(&p, NULL, 1, NULL, &err), OCT_E_ARG);
    d.allocator.alloc = memory_alloc;
    CHECK_INT(oct_picture_open_memory(&p, grey, sizeof grey - 1, &d, &err), OCT_E_ARG);
    CHECK_INT(oct_picture_open(&p, test_tmp("no-such-picture"), NULL, &err), OCT_E_IO);
    CHECK(strstr(err.message, "no such file") != NULL);
    CHECK_INT(oct_picture_open(&p, "/", NULL, &err), OCT_E_IO);
    CHECK(strstr(err.message, "a folder") != NULL);
    CHECK_INT(oct_picture_upright(NULL, &err), OCT_E_ARG);
    CHECK_INT(oct_picture_upright(&p, &err), OCT_E_ARG);
    oct_picture_close(NULL);
    oct_picture_close(&p);

    const char *path = test_tmp("grey.pgm");
    FILE *f = fopen(path, "wb");
    if (!CHECK(f != NULL)) return;
    fwrite(grey, 1, sizeof grey - 1, f);
    fclose(f);
    if (CHECK_INT(oct_picture_open(&p, path, NULL, &err), OCT_OK)) {
        CHECK_INT(err.code, OCT_OK);
        CHECK_STR(p.format, "PNM");
        CHECK_INT(p.image.pixels[3], 'b');
        p.orientation = 9;
        CHECK_INT(oct_picture_upright(&p, &err), OCT_E_ARG);
    }
    oct_picture_close(&p);
    memory_hook h;                                     /* the file's bytes, then the scale, then the pixels */
    oct_model_desc m;
    for (int k = 1; k < 5; k++) {
        memory_desc(&m, &h);
        d.allocator = m.allocator;
        h.fail_at = k;
        CHECK_INT(oct_picture_open(&p, path, &d, &err), k < 4 ? OCT_E_MEMORY : OCT_OK);
        oct_picture_close(&p);
        CHECK_INT(h.live, 0);
    }
    f = fopen(path, "wb");
    if (f) fclose(f);
    CHECK_INT(oct_picture_open(&p, path, NULL, &err), OCT_E_FORMAT);
    CHECK(strstr(err.message, "the file is empty") != NULL);
    f = fopen(path, "wb");                             /* 20 MB of nothing are no picture of one pixel */
    if (f) {
        CHECK_INT(fseek(f, 20000000, SEEK_SET), 0);
        CHECK_INT(fputc(0, f), 0);
        fclose(f);
    }
    memset(&d, 0, sizeof d);
    d.max_pixels = 1;
    CHECK_INT(oct_picture_open(&p, path, &d, &err), OCT_E_LIMIT);
    CHECK(strstr(err.message, "20000001 bytes") != NULL);
}

/* A B C        where each of the eight goes, by hand
 * D E F */
TEST(pictures, upright) {
    static const char *const wanted[9] = { "", "ABCDEF", "CBAFED", "FEDCBA", "DEFABC", "ADBECF", "DAEBFC", "FCEBDA", "CFBEAD" };
    for (int turn = 1; turn <= 8; turn++)
        for (int c = 3; c <= 4; c++) {
            unsigned char pixels[2 * 16];              /* rows of 16 bytes: wider than they are long */
            oct_picture p;
            oct_error err;
            memset(&p, 0, sizeof p);
            for (int i = 0; i < 6; i++) memset(pixels + i / 3 * 16 + i % 3 * c, 'A' + i, (size_t)c);
            p.image.pixels = pixels;
            p.image.width = 3;
            p.image.height = 2;
            p.image.stride_bytes = 16;
            p.image.n_channels = c;
            p.orientation = turn;
            CHECK_INT(oct_picture_upright(&p, &err), OCT_OK);
            CHECK_INT(p.image.width, turn > 4 ? 2 : 3);
            CHECK_INT(p.image.height, turn > 4 ? 3 : 2);
            for (int i = 0; i < 6; i++)
                CHECK_INT(p.image.pixels[turn == 1 ? i / 3 * 16 + i % 3 * c : i * c + c - 1], wanted[turn][i]);
            oct_picture_close(&p);
        }
}
