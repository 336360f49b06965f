/* gguf_writer.h - makes GGUF files in memory, good and bad ones, for tests and tools.  C11 or C++17, libc only.
 *
 *     gguf_writer w;
 *     size_t len;
 *     gw_begin(&w);
 *     gw_str(&w, "general.architecture", "llama");
 *     gw_u32(&w, "llama.block_count", 2);
 *     gw_array_str(&w, "tokenizer.ggml.tokens", tokens, n);
 *     gw_tensor_2d(&w, "token_embd.weight", 0, 64, 32, data);     // type 0 = F32, ne = {64, 32}
 *     unsigned char *file = gw_finish(&w, &len);                  // free(file) when done
 *
 * Numbers and counts come out right by themselves.  To write something wrong, set the fields marked "to lie with"
 * before gw_finish, or use the _raw functions.  Out of memory ends the program: this is for tests and tools.
 */
#ifndef GGUF_WRITER_H
#define GGUF_WRITER_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GW_U8, GW_I8, GW_U16, GW_I16, GW_U32, GW_I32, GW_F32, GW_BOOL, GW_STRING, GW_ARRAY, GW_U64, GW_I64, GW_F64 };

typedef struct gw_buf { unsigned char *data; size_t len, cap; } gw_buf;

typedef struct gguf_writer {
    gw_buf   meta, infos, data;    /* the three sections, as they will stand in the file */
    uint64_t n_meta, n_tensors;    /* to lie with: add to them */
    uint32_t version;              /* to lie with */
    char     magic[4];             /* to lie with */
    size_t   alignment;            /* of the layout; written to the file by gw_alignment alone */
    size_t   last_offset_at;       /* where in infos the last tensor's offset stands (u64): to lie with */
    int      no_final_padding;     /* non-zero: the file ends with the last tensor's last byte */
    int      no_data;              /* non-zero: the file ends with the directory */
} gguf_writer;

static inline void gw_put(gw_buf *b, const void *data, size_t n) {
    if (b->len + n > b->cap) {
        b->cap = (b->len + n) * 2 + 64;
        b->data = (unsigned char *)realloc(b->data, b->cap);
        if (!b->data) {
            fprintf(stderr, "gguf_writer: no memory for %zu bytes\n", b->cap);
            exit(5);
        }
    }
    if (n && data) memcpy(b->data + b->len, data, n);
    else if (n) memset(b->data + b->len, 0, n);
    b->len += n;
}
static inline void gw_put_u32(gw_buf *b, uint32_t v) { gw_put(b, &v, sizeof v); }
static inline void gw_put_u64(gw_buf *b, uint64_t v) { gw_put(b, &v, sizeof v); }
static inline void gw_put_string(gw_buf *b, const char *s, size_t n) {
    gw_put_u64(b, n);
    gw_put(b, s, n);
}
static inline void gw_pad(gw_buf *b, size_t alignment) { gw_put(b, NULL, (alignment - b->len % alignment) % alignment); }

static inline void gw_begin(gguf_writer *w) {
    memset(w, 0, sizeof *w);
    memcpy(w->magic, "GGUF", 4);
    w->version = 3;
    w->alignment = 32;
}
static inline void gw_free(gguf_writer *w) {
    free(w->meta.data);
    free(w->infos.data);
    free(w->data.data);
    memset(w, 0, sizeof *w);
}

/* --- metadata ------------------------------------------------------------------ */

/* Any key, any type number, any bytes as its value. */
static inline void gw_meta_raw(gguf_writer *w, const char *key, size_t key_len, uint32_t type, const void *value, size_t n) {
    gw_put_string(&w->meta, key, key_len);
    gw_put_u32(&w->meta, type);
    gw_put(&w->meta, value, n);
    w->n_meta++;
}
static inline void gw_meta(gguf_writer *w, const char *key, uint32_t type, const void *value, size_t n) {
    gw_meta_raw(w, key, strlen(key), type, value, n);
}
static inline void gw_u8(gguf_writer *w, const char *key, uint8_t v)    { gw_meta(w, key, GW_U8, &v, sizeof v); }
static inline void gw_i8(gguf_writer *w, const char *key, int8_t v)     { gw_meta(w, key, GW_I8, &v, sizeof v); }
static inline void gw_u16(gguf_writer *w, const char *key, uint16_t v)  { gw_meta(w, key, GW_U16, &v, sizeof v); }
static inline void gw_i16(gguf_writer *w, const char *key, int16_t v)   { gw_meta(w, key, GW_I16, &v, sizeof v); }
static inline void gw_u32(gguf_writer *w, const char *key, uint32_t v)  { gw_meta(w, key, GW_U32, &v, sizeof v); }
static inline void gw_i32(gguf_writer *w, const char *key, int32_t v)   { gw_meta(w, key, GW_I32, &v, sizeof v); }
static inline void gw_u64(gguf_writer *w, const char *key, uint64_t v)  { gw_meta(w, key, GW_U64, &v, sizeof v); }
static inline void gw_i64(gguf_writer *w, const char *key, int64_t v)   { gw_meta(w, key, GW_I64, &v, sizeof v); }
static inline void gw_f32(gguf_writer *w, const char *key, float v)     { gw_meta(w, key, GW_F32, &v, sizeof v); }
static inline void gw_f64(gguf_writer *w, const char *key, double v)    { gw_meta(w, key, GW_F64, &v, sizeof v); }
static inline void gw_bool(gguf_writer *w, const char *key, int v) {
    const unsigned char byte = v != 0;
    gw_meta(w, key, GW_BOOL, &byte, 1);
}
static inline void gw_strn(gguf_writer *w, const char *key, const char *s, size_t n) {
    gw_meta(w, key, GW_STRING, NULL, 0);
    gw_put_string(&w->meta, s, n);
}
static inline void gw_str(gguf_writer *w, const char *key, const char *s) { gw_strn(w, key, s, strlen(s)); }

