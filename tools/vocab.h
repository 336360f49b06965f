/* vocab.h - tokenizers in the files that models are published with, as GGUF keeps them.  On octavius.h's implementation.
 *
 * tokenizer.model (SentencePiece), *.tiktoken (ranks), vocab.json + merges.txt + added_tokens.json, tokenizer.json.
 */
#ifndef OCT_TOOLS_VOCAB_H
#define OCT_TOOLS_VOCAB_H

#include "json.h"

enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN = 2, TOKEN_CONTROL = 3, TOKEN_USER = 4, TOKEN_UNUSED = 5, TOKEN_BYTE = 6 };
enum { VOCAB_MAX = 1 << 21 };
typedef struct vocab {
    pool       *p;
    const char *file;
    bool        spm;               /* else byte-level BPE */
    const char *pre;               /* of BPE; NULL: not known from the file */
    oct_string *tokens;            /* [n]; data NULL: none */
    float      *scores;            /* [n], of SPM */
    int32_t    *types;             /* [n] */
    size_t      n, cap;
    oct_string *merges;            /* [n_merges] */
    size_t      n_merges;
    int         add_space_prefix;  /* -1: not said */
    bool        template_bos;      /* the post-processor puts a beginning before text */
} vocab;

static inline oct_result vocab_memory(const vocab *v, oct_error *err) {
    return oct__fail(err, OCT_E_MEMORY, "%s: no memory for its tokens", v->file);
}
static inline oct_result vocab_put(vocab *v, int64_t id, oct_string text, float score, int type, oct_error *err) {
    if (id < 0 || id >= VOCAB_MAX)
        return oct__fail(err, OCT_E_LIMIT, "%s: token %lld, expected 0 to %d", v->file, (long long)id, VOCAB_MAX - 1);
    if ((size_t)id >= v->cap) {
        const size_t cap = OCT__MAX((size_t)id + 1, v->cap * 2);
        oct_string *tokens = POOL_NEW(v->p, oct_string, cap);
        float *scores = POOL_NEW(v->p, float, cap);
        int32_t *types = POOL_NEW(v->p, int32_t, cap);
        if (!tokens || !scores || !types) return vocab_memory(v, err);
        if (v->n) {
            memcpy(tokens, v->tokens, v->n * sizeof *tokens);
            memcpy(scores, v->scores, v->n * sizeof *scores);
            memcpy(types, v->types, v->n * sizeof *types);
        }
        v->tokens = tokens;
        v->scores = scores;
        v->types = types;
        v->cap = cap;
    }
    if ((size_t)id >= v->n) v->n = (size_t)id + 1;
    if (!text.data) text = oct__str("");
    v->tokens[id] = text;
    v->scores[id] = score;
    v->types[id] = type;
    return OCT_OK;
}
/* -1: no such token. */
static inline int64_t vocab_id(const vocab *v, oct_string text) {
    for (size_t i = 0; i < v->n; i++)
        if (v->tokens[i].data && oct__str_same(v->tokens[i], text)) return (int64_t)i;
    return -1;
}

/* --- SentencePiece: a protobuf ----------------------------------------------------------------------------- */

typedef struct proto { const unsigned char *at, *end; } proto;
typedef struct proto_field { unsigned number, wire; uint64_t value; proto bytes; } proto_field;

