/* gguf_write.h - writes GGUF files as a stream: for converters, whose output may be larger than memory.  C11, libc and
 * octavius.h, which is included before this file.
 *
 *     gguf_out o;
 *     gguf_out_begin(&o, "model.gguf", force);
 *     gw_str(&o.head, "general.architecture", "llama");            // metadata, by the functions of gguf_writer.h
 *     gguf_out_tensor(&o, "token_embd.weight", BLOCKS_Q8_0, 2, ne);    // all tensors, in the order of their data
 *     gguf_out_write(&o, data, n);                                 // each one's data, in pieces of any size, or
 *     gguf_out_rows(&o, &rows);                                    // rows of F32, encoded here, by all threads
 *     if (gguf_out_close(&o)) fprintf(stderr, "%s\n", o.error);
 *
 * The data go to a name of their own in the same folder, which becomes the file's own when all is there: nothing half-made
 * is ever found under it, and whatever goes wrong removes it.  Every function returns 0, or non-zero and o.error says why,
 * in one line; the first fault stands, and all later calls return it: asking after the last one is enough.
 */
#ifndef OCTAVIUS_GGUF_WRITE_H
#define OCTAVIUS_GGUF_WRITE_H
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#if defined(_OPENMP)
#  include <omp.h>
#endif
#include "quants.h"
#include "gguf_writer.h"

typedef struct gguf_out_entry { char name[64]; int type; uint64_t bytes; } gguf_out_entry;

typedef struct gguf_out {
    gguf_writer     head;            /* metadata and tensor directory */
    char            path[4096], part[4128];
    int             force;
    gguf_out_entry *tensors;
    size_t          n_tensors, cap;
    uint64_t        offset;          /* of the next tensor declared, in the data section */
    FILE           *file;            /* NULL: nothing written yet */
    size_t          at;              /* the tensor being written */
    uint64_t        left;            /* of its bytes */
    uint64_t        done, total;     /* bytes of data, for the progress line */
    double          start, shown;
    int             show;            /* stderr is a terminal */
    int             failed;          /* the exit code that interfaces.md names for the fault, or 0 */
    char            error[4400];
} gguf_out;

/* --- interrupts ------------------------------------------------------------------------ */

static volatile sig_atomic_t gguf_out_signal;         /* all that the handler does is set this */

static void gguf_out_handler(int number) {
    signal(number, gguf_out_handler);
    gguf_out_signal = number;
}
/* An interrupt is answered between two pieces of data; a file over the limit is a failed write, not a death. */
static void gguf_out_catch_signals(void) {
    signal(SIGINT, gguf_out_handler);
    signal(SIGTERM, gguf_out_handler);
#if defined(SIGHUP)
    signal(SIGHUP, gguf_out_handler);
#endif
#if defined(SIGXFSZ)
    signal(SIGXFSZ, SIG_IGN);
#endif
}

/* --- faults, begin and end ------------------------------------------------------------------ */

/* Leaves nothing behind but the message.  Good at any time, and twice. */
static void gguf_out_drop(gguf_out *o) {
    if (o->file) {
        fclose(o->file);
        remove(o->part);
    }
    if (o->show && o->shown > 0) fprintf(stderr, "\r\033[K");
    o->file = NULL;
    o->shown = 0;
    free(o->tensors);
    o->tensors = NULL;
    gw_free(&o->head);
}
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static int gguf_out_fail(gguf_out *o, int exit_code, const char *format, ...) {
    va_list args;
    if (o->failed) return o->failed;
    va_start(args, format);
    vsnprintf(o->error, sizeof o->error, format, args);
    va_end(args);
    o->failed = exit_code;
    gguf_out_drop(o);
    return exit_code;
}
static int gguf_out_check_free(gguf_out *o) {
    struct stat there;
    if (stat(o->path, &there) != 0) return 0;
    if (!S_ISREG(there.st_mode)) return gguf_out_fail(o, 1, "%s: is there and no regular file, expected a new name", o->path);
    return o->force ? 0 : gguf_out_fail(o, 1, "%s: exists already (--force overwrites)", o->path);
}
/* Nothing is created yet, but a file that may not be overwritten is refused here. */
static int gguf_out_begin(gguf_out *o, const char *path, int force) {
    memset(o, 0, sizeof *o);
    gw_begin(&o->head);
    o->force = force;
    o->show = isatty(2);
    if (snprintf(o->path, sizeof o->path, "%s", path) >= (int)sizeof o->path)
        return gguf_out_fail(o, 1, "%.100s...: name too long", path);
    snprintf(o->part, sizeof o->part, "%s.part-%ld", path, (long)getpid());
    return gguf_out_check_free(o);
}

