/* json.h - JSON to a tree.  On octavius.h's implementation and pool.h.
 *
 *     const json *root;
 *     if (json_parse(&pool, text, len, "config.json", &root, &err)) ...
 *     int64_t n = json_int(json_get(root, "hidden_size"), -1);
 *
 * Strings without escapes point into the text, which therefore has to outlive the tree.  Nesting is limited to JSON_DEPTH.
 * NaN and Infinity, which Python writes, are read as numbers.
 */
#ifndef OCT_TOOLS_JSON_H
#define OCT_TOOLS_JSON_H

#include "pool.h"

enum { JSON_DEPTH = 100 };
typedef enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } json_kind;
typedef struct json {
    json_kind    kind;
    bool         whole;            /* a number without fraction or exponent that fits into integer */
    oct_string   key;              /* of a member of an object */
    oct_string   text;             /* of a string */
    double       number;
    int64_t      integer;          /* of a number, and 0 or 1 of a bool */
    struct json *next, *first;     /* sibling; first child */
    size_t       count;            /* children */
} json;

typedef struct json_reader {
    pool       *p;
    const char *at, *begin, *end, *file;
    oct_error  *err;
} json_reader;

static inline oct_result json_fail(const json_reader *r, const char *why) {
    return oct__fail(r->err, OCT_E_FORMAT, "%s: byte %zu: %s", r->file, (size_t)(r->at - r->begin), why);
}
static inline void json_space(json_reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')) r->at++;
}
static inline bool json_word(json_reader *r, const char *word) {
    const size_t n = strlen(word);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0) return false;
    r->at += n;
    return true;
}
/* Four hexadecimal digits; -1: other things. */
static inline int32_t json_hex(const char *s, const char *end) {
    int32_t v = 0;
    if (end - s < 4) return -1;
    for (int i = 0; i < 4; i++) {
        const char c = s[i];
        const int d = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
        if (d < 0) return -1;
        v = v << 4 | d;
    }
    return v;
}
/* What stands behind a backslash: the code point, -1 where there is none.  Half a surrogate pair becomes U+FFFD. */
static inline int32_t json_escape(const char **at, const char *end) {
    static const char names_of[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    const char c = *at < end ? *(*at)++ : 0;
    const char *found = c ? strchr(names_of, c) : NULL;
    if (found) return means[found - names_of];
    if (c != 'u') return -1;
    int32_t cp = json_hex(*at, end);
    if (cp < 0) return -1;
    *at += 4;
    if (cp < 0xD800 || cp > 0xDFFF) return cp;
    const int32_t low = cp < 0xDC00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u' ? json_hex(*at + 2, end) : -1;
    if (low < 0xDC00 || low > 0xDFFF) return 0xFFFD;
    *at += 6;
    return 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
}
/* r->at stands behind the opening quote. */
static inline oct_result json_string(json_reader *r, oct_string *out) {
    const char *begin = r->at, *end = begin;
    bool escaped = false;
    for (; end < r->end && *end != '"'; end++) {
        if ((unsigned char)*end < 0x20) return json_fail(r, "a control character in a string");
        if (*end == '\\') {
            escaped = true;
            if (++end == r->end) break;
        }
    }
    if (end >= r->end) return json_fail(r, "a string without an end");
    out->data = begin;
    out->len = (size_t)(end - begin);
    r->at = end + 1;
    if (!escaped) return OCT_OK;
    char *text = POOL_NEW(r->p, char, out->len + 4);       /* an escape is never shorter than what it stands for */
    if (!text) return oct__fail(r->err, OCT_E_MEMORY, "%s: no memory for its strings", r->file);
    size_t n = 0;
    while (begin < end) {
        if (*begin != '\\') {
            text[n++] = *begin++;
            continue;
        }
        begin++;
        const int32_t cp = json_escape(&begin, end);
        if (cp < 0) return json_fail(r, "an escape that is none of JSON's");
        n += (size_t)oct__utf8_encode(cp, text + n);
    }
    out->data = text;
    out->len = n;
    return OCT_OK;
}
static inline oct_result json_number(json_reader *r, json *v) {
    char text[64];
    size_t n = 0;
    v->kind = JSON_NUMBER;
    if (json_word(r, "NaN")) return v->number = (double)NAN, OCT_OK;
    if (json_word(r, "Infinity")) return v->number = (double)INFINITY, OCT_OK;
    if (json_word(r, "-Infinity")) return v->number = -(double)INFINITY, OCT_OK;
    while (r->at < r->end && *r->at && strchr("+-0123456789.eE", *r->at)) {
        if (n + 1 >= sizeof text) return json_fail(r, "a number of more than 62 characters");
        text[n++] = *r->at++;
    }
    text[n] = 0;
    char *stop = NULL;
    v->number = n && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9')) ? strtod(text, &stop) : 0.0;
    if (!stop || *stop) return json_fail(r, "expected a value");
    v->whole = !strpbrk(text, ".eE") && fabs(v->number) < 9e18;
    if (v->whole) v->integer = strtoll(text, NULL, 10);
    return OCT_OK;
}
/* A value that is no container; an opening bracket is left to the caller, with its kind. */
static inline oct_result json_scalar(json_reader *r, json *v) {
    json_space(r);
    if (r->at == r->end) return json_fail(r, "ends early");
    if (*r->at == '{' || *r->at == '[') {
        v->kind = *r->at++ == '{' ? JSON_OBJECT : JSON_ARRAY;
        return OCT_OK;
    }
    if (*r->at == '"') {
        r->at++;
        v->kind = JSON_STRING;
        return json_string(r, &v->text);
    }
    if (json_word(r, "null")) return OCT_OK;
    v->kind = JSON_BOOL;
    if (json_word(r, "false")) return OCT_OK;
    if (json_word(r, "true")) return v->integer = 1, OCT_OK;
    return json_number(r, v);
}
/* The next member of the container: its key, and a node for its value; NULL at the container's end. */
static inline oct_result json_member(json_reader *r, json *container, json **last, json **member) {
    const char close = container->kind == JSON_OBJECT ? '}' : ']';
    *member = NULL;
    json_space(r);
    if (r->at < r->end && *r->at == close) return r->at++, OCT_OK;
    if (container->count) {
        if (r->at == r->end || *r->at != ',') return json_fail(r, r->at == r->end ? "ends early" : "expected a comma or the end");
        r->at++;
        json_space(r);
    }
    json *v = POOL_NEW(r->p, json, 1);
    if (!v) return oct__fail(r->err, OCT_E_MEMORY, "%s: no memory for its values", r->file);
    if (container->kind == JSON_OBJECT) {
        if (r->at == r->end || *r->at++ != '"') return json_fail(r, "expected a key");
        const oct_result rc = json_string(r, &v->key);
        if (rc) return rc;
        json_space(r);
        if (r->at == r->end || *r->at++ != ':') return json_fail(r, "expected a colon");
    }
    if (*last) (*last)->next = v;
    else container->first = v;
    *last = v;
    container->count++;
    *member = v;
    return OCT_OK;
}
static inline oct_result json_parse(pool *p, const char *text, size_t len, const char *file, const json **out, oct_error *err) {
    json *open[JSON_DEPTH], *last[JSON_DEPTH];
    json_reader r;
    int depth = 0;
    json *root = POOL_NEW(p, json, 1);
    r.p = p;
    r.file = file;
    r.err = err;
    r.begin = r.at = text;
    r.end = text + len;
    if (!root) return oct__fail(err, OCT_E_MEMORY, "%s: no memory for its values", file);
    (void)json_word(&r, "\xEF\xBB\xBF");
    oct_result rc = json_scalar(&r, root);
    if (!rc && root->kind >= JSON_ARRAY) {
        open[0] = root;
        last[depth++] = NULL;
    }
    while (!rc && depth > 0) {
        json *v;
        if ((rc = json_member(&r, open[depth - 1], &last[depth - 1], &v)) != OCT_OK) break;
        if (!v) {
            depth--;
            continue;
        }
        rc = json_scalar(&r, v);
        if (rc || v->kind < JSON_ARRAY) continue;
        if (depth == JSON_DEPTH) return oct__fail(err, OCT_E_LIMIT, "%s: nested more than %d deep", file, JSON_DEPTH);
        open[depth] = v;
        last[depth++] = NULL;
    }
    if (rc) return rc;
    json_space(&r);
    if (r.at < r.end && *r.at) return json_fail(&r, "something behind the value");
    *out = root;
    return OCT_OK;
}

/* --- looking things up: a missing thing, or one of another kind, gives the default ---------------- */

static inline const json *json_get(const json *v, const char *key) {
    const oct_string k = oct__str(key);
    if (!v || v->kind != JSON_OBJECT) return NULL;
    for (const json *m = v->first; m; m = m->next)
        if (oct__str_same(m->key, k)) return m->kind == JSON_NULL ? NULL : m;
    return NULL;
}
static inline int64_t json_int(const json *v, int64_t none) {
    if (!v || v->kind != JSON_NUMBER) return none;
    return v->whole ? v->integer : fabs(v->number) < 9e15 && floor(v->number) == v->number ? (int64_t)v->number : none;
}
static inline double json_real(const json *v, double none) { return v && v->kind == JSON_NUMBER ? v->number : none; }
static inline bool json_true(const json *v, bool none) { return v && v->kind == JSON_BOOL ? v->integer != 0 : none; }
static inline oct_string json_text(const json *v, const char *none) {
    return v && v->kind == JSON_STRING ? v->text : oct__str(none);
}

#endif
