/* octavius-inspect - looks into GGUF files, and shows the numbers that a model computes with.
 *
 *     cc -O2 -I. tools/inspect.c -o build/octavius-inspect -lm
 *
 * Results go to stdout or to .npy files, faults to stderr, one line each.  Exit codes: 0 ok, 1 runtime, 2 usage, 3 model
 * unreadable or unsupported, 4 picture or cloud unreadable, 5 out of memory or over a limit, 6 context full.
 */
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"

#define PROGRAM "octavius-inspect"
#include "program.h"

#include <sys/stat.h>
#if defined(_WIN32)
#  include <direct.h>
#  define make_folder(path) _mkdir(path)
#else
#  define make_folder(path) mkdir((path), 0777)
#endif


static const char help_text[] =
    "usage: octavius-inspect FILE [--json] [--full]       metadata and tensors of any GGUF file\n"
    "       octavius-inspect tokens FILE [--special]      stdin's bytes to token ids on one line; no BOS is added\n"
    "       octavius-inspect detokenize FILE [--special]  ids from stdin to bytes\n"
    "       octavius-inspect logits FILE --ids 1,2,3 -o OUT.npy [--threads N] [--chunk N] [--isa X] [--kv T] [--exact] [--lora F]\n"
    "       octavius-inspect stages [FILE]                names of the stages that dump can write\n"
    "       octavius-inspect dump FILE (--ids L | [--image F]... [-p TEXT]) (--stage NAME -o OUT.npy | --all -o DIR)\n"
    "                             [-n N] [--kv T] [--isa X] [--threads N] [--mmproj F] [--lora F] [--capacity]\n"
    "                             [--raw] [--prompt-style S] [-sys T] [--expert-pin L] [--expert-mute L] [--gate W]\n"
    "\n"
    "  --json           as one JSON object, arrays in full\n"
    "  --full           strings and arrays in full\n"
    "  --special        text such as <|im_end|> stands for its control token\n"
    "  --ids 1,2,3      these ids, exactly: no template, no BOS\n"
    "  --chunk N        feed N ids at a time\n"
    "  --isa X          scalar, avx2, avx512 or neon; default: the best there is\n"
    "  --kv T           f32, f16 or q8_0; default: f16, with dump f32\n"
    "  --exact          F32 activations with quantised weights and BF16; dump always does\n"
    "  -p TEXT          a user's turn, rendered in the file's prompt style; --raw, --prompt-style and -sys change that\n"
    "  --image F        a picture before the text; may be repeated\n"
    "  --mmproj F       the image encoder, where the model's file holds none\n"
    "  --lora F[:S]     a LoRA adapter in llama.cpp's format, times S; may be repeated\n"
    "  --expert-pin 1,3 LoRA experts: only these compete for the gate's places; --expert-mute 2: these do not;\n"
    "                   --gate 0.5,0,0.5,0: one weight for each.  Default: as the prompt says (with --ids, all of them)\n"
    "  --capacity       experts take only as many tokens as the file's capacity rule lets them; default: no limit\n"
    "  -n N             go on greedily for N steps, past every end; logits_step [N, rows] begins with the prompt's last row\n"
    "  --all            every stage, and ids, as DIR/STAGE.npy\n"
    "Arrays are little-endian float32, C order; ids are int32.\n"
    "Exit codes: 0 ok, 1 runtime, 2 usage, 3 model, 4 picture or cloud, 5 memory or limit, 6 context full.\n";

/* --- faults ------------------------------------------------------------------------------ */

/* Whatever was printed must have arrived. */
static int finish_stdout(void) {
    return fflush(stdout) != 0 || ferror(stdout) ? fail(EXIT_RUNTIME, "stdout: cannot be written") : EXIT_OK;
}

/* --- the command line ------------------------------------------------------------------------ */

typedef struct args {
    const char *command, *file;
    const char *ids, *prompt, *style, *system, *stage, *out, *isa_name, *kv_name, *mmproj, *image, *points, *pin, *mute, *gate, *ignored;
    const char *images[64], *lora, *lora_names[OCT_MAX_LORA];
    int         n_images, n_loras;
    oct_lora   *loras[OCT_MAX_LORA];   /* opened after the model, and with their scales */
    float       scales[OCT_MAX_LORA];
    int         json, full, special, all, raw, exact, capacity, ignored_flag;
    int         threads, chunk, steps, ignored_number;
    oct_isa     isa;
    oct_kv_type kv;
} args;