static inline bool proto_varint(proto *m, uint64_t *out) {
    *out = 0;
    for (int shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        const unsigned char b = *m->at++;
        *out |= (uint64_t)(b & 127) << shift;
        if (!(b & 128)) return true;
    }
    return false;
}
/* The next field.  False: the message's end, with *bad set where it is spoilt. */
static inline bool proto_next(proto *m, proto_field *f, bool *bad) {
    uint64_t tag;
    if (m->at >= m->end) return false;
    *bad = true;
    memset(f, 0, sizeof *f);
    if (!proto_varint(m, &tag)) return false;
    f->number = (unsigned)(tag >> 3 & 0xFFFFFFF);
    f->wire = (unsigned)(tag & 7);
    const size_t left = (size_t)(m->end - m->at), fixed = f->wire == 1 ? 8 : f->wire == 5 ? 4 : 0;
    if (f->wire == 0) {
        if (!proto_varint(m, &f->value)) return false;
    } else if (fixed) {
        if (left < fixed) return false;
        memcpy(&f->value, m->at, fixed);
        m->at += fixed;
    } else {
        if (f->wire != 2 || !proto_varint(m, &f->value) || f->value > (uint64_t)(m->end - m->at)) return false;
        f->bytes.at = m->at;
        f->bytes.end = m->at += f->value;
    }
    *bad = false;
    return true;
}
static inline oct_result vocab_piece(vocab *v, proto m, oct_error *err) {
    oct_string text = oct__str("");
    float score = 0.0f;
    int type = TOKEN_NORMAL;
    bool bad = false;
    for (proto_field f; proto_next(&m, &f, &bad);) {
        if (f.number == 1 && f.wire == 2) text.data = (const char *)f.bytes.at, text.len = (size_t)(f.bytes.end - f.bytes.at);
        if (f.number == 2 && f.wire == 5) score = oct__bits_f32((uint32_t)f.value);
        if (f.number == 3 && f.wire == 0 && f.value >= 1 && f.value <= 6) type = (int)f.value;
    }
    if (bad) return oct__fail(err, OCT_E_FORMAT, "%s: piece %zu is spoilt", v->file, v->n);
    return vocab_put(v, (int64_t)v->n, text, score, type, err);
}
static inline oct_result vocab_sentencepiece(vocab *v, const unsigned char *data, size_t size, oct_error *err) {
    proto m;
    proto_field f, g;
    bool bad = false;
    m.at = data;
    m.end = data + size;
    v->spm = true;
    while (proto_next(&m, &f, &bad)) {
        if (f.number == 1 && f.wire == 2) {
            const oct_result r = vocab_piece(v, f.bytes, err);
            if (r) return r;
        }
        for (proto sub = f.bytes; f.wire == 2 && (f.number == 2 || f.number == 3) && proto_next(&sub, &g, &bad);) {
            if (f.number == 2 && g.number == 3 && g.wire == 0 && g.value != 2)
                return oct__fail(err, OCT_E_UNSUPPORTED, "%s: model type %llu, expected 2 (BPE)", v->file,
                                 (unsigned long long)g.value);
            if (f.number == 3 && g.number == 3 && g.wire == 0) v->add_space_prefix = g.value != 0;
        }
        if (bad) break;
    }
    if (bad) return oct__fail(err, OCT_E_FORMAT, "%s: a spoilt SentencePiece model", v->file);
    return v->n ? OCT_OK : oct__fail(err, OCT_E_FORMAT, "%s: no pieces", v->file);
}

/* --- bytes as GPT-2's letters -------------------------------------------------------------------------------- */