/* --- the tensor directory ----------------------------------------------------------------------- */

/* ne [n_dims], ne[0] contiguous, as in the file.  After all metadata if general.alignment is among them. */
static int gguf_out_tensor(gguf_out *o, const char *name, int type, int n_dims, const int64_t *ne) {
    const blocks_type *t = blocks_type_of(type);
    uint64_t shape[4], bytes, align = o->head.alignment;
    if (o->failed) return o->failed;
    if (strlen(name) >= 64)
        return gguf_out_fail(o, 1, "tensor '%s': the name has %zu bytes, expected at most 63", name, strlen(name));
    if (!t || n_dims < 1 || n_dims > 4)
        return gguf_out_fail(o, 1, "tensor '%s': type %d, %d dimensions: cannot be written", name, type, n_dims);
    for (int i = 0; i < n_dims; i++) {
        if (ne[i] < 1 || ne[i] > INT64_MAX >> 8)
            return gguf_out_fail(o, 1, "tensor '%s': dimension %d is %lld", name, i, (long long)ne[i]);
        shape[i] = (uint64_t)ne[i];
    }
    if (ne[0] % t->elems)
        return gguf_out_fail(o, 1, "tensor '%s': rows of %lld, expected a multiple of %d for %s", name, (long long)ne[0],
                             t->elems, t->name);
    bytes = (uint64_t)ne[0] / (uint64_t)t->elems * (uint64_t)t->bytes;
    for (int i = 1; i < n_dims; i++) {
        if (bytes > (uint64_t)(INT64_MAX >> 1) / shape[i]) return gguf_out_fail(o, 1, "tensor '%s': too large", name);
        bytes *= shape[i];
    }
    if (o->n_tensors == o->cap) {
        const size_t cap = o->cap ? 2 * o->cap : 256;
        gguf_out_entry *grown = (gguf_out_entry *)realloc(o->tensors, cap * sizeof *grown);
        if (!grown) return gguf_out_fail(o, 5, "directory of %zu tensors: no memory", cap);
        o->tensors = grown;
        o->cap = cap;
    }
    gguf_out_entry *e = &o->tensors[o->n_tensors++];
    snprintf(e->name, sizeof e->name, "%s", name);
    e->type = type;
    e->bytes = bytes;
    gw_info_raw(&o->head, name, strlen(name), (uint32_t)n_dims, shape, (uint32_t)type, o->offset);
    if (o->offset > INT64_MAX - bytes - align) return gguf_out_fail(o, 1, "tensor '%s': the file would be too large", name);
    o->offset = (o->offset + bytes + align - 1) / align * align;
    o->total += bytes;
    return 0;
}
/* A value as another file holds it. */
BLOCKS_FN void gguf_out_copy_meta(gguf_out *o, const oct_meta *m) {
    static const unsigned char sizes[13] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    const float single = (float)m->f;
    const void *value = m->type == GW_F32 ? (const void *)&single : m->type == GW_F64 ? (const void *)&m->f : (const void *)&m->u;
    gw_meta_raw(&o->head, m->key.data, m->key.len, (uint32_t)m->type, value,
                sizes[m->type]);     /* little-endian: low bytes first */
    if (m->type == GW_STRING) gw_put_string(&o->head.meta, m->s.data, m->s.len);
    if (m->type != GW_ARRAY) return;
    gw_put_u32(&o->head.meta, (uint32_t)m->item_type);
    gw_put_u64(&o->head.meta, m->count);
    gw_put(&o->head.meta, m->items, m->items_bytes);
}

/* The key of another file's metadata, but with this value. */
typedef struct gguf_out_u32 { const char *key; uint32_t value; } gguf_out_u32;

