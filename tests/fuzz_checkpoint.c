/* clang -g -O1 -DOCTAVIUS_NO_SIMD -fsanitize=fuzzer,address,undefined -I. tests/fuzz_checkpoint.c -o build/fuzz_checkpoint -lm
 * gcc   -g -O1 -DOCTAVIUS_NO_SIMD -fsanitize=address,undefined        -I. tests/fuzz_checkpoint.c -o build/fuzz_checkpoint -lm
 *
 * What octavius-convert reads, from hostile bytes.  The first byte chooses the reader: JSON, zip, pickle, safetensors, a
 * PyTorch file, SentencePiece, ranks, tokenizer.json with merges, features of 3D scenes.  Nothing may crash, hang, leak or take
 * much memory.  -DFUZZ_ONLY=8: this reader alone.
 * Without libFuzzer, main takes small good inputs and mutates them: build/fuzz_checkpoint -n 100000 [FILE...]
 */
#if !defined(_POSIX_C_SOURCE)
#  define _POSIX_C_SOURCE 200809L
#endif
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"
#define PROGRAM "fuzz_checkpoint"
#include "../tools/program.h"
#include "../tools/gguf_write.h"
#include "../tools/checkpoint.h"
#include "../tools/vocab.h"
#include "../tools/features.h"

enum { FUZZ_READERS = 9, FUZZ_LIMIT = 256 << 20 };

/* --- readers ------------------------------------------------------------------------------------ */