/* A whole number in [min, max] and nothing else. */
static int parse_number(const char *text, long min, long max, int *out) {
    char *end;
    errno = 0;
    const long v = strtol(text, &end, 10);
    if (end == text || *end || errno || v < min || v > max) return 0;
    *out = (int)v;
    return 1;
}
/* Options: in which commands ("inspect", or the command's first letter), whether text follows, where it goes. */
static int parse_option(args *a, char **argv, int argc, int *i) {
    const struct { const char *name, *commands; const char **text; int *flag, *number; } options[] = {
        { "--json", "i", NULL, &a->json, NULL },             { "--full", "i", NULL, &a->full, NULL },
        { "--special", "tD", NULL, &a->special, NULL },      { "--ids", "ld", &a->ids, NULL, NULL },
        { "--threads", "ld", NULL, NULL, &a->threads },      { "-t", "ld", NULL, NULL, &a->threads },
        { "--chunk", "ld", NULL, NULL, &a->chunk },          { "--isa", "ld", &a->isa_name, NULL, NULL },
        { "--kv", "ld", &a->kv_name, NULL, NULL },           { "--exact", "ld", NULL, &a->exact, NULL },
        { "-o", "ld", &a->out, NULL, NULL },                 { "--stage", "d", &a->stage, NULL, NULL },
        { "--all", "d", NULL, &a->all, NULL },               { "-p", "d", &a->prompt, NULL, NULL },
        { "-n", "d", NULL, NULL, &a->steps },                { "-sys", "d", &a->system, NULL, NULL },
        { "--raw", "d", NULL, &a->raw, NULL },               { "--prompt-style", "d", &a->style, NULL, NULL },
        { "--image", "d", &a->image, NULL, NULL },           { "--cloud", "d", &a->points, NULL, NULL },
        { "--points", "d", &a->points, NULL, NULL },         { "--features", "d", &a->points, NULL, NULL },
        { "--boxes-in", "d", &a->points, NULL, NULL },       { "--mmproj", "ds", &a->mmproj, NULL, NULL },
        { "--up", "d", &a->ignored, NULL, NULL },            { "--unit", "d", &a->ignored, NULL, NULL },
        { "--axis-align", "d", &a->ignored, NULL, NULL },    { "--object", "d", NULL, NULL, &a->ignored_number },
        { "--single-object", "d", NULL, &a->ignored_flag, NULL },
        { "--expert-pin", "ld", &a->pin, NULL, NULL },       { "--expert-mute", "ld", &a->mute, NULL, NULL },
        { "--lora", "ld", &a->lora, NULL, NULL },
        { "--gate", "ld", &a->gate, NULL, NULL },            { "--capacity", "d", NULL, &a->capacity, NULL },
    };
    const char letter = strcmp(a->command, "detokenize") == 0 ? 'D' : a->command[0], *name = argv[*i];
    for (size_t k = 0; k < sizeof options / sizeof options[0]; k++) {
        if (strcmp(name, options[k].name) != 0) continue;
        if (!strchr(options[k].commands, letter)) return fail(EXIT_USAGE, "%s: not an option of %s; see --help", name, a->command);
        if (options[k].flag) {
            *options[k].flag = 1;
            return EXIT_OK;
        }
        if (*i + 1 >= argc) return fail(EXIT_USAGE, "%s: nothing follows it, expected a value", name);
        const char *value = argv[++*i];
        if (options[k].text == &a->image) {
            if (a->n_images == 64) return fail(EXIT_USAGE, "--image: at most 64 pictures");
            a->images[a->n_images++] = value;
        } else if (options[k].text == &a->lora) {
            if (a->n_loras == OCT_MAX_LORA) return fail(EXIT_USAGE, "--lora: at most %d adapters", (int)OCT_MAX_LORA);
            a->lora_names[a->n_loras++] = value;
        } else if (options[k].text) *options[k].text = value;
        else if (!parse_number(value, options[k].number == &a->steps ? 0 : 1, 1 << 22, options[k].number))
            return fail(EXIT_USAGE, "%s: '%s', expected a number from %d", name, value, options[k].number == &a->steps ? 0 : 1);
        return EXIT_OK;
    }
    return fail(EXIT_USAGE, "%s: no such option; see --help", name);
}
static int parse_names(args *a) {
    static const char *const isas[] = { "auto", "scalar", "avx2", "avx512", "neon" };
    static const char *const kvs[] = { "f16", "f32", "q8_0" };
    int isa = 0, kv = strcmp(a->command, "dump") == 0 ? (int)OCT_KV_F32 : (int)OCT_KV_F16;
    if (a->isa_name) {
        for (isa = 0; isa < 5 && strcmp(a->isa_name, isas[isa]) != 0;) isa++;
        if (isa == 5) return fail(EXIT_USAGE, "--isa: '%s', expected scalar, avx2, avx512 or neon", a->isa_name);
        if (!oct_isa_available((oct_isa)isa)) return fail(EXIT_RUNTIME, "--isa: this machine, or this build, has no %s", a->isa_name);
    }
    if (a->kv_name) {
        for (kv = 0; kv < 3 && strcmp(a->kv_name, kvs[kv]) != 0;) kv++;
        if (kv == 3) return fail(EXIT_USAGE, "--kv: '%s', expected f32, f16 or q8_0", a->kv_name);
    }
    a->isa = (oct_isa)isa;
    a->kv = (oct_kv_type)kv;
    return EXIT_OK;
}
static int parse_args(args *a, int argc, char **argv) {
    static const char *const commands[] = { "tokens", "detokenize", "logits", "stages", "dump" };
    int first = 1, only_files = 0;
    memset(a, 0, sizeof *a);
    a->command = "inspect";
    for (size_t k = 0; k < sizeof commands / sizeof commands[0] && argc > 1; k++)
        if (strcmp(argv[1], commands[k]) == 0) {
            a->command = commands[k];
            first = 2;
        }
    for (int i = first; i < argc; i++) {
        if (!only_files && strcmp(argv[i], "--") == 0) {
            only_files = 1;
        } else if (!only_files && argv[i][0] == '-' && argv[i][1]) {
            const int r = parse_option(a, argv, argc, &i);
            if (r) return r;
        } else if (a->file) {
            return fail(EXIT_USAGE, "'%s': a second file, expected one; see --help", argv[i]);
        } else {
            a->file = argv[i];
        }
    }
    if (!a->file && strcmp(a->command, "stages") != 0) return fail(EXIT_USAGE, "no file given; see --help");
    return parse_names(a);
}

static int open_model(oct_model **m, const args *a, oct_load load) {
    oct_model_desc d;
    oct_error err;
    memset(&d, 0, sizeof d);
    d.load = load;
    d.mmproj = a->mmproj;
    return oct_model_open(m, a->file, &d, &err) ? fail_with(a->file, &err) : EXIT_OK;
}

/* The adapters of the options, for m.  A number after the last colon is the scale. */
static int open_loras(args *a, const oct_model *m) {
    for (int i = 0; i < a->n_loras; i++) {
        char path[4096], *end = NULL;
        const char *colon = strrchr(a->lora_names[i], ':');
        oct_error err;
        const double scale = colon && colon[1] ? strtod(colon + 1, &end) : 1.0;
        const int scaled = end && *end == 0;
        snprintf(path, sizeof path, "%.*s", scaled ? (int)(colon - a->lora_names[i]) : (int)sizeof path - 1, a->lora_names[i]);
        a->scales[i] = scaled ? (float)scale : 1.0f;
        if (oct_lora_open(&a->loras[i], m, path, &err)) return fail_with(path, &err);
    }
    return EXIT_OK;
}
static void close_loras(args *a) {
    for (int i = 0; i < a->n_loras; i++) oct_lora_close(a->loras[i]);
}
/* "1,3" as whole numbers, at most OCT__MAX_GATE; what is none becomes -1, which no session takes. */
static int expert_list(const char *text, int *list /* [OCT__MAX_GATE] */) {
    int n = 0;
    while (text && *text && n < OCT__MAX_GATE) {
        char *end;
        const long v = strtol(text, &end, 10);
        const int good = end != text && (*end == ',' || *end == 0) && v >= 0 && v < OCT__MAX_GATE;
        list[n++] = good ? (int)v : -1;
        if (!good) break;
        text = end + (*end == ',');
    }
    return n;
}
static int weight_list(const char *text, float *list /* [OCT__MAX_GATE] */) {
    int n = 0;
    while (text && *text && n < OCT__MAX_GATE) {
        char *end;
        const double v = strtod(text, &end);
        const int good = end != text && (*end == ',' || *end == 0);
        list[n++] = good ? (float)v : NAN;
        if (!good) break;
        text = end + (*end == ',');
    }
    return n;
}
static oct_result open_session(oct_session **s, const oct_model *m, const args *a, const oct_session_desc *d, oct_error *err) {
    int pin[OCT__MAX_GATE], mute[OCT__MAX_GATE];
    float weights[OCT__MAX_GATE];
    oct_gate gate;
    memset(&gate, 0, sizeof gate);
    gate.pin = pin;
    gate.mute = mute;
    gate.n_pin = expert_list(a->pin, pin);
    gate.n_mute = expert_list(a->mute, mute);
    gate.n_weights = weight_list(a->gate, weights);
    if (a->gate) gate.weights = weights;
    oct_result r = oct_session_open(s, m, d, err);
    if (!r) r = oct_session_set_lora(*s, (const oct_lora *const *)a->loras, a->scales, a->n_loras, err);
    return r || !(a->pin || a->mute || a->gate) ? r : oct_session_set_gate(*s, &gate, err);
}
/* With --ids the gate is that of all of them, however they are fed. */
static void fix_gate(oct_session *s, const int32_t *ids, size_t n) {
    float weights[OCT__MAX_GATE];
    const oct__net *net = &s->model->net;
    if (net->instance_gate.n_expert == 0) return;
    oct__gate_compute(net, ids, n, &s->gate_rule, weights);
    s->gate_rule.given = true;
    memcpy(s->gate_rule.weights, weights, (size_t)net->instance_gate.n_expert * sizeof *weights);
}

