/* clang -g -O1 -fsanitize=fuzzer,address,undefined -I. tests/fuzz_tokenizer.c -o build/fuzz_tokenizer -lm && build/fuzz_tokenizer -max_len=4096
 * gcc   -g -O1 -fsanitize=address,undefined        -I. tests/fuzz_tokenizer.c -o build/fuzz_tokenizer -lm && build/fuzz_tokenizer -n 100000 [FILE...]
 *
 * A vocabulary and a text from hostile bytes.  Whatever they are, loading either fails with a message or gives a vocabulary
 * that encodes and decodes: every id exists, no text becomes a control token unless that was asked for, sizes told and sizes
 * written agree, and nothing leaks.  Without libFuzzer, main replays the files given, then mutates them (or inputs made here)
 * N times.  An input that ends the program is left in fuzz-crash.tok.
 *
 * An input: one byte (kind of vocabulary), one byte n, n tokens (length byte, type byte, score byte, bytes), one byte m,
 * m merges (length byte, bytes), eight bytes of special ids, and the text.
 */
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"
#include "../tools/gguf_writer.h"

/* --- the target --------------------------------------------------------------------- */

typedef struct fuzz_in { const uint8_t *p; size_t left; } fuzz_in;
static unsigned fuzz_byte(fuzz_in *in) {
    if (in->left == 0) return 0;
    in->left--;
    return *in->p++;
}
/* The next n bytes, or as many as there are. */
static const char *fuzz_bytes(fuzz_in *in, size_t *n) {
    const char *s = (const char *)in->p;
    if (*n > in->left) *n = in->left;
    in->p += *n;
    in->left -= *n;
    return s;
}
static void fuzz_vocabulary(gguf_writer *w, fuzz_in *in) {
    static const char *const pres[] = { "gpt-2", "phi-2", "smollm", "qwen2", "stablelm2", "llama-bpe", "smaug-bpe", "default" };
    static const char *const ids[] = { "bos", "eos", "eot", "unknown" };
    int32_t types[512];
    float scores[512];
    const unsigned kind = fuzz_byte(in);
    const int spm = kind & 1, bytes = (kind & 16) != 0;
    const unsigned n = fuzz_byte(in), total = n + (bytes ? 256 : 0);
    char symbol[160];
    gw_begin(w);
    gw_str(w, "tokenizer.ggml.model", spm ? "llama" : "gpt2");
    gw_str(w, "tokenizer.ggml.pre", pres[kind >> 1 & 7]);
    gw_array_strings(w, "tokenizer.ggml.tokens", total);
    for (unsigned i = 0; i < total; i++) {
        if (i < n) {
            size_t len = fuzz_byte(in) & 31;
            const unsigned type = fuzz_byte(in);
            types[i] = (int32_t)(type % 7);
            scores[i] = -(float)(fuzz_byte(in) & 15);
            const char *s = fuzz_bytes(in, &len);
            if (types[i] == 6 && type < 192) len = (size_t)snprintf(symbol, sizeof symbol, "<0x%02X>", type), s = symbol;
            gw_array_item(w, s, len);
        } else {                                            /* every byte, so that text need not be lost */
            const unsigned b = i - n;
            types[i] = spm ? 6 : 1;
            scores[i] = 0.0f;
            const int len = spm ? snprintf(symbol, sizeof symbol, "<0x%02X>", b)
                                : b > 32 && b < 127 ? snprintf(symbol, sizeof symbol, "%c", (int)b) : oct__utf8_encode(oct__byte_to_cp(b), symbol);
            gw_array_item(w, symbol, (size_t)len);
        }
    }
    gw_array_f32(w, "tokenizer.ggml.scores", scores, total);
    if (!(kind & 32)) gw_array_i32(w, "tokenizer.ggml.token_type", types, total);
    const unsigned m = fuzz_byte(in);
    gw_array_strings(w, "tokenizer.ggml.merges", m);
    for (unsigned i = 0; i < m; i++) {
        size_t len = fuzz_byte(in) & 31;
        const char *s = fuzz_bytes(in, &len);
        gw_array_item(w, s, len);
    }
    for (int i = 0; i < 4; i++) {
        char key[64];
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", ids[i]);
        const unsigned lo = fuzz_byte(in), hi = fuzz_byte(in);
        if (hi & 128) gw_u32(w, key, lo | (hi & 3) << 8);
    }
    gw_bool(w, "tokenizer.ggml.add_space_prefix", (kind & 64) != 0);
}
static void fuzz_text(const oct__vocab *v, const oct_allocator *a, const char *text, size_t len) {
    oct__buf ids;
    oct_error err;
    memset(&ids, 0, sizeof ids);
    ids.allocator = a;
    for (unsigned flags = 0; flags < 4; flags++) {
        ids.len = 0;
        if (oct__vocab_encode(v, text, len, flags, &ids, &err) != OCT_OK) __builtin_trap();
        const size_t n = oct__ids_count(&ids);
        size_t sum = 0;
        for (size_t i = 0; i < n; i++) {
            const int32_t id = oct__ids(&ids)[i];
            char piece[48];
            if (!oct__vocab_is_real(v, id)) __builtin_trap();
            if (!(flags & OCT__ENC_SPECIAL) && oct__vocab_is_control(v, id) && id != v->unk) __builtin_trap();
            sum += (size_t)oct__vocab_piece(v, id, false, piece, sizeof piece);
        }
        for (unsigned d = 0; d < 8; d++) {
            const size_t need = oct__vocab_decode(v, oct__ids(&ids), n, d, NULL, 0);
            char *out = (char *)malloc(need + 1);
            if (oct__vocab_decode(v, oct__ids(&ids), n, d, out, need) != need) __builtin_trap();
            if (d == 0 && need > sum) __builtin_trap();     /* the pieces, less one space at most */
            if (d == 0 && sum - need > 1) __builtin_trap();
            (void)oct__vocab_decode(v, oct__ids(&ids), n, d, out, need / 2);
            free(out);
        }
    }
    oct__buf_free(&ids);
}
/* Whether the vocabulary loaded. */
static int fuzz_one(const uint8_t *data, size_t size, int tell) {
    fuzz_in in = { data, size };
    gguf_writer w;
    oct_allocator a;
    oct_error err;
    oct__gguf g;
    oct__vocab v;
    oct_string part;
    memset(&a, 0, sizeof a);
    memset(&err, 0, sizeof err);
    fuzz_vocabulary(&w, &in);
    unsigned char *file = gw_finish(&w, &part.len);
    part.data = (const char *)file;
    if (oct__gguf_parse(&g, &a, &part, 1, &err) != OCT_OK) __builtin_trap();
    const oct_result r = oct__vocab_load(&v, &g, &a, &err);
    if (r ? err.code != r || !err.message[0] || v.memory : v.n_tokens < 1) __builtin_trap();
    if (r && tell) printf("refused: %s\n", err.message);
    if (!r) fuzz_text(&v, &a, (const char *)in.p, in.left);
    oct__vocab_free(&v);
    oct__gguf_free(&g);
    free(file);
    return !r;
}
#ifdef __cplusplus
extern "C"
#endif
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)fuzz_one(data, size, 0);
    return 0;
}

