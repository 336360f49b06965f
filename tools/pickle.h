/* pickle.h - Python pickles as plain data.  On octavius.h's implementation and pool.h.
 *
 *     pickle_reader r;
 *     pickle_open(&r, &pool, bytes, n, "data.pkl");
 *     if (pickle_load(&r, &value, &err)) ...          (again for the next pickle of the same stream)
 *
 * Nothing is ever imported, called or instantiated.  What a pickle would call is known by name, and only tensors, numpy
 * values, OrderedDicts and the like, argparse Namespaces (as dictionaries) and TorchScript's modules (likewise) come out of
 * it; any other call is an error that names it.  No function here recurses, so nesting costs no stack; but for a storage that
 * comes along as a whole stream of its own, which may hold no other.
 */
#ifndef OCT_TOOLS_PICKLE_H
#define OCT_TOOLS_PICKLE_H

#include "pool.h"

enum { PICKLE_DIMS = 8 };
typedef enum pickle_kind {
    PICKLE_NONE, PICKLE_BOOL, PICKLE_INT, PICKLE_REAL, PICKLE_STRING, PICKLE_BYTES, PICKLE_LIST, PICKLE_DICT, PICKLE_GLOBAL,
    PICKLE_STORAGE, PICKLE_TENSOR, PICKLE_DTYPE
} pickle_kind;
typedef enum pickle_dtype {        /* of storages and tensors */
    DT_NONE, DT_F32, DT_F16, DT_BF16, DT_F64, DT_I64, DT_I32, DT_I16, DT_I8, DT_U8, DT_BOOL
} pickle_dtype;
static const unsigned char dtype_bytes[] = { 0, 4, 2, 2, 8, 8, 4, 2, 1, 1, 1 };

typedef struct pickle_value pickle_value;
struct pickle_value {
    pickle_kind    kind;
    bool           tuple;          /* of a list */
    int64_t        integer;        /* of a bool too */
    double         real;
    oct_string     text;           /* string, bytes, storage key; a global's module and name with a dot between */
    pickle_value **items;          /* [count] of a list; [2 * count] of a dictionary: key, value, ... */
    size_t         count, cap;
    /* storages and tensors */
    pickle_dtype   dtype;
    pickle_value  *storage;        /* of a tensor; NULL: a numpy array, whose bytes are in text */
    const unsigned char *bytes;    /* of a storage that came along; NULL: they are elsewhere */
    size_t         numel;          /* of a storage, and of what it lies in */
    size_t         offset;         /* in elements */
    int            n_dims;
    size_t         shape[PICKLE_DIMS], stride[PICKLE_DIMS];    /* stride in elements */
};

typedef struct pickle_reader {
    pool                *p;
    const unsigned char *at, *begin, *end;
    const char          *file;
    oct_error           *err;
    pickle_value       **stack;
    size_t               depth, stack_cap;
    size_t              *marks;    /* heights of the stack */
    size_t               n_marks, marks_cap;
    pickle_value       **memo;
    size_t               n_memo, memo_cap;
    pickle_value        *none;
    size_t               copied;   /* items from one dictionary or list into another */
    bool                 inside;   /* a storage's own stream is read */
} pickle_reader;

static inline void pickle_open(pickle_reader *r, pool *p, const unsigned char *data, size_t size, const char *file) {
    memset(r, 0, sizeof *r);
    r->p = p;
    r->at = r->begin = data;
    r->end = data + size;
    r->file = file;
}
static inline oct_result pickle_fail(const pickle_reader *r, const char *why) {
    return oct__fail(r->err, OCT_E_FORMAT, "%s: pickle, byte %zu: %s", r->file, (size_t)(r->at - r->begin), why);
}
static inline oct_result pickle_memory(const pickle_reader *r) {
    return oct__fail(r->err, OCT_E_MEMORY, "%s: no memory for what the pickle holds", r->file);
}

/* --- values ---------------------------------------------------------------------------------------- */

