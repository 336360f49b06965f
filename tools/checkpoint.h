/* checkpoint.h - the tensors of checkpoint files, whatever they are kept in, by name.  On octavius.h's implementation.
 *
 *     checkpoint_open(&c, "folder or file", &err);
 *     for (i < c.n) c.tensors[i] ...
 *     checkpoint_use(&c, t, &err);  checkpoint_rows(t, first, n, out);  checkpoint_done(t);
 *
 * Files are mapped.  safetensors (one file, or an index over several), PyTorch's zip files, TorchScript archives, its older
 * stream of pickles, and plain dictionaries of numpy arrays.
 */
#ifndef OCT_TOOLS_CHECKPOINT_H
#define OCT_TOOLS_CHECKPOINT_H

#include "json.h"
#include "pickle.h"
#include "safetensors.h"
#include "zip.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__x86_64__)
#  include <immintrin.h>
#endif

typedef struct checkpoint_file {
    char                *path;
    const unsigned char *data;     /* [size], mapped */
    size_t               size;
    zip                  archive;
    pickle_value        *extra;    /* the whole value of a pickle: sizes may stand beside the tensors */
} checkpoint_file;
typedef struct checkpoint_tensor {
    oct_string           name;
    checkpoint_file     *file;
    pickle_dtype         dtype;
    int                  n_dims;
    size_t               shape[PICKLE_DIMS], stride[PICKLE_DIMS];  /* stride in elements */
    size_t               offset;   /* in elements, of what follows */
    const unsigned char *data;     /* [numel]; NULL: see member */
    size_t               numel;
    zip_member          *member;
    void                *owned;    /* a member unpacked, while in use */
    bool                 used;     /* the caller's: accounted for */
} checkpoint_tensor;
typedef struct checkpoint {
    pool               p;
    checkpoint_file   *files[256];
    int                n_files;
    checkpoint_tensor *tensors;
    size_t             n, cap;
    size_t             visits;     /* of values while names are gathered */
    names              by_name;
} checkpoint;

/* --- files ---------------------------------------------------------------------------------------- */

static inline bool file_exists(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}
static inline bool file_is_folder(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}
/* FOLDER/NAME in the pool; NULL: no memory. */
static inline char *file_in(pool *p, const char *folder, const char *name) {
    const size_t n = strlen(folder), m = strlen(name);
    char *path = POOL_NEW(p, char, n + m + 2);
    if (!path) return NULL;
    memcpy(path, folder, n);
    if (n && folder[n - 1] != '/') path[n] = '/';
    memcpy(path + strlen(path), name, m);
    return path;
}
/* An empty file is mapped to one byte that is not counted. */
static inline oct_result file_map(const char *path, const unsigned char **data, size_t *size, oct_error *err) {
    struct stat s;
    static const unsigned char none[1] = { 0 };
    const int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &s) != 0 || !S_ISREG(s.st_mode)) {
        if (fd >= 0) close(fd);
        return oct__fail(err, OCT_E_IO, "%s: cannot be read", path);
    }
    *size = (size_t)s.st_size;
    void *map = *size ? mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
#if defined(POSIX_MADV_SEQUENTIAL)
    if (map && map != MAP_FAILED) (void)posix_madvise(map, *size, POSIX_MADV_SEQUENTIAL);