/* --- all of stdin, and lists of ids --------------------------------------------------------------- */

/* A growing array of bytes. */
typedef struct bytes { char *data; size_t len, cap; } bytes;
static int bytes_room(bytes *b, size_t n) {
    if (b->cap - b->len >= n) return 1;
    const size_t cap = (b->len + n) * 2 + 4096;
    char *data = (char *)realloc(b->data, cap);
    if (!data) return 0;
    b->data = data;
    b->cap = cap;
    return 1;
}
static int read_stdin(bytes *b) {
    for (;;) {
        if (!bytes_room(b, 65536)) return fail(EXIT_MEMORY, "stdin: no memory for more than %zu bytes", b->len);
        const size_t n = fread(b->data + b->len, 1, b->cap - b->len, stdin);
        b->len += n;
        if (n == 0) return ferror(stdin) ? fail(EXIT_RUNTIME, "stdin: cannot be read") : EXIT_OK;
    }
}
/* Numbers from 0 to 2^31 - 1, with commas or white space between them, appended to ids. */
static int parse_ids(const char *text, size_t len, const char *from, bytes *ids) {
    for (size_t i = 0; i < len;) {
        if (strchr(", \t\r\n[]", text[i]) && text[i]) {
            i++;
            continue;
        }
        int64_t v = -1;
        const size_t start = i;
        for (; i < len && text[i] >= '0' && text[i] <= '9'; i++) {
            v = (v < 0 ? 0 : v) * 10 + (text[i] - '0');
            if (v > INT32_MAX) break;
        }
        if (v < 0 || v > INT32_MAX || (i < len && !strchr(", \t\r\n]", text[i])))
            return fail(EXIT_USAGE, "%s: '%.*s' at byte %zu, expected token ids", from, (int)(len - start < 20 ? len - start : 20),
                        text + start, start);
        const int32_t id = (int32_t)v;
        if (!bytes_room(ids, sizeof id)) return fail(EXIT_MEMORY, "%s: no memory for its ids", from);
        memcpy(ids->data + ids->len, &id, sizeof id);
        ids->len += sizeof id;
    }
    return EXIT_OK;
}

static int tokens_of(const oct_model *m, const args *a, const bytes *text, bytes *ids) {
    const unsigned flags = a->special ? (unsigned)OCT_TEXT_SPECIAL : 0;
    oct_error err;
    size_t n = text->len + 16;                    /* nearly always enough */
    for (int attempt = 0; attempt < 2; attempt++) {
        if (!bytes_room(ids, n * sizeof(int32_t))) return fail(EXIT_MEMORY, "stdin: no memory for %zu ids", n);
        const oct_result r = oct_tokenize(m, text->data ? text->data : "", text->len, flags, (int32_t *)(void *)ids->data, ids->cap / sizeof(int32_t), &n, &err);
        if (r == OCT_E_LIMIT && attempt == 0 && n > ids->cap / sizeof(int32_t)) continue;
        if (r) return fail_with(a->file, &err);
        break;
    }
    ids->len = n * sizeof(int32_t);
    return EXIT_OK;
}
static int run_tokens(const args *a) {
    oct_model *m = NULL;
    bytes text = { NULL, 0, 0 }, ids = { NULL, 0, 0 };
    int r = open_model(&m, a, OCT_LOAD_VOCAB);
    if (!r) r = read_stdin(&text);
    if (!r) r = tokens_of(m, a, &text, &ids);
    for (size_t i = 0; !r && i < ids.len / sizeof(int32_t); i++) printf(i ? " %d" : "%d", (int)((int32_t *)(void *)ids.data)[i]);
    if (!r) putchar('\n');
    free(text.data);
    free(ids.data);
    oct_model_close(m);
    return r ? r : finish_stdout();
}
static int run_detokenize(const args *a) {
    const unsigned flags = a->special ? (unsigned)OCT_TEXT_SPECIAL : 0;
    oct_model *m = NULL;
    oct_error err;
    bytes in = { NULL, 0, 0 }, ids = { NULL, 0, 0 }, text = { NULL, 0, 0 };
    int r = open_model(&m, a, OCT_LOAD_VOCAB);
    if (!r) r = read_stdin(&in);
    if (!r) r = parse_ids(in.data, in.len, "stdin", &ids);
    const int32_t *list = (const int32_t *)(void *)ids.data;
    const size_t n = ids.len / sizeof(int32_t);
    if (!r && oct_detokenize(m, list, n, flags, NULL, 0, &text.len, &err)) r = fail_with(a->file, &err);
    if (!r) {
        text.data = (char *)malloc(text.len + 1);
        if (!text.data) r = fail(EXIT_MEMORY, "no memory for %zu bytes of text", text.len);
    }
    if (!r && oct_detokenize(m, list, n, flags, text.data, text.len, &text.len, &err)) r = fail_with(a->file, &err);
    if (!r) fwrite(text.data, 1, text.len, stdout);
    free(in.data);
    free(ids.data);
    free(text.data);
    oct_model_close(m);
    return r ? r : finish_stdout();
}

/* --- metadata and tensors, for people and for programs ------------------------------------------------ */

/* Writes s so that it is harmless on a terminal: what is not a printable character of valid UTF-8 becomes \xNN or
 * \u00NN, or for JSON U+FFFD.  At most `most` characters.  Returns how many columns were written. */