static inline pickle_value *pickle_new(const pickle_reader *r, pickle_kind kind) {
    pickle_value *v = POOL_NEW(r->p, pickle_value, 1);
    if (v) v->kind = kind;
    return v;
}
static inline oct_result pickle_push(pickle_reader *r, pickle_value *v) {
    void *stack = r->stack;
    if (!v || pool_grow(r->p, &stack, r->depth, &r->stack_cap, sizeof *r->stack)) return pickle_memory(r);
    r->stack = (pickle_value **)stack;
    r->stack[r->depth++] = v;
    return OCT_OK;
}
/* How many values stand above the last mark. */
static inline size_t pickle_above(const pickle_reader *r) { return r->depth - (r->n_marks ? r->marks[r->n_marks - 1] : 0); }
static inline pickle_value *pickle_pop(pickle_reader *r) { return pickle_above(r) ? r->stack[--r->depth] : NULL; }
static inline pickle_value *pickle_top(const pickle_reader *r) { return pickle_above(r) ? r->stack[r->depth - 1] : NULL; }
static inline oct_result pickle_append(const pickle_reader *r, pickle_value *to, pickle_value *v) {
    void *items = to->items;
    if (pool_grow(r->p, &items, to->count, &to->cap, sizeof *to->items)) return pickle_memory(r);
    to->items = (pickle_value **)items;
    to->items[to->count++] = v;
    return OCT_OK;
}
static inline oct_result pickle_set(const pickle_reader *r, pickle_value *dict, pickle_value *key, pickle_value *value) {
    void *items = dict->items;
    while (dict->cap < 2 * dict->count + 2)
        if (pool_grow(r->p, &items, dict->cap, &dict->cap, sizeof *dict->items)) return pickle_memory(r);
    dict->items = (pickle_value **)items;
    dict->items[2 * dict->count] = key;
    dict->items[2 * dict->count + 1] = value;
    dict->count++;
    return OCT_OK;
}
/* As pickle_set, for items that stand elsewhere already.  A pickle that copies more than it could hold multiplies itself. */
static inline oct_result pickle_copy(pickle_reader *r, pickle_value *dict, pickle_value *key, pickle_value *value) {
    if (++r->copied > (size_t)(r->end - r->begin)) return pickle_fail(r, "copies more than it holds");
    return pickle_set(r, dict, key, value);
}
/* The value under a text key; NULL: not there, or not a dictionary. */
static inline pickle_value *pickle_get(const pickle_value *dict, const char *key) {
    const oct_string k = oct__str(key);
    for (size_t i = dict && dict->kind == PICKLE_DICT ? dict->count : 0; i-- > 0;)
        if (dict->items[2 * i]->kind == PICKLE_STRING && oct__str_same(dict->items[2 * i]->text, k))
            return dict->items[2 * i + 1];
    return NULL;
}
static inline bool pickle_size(const pickle_value *v, size_t *out) {
    if (!v || v->kind != PICKLE_INT || v->integer < 0) return false;
    *out = (size_t)v->integer;
    return true;
}

/* --- tensors ----------------------------------------------------------------------------------------- */