#endif
    if (*size && map == MAP_FAILED) return oct__fail(err, OCT_E_IO, "%s: cannot be mapped", path);
    *data = *size ? (const unsigned char *)map : none;
    return OCT_OK;
}
static inline checkpoint_file *checkpoint_map(checkpoint *c, const char *path, oct_error *err) {
    checkpoint_file *f = POOL_NEW(&c->p, checkpoint_file, 1);
    if (!f || c->n_files == (int)(sizeof c->files / sizeof c->files[0])) {
        oct__fail(err, OCT_E_LIMIT, "%s: one file too many", path);
        return NULL;
    }
    f->path = file_in(&c->p, "", path);
    if (!f->path || file_map(path, &f->data, &f->size, err)) return NULL;
    c->files[c->n_files++] = f;
    return f;
}
static inline void checkpoint_close(checkpoint *c) {
    for (int i = 0; i < c->n_files; i++)
        if (c->files[i]->size) {
            union { const void *from; void *to; } map;     /* munmap takes no const */
            map.from = c->files[i]->data;
            munmap(map.to, c->files[i]->size);
        }
    pool_free(&c->p);
    c->n_files = 0;
    c->n = 0;
}
/* A small file as JSON; *out NULL where it does not exist. */
static inline oct_result checkpoint_json(checkpoint *c, const char *folder, const char *name, const json **out, oct_error *err) {
    *out = NULL;
    const char *path = file_in(&c->p, folder, name);
    if (!path) return oct__fail(err, OCT_E_MEMORY, "%s: no memory", name);
    if (!file_exists(path)) return OCT_OK;
    const checkpoint_file *f = checkpoint_map(c, path, err);
    return f ? json_parse(&c->p, (const char *)f->data, f->size, f->path, out, err) : err->code;
}

/* --- tensors ----------------------------------------------------------------------------------------- */

static inline checkpoint_tensor *checkpoint_add(checkpoint *c, checkpoint_file *f, oct_string name, oct_error *err) {
    void *tensors = c->tensors;
    const oct_string own = pool_copy(&c->p, name);
    if (!own.data || pool_grow(&c->p, &tensors, c->n, &c->cap, sizeof *c->tensors)) {
        oct__fail(err, OCT_E_MEMORY, "%s: no memory for its tensors", f->path);
        return NULL;
    }
    c->tensors = (checkpoint_tensor *)tensors;
    checkpoint_tensor *t = &c->tensors[c->n++];
    memset(t, 0, sizeof *t);
    t->name = own;
    t->file = f;
    return t;
}
static inline oct_result checkpoint_safetensors(checkpoint *c, checkpoint_file *f, oct_error *err) {
    safetensors s;
    const oct_result r = safetensors_open(&s, &c->p, f->data, f->size, f->path, err);
    if (r) return r;
    for (size_t i = 0; i < s.n; i++) {
        const safetensor *from = &s.tensors[i];
        checkpoint_tensor *t = checkpoint_add(c, f, from->name, err);
        if (!t) return err->code;
        t->dtype = from->dtype;
        t->n_dims = from->n_dims;
        t->data = s.data + from->begin;
        t->numel = (from->end - from->begin) / dtype_bytes[t->dtype];
        size_t all = 1;
        for (int d = t->n_dims - 1; d >= 0; d--) {
            t->shape[d] = from->shape[d];
            t->stride[d] = all;
            all *= from->shape[d];
        }
    }
    return OCT_OK;
}

/* Where the bytes of storages are: in the members of an archive, or one after another behind a stream of pickles. */
typedef struct checkpoint_storages {
    const char          *prefix;   /* of members: "archive/data/"; NULL: a stream */
    size_t               n_prefix;
    names                keys;
    const unsigned char **bytes;   /* [n]: of a stream */
    size_t              *numel;
} checkpoint_storages;