static int put_text(oct_string s, int json, size_t most) {
    int columns = 0;
    for (size_t i = 0, count = 0; i < s.len; count++) {
        int32_t cp;
        if (count == most) return columns + printf("...");
        const int n = oct__utf8_decode(s.data + i, s.len - i, &cp);
        if (json && (cp == '"' || cp == '\\')) columns += printf("\\%c", (char)cp);
        else if (json && cp < 0) columns += printf("\\ufffd");
        else if (json && (cp < 0x20 || (cp >= 0x7F && cp < 0xA0))) columns += printf("\\u%04x", (unsigned)cp);
        else if (cp == '\n') columns += printf("\\n");
        else if (cp == '\t') columns += printf("\\t");
        else if (cp < 0x20) columns += printf("\\x%02x", (unsigned)(unsigned char)s.data[i]);
        else if (cp >= 0x7F && cp < 0xA0) columns += printf("\\u%04x", (unsigned)cp);
        else columns += fwrite(s.data + i, 1, (size_t)n, stdout) > 0;
        i += (size_t)n;
    }
    return columns;
}
static void put_spaces(int n) { printf("%*s", n > 0 ? n : 0, ""); }

/* With as many digits as it takes to read the same number again. */
static void put_real(double v, int single) {
    char text[40];
    for (int digits = single ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        const double again = strtod(text, NULL);
        if (single ? (float)again == (float)v : again == v) break;
    }
    fputs(text, stdout);
}
static void put_number(const oct_meta *m, int json) {
    switch (m->type) {
    case 6: case 12:
        if (!(m->f - m->f == 0)) printf("%s", json ? "null" : m->f != m->f ? "nan" : m->f > 0 ? "inf" : "-inf");
        else put_real(m->f, m->type == 6);
        break;
    case 7: printf(m->u ? "true" : "false"); break;
    case 0: case 2: case 4: case 10: printf("%llu", (unsigned long long)m->u); break;
    default: printf("%lld", (long long)(int64_t)m->u);
    }
}
static void put_value(const oct_meta *m, int json, int full) {
    if (m->type == 8) {
        if (json) putchar('"');
        put_text(m->s, json, full ? SIZE_MAX : 100);
        if (json) putchar('"');
    } else if (m->type != 9) {
        put_number(m, json);
    } else {
        size_t cursor = 0;
        oct_meta item;
        putchar('[');
        for (uint64_t i = 0; i < m->count; i++) {
            if (i == 6 && !full) {
                printf(", ...");
                break;
            }
            if (oct__meta_item(m, i, &cursor, &item)) break;
            if (i) printf(json ? "," : ", ");
            if (item.type == 8 && !json) putchar('\'');
            put_value(&item, json, full);
            if (item.type == 8 && !json) putchar('\'');
        }
        putchar(']');
    }
}
static const char *size_text(double size, char out[32]) {
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    int u = 0;
    for (; size >= 1024 && u < 4; u++) size /= 1024;
    snprintf(out, 32, u ? "%.2f %s" : "%.0f %s", size, units[u]);
    return out;
}
static const char *shape_text(const oct_tensor *t, const char *comma, char out[100]) {
    int n = snprintf(out, 100, "[");
    for (int i = 0; i < t->n_dims; i++) n += snprintf(out + n, 100 - (size_t)n, "%s%lld", i ? comma : "", (long long)t->ne[i]);
    snprintf(out + n, 100 - (size_t)n, "]");
    return out;
}
static uint64_t tensor_elements(const oct_tensor *t) {
    return (uint64_t)t->ne[0] * (uint64_t)t->ne[1] * (uint64_t)t->ne[2] * (uint64_t)t->ne[3];
}
/* Columns that a name takes. */
static int text_columns(oct_string s) {
    int columns = 0;
    for (size_t i = 0; i < s.len; columns++) {
        int32_t cp;
        i += (size_t)oct__utf8_decode(s.data + i, s.len - i, &cp);
        if (cp >= 0 && (cp == '\n' || cp == '\t')) columns += 1;
        else if (cp < 0x20) columns += 3;
        else if (cp >= 0x7F && cp < 0xA0) columns += 5;
    }
    return columns;
}