static inline pickle_dtype pickle_dtype_named(oct_string name) {
    static const struct { const char *name; pickle_dtype type;
    } known[] = { { "torch.FloatStorage", DT_F32 },
                  { "torch.HalfStorage", DT_F16 },
                  { "torch.BFloat16Storage", DT_BF16 },
                  { "torch.DoubleStorage", DT_F64 },
                  { "torch.LongStorage", DT_I64 },
                  { "torch.IntStorage", DT_I32 },
                  { "torch.ShortStorage", DT_I16 },
                  { "torch.CharStorage", DT_I8 },
                  { "torch.ByteStorage", DT_U8 },
                  { "torch.BoolStorage", DT_BOOL },
                  { "torch.storage.UntypedStorage", DT_U8 },
                  { "f4", DT_F32 },
                  { "f2", DT_F16 },
                  { "f8", DT_F64 },
                  { "i8", DT_I64 },
                  { "i4", DT_I32 },
                  { "i2", DT_I16 },
                  { "i1", DT_I8 },
                  { "u1", DT_U8 },
                  { "b1", DT_BOOL } };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (oct__str_is(name, known[i].name)) return known[i].type;
    return DT_NONE;
}
/* ('storage', class, key, device, numel[, view]) */
static inline oct_result pickle_persistent(pickle_reader *r) {
    const pickle_value *id = pickle_pop(r);
    if (!id || id->kind != PICKLE_LIST || id->count < 5 || id->items[1]->kind != PICKLE_GLOBAL ||
        id->items[2]->kind != PICKLE_STRING)
        return pickle_fail(r, "a persistent id that is no torch storage");
    pickle_value *v = pickle_new(r, PICKLE_STORAGE);
    if (!v) return pickle_memory(r);
    v->dtype = pickle_dtype_named(id->items[1]->text);
    v->text = id->items[2]->text;
    if (v->dtype == DT_NONE)
        return oct__fail(r->err, OCT_E_UNSUPPORTED, "%s: pickle: a storage of class '%.*s'", r->file, OCT__S(id->items[1]->text));
    if (!pickle_size(id->items[4], &v->numel)) return pickle_fail(r, "a storage without a size");
    if (id->count < 6 || id->items[5]->kind == PICKLE_NONE) return pickle_push(r, v);
    const pickle_value *view = id->items[5];
    if (view->kind != PICKLE_LIST || view->count != 3 || !pickle_size(view->items[1], &v->offset))
        return pickle_fail(r, "a spoilt view of a storage");
    return pickle_push(r, v);
}
/* Sizes and strides from two tuples, and that the tensor lies within numel elements. */
static inline oct_result pickle_extent(const pickle_reader *r, pickle_value *t, const pickle_value *shape,
                                       const pickle_value *stride, size_t numel) {
    size_t last = t->offset, all = 1;
    if (!shape || shape->kind != PICKLE_LIST || (stride && (stride->kind != PICKLE_LIST || stride->count != shape->count)) ||
        shape->count > PICKLE_DIMS)
        return pickle_fail(r, "a tensor without a shape, or of more than 8 dimensions");
    t->n_dims = (int)shape->count;
    for (int i = t->n_dims - 1; i >= 0; i--) {
        size_t span;
        t->stride[i] = all;
        if (!pickle_size(shape->items[i], &t->shape[i]) || (stride && !pickle_size(stride->items[i], &t->stride[i])))
            return pickle_fail(r, "a negative size or stride");
        if (oct__mul(&all, all, t->shape[i])) return pickle_fail(r, "a tensor of more elements than can be counted");
        if (t->shape[i] && (oct__mul(&span, t->shape[i] - 1, t->stride[i]) || oct__add(&last, last, span)))
            return pickle_fail(r, "a tensor larger than its storage");
    }
    if (all && last >= numel) return pickle_fail(r, "a tensor larger than its storage");
    return OCT_OK;
}
/* torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...) */
static inline oct_result pickle_tensor(pickle_reader *r, const pickle_value *args) {
    pickle_value *t = pickle_new(r, PICKLE_TENSOR);
    if (!t) return pickle_memory(r);
    if (args->count < 4 || args->items[0]->kind != PICKLE_STORAGE || !pickle_size(args->items[1], &t->offset))
        return pickle_fail(r, "a tensor without a storage");
    t->storage = args->items[0];
    t->dtype = t->storage->dtype;
    if (oct__add(&t->offset, t->offset, t->storage->offset)) return pickle_fail(r, "a tensor larger than its storage");
    const size_t numel = t->storage->numel > SIZE_MAX - t->storage->offset ? 0 : t->storage->numel + t->storage->offset;
    const oct_result rc = pickle_extent(r, t, args->items[2], args->items[3], numel);
    return rc ? rc : pickle_push(r, t);
}
/* The state of a numpy array: (version, shape, dtype, fortran, bytes). */
static inline oct_result pickle_array(const pickle_reader *r, pickle_value *t, const pickle_value *state) {
    if (state->kind != PICKLE_LIST || state->count != 5 || state->items[2]->kind != PICKLE_DTYPE ||
        state->items[4]->kind != PICKLE_BYTES)
        return pickle_fail(r, "a numpy array of an unknown form");
    t->dtype = state->items[2]->dtype;
    t->text = state->items[4]->text;
    if (state->items[3]->kind == PICKLE_BOOL && state->items[3]->integer && state->items[1]->kind == PICKLE_LIST &&
        state->items[1]->count > 1)
        return pickle_fail(r, "a numpy array in Fortran's order");
    if (t->dtype == DT_NONE) return pickle_fail(r, "a numpy array of an unknown type");
    return pickle_extent(r, t, state->items[1], NULL, t->text.len / dtype_bytes[t->dtype]);
}

/* --- what a pickle would call -------------------------------------------------------------------------- */

