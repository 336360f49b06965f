/* clang -g -O1 -fsanitize=fuzzer,address,undefined -I. tests/fuzz_gguf.c -o build/fuzz_gguf -lm && build/fuzz_gguf -max_len=65536
 * gcc   -g -O1 -fsanitize=address,undefined        -I. tests/fuzz_gguf.c -o build/fuzz_gguf -lm && build/fuzz_gguf -n 100000 [FILE...]
 *
 * A model from hostile bytes: opened, and if it opens, asked, tokenized with, and run for a few tokens.  Whatever the bytes,
 * nothing may crash, hang, leak, or take more memory than the limit.  Under libFuzzer, inputs start from tiny models made
 * here; without it, main replays the files given, then mutates them (or those models) N times.  An input that ends the
 * program is left in fuzz-crash.gguf.
 */
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"
#include "../tools/gguf_writer.h"

/* --- an allocator with a limit ---------------------------------------------------------- */

enum { FUZZ_LIMIT = 256 << 20 };
typedef struct fuzz_heap { size_t live; } fuzz_heap;
static void *fuzz_alloc(void *user, size_t bytes) {
    fuzz_heap *h = (fuzz_heap *)user;
    if (bytes > (size_t)FUZZ_LIMIT - h->live) return NULL;
    size_t *p = (size_t *)malloc(bytes + 64);
    if (!p) return NULL;
    p[0] = bytes;
    h->live += bytes;
    return (char *)p + 64;
}
static void fuzz_free(void *user, void *ptr) {
    size_t *p = (size_t *)(void *)((char *)ptr - 64);
    ((fuzz_heap *)user)->live -= p[0];
    free(p);
}

/* --- the target ----------------------------------------------------------------------------- */