/* --- inputs to start from -------------------------------------------------------------------- */

static uint64_t fuzz_state = 1;
static uint32_t fuzz_random(void) {
    uint64_t z = (fuzz_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}
enum { FUZZ_MAX = 8192 };
static size_t fuzz_add(uint8_t *out, size_t n, const void *s, size_t len) {
    memcpy(out + n, s, len);
    return n + len;
}
/* An input of sound structure: pieces and merges over two letters, some special tokens, a long text. */
static size_t fuzz_make(uint8_t *out) {
    static const char *const words[] = { "<|im_end|>", "<s>", "</s>", "  ", "[PAD7]", "\xE2\x96\x81", "\xC4\xA0", "\xC4\xA0" "a", "it's", "e\xCC\x81",
                                         "\xC3\x83\xC2\xA9", "12" };
    const unsigned tokens = 20 + fuzz_random() % 60, merges = 1 + fuzz_random() % 40;
    size_t n = 0;
    out[n++] = (uint8_t)fuzz_random();
    out[n++] = (uint8_t)tokens;
    for (unsigned i = 0; i < tokens; i++) {
        const char *s = words[fuzz_random() % 12];
        char letters[8];
        size_t len = strlen(s);
        if (fuzz_random() % 4) {
            len = 1 + fuzz_random() % 6;
            for (size_t k = 0; k < len; k++) letters[k] = (char)('a' + fuzz_random() % 2);
            s = letters;
        }
        out[n++] = (uint8_t)len;
        out[n++] = fuzz_random() % 3 ? 1 : (uint8_t)fuzz_random();
        out[n++] = (uint8_t)fuzz_random();
        n = fuzz_add(out, n, s, len);
    }
    out[n++] = (uint8_t)merges;
    for (unsigned i = 0; i < merges; i++) {
        char s[16];
        const int len = snprintf(s, sizeof s, "%.*s %.*s", (int)(1 + fuzz_random() % 3), &"ababab"[fuzz_random() % 3],
                                 (int)(1 + fuzz_random() % 3), &"aabbab"[fuzz_random() % 3]);
        out[n++] = (uint8_t)len;
        n = fuzz_add(out, n, s, (size_t)len);
    }
    for (int i = 0; i < 8; i++) out[n++] = (uint8_t)fuzz_random();
    for (const size_t end = n + 1 + fuzz_random() % 600; n < end;) {
        const char *s = words[fuzz_random() % 12];
        if (fuzz_random() % 3) out[n++] = (uint8_t)(fuzz_random() % 8 ? 'a' + fuzz_random() % 2 : fuzz_random());
        else n = fuzz_add(out, n, s, strlen(s));
    }
    return n;
}
static size_t fuzz_mutate(uint8_t *p, size_t n) {
    for (unsigned k = fuzz_random() % 6; k > 0 && n > 0; k--) {
        const size_t at = fuzz_random() % n, want = 1 + fuzz_random() % 8, len = OCT__MIN(n - at, want);
        switch (fuzz_random() % 5) {
        case 0: p[at] = (uint8_t)(p[at] ^ (1u << fuzz_random() % 8)); break;
        case 1: p[at] = (uint8_t)fuzz_random(); break;
        case 2: p[at] = fuzz_random() % 2 ? 0xFF : 0; break;
        case 3:                                             /* a piece goes */
            memmove(p + at, p + at + len, n - at - len);
            n -= len;
            break;
        default:                                            /* a piece comes twice */
            if (n + len > FUZZ_MAX) break;
            memmove(p + at + len, p + at, n - at);
            n += len;
        }
    }
    return n;
}

/* --- without libFuzzer: its own main is strong and wins --------------------------------------------- */

static const uint8_t *fuzz_now;
static size_t fuzz_now_len;
static void fuzz_save(void) {
    FILE *f = fopen("fuzz-crash.tok", "wb");
    if (!f) return;
    fwrite(fuzz_now, 1, fuzz_now_len, f);
    fclose(f);
    fputs("fuzz_tokenizer: the input is in fuzz-crash.tok\n", stderr);
}
#ifdef __cplusplus
extern "C"
#endif
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

/* Runs a copy that ends where its memory ends. */
static int fuzz_exact(const uint8_t *data, size_t len, int tell) {
    uint8_t *exact = (uint8_t *)malloc(len ? len : 1);
    if (!exact) return 0;
    if (len) memcpy(exact, data, len);
    fuzz_now = exact;
    fuzz_now_len = len;
    const int loaded = fuzz_one(exact, len, tell);
    free(exact);
    return loaded;
}
static size_t fuzz_read(const char *path, uint8_t *out) {      /* at most FUZZ_MAX bytes; 0: cannot be read */
    FILE *f = fopen(path, "rb");
    if (!f) return 0;
    const size_t n = fread(out, 1, FUZZ_MAX, f);
    fclose(f);
    return n;
}
__attribute__((weak)) int main(int argc, char **argv) {
    static uint8_t data[FUZZ_MAX];
    int n_files = 0, loaded = 0;
    long n = 0;
    unsigned long long first = 1;
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(fuzz_save);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-n") == 0 && i + 1 < argc) n = strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "-seed") == 0 && i + 1 < argc) first = strtoull(argv[++i], NULL, 10);
        else argv[n_files++] = argv[i];                      /* never ahead of i */
    }
    for (int k = 0; k < n_files; k++) {
        const size_t len = fuzz_read(argv[k], data);
        printf("%s: %zu bytes: ", argv[k], len);
        if (fuzz_exact(data, len, 1)) printf("loads\n");
    }
    for (long i = 0; i < n; i++) {
        fuzz_state = first * 1000003u + (uint64_t)i;
        size_t len = n_files ? fuzz_read(argv[fuzz_random() % (unsigned)n_files], data) : fuzz_make(data);
        len = fuzz_mutate(data, len);
        loaded += fuzz_exact(data, len, 0);
    }
    if (n) printf("%ld mutated, of which %d still loaded\n", n, loaded);
    return 0;
}