static inline int32_t vocab_letter(unsigned char byte) {
    const int b = byte;
    if ((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174) return b;
    return b < 33 ? 256 + b : b < 161 ? 256 + 33 + b - 127 : 256 + 33 + 34;
}
static inline oct_string vocab_letters(pool *p, oct_string bytes) {
    oct_string out;
    char *text = bytes.len < SIZE_MAX / 2 ? POOL_NEW(p, char, 2 * bytes.len + 1) : NULL;
    out.data = text;
    out.len = 0;
    for (size_t i = 0; text && i < bytes.len; i++)
        out.len += (size_t)oct__utf8_encode(vocab_letter((unsigned char)bytes.data[i]), text + out.len);
    return out;
}

/* --- ranks ----------------------------------------------------------------------------------------------------- */

static inline int vocab_base64(char c) {
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}
static inline bool vocab_unbase64(pool *p, oct_string in, oct_string *out) {
    char *text = POOL_NEW(p, char, in.len / 4 * 3 + 1);
    if (!text || in.len == 0 || in.len % 4) return false;
    out->data = text;
    out->len = in.len / 4 * 3;
    for (size_t i = 0; i < in.len; i += 4) {
        int q[4];
        for (size_t k = 0; k < 4; k++) q[k] = vocab_base64(in.data[i + k]);
        if (i + 4 == in.len && in.data[i + 3] == '=') {
            const int pad = in.data[i + 2] == '=' ? 2 : 1;
            out->len -= (size_t)pad;
            q[3] = 0;
            if (pad == 2) q[2] = 0;
        }
        if (q[0] < 0 || q[1] < 0 || q[2] < 0 || q[3] < 0) return false;
        const int bits = q[0] << 18 | q[1] << 12 | q[2] << 6 | q[3];
        for (size_t k = 0; k < 3 && i / 4 * 3 + k < out->len; k++)
            text[i / 4 * 3 + k] = (char)(unsigned char)(bits >> (16 - 8 * k) & 255);
    }
    return true;
}
/* Where the token falls in two, by the merges that rank before its own; 0: it does not. */
enum { VOCAB_TOKEN = 256 };
static inline size_t vocab_split(const names *ranks, oct_string token, uint32_t rank) {
    size_t ends[VOCAB_TOKEN + 1], n = token.len;           /* parts i: [ends[i], ends[i + 1]) */
    if (n < 2 || n > VOCAB_TOKEN) return 0;
    for (size_t i = 0; i <= n; i++) ends[i] = i;
    while (n > 2) {
        uint32_t best = UINT32_MAX, r;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            oct_string both;
            both.data = token.data + ends[i];
            both.len = ends[i + 2] - ends[i];
            if (names_find(ranks, both, &r) && r < best) best = r, at = i;
        }
        if (best >= rank) return 0;
        memmove(ends + at + 1, ends + at + 2, (n - at - 1) * sizeof *ends);
        n--;
    }
    return ends[1];
}
static inline oct_result vocab_special(vocab *v, int64_t id, const char *text, oct_error *err) {
    const oct_string own = pool_copy(v->p, oct__str(text));
    return own.data ? vocab_put(v, id, own, 0.0f, TOKEN_CONTROL, err) : vocab_memory(v, err);
}
static inline oct_result vocab_specials(vocab *v, bool qwen, oct_error *err) {
    static const char *const fixed[] = { "<|endoftext|>",   "<|fim_prefix|>",   "<|fim_middle|>",  "<|fim_suffix|>",
                                         "<|fim_pad|>",     "<gh_stars>",       "<filename>",      "<issue_start>",
                                         "<issue_comment>", "<issue_closed>",   "<jupyter_start>", "<jupyter_text>",
                                         "<jupyter_code>",  "<jupyter_output>", "<empty_output>",  "<commit_before>",
                                         "<commit_msg>",    "<commit_after>",   "<reponame>",      "<|endofprompt|>",
                                         "<|im_start|>",    "<|im_end|>",       "<|pause|>" };
    static const char *const of_qwen[] = { "<|endoftext|>", "<|im_start|>", "<|im_end|>" };
    const int n_fixed = qwen ? 3 : 23, n = n_fixed + (qwen ? 205 : 9);
    const int64_t first = (int64_t)v->n + (qwen ? 0 : 1);  /* Arcade leaves one id out */
    char text[32];
    for (int i = 0; i < n; i++) {
        if (i < n_fixed) snprintf(text, sizeof text, "%s", qwen ? of_qwen[i] : fixed[i]);
        else if (qwen) snprintf(text, sizeof text, "<|extra_%d|>", i - 3);
        else if (i < n - 1) snprintf(text, sizeof text, "<|reg%d|>", i - 23);
        else snprintf(text, sizeof text, "<|extra0|>");
        const oct_result r = vocab_special(v, first + i, text, err);
        if (r) return r;
    }
    return OCT_OK;
}
static inline oct_result vocab_merge(vocab *v, oct_string a, oct_string b, oct_error *err) {
    char *text = POOL_NEW(v->p, char, a.len + b.len + 1);
    if (!text) return vocab_memory(v, err);
    memcpy(text, a.data, a.len);
    text[a.len] = ' ';
    memcpy(text + a.len + 1, b.data, b.len);
    v->merges[v->n_merges].data = text;
    v->merges[v->n_merges++].len = a.len + b.len + 1;
    return OCT_OK;
}
/* Lines of a token in base64, a space, and its rank.  qwen: Qwen's special tokens follow, else Arcade's. */
static inline oct_result vocab_tiktoken(vocab *v, const unsigned char *data, size_t size, bool qwen, oct_error *err) {
    const char *at = (const char *)data, *const end = at + size;
    names ranks;
    oct_result r = OCT_OK;
    while (at < end) {
        const char *eol = (const char *)memchr(at, '\n', (size_t)(end - at));
        if (!eol) eol = end;
        const char *space = (const char *)memchr(at, ' ', (size_t)(eol - at));
        oct_string code, bytes;
        int64_t rank = 0;
        if (eol == at) {
            at = eol + 1;
            continue;
        }
        code.data = at;
        code.len = space ? (size_t)(space - at) : 0;
        for (const char *c = space ? space + 1 : eol; c < eol && *c != '\r'; c++)
            rank = *c >= '0' && *c <= '9' && rank < VOCAB_MAX ? rank * 10 + (*c - '0') : VOCAB_MAX;
        if (!space || space + 1 == eol || !vocab_unbase64(v->p, code, &bytes))
            return oct__fail(err, OCT_E_FORMAT, "%s: byte %zu: expected a token in base64 and its rank", v->file,
                             (size_t)(at - (const char *)data));
        if ((r = vocab_put(v, rank, bytes, 0.0f, TOKEN_NORMAL, err)) != OCT_OK) return r;
        at = eol + 1;
    }
    if (names_open(&ranks, v->p, v->n) || !(v->merges = POOL_NEW(v->p, oct_string, v->n))) return vocab_memory(v, err);
    for (size_t i = 0; i < v->n; i++)
        if (v->tokens[i].data) (void)names_add(&ranks, v->tokens[i], (uint32_t)i);
    for (size_t i = 0; !r && i < v->n; i++) {
        const size_t split = v->tokens[i].data ? vocab_split(&ranks, v->tokens[i], (uint32_t)i) : 0;
        if (!split) continue;
        oct_string a = v->tokens[i], b = a;
        a.len = split;
        b.data += split;
        b.len -= split;
        a = vocab_letters(v->p, a);
        b = vocab_letters(v->p, b);
        r = a.data && b.data ? vocab_merge(v, a, b, err) : vocab_memory(v, err);
    }
    for (size_t i = 0; !r && i < v->n; i++)
        if (v->tokens[i].data && !(v->tokens[i] = vocab_letters(v->p, v->tokens[i])).data) r = vocab_memory(v, err);
    return r ? r : vocab_specials(v, qwen, err);
}