static unsigned fuzz_json(pool *p, const unsigned char *data, size_t size) {
    const json *root, *stack[JSON_DEPTH + 2];
    oct_error err;
    unsigned sum = 0;
    int depth = 0;
    if (json_parse(p, (const char *)data, size, "fuzz", &root, &err)) return 0;
    stack[depth++] = root;
    while (depth > 0) {
        const json *v = stack[--depth];
        if (v->next) stack[depth++] = v->next;
        if (v->first) stack[depth++] = v->first;
        sum += (unsigned)v->text.len + (unsigned)json_int(v, 1) + (v->text.len && v->text.data[v->text.len - 1] > 0);
    }
    return sum + 1 + (json_get(root, "a") != NULL);
}
static unsigned fuzz_zip(pool *p, const unsigned char *data, size_t size) {
    zip z;
    oct_error err;
    unsigned sum = 1;
    size_t budget = (size_t)64 << 20;
    if (zip_open(&z, p, data, size, "fuzz", &err)) return 0;
    for (size_t i = 0; i < z.n; i++) {
        const unsigned char *bytes;
        void *owned;
        if (z.members[i].n_bytes > budget) break;
        budget -= z.members[i].n_bytes;
        if (zip_read(&z, &z.members[i], &bytes, &owned, &err)) continue;
        sum += z.members[i].n_bytes ? bytes[z.members[i].n_bytes - 1] : 1u;
        free(owned);
    }
    return sum + (zip_find_end(&z, "/data.pkl") != NULL);
}
static unsigned fuzz_pickle(pool *p, const unsigned char *data, size_t size) {
    pickle_reader r;
    pickle_value *v;
    oct_error err;
    unsigned n = 0;
    pickle_open(&r, p, data, size, "fuzz");
    while (n < 8 && pickle_load(&r, &v, &err) == OCT_OK)
        n += 1 + (unsigned)(v->kind == PICKLE_DICT && pickle_get(v, "model") != NULL);
    return n;
}
static unsigned fuzz_safetensors(pool *p, const unsigned char *data, size_t size) {
    safetensors s;
    oct_error err;
    unsigned sum = 1;
    if (safetensors_open(&s, p, data, size, "fuzz", &err)) return 0;
    for (size_t i = 0; i < s.n; i++)
        if (s.tensors[i].end > s.tensors[i].begin) sum += s.data[s.tensors[i].begin] + (unsigned)s.data[s.tensors[i].end - 1];
    return sum;
}
/* A whole file, as far as numbers in rows. */
static unsigned fuzz_torch(const unsigned char *data, size_t size) {
    static checkpoint c;
    checkpoint_file f;
    oct_error err;
    char path[] = "fuzz";
    unsigned sum = 1;
    float out[64];
    memset(&c, 0, sizeof c);
    memset(&f, 0, sizeof f);
    c.p.limit = FUZZ_LIMIT;
    f.path = path;
    f.data = data;
    f.size = size;
    oct_result r = zip_is(data, size)            ? checkpoint_zip(&c, &f, &err)
                   : size >= 9 && data[8] == '{' ? checkpoint_safetensors(&c, &f, &err)
                                                 : checkpoint_pickle(&c, &f, &err);
    size_t budget = (size_t)64 << 20;
    for (size_t i = 0; !r && i < c.n; i++) {
        checkpoint_tensor *t = &c.tensors[i];
        size_t all = 1;
        for (int d = 0; d < t->n_dims; d++) all *= t->shape[d];
        const size_t cost = 64 + (t->member && t->member->deflated ? t->member->n_bytes : 0) +
                            (t->member && !t->member->checked ? t->member->n_bytes : 0);
        if (cost > budget) break;
        budget -= cost;
        if (all == 0 || checkpoint_use(t, &err)) continue;
        const size_t n = OCT__MIN(all, (size_t)64);
        checkpoint_row(t, all / n - 1, n, out);
        checkpoint_row(t, 0, n, out);
        sum += out[n - 1] > 0.0f;
        checkpoint_done(t);
    }
    checkpoint_close(&c);
    return r ? 0 : sum;
}
/* Every question's numbers, but none of the files. */
static unsigned fuzz_features(const unsigned char *data, size_t size) {
    static features f;
    unsigned sum = 0;
    float row[64];
    memset(&f, 0, sizeof f);
    f.c.p.limit = FUZZ_LIMIT;
    const bool good = features_lists(&f, data, size, "fuzz") == OCT_OK;
    for (size_t i = 0; good && i < f.n && i < 64; i++) {
        checkpoint_tensor pair[2];
        if (features_pair(&f, i, &pair[0], &pair[1])) break;
        for (int k = 0; k < 2; k++) {
            const size_t n = pair[k].shape[0] * pair[k].shape[1];
            if (n == 0 || n > 64) continue;
            checkpoint_row(&pair[k], 0, n, row);
            sum += 1 + (row[n - 1] > 0.0f);
        }
    }
    pool_free(&f.c.p);
    return sum;
}
static unsigned fuzz_vocab(pool *p, int which, const unsigned char *data, size_t size) {
    vocab v;
    oct_error err;
    const json *root;
    memset(&v, 0, sizeof v);
    v.p = p;
    v.file = "fuzz";
    oct_result r;
    if (which == 0) r = vocab_sentencepiece(&v, data, size, &err);
    else if (which == 1) r = vocab_tiktoken(&v, data, size, (size & 1) != 0, &err);
    else if ((r = json_parse(p, (const char *)data, size, "fuzz", &root, &err)) == OCT_OK)
        r = vocab_tokenizer_json(&v, root, &err);
    else r = vocab_merges_text(&v, data, size, &err);
    return r ? 0 : 1 + (unsigned)(v.n && vocab_id(&v, v.tokens[v.n - 1]) >= 0);
}
static unsigned fuzz_one(const uint8_t *data, size_t size) {
    pool p = { NULL, 0, FUZZ_LIMIT };
    unsigned good = 0;
    if (size == 0) return 0;
#if defined(FUZZ_ONLY)
    const int which = FUZZ_ONLY;
#else
    const int which = data[0] % FUZZ_READERS;
#endif
    data++;
    size--;
    if (which == 0) good = fuzz_json(&p, data, size);
    else if (which == 1) good = fuzz_zip(&p, data, size);
    else if (which == 2) good = fuzz_pickle(&p, data, size);
    else if (which == 3) good = fuzz_safetensors(&p, data, size);
    else if (which == 4) good = fuzz_torch(data, size);
    else if (which == 8) good = fuzz_features(data, size);
    else good = fuzz_vocab(&p, which - 5, data, size);
    pool_free(&p);
    return good;
}
#ifdef __cplusplus
extern "C"
#endif
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)fuzz_one(data, size);
    return 0;
}

/* --- inputs ---------------------------------------------------------------------------------------- */

static uint64_t fuzz_state = 1;
static uint32_t fuzz_random(void) {
    fuzz_state = fuzz_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(fuzz_state >> 33);
}
static int fuzz_which(void) {
#if defined(FUZZ_ONLY)
    return FUZZ_ONLY;
#else
    return (int)(fuzz_random() % FUZZ_READERS);
#endif
}
typedef struct fuzz_input { uint8_t data[2048]; size_t len; } fuzz_input;
static void fuzz_put(fuzz_input *f, const void *data, size_t n) {
    memcpy(f->data + f->len, data, n);
    f->len += n;
}
static void fuzz_number(fuzz_input *f, uint64_t v, int n) { fuzz_put(f, &v, (size_t)n); }