/* What all tensors of one type come to. */
typedef struct type_total { int type; const char *name; size_t count; uint64_t elements, bytes; } type_total;
static int type_totals(const oct_model *m, type_total *totals, int cap) {
    int n = 0;
    oct_tensor t;
    for (size_t i = 0; oct_model_tensor(m, i, &t) == OCT_OK; i++) {
        int k = 0;
        while (k < n && totals[k].type != t.type) k++;
        if (k == cap) continue;
        if (k == n) {
            memset(&totals[n], 0, sizeof totals[n]);
            totals[n].type = t.type;
            totals[n++].name = t.type_name;
        }
        totals[k].count++;
        totals[k].elements += tensor_elements(&t);
        totals[k].bytes += t.bytes;
    }
    return n;
}
static void show_people(const oct_model *m, const args *a) {
    oct_model_info info;
    oct_meta meta;
    oct_tensor t;
    type_total totals[64];
    char size[32], shape[100];
    int key_width = 0, name_width = 0, shape_width = 0;
    oct_model_info_get(m, &info);
    printf("%s: %s, %zu metadata, %zu tensors, %llu parameters\n", a->file, size_text((double)info.file_bytes, size), oct_model_meta_count(m),
           oct_model_tensor_count(m), (unsigned long long)info.n_params);
    for (size_t i = 0; oct_model_meta(m, i, &meta) == OCT_OK; i++) key_width = OCT__MAX(key_width, OCT__MIN(text_columns(meta.key), 60));
    if (oct_model_meta_count(m)) printf("\nmetadata\n");
    for (size_t i = 0; oct_model_meta(m, i, &meta) == OCT_OK; i++) {
        char type[48];
        if (meta.type == 9) snprintf(type, sizeof type, "%s[%llu]", oct__meta_type_name(meta.item_type), (unsigned long long)meta.count);
        else snprintf(type, sizeof type, "%s", oct__meta_type_name(meta.type));
        printf("  ");
        put_spaces(key_width - put_text(meta.key, 0, SIZE_MAX));
        printf("  %-14s ", type);
        put_value(&meta, 0, a->full);
        putchar('\n');
    }
    for (size_t i = 0; oct_model_tensor(m, i, &t) == OCT_OK; i++) {
        name_width = OCT__MAX(name_width, text_columns(t.name));
        shape_width = OCT__MAX(shape_width, (int)strlen(shape_text(&t, ", ", shape)));
    }
    if (oct_model_tensor_count(m)) printf("\ntensors                                        (the first dimension is contiguous)\n");
    for (size_t i = 0; oct_model_tensor(m, i, &t) == OCT_OK; i++) {
        printf("  ");
        put_spaces(name_width - put_text(t.name, 0, SIZE_MAX));
        printf("  %-8s %-*s %12s\n", t.type_name, shape_width, shape_text(&t, ", ", shape), size_text((double)t.bytes, size));
    }
    const int n = type_totals(m, totals, 64);
    if (n) printf("\ntotals\n");
    for (int k = 0; k < n; k++)
        printf("  %-8s %6zu tensors %16llu parameters %12s %8.3f bits each\n", totals[k].name, totals[k].count,
               (unsigned long long)totals[k].elements, size_text((double)totals[k].bytes, size),
               8 * (double)totals[k].bytes / (double)totals[k].elements);
}
static void show_json(const oct_model *m, const args *a) {
    oct_model_info info;
    oct_meta meta;
    oct_tensor t;
    type_total totals[64];
    char shape[100];
    oct_model_info_get(m, &info);
    printf("{\"file\":\"");
    put_text(oct__str(a->file), 1, SIZE_MAX);
    printf("\",\"bytes\":%llu,\"parameters\":%llu,\"metadata\":[", (unsigned long long)info.file_bytes, (unsigned long long)info.n_params);
    for (size_t i = 0; oct_model_meta(m, i, &meta) == OCT_OK; i++) {
        printf("%s\n{\"key\":\"", i ? "," : "");
        put_text(meta.key, 1, SIZE_MAX);
        printf("\",\"type\":\"%s\"", oct__meta_type_name(meta.type));
        if (meta.type == 9) printf(",\"item_type\":\"%s\",\"count\":%llu", oct__meta_type_name(meta.item_type), (unsigned long long)meta.count);
        printf(",\"value\":");
        put_value(&meta, 1, 1);
        putchar('}');
    }
    printf("],\n\"tensors\":[");
    for (size_t i = 0; oct_model_tensor(m, i, &t) == OCT_OK; i++) {
        printf("%s\n{\"name\":\"", i ? "," : "");
        put_text(t.name, 1, SIZE_MAX);
        printf("\",\"type\":\"%s\",\"shape\":%s,\"bytes\":%zu}", t.type_name, shape_text(&t, ",", shape), t.bytes);
    }
    printf("],\n\"totals\":[");
    const int n = type_totals(m, totals, 64);
    for (int k = 0; k < n; k++)
        printf("%s\n{\"type\":\"%s\",\"tensors\":%zu,\"parameters\":%llu,\"bytes\":%llu}", k ? "," : "", totals[k].name, totals[k].count,
               (unsigned long long)totals[k].elements, (unsigned long long)totals[k].bytes);
    printf("]}\n");
}
static int run_inspect(const args *a) {
    oct_model *m = NULL;
    const int r = open_model(&m, a, OCT_LOAD_DIRECTORY);
    if (r) return r;
    if (a->json) show_json(m, a);
    else show_people(m, a);
    oct_model_close(m);
    return finish_stdout();
}

/* --- .npy files ------------------------------------------------------------------------------------------ */

/* Rows are appended as they come; how many there are is written into the header again each time. */
/* cols 0: one dimension; planes: three of them, each plane a square of cols x cols. */
typedef struct npy { char *path; const char *descr; size_t rows, cols; int planes; } npy;

static int npy_write(npy *f, const void *data, size_t rows) {
    const size_t row_bytes = 4 * (f->cols ? f->cols : 1);
    char header[129], dict[96];
    FILE *out = fopen(f->path, f->rows ? "r+b" : "wb");
    if (!out) return fail(EXIT_RUNTIME, "%s: cannot be written (%s)", f->path, strerror(errno));
    f->rows += rows;
    if (f->planes)
        snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': (%zu, %zu, %zu), }", f->descr, f->rows / f->cols, f->cols, f->cols);
    else if (f->cols) snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': (%zu, %zu), }", f->descr, f->rows, f->cols);
    else snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': (%zu,), }", f->descr, f->rows);
    snprintf(header, sizeof header, "%-10s%-117s\n", "", dict);       /* 128 bytes: magic, version, length 118, dictionary */
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10);
    int ok = fwrite(header, 1, 128, out) == 128 && fseek(out, 0, SEEK_END) == 0 && fwrite(data, row_bytes, rows, out) == rows;
    ok = fclose(out) == 0 && ok;
    return ok ? EXIT_OK : fail(EXIT_RUNTIME, "%s: cannot be written", f->path);
}
static int npy_save(const char *path, const char *descr, const void *data, size_t rows, size_t cols) {
    npy f = { NULL, descr, 0, cols, 0 };
    f.path = (char *)malloc(strlen(path) + 1);
    if (!f.path) return fail(EXIT_MEMORY, "%s: no memory", path);
    strcpy(f.path, path);
    const int r = npy_write(&f, data, rows);
    free(f.path);
    return r;
}

/* --- running: stages are written while they come ----------------------------------------------------------- */

typedef struct stage_file { char name[64]; npy file; } stage_file;
typedef struct collector {
    const char *wanted;            /* this stage alone, to out; NULL: all, to the folder out */
    const char *out;
    int         list, closed;      /* list: only note the names; closed: take nothing more */
    int         failed;            /* an exit code */
    stage_file *stages;
    size_t      n, cap;
} collector;

static char *path_in(const char *folder, const char *name) {
    const size_t n = strlen(folder) + strlen(name) + 8;
    char *path = (char *)malloc(n);
    if (path) snprintf(path, n, "%s/%s.npy", folder, name);
    return path;
}
static stage_file *collector_find(collector *c, const char *name, int cols) {
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->stages[i].name, name) == 0) return &c->stages[i];
    if (c->n == c->cap) {
        stage_file *more = (stage_file *)realloc(c->stages, (c->cap * 2 + 64) * sizeof *more);
        if (!more) return NULL;
        c->stages = more;
        c->cap = c->cap * 2 + 64;
    }
    stage_file *s = &c->stages[c->n];
    memset(s, 0, sizeof *s);
    snprintf(s->name, sizeof s->name, "%s", name);
    s->file.descr = "<f4";
    s->file.cols = (size_t)cols;
    s->file.planes = strcmp(name, "v.pixels") == 0;
    s->file.path = c->wanted ? (char *)malloc(strlen(c->out) + 1) : path_in(c->out ? c->out : "", name);
    if (!s->file.path) return NULL;
    if (c->wanted) strcpy(s->file.path, c->out);
    c->n++;
    return s;
}
static void collector_stage(void *user, const char *name, const float *data, int rows, int cols, int pos) {
    collector *c = (collector *)user;
    if (c->closed || c->failed || (c->wanted && strcmp(c->wanted, name) != 0)) return;
    const int encoder = strncmp(name, "v.", 2) == 0 || strncmp(name, "mm.", 3) == 0;      /* every picture begins at row 0 */
    stage_file *s = collector_find(c, name, cols);
    if (!s) c->failed = fail(EXIT_MEMORY, "stage %s: no memory", name);
    else if (c->list) return;
    else if ((!encoder && (size_t)pos != s->file.rows) || (size_t)cols != s->file.cols)
        c->failed = fail(EXIT_RUNTIME, "stage %s: rows of %d from %d, expected rows of %zu from %zu", name, cols, pos, s->file.cols, s->file.rows);
    else c->failed = npy_write(&s->file, data, (size_t)rows);
}
static int collector_abort(void *user) { return ((collector *)user)->failed; }
/* Forgets what came; files written so far are written anew. */
static void collector_reset(collector *c) {
    for (size_t i = 0; i < c->n; i++) free(c->stages[i].file.path);
    c->n = 0;
}
static void collector_free(collector *c) {
    collector_reset(c);
    free(c->stages);
}
/* A fault of the collector's own has been told; the abort that follows from it need not be. */
static int fail_run(const args *a, const collector *c, const oct_error *err) { return c->failed ? c->failed : fail_with(a->file, err); }

