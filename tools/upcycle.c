/* octavius-upcycle - makes a model with experts of a dense one.
 *
 *     octavius-upcycle IN.gguf -o OUT.gguf [--experts 4] [--top-k 2] [--layers even|all|0,2] [--seed N] [--verify] [--force]
 *
 * In the chosen layers every expert is a copy of the feed-forward layer, byte for byte, and a router is drawn: where
 * MoE-Tuning's third stage begins.  The weights of the experts that a token meets have the sum 1, so that until it is trained
 * the model computes what the dense one does; --verify shows by how much it does not.  Only a single expert keeps its own
 * weight, below 1, in all architectures but llama.  llama.cpp reads the result where that is llama and all layers have experts.
 */
#if !defined(_POSIX_C_SOURCE)
#  define _POSIX_C_SOURCE 200809L
#endif
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"

#define PROGRAM "octavius-upcycle"
#include "program.h"
#include "gguf_write.h"

static const char help_text[] =
    "usage: octavius-upcycle IN.gguf -o OUT.gguf [--experts 4] [--top-k 2] [--layers even|all|0,2] [--seed N] [--verify] [--force]\n"
    "\n"
    "  --experts N      copies of the feed-forward layer, 1 to 256; default 4\n"
    "  --top-k N        experts that a token meets; default 2\n"
    "  --layers L       even (default: 0, 2, 4, ...), all, or a list\n"
    "  --seed N         of the routers' weights, uniform between -1 and 1 by the root of the width; default 1\n"
    "  --verify         open both files and compare their logits, with F32 activations\n"
    "  -o FILE          appears when it is whole\n"
    "  --force          FILE may be there already\n"
    "Exit codes: 0 ok, 1 cannot be written or logits differ, 2 usage, 3 model, 5 memory, 130 interrupted.\n";

enum { MAX_LAYERS = 1024, MAX_EXPERTS = 256 };

typedef struct args {
    const char   *in, *out, *layers;
    long          experts, k_top;
    uint64_t      seed;
    int           force, verify;
    int           n_layer;                             /* of the model */
    unsigned char chosen[MAX_LAYERS];
} args;

/* --- the command line ---------------------------------------------------------------------------------- */

static int parse_value(args *a, const char *name, const char *value) {
    char *end = NULL;
    errno = 0;
    if (strcmp(name, "-o") == 0) {
        a->out = value;
    } else if (strcmp(name, "--layers") == 0) {
        a->layers = value;
    } else if (strcmp(name, "--seed") == 0) {
        a->seed = strtoull(value, &end, 10);
        if (!*value || *end || errno || *value == '-') return fail(EXIT_USAGE, "--seed: '%s', expected a number from 0", value);
    } else {
        const long n = strtol(value, &end, 10);
        if (!*value || *end || errno || n < 1 || n > MAX_EXPERTS)
            return fail(EXIT_USAGE, "%s: '%s', expected a number from 1 to %d", name, value, MAX_EXPERTS);
        *(name[2] == 'e' ? &a->experts : &a->k_top) = n;
    }
    return EXIT_OK;
}
static int parse(args *a, int argc, char **argv) {
    memset(a, 0, sizeof *a);
    a->experts = 4;
    a->k_top = 2;
    a->seed = 1;
    a->layers = "even";
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--force") == 0) {
            a->force = 1;
        } else if (strcmp(name, "--verify") == 0) {
            a->verify = 1;
        } else if (strcmp(name, "-o") == 0 || strcmp(name, "--experts") == 0 || strcmp(name, "--top-k") == 0 ||
                   strcmp(name, "--layers") == 0 || strcmp(name, "--seed") == 0) {
            if (++i == argc) return fail(EXIT_USAGE, "%s: nothing follows it, expected a value", name);
            const int bad = parse_value(a, name, argv[i]);
            if (bad) return bad;
        } else if (name[0] == '-' || a->in) {
            return fail(EXIT_USAGE, "%s: unexpected; see --help", name);
        } else {
            a->in = name;
        }
    }
    if (!a->in) return fail(EXIT_USAGE, "which file? see --help");
    if (!a->out) return fail(EXIT_USAGE, "where to? -o FILE");
    return a->k_top <= a->experts ? EXIT_OK : fail(EXIT_USAGE, "--top-k: %ld, expected at most %ld, the number of experts",
                                                   a->k_top, a->experts);
}
/* Fills a->chosen, now that n_layer is known. */
static int choose_layers(args *a) {
    const int step = strcmp(a->layers, "even") == 0 ? 2 : strcmp(a->layers, "all") == 0 ? 1 : 0;
    const char *p = a->layers;
    for (int i = 0; step && i < a->n_layer; i += step) a->chosen[i] = 1;
    while (!step) {
        char *end = NULL;
        const long n = *p >= '0' && *p <= '9' ? strtol(p, &end, 10) : -1;
        if (n < 0 || n >= a->n_layer || (*end && *end != ','))
            return fail(EXIT_USAGE, "--layers: '%s', expected even, all, or numbers from 0 to %d with commas between",
                        a->layers, a->n_layer - 1);
        a->chosen[n] = 1;
        if (!*end) break;
        p = end + 1;
    }
    return EXIT_OK;
}

