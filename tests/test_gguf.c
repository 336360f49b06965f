/* Tests of chapter 6: files in memory, made good and then spoilt one way at a time.  A refused file must be refused
 * with a message that names the thing, what was found and what was wanted.  Comments name the published faults of
 * other loaders that a test stands for. */
#include "../tools/gguf_writer.h"

/* --- helpers ------------------------------------------------------------------ */

static oct_allocator gguf_malloc(void) {
    oct_allocator a;
    memset(&a, 0, sizeof a);
    return a;
}

/* Reads every byte that a parsed file points at, so that a sanitizer sees where it points. */
static unsigned gguf_touch(const oct__gguf *g) {
    unsigned sum = 0;
    for (size_t i = 0; i < g->n_metas; i++) {
        const oct_meta *m = &g->metas[i];
        size_t cursor = 0;
        oct_meta item;
        sum += oct__hash(m->key.data, m->key.len) + oct__hash(m->s.data, m->s.len);
        for (uint64_t k = 0; m->type == OCT__META_ARRAY && k < m->count; k++)
            if (CHECK_INT(oct__meta_item(m, k, &cursor, &item), OCT_OK)) sum += (unsigned)item.u + oct__hash(item.s.data, item.s.len);
    }
    for (size_t i = 0; i < g->n_tensors; i++)
        sum += oct__hash(g->tensors[i].name.data, g->tensors[i].name.len) + oct__hash(g->tensors[i].data, g->tensors[i].bytes);
    return sum;
}

/* Parses a copy that ends where its memory ends. */
static oct_result gguf_parse_copy(const unsigned char *data, size_t len, oct_error *err) {
    unsigned char *copy = (unsigned char *)malloc(len ? len : 1);
    const oct_allocator a = gguf_malloc();
    oct__gguf g;
    oct_string part;
    if (len) memcpy(copy, data, len);
    part.data = (const char *)copy;
    part.len = len;
    memset(err, 0, sizeof *err);
    const oct_result r = oct__gguf_parse(&g, &a, &part, 1, err);
    if (!r) {
        gguf_touch(&g);
        oct__gguf_free(&g);
    } else {
        CHECK_INT(err->code, r);
        CHECK(err->message[0] != 0);
        CHECK(g.metas == NULL && g.tensors == NULL);
    }
    free(copy);
    return r;
}
/* Takes the writer's file: it must be refused, with all of the words in the message (NULL: no more of them). */
static void gguf_refuse(gguf_writer *w, oct_result code, const char *name, const char *found, const char *wanted) {
    const char *words[3] = { name, found, wanted };
    size_t len;
    unsigned char *file = gw_finish(w, &len);
    oct_error err;
    CHECK_INT(gguf_parse_copy(file, len, &err), code);
    for (int i = 0; i < 3; i++)
        if (words[i] && !CHECK(strstr(err.message, words[i]) != NULL)) printf("     \"%s\" is not in \"%s\"\n", words[i], err.message);
    free(file);
}
static void gguf_accept(gguf_writer *w) {
    size_t len;
    unsigned char *file = gw_finish(w, &len);
    oct_error err;
    if (!CHECK_INT(gguf_parse_copy(file, len, &err), OCT_OK)) printf("     %s\n", err.message);
    free(file);
}
static uint64_t *gguf_ne(uint64_t *ne, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    ne[0] = a;
    ne[1] = b;
    ne[2] = c;
    ne[3] = d;
    return ne;
}
/* A bit of everything: 7 metadata entries and 3 tensors. */
static void gguf_small(gguf_writer *w) {
    static const char *const words[] = { "<s>", "", "hello" };
    static const int32_t numbers[] = { 3, -1, 7 };
    uint64_t ne[4];
    gw_begin(w);
    gw_str(w, "general.architecture", "llama");
    gw_u32(w, "llama.block_count", 2);
    gw_f32(w, "llama.eps", 1e-5f);
    gw_bool(w, "flag", 1);
    gw_array_i32(w, "numbers", numbers, 3);
    gw_array_str(w, "words", words, 3);
    gw_i8(w, "minus", -5);
    gw_tensor_2d(w, "a.weight", 0, 5, 3, NULL);
    gw_tensor_2d(w, "b.weight", 8, 64, 2, NULL);
    gw_tensor(w, "c", 0, 4, gguf_ne(ne, 2, 1, 2, 1), NULL, 16);
}
/* Opens through a path; closes again. */
static oct_result gguf_open_path(const char *path, const oct_model_desc *d, oct_error *err) {
    const oct_allocator a = gguf_malloc();
    oct__source s;
    oct__gguf g;
    memset(err, 0, sizeof *err);
    oct_result r = oct__source_open_path(&s, &a, path, d, err);
    if (!r) r = oct__gguf_parse(&g, &a, s.parts, s.n_parts, err);
    if (!r) {
        gguf_touch(&g);
        oct__gguf_free(&g);
    }
    oct__source_close(&s);
    return r;
}
static int gguf_save(const char *path, const void *data, size_t len) {
    FILE *f = fopen(path, "wb");
    if (!CHECK(f != NULL)) return 0;
    const size_t n = fwrite(data, 1, len, f);
    fclose(f);
    return n == len;
}

/* --- good files -------------------------------------------------------------------- */

TEST(gguf, small_file) {
    gguf_writer w;
    size_t len;
    oct__gguf g;
    oct_error err;
    oct_string part;
    const oct_allocator a = gguf_malloc();
    gguf_small(&w);
    unsigned char *file = gw_finish(&w, &len);
    part.data = (const char *)file;
    part.len = len;
    if (!CHECK_INT(oct__gguf_parse(&g, &a, &part, 1, &err), OCT_OK)) return;
    CHECK_INT(g.n_metas, 7);
    CHECK_INT(g.n_tensors, 3);
    CHECK_INT(g.version, 3);
    CHECK_INT(g.n_params, 15 + 128 + 4);
    CHECK_INT(g.file_bytes, len);
    const oct_meta *m = oct__gguf_find(&g, "llama.block_count");
    CHECK(m && m->type == OCT__META_U32 && m->u == 2 && m->f == 2.0);
    m = oct__gguf_find(&g, "minus");
    CHECK(m && (int64_t)m->u == -5 && m->f == -5.0);
    CHECK(oct__gguf_find(&g, "llama.block_coun") == NULL);
    CHECK(oct__gguf_find(&g, "") == NULL);
    const oct_tensor *t = oct__gguf_tensor(&g, oct__str("b.weight"));
    if (CHECK(t != NULL)) {
        CHECK_INT(t->type, 8);
        CHECK_STR(t->type_name, "Q8_0");
        CHECK(t->n_dims == 2 && t->ne[0] == 64 && t->ne[1] == 2 && t->ne[2] == 1 && t->ne[3] == 1);
        CHECK_INT(t->bytes, 2 * 2 * 34);
        CHECK_INT((const char *)t->data - part.data, (const char *)g.tensors[0].data - part.data + 64);
    }
    CHECK(oct__gguf_tensor(&g, oct__str("d")) == NULL);
    oct__gguf_free(&g);
    free(file);
}
TEST(gguf, every_value_type) {
    gguf_writer w;
    size_t len;
    oct__gguf g;
    oct_error err;
    oct_string part;
    const oct_allocator a = gguf_malloc();
    gw_begin(&w);
    gw_u8(&w, "0", 200);
    gw_i8(&w, "1", -100);
    gw_u16(&w, "2", 60000);
    gw_i16(&w, "3", -30000);
    gw_u32(&w, "4", 4000000000u);
    gw_i32(&w, "5", -2000000000);
    gw_f32(&w, "6", 0.5f);
    gw_bool(&w, "7", 1);
    gw_str(&w, "8", "text");
    gw_u64(&w, "10", UINT64_MAX);
    gw_i64(&w, "11", INT64_MIN);
    gw_f64(&w, "12", 0.1);
    unsigned char *file = gw_finish(&w, &len);
    part.data = (const char *)file;
    part.len = len;
    if (!CHECK_INT(oct__gguf_parse(&g, &a, &part, 1, &err), OCT_OK)) return;
    static const char *const keys[] = { "0", "1", "2", "3", "4", "5", "7", "10", "11" };
    const uint64_t want[] = { 200, (uint64_t)-100, 60000, (uint64_t)-30000, 4000000000u, (uint64_t)-2000000000, 1, UINT64_MAX,
                              (uint64_t)INT64_MIN };
    for (int i = 0; i < 9; i++) {
        const oct_meta *m = oct__gguf_find(&g, keys[i]);
        if (!CHECK(m != NULL)) continue;
        CHECK_INT(m->type, atoi(keys[i]));
        CHECK(m->u == want[i]);
    }
    CHECK(oct__gguf_find(&g, "6")->f == 0.5);
    CHECK(oct__gguf_find(&g, "12")->f == 0.1);
    CHECK(oct__str_is(oct__gguf_find(&g, "8")->s, "text"));
    oct__gguf_free(&g);
    free(file);
}
TEST(gguf, version_2) {
    gguf_writer w;
    gguf_small(&w);
    w.version = 2;
    gguf_accept(&w);
}
TEST(gguf, empty_of_everything) {
    gguf_writer w;
    gw_begin(&w);
    gguf_accept(&w);
}
TEST(gguf, no_final_padding) {
    gguf_writer w;
    gguf_small(&w);
    w.no_final_padding = 1;
    gguf_accept(&w);
}
TEST(gguf, bytes_after_the_end) {
    gguf_writer w;
    gguf_small(&w);
    gw_put(&w.data, NULL, 1000);
    gguf_accept(&w);
}
TEST(gguf, empty_arrays) {
    gguf_writer w;
    gw_begin(&w);
    gw_array_i32(&w, "numbers", NULL, 0);
    gw_array_str(&w, "words", NULL, 0);
    gguf_accept(&w);
}
TEST(gguf, types_we_do_not_compute_with) {        /* well formed: the file can be inspected, the model is refused later */
    gguf_writer w;
    uint64_t ne[4];
    gw_begin(&w);
    gw_tensor_2d(&w, "iq", 17, 256, 2, NULL);
    gw_tensor(&w, "i8", 24, 1, gguf_ne(ne, 7, 0, 0, 0), NULL, 7);
    gw_tensor(&w, "f64", 28, 1, gguf_ne(ne, 2, 0, 0, 0), NULL, 16);
    gguf_accept(&w);
}
TEST(gguf, bool_2) {                              /* any non-zero byte is true */
    gguf_writer w;
    const unsigned char two = 2;
    gw_begin(&w);
    gw_meta(&w, "flag", GW_BOOL, &two, 1);
    gguf_accept(&w);
}
TEST(gguf, align_1) {
    gguf_writer w;
    gw_begin(&w);
    gw_alignment(&w, 1);
    gw_tensor_1d(&w, "a", 24, 3, "abc");
    gw_tensor_1d(&w, "b", 24, 5, "defgh");
    gguf_accept(&w);
}
TEST(gguf, align_large) {
    gguf_writer w;
    gw_begin(&w);
    gw_alignment(&w, 4096);
    gw_tensor_1d(&w, "a", 0, 3, NULL);
    gw_tensor_1d(&w, "b", 0, 3, NULL);
    gguf_accept(&w);
}
TEST(gguf, name_fmt) {                            /* names are never format strings */
    gguf_writer w;
    gw_begin(&w);
    gw_u32(&w, "%s%n%s%n", 1);
    gw_tensor_1d(&w, "%n%n%s", 0, 4, NULL);
    gguf_accept(&w);
    gw_begin(&w);
    gw_u32(&w, "%s%n", 1);
    gw_u32(&w, "%s%n", 1);
    gguf_refuse(&w, OCT_E_FORMAT, "'%s%n'", "twice", "once");
}
TEST(gguf, strings_with_any_byte) {
    gguf_writer w;
    gw_begin(&w);
    gw_strn(&w, "general.name", "a\0b\xff\xfe", 5);
    gguf_accept(&w);
}