/* --- GPT-2's files and tokenizer.json ------------------------------------------------------------------------------ */

static inline bool vocab_blank(oct_string s) {
    for (size_t i = 0; i < s.len; i++)
        if (!strchr(" \t\n\r\v\f", s.data[i]) || !s.data[i]) return false;
    return s.len > 0;
}
/* {"token": id, ...} */
static inline oct_result vocab_ids(vocab *v, const json *ids, bool added, oct_error *err) {
    for (const json *m = ids ? ids->first : NULL; m; m = m->next) {
        const int type = !added ? TOKEN_NORMAL : vocab_blank(m->key) ? TOKEN_USER : TOKEN_CONTROL;
        if (m->kind != JSON_NUMBER) return oct__fail(err, OCT_E_FORMAT, "%s: token '%.*s': no id", v->file, OCT__S(m->key));
        const oct_result r = vocab_put(v, json_int(m, -1), m->key, -1000.0f, type, err);
        if (r) return r;
    }
    return OCT_OK;
}
/* Lines "left right" behind a first line of "#version". */
static inline oct_result vocab_merges_text(vocab *v, const unsigned char *data, size_t size, oct_error *err) {
    const char *at = (const char *)data, *const end = at + size;
    size_t lines = 1;
    for (size_t i = 0; i < size; i++) lines += data[i] == '\n';
    if (!(v->merges = POOL_NEW(v->p, oct_string, lines))) return vocab_memory(v, err);
    for (bool first = true; at < end; first = false) {
        const char *eol = (const char *)memchr(at, '\n', (size_t)(end - at));
        if (!eol) eol = end;
        oct_string line;
        line.data = at;
        line.len = (size_t)(eol - at) - (eol > at && eol[-1] == '\r' ? 1 : 0);
        at = eol + 1;
        if (line.len == 0 || (first && line.len > 8 && memcmp(line.data, "#version", 8) == 0)) continue;
        if (!memchr(line.data, ' ', line.len))
            return oct__fail(err, OCT_E_FORMAT, "%s: a merge without its second part: '%.*s'", v->file, OCT__S(line));
        v->merges[v->n_merges++] = line;
    }
    return OCT_OK;
}
/* What splits text into words, from the regular expression or the kind of pre-tokenizer; NULL: unknown. */
static inline const char *vocab_words(const json *pre) {
    const json *list = json_get(pre, "pretokenizers");
    const char *found = NULL;
    for (const json *m = list ? list->first : pre; m; m = list ? m->next : NULL) {
        const oct_string type = json_text(json_get(m, "type"), "");
        const oct_string regex = json_text(json_get(json_get(m, "pattern"), "Regex"), "");
        if (oct__str_is(type, "Digits")) found = "smollm";
        if (oct__str_is(type, "ByteLevel") && !found && json_true(json_get(m, "use_regex"), true)) found = "gpt-2";
        if (!oct__str_is(type, "Split") || regex.len == 0) continue;
        if (oct__str_find(regex, oct__str("\\p{N}{1,3}"), 0) != SIZE_MAX) found = "llama-bpe";
        else if (oct__str_find(regex, oct__str("|\\p{N}|"), 0) != SIZE_MAX) found = "qwen2";
        else return NULL;
    }
    return found;
}
static inline oct_result vocab_json_merges(vocab *v, const json *merges, oct_error *err) {
    if (!merges || merges->kind != JSON_ARRAY) return oct__fail(err, OCT_E_FORMAT, "%s: no model.merges", v->file);
    if (!(v->merges = POOL_NEW(v->p, oct_string, merges->count))) return vocab_memory(v, err);
    for (const json *m = merges->first; m; m = m->next) {
        if (m->kind == JSON_STRING && memchr(m->text.data, ' ', m->text.len)) {
            v->merges[v->n_merges++] = m->text;
            continue;
        }
        if (m->kind != JSON_ARRAY || m->count != 2 || m->first->kind != JSON_STRING || m->first->next->kind != JSON_STRING)
            return oct__fail(err, OCT_E_FORMAT, "%s: merge %zu: expected two parts", v->file, v->n_merges);
        const oct_result r = vocab_merge(v, m->first->text, m->first->next->text, err);
        if (r) return r;
    }
    return OCT_OK;
}
static inline oct_result vocab_added(vocab *v, const json *added, oct_error *err) {
    for (const json *m = added ? added->first : NULL; m; m = m->next) {
        const json *id = json_get(m, "id");
        const oct_string text = json_text(json_get(m, "content"), "");
        const oct_string key = m->key;
        int64_t at = json_int(id, -1);
        if (!id && key.len && key.len < 8) {               /* added_tokens_decoder: {"437": {...}} */
            at = 0;
            for (size_t i = 0; i < key.len; i++)
                at = key.data[i] >= '0' && key.data[i] <= '9' ? at * 10 + key.data[i] - '0' : VOCAB_MAX;
        }
        const bool unknown = v->spm && at >= 0 && (size_t)at < v->n && v->types[at] == TOKEN_UNKNOWN;
        const oct_result r = vocab_put(v, at, text, at >= 0 && (size_t)at < v->n ? v->scores[at] : -1000.0f,
                                       unknown                                    ? TOKEN_UNKNOWN
                                       : json_true(json_get(m, "special"), false) ? TOKEN_CONTROL
                                                                                  : TOKEN_USER,
                                       err);
        if (r) return r;
    }
    return OCT_OK;
}
/* SentencePiece's BPE in tokenizer.json: the first merge that makes a piece gives its score; what none makes is never merged. */
static inline oct_result vocab_json_scores(vocab *v, oct_error *err) {
    names ids;
    if (names_open(&ids, v->p, v->n)) return vocab_memory(v, err);
    for (size_t i = 0; i < v->n; i++) {
        v->scores[i] = -1e9f;
        if (v->tokens[i].data) (void)names_add(&ids, v->tokens[i], (uint32_t)i);
    }
    for (size_t i = 0; i < v->n_merges; i++) {
        const oct_string m = v->merges[i];
        const char *space = (const char *)memchr(m.data, ' ', m.len);
        char piece[VOCAB_TOKEN];
        const size_t left = (size_t)(space - m.data), right = m.len - left - 1;
        oct_string both;
        uint32_t id;
        if (m.len > sizeof piece) continue;
        memcpy(piece, m.data, left);
        memcpy(piece + left, space + 1, right);
        both.data = piece;
        both.len = left + right;
        if (names_find(&ids, both, &id) && v->scores[id] < -9e8f) v->scores[id] = -(float)i;
    }
    return OCT_OK;
}
static inline oct_result vocab_json_pieces(vocab *v, const json *model, oct_error *err) {
    const oct_string unk = json_text(json_get(model, "unk_token"), "<unk>");
    const oct_result r = vocab_json_scores(v, err);
    v->spm = true;
    v->n_merges = 0;
    for (size_t i = 0; i < v->n; i++) {
        const oct_string t = v->tokens[i];
        if (t.len == 6 && memcmp(t.data, "<0x", 3) == 0 && t.data[5] == '>') v->types[i] = TOKEN_BYTE;
        if (t.data && oct__str_same(t, unk)) v->types[i] = TOKEN_UNKNOWN;
    }
    return r;
}
static inline oct_result vocab_tokenizer_json(vocab *v, const json *root, oct_error *err) {
    const json *model = json_get(root, "model");
    const oct_string type = json_text(json_get(model, "type"), "BPE");
    oct_result r;
    if (!model || !oct__str_is(type, "BPE"))
        return oct__fail(err, OCT_E_UNSUPPORTED, "%s: model type '%.*s', expected BPE", v->file, OCT__S(type));
    if ((r = vocab_ids(v, json_get(model, "vocab"), false, err)) != OCT_OK ||
        (r = vocab_json_merges(v, json_get(model, "merges"), err)) != OCT_OK)
        return r;
    if (json_true(json_get(model, "byte_fallback"), false)) r = vocab_json_pieces(v, model, err);
    else v->pre = vocab_words(json_get(root, "pre_tokenizer"));
    v->template_bos =
        oct__str_find(json_text(json_get(json_get(root, "post_processor"), "type"), ""), oct__str("Template"), 0) != SIZE_MAX;
    return r ? r : vocab_added(v, json_get(root, "added_tokens"), err);
}

#endif