static inline oct_result checkpoint_storage(checkpoint *c, const checkpoint_storages *s, const pickle_value *v,
                                            checkpoint_tensor *t, oct_error *err) {
    const pickle_value *storage = v->storage;
    checkpoint_file *f = t->file;
    uint32_t at;
    t->numel = storage ? storage->numel : v->text.len / dtype_bytes[v->dtype];
    if (!storage || storage->bytes) {
        t->data = storage ? storage->bytes : (const unsigned char *)v->text.data;
        return OCT_OK;
    }
    if (!s->prefix) {
        if (!names_find(&s->keys, storage->text, &at) || s->numel[at] < t->numel)
            return oct__fail(err, OCT_E_FORMAT, "%s: tensor '%.*s': its storage '%.*s' is not there", f->path, OCT__S(t->name),
                             OCT__S(storage->text));
        t->data = s->bytes[at];
        return OCT_OK;
    }
    char *path = POOL_NEW(&c->p, char, s->n_prefix + storage->text.len + 1);
    oct_string name;
    if (!path) return oct__fail(err, OCT_E_MEMORY, "%s: no memory", f->path);
    memcpy(path, s->prefix, s->n_prefix);
    memcpy(path + s->n_prefix, storage->text.data, storage->text.len);
    name.data = path;
    name.len = s->n_prefix + storage->text.len;
    t->member = zip_find(&f->archive, name);
    if (!t->member)
        return oct__fail(err, OCT_E_FORMAT, "%s: tensor '%.*s': no member '%.*s'", f->path, OCT__S(t->name), OCT__S(name));
    if (t->numel > t->member->n_bytes / dtype_bytes[t->dtype] || t->member->n_bytes / dtype_bytes[t->dtype] > t->numel)
        return oct__fail(err, OCT_E_FORMAT, "%s: member '%.*s': %zu bytes, expected %zu numbers of %d", f->path, OCT__S(name),
                         t->member->n_bytes, t->numel, dtype_bytes[t->dtype]);
    return OCT_OK;
}
/* A tensor of the pickle, without its bytes. */
static inline void checkpoint_view(checkpoint_tensor *t, const pickle_value *v) {
    t->dtype = v->dtype;
    t->n_dims = v->n_dims;
    t->offset = v->offset;
    memcpy(t->shape, v->shape, sizeof t->shape);
    memcpy(t->stride, v->stride, sizeof t->stride);
}
static inline oct_result checkpoint_tensor_of(checkpoint *c, checkpoint_file *f, const checkpoint_storages *s, oct_string name,
                                              const pickle_value *v, oct_error *err) {
    checkpoint_tensor *t = checkpoint_add(c, f, name, err);
    if (!t) return err->code;
    checkpoint_view(t, v);
    return checkpoint_storage(c, s, v, t, err);
}
/* Names of nested dictionaries are joined by dots, as torch names parameters. */
enum { CHECKPOINT_PICKLE = 1 << 28, CHECKPOINT_NEST = 32, CHECKPOINT_VISITS = 4000000, CHECKPOINT_NAME = 400 };
static inline oct_result checkpoint_gather(checkpoint *c, checkpoint_file *f, const checkpoint_storages *s,
                                           const pickle_value *root, oct_error *err) {
    struct { const pickle_value *v; size_t at, len; } open[CHECKPOINT_NEST];
    char name[CHECKPOINT_NAME];
    int depth = 1;
    open[0].v = root;
    open[0].at = open[0].len = 0;
    while (depth > 0) {
        const pickle_value *v = open[depth - 1].v;
        const size_t i = open[depth - 1].at++, len = open[depth - 1].len;
        if (i == v->count) {
            depth--;
            continue;
        }
        if (++c->visits > CHECKPOINT_VISITS)
            return oct__fail(err, OCT_E_LIMIT, "%s: more than %d values", f->path, CHECKPOINT_VISITS);
        const pickle_value *key = v->items[2 * i], *item = v->items[2 * i + 1];
        if (key->kind != PICKLE_STRING || (item->kind != PICKLE_TENSOR && item->kind != PICKLE_DICT)) continue;
        const size_t dot = len ? 1 : 0, end = len + dot + key->text.len;
        if (end < len || end > sizeof name)
            return oct__fail(err, OCT_E_LIMIT, "%s: a name of more than %zu bytes", f->path, sizeof name);
        if (dot) name[len] = '.';
        if (key->text.len) memcpy(name + len + dot, key->text.data, key->text.len);
        if (item->kind == PICKLE_TENSOR) {
            oct_string full;
            full.data = name;
            full.len = end;
            const oct_result r = checkpoint_tensor_of(c, f, s, full, item, err);
            if (r) return r;
        } else if (depth == CHECKPOINT_NEST) {
            return oct__fail(err, OCT_E_LIMIT, "%s: dictionaries nested more than %d deep", f->path, CHECKPOINT_NEST);
        } else {
            open[depth].v = item;
            open[depth].at = 0;
            open[depth++].len = end;
        }
    }
    return OCT_OK;
}
/* The dictionary of parameters: the value itself, or what training programs keep beside the optimiser's state. */
static inline oct_result checkpoint_root(checkpoint *c, checkpoint_file *f, const checkpoint_storages *s, pickle_value *v,
                                         oct_error *err) {
    static const char *const inner[] = { "state_dict", "model", "module" };
    const pickle_value *root = v;
    f->extra = v;
    for (int i = 0; i < 3; i++) {
        const pickle_value *in = pickle_get(v, inner[i]);
        if (root == v && in && in->kind == PICKLE_DICT) root = in;
    }
    if (root->kind != PICKLE_DICT) return oct__fail(err, OCT_E_FORMAT, "%s: its pickle holds no dictionary of tensors", f->path);
    return checkpoint_gather(c, f, s, root, err);
}
static inline oct_result checkpoint_zip(checkpoint *c, checkpoint_file *f, oct_error *err) {
    checkpoint_storages s;
    pickle_reader reader;
    pickle_value *v = NULL;
    const unsigned char *bytes;
    void *owned;
    memset(&s, 0, sizeof s);
    oct_result r = zip_open(&f->archive, &c->p, f->data, f->size, f->path, err);
    if (r) return r;
    zip_member *m = zip_find_end(&f->archive, "/data.pkl");
    if (!m) return oct__fail(err, OCT_E_FORMAT, "%s: a zip archive without one data.pkl", f->path);
    if (m->n_bytes > CHECKPOINT_PICKLE)
        return oct__fail(err, OCT_E_LIMIT, "%s: a pickle of %zu bytes, expected at most %d", f->path, m->n_bytes,
                         CHECKPOINT_PICKLE);
    if ((r = zip_read(&f->archive, m, &bytes, &owned, err)) != OCT_OK) return r;
    if (owned) {                                           /* names point into it for as long as the checkpoint is open */
        unsigned char *keep = POOL_NEW(&c->p, unsigned char, m->n_bytes);
        if (keep) memcpy(keep, bytes, m->n_bytes);
        free(owned);
        bytes = keep;
        if (!keep) return oct__fail(err, OCT_E_MEMORY, "%s: no memory for its pickle", f->path);
    }
    s.n_prefix = m->name.len - strlen("data.pkl") + strlen("data/");
    char *prefix = POOL_NEW(&c->p, char, s.n_prefix + 8);
    if (!prefix) return oct__fail(err, OCT_E_MEMORY, "%s: no memory", f->path);
    memcpy(prefix, m->name.data, m->name.len - strlen("data.pkl"));
    memcpy(prefix + m->name.len - strlen("data.pkl"), "data/", 5);
    s.prefix = prefix;
    pickle_open(&reader, &c->p, bytes, m->n_bytes, f->path);
    if ((r = pickle_load(&reader, &v, err)) != OCT_OK) return r;
    return checkpoint_root(c, f, &s, v, err);
}
/* torch before 1.6: magic number, protocol, system, value, list of storage keys, then each storage's count and bytes. */
static inline oct_result checkpoint_stream(checkpoint *c, checkpoint_file *f, pickle_reader *r, oct_error *err) {
    checkpoint_storages s;
    pickle_value *v[4] = { NULL, NULL, NULL, NULL };
    names sizes;
    uint32_t element;
    memset(&s, 0, sizeof s);
    for (int i = 0; i < 3; i++) {                          /* protocol, system, value */
        const oct_result rc = pickle_load(r, &v[i], err);
        if (rc) return rc;
    }
    /* every storage was seen as some tensor's; the memo that knows them is overwritten by the next pickle */
    if (names_open(&sizes, &c->p, r->n_memo + r->depth)) return oct__fail(err, OCT_E_MEMORY, "%s: no memory", f->path);
    for (size_t i = 0; i < r->n_memo; i++) {
        const pickle_value *t = r->memo[i];
        if (t && t->kind == PICKLE_TENSOR && t->storage) t = t->storage;
        if (t && t->kind == PICKLE_STORAGE && !t->bytes) (void)names_add(&sizes, t->text, dtype_bytes[t->dtype]);
    }
    const oct_result rc = pickle_load(r, &v[3], err);
    if (rc) return rc;
    if (v[3]->kind != PICKLE_LIST) return oct__fail(err, OCT_E_FORMAT, "%s: no list of storages", f->path);
    s.bytes = POOL_NEW(&c->p, const unsigned char *, v[3]->count);
    s.numel = POOL_NEW(&c->p, size_t, v[3]->count);
    if (!s.bytes || !s.numel || names_open(&s.keys, &c->p, v[3]->count))
        return oct__fail(err, OCT_E_MEMORY, "%s: no memory", f->path);
    for (size_t i = 0; i < v[3]->count; i++) {
        const pickle_value *key = v[3]->items[i];
        if (key->kind != PICKLE_STRING || !names_find(&sizes, key->text, &element) || r->end - r->at < 8)
            return oct__fail(err, OCT_E_FORMAT, "%s: storage %zu of %zu: no tensor's, or cut", f->path, i, v[3]->count);
        const uint64_t n = oct__u64(r->at), left = (uint64_t)(r->end - r->at) - 8;
        if (n > left / element || !names_add(&s.keys, key->text, (uint32_t)i))
            return oct__fail(err, OCT_E_FORMAT, "%s: storage '%.*s': %llu numbers, but %llu bytes are left", f->path,
                             OCT__S(key->text), (unsigned long long)n, (unsigned long long)left);
        s.bytes[i] = r->at + 8;
        s.numel[i] = (size_t)n;
        r->at += 8 + (size_t)n * element;
    }
    return checkpoint_root(c, f, &s, v[2], err);
}
/* A file that begins as a pickle: torch's older stream if it begins with its magic number, else one plain value. */
static inline oct_result checkpoint_pickle(checkpoint *c, checkpoint_file *f, oct_error *err) {
    pickle_reader r;
    pickle_value *v = NULL;
    checkpoint_storages none;
    memset(&none, 0, sizeof none);
    pickle_open(&r, &c->p, f->data, f->size, f->path);
    const oct_result rc = pickle_load(&r, &v, err);
    if (rc) return rc;
    if (pickle_is_magic(v)) return checkpoint_stream(c, f, &r, err);
    return checkpoint_root(c, f, &none, v, err);
}
static inline oct_result checkpoint_file_open(checkpoint *c, const char *path, oct_error *err) {
    checkpoint_file *f = checkpoint_map(c, path, err);
    if (!f) return err->code;
    if (zip_is(f->data, f->size)) return checkpoint_zip(c, f, err);
    if (f->size >= 2 && f->data[0] == 0x80 && f->data[1] >= 1 && f->data[1] <= 5) return checkpoint_pickle(c, f, err);
    if (f->size >= 9 && f->data[8] == '{') return checkpoint_safetensors(c, f, err);
    return oct__fail(err, OCT_E_FORMAT, "%s: neither safetensors nor a PyTorch file", path);
}