/* {"w": a tensor of 2 x 2 floats from storage "0"} */
static const char fuzz_tensor_pickle[] =
    "\x80\x02}q\0X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000"
    "X\3\0\0\0cpuK\4tQK\0K\2K\2\x86K\2K\1\x86\x89}tRq\1s.";
static void fuzz_archive(fuzz_input *f) {
    static const char *const member_names[2] = { "m/data.pkl", "m/data/0" };
    const uint8_t numbers[16] = { 0, 0, 128, 63, 0, 0, 0, 64 };
    const void *bytes[2] = { fuzz_tensor_pickle, numbers };
    const size_t sizes[2] = { sizeof fuzz_tensor_pickle - 1, sizeof numbers }, begin = f->len;
    size_t at[2];
    for (int i = 0; i < 2; i++) {
        at[i] = f->len - begin;
        fuzz_put(f, "PK\3\4\24\0\0\0\0\0\0\0\0\0", 14);
        fuzz_number(f, zip_crc((const unsigned char *)bytes[i], sizes[i]), 4);
        fuzz_number(f, sizes[i], 4);
        fuzz_number(f, sizes[i], 4);
        fuzz_number(f, strlen(member_names[i]), 4);
        fuzz_put(f, member_names[i], strlen(member_names[i]));
        fuzz_put(f, bytes[i], sizes[i]);
    }
    const size_t directory = f->len - begin;
    for (int i = 0; i < 2; i++) {
        fuzz_put(f, "PK\1\2\24\0\24\0\0\0\0\0\0\0\0\0", 16);
        fuzz_number(f, zip_crc((const unsigned char *)bytes[i], sizes[i]), 4);
        fuzz_number(f, sizes[i], 4);
        fuzz_number(f, sizes[i], 4);
        fuzz_number(f, strlen(member_names[i]), 8);
        fuzz_number(f, 0, 6);
        fuzz_number(f, at[i], 4);
        fuzz_put(f, member_names[i], strlen(member_names[i]));
    }
    const size_t end = f->len - begin;
    fuzz_put(f, "PK\5\6\0\0\0\0\2\0\2\0", 12);
    fuzz_number(f, end - directory, 4);
    fuzz_number(f, directory, 4);
    fuzz_number(f, 0, 2);
}
/* One question with six numbers for each of its tensors, each storage a stream of its own. */
static void fuzz_scene(fuzz_input *f) {
    static const char stream[] = "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02(X\7\0\0\0storagectorch\n"
                                 "HalfStorage\nX\1\0\0\0000X\3\0\0\0cpuK\6NtQ.\x80\x02]X\1\0\0\0000a.\6\0\0\0\0\0\0\0"
                                 "\0<\0@\0B\0D\0E\0F";
    static const char call[] = "ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\nB";
    static const char rest[] = "\x85RK\0K\6\x85K\1\x85\x89}tRa";
    static const char *const lists[] = { "vision_embeds_3d_ref_list", "vision_pos_3d_ref_list", "vision_embeds_3d_scene_prop_list",
                                         "vision_pos_3d_scene_prop_list" };
    fuzz_put(f, "\x80\x04}(\x8c\x0etask_type_list]\x8c\5VQA3Da", 29);
    for (int i = 0; i < 4; i++) {
        fuzz_number(f, 0x8C, 1);
        fuzz_number(f, strlen(lists[i]), 1);
        fuzz_put(f, lists[i], strlen(lists[i]));
        fuzz_put(f, "]", 1);
        fuzz_put(f, call, sizeof call - 1);
        fuzz_number(f, sizeof stream - 1, 4);
        fuzz_put(f, stream, sizeof stream - 1);
        fuzz_put(f, rest, sizeof rest - 1);
    }
    fuzz_put(f, "u.", 2);
}
/* A good input for each reader. */
static void fuzz_good(fuzz_input *f, int which) {
    static const char text[] = "{\"a\": [1, -2.5e3, true, null, \"x\\u00e9\\n\"], \"b\": {}}";
    static const char header[] = "{\"w\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]}}";
    static const char tokens[] = "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a "
                                 "b\"]},\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true}],"
                                 "\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}";
    static const char fallback[] = "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"<0x0A>\":3},"
                                   "\"merges\":[[\"a\",\"b\"]]}}";
    static const char pieces[] = "\n\x0e\n\5<unk>\x15\0\0\0\0\x18\2\n\t\n\2ab\x15\0\0\x80\xbf\x1a\2\x18\1\x12\2\x18\2";
    f->len = 0;
    fuzz_number(f, (uint64_t)which, 1);
    if (which == 0) fuzz_put(f, text, sizeof text - 1);
    if (which == 1 || which == 4) fuzz_archive(f);
    if (which == 2) fuzz_put(f, fuzz_tensor_pickle, sizeof fuzz_tensor_pickle - 1);
    if (which == 3) {
        fuzz_number(f, sizeof header - 1, 8);
        fuzz_put(f, header, sizeof header - 1);
        fuzz_number(f, 0x3F800000, 8);
    }
    if (which == 5) fuzz_put(f, pieces, sizeof pieces - 1);
    if (which == 6) fuzz_put(f, "YQ== 0\nYg== 1\nYWI= 2\n", 21);
    if (which == 7 && fuzz_random() % 2) fuzz_put(f, fallback, sizeof fallback - 1);
    else if (which == 7) fuzz_put(f, tokens, sizeof tokens - 1);
    if (which == 8) fuzz_scene(f);
}
static void fuzz_mutate(fuzz_input *f) {
    for (uint32_t n = 1 + fuzz_random() % 6; n > 0 && f->len > 1; n--) {
        const size_t at = 1 + fuzz_random() % (f->len - 1), left = f->len - at,
                     k = 1 + fuzz_random() % OCT__MIN(left, (size_t)16);
        const uint32_t kind = fuzz_random() % 6;
        if (kind == 0) f->data[at] ^= (uint8_t)(1u << fuzz_random() % 8);
        if (kind == 1) f->data[at] = (uint8_t)fuzz_random();
        if (kind == 2) memset(f->data + at, fuzz_random() % 2 ? 255 : 0, k);
        if (kind == 3) memmove(f->data + at, f->data + 1 + fuzz_random() % (f->len - k), k);
        if (kind == 4) f->len = at + left / 2;
        if (kind == 5 && f->len + k < sizeof f->data) {
            memmove(f->data + at + k, f->data + at, left);
            f->len += k;
        }
    }
}
#ifdef __cplusplus
extern "C"
#endif
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    static fuzz_input f;
    fuzz_state = seed;
    if (LLVMFuzzerMutate && size > 1 && fuzz_random() % 64) return LLVMFuzzerMutate(data, size, max_size);
    fuzz_good(&f, fuzz_which());
    if (fuzz_random() % 2) fuzz_mutate(&f);
    if (f.len > max_size) return size;
    memcpy(data, f.data, f.len);
    return f.len;
}