/* items [n] numbers of item_type, item_bytes each. */
static inline void gw_array(gguf_writer *w, const char *key, uint32_t item_type, const void *items, size_t n, size_t item_bytes) {
    gw_meta(w, key, GW_ARRAY, NULL, 0);
    gw_put_u32(&w->meta, item_type);
    gw_put_u64(&w->meta, n);
    gw_put(&w->meta, items, n * item_bytes);
}
static inline void gw_array_i32(gguf_writer *w, const char *key, const int32_t *v, size_t n)  { gw_array(w, key, GW_I32, v, n, 4); }
static inline void gw_array_u32(gguf_writer *w, const char *key, const uint32_t *v, size_t n) { gw_array(w, key, GW_U32, v, n, 4); }
static inline void gw_array_f32(gguf_writer *w, const char *key, const float *v, size_t n)    { gw_array(w, key, GW_F32, v, n, 4); }
/* An array of strings is begun with their number; then each is put with gw_array_item. */
static inline void gw_array_strings(gguf_writer *w, const char *key, uint64_t n) {
    gw_meta(w, key, GW_ARRAY, NULL, 0);
    gw_put_u32(&w->meta, GW_STRING);
    gw_put_u64(&w->meta, n);
}
static inline void gw_array_item(gguf_writer *w, const char *s, size_t n) { gw_put_string(&w->meta, s, n); }
static inline void gw_array_str(gguf_writer *w, const char *key, const char *const *s, size_t n) {
    gw_array_strings(w, key, n);
    for (size_t i = 0; i < n; i++) gw_array_item(w, s[i], strlen(s[i]));
}
/* Writes general.alignment and lays the data out by it. */
static inline void gw_alignment(gguf_writer *w, uint32_t alignment) {
    gw_u32(w, "general.alignment", alignment);
    w->alignment = alignment;
}

/* --- tensors ---------------------------------------------------------------------- */

/* A directory entry alone, as told; no data are added. */
static inline void gw_info_raw(gguf_writer *w, const char *name, size_t name_len, uint32_t n_dims, const uint64_t *ne,
                               uint32_t type, uint64_t offset) {
    gw_put_string(&w->infos, name, name_len);
    gw_put_u32(&w->infos, n_dims);
    gw_put(&w->infos, ne, n_dims * sizeof *ne);
    gw_put_u32(&w->infos, type);
    w->last_offset_at = w->infos.len;
    gw_put_u64(&w->infos, offset);
    w->n_tensors++;
}
/* data [bytes]; NULL: zeros. */
static inline void gw_tensor(gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims, const uint64_t *ne,
                             const void *data, size_t bytes) {
    gw_pad(&w->data, w->alignment);
    gw_info_raw(w, name, strlen(name), n_dims, ne, type, w->data.len);
    gw_put(&w->data, data, bytes);
}
/* Bytes of n elements in a row of this type; 0: not a type this writer knows. */
static inline size_t gw_row_bytes(uint32_t type, uint64_t n) {
    static const unsigned short blocks[][3] = {    /* type, elements, bytes */
        { 0, 1, 4 }, { 1, 1, 2 }, { 2, 32, 18 }, { 3, 32, 20 }, { 6, 32, 22 }, { 7, 32, 24 }, { 8, 32, 34 }, { 10, 256, 84 },
        { 11, 256, 110 }, { 12, 256, 144 }, { 13, 256, 176 }, { 14, 256, 210 }, { 20, 32, 18 }, { 17, 256, 74 }, { 24, 1, 1 },
        { 26, 1, 4 }, { 30, 1, 2 },
    };
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        if (blocks[i][0] == type) return (size_t)(n / blocks[i][1] * blocks[i][2]);
    return 0;
}
static inline void gw_tensor_1d(gguf_writer *w, const char *name, uint32_t type, uint64_t n, const void *data) {
    gw_tensor(w, name, type, 1, &n, data, gw_row_bytes(type, n));
}
/* rows of cols elements: ne = {cols, rows}. */
static inline void gw_tensor_2d(gguf_writer *w, const char *name, uint32_t type, uint64_t cols, uint64_t rows, const void *data) {
    const uint64_t ne[2] = { cols, rows };
    gw_tensor(w, name, type, 2, ne, data, gw_row_bytes(type, cols) * (size_t)rows);
}

/* --- the file ------------------------------------------------------------------------ */

/* The whole file, malloc'ed; the writer is freed. */
static inline unsigned char *gw_finish(gguf_writer *w, size_t *len) {
    gw_buf out = { NULL, 0, 0 };
    gw_put(&out, w->magic, 4);
    gw_put_u32(&out, w->version);
    gw_put_u64(&out, w->n_tensors);
    gw_put_u64(&out, w->n_meta);
    gw_put(&out, w->meta.data, w->meta.len);
    gw_put(&out, w->infos.data, w->infos.len);
    if (w->n_tensors && !w->no_data) {
        gw_pad(&out, w->alignment);
        gw_put(&out, w->data.data, w->data.len);
        if (!w->no_final_padding) gw_pad(&out, w->alignment);
    }
    gw_free(w);
    *len = out.len;
    return out.data;
}

#endif
