/* pool.h - memory that is given back all at once: what a reader makes of a file lives in one pool.  On octavius.h's
 * implementation.
 *
 * A pool has a limit, so that a hostile file ends in an error and not in a full machine.
 */
#ifndef OCT_TOOLS_POOL_H
#define OCT_TOOLS_POOL_H

typedef struct pool_chunk {
    struct pool_chunk *next;
    size_t             used, cap;
} pool_chunk;
typedef struct pool {
    pool_chunk *top;
    size_t      total, limit;      /* bytes taken from malloc, and how many may be; limit 0: 512 MiB */
} pool;

/* bytes bytes, aligned to 16, cleared; NULL: no memory, or over the limit. */
static inline void *pool_take(pool *p, size_t n, size_t size) {
    const size_t head = (sizeof(pool_chunk) + 15) & ~(size_t)15, limit = p->limit ? p->limit : (size_t)512 << 20;
    size_t bytes;
    if (oct__mul(&bytes, n, size) || bytes > limit) return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    if (!p->top || p->top->cap - p->top->used < bytes) {
        const size_t cap = OCT__MAX(bytes, OCT__MIN((size_t)1 << 20, p->total + 4096));
        if (p->total > limit || cap > limit - p->total) return NULL;
        pool_chunk *c = (pool_chunk *)malloc(head + cap);
        if (!c) return NULL;
        c->next = p->top;
        c->used = 0;
        c->cap = cap;
        p->top = c;
        p->total += cap;
    }
    void *out = (unsigned char *)p->top + head + p->top->used;
    p->top->used += bytes;
    memset(out, 0, bytes);
    return out;
}
#define POOL_NEW(p, T, n) ((T *)pool_take((p), (n), sizeof(T)))

static inline void pool_free(pool *p) {
    while (p->top) {
        pool_chunk *next = p->top->next;
        free(p->top);
        p->top = next;
    }
    p->total = 0;
}

/* A copy of s, with a zero behind it that is not counted; data NULL: no memory. */
static inline oct_string pool_copy(pool *p, oct_string s) {
    oct_string out;
    char *d = s.len < SIZE_MAX ? POOL_NEW(p, char, s.len + 1) : NULL;
    if (d && s.len) memcpy(d, s.data, s.len);
    out.data = d;
    out.len = s.len;
    return out;
}

/* A growing array in a pool: room for one more of n items; outgrown memory stays with the pool.  Non-zero: no memory. */
static inline int pool_grow(pool *p, void **items, size_t n, size_t *cap, size_t size) {
    if (n < *cap) return 0;
    const size_t more = *cap ? *cap * 2 : 8;
    void *to = pool_take(p, more, size);
    if (!to) return 1;
    if (n) memcpy(to, *items, n * size);
    *items = to;
    *cap = more;
    return 0;
}

/* --- names to numbers -------------------------------------------------------------------------- */

/* An open table keyed by bytes; the keys stay where they are. */
typedef struct names { oct_string *keys; uint32_t *values; size_t n, cap; } names;

static inline int names_open(names *t, pool *p, size_t n) {
    t->n = 0;
    for (t->cap = 16; t->cap < n + n / 2 + 2; t->cap *= 2) {}
    t->keys = POOL_NEW(p, oct_string, t->cap);
    t->values = POOL_NEW(p, uint32_t, t->cap);
    return !t->keys || !t->values;
}
/* The slot of key: its own, or the empty one where it would stand. */
static inline size_t names_slot(const names *t, oct_string key) {
    size_t i = oct__hash(key.data, key.len) & (t->cap - 1);
    while (t->keys[i].data && !oct__str_same(t->keys[i], key)) i = (i + 1) & (t->cap - 1);
    return i;
}
/* False: it was there before, and keeps its value.  The table was opened for all that will be added. */
static inline bool names_add(names *t, oct_string key, uint32_t value) {
    const size_t i = names_slot(t, key);
    if (t->keys[i].data || t->n + 1 >= t->cap) return false;
    t->keys[i] = key;
    t->values[i] = value;
    t->n++;
    return true;
}
static inline bool names_find(const names *t, oct_string key, uint32_t *value) {
    if (!t->cap) return false;
    const size_t i = names_slot(t, key);
    if (!t->keys[i].data) return false;
    *value = t->values[i];
    return true;
}

#endif
