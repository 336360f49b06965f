/* octavius-quantize - writes a model's tensors in other types.
 *
 *     octavius-quantize IN.gguf --type T -o OUT.gguf [--tensor-type PATTERN=T]... [--force] [--json]
 *
 * Any GGUF file, text models, vision towers and projectors alike, from any type that octavius.h computes with.  Metadata,
 * names, shapes and order stay.  A tensor that has its type already is copied as it is.  Prints each tensor's error, the
 * root mean square of what it lost by that of what it was.
 * Memory: the file is mapped; beside it stand a few million elements and the table of tensors.
 */
#if !defined(_POSIX_C_SOURCE)
#  define _POSIX_C_SOURCE 200809L
#endif
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"

#define PROGRAM "octavius-quantize"
#include "program.h"
#include "gguf_write.h"

static const char help_text[] =
    "usage: octavius-quantize IN.gguf --type T -o OUT.gguf [--tensor-type PATTERN=T]... [--force] [--json]\n"
    "\n"
    "  --type T             f32 f16 bf16 q8_0 q5_0 q4_0 q4_k q5_k q6_k.  Output matrix, embeddings and, with q4_k and q5_k, the\n"
    "                       most sensitive layers get a finer type; norms, biases, routers and positions stay f32.\n"
    "                       Rows that do not fill a type's blocks get another, which is said\n"
    "  --tensor-type P=T    another type for the matrices whose names match P, where * stands for any text; the last one\n"
    "                       that matches counts.  'blk.*.ffn_down.weight=q6_k'\n"
    "  -o FILE              appears when it is whole\n"
    "  --force              FILE may be there already\n"
    "  --json               the table as one JSON object\n"
    "Exit codes: 0 ok, 1 cannot be written, 2 usage, 3 model, 5 memory, 130 interrupted.\n";

typedef struct args {
    const char *in, *out;
    int         force, json;
    quants_plan plan;
} args;

/* Sets *a; EXIT_OK, or the exit code. */
static int parse(args *a, int argc, char **argv) {
    memset(a, 0, sizeof *a);
    a->plan.type = -1;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--force") == 0) {
            a->force = 1;
        } else if (strcmp(name, "--json") == 0) {
            a->json = 1;
        } else if (strcmp(name, "--type") == 0 || strcmp(name, "--tensor-type") == 0 || strcmp(name, "-o") == 0) {
            if (++i == argc) return fail(EXIT_USAGE, "%s: nothing follows it, expected a value", name);
            if (name[1] == 'o') {
                a->out = argv[i];
            } else if (name[3] == 'y') {
                a->plan.type = quants_type_find(argv[i]);
                if (a->plan.type < 0)
                    return fail(EXIT_USAGE, "--type: '%s', expected f32 f16 bf16 q8_0 q5_0 q4_0 q4_k q5_k or q6_k", argv[i]);
            } else {
                const char *why = quants_rule(&a->plan, argv[i]);
                if (why) return fail(EXIT_USAGE, "--tensor-type: '%s': %s", argv[i], why);
            }
        } else if (name[0] == '-' || a->in) {
            return fail(EXIT_USAGE, "%s: unexpected; see --help", name);
        } else {
            a->in = name;
        }
    }
    if (!a->in) return fail(EXIT_USAGE, "which file? see --help");
    if (a->plan.type < 0) return fail(EXIT_USAGE, "--type: missing; see --help");
    return a->out ? EXIT_OK : fail(EXIT_USAGE, "where to? -o FILE");
}

/* --- what to make of it ----------------------------------------------------------------------------------- */

static int rank_of(const oct_tensor *t) {                /* without trailing dimensions of 1 */
    int n = t->n_dims;
    while (n > 1 && t->ne[n - 1] == 1) n--;
    return n;
}
/* How many blocks there are, by the names: "blk.7." makes 8. */
static void count_blocks(const oct_model *m, quants_plan *p) {
    p->tied = 1;
    for (size_t i = 0; i < oct_model_tensor_count(m); i++) {
        oct_tensor t;
        char name[64];
        oct_model_tensor(m, i, &t);
        gguf_out_name(&t, name);
        int *n = strncmp(name, "blk.", 4) == 0 ? &p->n_layer : strncmp(name, "v.blk.", 6) == 0 ? &p->n_vision : NULL;
        if (n && atoi(strstr(name, "blk.") + 4) >= *n) *n = atoi(strstr(name, "blk.") + 4) + 1;
        if (strcmp(name, "output.weight") == 0) p->tied = 0;
    }
}
static int declare_tensors(gguf_out *o, const oct_model *m, const args *a, int *types /* [tensors] */) {
    for (size_t i = 0; i < oct_model_tensor_count(m) && !o->failed; i++) {
        oct_tensor t;
        char name[64];
        int wanted;
        oct_model_tensor(m, i, &t);
        gguf_out_name(&t, name);
        types[i] = quants_choose(&a->plan, name, rank_of(&t), t.ne, &wanted);
        if (!blocks_type_of(t.type))
            return gguf_out_fail(o, EXIT_MODEL, "%s: tensor '%s': type %s, expected one that can be computed with", a->in,
                                 name, t.type_name);
        gguf_out_tensor(o, name, types[i], t.n_dims, t.ne);
    }
    return o->failed;
}