static inline bool pickle_is(const pickle_value *global, const char *names_) {         /* "a.b|c.d" */
    const oct_string all = oct__str(names_);
    for (size_t at = 0, end; at < all.len; at = end + 1) {
        oct_string one;
        for (end = at; end < all.len && all.data[end] != '|'; end++) {}
        one.data = all.data + at;
        one.len = end - at;
        if (oct__str_same(one, global->text)) return true;
    }
    return false;
}
static inline bool pickle_module(const pickle_value *global) {
    return global->text.len > 9 && memcmp(global->text.data, "__torch__", 9) == 0;
}
/* UTF-8 text whose code points stand for bytes: how Python 3's protocol 2 writes bytes. */
static inline oct_result pickle_latin1(pickle_reader *r, oct_string text) {
    pickle_value *v = pickle_new(r, PICKLE_BYTES);
    char *out = POOL_NEW(r->p, char, text.len);
    size_t n = 0;
    if (!v || !out) return pickle_memory(r);
    for (size_t i = 0; i < text.len;) {
        int32_t cp;
        i += (size_t)oct__utf8_decode(text.data + i, text.len - i, &cp);
        if (cp < 0 || cp > 255) return pickle_fail(r, "text that does not stand for bytes");
        out[n++] = (char)(unsigned char)cp;
    }
    v->text.data = out;
    v->text.len = n;
    return pickle_push(r, v);
}
static inline oct_result pickle_scalar(pickle_reader *r, const pickle_value *args) {
    if (args->count != 2 || args->items[0]->kind != PICKLE_DTYPE || args->items[1]->kind != PICKLE_BYTES)
        return pickle_fail(r, "a spoilt numpy number");
    const pickle_dtype type = args->items[0]->dtype;
    const oct_string raw = args->items[1]->text;
    if (type == DT_NONE || raw.len < dtype_bytes[type]) return pickle_fail(r, "a numpy number of an unknown type");
    pickle_value *v = pickle_new(r, type == DT_F32 || type == DT_F64 || type == DT_F16 ? PICKLE_REAL : PICKLE_INT);
    if (!v) return pickle_memory(r);
    if (type == DT_F64) v->real = oct__f64(raw.data);
    else if (type == DT_F32) v->real = (double)oct__f32(raw.data);
    else if (type == DT_F16) v->real = (double)oct__f16_to_f32(oct__u16(raw.data));
    else if (type == DT_I64) v->integer = (int64_t)oct__u64(raw.data);
    else if (type == DT_I32) v->integer = (int32_t)oct__u32(raw.data);
    else if (type == DT_I16) v->integer = (int16_t)oct__u16(raw.data);
    else v->integer = type == DT_I8 ? (signed char)raw.data[0] : (unsigned char)raw.data[0];
    return pickle_push(r, v);
}
/* A dictionary from the pairs of a list, as OrderedDict and dict take them. */
static inline oct_result pickle_dict(pickle_reader *r, const pickle_value *args) {
    pickle_value *d = pickle_new(r, PICKLE_DICT);
    if (!d) return pickle_memory(r);
    const pickle_value *pairs = args->count ? args->items[0] : NULL;
    for (size_t i = 0; pairs && pairs->kind == PICKLE_LIST && i < pairs->count; i++) {
        const pickle_value *pair = pairs->items[i];
        if (pair->kind != PICKLE_LIST || pair->count != 2) return pickle_fail(r, "a dictionary from something else than pairs");
        const oct_result rc = pickle_copy(r, d, pair->items[0], pair->items[1]);
        if (rc) return rc;
    }
    return pickle_push(r, d);
}
static inline oct_result pickle_load(pickle_reader *r, pickle_value **out, oct_error *err);
enum { PICKLE_STREAM_MEMORY = 1 << 20 };
static inline bool pickle_is_magic(const pickle_value *v) {            /* of torch's stream of pickles */
    return v->kind == PICKLE_INT && (uint64_t)v->integer == 0xA86A20F9469CFC6Cu;
}
/* Reads torch's stream: magic number, protocol, system, a storage, list of its one key; behind them a count and the bytes. */
static inline oct_result pickle_stream_storage(const pickle_reader *r, pickle_reader *in, pickle_value *to) {
    pickle_value *v[5];
    for (int i = 0; i < 5; i++) {
        const oct_result rc = pickle_load(in, &v[i], r->err);
        if (rc) return rc;
    }
    if (!pickle_is_magic(v[0]) || v[3]->kind != PICKLE_STORAGE || v[4]->kind != PICKLE_LIST || v[4]->count != 1 ||
        in->end - in->at < 8)
        return pickle_fail(r, "bytes that are no storage of torch's");
    const size_t left = ((size_t)(in->end - in->at) - 8) / dtype_bytes[v[3]->dtype];
    if (v[3]->offset > left || v[3]->numel > left - v[3]->offset || oct__u64(in->at) > left)
        return pickle_fail(r, "a storage larger than its bytes");
    to->dtype = v[3]->dtype;
    to->numel = v[3]->numel;
    to->offset = v[3]->offset;
    to->bytes = in->at + 8;
    return OCT_OK;
}
/* torch.storage._load_from_bytes(bytes): how a tensor is pickled without torch.save. */
static inline oct_result pickle_stream(pickle_reader *r, const pickle_value *args) {
    pool own = { NULL, 0, PICKLE_STREAM_MEMORY };          /* a file may hold a hundred thousand of these */
    pickle_reader in;
    pickle_value *v = pickle_new(r, PICKLE_STORAGE);
    if (!v) return pickle_memory(r);
    if (r->inside || args->count != 1 || args->items[0]->kind != PICKLE_BYTES)
        return pickle_fail(r, "a storage from something else than bytes, or within another");
    pickle_open(&in, &own, (const unsigned char *)args->items[0]->text.data, args->items[0]->text.len, r->file);
    in.inside = true;
    const oct_result rc = pickle_stream_storage(r, &in, v);
    pool_free(&own);
    return rc ? rc : pickle_push(r, v);
}
static inline oct_result pickle_call(pickle_reader *r, const pickle_value *f, const pickle_value *args) {
    if (!f || !args || f->kind != PICKLE_GLOBAL || args->kind != PICKLE_LIST)
        return pickle_fail(r, "a call of something that has no name");
    if (pickle_is(f, "torch._utils._rebuild_tensor_v2|torch._utils._rebuild_tensor")) return pickle_tensor(r, args);
    if (pickle_is(f, "torch.storage._load_from_bytes")) return pickle_stream(r, args);
    if (pickle_is(f, "collections.OrderedDict|builtins.dict|__builtin__.dict|argparse.Namespace|collections.defaultdict") ||
        pickle_module(f))
        return pickle_is(f, "collections.defaultdict") || pickle_module(f) ? pickle_push(r, pickle_new(r, PICKLE_DICT))
                                                                           : pickle_dict(r, args);
    if (pickle_is(f, "numpy.core.multiarray.scalar|numpy._core.multiarray.scalar")) return pickle_scalar(r, args);
    if (pickle_is(f, "numpy.core.multiarray._reconstruct|numpy._core.multiarray._reconstruct")) {
        pickle_value *t = pickle_new(r, PICKLE_TENSOR);    /* its state follows */
        if (t) t->shape[0] = 0, t->n_dims = 1, t->stride[0] = 1, t->dtype = DT_U8;
        return pickle_push(r, t);
    }
    if (pickle_is(f, "numpy.dtype") && args->count && args->items[0]->kind == PICKLE_STRING) {
        pickle_value *t = pickle_new(r, PICKLE_DTYPE);
        if (t) t->dtype = pickle_dtype_named(args->items[0]->text);
        return pickle_push(r, t);
    }
    if (pickle_is(f, "_codecs.encode") && args->count && args->items[0]->kind == PICKLE_STRING)
        return pickle_latin1(r, args->items[0]->text);
    if (pickle_is(
            f,
            "torch._utils._rebuild_parameter|torch.jit._pickle.build_intlist|torch.jit._pickle.build_tensorlist|"
            "torch.jit._pickle.build_doublelist|torch.jit._pickle.build_boollist|torch.jit._pickle.restore_type_tag|"
            "torch.serialization._get_layout|torch.device|torch.Size|builtins.set|__builtin__.set|builtins.list|builtins.tuple"))
        return pickle_push(r, args->count ? args->items[0] : pickle_new(r, PICKLE_LIST));
    if (pickle_is(f, "copyreg._reconstructor|copy_reg._reconstructor") && args->count && args->items[0]->kind == PICKLE_GLOBAL &&
        pickle_is(args->items[0], "argparse.Namespace"))
        return pickle_push(r, pickle_new(r, PICKLE_DICT));
    return oct__fail(r->err, OCT_E_UNSUPPORTED, "%s: pickle: it wants to call '%.*s', and only tensors and plain data are read",
                     r->file, OCT__S(f->text));
}
/* State for what was built: dictionaries take it in, arrays are made of it, everything else has none that matters. */
static inline oct_result pickle_build(pickle_reader *r) {
    const pickle_value *state = pickle_pop(r);
    pickle_value *v = pickle_top(r);
    if (!state || !v) return pickle_fail(r, "a state for nothing");
    if (v->kind == PICKLE_TENSOR && !v->storage) return pickle_array(r, v, state);
    if (v->kind != PICKLE_DICT) return OCT_OK;
    for (size_t i = 0; state->kind == PICKLE_DICT && i < state->count; i++) {
        if (state->items[2 * i]->kind == PICKLE_STRING && oct__str_is(state->items[2 * i]->text, "_metadata")) continue;
        const oct_result rc = pickle_copy(r, v, state->items[2 * i], state->items[2 * i + 1]);
        if (rc) return rc;
    }
    return OCT_OK;
}