/* Everything that can be asked of a model that is open. */
static unsigned fuzz_ask(const oct_model *m) {
    oct_model_info info;
    oct_meta meta, item;
    oct_tensor t;
    oct_error err;
    float row[1024];
    unsigned sum = 0;
    oct_model_info_get(m, &info);
    for (size_t i = 0; oct_model_meta(m, i, &meta) == OCT_OK; i++) {
        size_t cursor = 0;
        for (uint64_t k = 0; k < 1000 && oct_meta_item(&meta, k, &cursor, &item) == OCT_OK; k++) sum += (unsigned)item.s.len + (unsigned)item.u;
    }
    for (size_t i = 0; oct_model_tensor(m, i, &t) == OCT_OK; i++) {
        if (t.ne[0] <= 1024 && oct_tensor_row(&t, t.ne[1] * t.ne[2] * t.ne[3] - 1, row, &err) == OCT_OK) sum += row[0] > 0.0f;
        sum += ((const unsigned char *)t.data)[t.bytes - 1];
    }
    return sum + (unsigned)info.n_vocab;
}
static void fuzz_words(const oct_model *m) {
    static const char text[] = "Hello <|im_end|>  w\xc3\xb6rld \xff\n\n123 it's";
    int32_t ids[256];
    char out[2048];
    size_t n = 0, len = 0;
    oct_error err;
    for (unsigned flags = 0; flags < 4; flags++)
        if (oct_tokenize(m, text, sizeof text - 1, flags, ids, 256, &n, &err) == OCT_OK)
            (void)oct_detokenize(m, ids, n, flags, out, sizeof out, &len, &err);
}
static void fuzz_run(const oct_model *m, int raw) {
    oct_session_desc d;
    oct_session *s = NULL;
    oct_error err;
    oct_token t;
    const int32_t id = 1;
    memset(&d, 0, sizeof d);
    d.n_ctx = raw ? 16 : 256;
    d.n_batch = 8;
    d.n_threads = 1;
    d.raw = raw;
    d.kv_type = raw ? OCT_KV_Q8_0 : OCT_KV_F16;
    d.sampling.temperature = raw ? 1.0f : 0.0f;
    d.capacity = raw;                                      /* refused where the file has experts and no factor */
    if (oct_session_open(&s, m, &d, &err) == OCT_E_ARG && raw) {
        d.capacity = 0;
        (void)oct_session_open(&s, m, &d, &err);
    }
    if (!s) return;
    if ((raw ? oct_feed_tokens(s, &id, 1, &err) : oct_feed_text(s, "hi there", &err)) == OCT_OK)
        for (int i = 0; i < 3 && oct_next(s, &t, &err) == OCT_OK && !t.is_end; i++) {}
    oct_session_close(s);
}
static uint64_t fuzz_state = 1;
static unsigned char *fuzz_model(int which, size_t *len);
/* The bytes as an adapter for a model that is sound. */
static int fuzz_adapter(const uint8_t *data, size_t size, const oct_model_desc *d, int tell) {
    static unsigned char *base;
    static size_t base_len;
    oct_session_desc sd;
    oct_model *m = NULL;
    oct_lora *l = NULL;
    oct_session *s = NULL;
    oct_error err;
    oct_token t;
    const int32_t ids[2] = { 1, 5 };
    const uint64_t state = fuzz_state;
    fuzz_state = 1;                                        /* the same model in every run */
    if (!base) base = fuzz_model(0, &base_len);
    fuzz_state = state;
    if (oct_model_open_memory(&m, base, base_len, d, &err)) __builtin_trap();
    memset(&sd, 0, sizeof sd);
    sd.n_ctx = sd.raw = 16;
    sd.n_threads = 1;
    const oct_result r = oct_lora_open_memory(&l, m, size ? (const void *)data : "", size, &err);
    if (r && tell) printf("refused: %s\n", err.message);
    const oct_lora *list[1] = { l };
    if (!r && !oct_session_open(&s, m, &sd, &err) && !oct_session_set_lora(s, list, NULL, 1, &err) && !oct_feed_tokens(s, ids, 2, &err))
        for (int i = 0; i < 2 && !oct_next(s, &t, &err); i++) {}
    oct_session_close(s);
    oct_lora_close(l);
    oct_model_close(m);
    return !r;
}
static int fuzz_one(const uint8_t *data, size_t size, int tell) {
    fuzz_heap heap = { 0 };
    oct_model_desc d;
    oct_model *m = NULL;
    oct_error err;
    memset(&d, 0, sizeof d);
    d.allocator.alloc = fuzz_alloc;
    d.allocator.free = fuzz_free;
    d.allocator.user = &heap;
    int opened = 0;
    for (size_t i = 0; i + 8 < OCT__MIN(size, (size_t)256); i++)
        if (memcmp(data + i, "adapter.", 8) == 0) return fuzz_adapter(data, size, &d, tell);
    for (int load = OCT_LOAD_DIRECTORY; load >= OCT_LOAD_ALL; load--) {        /* the strictest last */
        d.load = (oct_load)load;
        memset(&err, 0, sizeof err);
        const oct_result r = oct_model_open_memory(&m, size ? (const void *)data : "", size, &d, &err);
        if (r ? m != NULL || err.code != r || !err.message[0] : !m) __builtin_trap();
        if (r && tell) printf("refused: %s\n", err.message);
        if (r) break;
        (void)fuzz_ask(m);
        if (load != OCT_LOAD_DIRECTORY) fuzz_words(m);
        if (load == OCT_LOAD_ALL) {
            fuzz_run(m, 0);
            fuzz_run(m, 1);
            opened = 1;
        }
        oct_model_close(m);
        m = NULL;
    }
    if (heap.live != 0) __builtin_trap();                  /* leaked */
    return opened;
}
#ifdef __cplusplus
extern "C"
#endif
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)fuzz_one(data, size, 0);
    return 0;
}

/* --- tiny models to start from ------------------------------------------------------------------ */