/* --- what is not GGUF at all ------------------------------------------------------------ */

static void gguf_refuse_bytes(const char *bytes, size_t len, oct_result code, const char *found) {
    oct_error err;
    CHECK_INT(gguf_parse_copy((const unsigned char *)bytes, len, &err), code);
    if (!CHECK(strstr(err.message, found) != NULL)) printf("     \"%s\" is not in \"%s\"\n", found, err.message);
    CHECK(strstr(err.message, "expected") != NULL);
}
TEST(gguf, empty) { gguf_refuse_bytes("", 0, OCT_E_FORMAT, "empty"); }
TEST(gguf, bad_magic) {
    gguf_refuse_bytes("GGUX............................", 32, OCT_E_FORMAT, "47 47 55 58");
    gguf_refuse_bytes("GG", 2, OCT_E_FORMAT, "2 bytes");
}
TEST(gguf, other_formats_are_named) {
    static const struct { const char *bytes; size_t len; const char *what; } files[] = {
        { "\x40\0\0\0\0\0\0\0{\"__metadata__\"", 24, "safetensors" }, { "PK\3\4..............", 18, "PyTorch" },
        { "\x80\2}q\0........", 12, "pickle" },                       { "lmgg............", 16, "ggml" },
        { "tjgg............", 16, "ggjt" },                           { "\x1f\x8b\x08.............", 16, "gzip" },
        { "version https://git-lfs.github.com/spec/v1\n", 43, "git-lfs" }, { "<!DOCTYPE html><html>", 21, "web page" },
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        gguf_refuse_bytes(files[i].bytes, files[i].len, OCT_E_FORMAT, files[i].what);
}
static void gguf_refuse_version(uint32_t version, oct_result code, const char *found) {
    gguf_writer w;
    gguf_small(&w);
    w.version = version;
    gguf_refuse(&w, code, "version", found, "expected");
}
TEST(gguf, version_0) { gguf_refuse_version(0, OCT_E_FORMAT, "0"); }
TEST(gguf, version_1) { gguf_refuse_version(1, OCT_E_UNSUPPORTED, "1"); }
TEST(gguf, version_4) { gguf_refuse_version(4, OCT_E_UNSUPPORTED, "4"); }
TEST(gguf, big_endian) { gguf_refuse_version(0x03000000u, OCT_E_UNSUPPORTED, "big-endian"); }

/* --- counts ---------------------------------------------------------------------------------- */

static void gguf_refuse_counts(uint64_t more_meta, uint64_t more_tensors, const char *found) {
    gguf_writer w;
    gguf_small(&w);
    w.n_meta += more_meta;
    w.n_tensors += more_tensors;
    gguf_refuse(&w, OCT_E_FORMAT, NULL, found, "expected");
}
TEST(gguf, n_kv_huge) { gguf_refuse_counts((uint64_t)1 << 61, 0, "metadata entries"); }        /* CVE-2024-23605: n_kv * size wraps */
TEST(gguf, n_kv_negative) { gguf_refuse_counts((uint64_t)-20, 0, "-13 metadata entries"); }
TEST(gguf, n_kv_one_too_many) { gguf_refuse_counts(1, 0, NULL); }                              /* reads a tensor as metadata */
TEST(gguf, n_tensors_huge) { gguf_refuse_counts(0, (uint64_t)1 << 58, "tensors"); }            /* CVE-2024-21836, llama.cpp #15711 */
TEST(gguf, n_tensors_negative) { gguf_refuse_counts(0, (uint64_t)-5, "-2 tensors"); }
TEST(gguf, n_tensors_one_too_many) {
    gguf_writer w;
    gguf_small(&w);
    w.n_tensors++;
    gguf_refuse(&w, OCT_E_FORMAT, "tensor number 3", "empty", "expected");
}
TEST(gguf, counts_cost_no_memory) {               /* 2^40 entries promised in a file of 24 bytes: refused before allocating */
    gguf_writer w;
    gw_begin(&w);
    w.n_meta = (uint64_t)1 << 40;
    gguf_refuse(&w, OCT_E_FORMAT, "header", "1099511627776 metadata entries", "0 to 0");
}

/* --- metadata ----------------------------------------------------------------------------------- */

TEST(gguf, key_empty) {
    gguf_writer w;
    gw_begin(&w);
    gw_u32(&w, "first", 1);
    gw_u32(&w, "", 1);
    gguf_refuse(&w, OCT_E_FORMAT, "metadata number 1", "empty", "expected 1 to 65535");
}
TEST(gguf, key_nul) {
    gguf_writer w;
    const uint32_t v = 1;
    gw_begin(&w);
    gw_meta_raw(&w, "ab\0cd", 5, GW_U32, &v, 4);
    gguf_refuse(&w, OCT_E_FORMAT, "'ab'", "NUL at byte 2", "expected none");
}
TEST(gguf, key_too_long) {
    gguf_writer w;
    char *key = (char *)malloc(65536);
    memset(key, 'k', 65536);
    const uint32_t v = 1;
    gw_begin(&w);
    gw_meta_raw(&w, key, 65535, GW_U32, &v, 4);
    gguf_accept(&w);
    gw_begin(&w);
    gw_meta_raw(&w, key, 65536, GW_U32, &v, 4);
    gguf_refuse(&w, OCT_E_FORMAT, "kkkk", "65536 bytes", "65535");
    free(key);
}
TEST(gguf, key_twice) {
    gguf_writer w;
    gguf_small(&w);
    gw_u32(&w, "flag", 1);
    gguf_refuse(&w, OCT_E_FORMAT, "metadata 'flag'", "number 3 and number 7", "expected once");
}
/* A key whose length is told to be n. */
static void gguf_refuse_key_length(uint64_t n) {
    gguf_writer w;
    char found[32];
    gw_begin(&w);
    gw_u32(&w, "key", 1);
    memcpy(w.meta.data, &n, 8);
    snprintf(found, sizeof found, "%llu", (unsigned long long)n);
    gguf_refuse(&w, OCT_E_FORMAT, "key", found, "expected at most");
}
TEST(gguf, key_len_huge) {
    gguf_refuse_key_length((uint64_t)1 << 62);
    gguf_refuse_key_length(UINT64_MAX);           /* CVE-2024-23496: length + 1 wraps */
    gguf_refuse_key_length(UINT64_MAX - 7);
    gguf_refuse_key_length(100);
}
static void gguf_refuse_string_length(uint64_t n) {
    gguf_writer w;
    char found[32];
    gw_begin(&w);
    gw_str(&w, "general.name", "abc");
    memcpy(w.meta.data + 8 + 12 + 4, &n, 8);
    snprintf(found, sizeof found, "%llu", (unsigned long long)n);
    gguf_refuse(&w, OCT_E_FORMAT, "metadata 'general.name'", found, "expected at most");
}
TEST(gguf, str_len_huge) {
    gguf_refuse_string_length((uint64_t)1 << 62);
    gguf_refuse_string_length(UINT64_MAX);        /* CVE-2024-23496 */
    gguf_refuse_string_length(4);
}
TEST(gguf, value_type_bad) {
    gguf_writer w;
    gw_begin(&w);
    gw_meta(&w, "key", 13, "....", 4);
    gguf_refuse(&w, OCT_E_FORMAT, "metadata 'key'", "13", "0 to 12");
    gw_begin(&w);
    gw_meta(&w, "key", 0xFFFFFFFFu, "....", 4);
    gguf_refuse(&w, OCT_E_FORMAT, "metadata 'key'", "4294967295", "0 to 12");
}
TEST(gguf, value_cut) {
    gguf_writer w;
    gw_begin(&w);
    gw_meta(&w, "key", GW_U64, "1234567", 7);
    gguf_refuse(&w, OCT_E_FORMAT, "metadata 'key'", "8 bytes", "expected at most 7");
}
TEST(gguf, array_nested) {
    gguf_writer w;
    gw_begin(&w);
    gw_array(&w, "key", GW_ARRAY, "................", 1, 16);
    gguf_refuse(&w, OCT_E_FORMAT, "metadata 'key'", "array of arrays", "expected");
}
TEST(gguf, array_item_type_bad) {
    gguf_writer w;
    gw_begin(&w);
    gw_array(&w, "key", 99, "................", 1, 16);
    gguf_refuse(&w, OCT_E_FORMAT, "metadata 'key'", "99", "expected 0 to 8");
}
/* An array of three items said to have n. */
static void gguf_refuse_array_count(uint32_t type, uint64_t n) {
    gguf_writer w;
    char found[32];
    gw_begin(&w);
    gw_array(&w, "key", type, "........................", 3, 8);
    memcpy(w.meta.data + 8 + 3 + 4 + 4, &n, 8);
    snprintf(found, sizeof found, "array of %llu", (unsigned long long)n);
    gguf_refuse(&w, OCT_E_FORMAT, "metadata 'key'", found, "expected at most");
}
TEST(gguf, array_count_huge) {                    /* CVE-2024-21825: n * item size wraps */
    gguf_refuse_array_count(GW_U64, 4);
    gguf_refuse_array_count(GW_U64, (uint64_t)1 << 61);
    gguf_refuse_array_count(GW_U32, ((uint64_t)1 << 62) + 1);
    gguf_refuse_array_count(GW_U8, UINT64_MAX);
    gguf_refuse_array_count(GW_STRING, (uint64_t)1 << 61);
    gguf_refuse_array_count(GW_STRING, 4);
}
TEST(gguf, array_string_len_huge) {
    static const char *const words[] = { "one", "two" };
    const uint64_t huge = UINT64_MAX - 15;
    gguf_writer w;
    gw_begin(&w);
    gw_array_str(&w, "words", words, 2);
    memcpy(w.meta.data + w.meta.len - 11, &huge, 8);
    gguf_refuse(&w, OCT_E_FORMAT, "metadata 'words'", "18446744073709551600", "expected at most");
}
TEST(gguf, many_keys_fast) {                      /* 10^5 entries, twice: all different, and all the same but the last byte */
    for (int same = 0; same < 2; same++) {
        gguf_writer w;
        char key[64];
        oct_error err;
        size_t len;
        gw_begin(&w);
        for (int i = 0; i < 100000; i++) {
            snprintf(key, sizeof key, same ? "a.rather.long.key.that.is.the.same.up.to.its.number.%06d" : "%d.key", i);
            gw_u8(&w, key, 1);
        }
        unsigned char *file = gw_finish(&w, &len);
        const double start = test_seconds();
        CHECK_INT(gguf_parse_copy(file, len, &err), OCT_OK);
        CHECK(test_seconds() - start < 2.0);      /* 0.05 s at -O2; the rest is for sanitizers and busy machines */
        free(file);
    }
}
TEST(gguf, many_tensors_fast) {
    gguf_writer w;
    char name[32];
    oct_error err;
    size_t len;
    gw_begin(&w);
    for (int i = 0; i < 50000; i++) {
        snprintf(name, sizeof name, "blk.%d.weight", i);
        gw_tensor_1d(&w, name, 0, 1, NULL);
    }
    unsigned char *file = gw_finish(&w, &len);
    const double start = test_seconds();
    CHECK_INT(gguf_parse_copy(file, len, &err), OCT_OK);
    CHECK(test_seconds() - start < 2.0);
    free(file);
}

/* --- alignment ------------------------------------------------------------------------------------ */

static void gguf_refuse_alignment(uint32_t v, const char *found) {
    gguf_writer w;
    gw_begin(&w);
    gw_u32(&w, "general.alignment", v);
    gw_tensor_1d(&w, "a", 0, 8, NULL);
    gguf_refuse(&w, OCT_E_FORMAT, "'general.alignment'", found, "power of two");
}
TEST(gguf, align_0) { gguf_refuse_alignment(0, ": 0,"); }
TEST(gguf, align_3) { gguf_refuse_alignment(3, ": 3,"); }
TEST(gguf, align_2e31) { gguf_refuse_alignment(0x80000000u, "2147483648"); }
TEST(gguf, align_2mib) { gguf_refuse_alignment(1u << 21, "2097152"); }
TEST(gguf, align_str) {
    gguf_writer w;
    gw_begin(&w);
    gw_str(&w, "general.alignment", "32");
    gguf_refuse(&w, OCT_E_FORMAT, "'general.alignment'", "string", "u32");
}
TEST(gguf, align_u64) {
    gguf_writer w;
    gw_begin(&w);
    gw_u64(&w, "general.alignment", 32);
    gguf_refuse(&w, OCT_E_FORMAT, "'general.alignment'", "u64", "u32");
}

/* --- tensors -------------------------------------------------------------------------------------- */

TEST(gguf, name_empty) {
    gguf_writer w;
    gw_begin(&w);
    gw_tensor_1d(&w, "", 0, 8, NULL);
    gguf_refuse(&w, OCT_E_FORMAT, "tensor number 0", "empty", "1 to 63");
}
TEST(gguf, name_nul) {
    gguf_writer w;
    const uint64_t ne = 8;
    gw_begin(&w);
    gw_info_raw(&w, "a\0b", 3, 1, &ne, 0, 0);
    gw_put(&w.data, NULL, 32);
    gguf_refuse(&w, OCT_E_FORMAT, "tensor 'a'", "NUL at byte 1", "expected none");
}
TEST(gguf, name_too_long) {
    gguf_writer w;
    char name[65];
    memset(name, 'n', 64);
    name[64] = 0;
    gw_begin(&w);
    gw_tensor_1d(&w, name, 0, 8, NULL);
    gguf_refuse(&w, OCT_E_FORMAT, "nnnn", "64 bytes", "1 to 63");
    name[63] = 0;
    gw_begin(&w);
    gw_tensor_1d(&w, name, 0, 8, NULL);
    gguf_accept(&w);
}
TEST(gguf, name_len_huge) {
    gguf_writer w;
    const uint64_t huge = UINT64_MAX;
    gguf_small(&w);
    memcpy(w.infos.data, &huge, 8);
    gguf_refuse(&w, OCT_E_FORMAT, "tensor number 0", "18446744073709551615", "expected at most");
}
TEST(gguf, name_twice) {
    gguf_writer w;
    gguf_small(&w);
    gw_tensor_1d(&w, "b.weight", 0, 8, NULL);
    gguf_refuse(&w, OCT_E_FORMAT, "tensor 'b.weight'", "number 1 and number 3", "expected once");
}
/* A tensor of this shape alone, with `bytes` of data behind it. */
static void gguf_refuse_shape(uint32_t type, uint32_t n_dims, uint64_t a, uint64_t b, uint64_t c, uint64_t d, size_t bytes,
                              const char *found, const char *wanted) {
    gguf_writer w;
    uint64_t ne[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
    gw_begin(&w);
    gguf_ne(ne, a, b, c, d);
    gw_info_raw(&w, "t", 1, n_dims, ne, type, 0);
    gw_put(&w.data, NULL, bytes);
    gguf_refuse(&w, OCT_E_FORMAT, "tensor 't'", found, wanted);
}
TEST(gguf, ndims_0) { gguf_refuse_shape(0, 0, 1, 1, 1, 1, 4, "0 dimensions", "1 to 4"); }
TEST(gguf, ndims_5) { gguf_refuse_shape(0, 5, 1, 1, 1, 1, 4, "5 dimensions", "1 to 4"); }              /* CVE-2024-21802 */
TEST(gguf, ndims_huge) {
    gguf_writer w;
    const uint32_t huge = 0xFFFFFFFFu;
    gguf_small(&w);
    memcpy(w.infos.data + 16, &huge, 4);
    gguf_refuse(&w, OCT_E_FORMAT, "tensor 'a.weight'", "4294967295 dimensions", "1 to 4");
}
TEST(gguf, ne0_0) { gguf_refuse_shape(0, 1, 0, 1, 1, 1, 4, "dimension 0 is 0", "1 or more"); }
TEST(gguf, ne1_0) { gguf_refuse_shape(0, 2, 4, 0, 1, 1, 64, "dimension 1 is 0", "1 or more"); }          /* SIGFPE elsewhere */
TEST(gguf, ne3_0) { gguf_refuse_shape(0, 4, 4, 1, 1, 0, 64, "dimension 3 is 0", "1 or more"); }
TEST(gguf, ne_negative) { gguf_refuse_shape(0, 2, 4, (uint64_t)-1, 1, 1, 64, "dimension 1 is -1", "1 or more"); }
TEST(gguf, ne0_not_blocks) { gguf_refuse_shape(8, 2, 48, 2, 1, 1, 256, "rows of 48", "multiple of 32 for type Q8_0"); }
TEST(gguf, ne_bytes_wrap) {                       /* CVE-2026-33298: elements * type size wraps to 0 */
    gguf_refuse_shape(0, 1, (uint64_t)1 << 62, 1, 1, 1, 64, "4611686018427387904", "fit the file");
}
TEST(gguf, ne_prod_wrap) {                        /* llama.cpp #27203: the product of the dimensions wraps to 0 */
    gguf_refuse_shape(0, 3, (uint64_t)1 << 32, (uint64_t)1 << 32, 4, 1, 64, "4294967296", "fit the file");
    gguf_refuse_shape(24, 4, (uint64_t)1 << 16, (uint64_t)1 << 16, (uint64_t)1 << 16, (uint64_t)1 << 16, 64, "65536", "fit the file");
}
TEST(gguf, ne_beyond_the_file) {                  /* CVE-2026-7482: dimensions larger than the data */
    gguf_refuse_shape(0, 2, 1024, 1024, 1, 1, 64, "4194304 bytes", "expected at most 64");
    gguf_refuse_shape(12, 2, 256, ((uint64_t)1 << 56) - 1, 1, 1, 64, "bytes", "expected at most 64");
}
TEST(gguf, pad_wrap) {                            /* PR 24759, 26318: padding of 2^64 - 4 bytes wraps to 0 */
    gguf_writer w;
    const uint64_t most = ((uint64_t)1 << 62) - 1, few = 4;
    gw_begin(&w);
    gw_info_raw(&w, "huge", 4, 1, &most, 0, 0);
    gw_info_raw(&w, "small", 5, 1, &few, 0, 0);
    gw_put(&w.data, NULL, 64);
    gguf_refuse(&w, OCT_E_FORMAT, "tensor 'huge'", "18446744073709551612 bytes", "expected at most 64");
}
TEST(gguf, sum_wrap) {                            /* CVE-2025-53630, CVE-2026-27940: the sum of the padded sizes wraps */
    gguf_writer w;
    const uint64_t half = (uint64_t)1 << 61;
    gw_begin(&w);
    gw_info_raw(&w, "a", 1, 1, &half, 0, 0);
    gw_info_raw(&w, "b", 1, 1, &half, 0, (uint64_t)1 << 63);
    gw_put(&w.data, NULL, 64);
    gguf_refuse(&w, OCT_E_FORMAT, "tensor 'a'", "9223372036854775808 bytes", "expected at most 64");
}
static void gguf_refuse_type(uint32_t type, const char *found) {
    gguf_refuse_shape(type, 1, 256, 1, 1, 1, 4096, found, "type number");
}
TEST(gguf, type_removed) {
    static const char *const removed[] = { "4", "5", "31", "32", "33", "36", "37", "38" };
    for (size_t i = 0; i < sizeof removed / sizeof removed[0]; i++) gguf_refuse_type((uint32_t)atoi(removed[i]), removed[i]);
}
TEST(gguf, type_unknown) {
    gguf_refuse_type(1000, "1000");
    gguf_refuse_type(0x7FFFFFFFu, "2147483647");
    gguf_refuse_type(0xFFFFFFFFu, "-1");
}
/* The small file with the last tensor's offset (160 as it should be) changed. */
static void gguf_refuse_offset(uint64_t offset, const char *found, const char *wanted) {
    gguf_writer w;
    uint64_t right = 0;
    gguf_small(&w);
    memcpy(&right, w.infos.data + w.last_offset_at, 8);
    CHECK_INT(right, 64 + 160);
    memcpy(w.infos.data + w.last_offset_at, &offset, 8);
    gw_put(&w.data, NULL, 256);
    gguf_refuse(&w, OCT_E_FORMAT, "tensor 'c'", found, wanted);
}
TEST(gguf, offset_unaligned) { gguf_refuse_offset(225, "225", "multiple of 32"); }
TEST(gguf, offset_overlaps) { gguf_refuse_offset(192, "192", "expected 224"); }
TEST(gguf, offset_leaves_a_gap) { gguf_refuse_offset(256, "256", "expected 224"); }
TEST(gguf, offset_zero) { gguf_refuse_offset(0, "offset 0", "expected 224"); }
TEST(gguf, offset_huge) {
    gguf_refuse_offset((uint64_t)1 << 63, "9223372036854775808", "expected 224");
    gguf_refuse_offset(UINT64_MAX - 31, "18446744073709551584", "expected 224");
}
TEST(gguf, data_trunc) {
    gguf_writer w;
    gguf_small(&w);
    w.data.len -= 1;
    w.no_final_padding = 1;
    gguf_refuse(&w, OCT_E_FORMAT, "tensor 'c'", "16 bytes at offset 224", "expected at most 15");
}
TEST(gguf, no_data) {
    gguf_writer w;
    gguf_small(&w);
    w.no_data = 1;
    gguf_refuse(&w, OCT_E_FORMAT, "tensor 'a.weight'", "60 bytes at offset 0", "expected at most 0");
}
TEST(gguf, tensor_cut) {
    gguf_writer w;
    gguf_small(&w);
    w.no_data = 1;
    w.infos.len -= 4;
    gguf_refuse(&w, OCT_E_FORMAT, "tensor 'c'", "offset of 8 bytes", "expected at most 4");
}

/* --- sweeps ------------------------------------------------------------------------------------------- */

TEST(gguf, truncated_everywhere) {
    gguf_writer w;
    size_t len;
    oct_error err;
    gguf_small(&w);
    w.no_final_padding = 1;
    unsigned char *file = gw_finish(&w, &len);
    CHECK_INT(gguf_parse_copy(file, len, &err), OCT_OK);
    for (size_t n = 0; n < len; n++)
        if (!CHECK(gguf_parse_copy(file, n, &err) != OCT_OK)) printf("     cut to %zu of %zu bytes\n", n, len);
    free(file);
}
TEST(gguf, every_bit_flipped) {                   /* no crash; what still parses points into the file */
    gguf_writer w;
    size_t len;
    oct_error err;
    gguf_small(&w);
    unsigned char *file = gw_finish(&w, &len);
    for (size_t bit = 0; bit < len * 8; bit++) {
        file[bit / 8] = (unsigned char)(file[bit / 8] ^ (1u << bit % 8));
        (void)gguf_parse_copy(file, len, &err);
        file[bit / 8] = (unsigned char)(file[bit / 8] ^ (1u << bit % 8));
    }
    free(file);
}
TEST(gguf, every_byte_extreme) {
    static const unsigned char values[] = { 0, 1, 0x7F, 0x80, 0xFF };
    gguf_writer w;
    size_t len;
    oct_error err;
    gguf_small(&w);
    unsigned char *file = gw_finish(&w, &len);
    for (size_t i = 0; i < len; i++) {
        const unsigned char was = file[i];
        for (size_t k = 0; k < sizeof values; k++) {
            file[i] = values[k];
            (void)gguf_parse_copy(file, len, &err);
        }
        file[i] = was;
    }
    free(file);
}

/* --- memory ------------------------------------------------------------------------------------------------ */

/* Fails the n-th allocation and counts what is out. */
typedef struct gguf_heap { int calls, fail_at, live; } gguf_heap;
static void *gguf_heap_alloc(void *user, size_t bytes) {
    gguf_heap *h = (gguf_heap *)user;
    if (++h->calls == h->fail_at) return NULL;
    h->live++;
    return malloc(bytes);
}
static void gguf_heap_free(void *user, void *ptr) {
    ((gguf_heap *)user)->live--;
    free(ptr);
}
static oct_allocator gguf_heap_allocator(gguf_heap *h) {
    oct_allocator a;
    a.alloc = gguf_heap_alloc;
    a.free = gguf_heap_free;
    a.user = h;
    return a;
}
TEST(gguf, every_allocation_fails_once) {         /* CVE-2024-41130, CVE-2024-32878: NULL and uninitialised pointers on error paths */
    gguf_writer w;
    size_t len;
    oct_error err;
    oct_string part;
    gguf_small(&w);
    unsigned char *file = gw_finish(&w, &len);
    part.data = (const char *)file;
    part.len = len;
    int done = 0;
    for (int n = 1; n < 50 && !done; n++) {
        gguf_heap heap = { 0, n, 0 };
        const oct_allocator a = gguf_heap_allocator(&heap);
        oct__source s;
        oct__gguf g;
        oct_result r = oct__source_open_parts(&s, &a, &part, 1, &err);
        if (!r) r = oct__gguf_parse(&g, &a, s.parts, s.n_parts, &err);
        if (!r) oct__gguf_free(&g);
        oct__source_close(&s);
        done = heap.calls < n;
        CHECK_INT(r, done ? OCT_OK : OCT_E_MEMORY);
        CHECK_INT(heap.live, 0);
    }
    CHECK(done);
    free(file);
}
TEST(gguf, refused_files_leak_nothing) {
    gguf_writer w;
    size_t len;
    oct_error err;
    oct_string part;
    gguf_small(&w);
    w.no_final_padding = 1;
    unsigned char *file = gw_finish(&w, &len);
    for (size_t n = 0; n <= len; n++) {
        gguf_heap heap = { 0, 0, 0 };
        const oct_allocator a = gguf_heap_allocator(&heap);
        oct__gguf g;
        part.data = (const char *)file;
        part.len = n;
        if (!oct__gguf_parse(&g, &a, &part, 1, &err)) oct__gguf_free(&g);
        CHECK_INT(heap.live, 0);
    }
    free(file);
}
TEST(gguf, errors_need_no_err) {
    const oct_allocator a = gguf_malloc();
    oct__gguf g;
    oct_string part = { "GGUF", 4 };
    CHECK_INT(oct__gguf_parse(&g, &a, &part, 1, NULL), OCT_E_FORMAT);
}

/* --- getters --------------------------------------------------------------------------------------------------- */

TEST(gguf, getters) {
    gguf_writer w;
    size_t len;
    oct__gguf g;
    oct_error err;
    oct_string part, text;
    int64_t i = 0;
    double f = 0;
    bool flag = false;
    const oct_meta *array = NULL;
    const oct_allocator a = gguf_malloc();
    gguf_small(&w);
    gw_u64(&w, "huge", UINT64_MAX);
    gw_f32(&w, "nan", NAN);
    gw_f32(&w, "inf", INFINITY);
    unsigned char *file = gw_finish(&w, &len);
    part.data = (const char *)file;
    part.len = len;
    if (!CHECK_INT(oct__gguf_parse(&g, &a, &part, 1, &err), OCT_OK)) return;

    CHECK(oct__gguf_int(&g, "llama.block_count", 1, 512, 9, &i, &err) == OCT_OK && i == 2);
    CHECK(oct__gguf_int(&g, "minus", -10, 10, 9, &i, &err) == OCT_OK && i == -5);
    CHECK(oct__gguf_int(&g, "absent", 1, 512, 9, &i, &err) == OCT_OK && i == 9);
    CHECK_INT(oct__gguf_int(&g, "llama.block_count", 3, 512, 9, &i, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "metadata 'llama.block_count': 2, expected 3 to 512");
    CHECK_INT(i, 9);
    CHECK_INT(oct__gguf_int(&g, "huge", 0, INT64_MAX, 0, &i, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "metadata 'huge': 18446744073709551615, expected 0 to 9223372036854775807");
    CHECK_INT(oct__gguf_int(&g, "general.architecture", 1, 512, 9, &i, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "metadata 'general.architecture': string, expected an integer");
    CHECK_INT(oct__gguf_int(&g, "flag", 0, 1, 0, &i, &err), OCT_E_FORMAT);
    CHECK_INT(oct__gguf_need_int(&g, "absent", 1, 512, &i, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "metadata 'absent': missing, expected an integer");
    CHECK(oct__gguf_need_int(&g, "llama.block_count", 1, 512, &i, &err) == OCT_OK && i == 2);

    CHECK(oct__gguf_real(&g, "llama.eps", 0, 1, 9, &f, &err) == OCT_OK && f == (double)1e-5f);
    CHECK(oct__gguf_real(&g, "absent", 0, 1, 9, &f, &err) == OCT_OK && f == 9);
    CHECK_INT(oct__gguf_real(&g, "llama.eps", 0.5, 1, 9, &f, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "metadata 'llama.eps': 1e-05, expected 0.5 to 1");
    CHECK_INT(oct__gguf_real(&g, "nan", -1e300, 1e300, 9, &f, &err), OCT_E_FORMAT);
    CHECK(strstr(err.message, "nan") != NULL);
    CHECK_INT(oct__gguf_real(&g, "inf", -HUGE_VAL, HUGE_VAL, 9, &f, &err), OCT_E_FORMAT);
    CHECK_INT(oct__gguf_real(&g, "llama.block_count", 0, 9, 9, &f, &err), OCT_E_FORMAT);

    CHECK(oct__gguf_flag(&g, "flag", false, &flag, &err) == OCT_OK && flag);
    CHECK(oct__gguf_flag(&g, "absent", true, &flag, &err) == OCT_OK && flag);
    CHECK_INT(oct__gguf_flag(&g, "minus", true, &flag, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "metadata 'minus': i8, expected a bool");

    CHECK(oct__gguf_text(&g, "general.architecture", "x", &text, &err) == OCT_OK && oct__str_is(text, "llama"));
    CHECK(oct__gguf_text(&g, "absent", "x", &text, &err) == OCT_OK && oct__str_is(text, "x"));
    CHECK(oct__gguf_text(&g, "absent", NULL, &text, &err) == OCT_OK && text.len == 0);
    CHECK_INT(oct__gguf_text(&g, "numbers", "x", &text, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "metadata 'numbers': array of i32, expected a string");

    CHECK(oct__gguf_array(&g, "numbers", OCT__META_I32, 3, 3, &array, &err) == OCT_OK && array && array->count == 3);
    CHECK(oct__gguf_array(&g, "numbers", -1, 0, 9, &array, &err) == OCT_OK && array);
    CHECK(oct__gguf_array(&g, "absent", -1, 0, 9, &array, &err) == OCT_OK && !array);
    CHECK_INT(oct__gguf_array(&g, "numbers", OCT__META_F32, 3, 3, &array, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "metadata 'numbers': array of i32, expected array of f32");
    CHECK_INT(oct__gguf_array(&g, "numbers", OCT__META_I32, 4, 4, &array, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "metadata 'numbers': array of 3, expected 4 to 4");
    CHECK_INT(oct__gguf_array(&g, "flag", -1, 0, 9, &array, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "metadata 'flag': bool, expected array");
    oct__gguf_free(&g);
    free(file);
}
TEST(gguf, array_items) {
    gguf_writer w;
    size_t len, cursor = 0;
    oct__gguf g;
    oct_error err;
    oct_string part;
    oct_meta item;
    const oct_allocator a = gguf_malloc();
    gguf_small(&w);
    unsigned char *file = gw_finish(&w, &len);
    part.data = (const char *)file;
    part.len = len;
    if (!CHECK_INT(oct__gguf_parse(&g, &a, &part, 1, &err), OCT_OK)) return;
    const oct_meta *words = oct__gguf_find(&g, "words"), *numbers = oct__gguf_find(&g, "numbers");
    static const char *const want[] = { "<s>", "", "hello" };
    for (uint64_t i = 0; i < 3; i++) {            /* in order, from the start without a cursor, and by jumping */
        size_t fresh = 0;
        CHECK(oct__meta_item(words, i, &cursor, &item) == OCT_OK && oct__str_is(item.s, want[i]));
        CHECK(oct__meta_item(words, i, NULL, &item) == OCT_OK && oct__str_is(item.s, want[i]));
        CHECK(oct__meta_item(words, i, &fresh, &item) == OCT_OK && oct__str_is(item.s, want[i]));
        CHECK_INT(item.type, OCT__META_STRING);
    }
    CHECK(oct__meta_item(numbers, 1, NULL, &item) == OCT_OK && (int64_t)item.u == -1 && item.type == OCT__META_I32);
    CHECK_INT(oct__meta_item(numbers, 3, NULL, &item), OCT_E_ARG);
    CHECK_INT(oct__meta_item(words, 3, NULL, &item), OCT_E_ARG);
    CHECK_INT(oct__meta_item(oct__gguf_find(&g, "flag"), 0, NULL, &item), OCT_E_ARG);
    CHECK_INT(oct__meta_item(NULL, 0, NULL, &item), OCT_E_ARG);
    cursor = SIZE_MAX - 3;                        /* a cursor from nowhere reads nothing */
    CHECK_INT(oct__meta_item(words, 1, &cursor, &item), OCT_E_ARG);
    cursor = 3;
    CHECK_INT(oct__meta_item(words, 1, &cursor, &item), OCT_E_ARG);
    oct__gguf_free(&g);
    free(file);
}

/* --- sources ---------------------------------------------------------------------------------------------------------- */

TEST(gguf, path_mapped_and_read) {
    gguf_writer w;
    size_t len;
    oct_error err;
    oct_model_desc d;
    const char *path = test_tmp("small.gguf");
    memset(&d, 0, sizeof d);
    gguf_small(&w);
    unsigned char *file = gw_finish(&w, &len);
    gguf_save(path, file, len);
    CHECK_INT(gguf_open_path(path, NULL, &err), OCT_OK);
    CHECK_INT(gguf_open_path(path, &d, &err), OCT_OK);
    d.no_mmap = 1;
    CHECK_INT(gguf_open_path(path, &d, &err), OCT_OK);
    free(file);
}
TEST(gguf, path_not_found) {
    oct_error err;
    CHECK_INT(gguf_open_path(test_tmp("not-there.gguf"), NULL, &err), OCT_E_IO);
    CHECK(strstr(err.message, "not-there.gguf") && strstr(err.message, "no such file"));
    CHECK_INT(gguf_open_path(NULL, NULL, &err), OCT_E_ARG);
    CHECK_INT(gguf_open_path("", NULL, &err), OCT_E_ARG);
}
TEST(gguf, path_is_a_folder) {
    oct_error err;
    CHECK_INT(gguf_open_path(".", NULL, &err), OCT_E_IO);
    CHECK(strstr(err.message, "'.'") && strstr(err.message, "folder") && strstr(err.message, "GGUF"));
}
TEST(gguf, path_is_empty) {
    oct_error err;
    const char *path = test_tmp("empty.gguf");
    gguf_save(path, "", 0);
    CHECK_INT(gguf_open_path(path, NULL, &err), OCT_E_FORMAT);
    CHECK(strstr(err.message, "empty.gguf") && strstr(err.message, "is empty"));
}
TEST(gguf, path_very_long) {
    oct_error err;
    char path[6000];
    for (size_t i = 0; i < sizeof path; i++) path[i] = i % 2 ? '\xa9' : '\xc3';
    path[sizeof path - 1] = 0;
    CHECK_INT(gguf_open_path(path, NULL, &err), OCT_E_IO);
    CHECK(strlen(err.message) > 20);
}

/* A reader over memory that can be told to fail. */
typedef struct gguf_tape { const unsigned char *data; size_t len, at, short_at, most; int calls; } gguf_tape;
static size_t gguf_tape_read(void *user, uint64_t offset, void *dst, size_t n) {
    gguf_tape *t = (gguf_tape *)user;
    t->calls++;
    CHECK_INT(offset, t->at);                     /* once, from start to end */
    if (n > t->most) t->most = n;
    size_t got = offset > t->len ? 0 : t->len - (size_t)offset;
    if (got > n) got = n;
    if (offset + got > t->short_at) got = offset > t->short_at ? 0 : t->short_at - (size_t)offset;
    memcpy(dst, t->data + offset, got);
    t->at += got;
    return got;
}
typedef struct gguf_watch { float last; int calls, stop_at; } gguf_watch;
static int gguf_watch_progress(void *user, float done) {
    gguf_watch *p = (gguf_watch *)user;
    CHECK(done >= p->last && done >= 0.0f && done <= 1.0f);
    p->last = done;
    return ++p->calls == p->stop_at;
}
static oct_result gguf_open_tape(gguf_tape *t, uint64_t claimed, gguf_watch *watch, oct_error *err) {
    gguf_heap heap = { 0, 0, 0 };
    const oct_allocator a = gguf_heap_allocator(&heap);
    oct_reader reader;
    oct_model_desc d;
    oct__source s;
    oct__gguf g;
    memset(&d, 0, sizeof d);
    d.progress = watch ? gguf_watch_progress : NULL;
    d.progress_user = watch;
    reader.read = gguf_tape_read;
    reader.user = t;
    reader.bytes = claimed;
    oct_result r = oct__source_open_reader(&s, &a, &reader, &d, err);
    if (!r) {
        CHECK_INT((uintptr_t)s.parts[0].data % 64, 0);
        r = oct__gguf_parse(&g, &a, s.parts, s.n_parts, err);
        if (!r) oct__gguf_free(&g);
        oct__source_close(&s);
    }
    CHECK_INT(heap.live, 0);
    return r;
}
TEST(gguf, reader) {
    gguf_writer w;
    size_t len;
    oct_error err;
    gguf_watch watch = { 0, 0, 0 };
    gguf_small(&w);
    gw_tensor_1d(&w, "large", 24, 9000000, NULL); /* of several pieces */
    unsigned char *file = gw_finish(&w, &len);
    gguf_tape tape = { file, len, 0, SIZE_MAX, 0, 0 };
    CHECK_INT(gguf_open_tape(&tape, len, &watch, &err), OCT_OK);
    CHECK_INT(tape.at, len);
    CHECK(tape.calls >= 3 && tape.most < 8000000);
    CHECK(watch.calls == tape.calls && watch.last == 1.0f);

    gguf_tape cut = { file, len, 0, 4500000, 0, 0 };
    CHECK_INT(gguf_open_tape(&cut, len, NULL, &err), OCT_E_IO);
    CHECK(strstr(err.message, "reader") && strstr(err.message, "305696 bytes read at byte 4194304") && strstr(err.message, "expected 4194304"));

    gguf_tape none = { file, len, 0, 0, 0, 0 };
    CHECK_INT(gguf_open_tape(&none, len, NULL, &err), OCT_E_IO);

    gguf_tape less = { file, len, 0, SIZE_MAX, 0, 0 };
    CHECK_INT(gguf_open_tape(&less, len + 1, NULL, &err), OCT_E_IO);          /* claims a byte that is not there */

    gguf_watch stop = { 0, 0, 2 };
    gguf_tape stopped = { file, len, 0, SIZE_MAX, 0, 0 };
    CHECK_INT(gguf_open_tape(&stopped, len, &stop, &err), OCT_E_ABORTED);
    CHECK_INT(stopped.calls, 2);

    gguf_tape nothing = { file, 0, 0, SIZE_MAX, 0, 0 };
    CHECK_INT(gguf_open_tape(&nothing, 0, NULL, &err), OCT_E_FORMAT);
    CHECK(strstr(err.message, "empty") != NULL);
    gguf_tape endless = { file, len, 0, SIZE_MAX, 0, 0 };
    CHECK_INT(gguf_open_tape(&endless, UINT64_MAX, NULL, &err), OCT_E_MEMORY);
    free(file);
}
TEST(gguf, reader_cut_everywhere) {
    gguf_writer w;
    size_t len;
    oct_error err;
    gguf_small(&w);
    unsigned char *file = gw_finish(&w, &len);
    for (size_t n = 0; n < len; n++) {
        gguf_tape tape = { file, len, 0, n, 0, 0 };
        CHECK_INT(gguf_open_tape(&tape, len, NULL, &err), OCT_E_IO);
    }
    free(file);
}
TEST(gguf, progress_stops_a_path) {
    gguf_writer w;
    size_t len;
    oct_error err;
    oct_model_desc d;
    gguf_watch stop = { 0, 0, 1 };
    const char *path = test_tmp("stop.gguf");
    memset(&d, 0, sizeof d);
    d.progress = gguf_watch_progress;
    d.progress_user = &stop;
    d.no_mmap = 1;
    gguf_small(&w);
    unsigned char *file = gw_finish(&w, &len);
    gguf_save(path, file, len);
    CHECK_INT(gguf_open_path(path, &d, &err), OCT_E_ABORTED);
    CHECK_INT(gguf_open_path(path, &d, &err), OCT_OK);           /* asked to stop once only */
    free(file);
}

/* --- split files ------------------------------------------------------------------------------------------------------------ */

/* Part `no` of `count`, with tensors t<no>.a and t<no>.b; the first has the metadata. */
static unsigned char *gguf_part(int no, int count, int total, size_t *len) {
    gguf_writer w;
    char name[32];
    gw_begin(&w);
    gw_u16(&w, "split.no", (uint16_t)no);
    gw_u16(&w, "split.count", (uint16_t)count);
    if (total >= 0) gw_i32(&w, "split.tensors.count", total);
    if (no == 0) gw_str(&w, "general.architecture", "llama");
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "t%d.%c", no, 'a' + i);
        gw_tensor_1d(&w, name, 0, (uint64_t)(5 + no), NULL);
    }
    return gw_finish(&w, len);
}
static oct_result gguf_parse_parts(unsigned char **files, const size_t *lens, int n, size_t *n_tensors, oct_error *err) {
    const oct_allocator a = gguf_malloc();
    oct_string parts[4];
    oct__gguf g;
    for (int i = 0; i < n; i++) {
        parts[i].data = (const char *)files[i];
        parts[i].len = lens[i];
    }
    memset(err, 0, sizeof *err);
    const oct_result r = oct__gguf_parse(&g, &a, parts, n, err);
    if (r) return r;
    gguf_touch(&g);
    *n_tensors = g.n_tensors;
    CHECK(oct__gguf_find(&g, "general.architecture") != NULL);
    oct__gguf_free(&g);
    return r;
}
TEST(gguf, split_parts) {
    unsigned char *files[3], *swapped[3], *odd;
    size_t lens[3], swapped_lens[3], n = 0, odd_len;
    oct_error err;
    for (int i = 0; i < 3; i++) files[i] = gguf_part(i, 3, 6, &lens[i]);
    CHECK_INT(gguf_parse_parts(files, lens, 3, &n, &err), OCT_OK);
    CHECK_INT(n, 6);
    CHECK_INT(gguf_parse_parts(files, lens, 2, &n, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "part 1 of 2: split.count is 3, expected 2");
    CHECK_INT(gguf_parse_parts(files, lens, 1, &n, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "split.count: 3 parts, found 1: open them as NAME-00001-of-00003.gguf, all in one folder");
    CHECK_INT(gguf_parse_parts(files + 1, lens + 1, 1, &n, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "split.no: this is part 2 of 3, expected the first: open NAME-00001-of-00003.gguf");
    for (int i = 0; i < 3; i++) {
        swapped[i] = files[i == 0 ? 0 : 3 - i];
        swapped_lens[i] = lens[i == 0 ? 0 : 3 - i];
    }
    CHECK_INT(gguf_parse_parts(swapped, swapped_lens, 3, &n, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "part 2 of 3: split.no is 2, expected 1");

    odd = gguf_part(0, 3, 7, &odd_len);           /* a wrong total */
    swapped[0] = odd;
    swapped_lens[0] = odd_len;
    swapped[1] = files[1];
    swapped_lens[1] = lens[1];
    swapped[2] = files[2];
    swapped_lens[2] = lens[2];
    CHECK_INT(gguf_parse_parts(swapped, swapped_lens, 3, &n, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "part 1 of 3: split.tensors.count is 7, expected 6, as many as the parts hold");
    free(odd);

    swapped[0] = files[0];
    swapped_lens[0] = lens[0];
    swapped_lens[2] = lens[2] - 5;                /* a part cut short */
    CHECK_INT(gguf_parse_parts(swapped, swapped_lens, 3, &n, &err), OCT_E_FORMAT);
    CHECK(strstr(err.message, "part 3 of 3: tensor 't2.b': 28 bytes") != NULL);
    for (int i = 0; i < 3; i++) free(files[i]);
}
TEST(gguf, split_tensor_in_two_parts) {
    unsigned char *files[2];
    size_t lens[2], n = 0;
    oct_error err;
    gguf_writer w;
    files[0] = gguf_part(0, 2, -1, &lens[0]);
    gw_begin(&w);
    gw_u16(&w, "split.no", 1);
    gw_u16(&w, "split.count", 2);
    gw_tensor_1d(&w, "t0.a", 0, 4, NULL);
    files[1] = gw_finish(&w, &lens[1]);
    CHECK_INT(gguf_parse_parts(files, lens, 2, &n, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "tensor 't0.a': found twice, as number 0 and number 2, expected once");
    free(files[0]);
    free(files[1]);
}
TEST(gguf, split_merged) {                        /* files merged from parts keep the keys: count 0 */
    gguf_writer w;
    gguf_small(&w);
    gw_u16(&w, "split.no", 0);
    gw_u16(&w, "split.count", 0);
    gguf_accept(&w);
}
TEST(gguf, split_by_path) {
    const char *first = test_tmp("m-00001-of-00003.gguf"), *second = test_tmp("m-00002-of-00003.gguf"),
               *third = test_tmp("m-00003-of-00003.gguf"), *alone = test_tmp("m.gguf");
    unsigned char *files[3];
    size_t lens[3];
    oct_error err;
    oct_model_desc d;
    gguf_watch watch = { 0, 0, 0 };
    memset(&d, 0, sizeof d);
    d.progress = gguf_watch_progress;
    d.progress_user = &watch;
    for (int i = 0; i < 3; i++) files[i] = gguf_part(i, 3, 6, &lens[i]);
    gguf_save(first, files[0], lens[0]);
    gguf_save(second, files[1], lens[1]);
    CHECK_INT(gguf_open_path(first, NULL, &err), OCT_E_IO);
    CHECK(strstr(err.message, "m-00003-of-00003.gguf': no such file") != NULL);
    gguf_save(third, files[2], lens[2]);
    CHECK_INT(gguf_open_path(first, NULL, &err), OCT_OK);
    d.no_mmap = 1;
    CHECK_INT(gguf_open_path(first, &d, &err), OCT_OK);
    CHECK(watch.last == 1.0f && watch.calls == 3);
    CHECK_INT(gguf_open_path(second, NULL, &err), OCT_E_FORMAT);
    CHECK(strstr(err.message, "part 2 of 3") && strstr(err.message, "-00001-of-00003.gguf"));
    gguf_save(alone, files[0], lens[0]);          /* the first part under a name of its own */
    CHECK_INT(gguf_open_path(alone, NULL, &err), OCT_E_FORMAT);
    CHECK(strstr(err.message, "split.count: 3 parts, found 1") != NULL);
    gguf_save(alone, files[1], lens[1]);
    CHECK_INT(gguf_open_path(alone, NULL, &err), OCT_E_FORMAT);
    CHECK(strstr(err.message, "part 2 of 3") != NULL);
    gguf_save(second, files[2], lens[2]);         /* the wrong part in its place */
    CHECK_INT(gguf_open_path(first, NULL, &err), OCT_E_FORMAT);
    CHECK_STR(err.message, "part 2 of 3: split.no is 2, expected 1");
    for (int i = 0; i < 3; i++) free(files[i]);
}
TEST(gguf, split_names) {
    int k = 0, n = 0;
    CHECK(oct__path_is_split("/a/b-00002-of-00010.gguf", &k, &n) && k == 2 && n == 10);
    CHECK(!oct__path_is_split("-00002-of-00010.gguf", &k, &n));
    CHECK(!oct__path_is_split("a-0002-of-00010.gguf", &k, &n));
    CHECK(!oct__path_is_split("a-00011-of-00010.gguf", &k, &n));
    CHECK(!oct__path_is_split("a-00000-of-00010.gguf", &k, &n));
    CHECK(!oct__path_is_split("a-0000x-of-00010.gguf", &k, &n));
    CHECK(!oct__path_is_split("a.gguf", &k, &n));
}
TEST(gguf, split_allocations_fail_once) {
    const char *first = test_tmp("f-00001-of-00002.gguf"), *second = test_tmp("f-00002-of-00002.gguf");
    unsigned char *files[2];
    size_t lens[2];
    oct_error err;
    oct_model_desc d;
    memset(&d, 0, sizeof d);
    d.no_mmap = 1;
    for (int i = 0; i < 2; i++) files[i] = gguf_part(i, 2, 4, &lens[i]);
    gguf_save(first, files[0], lens[0]);
    gguf_save(second, files[1], lens[1]);
    int done = 0;
    for (int fail = 1; fail < 50 && !done; fail++) {
        gguf_heap heap = { 0, fail, 0 };
        const oct_allocator a = gguf_heap_allocator(&heap);
        oct__source s;
        oct__gguf g;
        oct_result r = oct__source_open_path(&s, &a, first, &d, &err);
        if (!r) r = oct__gguf_parse(&g, &a, s.parts, s.n_parts, &err);
        if (!r) oct__gguf_free(&g);
        oct__source_close(&s);
        done = heap.calls < fail;
        CHECK_INT(r, done ? OCT_OK : OCT_E_MEMORY);
        CHECK_INT(heap.live, 0);
    }
    CHECK(done);
    free(files[0]);
    free(files[1]);
}

/* --- real files -------------------------------------------------------------------------------------------------------------- */

TEST(gguf, real_vocabularies) {
    static const struct { const char *file; uint64_t tokens; } files[] = {
        { "vocab/ggml-vocab-gpt-2.gguf", 50257 },   { "vocab/ggml-vocab-llama-bpe.gguf", 128256 },
        { "vocab/ggml-vocab-llama-spm.gguf", 32000 }, { "vocab/ggml-vocab-phi-3.gguf", 32064 },
        { "vocab/ggml-vocab-qwen2.gguf", 151936 },  { "vocab/ggml-vocab-refact.gguf", 49216 },
        { "vocab/ggml-vocab-starcoder.gguf", 49152 }, { "text/stories260K-f32.gguf", 512 },
    };
    const oct_allocator a = gguf_malloc();
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        oct_error err;
        oct__source s;
        oct__gguf g;
        const oct_meta *tokens = NULL;
        const char *path = test_data(files[i].file);
        if (!path) return;
        if (!CHECK_INT(oct__source_open_path(&s, &a, path, NULL, &err), OCT_OK)) return;
        double took = 1e9;
        for (int tries = 0; tries < 5 && took >= 0.1; tries++) {          /* the least: others may be busy */
            const double start = test_seconds();
            if (oct__gguf_parse(&g, &a, s.parts, s.n_parts, &err)) break;
            took = OCT__MIN(took, test_seconds() - start);
            oct__gguf_free(&g);
        }
        if (CHECK_INT(oct__gguf_parse(&g, &a, s.parts, s.n_parts, &err), OCT_OK)) {
            CHECK(took < 0.1);
            gguf_touch(&g);
            CHECK_INT(oct__gguf_array(&g, "tokenizer.ggml.tokens", OCT__META_STRING, 1, INT32_MAX, &tokens, &err), OCT_OK);
            if (CHECK(tokens != NULL)) CHECK_INT(tokens->count, files[i].tokens);
            oct__gguf_free(&g);
        }
        oct__source_close(&s);
    }
}

/* --- whole models from hostile files ----------------------------------------------------------------------------------------- */

/* A llama of one layer, 16 wide, over a vocabulary of bytes.  Keys and tensors named in `without` are left out, for a
 * test to write its own. */
enum { HOSTILE_EMBD = 16, HOSTILE_VOCAB = 3 + 256 + 2 };
typedef struct hostile { gguf_writer w; const char *without; } hostile;

static int hostile_keeps(const hostile *h, const char *name) { return !h->without || strcmp(h->without, name) != 0; }
static void hostile_u32(hostile *h, const char *key, uint32_t v) { if (hostile_keeps(h, key)) gw_u32(&h->w, key, v); }
static void hostile_f32(hostile *h, const char *key, float v) { if (hostile_keeps(h, key)) gw_f32(&h->w, key, v); }
static void hostile_keys(hostile *h, const char *without) {
    static const char *const special[] = { "<unk>", "<s>", "</s>" };
    float scores[HOSTILE_VOCAB];
    int32_t types[HOSTILE_VOCAB];
    gw_begin(&h->w);
    h->without = without;
    if (hostile_keeps(h, "general.architecture")) gw_str(&h->w, "general.architecture", "llama");
    hostile_u32(h, "llama.context_length", 64);
    hostile_u32(h, "llama.embedding_length", HOSTILE_EMBD);
    hostile_u32(h, "llama.block_count", 1);
    hostile_u32(h, "llama.feed_forward_length", 32);
    hostile_u32(h, "llama.attention.head_count", 2);
    hostile_u32(h, "llama.attention.head_count_kv", 1);
    hostile_u32(h, "llama.rope.dimension_count", 8);
    hostile_f32(h, "llama.rope.freq_base", 10000.0f);
    hostile_f32(h, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    if (hostile_keeps(h, "tokenizer.ggml.model")) gw_str(&h->w, "tokenizer.ggml.model", "llama");
    if (hostile_keeps(h, "tokenizer.ggml.tokens")) gw_array_strings(&h->w, "tokenizer.ggml.tokens", HOSTILE_VOCAB);
    for (int i = 0; i < HOSTILE_VOCAB; i++) {
        char byte[8];
        snprintf(byte, sizeof byte, "<0x%02X>", (unsigned)(i - 3) & 255u);
        const char *text = i < 3 ? special[i] : i < 259 ? byte : i == 259 ? "a" : "b";
        if (hostile_keeps(h, "tokenizer.ggml.tokens")) gw_array_item(&h->w, text, strlen(text));
        scores[i] = -(float)i;
        types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
    }
    if (hostile_keeps(h, "tokenizer.ggml.scores")) gw_array_f32(&h->w, "tokenizer.ggml.scores", scores, HOSTILE_VOCAB);
    if (hostile_keeps(h, "tokenizer.ggml.token_type")) gw_array_i32(&h->w, "tokenizer.ggml.token_type", types, HOSTILE_VOCAB);
    hostile_u32(h, "tokenizer.ggml.bos_token_id", 1);
    hostile_u32(h, "tokenizer.ggml.eos_token_id", 2);
}
static void hostile_tensor(hostile *h, const char *name, uint64_t cols, uint64_t rows) {
    if (!hostile_keeps(h, name)) return;
    if (rows == 0) gw_tensor_1d(&h->w, name, 0, cols, NULL);
    else gw_tensor_2d(&h->w, name, 0, cols, rows, NULL);
}
static void hostile_tensors(hostile *h, const char *without) {
    static const struct { const char *name; int cols, rows; } tensors[] = {
        { "token_embd.weight", 16, HOSTILE_VOCAB }, { "blk.0.attn_norm.weight", 16, 0 },     { "blk.0.attn_q.weight", 16, 16 },
        { "blk.0.attn_k.weight", 16, 8 },           { "blk.0.attn_v.weight", 16, 8 },        { "blk.0.attn_output.weight", 16, 16 },
        { "blk.0.ffn_norm.weight", 16, 0 },         { "blk.0.ffn_gate.weight", 16, 32 },     { "blk.0.ffn_up.weight", 16, 32 },
        { "blk.0.ffn_down.weight", 32, 16 },        { "output_norm.weight", 16, 0 },
    };
    h->without = without;
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++)
        hostile_tensor(h, tensors[i].name, (uint64_t)tensors[i].cols, (uint64_t)tensors[i].rows);
}
/* Opens, and runs what opens. */
static oct_result hostile_run(const unsigned char *file, size_t len, oct_error *err) {
    gguf_heap heap = { 0, 0, 0 };
    oct_model_desc d;
    oct_session_desc sd;
    oct_model *m = NULL;
    oct_session *s = NULL;
    oct_token t;
    const int32_t id = 3;
    memset(&d, 0, sizeof d);
    memset(&sd, 0, sizeof sd);
    memset(err, 0, sizeof *err);
    d.allocator = gguf_heap_allocator(&heap);
    sd.n_ctx = 8;
    sd.n_threads = 1;
    sd.raw = 1;
    const oct_result r = oct_model_open_memory(&m, file, len, &d, err);
    CHECK((r != OCT_OK) == (m == NULL));
    if (!r && CHECK_INT(oct_session_open(&s, m, &sd, err), OCT_OK)) {
        CHECK_INT(oct_feed_tokens(s, &id, 1, err), OCT_OK);
        for (int i = 0; i < 2 && oct_next(s, &t, err) == OCT_OK; i++) {}
    }
    oct_session_close(s);
    oct_model_close(m);
    CHECK_INT(heap.live, 0);
    return r;
}
static void hostile_refused(hostile *h, const char *name, const char *found, const char *wanted) {
    const char *words[3] = { name, found, wanted };
    size_t len;
    oct_error err;
    unsigned char *file = gw_finish(&h->w, &len);
    const oct_result r = hostile_run(file, len, &err);
    CHECK(r == OCT_E_FORMAT || r == OCT_E_UNSUPPORTED);
    for (int i = 0; i < 3; i++)
        if (words[i] && !CHECK(strstr(err.message, words[i]) != NULL)) printf("     \"%s\" is not in \"%s\"\n", words[i], err.message);
    free(file);
}
static void hostile_accepted(hostile *h) {
    size_t len;
    oct_error err;
    unsigned char *file = gw_finish(&h->w, &len);
    if (!CHECK_INT(hostile_run(file, len, &err), OCT_OK)) printf("     %s\n", err.message);
    free(file);
}
/* The model with this key changed. */
static void hostile_refuse_u32(const char *key, uint32_t v) {
    hostile h;
    char found[16];
    hostile_keys(&h, key);
    gw_u32(&h.w, key, v);
    hostile_tensors(&h, NULL);
    snprintf(found, sizeof found, "%u", v);
    hostile_refused(&h, NULL, found, "expected");
}
static void hostile_refuse_f32(const char *key, float v) {
    hostile h;
    hostile_keys(&h, key);
    gw_f32(&h.w, key, v);
    hostile_tensors(&h, NULL);
    hostile_refused(&h, key, NULL, "expected");
}
TEST(hostile, the_model_itself_runs) {
    hostile h;
    hostile_keys(&h, NULL);
    hostile_tensors(&h, NULL);
    hostile_accepted(&h);
}
TEST(hostile, block_count) {                      /* PR 25821: more layers than a fixed array holds */
    hostile_refuse_u32("llama.block_count", 0);
    hostile_refuse_u32("llama.block_count", 1025);
    hostile_refuse_u32("llama.block_count", 0x7FFFFFFF);
    hostile_refuse_u32("llama.block_count", 0xFFFFFFFFu);
    hostile h;
    hostile_keys(&h, "llama.block_count");
    gw_u32(&h.w, "llama.block_count", 2);         /* within bounds, but the second layer is not there */
    hostile_tensors(&h, NULL);
    hostile_refused(&h, "blk.1.", "missing", NULL);
}
TEST(hostile, head_count) {                       /* llama.cpp #24085: division by zero */
    hostile_refuse_u32("llama.attention.head_count", 0);
    hostile_refuse_u32("llama.attention.head_count", 0x80000000u);
    hostile_refuse_u32("llama.attention.head_count_kv", 0);
    hostile_refuse_u32("llama.attention.head_count_kv", 3);
    hostile_refuse_u32("llama.attention.head_count_kv", 0xFFFFFFFFu);
}
TEST(hostile, widths) {
    hostile_refuse_u32("llama.embedding_length", 0);
    hostile_refuse_u32("llama.embedding_length", 0xFFFFFFF0u);
    hostile_refuse_u32("llama.feed_forward_length", 0);
    hostile_refuse_u32("llama.feed_forward_length", 0xFFFFFFFFu);
    hostile_refuse_u32("llama.context_length", 0);
    hostile_refuse_u32("llama.context_length", 0xFFFFFFFFu);
    hostile_refuse_u32("llama.rope.dimension_count", 7);
    hostile_refuse_u32("llama.rope.dimension_count", 0x40000000u);
}
TEST(hostile, reals) {
    static const float bad[] = { 0.0f, -1.0f, NAN };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hostile_refuse_f32("llama.attention.layer_norm_rms_epsilon", bad[i]);
        hostile_refuse_f32("llama.rope.freq_base", bad[i]);
    }
    hostile_refuse_f32("llama.rope.freq_base", (float)HUGE_VAL);
}
/* What a file recommends for sampling is taken where the session says nothing; an integer key is an integer. */
TEST(hostile, sampling) {
    hostile        h;
    oct_model     *m = NULL;
    oct_error      err;
    size_t         len = 0;
    hostile_keys(&h, NULL);
    gw_i32(&h.w, "general.sampling.top_k", 40);
    gw_f32(&h.w, "general.sampling.temp", 0.5f);
    gw_f32(&h.w, "octavius.sampling.top_p", 0.75f);
    gw_f32(&h.w, "general.sampling.top_p", 0.25f);
    hostile_tensors(&h, NULL);
    unsigned char *file = gw_finish(&h.w, &len);
    if (CHECK_INT(oct_model_open_memory(&m, file, len, NULL, &err), OCT_OK)) {
        CHECK_INT(m->sampling.top_k, 40);
        CHECK(m->sampling.temperature == 0.5f && m->sampling.top_p == 0.75f && m->sampling.min_p == 0.0f);
    }
    oct_model_close(m);
    free(file);
    hostile_refuse_f32("general.sampling.temp", -1.0f);
    hostile_refuse_f32("general.sampling.top_p", 1.5f);
}
TEST(hostile, wrong_value_types) {
    static const char *const keys[] = { "general.architecture", "llama.context_length", "llama.embedding_length", "llama.block_count",
                                        "llama.attention.head_count_kv", "llama.attention.layer_norm_rms_epsilon",
                                        "tokenizer.ggml.model", "tokenizer.ggml.tokens" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        hostile h;
        hostile_keys(&h, keys[i]);
        gw_bool(&h.w, keys[i], 1);
        hostile_tensors(&h, NULL);
        hostile_refused(&h, keys[i], "bool", "expected");
    }
}
TEST(hostile, keys_missing) {
    static const char *const keys[] = { "general.architecture", "llama.embedding_length", "llama.block_count", "tokenizer.ggml.tokens" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        hostile h;
        hostile_keys(&h, keys[i]);
        hostile_tensors(&h, NULL);
        hostile_refused(&h, keys[i], "expected", NULL);
    }
}
TEST(hostile, architecture_unknown) {
    hostile h;
    hostile_keys(&h, "general.architecture");
    gw_str(&h.w, "general.architecture", "mamba%n%s");
    hostile_tensors(&h, NULL);
    hostile_refused(&h, "architecture", "mamba%n%s", "llama");
}
TEST(hostile, every_tensor_missing) {
    static const char *const names[] = { "token_embd.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight", "blk.0.attn_k.weight",
                                         "blk.0.attn_v.weight", "blk.0.attn_output.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight",
                                         "blk.0.ffn_down.weight", "output_norm.weight" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        hostile h;
        hostile_keys(&h, NULL);
        hostile_tensors(&h, names[i]);
        hostile_refused(&h, names[i], "missing", NULL);
    }
}
TEST(hostile, every_tensor_of_another_shape) {    /* CVE-2026-7482: dimensions that disagree with the model's */
    static const char *const names[] = { "token_embd.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight", "blk.0.attn_k.weight",
                                         "blk.0.attn_v.weight", "blk.0.attn_output.weight", "blk.0.ffn_norm.weight", "blk.0.ffn_gate.weight",
                                         "blk.0.ffn_up.weight", "blk.0.ffn_down.weight", "output_norm.weight" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        hostile h;
        hostile_keys(&h, NULL);
        hostile_tensors(&h, names[i]);
        gw_tensor_2d(&h.w, names[i], 0, 12, 5, NULL);
        hostile_refused(&h, names[i], "[12, 5", "expected");
    }
}
TEST(hostile, a_weight_of_a_type_we_lack) {
    hostile h;
    hostile_keys(&h, NULL);
    hostile_tensors(&h, "blk.0.ffn_up.weight");
    gw_tensor_2d(&h.w, "blk.0.ffn_up.weight", 26, 16, 32, NULL);
    hostile_refused(&h, "blk.0.ffn_up.weight", "I32", "expected");
}
TEST(hostile, special_ids_beyond_a_tiny_vocabulary) {      /* GHSA-g4cc-763q-h9h6: default special ids out of bounds */
    static const char *const keys[] = { "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.unknown_token_id",
                                        "tokenizer.ggml.eot_token_id", "tokenizer.ggml.padding_token_id" };
    static const uint32_t ids[] = { HOSTILE_VOCAB, 0x7FFFFFFF, 0xFFFFFFFFu };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        for (size_t k = 0; k < 3; k++) {
            hostile h;
            size_t len;
            oct_error err;
            hostile_keys(&h, keys[i]);
            gw_u32(&h.w, keys[i], ids[k]);
            hostile_tensors(&h, NULL);
            unsigned char *file = gw_finish(&h.w, &len);
            const oct_result r = hostile_run(file, len, &err);     /* no such token, or refused by name: both are safe */
            CHECK(r == OCT_OK || (r == OCT_E_FORMAT && strstr(err.message, keys[i])));
            free(file);
        }
}
TEST(hostile, one_bit_of_every_byte) {
    unsigned long long state = 7;
    hostile h;
    size_t len;
    oct_error err;
    hostile_keys(&h, NULL);
    hostile_tensors(&h, NULL);
    unsigned char *file = gw_finish(&h.w, &len);
    const size_t head = len < 9000 ? len : 9000;
    for (size_t i = 0; i < head; i++) {
        const unsigned bit = 1u << test_random(&state) % 8;
        file[i] = (unsigned char)(file[i] ^ bit);
        (void)hostile_run(file, len, &err);
        file[i] = (unsigned char)(file[i] ^ bit);
    }
    free(file);
}
