/* zip.h - the directory of a zip archive in memory, and its members' bytes.  On octavius.h's implementation and pool.h.
 *
 * Stored members are pointed at, deflated ones unpacked; zip64 is read, encryption refused.  Members may not overlap, and
 * none may claim to unpack to more than deflate can give.  A member's checksum is compared when its bytes are asked for.
 */
#ifndef OCT_TOOLS_ZIP_H
#define OCT_TOOLS_ZIP_H

#include "pool.h"

typedef struct zip_member {
    oct_string           name;     /* where it stands in the archive */
    const unsigned char *packed;   /* [n_packed] */
    size_t               n_packed, n_bytes, record;   /* record: where its local header begins */
    uint32_t             crc;
    bool                 deflated, checked;
} zip_member;
typedef struct zip {
    const char *file;
    zip_member *members;           /* sorted by name */
    size_t      n;
} zip;

static inline bool zip_is(const unsigned char *data, size_t size) { return size >= 4 && memcmp(data, "PK\3\4", 4) == 0; }

static inline uint32_t zip_crc(const unsigned char *p, size_t n) {
    static uint32_t table[8][256];         /* filled by the first caller; the programs have one thread here */
    uint32_t c = 0xFFFFFFFFu;
    if (!table[0][1])
        for (int k = 0; k < 8; k++)
            for (uint32_t i = 0; i < 256; i++) {
                uint32_t v = k ? table[k - 1][i] : i;
                if (k) v = v >> 8 ^ table[0][v & 255];
                for (int b = 0; !k && b < 8; b++) v = v >> 1 ^ (v & 1 ? 0xEDB88320u : 0);
                table[k][i] = v;
            }
    for (; n >= 8; n -= 8, p += 8) {
        const uint32_t a = oct__u32(p) ^ c, b = oct__u32(p + 4);
        c = table[7][a & 255] ^ table[6][a >> 8 & 255] ^ table[5][a >> 16 & 255] ^ table[4][a >> 24] ^ table[3][b & 255] ^
            table[2][b >> 8 & 255] ^ table[1][b >> 16 & 255] ^ table[0][b >> 24];
    }
    for (; n; n--) c = c >> 8 ^ table[0][(c ^ *p++) & 255];
    return ~c;
}