/* --- bytes of the stream ---------------------------------------------------------------------------------- */

static inline const unsigned char *pickle_bytes(pickle_reader *r, uint64_t n) {
    const unsigned char *p = r->at;
    if ((uint64_t)(r->end - r->at) < n) return NULL;
    r->at += n;
    return p;
}
static inline bool pickle_line(pickle_reader *r, oct_string *out) {
    const unsigned char *end = (const unsigned char *)memchr(r->at, '\n', (size_t)(r->end - r->at));
    if (!end) return false;
    out->data = (const char *)r->at;
    out->len = (size_t)(end - r->at);
    r->at = end + 1;
    return true;
}
/* A little-endian number of n bytes, unsigned. */
static inline bool pickle_number(pickle_reader *r, int n, uint64_t *out) {
    const unsigned char *p = pickle_bytes(r, (uint64_t)n);
    *out = 0;
    for (int i = 0; p && i < n; i++) *out |= (uint64_t)p[i] << 8 * i;
    return p != NULL;
}
static inline oct_result pickle_cut(const pickle_reader *r) { return pickle_fail(r, "ends early"); }
static inline oct_result pickle_int(pickle_reader *r, pickle_kind kind, int64_t v) {
    pickle_value *x = pickle_new(r, kind);
    if (x) x->integer = v;
    return pickle_push(r, x);
}
/* Text or bytes behind a length of n bytes. */
static inline oct_result pickle_text(pickle_reader *r, pickle_kind kind, int n) {
    uint64_t len;
    const unsigned char *p = pickle_number(r, n, &len) ? pickle_bytes(r, len) : NULL;
    pickle_value *v = pickle_new(r, kind);
    if (!p) return pickle_cut(r);
    if (!v) return pickle_memory(r);
    v->text.data = (const char *)p;
    v->text.len = (size_t)len;
    return pickle_push(r, v);
}
/* Two's complement of n bytes; beyond 64 bits only its lowest are kept, which is enough to know torch's magic number by. */
static inline oct_result pickle_long(pickle_reader *r, uint64_t n) {
    const unsigned char *p = pickle_bytes(r, n);
    uint64_t v = 0;
    if (!p) return pickle_cut(r);
    for (uint64_t i = 0; i < 8; i++) v |= (uint64_t)(i < n ? p[i] : n && (p[n - 1] & 0x80) ? 255 : 0) << 8 * i;
    return pickle_int(r, PICKLE_INT, (int64_t)v);
}
static inline oct_result pickle_global(pickle_reader *r, oct_string module, oct_string name) {
    pickle_value *v = pickle_new(r, PICKLE_GLOBAL);
    char *text = POOL_NEW(r->p, char, module.len + name.len + 2);
    if (!v || !text) return pickle_memory(r);
    memcpy(text, module.data, module.len);
    text[module.len] = '.';
    memcpy(text + module.len + 1, name.data, name.len);
    v->text.data = text;
    v->text.len = module.len + name.len + 1;
    return pickle_push(r, v);
}
static inline oct_result pickle_remember(pickle_reader *r, uint64_t at) {
    pickle_value *v = pickle_top(r);
    if (!v) return pickle_fail(r, "nothing to remember");
    if (at > (uint64_t)(r->at - r->begin) + 16) return pickle_fail(r, "a memo number larger than the pickle");
    void *memo = r->memo;
    while (r->memo_cap <= at) {
        if (pool_grow(r->p, &memo, r->memo_cap, &r->memo_cap, sizeof *r->memo)) return pickle_memory(r);
        r->memo = (pickle_value **)memo;
    }
    if (r->n_memo <= at) r->n_memo = (size_t)at + 1;
    r->memo[at] = v;
    return OCT_OK;
}
static inline oct_result pickle_recall(pickle_reader *r, uint64_t at) {
    if (at >= r->n_memo || !r->memo[at]) return pickle_fail(r, "a memo that was never written");
    return pickle_push(r, r->memo[at]);
}
static inline oct_result pickle_mark(pickle_reader *r) {
    void *marks = r->marks;
    if (pool_grow(r->p, &marks, r->n_marks, &r->marks_cap, sizeof *r->marks)) return pickle_memory(r);
    r->marks = (size_t *)marks;
    r->marks[r->n_marks++] = r->depth;
    return OCT_OK;
}
/* The n topmost values as a list that takes their place. */
static inline oct_result pickle_gather(pickle_reader *r, size_t n, bool tuple) {
    pickle_value *v = pickle_new(r, PICKLE_LIST);
    if (!v) return pickle_memory(r);
    if (pickle_above(r) < n) return pickle_fail(r, "an empty stack");
    v->tuple = tuple;
    v->items = POOL_NEW(r->p, pickle_value *, n);
    if (!v->items) return pickle_memory(r);
    memcpy(v->items, r->stack + r->depth - n, n * sizeof *v->items);
    v->count = v->cap = n;
    r->depth -= n;
    return pickle_push(r, v);
}
/* What stands above the mark goes into the value below it; without a mark, `loose` values. */
static inline oct_result pickle_into(pickle_reader *r, pickle_kind kind, size_t loose) {
    size_t n = loose;
    if (!loose) {
        if (!r->n_marks) return pickle_fail(r, "no mark");
        n = pickle_above(r);
        r->n_marks--;
    }
    if (pickle_above(r) < n + 1) return pickle_fail(r, "an empty stack");
    pickle_value *to = r->stack[r->depth - n - 1], **v = r->stack + r->depth - n;
    if (to->kind != kind)
        return pickle_fail(r, kind == PICKLE_DICT ? "items for something that is no dictionary"
                                                  : "items for something that is no list");
    oct_result rc = OCT_OK;
    if (kind == PICKLE_DICT && n % 2) return pickle_fail(r, "a key without a value");
    for (size_t i = 0; !rc && i < n; i += kind == PICKLE_DICT ? 2 : 1)
        rc = kind == PICKLE_DICT ? pickle_set(r, to, v[i], v[i + 1]) : pickle_append(r, to, v[i]);
    r->depth -= n;
    return rc;
}
static inline oct_result pickle_marked(pickle_reader *r, pickle_kind kind) {           /* TUPLE, LIST, DICT */
    if (!r->n_marks) return pickle_fail(r, "no mark");
    const size_t n = pickle_above(r);
    r->n_marks--;
    if (kind != PICKLE_DICT) return pickle_gather(r, n, kind == PICKLE_NONE);
    oct_result rc = OCT_OK;
    pickle_value *d = pickle_new(r, PICKLE_DICT);
    if (!d) return pickle_memory(r);
    if (n % 2) return pickle_fail(r, "a key without a value");
    for (size_t i = 0; !rc && i < n; i += 2) rc = pickle_set(r, d, r->stack[r->depth - n + i], r->stack[r->depth - n + i + 1]);
    r->depth -= n;
    return rc ? rc : pickle_push(r, d);
}
static inline oct_result pickle_decimal(pickle_reader *r, bool real) {
    char text[64], *stop;
    oct_string line;
    if (!pickle_line(r, &line)) return pickle_cut(r);
    if (line.len == 2 && line.data[0] == '0' && (line.data[1] == '0' || line.data[1] == '1'))
        return pickle_int(r, PICKLE_BOOL, line.data[1] - '0');
    if (line.len && line.data[line.len - 1] == 'L') line.len--;
    if (line.len == 0 || line.len >= sizeof text) return pickle_fail(r, "a number of an unknown form");
    memcpy(text, line.data, line.len);
    text[line.len] = 0;
    pickle_value *v = pickle_new(r, real ? PICKLE_REAL : PICKLE_INT);
    if (!v) return pickle_memory(r);
    if (real) v->real = strtod(text, &stop);
    else v->integer = strtoll(text, &stop, 10);
    return *stop ? pickle_fail(r, "a number of an unknown form") : pickle_push(r, v);
}