/* All of m's metadata in its order, ours [n] in the place of those with the same key, else at the end.  The parts of a split
 * file become one. */
BLOCKS_FN void gguf_out_copy_metas(gguf_out *o, const oct_model *m, const gguf_out_u32 *ours, int n) {
    unsigned done = 0;
    for (size_t i = 0; i < oct_model_meta_count(m); i++) {
        oct_meta meta;
        int      k = 0;
        oct_model_meta(m, i, &meta);
        while (k < n && (meta.key.len != strlen(ours[k].key) || memcmp(meta.key.data, ours[k].key, meta.key.len) != 0)) k++;
        if (k < n) {
            gw_u32(&o->head, ours[k].key, ours[k].value);
            done |= 1u << k;
        } else if (meta.key.len < 6 || memcmp(meta.key.data, "split.", 6) != 0) {
            gguf_out_copy_meta(o, &meta);
        }
        if (meta.key.len == 17 && memcmp(meta.key.data, "general.alignment", 17) == 0) o->head.alignment = (size_t)meta.u;
    }
    for (int k = 0; k < n; k++)
        if (!(done >> k & 1)) gw_u32(&o->head, ours[k].key, ours[k].value);
}
/* GGUF's names have at most 63 bytes. */
BLOCKS_FN void gguf_out_name(const oct_tensor *t, char name[64]) { snprintf(name, 64, "%.*s", (int)t->name.len, t->name.data); }

/* --- the data -------------------------------------------------------------------------------------- */