/* The end record: where the directory begins, and how many members it has.  False: none. */
static inline bool zip_end(const unsigned char *data, size_t size, uint64_t *at, uint64_t *n, uint64_t *bytes) {
    const size_t least = size < 65557 ? 0 : size - 65557;
    if (size < 22) return false;
    size_t i = size - 22;
    while (oct__u32(data + i) != 0x06054B50u || (size_t)oct__u16(data + i + 20) > size - i - 22) {
        if (i == least) return false;
        i--;
    }
    *n = oct__u16(data + i + 10);
    *bytes = oct__u32(data + i + 12);
    *at = oct__u32(data + i + 16);
    if (i < 20 || oct__u32(data + i - 20) != 0x07064B50u) return true;
    const uint64_t z = oct__u64(data + i - 12);            /* zip64: the locator stands right before */
    if (size < 56 || z > size - 56 || oct__u32(data + z) != 0x06064B50u) return false;
    *n = oct__u64(data + z + 32);
    *bytes = oct__u64(data + z + 40);
    *at = oct__u64(data + z + 48);
    return true;
}
/* The 64-bit sizes of the extra field [n] stand in for those that are all ones. */
static inline bool zip_wide(const unsigned char *extra, size_t n, uint64_t *bytes, uint64_t *packed, uint64_t *record) {
    while (n >= 4) {
        const size_t len = oct__u16(extra + 2);
        if (len > n - 4) return false;
        if (oct__u16(extra) == 1) {
            uint64_t *want[3] = { bytes, packed, record };
            size_t used = 0;
            for (int i = 0; i < 3; i++)
                if (*want[i] == 0xFFFFFFFFu) {
                    if (len - used < 8) return false;
                    *want[i] = oct__u64(extra + 4 + used);
                    used += 8;
                }
            return true;
        }
        extra += 4 + len;
        n -= 4 + len;
    }
    return true;
}
static inline int zip_by_name(const void *a, const void *b) {
    const zip_member *x = (const zip_member *)a, *y = (const zip_member *)b;
    const int c = memcmp(x->name.data, y->name.data, OCT__MIN(x->name.len, y->name.len));
    return c ? c : x->name.len < y->name.len ? -1 : x->name.len > y->name.len;
}
static inline int zip_by_record(const void *a, const void *b) {
    const zip_member *x = (const zip_member *)a, *y = (const zip_member *)b;
    return x->record < y->record ? -1 : x->record > y->record;
}
/* One entry of the directory at *at, which goes on behind it. */
static inline oct_result zip_entry(const char *file, const unsigned char *data, size_t size, size_t *at, zip_member *m,
                                   oct_error *err) {
    const unsigned char *e = data + *at;
    if (size - *at < 46 || oct__u32(e) != 0x02014B50u)
        return oct__fail(err, OCT_E_FORMAT, "%s: the zip directory ends early", file);
    const size_t n_name = oct__u16(e + 28), n_extra = oct__u16(e + 30), n_comment = oct__u16(e + 32);
    uint64_t packed = oct__u32(e + 20), bytes = oct__u32(e + 24), record = oct__u32(e + 42);
    const unsigned method = oct__u16(e + 10), flags = oct__u16(e + 8);
    if (size - *at - 46 < n_name + n_extra + n_comment)
        return oct__fail(err, OCT_E_FORMAT, "%s: the zip directory ends early", file);
    m->name.data = (const char *)e + 46;
    m->name.len = n_name;
    m->crc = oct__u32(e + 16);
    *at += 46 + n_name + n_extra + n_comment;
    if (!zip_wide(e + 46 + n_name, n_extra, &bytes, &packed, &record))
        return oct__fail(err, OCT_E_FORMAT, "%s: member '%.*s': a spoilt zip64 field", file, OCT__S(m->name));
    if (flags & 1) return oct__fail(err, OCT_E_UNSUPPORTED, "%s: member '%.*s' is encrypted", file, OCT__S(m->name));
    if (method != 0 && method != 8)
        return oct__fail(err, OCT_E_UNSUPPORTED, "%s: member '%.*s': packed by method %u, expected 0 (stored) or 8 (deflated)",
                         file, OCT__S(m->name), method);
    if (size < 30 || record > size - 30 || oct__u32(data + record) != 0x04034B50u)
        return oct__fail(err, OCT_E_FORMAT, "%s: member '%.*s': no local header at byte %llu of %zu", file, OCT__S(m->name),
                         (unsigned long long)record, size);
    const uint64_t begin = record + 30 + oct__u16(data + record + 26) + oct__u16(data + record + 28);
    if (begin > size || packed > size - begin)
        return oct__fail(err, OCT_E_FORMAT, "%s: member '%.*s': %llu bytes from byte %llu, but the file has %zu", file,
                         OCT__S(m->name), (unsigned long long)packed, (unsigned long long)begin, size);
    m->deflated = method == 8;
    if (m->deflated ? bytes / 1032 > packed + 1 : bytes != packed)
        return oct__fail(err, OCT_E_FORMAT, "%s: member '%.*s': %llu bytes cannot come from %llu packed ones", file,
                         OCT__S(m->name), (unsigned long long)bytes, (unsigned long long)packed);
    m->packed = data + begin;
    m->n_packed = (size_t)packed;
    m->n_bytes = (size_t)bytes;
    m->record = (size_t)record;
    return OCT_OK;
}
static inline oct_result zip_open(zip *z, pool *p, const unsigned char *data, size_t size, const char *file, oct_error *err) {
    uint64_t at64, n, bytes;
    z->file = file;
    z->n = 0;
    if (!zip_end(data, size, &at64, &n, &bytes))
        return oct__fail(err, OCT_E_FORMAT, "%s: a zip archive without its directory", file);
    if (at64 > size || n > (size - at64) / 46)
        return oct__fail(err, OCT_E_FORMAT, "%s: a zip directory of %llu members at byte %llu, but the file has %zu bytes", file,
                         (unsigned long long)n, (unsigned long long)at64, size);
    z->members = POOL_NEW(p, zip_member, (size_t)n);
    if (!z->members) return oct__fail(err, OCT_E_MEMORY, "%s: no memory for %llu members", file, (unsigned long long)n);
    size_t at = (size_t)at64;
    for (; z->n < n; z->n++) {
        const oct_result r = zip_entry(file, data, size, &at, &z->members[z->n], err);
        if (r) return r;
    }
    qsort(z->members, z->n, sizeof *z->members, zip_by_record);
    for (size_t i = 0; i < z->n; i++) {
        const zip_member *m = &z->members[i];
        const size_t next = i + 1 < z->n ? z->members[i + 1].record : size;
        if ((size_t)(m->packed - data) > next || m->n_packed > next - (size_t)(m->packed - data))
            return oct__fail(err, OCT_E_FORMAT, "%s: member '%.*s' overlaps the next", file, OCT__S(m->name));
    }
    qsort(z->members, z->n, sizeof *z->members, zip_by_name);
    for (size_t i = 1; i < z->n; i++)
        if (oct__str_same(z->members[i].name, z->members[i - 1].name))
            return oct__fail(err, OCT_E_FORMAT, "%s: two members named '%.*s'", file, OCT__S(z->members[i].name));
    return OCT_OK;
}
/* NULL: no such member. */
static inline zip_member *zip_find(const zip *z, oct_string name) {
    zip_member key;
    memset(&key, 0, sizeof key);
    key.name = name;
    return z->n ? (zip_member *)bsearch(&key, z->members, z->n, sizeof *z->members, zip_by_name) : NULL;
}
/* The member whose path ends in end, such as "/data.pkl"; NULL: none, or more than one. */
static inline zip_member *zip_find_end(const zip *z, const char *end) {
    const size_t n = strlen(end);
    zip_member *found = NULL;
    for (size_t i = 0; i < z->n; i++) {
        const oct_string s = z->members[i].name;
        if (s.len < n || memcmp(s.data + s.len - n, end, n) != 0) continue;
        if (found) return NULL;
        found = &z->members[i];
    }
    return found;
}
/* A raw deflate stream that fills out [n + 8] with n bytes: what is wrong with it, or NULL. */
static inline const char *zip_inflate(oct__inflate *z, const unsigned char *in, size_t n_in, unsigned char *out, size_t n) {
    memset(&z->bits, 0, sizeof z->bits);
    z->bits.in = in;
    z->bits.end = in + n_in;
    z->out = z->out_begin = out;
    z->out_end = out + n;
    z->full = false;
    for (unsigned last = 0; !last && !z->full;) {
        oct__low_fill(&z->bits);
        last = oct__low_take(&z->bits, 1);
        const unsigned type = oct__low_take(&z->bits, 2);
        const char *why = type == 0   ? oct__inflate_stored(z)
                          : type == 2 ? oct__inflate_codes(z)
                          : type == 3 ? "has a block of no kind"
                                      : NULL;
        if (type == 1) oct__inflate_fixed(z);
        if (!why && type != 0) why = oct__inflate_block(z);
        if (why) return why;
    }
    return z->full ? "holds more than it says" : z->out < z->out_end ? "ends early" : NULL;
}
/* The member's bytes.  *owned is what the caller frees: NULL where they stand in the archive as they are. */
static inline oct_result zip_read(const zip *z, zip_member *m, const unsigned char **bytes, void **owned, oct_error *err) {
    *owned = NULL;
    *bytes = m->packed;
    if (m->deflated) {
        unsigned char *out = m->n_bytes < SIZE_MAX - 8 ? (unsigned char *)malloc(m->n_bytes + 8) : NULL;
        oct__inflate *state = (oct__inflate *)malloc(sizeof *state);
        const char *why = NULL;
        if (out && state) why = zip_inflate(state, m->packed, m->n_packed, out, m->n_bytes);
        free(state);
        if (!out || !state || why) {
            free(out);
            if (why) return oct__fail(err, OCT_E_FORMAT, "%s: member '%.*s' %s", z->file, OCT__S(m->name), why);
            return oct__fail(err, OCT_E_MEMORY, "%s: member '%.*s': no memory for %zu bytes", z->file, OCT__S(m->name),
                             m->n_bytes);
        }
        *owned = out;
        *bytes = out;
    }
    if (!m->checked && zip_crc(*bytes, m->n_bytes) != m->crc) {
        free(*owned);
        *owned = NULL;
        return oct__fail(err, OCT_E_FORMAT, "%s: member '%.*s': a wrong checksum", z->file, OCT__S(m->name));
    }
    m->checked = true;
    return OCT_OK;
}

#endif