static oct_session_desc session_desc(const args *a, collector *c, int n_ctx) {
    oct_session_desc d;
    memset(&d, 0, sizeof d);
    d.n_ctx = n_ctx;
    d.n_threads = a->threads;
    d.isa = a->isa;
    d.kv_type = a->kv;
    d.exact = a->exact;
    d.image_cache = -1;                           /* the stages of every picture, also of one given twice */
    d.capacity = a->capacity;
    if (a->capacity) d.n_batch = n_ctx;           /* capacity is shared out among the tokens of a call: all of the prompt */
    d.keep_gate = 1;                              /* the prompt's: a step is no turn */
    d.stage = collector_stage;
    d.stage_user = c;
    d.abort = collector_abort;
    d.abort_user = c;
    return d;
}
/* --- pictures ---------------------------------------------------------------------------------------- */

static int picture_exit(oct_result r) { return r == OCT_E_MEMORY || r == OCT_E_LIMIT ? EXIT_MEMORY : EXIT_INPUT; }
/* Opens a picture and turns it upright. */
static int picture_open(oct_picture *picture, const char *path) {
    oct_error err;
    oct_result r = oct_picture_open(picture, path, NULL, &err);
    if (!r) r = oct_picture_upright(picture, &err);
    if (!r) return EXIT_OK;
    oct_picture_close(picture);
    if (err.message[0] == '\'') return fail(picture_exit(r), "%s", err.message);
    return fail(picture_exit(r), "%s: %s", path, err.message);
}
static int feed_pictures(oct_session *s, const args *a, const collector *c) {
    for (int i = 0; i < a->n_images; i++) {
        oct_picture picture;
        oct_error err;
        const int fault = picture_open(&picture, a->images[i]);
        if (fault) return fault;
        const oct_result r = oct_feed_image(s, &picture.image, &err);
        oct_picture_close(&picture);
        if (r || c->failed) return fail_run(a, c, &err);
    }
    return EXIT_OK;
}

/* Feeds exactly these ids, chunk at a time (0: all at once), to a raw session, and computes them. */
static int feed_ids(oct_session *s, const args *a, const collector *c, const int32_t *ids, size_t n, size_t chunk) {
    oct_error err;
    const int before = oct_session_position(s);
    for (size_t i = 0; i < n;) {
        const size_t some = chunk && chunk < n - i ? chunk : n - i;
        if (oct_feed_tokens(s, ids + i, some, &err) || oct_prefill(s, &err) || c->failed) return fail_run(a, c, &err);
        i += some;
    }
    int now = 0;
    const int32_t *seen = oct_session_tokens(s, &now);
    if (now != before + (int)n || memcmp(seen + before, ids, n * sizeof *ids) != 0)
        return fail(EXIT_RUNTIME, "%s: %d ids in the session, expected the %zu given and no others", a->file, now, (size_t)before + n);
    return EXIT_OK;
}

static int ids_of(const args *a, bytes *ids) {
    const int r = parse_ids(a->ids, strlen(a->ids), "--ids", ids);
    if (!r && ids->len == 0) return fail(EXIT_USAGE, "--ids: none given, expected token ids such as 1,2,3");
    return r;
}
static int run_logits(args *a) {
    oct_model *m = NULL;
    oct_session *s = NULL;
    oct_error err;
    bytes ids = { NULL, 0, 0 };
    collector c;
    memset(&c, 0, sizeof c);
    c.wanted = "logits";
    c.out = a->out;
    if (!a->ids) return fail(EXIT_USAGE, "logits: no --ids given; see --help");
    if (!a->out) return fail(EXIT_USAGE, "logits: no -o OUT.npy given; see --help");
    int r = ids_of(a, &ids);
    const size_t n = ids.len / sizeof(int32_t);
    if (!r) r = open_model(&m, a, OCT_LOAD_ALL);
    if (!r) r = open_loras(a, m);
    if (!r) {
        oct_session_desc d = session_desc(a, &c, (int)n);
        d.raw = 1;
        if (open_session(&s, m, a, &d, &err)) r = fail_with(a->file, &err);
    }
    if (!r) fix_gate(s, (const int32_t *)(void *)ids.data, n);
    if (!r) r = feed_ids(s, a, &c, (const int32_t *)(void *)ids.data, n, (size_t)a->chunk);
    if (r && c.n) remove(a->out);                 /* no half of an answer */
    oct_session_close(s);
    close_loras(a);
    oct_model_close(m);
    collector_free(&c);
    free(ids.data);
    return r;
}

/* Which stages there are is what one token shows, and one pixel where there is an image encoder. */
static int run_stages(const args *a) {
    static const char any[] = "v.pixels\nv.patch\nv.pre_ln\nv.blk.N.out\nv.selected\nv.post_ln\nv.head\nmm.out\n"
                              "embd\nblk.N.attn_norm\nblk.N.q\nblk.N.k\nblk.N.v\nblk.N.attn_out\nblk.N.router\nblk.N.ffn_out\nblk.N.out\n"
                              "output_norm\nlogits\ngate\nids\nlogits_step\n";
    oct_model *m = NULL;
    oct_session *s = NULL;
    oct_error err;
    collector c;
    const int32_t id = 0;
    memset(&c, 0, sizeof c);
    c.list = 1;
    if (!a->file) {
        fputs(any, stdout);
        return finish_stdout();
    }
    int r = open_model(&m, a, OCT_LOAD_ALL);
    if (!r) {
        oct_model_info info;
        oct_image pixel;
        memset(&pixel, 0, sizeof pixel);
        pixel.pixels = (const unsigned char *)"   ";
        pixel.width = pixel.height = 1;
        oct_model_info_get(m, &info);
        oct_session_desc d = session_desc(a, &c, 8 + info.image_tokens);
        d.raw = 1;
        if (oct_session_open(&s, m, &d, &err) || (info.has_image && oct_feed_image(s, &pixel, &err)) || oct_feed_tokens(s, &id, 1, &err) ||
            oct_prefill(s, &err) || c.failed)
            r = fail_run(a, &c, &err);
    }
    for (size_t i = 0; !r && i < c.n; i++) puts(c.stages[i].name);
    if (!r) puts("ids\nlogits_step");
    oct_session_close(s);
    oct_model_close(m);
    collector_free(&c);
    return r ? r : finish_stdout();
}