/* --- the model -------------------------------------------------------------------------------------------- */

/* The block that t belongs to, or -1; *what: its name there. */
static int block_of(const char *name, const char **what) {
    char *end = NULL;
    if (strncmp(name, "blk.", 4) != 0 || name[4] < '0' || name[4] > '9') return -1;
    const long n = strtol(name + 4, &end, 10);
    *what = end + 1;
    return *end == '.' && n < MAX_LAYERS ? (int)n : -1;
}
/* Which tensor of a feed-forward layer: "ffn_up" and its ending, "weight" or "bias"; 0: none. */
static int is_ffn(const char *what, const char **end) {
    static const char *const parts[3] = { "ffn_gate.", "ffn_up.", "ffn_down." };
    for (int i = 0; i < 3; i++) {
        if (strncmp(what, parts[i], strlen(parts[i])) != 0) continue;
        *end = what + strlen(parts[i]);
        return strcmp(*end, "weight") == 0 || strcmp(*end, "bias") == 0;
    }
    return 0;
}
/* Finds n_layer; a model that has experts is refused. */
static int look(args *a, const oct_model *m) {
    for (size_t i = 0; i < oct_model_tensor_count(m); i++) {
        oct_tensor  t;
        char        name[64];
        const char *what = NULL;
        oct_model_tensor(m, i, &t);
        gguf_out_name(&t, name);
        const int n = block_of(name, &what);
        if (n >= 0 && strncmp(what, "ffn_gate_inp", 12) == 0)
            return fail(EXIT_MODEL, "%s: tensor '%s': the model has experts already", a->in, name);
        if (n >= a->n_layer) a->n_layer = n + 1;
    }
    return a->n_layer ? EXIT_OK : fail(EXIT_MODEL, "%s: no tensor 'blk.0.*', expected a language model", a->in);
}
/* What becomes of tensor i: its block if it is copied into every expert, else -1.  *is_up: the router goes before it. */
static int expert_part(const args *a, const oct_model *m, size_t i, oct_tensor *t, char name[64], const char **end, int *is_up) {
    const char *what = NULL;
    oct_model_tensor(m, i, t);
    gguf_out_name(t, name);
    const int n = block_of(name, &what);
    *is_up = n >= 0 && strcmp(what, "ffn_up.weight") == 0;
    return n >= 0 && a->chosen[n] && is_ffn(what, end) ? n : -1;
}
static int declare_tensors(gguf_out *o, const args *a, const oct_model *m) {
    int routers = 0, wanted = 0;
    for (int i = 0; i < a->n_layer; i++) wanted += a->chosen[i];
    for (size_t i = 0; i < oct_model_tensor_count(m) && !o->failed; i++) {
        oct_tensor  t;
        const char *end = NULL;
        char        name[64], made[96];
        int         is_up = 0;
        const int   n = expert_part(a, m, i, &t, name, &end, &is_up);
        if (n < 0) {
            gguf_out_tensor(o, name, t.type, t.n_dims, t.ne);
            continue;
        }
        if (is_up) {
            const int64_t router[2] = { t.ne[0], a->experts };
            snprintf(made, sizeof made, "blk.%d.ffn_gate_inp.weight", n);
            gguf_out_tensor(o, made, BLOCKS_F32, 2, router);
            routers++;
        }
        const int rank = strcmp(end, "bias") == 0 ? 1 : 2;
        int64_t   ne[3] = { t.ne[0], t.ne[1], a->experts };
        ne[rank] = a->experts;
        snprintf(made, sizeof made, "%.*s_exps.%s", (int)(end - name - 1), name, end);
        gguf_out_tensor(o, made, t.type, rank + 1, ne);
    }
    if (!o->failed && routers != wanted) gguf_out_fail(o, EXIT_MODEL,
                                                       "%s: %d of the %d chosen layers have no 'ffn_up.weight'", a->in, wanted - routers, wanted);
    return o->failed;
}
/* [experts, n_embd]: nn.Linear's default. */
static int write_router(gguf_out *o, const args *a, int layer, int64_t n_embd) {
    const double   bound = 1 / sqrt((double)n_embd);
    const uint64_t seed = oct__mix64(a->seed) + (uint64_t)layer;
    float         *row = (float *)malloc((size_t)n_embd * sizeof *row);
    if (!row) return gguf_out_fail(o, EXIT_MEMORY, "router of layer %d: no memory", layer);
    for (int e = 0; e < (int)a->experts; e++) {
        for (int64_t i = 0; i < n_embd; i++) row[i] = (float)((2 * oct__draw(seed, (int)(e * n_embd + i)) - 1) * bound);
        gguf_out_write(o, row, (size_t)n_embd * sizeof *row);
    }
    free(row);
    return o->failed;
}
static int write_tensors(gguf_out *o, const args *a, const oct_model *m) {
    for (size_t i = 0; i < oct_model_tensor_count(m) && !o->failed; i++) {
        oct_tensor  t;
        const char *end = NULL;
        char        name[64];
        int         is_up = 0;
        const int   n = expert_part(a, m, i, &t, name, &end, &is_up);
        if (n >= 0 && is_up) write_router(o, a, n, t.ne[0]);
        for (int e = 0; e < (n < 0 ? 1 : (int)a->experts); e++) gguf_out_write(o, t.data, t.bytes);
    }
    return o->failed;
}
static int upcycle(const args *a, const oct_model *m) {
    gguf_out       o;
    oct_model_info info;
    char           count[128], used[128];
    oct_model_info_get(m, &info);
    snprintf(count, sizeof count, "%.*s.expert_count", (int)info.architecture.len, info.architecture.data);
    snprintf(used, sizeof used, "%.*s.expert_used_count", (int)info.architecture.len, info.architecture.data);
    const gguf_out_u32 keys[2] = { { count, (uint32_t)a->experts }, { used, (uint32_t)a->k_top } };
    if (!gguf_out_begin(&o, a->out, a->force)) {
        gguf_out_copy_metas(&o, m, keys, 2);
        declare_tensors(&o, a, m);
    }
    if (!o.failed) write_tensors(&o, a, m);
    const uint64_t bytes = o.total;
    if (gguf_out_close(&o)) return fail(o.failed, "%s", o.error);
    printf("%s: %ld experts in layers", a->out, a->experts);
    for (int i = 0, first = 1; i < a->n_layer; i++)
        if (a->chosen[i]) printf("%s%d", first ? " " : ",", i), first = 0;
    printf(", %.1f MB from %.1f MB\n", 1e-6 * (double)bytes, 1e-6 * (double)info.file_bytes);
    return EXIT_OK;
}