static double gguf_out_clock(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
/* A line that is written over, a few times a second, on a terminal only. */
static void gguf_out_progress(gguf_out *o) {
    const double now = o->show ? gguf_out_clock() : 0;
    if (now < o->shown + 0.1) return;
    o->shown = now;
    fprintf(stderr, "\r%3.0f%%  %-40.60s %6.0f MB/s\033[K", 100.0 * (double)o->done / ((double)o->total + 1),
            o->tensors[o->at].name,
            1e-6 * (double)o->done / (now - o->start + 1e-3));
}
static int gguf_out_put(gguf_out *o, const void *data, size_t n) {
    if (o->failed) return o->failed;
    errno = 0;
    if (n && fwrite(data, 1, n, o->file) != n)
        return gguf_out_fail(o, 1, "%s: cannot be written: %s; nothing is left of it", o->path,
                             errno ? strerror(errno) : "short write");
    return 0;
}
static int gguf_out_pad(gguf_out *o, uint64_t at) {
    static const unsigned char zeros[4096] = { 0 };
    uint64_t n = (o->head.alignment - at % o->head.alignment) % o->head.alignment;
    for (; n > sizeof zeros; n -= sizeof zeros)
        if (gguf_out_put(o, zeros, sizeof zeros)) return o->failed;
    return gguf_out_put(o, zeros, (size_t)n);
}
/* Creates the file and writes all that stands before the data.  Called by the first write. */
static int gguf_out_open(gguf_out *o) {
    gw_buf head = { NULL, 0, 0 };
    if (o->failed || o->file) return o->failed;
    if (o->n_tensors) o->left = o->tensors[0].bytes;
    o->start = gguf_out_clock();
    o->file = fopen(o->part, "wb");
    if (!o->file) return gguf_out_fail(o, 1, "%s: cannot be created: %s", o->part, strerror(errno));
    setvbuf(o->file, NULL, _IOFBF, 1 << 16);
    gw_put(&head, "GGUF\3\0\0\0", 8);
    gw_put_u64(&head, o->head.n_tensors);
    gw_put_u64(&head, o->head.n_meta);
    gguf_out_put(o, head.data, head.len);
    free(head.data);
    gguf_out_put(o, o->head.meta.data, o->head.meta.len);
    gguf_out_put(o, o->head.infos.data, o->head.infos.len);
    return o->failed ? o->failed : gguf_out_pad(o, 24 + o->head.meta.len + o->head.infos.len);
}
/* The next n bytes of the tensors' data, in the order in which they were declared; padding is added between them. */
static int gguf_out_write(gguf_out *o, const void *data, size_t n) {
    const char *p = (const char *)data;
    enum { PIECE = 1 << 24 };                           /* how often an interrupt is looked for */
    if (gguf_out_open(o)) return o->failed;
    while (n > 0 && !o->failed) {
        if (o->at == o->n_tensors) return gguf_out_fail(o, 1, "%s: more data than the tensors have", o->path);
        size_t some = n < o->left ? n : (size_t)o->left;
        if (some > PIECE) some = PIECE;
        if (gguf_out_signal) return gguf_out_fail(o, 130, "interrupted; %s is not written", o->path);
        if (gguf_out_put(o, p, some)) return o->failed;
        o->left -= some;
        o->done += some;
        p += some;
        n -= some;
        if (o->show) gguf_out_progress(o);
        if (o->left == 0) {
            if (gguf_out_pad(o, o->tensors[o->at].bytes)) return o->failed;
            if (++o->at < o->n_tensors) o->left = o->tensors[o->at].bytes;
        }
    }
    return o->failed;
}
/* The file gets its name.  Frees everything; o.error and o.failed stay. */
static int gguf_out_close(gguf_out *o) {
    if (gguf_out_open(o)) return o->failed;
    if (o->at < o->n_tensors)
        return gguf_out_fail(o, 1, "tensor '%s': %llu bytes are missing", o->tensors[o->at].name, (unsigned long long)o->left);
    if (gguf_out_signal) return gguf_out_fail(o, 130, "interrupted; %s is not written", o->path);
    if (gguf_out_check_free(o)) return o->failed;       /* it may have come meanwhile */
    FILE *file = o->file;
    o->file = NULL;
    if (fclose(file) != 0 || rename(o->part, o->path) != 0) {
        const int why = errno;
        remove(o->part);
        return gguf_out_fail(o, 1, "%s: cannot be written: %s; nothing is left of it", o->path, strerror(why));
    }
    gguf_out_drop(o);
    return 0;
}

/* --- rows that are encoded on the way ------------------------------------------------------------------ */

typedef struct gguf_rows {
    int64_t cols, rows;              /* of the tensor that comes next, rows: ne[1] * ne[2] * ne[3] */
    /* Row `row` as F32; 0, or non-zero: fault.  Called from several threads at once, for different rows. */
    int   (*read)(void *user, int64_t row, float *out /* [cols] */);
    void   *user;
    int     unmeasured;              /* non-zero: nobody asks for the error, which costs as much as the encoding */
    double  error2, size2;           /* comes back: sum of squared errors, sum of squares */
} gguf_rows;

BLOCKS_FN int gguf_rows_threads(void) {
#if defined(_OPENMP)
    return omp_get_max_threads();
#else
    return 1;
#endif
}
/* Rows [from, from + n): read into x, encoded into q, decoded into y [cols] for their error, which is added to sums [2].
 * Returns 0, or non-zero: *bad is the row that cannot be read, or where sums [0] is infinite, not be held. */
BLOCKS_FN int gguf_rows_some(const gguf_rows *r, int type, int64_t from, int64_t n, float *x, float *y, unsigned char *q,
                             double *sums, int64_t *bad) {
    const size_t bytes = blocks_row_bytes(type, r->cols);
    oct_tensor t;
    memset(&t, 0, sizeof t);
    t.type = type;
    t.n_dims = 1;
    t.ne[0] = r->cols;
    t.ne[1] = t.ne[2] = t.ne[3] = 1;
    t.bytes = bytes;
    for (int64_t i = 0; i < n; i++, q += bytes) {
        *bad = from + i;
        if (r->read(r->user, from + i, x)) return 1;
        if (!quants_row(type, x, q, r->cols)) sums[0] = (double)INFINITY;
        t.data = q;
        if (type != BLOCKS_F32 && !r->unmeasured && sums[0] < (double)INFINITY) {
            if (oct_tensor_row(&t, 0, y, NULL) != OCT_OK) return 1;
            quants_error(x, y, r->cols, sums);
        }
        if (blocks_type_of(type)->elems > 1 && !(sums[0] < (double)INFINITY)) {
            sums[0] = (double)INFINITY;
            return 1;
        }
    }
    return 0;
}
/* What a thread has done comes to the file in the order of the rows. */
BLOCKS_FN int gguf_rows_take(gguf_out *o, gguf_rows *r, const unsigned char *q, size_t bytes, const double *sums, int fault,
                             int64_t bad) {
    const gguf_out_entry *e = &o->tensors[o->at];
    if (fault && sums[0] < (double)INFINITY)
        return gguf_out_fail(o, 1, "tensor '%s': row %lld cannot be read", e->name, (long long)bad);
    if (fault)
        return gguf_out_fail(o, 1, "tensor '%s': row %lld holds numbers that are not finite, or too large for %s", e->name,
                             (long long)bad,
                             blocks_type_of(e->type)->name);
    r->error2 += sums[0];
    r->size2 += sums[1];
    return gguf_out_write(o, q, bytes);
}
/* OpenMP's own ordered regions spin, and on a busy machine take longer than the work. */
BLOCKS_FN void gguf_rows_wait(const int64_t *turn, int64_t mine) {
    const struct timespec nap = { 0, 30000 };
    while (__atomic_load_n(turn, __ATOMIC_ACQUIRE) != mine) nanosleep(&nap, NULL);
}
/* The whole next tensor, by all threads; the bytes do not depend on their number.  Numbers that are not finite, or that its
 * type cannot hold, are a fault for quantised types. */
BLOCKS_FN int gguf_out_rows(gguf_out *o, gguf_rows *r) {
    enum { ELEMS = 1 << 16 };                           /* at once, by one thread */
    if (gguf_out_open(o)) return o->failed;
    if (o->at == o->n_tensors || o->left != o->tensors[o->at].bytes)
        return gguf_out_fail(o, 1, "%s: rows come where no tensor begins", o->path);
    const int    type = o->tensors[o->at].type;
    const size_t bytes = blocks_row_bytes(type, r->cols), cols = (size_t)r->cols;
    if (bytes * (size_t)r->rows != o->left)
        return gguf_out_fail(o, 1, "tensor '%s': %lld rows of %lld, expected its %llu bytes", o->tensors[o->at].name,
                             (long long)r->rows,
                             (long long)r->cols, (unsigned long long)o->left);
    const int64_t  some = ELEMS / r->cols + 1, at_once = some < r->rows ? some : r->rows, batches = (r->rows + at_once - 1) / at_once;
    const int      n_threads = batches < gguf_rows_threads() ? (int)batches : gguf_rows_threads();
    float         *x = (float *)malloc((size_t)n_threads * 2 * cols * sizeof *x);
    unsigned char *q = (unsigned char *)malloc((size_t)n_threads * (size_t)at_once * bytes);
    int64_t        turn = 0;                            /* the batch that may be written */
    int            stop = 0;
    r->error2 = r->size2 = 0;
    if (!x || !q) {
        free(x);
        free(q);
        return gguf_out_fail(o, 5, "tensor '%s': no memory for %lld rows", o->tensors[o->at].name, (long long)at_once);
    }
#if defined(_OPENMP)
#  pragma omp parallel for schedule(static, 1) num_threads(n_threads)
#endif
    for (int64_t i = 0; i < batches; i++) {
        const int64_t from = i * at_once, n = r->rows - from < at_once ? r->rows - from : at_once;
        double  sums[2] = { 0, 0 };
        int64_t bad = 0;
        int     me = 0, fault = 0;
#if defined(_OPENMP)
        me = omp_get_thread_num();
#endif
        float         *mine = x + (size_t)me * 2 * cols;
        unsigned char *out = q + (size_t)me * (size_t)at_once * bytes;
        if (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
            fault = gguf_rows_some(r, type, from, n, mine, mine + cols, out, sums, &bad);
        gguf_rows_wait(&turn, i);
        if (!o->failed && gguf_rows_take(o, r, out, (size_t)n * bytes, sums, fault, bad)) __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
        __atomic_store_n(&turn, i + 1, __ATOMIC_RELEASE);
    }
    free(x);
    free(q);
    return o->failed;
}
#endif /* OCTAVIUS_GGUF_WRITE_H */