/* --- dump ------------------------------------------------------------------------------------------------------- */

static int dump_wants(const args *a, const char *name) { return a->all || strcmp(a->stage, name) == 0; }
static int dump_save(const args *a, const char *name, const char *descr, const void *data, size_t rows, size_t cols) {
    if (!a->all) return npy_save(a->out, descr, data, rows, cols);
    char *path = path_in(a->out, name);
    if (!path) return fail(EXIT_MEMORY, "%s: no memory", name);
    const int r = npy_save(path, descr, data, rows, cols);
    free(path);
    return r;
}
/* Continues greedily; s is raw and stands behind the prompt. */
static int dump_steps(oct_session *s, const args *a, collector *c) {
    int n_vocab = 0, r = EXIT_OK;
    if (!oct_session_logits(s, &n_vocab)) return fail(EXIT_RUNTIME, "%s: no logits after the prompt", a->file);
    float *rows = (float *)malloc(((size_t)a->steps * (size_t)n_vocab + 1) * sizeof *rows);     /* [steps, n_vocab] */
    if (!rows) return fail(EXIT_MEMORY, "no memory for %d rows of %d logits", a->steps, n_vocab);
    for (int i = 0; i < a->steps && !r; i++) {
        int32_t best = -1;
        memcpy(rows + (size_t)i * (size_t)n_vocab, oct_session_logits(s, NULL), (size_t)n_vocab * sizeof *rows);
        if (i + 1 == a->steps) break;
        if (oct_session_top(s, &best, NULL, 1) < 1) r = fail(EXIT_RUNTIME, "%s: no id to go on with at step %d", a->file, i);
        else r = feed_ids(s, a, c, &best, 1, 0);
    }
    if (!r) r = dump_save(a, "logits_step", "<f4", rows, (size_t)a->steps, (size_t)n_vocab);
    free(rows);
    return r;
}
/* A session with a template would wrap the steps' ids in it: go on in a raw one that stands where s does. */
static int dump_steps_raw(const oct_model *m, const oct_session *s, const args *a, collector *c, int n_ctx) {
    oct_error err;
    oct_session *raw = NULL;
    const size_t n = oct_session_snapshot_bytes(s);
    void *shot = malloc(n + 1);
    if (!shot) return fail(EXIT_MEMORY, "no memory for a snapshot of %zu bytes", n);
    oct_session_desc d = session_desc(a, c, n_ctx);
    d.raw = d.keep_gate = 1;
    d.stage = NULL;
    int r = EXIT_OK;
    if (oct_session_snapshot(s, shot, n, &err) || open_session(&raw, m, a, &d, &err) || oct_session_restore(raw, shot, n, &err)) r = fail_with(a->file, &err);
    free(shot);
    if (!r) r = dump_steps(raw, a, c);
    oct_session_close(raw);
    return r;
}
/* The prompt, however it was given, into a session opened for it. */
static int dump_prompt(oct_session **s, const oct_model *m, const args *a, collector *c, const bytes *ids, int *n_ctx) {
    oct_error err;
    const size_t n = ids->len / sizeof(int32_t);
    size_t n_text = 0, n_system = 0;
    const char *prompt = a->prompt ? a->prompt : "";
    oct_model_info info;
    oct_model_info_get(m, &info);
    if (a->ids) {
        *n_ctx = (int)n + a->steps + 1;
        oct_session_desc d = session_desc(a, c, *n_ctx);
        d.raw = 1;
        if (open_session(s, m, a, &d, &err)) return fail_with(a->file, &err);
        fix_gate(*s, (const int32_t *)(void *)ids->data, n);
        return feed_ids(*s, a, c, (const int32_t *)(void *)ids->data, n, (size_t)a->chunk);
    }
    (void)oct_tokenize(m, prompt, strlen(prompt), 0, NULL, 0, &n_text, NULL);
    if (a->system) (void)oct_tokenize(m, a->system, strlen(a->system), 0, NULL, 0, &n_system, NULL);
    n_text += n_system + (size_t)a->n_images * (size_t)info.image_tokens;
    if (n_text > 1 << 20) return fail(EXIT_CONTEXT, "-p: %zu tokens, expected at most %d", n_text, 1 << 20);
    for (*n_ctx = (int)n_text + 512 + a->steps;; *n_ctx *= 2) {     /* a template may be long: try again with more room */
        oct_session_desc d = session_desc(a, c, *n_ctx);
        d.raw = a->raw;
        d.prompt_style = a->style;
        d.system = a->system;
        if (open_session(s, m, a, &d, &err)) return fail_with(a->file, &err);
        const int fault = feed_pictures(*s, a, c);
        if (fault) return fault;
        if (oct_feed_text(*s, prompt, &err)) return fail_with(a->file, &err);
        const oct_result r = oct_prefill(*s, &err);
        if (!r && !c->failed) return EXIT_OK;
        if (r != OCT_E_CONTEXT || *n_ctx > 1 << 20) return fail_run(a, c, &err);
        oct_session_close(*s);
        *s = NULL;
        collector_reset(c);
    }
}
static int dump_check(const args *a) {
    const int fed = a->prompt || a->n_images;
    if (a->points) return fail(EXIT_MODEL, "%s: '%s' cannot be used, the file has no point-cloud encoder", a->file, a->points);
    if (!a->ids == !fed)
        return fail(EXIT_USAGE, "dump: %s, expected one of them; see --help", fed ? "--ids and a prompt" : "neither --ids nor a prompt");
    if (!a->stage == !a->all) return fail(EXIT_USAGE, "dump: %s, expected one of --stage and --all; see --help", a->all ? "both --stage and --all" : "no stage");
    if (!a->out) return fail(EXIT_USAGE, "dump: no -o given; see --help");
    if (a->stage && strcmp(a->stage, "logits_step") == 0 && !a->steps) return fail(EXIT_USAGE, "dump: logits_step without -n N; see --help");
    return EXIT_OK;
}
/* What the options ask of the model. */
static int dump_model_check(const oct_model *m, const args *a) {
    oct_model_info info;
    oct_model_info_get(m, &info);
    if (a->n_images && !info.has_image)
        return fail(EXIT_MODEL, "%s: '%s' cannot be used, the file has no image encoder; --mmproj names one", a->file, a->images[0]);
    if (a->capacity && info.n_expert == 0) return fail(EXIT_MODEL, "%s: --capacity cannot be used, the file has no experts", a->file);
    return EXIT_OK;
}
/* --- a picture encoder without a text model -------------------------------------------------------- */