/* --- doing it ------------------------------------------------------------------------------------------------ */

static int read_row(void *user, int64_t row, float *out) {
    return oct_tensor_row((const oct_tensor *)user, row, out, NULL) != OCT_OK;
}

static void print_shape(const oct_tensor *t) {
    char shape[96];
    int  n = 0;
    for (int i = 0; i < t->n_dims; i++)
        n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%lld", i ? ", " : "", (long long)t->ne[i]);
    printf("[%s]", shape);
}
/* One line of the table.  error < 0: copied. */
static void print_tensor(const args *a, const char *name, const oct_tensor *t, int type, int wanted, double error, int first) {
    const char *to = blocks_type_of(type)->name, *from = blocks_type_of(t->type)->name;
    if (a->json) {                                         /* names of tensors hold what a reader of GGUF lets through: escape */
        printf("%s{\"name\":\"", first ? "" : ",");
        for (const char *p = name; *p; p++) {
            if ((unsigned char)*p < 0x20 || *p == '"' || *p == '\\') printf("\\u%04x", (unsigned)(unsigned char)*p);
            else putchar(*p);
        }
        printf("\",\"shape\":");
        print_shape(t);
        printf(",\"from\":\"%s\",\"type\":\"%s\",\"wanted\":\"%s\",\"error\":%.6g}", from, to, blocks_type_of(wanted)->name,
               error > 0 ? error : 0.0);
        return;
    }
    printf("%-36s %-5s -> %-5s ", name, from, to);
    if (error < 0) printf("%9s  ", "copied");
    else printf("%9.2e  ", error);
    print_shape(t);
    if (wanted != type) printf("  rows of %lld do not fill blocks of %s", (long long)t->ne[0], blocks_type_of(wanted)->name);
    printf("\n");
}
static int write_tensors(gguf_out *o, const oct_model *m, const args *a, const int *types) {
    for (size_t i = 0; i < oct_model_tensor_count(m) && !o->failed; i++) {
        oct_tensor t;
        gguf_rows  rows;
        char       name[64];
        int        wanted;
        double     error = -1;
        oct_model_tensor(m, i, &t);
        gguf_out_name(&t, name);
        quants_choose(&a->plan, name, rank_of(&t), t.ne, &wanted);
        if (types[i] == t.type) {
            gguf_out_write(o, t.data, t.bytes);
        } else {
            memset(&rows, 0, sizeof rows);
            rows.cols = t.ne[0];
            rows.rows = t.ne[1] * t.ne[2] * t.ne[3];
            rows.read = read_row;
            rows.user = &t;
            gguf_out_rows(o, &rows);
            error = rows.size2 > 0 ? sqrt(rows.error2 / rows.size2) : 0;
        }
        if (!o->failed) print_tensor(a, name, &t, types[i], wanted, error, i == 0);
    }
    return o->failed;
}
static int quantize(const oct_model *m, args *a, int *types) {
    gguf_out o;
    oct_model_info info;
    const double start = gguf_out_clock();
    const gguf_out_u32 keys[2] = { { "general.file_type", (uint32_t)quants_file_type(a->plan.type) }, { "general.quantization_version", 2 } };
    oct_model_info_get(m, &info);
    count_blocks(m, &a->plan);
    if (!gguf_out_begin(&o, a->out, a->force)) {
        gguf_out_copy_metas(&o, m, keys, 2);
        declare_tensors(&o, m, a, types);
    }
    if (!o.failed && a->json) printf("{\"tensors\":[");
    if (!o.failed) write_tensors(&o, m, a, types);
    const uint64_t bytes = o.total;
    if (gguf_out_close(&o)) return fail(o.failed, "%s", o.error);
    const double seconds = gguf_out_clock() - start;
    if (a->json) printf("],\"bytes_in\":%llu,\"bytes_out\":%llu,\"seconds\":%.3f}\n", (unsigned long long)info.file_bytes,
                        (unsigned long long)bytes, seconds);
    else printf("%s: %s, %.1f MB from %.1f MB in %.1f s\n", a->out, blocks_type_of(a->plan.type)->name, 1e-6 * (double)bytes,
                1e-6 * (double)info.file_bytes, seconds);
    return fflush(stdout) != 0 || ferror(stdout) ? fail(EXIT_RUNTIME, "stdout: cannot be written") : EXIT_OK;
}

int main(int argc, char **argv) {
    args           a;
    oct_model     *m = NULL;
    oct_model_desc desc;
    oct_error      err;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help_text, stdout);
        return EXIT_OK;
    }
    const int bad = parse(&a, argc, argv);
    if (bad) return bad;
    gguf_out_catch_signals();
    memset(&desc, 0, sizeof desc);
    memset(&err, 0, sizeof err);
    desc.load = OCT_LOAD_DIRECTORY;
    if (oct_model_open(&m, a.in, &desc, &err) != OCT_OK) return fail_with(a.in, &err);
    int *types = (int *)malloc((oct_model_tensor_count(m) + 1) * sizeof *types);
    const int code = types ? quantize(m, &a, types) : fail(EXIT_MEMORY, "table of %zu tensors: no memory",
                                                           oct_model_tensor_count(m));
    free(types);
    oct_model_close(m);
    return code;
}