/* --- without libFuzzer: its own main is strong and wins --------------------------------------------- */

__attribute__((weak)) int main(int argc, char **argv) {
    static fuzz_input f;
    long n = 0;
    unsigned good = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-n") == 0 && i + 1 < argc) {
            n = strtol(argv[++i], NULL, 10);
            continue;
        }
        FILE *in = fopen(argv[i], "rb");
        f.len = in ? fread(f.data, 1, sizeof f.data, in) : 0;
        if (in) fclose(in);
        printf("%s: %u\n", argv[i], fuzz_one(f.data, f.len));
    }
    for (int k = 0; k < FUZZ_READERS; k++) {
#if defined(FUZZ_ONLY)
        k = FUZZ_ONLY;
#endif
        fuzz_good(&f, k);
        const unsigned found = fuzz_one(f.data, f.len);
        if (!found) {
            printf("reader %d refuses a good input\n", k);
            return 1;
        }
    }
    for (long i = 0; i < n; i++) {
        fuzz_state = 1000003u + (uint64_t)i;
        fuzz_good(&f, fuzz_which());
        fuzz_mutate(&f);
        uint8_t *exact = (uint8_t *)malloc(f.len ? f.len : 1);
        if (!exact) return 5;
        memcpy(exact, f.data, f.len);
        good += fuzz_one(exact, f.len) != 0;
        free(exact);
    }
    printf("%ld mutated, of which %u were still read\n", n, good);
    return 0;
}