/* *alone: the file holds an encoder and no vocabulary. */
static int tower_alone(const args *a, int *alone) {
    oct_model *m = NULL;
    const int r = open_model(&m, a, OCT_LOAD_DIRECTORY);
    *alone = !r && oct__vit_in(&m->gguf) && !oct__gguf_find(&m->gguf, "tokenizer.ggml.model");
    oct_model_close(m);
    return r;
}
static int tower_images(const args *a, const oct_model *m, const oct__vit *v, collector *c) {
    const size_t n = (size_t)oct__vit_tokens(v) * (size_t)v->n_out;
    oct__vit_watch watch;
    oct__compute compute;
    oct_error err;
    int r = EXIT_OK;
    float *out = (float *)malloc((n + 1) * sizeof *out);                        /* [tokens, n_out] */
    if (!out) return fail(EXIT_MEMORY, "no memory for %zu numbers of a picture", n);
    memset(&watch, 0, sizeof watch);
    memset(&compute, 0, sizeof compute);
    watch.stage = collector_stage;
    watch.stage_user = c;
    compute.k = oct__kernels_pick(a->isa);
    compute.pool.n_threads = a->threads ? a->threads : OCT__MIN(oct__threads_default(NULL), 256);
    compute.exact = true;
    compute.abort = collector_abort;
    compute.abort_user = c;
    for (int i = 0; i < a->n_images && !r; i++) {
        oct_picture picture;
        if ((r = picture_open(&picture, a->images[i])) != EXIT_OK) break;
        if (oct__vit_encode(v, &compute, &m->desc.allocator, &picture.image, NULL, &watch, out, &err) || c->failed) r = fail_run(a, c, &err);
        oct_picture_close(&picture);
    }
    free(out);
    return r;
}
/* All stages that pictures have here, v.head of a classifier among them. */
static int dump_tower(const args *a) {
    oct_model *m = NULL;
    oct__vit v;
    oct_error err;
    collector c;
    struct stat st;
    memset(&v, 0, sizeof v);
    memset(&c, 0, sizeof c);
    c.wanted = a->stage;
    c.out = a->out;
    if (!a->n_images || a->ids) return fail(EXIT_USAGE, "dump: %s holds a picture encoder alone, expected --image", a->file);
    int r = open_model(&m, a, OCT_LOAD_DIRECTORY);
    if (!r && oct__vit_load(&v, &m->gguf, &m->desc.allocator, 0, &err)) r = fail_with(a->file, &err);
    if (!r && a->all && make_folder(a->out) != 0 && (stat(a->out, &st) != 0 || !S_ISDIR(st.st_mode)))
        r = fail(EXIT_RUNTIME, "%s: cannot be made a folder", a->out);
    if (!r) r = tower_images(a, m, &v, &c);
    if (!r && !a->all && c.n == 0) r = fail(EXIT_USAGE, "--stage: '%s' is no stage of this run", a->stage);
    if (r && c.n && !a->all) remove(a->out);
    if (m) oct__vit_free(&v, &m->desc.allocator);
    oct_model_close(m);
    collector_free(&c);
    return r;
}

static int run_dump(args *a) {
    oct_model *m = NULL;
    oct_session *s = NULL;
    bytes ids = { NULL, 0, 0 };
    collector c;
    int n_ctx = 0, n = 0;
    struct stat st;
    memset(&c, 0, sizeof c);
    a->exact = 1;
    int alone = 0, r = dump_check(a);
    if (!r && !a->mmproj) r = tower_alone(a, &alone);
    if (!r && alone) return dump_tower(a);
    if (!r && a->ids) r = ids_of(a, &ids);
    if (!r) r = open_model(&m, a, OCT_LOAD_ALL);
    if (!r) r = dump_model_check(m, a);
    if (!r) r = open_loras(a, m);
    if (!r && a->all && make_folder(a->out) != 0 && (stat(a->out, &st) != 0 || !S_ISDIR(st.st_mode)))
        r = fail(EXIT_RUNTIME, "%s: cannot be made a folder", a->out);
    c.wanted = a->stage;
    c.out = a->out;
    if (!r) r = dump_prompt(&s, m, a, &c, &ids, &n_ctx);
    c.closed = 1;                                 /* stages are those of the prompt */
    const int32_t *rendered = r ? NULL : oct_session_tokens(s, &n);
    if (!r && dump_wants(a, "ids")) r = dump_save(a, "ids", "<i4", rendered, (size_t)n, 0);
    if (!r && a->steps && dump_wants(a, "logits_step")) r = a->ids ? dump_steps(s, a, &c) : dump_steps_raw(m, s, a, &c, n_ctx);
    if (!r && !a->all && c.n == 0 && strcmp(a->stage, "ids") != 0 && strcmp(a->stage, "logits_step") != 0)
        r = fail(EXIT_USAGE, "--stage: '%s' is no stage of this run; `octavius-inspect stages %s` lists them", a->stage, a->file);
    if (r && c.n && !a->all) remove(a->out);      /* no half of an answer */
    oct_session_close(s);
    close_loras(a);
    oct_model_close(m);
    collector_free(&c);
    free(ids.data);
    return r;
}

int main(int argc, char **argv) {
    args a;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) break;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help_text, stdout);
            return finish_stdout();
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("octavius-inspect %d.%d.%d\n", OCT_VERSION_MAJOR, OCT_VERSION_MINOR, OCT_VERSION_PATCH);
            return finish_stdout();
        }
    }
    const int r = parse_args(&a, argc, argv);
    if (r) return r;
    if (strcmp(a.command, "tokens") == 0) return run_tokens(&a);
    if (strcmp(a.command, "detokenize") == 0) return run_detokenize(&a);
    if (strcmp(a.command, "logits") == 0) return run_logits(&a);
    if (strcmp(a.command, "stages") == 0) return run_stages(&a);
    if (strcmp(a.command, "dump") == 0) return run_dump(&a);
    return run_inspect(&a);
}