static uint32_t fuzz_random(void) {
    uint64_t z = (fuzz_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}
enum { FUZZ_EMBD = 32, FUZZ_HEADS = 2, FUZZ_FF = 64, FUZZ_EXPERTS = 3, FUZZ_MODELS = 9 };

/* A tensor of small noise; quantised blocks are random bytes with a scale of about 1/1000. */
static void fuzz_slabs(gguf_writer *w, const char *name, uint32_t type, uint64_t cols, uint64_t rows, uint64_t slabs) {
    const size_t bytes = gw_row_bytes(type, cols) * (size_t)(rows * slabs);
    const uint64_t ne[3] = { cols, rows, slabs };
    unsigned char *data = (unsigned char *)malloc(bytes);
    if (!data) exit(5);
    for (size_t i = 0; i < bytes; i++) data[i] = (unsigned char)fuzz_random();
    if (type == 0) {
        for (size_t i = 0; i < bytes / 4; i++) {
            const float v = ((float)(fuzz_random() >> 8) / 8388608.0f - 1.0f) * (rows == 1 ? 1.0f : 0.2f);
            memcpy(data + 4 * i, &v, 4);
        }
    } else {
        const size_t block = type == 1 ? 2 : gw_row_bytes(type, 32);
        for (size_t i = 0; i < bytes; i += block) memcpy(data + i, "\x18\x14", 2);
    }
    gw_tensor(w, name, type, slabs > 1 ? 3 : rows > 1 ? 2 : 1, ne, data, bytes);
    free(data);
}
static void fuzz_tensor(gguf_writer *w, const char *name, uint32_t type, uint64_t cols, uint64_t rows) {
    fuzz_slabs(w, name, type, cols, rows, 1);
}
static void fuzz_linear(gguf_writer *w, const char *name, uint64_t cols, uint64_t rows, int bias) {
    static const uint32_t types[] = { 0, 1, 2, 3, 6, 7, 8, 20 };
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    fuzz_tensor(w, full, types[fuzz_random() % 8], cols, rows);
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias) fuzz_tensor(w, full, 0, rows, 1);
}
static void fuzz_experts(gguf_writer *w, const char *name, uint64_t cols, uint64_t rows, int bias) {
    char full[64];
    snprintf(full, sizeof full, "%s_exps.weight", name);
    fuzz_slabs(w, full, fuzz_random() % 2 ? 8 : 0, cols, rows, FUZZ_EXPERTS);
    snprintf(full, sizeof full, "%s_exps.bias", name);
    if (bias) fuzz_tensor(w, full, 0, rows, FUZZ_EXPERTS);
}
static void fuzz_norm(gguf_writer *w, const char *name, uint64_t n, int bias) {
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    fuzz_tensor(w, full, 0, n, 1);
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias) fuzz_tensor(w, full, 0, n, 1);
}
/* SentencePiece-like: three control tokens, 256 bytes, some letters. */
static uint64_t fuzz_vocab_spm(gguf_writer *w) {
    static const char *const more[] = { "\xe2\x96\x81", "h", "i", "hi", "\xe2\x96\x81hi", "t", "e", "\xe2\x96\x81t", "<|im_end|>" };
    enum { N = 3 + 256 + 9 };
    static const char *const control[] = { "<unk>", "<s>", "</s>" };
    float scores[N];
    int32_t types[N];
    gw_str(w, "tokenizer.ggml.model", "llama");
    gw_array_strings(w, "tokenizer.ggml.tokens", N);
    for (int i = 0; i < N; i++) {
        char byte[8];
        snprintf(byte, sizeof byte, "<0x%02X>", (unsigned)(i - 3) & 255u);
        const char *text = i < 3 ? control[i] : i < 259 ? byte : more[i - 259];
        gw_array_item(w, text, strlen(text));
        scores[i] = -(float)i;
        types[i] = i == 0 ? 2 : i < 3 || i == N - 1 ? 3 : i < 259 ? 6 : 1;
    }
    gw_array_f32(w, "tokenizer.ggml.scores", scores, N);
    gw_array_i32(w, "tokenizer.ggml.token_type", types, N);
    gw_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gw_u32(w, "tokenizer.ggml.eos_token_id", 2);
    gw_bool(w, "tokenizer.ggml.add_bos_token", 1);
    return N;
}
/* Byte-level: the 256 byte symbols, a few merges, one control token. */
static uint64_t fuzz_vocab_bpe(gguf_writer *w, const char *pre) {
    static const char *const merges[] = { "h e", "l l", "he ll", "\xc4\xa0 t" };
    static const char *const merged[] = { "he", "ll", "hell", "\xc4\xa0t", "<|im_end|>" };
    enum { N = 256 + 5 };
    int32_t types[N];
    int extra = 0;
    gw_str(w, "tokenizer.ggml.model", "gpt2");
    gw_str(w, "tokenizer.ggml.pre", pre);
    gw_array_strings(w, "tokenizer.ggml.tokens", N);
    for (int i = 0; i < N; i++) {
        char symbol[8];
        const int plain = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || (i >= 174 && i <= 255);
        const int cp = plain ? i : 256 + extra;
        if (i < 256 && !plain) extra++;
        if (cp < 128) snprintf(symbol, sizeof symbol, "%c", cp);
        else snprintf(symbol, sizeof symbol, "%c%c", 0xC0 | (cp >> 6 & 31), 0x80 | (cp & 63));
        const char *text = i < 256 ? symbol : merged[i - 256];
        gw_array_item(w, text, strlen(text));
        types[i] = i == N - 1 ? 3 : 1;
    }
    gw_array_i32(w, "tokenizer.ggml.token_type", types, N);
    gw_array_str(w, "tokenizer.ggml.merges", merges, 4);
    gw_u32(w, "tokenizer.ggml.eos_token_id", N - 1);
    return N;
}
static void fuzz_key(gguf_writer *w, const char *arch, const char *suffix, uint32_t v) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", arch, suffix);
    gw_u32(w, key, v);
}
static void fuzz_layer(gguf_writer *w, int which, int n_kv, int fused, int bias, int gate, int experts) {
    void (*const ffn)(gguf_writer *, const char *, uint64_t, uint64_t, int) = experts ? fuzz_experts : fuzz_linear;
    const uint64_t kv = (uint64_t)n_kv * FUZZ_EMBD / FUZZ_HEADS;
    fuzz_norm(w, "blk.0.attn_norm", FUZZ_EMBD, bias && which != 4);
    if (fused) {
        fuzz_linear(w, "blk.0.attn_qkv", FUZZ_EMBD, 3 * FUZZ_EMBD, 1);
    } else {
        fuzz_linear(w, "blk.0.attn_q", FUZZ_EMBD, FUZZ_EMBD, bias);
        fuzz_linear(w, "blk.0.attn_k", FUZZ_EMBD, kv, bias);
        fuzz_linear(w, "blk.0.attn_v", FUZZ_EMBD, kv, bias);
    }
    fuzz_linear(w, "blk.0.attn_output", FUZZ_EMBD, FUZZ_EMBD, which == 1);
    if (which != 1) fuzz_norm(w, "blk.0.ffn_norm", FUZZ_EMBD, which == 2);
    if (experts) fuzz_tensor(w, "blk.0.ffn_gate_inp.weight", 0, FUZZ_EMBD, FUZZ_EXPERTS);
    if (gate) ffn(w, "blk.0.ffn_gate", FUZZ_EMBD, FUZZ_FF, 0);
    ffn(w, "blk.0.ffn_up", FUZZ_EMBD, FUZZ_FF, which == 1);
    ffn(w, "blk.0.ffn_down", FUZZ_FF, FUZZ_EMBD, which == 1);
}
/* LoRA matrices beside a linear: of experts, or of an adapter. */
static void fuzz_lora(gguf_writer *w, const char *stem, uint64_t rank, uint64_t rows, uint64_t n) {
    char full[64];
    snprintf(full, sizeof full, "%s.lora_a", stem);
    fuzz_slabs(w, full, fuzz_random() % 2, FUZZ_EMBD, rank, n);
    snprintf(full, sizeof full, "%s.lora_b", stem);
    fuzz_slabs(w, full, fuzz_random() % 2, rank, rows, n);
}
/* For the first of the models below. */
static unsigned char *fuzz_adapter_file(size_t *len) {
    gguf_writer w;
    gw_begin(&w);
    gw_str(&w, "general.type", "adapter");
    gw_str(&w, "general.architecture", "llama");
    gw_str(&w, "adapter.type", "lora");
    gw_f32(&w, "adapter.lora.alpha", 8);
    fuzz_lora(&w, "blk.0.attn_q.weight", 4, FUZZ_EMBD, 1);
    fuzz_lora(&w, "blk.0.ffn_up.weight", 5, FUZZ_FF, 1);
    fuzz_lora(&w, "output.weight", 3, 268, 1);
    return gw_finish(&w, len);
}
/* One layer of each architecture, then LLaMA and Phi-2 with experts, LLaMA with LoRA experts, an adapter.  malloc'ed. */
static unsigned char *fuzz_model(int which, size_t *len) {
    static const char *const archs[5] = { "llama", "phi2", "stablelm", "qwen", "qwen2" };
    static const char *const pres[5] = { "", "gpt-2", "stablelm2", "qwen2", "qwen2" };
    const int experts = which == 5 || which == 6, lora = which == 7;
    if (which == 8) return fuzz_adapter_file(len);
    which = lora ? 0 : which % 5;
    const char *arch = archs[which];
    const int n_kv = which == 0 || which == 4 ? 1 : 2, layer_norm = which == 1 || which == 2;
    gguf_writer w;
    char key[96];
    gw_begin(&w);
    gw_str(&w, "general.architecture", arch);
    fuzz_key(&w, arch, "context_length", 64);
    fuzz_key(&w, arch, "embedding_length", FUZZ_EMBD);
    fuzz_key(&w, arch, "block_count", 1);
    fuzz_key(&w, arch, "feed_forward_length", which == 3 ? 2 * FUZZ_FF : FUZZ_FF);
    fuzz_key(&w, arch, "attention.head_count", FUZZ_HEADS);
    fuzz_key(&w, arch, "attention.head_count_kv", (uint32_t)n_kv);
    fuzz_key(&w, arch, "rope.dimension_count", layer_norm ? 8 : 16);
    snprintf(key, sizeof key, "%s.attention.layer_norm%s_epsilon", arch, layer_norm ? "" : "_rms");
    gw_f32(&w, key, 1e-5f);
    if (experts) fuzz_key(&w, arch, "expert_used_count", 2);
    if (experts && which == 1) gw_f32(&w, "octavius.moe.capacity_factor", 0.5f);
    const uint64_t n_vocab = which == 0 ? fuzz_vocab_spm(&w) : fuzz_vocab_bpe(&w, pres[which]);
    fuzz_tensor(&w, "token_embd.weight", 8, FUZZ_EMBD, n_vocab);
    fuzz_layer(&w, which, n_kv, which == 1 || which == 3, which != 0 && which != 3, which != 1, experts);
    if (lora) {
        fuzz_tensor(&w, "gate.weight", 0, FUZZ_EMBD, FUZZ_EXPERTS);
        fuzz_lora(&w, "blk.0.attn_q", 4, FUZZ_EMBD, FUZZ_EXPERTS);
        fuzz_lora(&w, "blk.0.attn_v", 3, (uint64_t)n_kv * FUZZ_EMBD / FUZZ_HEADS, FUZZ_EXPERTS);
        gw_u32(&w, "octavius.lora.expert_used_count", 2);
    }
    fuzz_norm(&w, "output_norm", FUZZ_EMBD, layer_norm);
    if (which != 4) fuzz_linear(&w, "output", FUZZ_EMBD, n_vocab, which == 1);
    return gw_finish(&w, len);
}

