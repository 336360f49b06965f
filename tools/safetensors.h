/* safetensors.h - the header of a safetensors file.  On octavius.h's implementation and json.h. */
#ifndef OCT_TOOLS_SAFETENSORS_H
#define OCT_TOOLS_SAFETENSORS_H

#include "json.h"
#include "pickle.h"

typedef struct safetensor {
    oct_string   name;
    pickle_dtype dtype;
    int          n_dims;
    size_t       shape[PICKLE_DIMS], begin, end;    /* bytes of the data section */
} safetensor;
typedef struct safetensors {
    const unsigned char *data;     /* [bytes]: behind the header */
    size_t               bytes, n;
    safetensor          *tensors;  /* in the order of their data */
} safetensors;

static inline int safetensors_order(const void *a, const void *b) {
    const safetensor *x = (const safetensor *)a, *y = (const safetensor *)b;
    return x->begin != y->begin ? (x->begin < y->begin ? -1 : 1) : x->end < y->end ? -1 : x->end > y->end;
}
static inline pickle_dtype safetensors_dtype(oct_string name) {
    static const char known[][5] = { "", "F32", "F16", "BF16", "F64", "I64", "I32", "I16", "I8", "U8", "BOOL" };
    for (int i = 1; i <= DT_BOOL; i++)
        if (oct__str_is(name, known[i])) return (pickle_dtype)i;
    return DT_NONE;
}
static inline oct_result safetensors_entry(const char *file, const json *m, size_t bytes, safetensor *t, oct_error *err) {
    const json *shape = json_get(m, "shape"), *at = json_get(m, "data_offsets");
    const oct_string type = json_text(json_get(m, "dtype"), "none");
    size_t size;
    t->name = m->key;
    t->dtype = safetensors_dtype(type);
    if (t->dtype == DT_NONE)
        return oct__fail(err, OCT_E_UNSUPPORTED, "%s: tensor '%.*s': type '%.*s'", file, OCT__S(t->name), OCT__S(type));
    if (!shape || shape->kind != JSON_ARRAY || shape->count > PICKLE_DIMS || !at || at->kind != JSON_ARRAY || at->count != 2)
        return oct__fail(err, OCT_E_FORMAT, "%s: tensor '%.*s': no shape, or no place", file, OCT__S(t->name));
    size = dtype_bytes[t->dtype];
    for (const json *d = shape->first; d; d = d->next) {
        const int64_t v = json_int(d, -1);
        if (v < 0 || oct__mul(&size, size, (size_t)v))
            return oct__fail(err, OCT_E_FORMAT, "%s: tensor '%.*s': an impossible shape", file, OCT__S(t->name));
        t->shape[t->n_dims++] = (size_t)v;
    }
    const int64_t begin = json_int(at->first, -1), end = json_int(at->first->next, -1);
    if (begin < 0 || end < begin || (uint64_t)end > bytes || (size_t)(end - begin) != size)
        return oct__fail(err, OCT_E_FORMAT, "%s: tensor '%.*s': bytes %lld to %lld, expected %zu within %zu", file,
                         OCT__S(t->name), (long long)begin, (long long)end, size, bytes);
    t->begin = (size_t)begin;
    t->end = (size_t)end;
    return OCT_OK;
}
static inline oct_result safetensors_open(safetensors *s, pool *p, const unsigned char *data, size_t size, const char *file,
                                          oct_error *err) {
    const json *root;
    memset(s, 0, sizeof *s);
    const uint64_t n = size >= 8 ? oct__u64(data) : 0;
    if (size < 8 || n > size - 8)
        return oct__fail(err, OCT_E_FORMAT, "%s: a safetensors header of %llu bytes, but the file has %zu", file,
                         (unsigned long long)n, size);
    oct_result r = json_parse(p, (const char *)data + 8, (size_t)n, file, &root, err);
    if (r) return r;
    if (root->kind != JSON_OBJECT) return oct__fail(err, OCT_E_FORMAT, "%s: a safetensors header that is no object", file);
    s->data = data + 8 + n;
    s->bytes = size - 8 - (size_t)n;
    s->tensors = POOL_NEW(p, safetensor, root->count);
    if (!s->tensors) return oct__fail(err, OCT_E_MEMORY, "%s: no memory for %zu tensors", file, root->count);
    for (const json *m = root->first; m; m = m->next)
        if (!oct__str_is(m->key, "__metadata__") &&
            (r = safetensors_entry(file, m, s->bytes, &s->tensors[s->n++], err)) != OCT_OK)
            return r;
    qsort(s->tensors, s->n, sizeof *s->tensors, safetensors_order);
    for (size_t i = 1; i < s->n; i++)
        if (s->tensors[i].begin < s->tensors[i - 1].end)
            return oct__fail(err, OCT_E_FORMAT, "%s: tensors '%.*s' and '%.*s' overlap", file, OCT__S(s->tensors[i - 1].name),
                             OCT__S(s->tensors[i].name));
    return OCT_OK;
}

#endif