/* --- folders ------------------------------------------------------------------------------------------- */

/* The files that an index names, each once. */
static inline oct_result checkpoint_index(checkpoint *c, const char *folder, const json *index, oct_error *err) {
    const json *map = json_get(index, "weight_map");
    names seen;
    if (!map || map->kind != JSON_OBJECT || names_open(&seen, &c->p, map->count))
        return oct__fail(err, OCT_E_FORMAT, "%s: an index without weight_map", folder);
    for (const json *m = map->first; m; m = m->next) {
        if (m->kind != JSON_STRING || memchr(m->text.data, '/', m->text.len) || m->text.len > 200)
            return oct__fail(err, OCT_E_FORMAT, "%s: an index with '%.*s' for a file", folder, OCT__S(m->text));
        if (!names_add(&seen, m->text, 0)) continue;
        const oct_string name = pool_copy(&c->p, m->text);
        const char *path = name.data ? file_in(&c->p, folder, name.data) : NULL;
        const oct_result r = path ? checkpoint_file_open(c, path, err) : oct__fail(err, OCT_E_MEMORY, "%s: no memory", folder);
        if (r) return r;
    }
    return OCT_OK;
}
static inline bool name_ends(const char *name, const char *end) {
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}
/* The weights of a folder, as transformers looks for them. */
static inline oct_result checkpoint_folder(checkpoint *c, const char *folder, oct_error *err) {
    static const char *const known[] = { "model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json",
                                         "pytorch_model.bin" };
    static const char *const ends[] = { ".safetensors", ".bin", ".pt", ".pth" };
    for (int i = 0; i < 4; i++) {
        const char *path = file_in(&c->p, folder, known[i]);
        const json *index;
        if (!path || !file_exists(path)) continue;
        if (!name_ends(path, ".json")) return checkpoint_file_open(c, path, err);
        const oct_result r = checkpoint_json(c, folder, known[i], &index, err);
        return r ? r : checkpoint_index(c, folder, index, err);
    }
    for (int i = 0; i < 4; i++) {                          /* other names: one file of that kind */
        DIR *d = opendir(folder);
        char *found = NULL;
        int n = 0;
        for (const struct dirent *e; d && (e = readdir(d)) != NULL;)
            if (name_ends(e->d_name, ends[i]) && strcmp(e->d_name, "training_args.bin") != 0) {
                found = file_in(&c->p, folder, e->d_name);
                n++;
            }
        if (d) closedir(d);
        if (n == 1 && found) return checkpoint_file_open(c, found, err);
        if (n > 1) return oct__fail(err, OCT_E_FORMAT, "%s: %d files *%s and no index", folder, n, ends[i]);
    }
    return oct__fail(err, OCT_E_IO, "%s: no safetensors and no PyTorch file", folder);
}
static inline oct_result checkpoint_open(checkpoint *c, const char *path, oct_error *err) {
    memset(c, 0, sizeof *c);
    oct_result r = file_is_folder(path) ? checkpoint_folder(c, path, err) : checkpoint_file_open(c, path, err);
    if (r) return r;
    if (names_open(&c->by_name, &c->p, c->n)) return oct__fail(err, OCT_E_MEMORY, "%s: no memory", path);
    for (size_t i = 0; i < c->n; i++)
        if (!names_add(&c->by_name, c->tensors[i].name, (uint32_t)i))
            return oct__fail(err, OCT_E_FORMAT, "%s: two tensors named '%.*s'", path, OCT__S(c->tensors[i].name));
    return OCT_OK;
}