/* --- mutation --------------------------------------------------------------------------------------- */

/* Changes data [*size] (room for cap) a little; most of it where the header and the tables are. */
static void fuzz_mutate(uint8_t *data, size_t *size, size_t cap) {
    static const uint64_t extremes[] = { 0, 1, 2, 255, 256, 65535, 0x7FFFFFFF, 0x80000000u, 0xFFFFFFFFu, (uint64_t)1 << 32, (uint64_t)1 << 62,
                                         ((uint64_t)1 << 62) - 1, INT64_MAX, (uint64_t)1 << 63, UINT64_MAX, UINT64_MAX - 7, 0x7FC00000u, 0x7F800000u };
    for (int n = 1 + (int)(fuzz_random() % 4); n > 0 && *size > 0; n--) {
        const size_t span = fuzz_random() % 4 && *size > 4096 ? 4096 : *size, at = fuzz_random() % span;
        const uint64_t extreme = extremes[fuzz_random() % (sizeof extremes / sizeof extremes[0])];
        const size_t width = (size_t)1 << fuzz_random() % 4;
        switch (fuzz_random() % 8) {
        case 0: data[at] = (uint8_t)(data[at] ^ (1u << fuzz_random() % 8)); break;
        case 1: data[at] = (uint8_t)fuzz_random(); break;
        case 2: case 3: if (at + width <= *size) memcpy(data + at, &extreme, width); break;
        case 4: data[at] = (uint8_t)(data[at] + (fuzz_random() % 2 ? 1 : -1)); break;
        case 5: if (fuzz_random() % 8 == 0) *size = at; break;
        case 6: {                                          /* some bytes over others */
            const size_t from = fuzz_random() % *size, most = *size - (at > from ? at : from);
            memmove(data + at, data + from, most < 32 ? most : 32);
            break;
        }
        default: {                                         /* bytes left out, or put in */
            const size_t k = 1 + fuzz_random() % 8;
            if (fuzz_random() % 2 && at + k < *size) {
                memmove(data + at, data + at + k, *size - at - k);
                *size -= k;
            } else if (*size + k <= cap) {
                memmove(data + at + k, data + at, *size - at);
                *size += k;
            }
        }
        }
    }
}
/* libFuzzer starts from nothing: hand it the models. */
#ifdef __cplusplus
extern "C"
#endif
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    fuzz_state = seed;
    if (size < 24 || memcmp(data, "GGUF", 4) != 0 || fuzz_random() % 256 == 0) {
        size_t len;
        unsigned char *model = fuzz_model((int)(fuzz_random() % FUZZ_MODELS), &len);
        if (len <= max_size) {
            memcpy(data, model, len);
            size = len;
        }
        free(model);
    }
    fuzz_mutate(data, &size, max_size);
    return size;
}