/* --- both models on the same tokens ------------------------------------------------------------------------------ */

enum { VERIFY_PROMPT = 16, VERIFY_STEPS = 8 };             /* tokens at once, then one by one */

/* Logits after the prompt and after each step: *out [1 + VERIFY_STEPS, *n], malloc'ed. */
static int logits_of(const char *path, const args *a, float **out, int *n) {
    oct_model       *m = NULL;
    oct_session     *s = NULL;
    oct_error        err;
    oct_session_desc desc;
    int32_t          ids[VERIFY_PROMPT + VERIFY_STEPS];
    memset(&err, 0, sizeof err);
    memset(&desc, 0, sizeof desc);
    desc.n_ctx = VERIFY_PROMPT + VERIFY_STEPS + 8;
    desc.exact = desc.raw = 1;
    desc.kv_type = OCT_KV_F32;
    oct_result r = oct_model_open(&m, path, NULL, &err);
    if (!r) r = oct_session_open(&s, m, &desc, &err);
    for (int i = 0, done = 0; i <= VERIFY_STEPS && !r; i++) {
        const int want = VERIFY_PROMPT + i;
        oct_model_info info;
        oct_model_info_get(m, &info);
        for (int k = done; k < want; k++) ids[k] = (int32_t)(oct__draw(a->seed, k) * info.n_vocab);
        r = oct_feed_tokens(s, ids + done, (size_t)(want - done), &err);
        if (!r) r = oct_prefill(s, &err);
        if (r) break;
        const float *row = oct_session_logits(s, n);
        if (!*out) *out = (float *)malloc((size_t)(1 + VERIFY_STEPS) * (size_t)*n * sizeof **out);
        if (!*out || !row) r = OCT_E_MEMORY;
        else memcpy(*out + (size_t)i * (size_t)*n, row, (size_t)*n * sizeof *row);
        done = want;
    }
    if (r && !err.message[0]) snprintf(err.message, sizeof err.message, "no memory for logits");
    if (r) err.code = r;
    oct_session_close(s);
    oct_model_close(m);
    return r ? fail_with(path, &err) : EXIT_OK;
}
static int verify(const args *a) {
    float *dense = NULL, *made = NULL;
    double most = 0, apart = 0;
    int    n = 0, n_made = 0, code = logits_of(a->in, a, &dense, &n);
    if (!code) code = logits_of(a->out, a, &made, &n_made);
    if (!code && n != n_made) code = fail(EXIT_RUNTIME, "%s: %d logits, expected %d", a->out, n_made, n);
    for (int i = 0; !code && i < (1 + VERIFY_STEPS) * n; i++) {
        const double d = fabs((double)made[i] - (double)dense[i]), v = fabs((double)dense[i]);
        if (d > apart || d != d) apart = d;
        if (d != d) break;
        if (v > most) most = v;
    }
    free(dense);
    free(made);
    if (code) return code;
    int n_moe = 0;
    for (int i = 0; i < a->n_layer; i++) n_moe += a->chosen[i];
    const double error = apart / most, bound = 1e-6 + 1e-7 * n_moe;         /* every layer with experts rounds once more */
    printf("logits of %d places: largest difference %.2e of the largest logit", 1 + VERIFY_STEPS, error);
    if (a->k_top == 1) printf(" (a single expert may have a weight below 1)\n");
    else printf(", expected at most %.1e\n", bound);
    return a->k_top == 1 || error <= bound ? EXIT_OK : fail(EXIT_RUNTIME, "%s: logits differ from those of %s", a->out, a->in);
}

int main(int argc, char **argv) {
    static args    a;
    oct_model     *m = NULL;
    oct_model_desc desc;
    oct_error      err;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help_text, stdout);
        return EXIT_OK;
    }
    int code = parse(&a, argc, argv);
    if (code) return code;
    gguf_out_catch_signals();
    memset(&desc, 0, sizeof desc);
    memset(&err, 0, sizeof err);
    desc.load = OCT_LOAD_DIRECTORY;
    if (oct_model_open(&m, a.in, &desc, &err) != OCT_OK) return fail_with(a.in, &err);
    code = look(&a, m);
    if (!code) code = choose_layers(&a);
    if (!code) code = upcycle(&a, m);
    oct_model_close(m);
    if (!code && a.verify) code = verify(&a);
    if (!code && (fflush(stdout) != 0 || ferror(stdout))) code = fail(EXIT_RUNTIME, "stdout: cannot be written");
    return code;
}