/* --- numbers ----------------------------------------------------------------------------------------------- */

/* Before rows are taken: finds, unpacks and checks the bytes. */
static inline oct_result checkpoint_use(checkpoint_tensor *t, oct_error *err) {
    if (!t->member || t->data) return OCT_OK;
    return zip_read(&t->file->archive, t->member, &t->data, &t->owned, err);
}
static inline void checkpoint_done(checkpoint_tensor *t) {
    if (!t->member) return;
    free(t->owned);
    t->owned = NULL;
    t->data = NULL;
}
static inline float checkpoint_number(const checkpoint_tensor *t, size_t i) {
    const unsigned char *p = t->data + i * dtype_bytes[t->dtype];
    switch (t->dtype) {
    case DT_F32: return oct__f32(p);
    case DT_F16: return oct__f16_to_f32(oct__u16(p));
    case DT_BF16: return oct__bf16_to_f32(oct__u16(p));
    case DT_F64: return (float)oct__f64(p);
    case DT_I64: return (float)(int64_t)oct__u64(p);
    case DT_I32: return (float)(int32_t)oct__u32(p);
    case DT_I16: return (float)(int16_t)oct__u16(p);
    case DT_I8: return (float)(signed char)*p;
    default: return (float)*p;
    }
}
/* CHECKPOINT_PIECE halves to F32: loops of fixed length, which compilers turn into vectors. */
enum { CHECKPOINT_PIECE = 64 };
static inline void checkpoint_bf16(const unsigned char *p, float *out) {
    uint16_t h[CHECKPOINT_PIECE];
    uint32_t bits[CHECKPOINT_PIECE];
    memcpy(h, p, sizeof h);
    for (int k = 0; k < CHECKPOINT_PIECE; k++) bits[k] = (uint32_t)h[k] << 16;
    memcpy(out, bits, sizeof bits);
}
/* As a float with too small an exponent, which one multiplication mends, subnormal halves too. */
static inline void checkpoint_f16(const unsigned char *p, float *out) {
    uint16_t h[CHECKPOINT_PIECE];
    uint32_t bits[CHECKPOINT_PIECE];
    memcpy(h, p, sizeof h);
    for (int k = 0; k < CHECKPOINT_PIECE; k++) bits[k] = (uint32_t)(h[k] & 0x7FFF) << 13;
    memcpy(out, bits, sizeof bits);
    for (int k = 0; k < CHECKPOINT_PIECE; k++) out[k] *= 0x1p112f;
    memcpy(bits, out, sizeof bits);
    for (int k = 0; k < CHECKPOINT_PIECE; k++)
        bits[k] = (bits[k] | (uint32_t)(h[k] & 0x8000) << 16) | ((h[k] & 0x7C00) == 0x7C00 ? 0x7F800000u : 0u);
    memcpy(out, bits, sizeof bits);
}
#if defined(__x86_64__)
__attribute__((target("avx2,f16c")))
static inline size_t checkpoint_halves_avx2(pickle_dtype type, const unsigned char *p, size_t n, float *out) {
    size_t k = 0;
    for (; n - k >= 8; k += 8) {
        __m128i h;
        memcpy(&h, p + 2 * k, sizeof h);
        _mm256_storeu_ps(out + k, type == DT_F16 ? _mm256_cvtph_ps(h)
                                                 : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)));
    }
    return k;
}
#endif
/* F16 or BF16 to F32; how many of n were done. */
static inline size_t checkpoint_halves(pickle_dtype type, const unsigned char *p, size_t n, float *out) {
    size_t k = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return checkpoint_halves_avx2(type, p, n, out);
#endif
    for (; n - k >= CHECKPOINT_PIECE; k += CHECKPOINT_PIECE) {
        if (type == DT_F16) checkpoint_f16(p + 2 * k, out + k);
        else checkpoint_bf16(p + 2 * k, out + k);
    }
    return k;
}
/* n numbers from index i of the storage on, one after another. */
static inline void checkpoint_run(const checkpoint_tensor *t, size_t i, size_t n, float *out) {
    const unsigned char *p = t->data + i * dtype_bytes[t->dtype];
    size_t k = 0;
    if (t->dtype == DT_F32) {
        memcpy(out, p, n * sizeof *out);
        return;
    }
    if (t->dtype == DT_F16 || t->dtype == DT_BF16) k = checkpoint_halves(t->dtype, p, n, out);
    for (; k < n; k++) out[k] = checkpoint_number(t, i + k);
}
/* Row `row` of the tensor seen as [rows, cols], cols being its last dimensions taken together. */
static inline void checkpoint_row(const checkpoint_tensor *t, size_t row, size_t cols, float *out) {
    size_t all = 1, flat = row * cols;
    bool plain = true;
    for (int d = t->n_dims - 1; d >= 0; d--) {
        plain = plain && (t->shape[d] == 1 || t->stride[d] == all);
        all *= t->shape[d];
    }
    if (plain) {
        checkpoint_run(t, t->offset + flat, cols, out);
        return;
    }
    size_t index[PICKLE_DIMS];
    const int last = t->n_dims - 1;
    for (int d = last; d >= 0; d--) {
        index[d] = flat % t->shape[d];
        flat /= t->shape[d];
    }
    for (size_t k = 0; k < cols;) {                        /* along the last dimension, as far as it goes */
        const size_t run = OCT__MIN(cols - k, t->shape[last] - index[last]);
        size_t at = t->offset;
        for (int d = 0; d <= last; d++) at += index[d] * t->stride[d];
        for (size_t i = 0; i < run; i++, at += t->stride[last]) out[k++] = checkpoint_number(t, at);
        index[last] += run;
        for (int d = last; d > 0 && index[d] == t->shape[d]; d--) {
            index[d] = 0;
            index[d - 1]++;
        }
    }
}

#endif