/* --- without libFuzzer: its own main is strong and wins --------------------------------------------- */

static const uint8_t *fuzz_now;
static size_t fuzz_now_len;
static void fuzz_save(void) {
    FILE *f = fopen("fuzz-crash.gguf", "wb");
    if (!f) return;
    fwrite(fuzz_now, 1, fuzz_now_len, f);
    fclose(f);
    fputs("fuzz_gguf: the input is in fuzz-crash.gguf\n", stderr);
}
#ifdef __cplusplus
extern "C"
#endif
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

static unsigned char *fuzz_load(const char *path, size_t *len) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    gw_buf b = { NULL, 0, 0 };
    char piece[4096];
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;) gw_put(&b, piece, n);
    fclose(f);
    *len = b.len;
    return b.data ? b.data : (unsigned char *)malloc(1);
}
__attribute__((weak)) int main(int argc, char **argv) {
    enum { SEEDS = 64 };
    unsigned char *seeds[SEEDS];
    size_t lens[SEEDS];
    int n_seeds = 0, opened = 0;
    long n = 0;
    unsigned long long first = 1;
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(fuzz_save);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-n") == 0 && i + 1 < argc) n = strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "-seed") == 0 && i + 1 < argc) first = strtoull(argv[++i], NULL, 10);
        else if (n_seeds < SEEDS) {
            seeds[n_seeds] = fuzz_load(argv[i], &lens[n_seeds]);
            if (!seeds[n_seeds]) {
                fprintf(stderr, "fuzz_gguf: %s: cannot be read\n", argv[i]);
                return 2;
            }
            n_seeds++;
        }
    }
    for (int k = 0; n_seeds == k && k < FUZZ_MODELS; k++, n_seeds++) seeds[k] = fuzz_model(k, &lens[k]);
    for (int k = 0; k < n_seeds; k++) {
        fuzz_now = seeds[k];
        fuzz_now_len = lens[k];
        printf("seed %d: %zu bytes: ", k, lens[k]);
        if (fuzz_one(seeds[k], lens[k], 1)) printf("runs\n");
    }
    for (long i = 0; i < n; i++) {
        fuzz_state = first * 1000003u + (uint64_t)i;
        const int k = (int)(fuzz_random() % (uint32_t)n_seeds);
        size_t len = lens[k];
        uint8_t *data = (uint8_t *)malloc(len + 64);
        if (!data) return 5;
        memcpy(data, seeds[k], len);
        fuzz_mutate(data, &len, len + 64);
        uint8_t *exact = (uint8_t *)malloc(len ? len : 1);     /* ends where its memory ends */
        if (!exact) return 5;
        memcpy(exact, data, len);
        free(data);
        fuzz_now = exact;
        fuzz_now_len = len;
        opened += fuzz_one(exact, len, 0);
        free(exact);
    }
    if (n) printf("%ld mutated, of which %d still ran\n", n, opened);
    for (int k = 0; k < n_seeds; k++) free(seeds[k]);
    return 0;
}