/* --- the machine --------------------------------------------------------------------------------------------- */

static inline oct_result pickle_simple(pickle_reader *r, int op, bool *known) {
    uint64_t n;
    *known = true;
    switch (op) {
    case 'N': return pickle_push(r, r->none);
    case 0x88: return pickle_int(r, PICKLE_BOOL, 1);
    case 0x89: return pickle_int(r, PICKLE_BOOL, 0);
    case 'K': return pickle_number(r, 1, &n) ? pickle_int(r, PICKLE_INT, (int64_t)n) : pickle_cut(r);
    case 'M': return pickle_number(r, 2, &n) ? pickle_int(r, PICKLE_INT, (int64_t)n) : pickle_cut(r);
    case 'J': return pickle_number(r, 4, &n) ? pickle_int(r, PICKLE_INT, (int32_t)(uint32_t)n) : pickle_cut(r);
    case 0x8A: return pickle_number(r, 1, &n) ? pickle_long(r, n) : pickle_cut(r);
    case 0x8B: return pickle_number(r, 4, &n) ? pickle_long(r, n) : pickle_cut(r);
    case 'I': case 'L': return pickle_decimal(r, false);
    case 'F': return pickle_decimal(r, true);
    case 'X': return pickle_text(r, PICKLE_STRING, 4);
    case 0x8C: return pickle_text(r, PICKLE_STRING, 1);
    case 0x8D: return pickle_text(r, PICKLE_STRING, 8);
    case 'U': return pickle_text(r, PICKLE_STRING, 1);
    case 'T': return pickle_text(r, PICKLE_STRING, 4);
    case 'C': return pickle_text(r, PICKLE_BYTES, 1);
    case 'B': return pickle_text(r, PICKLE_BYTES, 4);
    case 0x8E: case 0x96: return pickle_text(r, PICKLE_BYTES, 8);
    case ']': return pickle_push(r, pickle_new(r, PICKLE_LIST));
    case '}': return pickle_push(r, pickle_new(r, PICKLE_DICT));
    case 0x8F: return pickle_push(r, pickle_new(r, PICKLE_LIST));
    case ')': return pickle_gather(r, 0, true);
    case 0x85: return pickle_gather(r, 1, true);
    case 0x86: return pickle_gather(r, 2, true);
    case 0x87: return pickle_gather(r, 3, true);
    default: *known = false; return OCT_OK;
    }
}
static inline oct_result pickle_op(pickle_reader *r, int op) {
    uint64_t n;
    bool known;
    oct_string module, name;
    const oct_result simple = pickle_simple(r, op, &known);
    if (known) return simple;
    switch (op) {
    case 0x80: return pickle_number(r, 1, &n) ? n <= 5 ? OCT_OK : pickle_fail(r, "a protocol later than 5") : pickle_cut(r);
    case 0x95: return pickle_number(r, 8, &n) ? OCT_OK : pickle_cut(r);
    case 'G': {
        const unsigned char *p = pickle_bytes(r, 8);
        pickle_value *v = pickle_new(r, PICKLE_REAL);
        uint64_t bits = 0;
        if (!p) return pickle_cut(r);
        for (int i = 0; i < 8; i++) bits = bits << 8 | p[i];
        if (v) memcpy(&v->real, &bits, 8);
        return pickle_push(r, v);
    }
    case '(': return pickle_mark(r);
    case 't': return pickle_marked(r, PICKLE_NONE);
    case 'l': case 0x91: return pickle_marked(r, PICKLE_LIST);
    case 'd': return pickle_marked(r, PICKLE_DICT);
    case 'a': return pickle_into(r, PICKLE_LIST, 1);
    case 'e': case 0x90: return pickle_into(r, PICKLE_LIST, 0);
    case 's': return pickle_into(r, PICKLE_DICT, 2);
    case 'u': return pickle_into(r, PICKLE_DICT, 0);
    case 'q': return pickle_number(r, 1, &n) ? pickle_remember(r, n) : pickle_cut(r);
    case 'r': return pickle_number(r, 4, &n) ? pickle_remember(r, n) : pickle_cut(r);
    case 0x94: return pickle_remember(r, r->n_memo);
    case 'h': return pickle_number(r, 1, &n) ? pickle_recall(r, n) : pickle_cut(r);
    case 'j': return pickle_number(r, 4, &n) ? pickle_recall(r, n) : pickle_cut(r);
    case 'c': return pickle_line(r, &module) && pickle_line(r, &name) ? pickle_global(r, module, name) : pickle_cut(r);
    case 0x93: {
        const pickle_value *b = pickle_pop(r), *a = pickle_pop(r);
        if (!a || !b || a->kind != PICKLE_STRING || b->kind != PICKLE_STRING) return pickle_fail(r, "a name that is no text");
        return pickle_global(r, a->text, b->text);
    }
    case 'Q': return pickle_persistent(r);
    case 'R': case 0x81: {
        const pickle_value *args = pickle_pop(r), *f = pickle_pop(r);
        return pickle_call(r, f, args);
    }
    case 'b': return pickle_build(r);
    case '0': return pickle_pop(r) ? OCT_OK : pickle_fail(r, "an empty stack");
    case '1':
        if (!r->n_marks) return pickle_fail(r, "no mark");
        r->depth = r->marks[--r->n_marks];
        return OCT_OK;
    case '2': {
        pickle_value *v = pickle_top(r);
        return v ? pickle_push(r, v) : pickle_fail(r, "an empty stack");
    }
    default:
        return oct__fail(r->err, OCT_E_UNSUPPORTED, "%s: pickle, byte %zu: opcode 0x%02X is not read", r->file,
                         (size_t)(r->at - r->begin - 1), (unsigned)op);
    }
}
/* One pickle, up to its STOP; r->at then stands behind it. */
static inline oct_result pickle_load(pickle_reader *r, pickle_value **out, oct_error *err) {
    r->err = err;
    r->depth = r->n_marks = r->n_memo = 0;
    if (!r->none) {                                        /* the stack begins with room, so that it is never a null pointer */
        r->stack = POOL_NEW(r->p, pickle_value *, 64);
        r->stack_cap = 64;
        r->none = pickle_new(r, PICKLE_NONE);
        if (!r->stack || !r->none) return pickle_memory(r);
    }
    for (;;) {
        if (r->at == r->end) return pickle_cut(r);
        const int op = *r->at++;
        if (op == '.') break;
        const oct_result rc = pickle_op(r, op);
        if (rc) return rc;
    }
    if (r->n_marks) return pickle_fail(r, "a mark that is never closed");
    *out = pickle_pop(r);
    return *out ? OCT_OK : pickle_fail(r, "holds no value");
}

#endif
