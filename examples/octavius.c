/* octavius.c - ask a GGUF model one thing, chat with it, or hand it a file of questions.
 *
 *     cc -O2 -I. examples/octavius.c -lm          (-fopenmp for threads)
 *
 * Uses the public API alone.  Reading order: the option table, the answer, one shot, batch, the REPL, main.
 *
 * Exit codes: 0 ok, 1 runtime, 2 usage, 3 model unreadable or unsupported, 4 picture or cloud unreadable, 5 out of memory
 * or over a limit, 6 context full, 130 interrupted.  Messages go to stderr, one line each; stdout holds results alone.
 *
 * After Ctrl-C the session holds exactly what was shown: an answer stopped half-way stays as it stands, without tokens
 * whose text had not appeared yet; a prompt stopped while it was being read is forgotten.
 */
#if !defined(_POSIX_C_SOURCE)
#  define _POSIX_C_SOURCE 200809L
#endif
#if !defined(_DEFAULT_SOURCE)
#  define _DEFAULT_SOURCE                /* TIOCGWINSZ */
#endif
#if defined(__APPLE__)
#  define _DARWIN_C_SOURCE
#endif
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__unix__) || defined(__APPLE__)
#  define POSIX 1
#  include <fcntl.h>
#  include <sys/ioctl.h>
#  include <termios.h>
#  include <unistd.h>
#else
#  define POSIX 0
#endif

enum { MOST_PICTURES = 64 };              /* of one question */
enum { EXIT_RUNTIME = 1, EXIT_USAGE = 2, EXIT_MODEL = 3, EXIT_PICTURE = 4, EXIT_MEMORY = 5, EXIT_CONTEXT = 6, EXIT_SIGNAL = 130 };

/* --- small things ---------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted, terminated;      /* all that the signal handlers do is set these */

static void on_interrupt(int sig) {
    (void)sig;
    interrupted = 1;
}
static void on_terminate(int sig) {
    (void)sig;
    terminated = 1;
}
static int stopping(void *user) {                          /* oct_abort_fn */
    (void)user;
    return interrupted || terminated;
}

#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
static void say(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("octavius: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}
#if defined(__GNUC__)
__attribute__((noreturn))
#endif
static void leave_memory(void) {
    say("out of memory");
    exit(EXIT_MEMORY);
}

/* Text that grows; always NUL-terminated once anything was added. */
typedef struct text { char *data; size_t len, cap; } text;
static void text_add(text *t, const void *data, size_t n) {
    if (n > SIZE_MAX / 4 || t->len > SIZE_MAX / 4) leave_memory();
    if (t->len + n + 1 > t->cap) {
        const size_t cap = 2 * (t->len + n) + 64;
        char *p = (char *)realloc(t->data, cap);
        if (!p) leave_memory();
        t->data = p;
        t->cap = cap;
    }
    if (n) memcpy(t->data + t->len, data, n);
    t->len += n;
    t->data[t->len] = 0;
}
static void text_puts(text *t, const char *s) { text_add(t, s, strlen(s)); }
static void text_set(text *t, const void *data, size_t n) {
    t->len = 0;
    text_add(t, data, n);
}
static void text_number(text *t, const char *format, double v) {      /* the locale is never set: "C" writes points */
    char s[64];
    snprintf(s, sizeof s, format, v);
    text_puts(t, s);
}
static void text_free(text *t) {
    free(t->data);
    memset(t, 0, sizeof *t);
}

static double now_ms(void) {
    struct timespec t;
#if POSIX
    clock_gettime(CLOCK_MONOTONIC, &t);
#else
    timespec_get(&t, TIME_UTC);
#endif
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}
static int is_terminal(FILE *f) {
#if POSIX
    return isatty(fileno(f));
#else
    (void)f;
    return 0;
#endif
}
/* Results.  A reader that has gone away ends the program quietly; a full disk does not. */
static void put(const char *data, size_t n) {
    if (fwrite(data, 1, n, stdout) == n && fflush(stdout) == 0) return;
    if (errno == EPIPE) exit(141);
    say("cannot write the answer: %s", strerror(errno));
    exit(EXIT_RUNTIME);
}

/* A whole stream; 0, or errno. */
static int read_all(FILE *f, text *out) {
    char block[65536];
    size_t n;
    text_add(out, "", 0);
    while ((n = fread(block, 1, sizeof block, f)) > 0) text_add(out, block, n);
    return ferror(f) ? (errno ? errno : EIO) : 0;
}
static int read_file(const char *path, text *out) {
    FILE *f = fopen(path, "rb");
    if (!f) return errno ? errno : EIO;
    const int fault = read_all(f, out);
    fclose(f);
    return fault;
}

/* The exit code for a failure of the library while it runs. */
static int exit_code(oct_result r) {
    switch (r) {
        case OCT_OK: return 0;
        case OCT_E_MEMORY: case OCT_E_LIMIT: return EXIT_MEMORY;
        case OCT_E_CONTEXT: return EXIT_CONTEXT;
        case OCT_E_ABORTED: return EXIT_SIGNAL;
        case OCT_E_UNSUPPORTED: return EXIT_MODEL;
        default: return EXIT_RUNTIME;
    }
}

/* --- options: one table is the parser, the help and the suggestions -------------------------- */

static struct {
    const char *model, *mmproj, *prompt, *file, *system, *style, *isa, *kv, *batch, *shard, *resume, *experts;
    const char *pin, *mute, *gate;
    const char *images[MOST_PICTURES];
    int         n_images;
    const char *loras[OCT_MAX_LORA];
    int         n_loras;
    const char *cloud;
    const char *draw, *boxes_format;
    int         detect, boxes;
    int         max_tokens, ctx, threads, raw, special, exact, no_mmap, keep_gate, interactive, json, stats, quiet, no_color;
    int         help, version, list_styles;
    double      temp, top_p, min_p, repeat, frequency, presence;
    int         top_k, window;
    uint64_t    seed;
    int         has_temp, has_seed;
} set;

typedef enum kind { TITLE, FLAG, TEXT, LIST, INT, REAL, SEED } kind;
typedef struct option {
    kind        kind;
    const char *names;             /* "-p --prompt": the last is the one that messages use */
    void       *value;
    const char *arg, *help;
    double      min, max;
    int        *given;
} option;

static const option options[] = {
    { TITLE, "Model", NULL, NULL, NULL, 0, 0, NULL },
    { TEXT, "-m --model", &set.model, "FILE", "GGUF file; of a split one, the first part", 0, 0, NULL },
    { TEXT, "--mmproj", &set.mmproj, "FILE", "image encoder beside the model", 0, 0, NULL },
    { LIST, "--lora", &set.n_loras, "FILE[:SCALE]", "LoRA adapter in llama.cpp's format; may be repeated", 0, 0, NULL },
    { FLAG, "--no-mmap", &set.no_mmap, NULL, "read the file into memory", 0, 0, NULL },
    { TITLE, "Question", NULL, NULL, NULL, 0, 0, NULL },
    { TEXT, "-p --prompt", &set.prompt, "TEXT", "answer this and exit", 0, 0, NULL },
    { TEXT, "-f --file", &set.file, "FILE", "answer what this file says and exit (- is stdin)", 0, 0, NULL },
    { LIST, "--image", NULL, "FILE", "a picture that goes with it, before the text (- is stdin); may be repeated", 0, 0, NULL },
    { TEXT, "--cloud", &set.cloud, "FILE", "a point cloud that goes with it", 0, 0, NULL },
    { TEXT, "-sys --system", &set.system, "TEXT", "system text; \"\" for none", 0, 0, NULL },
    { TEXT, "--prompt-style", &set.style, "STYLE", "instead of the one recognised from the file", 0, 0, NULL },
    { FLAG, "--list-styles", &set.list_styles, NULL, "print the prompt styles", 0, 0, NULL },
    { FLAG, "--raw", &set.raw, NULL, "no prompt style: the model goes on with the text", 0, 0, NULL },
    { FLAG, "--special", &set.special, NULL, "with --raw: <|im_end|> and the like in the text are control tokens", 0, 0, NULL },
    { FLAG, "-i --interactive", &set.interactive, NULL, "chat even if stdin is no terminal", 0, 0, NULL },
    { TITLE, "Answer", NULL, NULL, NULL, 0, 0, NULL },
    { INT, "-n --max-tokens", &set.max_tokens, "N", "at most N tokens (0: as the file says; -1: until it ends)", -1, 1 << 30, NULL },
    { REAL, "--temp", &set.temp, "X", "temperature; 0 is greedy, the default", 0, 1000, &set.has_temp },
    { INT, "--top-k", &set.top_k, "N", "draw from the N best only", 0, 1 << 30, NULL },
    { REAL, "--top-p", &set.top_p, "X", "... from the fewest that reach probability X", 0, 1, NULL },
    { REAL, "--min-p", &set.min_p, "X", "... from those with X times the best's probability", 0, 1, NULL },
    { REAL, "--repeat-penalty", &set.repeat, "X", "above 1: against repetition", 0, 1000, NULL },
    { REAL, "--frequency-penalty", &set.frequency, "X", "subtracted for every recent use", -1000, 1000, NULL },
    { REAL, "--presence-penalty", &set.presence, "X", "subtracted for a recent use", -1000, 1000, NULL },
    { INT, "--repeat-last-n", &set.window, "N", "how many tokens are recent (0: 64; -1: all)", -1, 1 << 30, NULL },
    { SEED, "-s --seed", &set.seed, "N", "the same seed draws the same answer", 0, 0, &set.has_seed },
    { TITLE, "LoRA experts (OCTAVIUS)", NULL, NULL, NULL, 0, 0, NULL },
    { TEXT, "--expert-pin", &set.pin, "1,3", "only these experts compete for the gate's places", 0, 0, NULL },
    { TEXT, "--expert-mute", &set.mute, "2", "these experts do not", 0, 0, NULL },
    { TEXT, "--gate", &set.gate, "A,B,...", "the gate itself: one weight for every expert", 0, 0, NULL },
    { FLAG, "--keep-gate", &set.keep_gate, NULL, "a chat keeps the first question's gate and only adds to the context", 0, 0, NULL },
    { TITLE, "Boxes", NULL, NULL, NULL, 0, 0, NULL },
    { FLAG, "--detect", &set.detect, NULL, "without -p or -f: ask for all objects in the picture, as OCTAVIUS was asked", 0, 0, NULL },
    { FLAG, "--boxes", &set.boxes, NULL, "a box that the answer begins is always completed as four valid numbers", 0, 0, NULL },
    { TEXT, "--draw", &set.draw, "FILE", "the picture with the boxes of the answer, as .png or .svg", 0, 0, NULL },
    { TEXT, "--boxes-format", &set.boxes_format, "X", "print the boxes instead of the text: json, coco or yolo", 0, 0, NULL },
    { TITLE, "Machine", NULL, NULL, NULL, 0, 0, NULL },
    { INT, "-c --ctx", &set.ctx, "N", "positions of the context (0: the model's, at most 4096)", 0, 1 << 30, NULL },
    { INT, "-t --threads", &set.threads, "N", "threads, where built with OpenMP", 0, 256, NULL },
    { TEXT, "--isa", &set.isa, "X", "kernels: auto, scalar, avx2, avx512 or neon", 0, 0, NULL },
    { TEXT, "--kv", &set.kv, "X", "type of the KV cache: f16, f32 or q8_0", 0, 0, NULL },
    { FLAG, "--exact", &set.exact, NULL, "F32 activations with quantised weights and BF16: slower, nearer to the original", 0, 0, NULL },
    { TITLE, "Output", NULL, NULL, NULL, 0, 0, NULL },
    { FLAG, "--json", &set.json, NULL, "one JSON object instead of text", 0, 0, NULL },
    { FLAG, "--stats", &set.stats, NULL, "times, tokens/s and the seed, to stderr", 0, 0, NULL },
    { FLAG, "-q --quiet", &set.quiet, NULL, "no greeting, warnings or progress", 0, 0, NULL },
    { FLAG, "--no-color", &set.no_color, NULL, "plain text (as with NO_COLOR)", 0, 0, NULL },
    { TEXT, "--experts-out", &set.experts, "FILE", "which experts met text and pictures, as JSON or .svg", 0, 0, NULL },
    { TITLE, "Many questions", NULL, NULL, NULL, 0, 0, NULL },
    { TEXT, "--batch", &set.batch, "FILE", "JSON lines {id, prompt, image[], system} (- is stdin); an object a line comes out", 0, 0, NULL },
    { TEXT, "--shard", &set.shard, "K/N", "only the lines whose index modulo N is K", 0, 0, NULL },
    { TEXT, "--resume", &set.resume, "FILE", "append to FILE; what it answers already is skipped", 0, 0, NULL },
    { TITLE, "Help", NULL, NULL, NULL, 0, 0, NULL },
    { FLAG, "-h --help", &set.help, NULL, "this", 0, 0, NULL },
    { FLAG, "--version", &set.version, NULL, "version and kernels", 0, 0, NULL },
};
enum { N_OPTIONS = (int)(sizeof options / sizeof options[0]) };

static void print_help(void) {
    puts("octavius - chat with a GGUF model\n\nUsage: octavius -m MODEL.gguf [-p TEXT | -f FILE] [options]\n\n"
         "With -p, -f or piped stdin it answers once and exits; otherwise it chats (/help there).");
    for (int i = 0; i < N_OPTIONS; i++) {
        const option *o = &options[i];
        char left[64];
        if (o->kind == TITLE) {
            printf("\n%s\n", o->names);
            continue;
        }
        snprintf(left, sizeof left, "%s%s%s", o->names, o->arg ? " " : "", o->arg ? o->arg : "");
        for (char *p = left; *p && p < left + strlen(o->names); p++)
            if (*p == ' ') *p = ',';
        printf("  %-28s %s\n", left, o->help);
    }
    puts("\nExamples\n"
         "  octavius -m smollm2.gguf                          chat\n"
         "  octavius -m smollm2.gguf -p \"Name three rivers.\"   one answer\n"
         "  octavius -m base.gguf --raw -p \"Once upon a time\" -n 100 --temp 0.8\n"
         "  octavius -m smollm2.gguf -sys \"Summarise.\" < letter.txt\n"
         "  octavius -m moe-llava.gguf --image cat.jpg -p \"What is the cat doing?\"\n"
         "  octavius -m octavius-2d.gguf --image street.jpg --detect --draw out.png\n"
         "  octavius -m smollm2.gguf --batch questions.jsonl --resume answers.jsonl\n\n"
         "Exit codes\n"
         "  0 ok, 1 runtime, 2 usage, 3 model unreadable or unsupported, 4 picture or cloud unreadable,\n"
         "  5 out of memory or over a limit, 6 context full, 130 interrupted");
}

/* Letters to insert, delete, change or swap to come from a to b; good enough for names. */
static int distance(const char *a, const char *b) {
    const int n = (int)strlen(a), m = (int)strlen(b);
    int row[3][40];
    if (n > 38 || m > 38) return 99;
    for (int j = 0; j <= m; j++) row[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int d = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < d) d = up[j] + 1;
            if (now[j - 1] + 1 < d) d = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < d) d = up2[j - 2] + 1;
            now[j] = d;
        }
    }
    return row[n % 3][m];
}
/* The nearest of the words in list (separated by spaces), if it is near; best is where the search stands. */
static void suggest(const char *wrong, const char *list, char best[40], int *best_distance) {
    while (*list) {
        char word[40];
        const size_t n = strcspn(list, " ");
        snprintf(word, sizeof word, "%.*s", (int)n, list);
        int d = distance(wrong, word);
        if (strlen(wrong) > 4 && strncmp(word, wrong, strlen(wrong)) == 0 && d > 2) d = 2;    /* --max: --max-tokens */
        if (d < *best_distance && d <= 2 && d < (int)strlen(wrong) - 1) {
            *best_distance = d;
            snprintf(best, 40, "%s", word);
        }
        list += n + (list[n] == ' ');
    }
}

/* Whether word is one of the names in "-p --prompt". */
static int named(const char *names, const char *word, size_t n) {
    for (const char *p = names; *p; ) {
        const size_t len = strcspn(p, " ");
        if (len == n && memcmp(p, word, n) == 0) return 1;
        p += len + (p[len] == ' ');
    }
    return 0;
}
static int parse_real(const char *s, double *out) {
    char *end;
    errno = 0;
    *out = strtod(s, &end);
    return end != s && *end == 0 && errno == 0 && *out - *out == 0;      /* neither inf nor NaN */
}
static int parse_int(const char *s, long long *out) {
    char *end;
    errno = 0;
    *out = strtoll(s, &end, 10);
    return end != s && *end == 0 && errno == 0;
}

static int option_store(const option *o, const char *name, const char *value) {
    double real;
    long long whole;
    if (o->given) *o->given = 1;
    switch (o->kind) {
        case FLAG: *(int *)o->value = 1; return 0;
        case TEXT: *(const char **)o->value = value; return 0;
        case LIST:
            if (o->value) {
                if (set.n_loras == OCT_MAX_LORA) {
                    say("%s: at most %d adapters", name, (int)OCT_MAX_LORA);
                    return EXIT_USAGE;
                }
                set.loras[set.n_loras++] = value;
                return 0;
            }
            if (set.n_images == MOST_PICTURES) {
                say("%s: at most %d pictures", name, MOST_PICTURES);
                return EXIT_USAGE;
            }
            set.images[set.n_images++] = value;
            return 0;
        case INT:
            if (!parse_int(value, &whole) || (double)whole < o->min || (double)whole > o->max) break;
            *(int *)o->value = (int)whole;
            return 0;
        case SEED: {
            char *end;
            errno = 0;
            *(uint64_t *)o->value = strtoull(value, &end, 10);
            if (*value < '0' || *value > '9' || *end || errno) break;
            return 0;
        }
        case REAL:
            if (!parse_real(value, &real) || real < o->min || real > o->max) break;
            *(double *)o->value = real;
            return 0;
        case TITLE: break;
    }
    if (o->kind == SEED) say("%s: '%s', expected a whole number from 0", name, value);
    else say("%s: '%s', expected a %snumber from %g to %g", name, value, o->kind == INT ? "whole " : "", o->min, o->max);
    return EXIT_USAGE;
}

static int parse_options(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
        const size_t len = value ? (size_t)(value - word) : strlen(word);
        const option *o = NULL;
        char name[64], best[40] = "";
        int best_distance = 99;
        snprintf(name, sizeof name, "%.*s", (int)len, word);
        if (word[0] != '-' || !word[1]) {
            say("unexpected '%s': a question goes after -p, a model after -m (try --help)", word);
            return EXIT_USAGE;
        }
        for (int j = 0; j < N_OPTIONS && !o; j++)
            if (options[j].kind != TITLE && named(options[j].names, word, len)) o = &options[j];
        if (!o) {
            for (int j = 0; j < N_OPTIONS; j++)
                if (options[j].kind != TITLE) suggest(name, options[j].names, best, &best_distance);
            say("unknown option '%s'%s%s%s", name, best[0] ? ", did you mean " : " (try --help)", best, best[0] ? "?" : "");
            return EXIT_USAGE;
        }
        if (o->kind == FLAG && value) {
            say("%s takes no value", name);
            return EXIT_USAGE;
        }
        if (o->kind != FLAG && !value && ++i == argc) {
            say("%s needs a value: %s %s", name, name, o->arg);
            return EXIT_USAGE;
        }
        const int fault = option_store(o, name, o->kind == FLAG ? "" : value ? value + 1 : argv[i]);
        if (fault) return fault;
    }
    return 0;
}

/* --- experts ---------------------------------------------------------------------------------- */

/* Which experts the tokens met.  What stands in the context is noted position by position, so that what is taken back is
 * not counted; experts_count adds it up when a context comes to its end. */
enum { MODALITIES = OCT_MODALITIES };
typedef struct experts {
    int       n_ctx, n_layer, n_expert, k;
    uint16_t *now;                  /* [n_ctx, n_layer, k] expert + 1, best first; 0: none */
    char     *modality;             /* [n_ctx] 0 text, 1 picture, 2 cloud */
    uint64_t *chosen, *first;       /* [n_layer, MODALITIES, n_expert] how often at all, and as the best */
    uint64_t  tokens[MODALITIES];
    text      paths;                /* for every token, as uint16: its best expert + 1 of each layer, then its modality */
} experts;

static const char *const modality_names[MODALITIES] = { "text", "image", "cloud" };

static void *zeroed(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size);
    if (!p) leave_memory();
    return p;
}
/* A context begins that may be longer than the one before. */
static void experts_begin(experts *e, const oct_model_info *info, int n_ctx) {
    e->n_ctx = n_ctx;
    e->n_layer = info->n_layer;
    e->n_expert = info->n_expert;
    e->k = info->k_top;
    e->now = (uint16_t *)zeroed((size_t)n_ctx * (size_t)e->n_layer * (size_t)e->k, sizeof *e->now);
    e->modality = (char *)zeroed((size_t)n_ctx, 1);
    e->chosen = (uint64_t *)zeroed((size_t)e->n_layer * MODALITIES * (size_t)e->n_expert, sizeof *e->chosen);
    e->first = (uint64_t *)zeroed((size_t)e->n_layer * MODALITIES * (size_t)e->n_expert, sizeof *e->first);
}
static void experts_free(experts *e) {
    free(e->now);
    free(e->modality);
    free(e->chosen);
    free(e->first);
    text_free(&e->paths);
}
static void on_route(void *user, const oct_route *r) {
    experts *e = (experts *)user;
    if (r->position >= e->n_ctx || r->layer >= e->n_layer) return;
    uint16_t *now = e->now + ((size_t)r->position * (size_t)e->n_layer + (size_t)r->layer) * (size_t)e->k;
    for (int i = 0; i < e->k; i++) now[i] = (uint16_t)(i < r->k && r->weights[i] > 0 ? r->chosen[i] + 1 : 0);
    e->modality[r->position] = (char)r->modality;
}
/* Adds up the first n positions. */
static void experts_count(experts *e, int n) {
    for (int pos = 0; pos < n && pos < e->n_ctx && e->k; pos++) {
        const uint16_t modality = (uint16_t)e->modality[pos];
        e->tokens[modality]++;
        for (int l = 0; l < e->n_layer; l++) {
            const uint16_t *now = e->now + ((size_t)pos * (size_t)e->n_layer + (size_t)l) * (size_t)e->k;
            const size_t row = ((size_t)l * MODALITIES + modality) * (size_t)e->n_expert;
            for (int i = 0; i < e->k; i++)
                if (now[i]) e->chosen[row + now[i] - 1]++;
            if (now[0]) e->first[row + now[0] - 1]++;
            text_add(&e->paths, now, sizeof *now);
        }
        text_add(&e->paths, &modality, sizeof modality);
    }
}

/* The most frequent ways of tokens through the layers' best experts. */
typedef struct way { const uint16_t *experts; uint64_t of[MODALITIES], all; } way;
static size_t path_bytes;                                  /* qsort hands nothing on */
static int path_order(const void *a, const void *b) { return memcmp(a, b, path_bytes); }
static int path_more(const void *a, const void *b) {
    const uint64_t x = ((const way *)a)->all, y = ((const way *)b)->all;
    return x < y ? 1 : x > y ? -1 : memcmp(((const way *)a)->experts, ((const way *)b)->experts, path_bytes);
}
/* Sorted, the most frequent first; *n of them.  The caller frees the list. */
static way *experts_paths(experts *e, size_t *n) {
    const size_t row = ((size_t)e->n_layer + 1) * sizeof(uint16_t), rows = e->paths.len / row;
    way *list = (way *)zeroed(rows, sizeof *list);
    path_bytes = row - sizeof(uint16_t);
    *n = 0;
    if (rows) qsort(e->paths.data, rows, row, path_order);
    for (size_t i = 0; i < rows; i++) {
        const uint16_t *row_of = (const uint16_t *)(const void *)(e->paths.data + i * row);
        if (*n == 0 || memcmp(list[*n - 1].experts, row_of, path_bytes) != 0) list[(*n)++].experts = row_of;
        list[*n - 1].of[row_of[e->n_layer]]++;
        list[*n - 1].all++;
    }
    if (*n) qsort(list, *n, sizeof *list, path_more);
    return list;
}
/* Tokens that layer l routed: 0 where it has no experts. */
static uint64_t experts_of_layer(const experts *e, int l, int modality) {
    uint64_t sum = 0;
    for (int i = 0; i < e->n_expert; i++) sum += e->first[((size_t)l * MODALITIES + (size_t)modality) * (size_t)e->n_expert + (size_t)i];
    return sum;
}
static int experts_has_layer(const experts *e, int l) {
    for (int m = 0; m < MODALITIES; m++)
        if (experts_of_layer(e, l, m)) return 1;
    return 0;
}
static void experts_json_counts(const experts *e, text *out, const char *name, const uint64_t *counts /* [MODALITIES, n_expert] */) {
    text_puts(out, ",\"");
    text_puts(out, name);
    text_puts(out, "\":{");
    for (int m = 0, some = 0; m < MODALITIES; m++) {
        if (!e->tokens[m]) continue;
        text_puts(out, some++ ? ",\"" : "\"");
        text_puts(out, modality_names[m]);
        for (int i = 0; i < e->n_expert; i++) text_number(out, i ? ",%.0f" : "\":[%.0f", (double)counts[m * e->n_expert + i]);
        text_puts(out, "]");
    }
    text_puts(out, "}");
}
static void experts_json(const experts *e, const way *paths, size_t n_paths, text *out) {
    text_number(out, "{\"n_expert\":%.0f", e->n_expert);
    text_number(out, ",\"k\":%.0f,\"tokens\":{", e->k);
    for (int m = 0, some = 0; m < MODALITIES; m++) {
        if (!e->tokens[m]) continue;
        text_puts(out, some++ ? ",\"" : "\"");
        text_puts(out, modality_names[m]);
        text_number(out, "\":%.0f", (double)e->tokens[m]);
    }
    text_puts(out, "},\"layers\":[");
    for (int l = 0, some = 0; l < e->n_layer; l++) {
        if (!experts_has_layer(e, l)) continue;
        text_number(out, some++ ? ",\n{\"layer\":%.0f" : "\n{\"layer\":%.0f", l);
        experts_json_counts(e, out, "chosen", e->chosen + (size_t)l * MODALITIES * (size_t)e->n_expert);
        experts_json_counts(e, out, "first", e->first + (size_t)l * MODALITIES * (size_t)e->n_expert);
        text_puts(out, "}");
    }
    text_puts(out, "],\"paths\":[");
    for (size_t i = 0; i < n_paths; i++) {
        text_puts(out, i ? ",\n{\"experts\":[" : "\n{\"experts\":[");
        for (int l = 0, some = 0; l < e->n_layer; l++)
            if (experts_has_layer(e, l)) text_number(out, some++ ? ",%.0f" : "%.0f", (double)paths[i].experts[l] - 1);
        text_puts(out, "]");
        for (int m = 0; m < MODALITIES; m++) {
            if (!e->tokens[m]) continue;
            text_puts(out, ",\"");
            text_puts(out, modality_names[m]);
            text_number(out, "\":%.0f", (double)paths[i].of[m]);
        }
        text_puts(out, "}");
    }
    text_puts(out, "]}\n");
}
/* One row a layer: of the experts that text met, and pictures, each one's share; to the right the most frequent ways of best ones. */
static void experts_svg(const experts *e, const way *paths, size_t n_paths, text *out) {
    static const char *const colours[] = { "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#444444" };
    const double wide = 260, step = 46, left = 90;
    char line[400];
    int rows = 0;
    for (int l = 0; l < e->n_layer; l++) rows += experts_has_layer(e, l);
    snprintf(line, sizeof line, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"840\" height=\"%.0f\" font-family=\"sans-serif\" "
             "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n", 60 + step * rows);
    text_puts(out, line);
    for (int i = 0; i < e->n_expert && i < 8; i++) {
        snprintf(line, sizeof line, "<rect x=\"%.0f\" y=\"10\" width=\"12\" height=\"12\" fill=\"%s\"/><text x=\"%.0f\" y=\"21\">expert %d</text>\n",
                 left + 90.0 * i, colours[i], left + 18 + 90.0 * i, i);
        text_puts(out, line);
    }
    for (int l = 0, row = 0; l < e->n_layer; l++) {
        if (!experts_has_layer(e, l)) continue;
        const double top = 40 + step * row++;
        snprintf(line, sizeof line, "<text x=\"10\" y=\"%.0f\">layer %d</text>\n", top + 22, l);
        text_puts(out, line);
        for (int m = 0, bar = 0; m < MODALITIES; m++) {
            const uint64_t *chosen = e->chosen + ((size_t)l * MODALITIES + (size_t)m) * (size_t)e->n_expert;
            double x = left + 44, sum = 0;
            for (int i = 0; i < e->n_expert; i++) sum += (double)chosen[i];
            if (sum == 0) continue;
            const double y = top + 16.0 * bar++;
            snprintf(line, sizeof line, "<text x=\"%.0f\" y=\"%.0f\" fill=\"#666\">%s</text>\n", left, y + 11, modality_names[m]);
            text_puts(out, line);
            for (int i = 0; i < e->n_expert; i++) {
                const double share = (double)chosen[i] / sum;
                snprintf(line, sizeof line, "<rect x=\"%.1f\" y=\"%.0f\" width=\"%.1f\" height=\"13\" fill=\"%s\"><title>expert %d: %.1f %%</title></rect>\n",
                         x, y, share * wide, colours[i % 8], i, 100 * share);
                text_puts(out, line);
                x += share * wide;
            }
        }
    }
    text_puts(out, "<text x=\"470\" y=\"21\">the most frequent ways of best experts, 0 on the left</text>\n");
    for (size_t i = 0; i < n_paths; i++) {
        const double most = (double)paths[0].all, lane = 300.0 / (e->n_expert > 1 ? e->n_expert - 1 : 1);
        snprintf(line, sizeof line, "<polyline fill=\"none\" stroke=\"%s\" stroke-opacity=\"0.6\" stroke-width=\"%.1f\" points=\"", colours[i % 8],
                 1 + 7 * (double)paths[i].all / most);
        text_puts(out, line);
        for (int l = 0, row = 0; l < e->n_layer; l++) {
            if (!experts_has_layer(e, l)) continue;
            snprintf(line, sizeof line, "%.1f,%.1f ", 470 + lane * (paths[i].experts[l] - 1.0) + 3.0 * (double)i, 54 + step * row++);
            text_puts(out, line);
        }
        snprintf(line, sizeof line, "\"><title>%llu of %llu tokens</title></polyline>\n", (unsigned long long)paths[i].all,
                 (unsigned long long)(e->tokens[0] + e->tokens[1] + e->tokens[2]));
        text_puts(out, line);
    }
    text_puts(out, "</svg>\n");
}
/* Writes --experts-out; 0 or an exit code. */
static int experts_write(experts *e) {
    const size_t len = strlen(set.experts);
    text out = { NULL, 0, 0 };
    size_t n = 0;
    way *paths = experts_paths(e, &n);
    if (n > 10) n = 10;
    if (len > 4 && strcmp(set.experts + len - 4, ".svg") == 0) experts_svg(e, paths, n, &out);
    else experts_json(e, paths, n, &out);
    FILE *f = fopen(set.experts, "wb");
    int bad = !f || fwrite(out.data, 1, out.len, f) != out.len;
    bad = (f && fclose(f)) || bad;
    if (bad) say("--experts-out: %s: %s", set.experts, strerror(errno));
    free(paths);
    text_free(&out);
    return bad ? EXIT_RUNTIME : 0;
}

/* --- the model and the session --------------------------------------------------------------- */

/* The pictures of one question, encoded, in the order they were given. */
typedef struct pictures {
    oct_embeds *list[MOST_PICTURES];
    int         n, encoded;         /* encoded: how often the encoder ran for them; the session knows the last few */
    double      image_ms, encode_ms;
    int         width, height;      /* of the first, which boxes belong to, */
    char       *path;               /* and where it is read again to be drawn on; stdin cannot be, so it is */
    oct_picture kept;               /* kept */
} pictures;

/* Where every turn began, for /undo and /regen. */
typedef struct turn { int position; char *question; size_t len; pictures with; text answer; } turn;

/* What the user wants of the gate of LoRA experts. */
enum { MOST_EXPERTS = 64 };
typedef struct routing { float weights[MOST_EXPERTS]; int pin[MOST_EXPERTS], mute[MOST_EXPERTS], n_weights, n_pin, n_mute; } routing;

typedef struct chat {
    oct_model       *model;
    oct_session     *session;
    oct_session_desc desc;
    oct_model_info   info;
    oct_lora        *loras[OCT_MAX_LORA];
    float            scales[OCT_MAX_LORA];
    int              n_loras;
    routing          routing;
    int              rerouted;      /* 1: the gate was changed after the first question: the next one computes everything anew */
    int              renumbered;    /* 1: and did so: where earlier turns began is no longer known */
    int              refeed;        /* 1: what turns hold is not in the session: the next question feeds it first */
    text             system;        /* backs desc.system */
    turn            *turns;
    size_t           n_turns, cap_turns;
    int              pending;       /* 1: the last token shown is not in the cache, it comes with the next turn */
    double           open_ms;
    pictures         waiting;       /* for the next question of a chat */
    experts          experts;       /* for --experts-out */
    oct_boxes        reader;        /* of the last answer */
    oct_box         *boxes;         /* ... and what it held, dropped ones too */
    size_t           n_boxes, cap_boxes;
    int              show_progress;
    const char      *reading;                   /* what progress is about */
    double           start;                     /* of it */
} chat;

/* What became of one answer. */
typedef struct outcome {
    oct_result  result;
    oct_error   err;
    text        answer;
    const char *stop;
    int         n_prompt, n_generated, n_images, n_encoded;
    double      image_ms, encode_ms, prefill_ms, decode_ms;
} outcome;

static void log_line(void *user, oct_log_level level, const char *message) {
    (void)user;
    if (level == OCT_LOG_WARN && !set.quiet) say("%s", message);
}
/* On a terminal, and only when it takes a while. */
static int on_progress(void *user, float done) {
    const chat *c = (const chat *)user;
    if (c->show_progress && now_ms() - c->start > 300) {
        fprintf(stderr, "\r\033[Kreading the %s: %d%%", c->reading, (int)((double)done * 100.0));
        fflush(stderr);
    }
    return stopping(NULL);
}
static void progress_begin(chat *c, const char *what) {
    c->reading = what;
    c->start = now_ms();
}
static void progress_end(const chat *c) {
    if (c->show_progress && now_ms() - c->start > 300) fputs("\r\033[K", stderr);
}

static int style_known(const char *name) {
    const char *s;
    for (int i = 0; (s = oct_prompt_style_name(i)) != NULL; i++)
        if (strcmp(s, name) == 0) return 1;
    return 0;
}
static void print_styles(FILE *f, const char *between) {
    const char *s;
    for (int i = 0; (s = oct_prompt_style_name(i)) != NULL; i++) fprintf(f, "%s%s", i ? between : "", s);
}

/* Numbers with commas between them; how many, or -1. */
static int parse_list(const char *s, double *list /* [MOST_EXPERTS] */) {
    int n = 0;
    while (*s) {
        char one[32];
        const size_t len = strcspn(s, ",");
        snprintf(one, sizeof one, "%.*s", (int)len, s);
        if (len == 0 || len >= sizeof one || n == MOST_EXPERTS || !parse_real(one, &list[n++])) return -1;
        s += len;
        if (*s == ',' && !*++s) return -1;
    }
    return n;
}
static int parse_experts(const char *s, int *list /* [MOST_EXPERTS] */) {
    double numbers[MOST_EXPERTS];
    const int n = parse_list(s, numbers);
    for (int i = 0; i < n; i++) {
        if (numbers[i] < 0 || numbers[i] >= MOST_EXPERTS || numbers[i] != (double)(int)numbers[i]) return -1;
        list[i] = (int)numbers[i];
    }
    return n;
}
static int parse_weights(const char *s, float *list /* [MOST_EXPERTS] */) {
    double numbers[MOST_EXPERTS];
    const int n = parse_list(s, numbers);
    for (int i = 0; i < n; i++) list[i] = (float)numbers[i];
    return n;
}
/* --expert-pin, --expert-mute, --gate; 0 or an exit code. */
static int make_routing(routing *r) {
    const char *bad = NULL;
    if (set.pin && (r->n_pin = parse_experts(set.pin, r->pin)) < 0) bad = "--expert-pin";
    if (set.mute && (r->n_mute = parse_experts(set.mute, r->mute)) < 0) bad = "--expert-mute";
    if (set.gate && (r->n_weights = parse_weights(set.gate, r->weights)) < 0) bad = "--gate";
    if (bad) say("%s: expected %s with commas between them", bad, bad[2] == 'g' ? "weights" : "numbers of experts from 0");
    return bad ? EXIT_USAGE : 0;
}
/* Tells the session. */
static oct_result route(const chat *c, const routing *r, oct_error *err) {
    oct_gate gate;
    memset(&gate, 0, sizeof gate);
    gate.pin = r->pin;
    gate.n_pin = r->n_pin;
    gate.mute = r->mute;
    gate.n_mute = r->n_mute;
    gate.n_weights = r->n_weights;
    if (r->n_weights) gate.weights = r->weights;
    return c->info.n_gate ? oct_session_set_gate(c->session, &gate, err) : OCT_OK;
}

/* The options as a session desc. */
static int make_desc(chat *c) {
    static const char *const isas[] = { "auto", "scalar", "avx2", "avx512", "neon" };
    static const char *const kvs[] = { "f16", "f32", "q8_0" };
    oct_session_desc *d = &c->desc;
    int i = 0;
    if (set.style && !style_known(set.style)) {
        fprintf(stderr, "octavius: --prompt-style: '%s' is not known, expected one of ", set.style);
        print_styles(stderr, " ");
        fputc('\n', stderr);
        return EXIT_USAGE;
    }
    if (set.special && !set.raw) {
        say("--special is for --raw: elsewhere nobody may write control tokens");
        return EXIT_USAGE;
    }
    if (set.isa) {
        while (i < 5 && strcmp(isas[i], set.isa) != 0) i++;
        d->isa = (oct_isa)i;
        if (i == 5 || !oct_isa_available(d->isa)) {
            say("--isa: '%s'%s", set.isa, i == 5 ? ", expected auto, scalar, avx2, avx512 or neon" : ": this machine has no such kernels");
            return EXIT_USAGE;
        }
    }
    if (set.kv) {
        for (i = 0; i < 3 && strcmp(kvs[i], set.kv) != 0; i++) {}
        d->kv_type = (oct_kv_type)i;
        if (i == 3) {
            say("--kv: '%s', expected f16, f32 or q8_0", set.kv);
            return EXIT_USAGE;
        }
    }
    if (!set.has_seed) set.seed = ((uint64_t)time(NULL) * 2654435761u ^ (uint64_t)(now_ms() * 1e3)) & 0xFFFFFFFFu;
    d->n_ctx = set.ctx;
    d->n_threads = set.threads;
    d->exact = set.exact;
    d->seed = set.seed;
    d->max_tokens = set.max_tokens < 0 ? 1 << 30 : set.max_tokens;
    d->keep_gate = set.keep_gate;
    d->raw = set.raw;
    d->prompt_style = set.style;
    d->boxes = set.boxes;
    d->system = set.system;
    d->sampling.temperature = set.has_temp && set.temp <= 0 ? -1.0f : (float)set.temp;
    d->sampling.top_k = set.top_k;
    d->sampling.top_p = (float)set.top_p;
    d->sampling.min_p = (float)set.min_p;
    d->sampling.repeat_penalty = (float)set.repeat;
    d->sampling.frequency_penalty = (float)set.frequency;
    d->sampling.presence_penalty = (float)set.presence;
    d->sampling.penalty_window = set.window;
    d->abort = stopping;
    d->progress = on_progress;
    d->progress_user = c;
    return make_routing(&c->routing);
}

/* The adapters of the command line.  A number after the last colon is the scale. */
static int open_loras(chat *c) {
    for (int i = 0; i < set.n_loras; i++) {
        const char *colon = strrchr(set.loras[i], ':');
        double scale = 1;
        text path = { NULL, 0, 0 };
        oct_error err;
        const int scaled = colon && parse_real(colon + 1, &scale);
        text_add(&path, set.loras[i], scaled ? (size_t)(colon - set.loras[i]) : strlen(set.loras[i]));
        text_add(&path, "", 1);
        memset(&err, 0, sizeof err);
        const oct_result r = oct_lora_open(&c->loras[i], c->model, path.data, &err);
        c->scales[i] = (float)scale;
        if (r && strstr(err.message, path.data)) say("%s", err.message);
        else if (r) say("%s: %s", path.data, err.message);
        text_free(&path);
        if (r) return r == OCT_E_MEMORY || r == OCT_E_LIMIT ? EXIT_MEMORY : EXIT_MODEL;
        c->n_loras++;
    }
    return 0;
}
/* Positions of the context. */
static int context_of(const chat *c) {
    return c->desc.n_ctx ? c->desc.n_ctx : c->info.n_ctx_train < 4096 ? c->info.n_ctx_train : 4096;
}
static int open_model(chat *c) {
    oct_model_desc d;
    oct_error err;
    memset(&d, 0, sizeof d);
    memset(&err, 0, sizeof err);
    d.no_mmap = set.no_mmap;
    d.log = log_line;
    d.progress = on_progress;
    d.progress_user = c;
    d.mmproj = set.mmproj;
    progress_begin(c, "model");
    const oct_result r = oct_model_open(&c->model, set.model, &d, &err);
    c->open_ms = now_ms() - c->start;
    progress_end(c);
    if (r) {
        if (strstr(err.message, set.model)) say("%s", err.message);
        else say("%s: %s", set.model, err.message);
        return r == OCT_E_MEMORY || r == OCT_E_LIMIT ? EXIT_MEMORY : r == OCT_E_ABORTED ? EXIT_SIGNAL : EXIT_MODEL;
    }
    oct_model_info_get(c->model, &c->info);
    if (set.experts && c->info.n_expert == 0) {
        say("--experts-out: %s: the model has no experts", set.model);
        return EXIT_MODEL;
    }
    if (set.experts) {
        experts_begin(&c->experts, &c->info, context_of(c));
        c->desc.router = on_route;
        c->desc.router_user = &c->experts;
    }
    if (set.n_images && !c->info.has_image) {
        say("%s: the model has no image encoder; --mmproj names one that stands in another file", set.model);
        return EXIT_MODEL;
    }
    if (set.cloud && !c->info.has_points) {
        say("%s: the model has no point-cloud encoder", set.model);
        return EXIT_MODEL;
    }
    if ((set.pin || set.mute || set.gate || set.keep_gate) && c->info.n_gate == 0) {
        say("%s: the model has no LoRA experts, so no gate of theirs", set.model);
        return EXIT_MODEL;
    }
    const oct_string style = c->info.prompt_style;
    if (set.system && *set.system && !set.quiet && (set.raw || (!set.style && style.len == 3 && memcmp(style.data, "raw", 3) == 0)))
        say("the prompt style is raw: the system text is not used");
    return 0;
}
/* (Re)opens the session as the desc says; what was in it is gone. */
static int open_session(chat *c) {
    oct_error err;
    memset(&err, 0, sizeof err);
    oct_session_close(c->session);
    c->session = NULL;
    c->pending = 0;
    oct_result r = oct_session_open(&c->session, c->model, &c->desc, &err);
    if (!r) r = oct_session_set_lora(c->session, (const oct_lora *const *)c->loras, c->scales, c->n_loras, &err);
    if (!r) r = route(c, &c->routing, &err);
    if (!r) return 0;
    say("%s: %s", set.model, err.message);
    return r == OCT_E_ARG ? EXIT_USAGE : exit_code(r);
}

/* --- pictures: read and encoded as soon as they are named, so that a wrong path is told at once --------------- */

static void pictures_clear(pictures *p) {
    for (int i = 0; i < p->n; i++) oct_embeds_close(p->list[i]);
    oct_picture_close(&p->kept);
    free(p->path);
    memset(p, 0, sizeof *p);
}
static oct_result picture_open(oct_picture *picture, const char *path, oct_error *err) {
    oct_result r;
    if (strcmp(path, "-") == 0) {
        text bytes = { NULL, 0, 0 };
        const int fault = read_all(stdin, &bytes);
        r = oct_picture_open_memory(picture, bytes.data, bytes.len, NULL, err);
        if (fault) snprintf(err->message, sizeof err->message, "%s", strerror(fault));
        text_free(&bytes);
    } else {
        r = oct_picture_open(picture, path, NULL, err);
    }
    return r ? r : oct_picture_upright(picture, err);
}
/* One more picture.  0, or an exit code and what is wrong. */
static int pictures_add(chat *c, pictures *p, const char *path, char *fault, size_t cap) {
    const char *name = strcmp(path, "-") == 0 ? "stdin" : path;
    oct_picture picture;
    oct_session_stats before, after;
    oct_error err;
    int code = 0;
    memset(&picture, 0, sizeof picture);
    memset(&err, 0, sizeof err);
    if (!c->info.has_image || p->n == MOST_PICTURES) {
        if (p->n == MOST_PICTURES) snprintf(fault, cap, "%s: at most %d pictures go with a question", name, MOST_PICTURES);
        else snprintf(fault, cap, "%s: the model has no image encoder", name);
        return c->info.has_image ? EXIT_USAGE : EXIT_MODEL;
    }
    const double start = now_ms();
    oct_result r = picture_open(&picture, path, &err);
    if (r) code = r == OCT_E_MEMORY || r == OCT_E_LIMIT ? EXIT_MEMORY : EXIT_PICTURE;
    progress_begin(c, "picture");
    p->image_ms += c->start - start;
    oct_session_stats_get(c->session, &before);
    if (!r && (r = oct_encode_image(&p->list[p->n], c->session, &picture.image, &err)) != OCT_OK) code = exit_code(r);
    oct_session_stats_get(c->session, &after);
    p->encode_ms += now_ms() - c->start;
    p->encoded += after.images_encoded - before.images_encoded;
    p->n += !r;
    progress_end(c);
    if (!r && p->n == 1) {
        p->width = picture.image.width;
        p->height = picture.image.height;
        p->path = (char *)malloc(strlen(path) + 1);
        if (!p->path) leave_memory();
        memcpy(p->path, path, strlen(path) + 1);
        if (strcmp(path, "-") == 0 && set.draw) {
            p->kept = picture;
            memset(&picture, 0, sizeof picture);
        }
    }
    oct_picture_close(&picture);
    if (r && strstr(err.message, name)) snprintf(fault, cap, "%s", err.message);
    else if (r) snprintf(fault, cap, "%s: %s", name, err.message);
    return code;
}
/* Those of the command line. */
static int pictures_of_options(chat *c, pictures *p) {
    char fault[600];
    for (int i = 0; i < set.n_images; i++) {
        const int code = pictures_add(c, p, set.images[i], fault, sizeof fault);
        if (code && code != EXIT_SIGNAL) say("%s", fault);
        if (code) return terminated ? 128 + 15 : code;
    }
    return 0;
}

/* --- boxes ----------------------------------------------------------------------------------- */

/* The question of OCTAVIUS's official evaluation. */
static const char detection_question[] =
    "Identify all the objects in the image and provide their positions. Your answer needs to give the object name and the bounding "
    "box of the object. The bounding box should be represented as [x1, y1, x2, y2] with floating numbers ranging from 0 to 1. These "
    "values correspond to the top left x, top left y, bottom right x, and bottom right y.";

/* The pictures that an answer is about: the question's own, or those of the last question that had any. */
static const pictures *pictures_about(const chat *c, const pictures *with) {
    for (size_t i = c->n_turns; with->n == 0 && i > 0; i--)
        if (c->turns[i - 1].with.n) return &c->turns[i - 1].with;
    return with;
}
static void boxes_begin(chat *c, const pictures *about) {
    c->n_boxes = 0;
    (void)oct_boxes_begin(&c->reader, c->model, about->n ? about->width : 1, about->n ? about->height : 1, NULL);
}
/* More of the answer; NULL: it is over.  Without a picture there is nothing that boxes could be of. */
static void boxes_read(chat *c, const pictures *about, oct_string *more) {
    oct_box box;
    while (about->n && oct_boxes_next(&c->reader, more, &box)) {
        if (c->n_boxes == c->cap_boxes) {
            oct_box *p = (oct_box *)realloc(c->boxes, (2 * c->cap_boxes + 16) * sizeof *p);
            if (!p) leave_memory();
            c->boxes = p;
            c->cap_boxes = 2 * c->cap_boxes + 16;
        }
        c->boxes[c->n_boxes++] = box;
    }
}
static void json_put_string(text *out, const char *s, size_t n);
static void boxes_list(const chat *c, text *out, int dropped) {      /* a JSON array */
    int n = 0;
    text_puts(out, "[");
    for (size_t i = 0; i < c->n_boxes; i++) {
        const oct_box *b = &c->boxes[i];
        if ((b->dropped != OCT_DROP_NONE) != dropped) continue;
        text_puts(out, n++ ? "," : "");
        text_puts(out, dropped ? "{\"text\":" : "{\"label\":");
        json_put_string(out, dropped ? b->text : b->label, strlen(dropped ? b->text : b->label));
        if (dropped) {
            text_puts(out, ",\"reason\":");
            json_put_string(out, oct_drop_reason(b->dropped), strlen(oct_drop_reason(b->dropped)));
        } else {
            text_number(out, ",\"x1\":%.2f", (double)b->x1);
            text_number(out, ",\"y1\":%.2f", (double)b->y1);
            text_number(out, ",\"x2\":%.2f", (double)b->x2);
            text_number(out, ",\"y2\":%.2f", (double)b->y2);
        }
        text_puts(out, "}");
    }
    text_puts(out, "]");
}
static void boxes_json(const chat *c, text *out) {
    text_puts(out, "\"boxes\":");
    boxes_list(c, out, 0);
    text_puts(out, ",\"dropped\":");
    boxes_list(c, out, 1);
}
/* Of each box the number of its label among the labels, in the order in which they come; -1 where it was dropped.  free() it. */
static int *boxes_classes(const chat *c) {
    int *of = (int *)malloc((c->n_boxes + 1) * sizeof *of), n = 0;
    if (!of) leave_memory();
    for (size_t i = 0; i < c->n_boxes; i++) {
        size_t like = 0;
        while (like < i && (of[like] < 0 || strcmp(c->boxes[like].label, c->boxes[i].label) != 0)) like++;
        of[i] = c->boxes[i].dropped ? -1 : like < i ? of[like] : n++;
    }
    return of;
}
/* One image, its annotations, the labels as categories from 1 on. */
static void boxes_coco(const chat *c, const pictures *about, text *out) {
    char s[256];
    int n = 0, *of = boxes_classes(c);
    text_puts(out, "{\"images\":[{\"id\":1,\"file_name\":");
    json_put_string(out, about->path ? about->path : "", about->path ? strlen(about->path) : 0);
    snprintf(s, sizeof s, ",\"width\":%d,\"height\":%d}],\"annotations\":[", about->width, about->height);
    text_puts(out, s);
    for (size_t i = 0; i < c->n_boxes; i++) {
        const oct_box *b = &c->boxes[i];
        const double w = (double)b->x2 - (double)b->x1, h = (double)b->y2 - (double)b->y1;
        if (b->dropped) continue;
        snprintf(s, sizeof s, "%s{\"id\":%d,\"image_id\":1,\"category_id\":%d,\"bbox\":[%.2f,%.2f,%.2f,%.2f],\"area\":%.2f,\"iscrowd\":0}",
                 n ? "," : "", n + 1, of[i] + 1, (double)b->x1, (double)b->y1, w, h, w * h);
        n++;
        text_puts(out, s);
    }
    text_puts(out, "],\"categories\":[");
    n = 0;
    for (size_t i = 0; i < c->n_boxes; i++) {
        if (of[i] != n) continue;                          /* dropped, or seen before */
        n++;
        snprintf(s, sizeof s, "%s{\"id\":%d,\"name\":", n > 1 ? "," : "", n);
        text_puts(out, s);
        json_put_string(out, c->boxes[i].label, strlen(c->boxes[i].label));
        text_puts(out, "}");
    }
    text_puts(out, "]}\n");
    free(of);
}
/* The labels as comments, then a line for each box: class, centre and size, as fractions of the picture. */
static void boxes_yolo(const chat *c, const pictures *about, text *out) {
    char s[256];
    int n = 0, *of = boxes_classes(c);
    for (size_t i = 0; i < c->n_boxes; i++) {
        if (of[i] != n) continue;                          /* dropped, or seen before */
        snprintf(s, sizeof s, "# %d %s\n", n++, c->boxes[i].label);
        text_puts(out, s);
    }
    for (size_t i = 0; i < c->n_boxes; i++) {
        const oct_box *b = &c->boxes[i];
        const double w = about->width, h = about->height;
        if (b->dropped) continue;
        snprintf(s, sizeof s, "%d %.6f %.6f %.6f %.6f\n", of[i], ((double)b->x1 + (double)b->x2) / (2 * w),
                 ((double)b->y1 + (double)b->y2) / (2 * h), ((double)b->x2 - (double)b->x1) / w, ((double)b->y2 - (double)b->y1) / h);
        text_puts(out, s);
    }
    free(of);
}
/* The boxes of the last answer, in the format asked for. */
static void boxes_print(const chat *c, const pictures *about) {
    text out = { NULL, 0, 0 };
    text_add(&out, "", 0);
    if (set.boxes_format && strcmp(set.boxes_format, "coco") == 0) boxes_coco(c, about, &out);
    else if (set.boxes_format && strcmp(set.boxes_format, "yolo") == 0) boxes_yolo(c, about, &out);
    else {
        text_puts(&out, "{");
        boxes_json(c, &out);
        text_puts(&out, "}\n");
    }
    put(out.data, out.len);
    text_free(&out);
}
static int write_bytes(void *f, const void *data, size_t n) { return fwrite(data, 1, n, (FILE *)f) != n; }
static int ends_with(const char *s, const char *end) {
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}
/* The picture with the boxes of the last answer, as a file; 0, or an exit code and what is wrong. */
static int boxes_draw(const chat *c, const pictures *about, const char *path, char *fault, size_t cap) {
    oct_picture opened;
    oct_error err;
    memset(&opened, 0, sizeof opened);
    memset(&err, 0, sizeof err);
    if (about->n == 0) {
        snprintf(fault, cap, "%s: no picture to draw on", path);
        return EXIT_USAGE;
    }
    oct_picture picture = about->kept;                     /* drawn on once only */
    oct_result r = about->kept.memory ? OCT_OK : picture_open(&opened, about->path, &err);
    if (!about->kept.memory) picture = opened;
    FILE *f = r ? NULL : fopen(path, "wb");
    if (r) {
        snprintf(fault, cap, "%s: %s", about->path, err.message);
    } else if (!f) {
        snprintf(fault, cap, "%s: %s", path, strerror(errno));
        r = OCT_E_IO;
    } else {
        const int svg = ends_with(path, ".svg");
        if (!svg) r = oct_boxes_draw(&picture, c->boxes, c->n_boxes, &err);
        if (!r) r = svg ? oct_svg_write(&picture.image, c->boxes, c->n_boxes, NULL, write_bytes, f, &err)
                        : oct_png_write(&picture.image, NULL, write_bytes, f, &err);
        const int bad = fclose(f) != 0;
        if (r == OCT_E_IO || bad) snprintf(fault, cap, "%s: %s", path, strerror(errno ? errno : EIO));
        else if (r) snprintf(fault, cap, "%s: %s", path, err.message);
        if (!r && bad) r = OCT_E_IO;
        if (r) remove(path);
    }
    oct_picture_close(&opened);
    return r == OCT_OK ? 0 : r == OCT_E_MEMORY || r == OCT_E_LIMIT ? EXIT_MEMORY : EXIT_RUNTIME;
}

/* --- an answer ------------------------------------------------------------------------------- */

/* A new question computes the whole dialogue anew: the gate of LoRA experts depends on all of it. */
static int is_anew(const chat *c) { return c->info.n_gate && (!set.keep_gate || c->rerouted); }

/* Pictures come before the text, as the official programs have it. */
static oct_result feed(chat *c, const char *question, size_t len, const pictures *with, oct_error *err) {
    size_t n = 0;
    for (int i = 0; i < with->n; i++) {
        const oct_result fed = oct_feed_embeds(c->session, with->list[i], err);
        if (fed) return fed;
    }
    if (!set.special) return oct_feed_text_n(c->session, question, len, err);
    oct_result r = oct_tokenize(c->model, question, len, OCT_TEXT_SPECIAL, NULL, 0, &n, err);
    int32_t *ids = (int32_t *)malloc(n * sizeof *ids + 1);
    if (!ids) leave_memory();
    if (!r) r = oct_tokenize(c->model, question, len, OCT_TEXT_SPECIAL, ids, n, &n, err);
    if (!r) r = oct_feed_tokens(c->session, ids, n, err);
    free(ids);
    return r;
}
/* The turns that the session does not hold, if there are any. */
static oct_result feed_turns(chat *c, oct_error *err) {
    oct_result r = OCT_OK;
    for (size_t i = 0; c->refeed && i < c->n_turns && !r; i++) {
        const turn *t = &c->turns[i];
        r = feed(c, t->question, t->len, &t->with, err);
        if (!r) r = oct_feed_answer(c->session, t->answer.data, t->answer.len, err);
    }
    return r;
}
/* On a terminal, control characters from a model stay harmless: only line breaks and tabs act. */
static void show(const char *s, size_t n, int terminal) {
    if (!terminal) {
        put(s, n);
        return;
    }
    text safe = { NULL, 0, 0 };
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i], next = i + 1 < n ? (unsigned char)s[i + 1] : 0;
        if (c == 0xC2 && next >= 0x80 && next < 0xA0) {             /* the C1 range, as UTF-8 */
            text_puts(&safe, "\xEF\xBF\xBD");
            i++;
        } else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F) {
            text_puts(&safe, "\xEF\xBF\xBD");
        } else {
            text_add(&safe, s + i, 1);
        }
    }
    if (safe.len) put(safe.data, safe.len);
    text_free(&safe);
}

/* The position at which the next turn begins, and the way back to such a one. */
static int turn_start(const chat *c) { return oct_session_position(c->session) + c->pending; }
static void turn_back(chat *c, int position) {
    if (position > 0 && oct_session_rewind(c->session, position, NULL)) position = 0;
    if (position == 0) oct_session_reset(c->session);
    c->pending = 0;
}

/* Feeds the question and takes the answer, streaming it if asked.  o is filled whatever happens. */
static void answer(chat *c, const char *question, size_t len, const pictures *with, int stream, outcome *o) {
    const int before = is_anew(c) || c->refeed ? 0 : turn_start(c), terminal = is_terminal(stdout);
    const pictures *about = pictures_about(c, with);
    oct_token t;
    int unseen = 0;                      /* tokens at the end whose text is still held back */
    boxes_begin(c, about);
    text_set(&o->answer, "", 0);
    memset(&o->err, 0, sizeof o->err);
    o->stop = "abort";
    o->n_prompt = o->n_generated = 0;
    o->prefill_ms = o->decode_ms = 0;
    o->n_images = with->n;
    o->n_encoded = with->encoded;
    o->image_ms = with->image_ms;
    o->encode_ms = with->encode_ms;
    progress_begin(c, "prompt");
    o->result = feed_turns(c, &o->err);
    if (!o->result) o->result = feed(c, question, len, with, &o->err);
    if (!o->result) o->result = oct_prefill(c->session, &o->err);
    o->prefill_ms = now_ms() - c->start;
    progress_end(c);
    if (o->result) {
        oct_feed_clear(c->session);      /* the session stands where it stood */
        return;
    }
    c->renumbered |= c->rerouted;
    c->refeed = c->rerouted = 0;
    o->n_prompt = oct_session_position(c->session) - before;
    const double start = now_ms();
    while (!stopping(NULL) && (o->result = oct_next(c->session, &t, &o->err)) == OCT_OK && !t.is_end) {
        if (t.id >= 0) {
            o->n_generated++;
            unseen++;
        }
        if (t.len == 0) continue;
        unseen = 0;
        text_add(&o->answer, t.text, t.len);
        if (stream) show(t.text, t.len, terminal);
        oct_string more = { t.text, t.len };
        boxes_read(c, about, &more);
    }
    boxes_read(c, about, NULL);
    o->decode_ms = now_ms() - start;
    if (stopping(NULL) && !o->result) o->result = OCT_E_ABORTED;
    if (!o->result) {
        o->stop = t.end == OCT_END_LENGTH ? "length" : t.end == OCT_END_STOP ? "stop" : "eos";
    } else if (o->result == OCT_E_CONTEXT) {
        o->stop = "length";
    } else if (unseen > 0) {             /* the last of them is not in the cache yet: the rewind drops it */
        turn_back(c, oct_session_position(c->session) - (unseen - 1));
        o->n_generated -= unseen;
        return;
    }
    c->pending = o->n_generated > 0 && strcmp(o->stop, "eos") != 0;
}

/* The gate as numbers with something between them. */
static void put_gate(text *out, const chat *c, const char *between) {
    int n = 0;
    const float *gate = oct_session_gate(c->session, &n);
    for (int e = 0; e < n; e++) {
        if (e) text_puts(out, between);
        text_number(out, "%.6g", (double)gate[e]);
    }
}
static void print_stats(const chat *c, const outcome *o) {
    int n;
    text gate = { NULL, 0, 0 };
    put_gate(&gate, c, " ");
    if (gate.len) fprintf(stderr, "gate of the LoRA experts: %s\n", gate.data);
    text_free(&gate);
    oct_session_tokens(c->session, &n);
    if (o->n_images)
        fprintf(stderr, "pictures: %d read in %.0f ms; %d encoded in %.0f ms\n", o->n_images, o->image_ms, o->n_encoded, o->encode_ms);
    fprintf(stderr, "prompt: %d tokens in %.0f ms (%.1f tokens/s); answer: %d tokens in %.0f ms (%.1f tokens/s)\n", o->n_prompt,
            o->prefill_ms, o->n_prompt * 1e3 / (o->prefill_ms > 0 ? o->prefill_ms : 1), o->n_generated, o->decode_ms,
            o->n_generated * 1e3 / (o->decode_ms > 0 ? o->decode_ms : 1));
    fprintf(stderr, "opened in %.0f ms; seed %llu; kernels %s; %d positions taken; ended by %s\n", c->open_ms,
            (unsigned long long)c->desc.seed, oct_isa_name(c->desc.isa), n, o->stop);
}

/* --- JSON ------------------------------------------------------------------------------------ */

static void json_put_string(text *out, const char *s, size_t n) {        /* s is valid UTF-8 */
    text_add(out, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i];
        char esc[8];
        if (c == '"' || c == '\\') snprintf(esc, sizeof esc, "\\%c", c);
        else if (c == '\n') snprintf(esc, sizeof esc, "\\n");
        else if (c < 0x20 || c == 0x7F) snprintf(esc, sizeof esc, "\\u%04x", c);
        else snprintf(esc, sizeof esc, "%c", c);
        text_puts(out, esc);
    }
    text_add(out, "\"", 1);
}
/* The members of an answer's object, without the braces. */
static void json_put_outcome(text *out, const chat *c, const outcome *o) {
    char line[256];
    text_puts(out, "\"text\":");
    json_put_string(out, o->answer.data, o->answer.len);
    snprintf(line, sizeof line, ",\"stop\":\"%s\",\"n_prompt\":%d,\"n_generated\":%d", o->stop, o->n_prompt, o->n_generated);
    text_puts(out, line);
    if (o->n_images) text_number(out, ",\"n_images_encoded\":%.0f", o->n_encoded);
    snprintf(line, sizeof line, ",\"seed\":%llu", (unsigned long long)c->desc.seed);
    text_puts(out, line);
    if (c->info.n_gate) {
        text_puts(out, ",\"gate\":[");
        put_gate(out, c, ",");
        text_puts(out, "]");
    }
    if (c->n_boxes || (o->n_images && (set.detect || set.boxes || set.draw))) {
        text_puts(out, ",");
        boxes_json(c, out);
    }
    text_puts(out, ",\"ms\":{\"open\":");
    text_number(out, "%.3f", c->open_ms);
    if (o->n_images) {
        text_number(out, ",\"image\":%.3f", o->image_ms);
        text_number(out, ",\"encode\":%.3f", o->encode_ms);
    }
    text_puts(out, ",\"prefill\":");
    text_number(out, "%.3f", o->prefill_ms);
    text_puts(out, ",\"decode\":");
    text_number(out, "%.3f", o->decode_ms);
    text_puts(out, "}");
}

/* Strict reader (RFC 8259) over bytes in memory: fault is set once and stays. */
typedef struct json { const char *p, *end, *fault; } json;

static int json_fail(json *j, const char *fault) {
    if (!j->fault) j->fault = fault;
    return 0;
}
static void json_space(json *j) {
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r')) j->p++;
}
static int json_next(json *j, char want) {
    json_space(j);
    if (j->p == j->end || *j->p != want) return 0;
    j->p++;
    return 1;
}
static int json_hex4(json *j, unsigned *out) {
    *out = 0;
    for (int i = 0; i < 4; i++, j->p++) {
        const char c = (char)(j->p < j->end ? *j->p : 0);
        const int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (v < 0) return json_fail(j, "a \\u escape without four hexadecimal digits");
        *out = *out * 16 + (unsigned)v;
    }
    return 1;
}
static void put_utf8(text *out, unsigned cp) {
    const int n = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    char s[4];
    for (int i = n - 1; i > 0; i--, cp >>= 6) s[i] = (char)(0x80 | (cp & 0x3F));
    s[0] = (char)(n == 1 ? cp : (0xF00u >> n & 0xFF) | cp);
    text_add(out, s, (size_t)n);
}
static int json_escape(json *j, text *out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char c = (char)(j->p < j->end ? *j->p++ : 0), *at = c ? strchr(from, c) : NULL;
    unsigned cp, low;
    if (at) {
        text_add(out, to + (at - from), 1);
        return 1;
    }
    if (c != 'u') return json_fail(j, "an unknown escape in a string");
    if (!json_hex4(j, &cp)) return 0;
    if (cp >= 0xD800 && cp < 0xDC00) {
        if (j->end - j->p < 2 || j->p[0] != '\\' || j->p[1] != 'u') return json_fail(j, "half a surrogate pair");
        j->p += 2;
        if (!json_hex4(j, &low)) return 0;
        if (low < 0xDC00 || low > 0xDFFF) return json_fail(j, "half a surrogate pair");
        cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
    } else if (cp >= 0xDC00 && cp < 0xE000) {
        return json_fail(j, "half a surrogate pair");
    }
    put_utf8(out, cp);
    return 1;
}
/* Length of the valid UTF-8 character at s, at most n bytes; 0: none. */
static int utf8_len(const char *s, size_t n) {
    const unsigned char *p = (const unsigned char *)s;
    const int len = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0;
    if (len == 0 || (size_t)len > n) return 0;
    for (int i = 1; i < len; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return len;
}
static int json_string(json *j, text *out) {               /* decoded */
    text_set(out, "", 0);
    if (!json_next(j, '"')) return json_fail(j, "a string is missing");
    while (j->p < j->end && *j->p != '"') {
        if (*j->p == '\\') {
            j->p++;
            if (!json_escape(j, out)) return 0;
            continue;
        }
        const int n = utf8_len(j->p, (size_t)(j->end - j->p));
        if (n == 0) return json_fail(j, "a string is not UTF-8");
        if ((unsigned char)*j->p < 0x20) return json_fail(j, "a bare control character in a string");
        text_add(out, j->p, (size_t)n);
        j->p += n;
    }
    if (j->p == j->end) return json_fail(j, "a string without an end");
    j->p++;
    return 1;
}
static int json_digits(json *j) {
    const char *start = j->p;
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9') j->p++;
    return j->p > start;
}
static int json_number(json *j) {
    if (j->p < j->end && *j->p == '-') j->p++;
    if (j->p < j->end && *j->p == '0') j->p++;
    else if (!json_digits(j)) return json_fail(j, "a value is missing");
    if (j->p < j->end && *j->p == '.') {
        j->p++;
        if (!json_digits(j)) return json_fail(j, "a number is cut short");
    }
    if (j->p < j->end && (*j->p == 'e' || *j->p == 'E')) {
        j->p++;
        if (j->p < j->end && (*j->p == '+' || *j->p == '-')) j->p++;
        if (!json_digits(j)) return json_fail(j, "a number is cut short");
    }
    return 1;
}
static int json_skip(json *j, int depth);
/* The rest of an object or array, after its opening; close is '}' or ']'. */
static int json_skip_list(json *j, char close, int depth) {
    text key = { NULL, 0, 0 };
    int ok = 1;
    if (json_next(j, close)) return 1;
    do {
        if (close == '}' && (!json_string(j, &key) || !json_next(j, ':'))) ok = json_fail(j, "a member without a value");
        ok = ok && json_skip(j, depth + 1);
    } while (ok && json_next(j, ','));
    if (ok && !json_next(j, close)) ok = json_fail(j, "an object or array without an end");
    text_free(&key);
    return ok;
}
/* Any value. */
static int json_skip(json *j, int depth) {
    static const char *const words[] = { "true", "false", "null" };
    json_space(j);
    if (depth > 64) return json_fail(j, "nested more than 64 deep");
    if (j->p == j->end) return json_fail(j, "a value is missing");
    for (int i = 0; i < 3; i++) {
        const size_t n = strlen(words[i]);
        if ((size_t)(j->end - j->p) < n || memcmp(j->p, words[i], n) != 0) continue;
        j->p += n;
        return 1;
    }
    if (*j->p == '"') {
        text s = { NULL, 0, 0 };
        const int ok = json_string(j, &s);
        text_free(&s);
        return ok;
    }
    if (json_next(j, '{')) return json_skip_list(j, '}', depth);
    if (json_next(j, '[')) return json_skip_list(j, ']', depth);
    return json_number(j);
}

/* --- one shot -------------------------------------------------------------------------------- */

static int one_shot(chat *c, const char *question, size_t len) {
    pictures with;
    outcome o;
    memset(&with, 0, sizeof with);
    memset(&o, 0, sizeof o);
    const int fault = pictures_of_options(c, &with);
    if (!fault) answer(c, question, len, &with, !set.json && !set.boxes_format, &o);
    if (fault) {
        pictures_clear(&with);
        return fault;
    }
    const int began = o.n_prompt > 0;                      /* else there is no answer, only a message */
    if (began && set.json) {
        text line = { NULL, 0, 0 };
        text_puts(&line, "{");
        json_put_outcome(&line, c, &o);
        text_puts(&line, "}\n");
        put(line.data, line.len);
        text_free(&line);
    } else if (began && set.boxes_format) {
        boxes_print(c, &with);
    } else if (began) {
        put("\n", 1);
    }
    char why[600];
    const int drawn = began && set.draw ? boxes_draw(c, &with, set.draw, why, sizeof why) : 0;
    if (drawn) say("%s", why);
    for (size_t i = 0; i < c->n_boxes && !set.json && !set.quiet && (set.detect || set.draw || set.boxes_format); i++)
        if (c->boxes[i].dropped) say("dropped '%s': %s", c->boxes[i].text, oct_drop_reason(c->boxes[i].dropped));
    if (began && set.stats) print_stats(c, &o);
    if (o.result && o.result != OCT_E_ABORTED) say("%s", o.err.message);
    text_free(&o.answer);
    pictures_clear(&with);
    return terminated ? 128 + 15 : o.result ? exit_code(o.result) : drawn;
}

/* --- many questions -------------------------------------------------------------------------- */

typedef struct item {
    text        id;                /* its JSON, as it goes out again */
    text        prompt, system;
    text        images;            /* paths, a zero byte after each */
    int         has_id, has_prompt, has_system, has_error, has_cloud;
    const char *fault;
} item;

/* Paths of pictures: null, a string or an array of strings. */
static int item_images(item *it, json *j) {
    text s = { NULL, 0, 0 };
    const int list = json_next(j, '[');
    int ok = 1;
    if (!list && j->p < j->end && *j->p == 'n') return json_skip(j, 0);
    for (int more = !list || !json_next(j, ']'); ok && more; more = list && json_next(j, ',')) {
        json_space(j);
        if (j->p == j->end || *j->p != '"') ok = json_fail(j, "image must be paths");
        else if ((ok = json_string(j, &s)) != 0) {
            if (memchr(s.data, 0, s.len)) ok = json_fail(j, "image holds a zero byte");
            text_add(&it->images, s.data, s.len + 1);
        }
    }
    if (ok && list && it->images.len && !json_next(j, ']')) ok = json_fail(j, "an object or array without an end");
    text_free(&s);
    return ok;
}
/* One line.  Members of other names pass. */
static void item_read(item *it, const char *line, size_t n) {
    json j = { line, line + n, NULL };
    text key = { NULL, 0, 0 }, s = { NULL, 0, 0 };
    it->has_id = it->has_prompt = it->has_system = it->has_error = it->has_cloud = 0;
    text_set(&it->images, "", 0);
    it->fault = NULL;
    if (!json_next(&j, '{')) json_fail(&j, "no JSON object");
    int more = !j.fault && !json_next(&j, '}');
    while (more) {
        if (!json_string(&j, &key) || !json_next(&j, ':')) { json_fail(&j, "a member without a value"); break; }
        json_space(&j);
        const char *start = j.p, first = (char)(j.p < j.end ? *j.p : 0);
        if (strcmp(key.data, "prompt") == 0 && first == '"') it->has_prompt = json_string(&j, &it->prompt);
        else if (strcmp(key.data, "system") == 0 && first == '"') it->has_system = json_string(&j, &it->system);
        else if (strcmp(key.data, "image") == 0) (void)item_images(it, &j);
        else if (strcmp(key.data, "id") == 0 && first == '"') {
            if (json_string(&j, &s)) {                     /* one spelling for equal strings */
                text_set(&it->id, "", 0);
                json_put_string(&it->id, s.data, s.len);
                it->has_id = 1;
            }
        } else if (json_skip(&j, 0)) {
            const int null = first == 'n';
            if (strcmp(key.data, "id") == 0 && !null) {
                if (first != '-' && (first < '0' || first > '9')) json_fail(&j, "id is neither a string nor a number");
                text_set(&it->id, start, (size_t)(j.p - start));
                it->has_id = 1;
            }
            if (strcmp(key.data, "error") == 0) it->has_error = 1;
            if ((strcmp(key.data, "prompt") == 0 || strcmp(key.data, "system") == 0) && !null)
                json_fail(&j, "prompt and system must be strings");
            if (strcmp(key.data, "cloud") == 0 && !null) it->has_cloud = 1;
        }
        if (j.fault) break;
        more = json_next(&j, ',');
        if (!more && !json_next(&j, '}')) json_fail(&j, "an object without an end");
    }
    json_space(&j);
    if (!j.fault && j.p < j.end) json_fail(&j, "something after the object");
    if (!j.fault && it->has_system && memchr(it->system.data, 0, it->system.len)) json_fail(&j, "system holds a zero byte");
    it->fault = j.fault;
    text_free(&key);
    text_free(&s);
}
static void item_free(item *it) {
    text_free(&it->id);
    text_free(&it->prompt);
    text_free(&it->system);
    text_free(&it->images);
}

/* The ids that a file of answers holds without error: their JSON, each with a line break after it. */
static int read_done(const char *path, text *done, long *keep) {
    text all = { NULL, 0, 0 };
    item it;
    memset(&it, 0, sizeof it);
    const int fault = read_file(path, &all);
    *keep = -1;
    text_puts(done, "\n");
    if (fault == ENOENT) return 0;
    if (fault) {
        say("--resume: %s: %s", path, strerror(fault));
        return EXIT_RUNTIME;
    }
    size_t at = 0;
    for (const char *nl; (nl = (const char *)memchr(all.data + at, '\n', all.len - at)) != NULL; at = (size_t)(nl - all.data) + 1) {
        item_read(&it, all.data + at, (size_t)(nl - all.data) - at);
        if (it.fault || !it.has_id || it.has_error) continue;
        text_add(done, it.id.data, it.id.len);
        text_puts(done, "\n");
    }
    if (at < all.len) *keep = (long)at;                    /* a torn last line begins here */
    item_free(&it);
    text_free(&all);
    return 0;
}
/* Opens the answers' file for appending, without its torn last line. */
static FILE *open_answers(const char *path, long keep) {
#if POSIX
    if (keep >= 0 && truncate(path, (off_t)keep)) return NULL;
#else
    if (keep >= 0) {                                       /* no way to cut a file: write it anew */
        text all = { NULL, 0, 0 };
        FILE *f = read_file(path, &all) ? NULL : fopen(path, "wb");
        if (!f || fwrite(all.data, 1, (size_t)keep, f) != (size_t)keep || fclose(f)) return NULL;
        text_free(&all);
    }
#endif
    FILE *f = fopen(path, "ab");
    if (f) setvbuf(f, NULL, _IONBF, 0);                    /* a line is one write */
    return f;
}
/* The next line into t, without its end; 0 at the end of the file. */
static int read_line_of(FILE *f, text *t) {
    int c;
    text_set(t, "", 0);
    while ((c = getc(f)) != EOF && c != '\n') {
        const char byte = (char)c;
        text_add(t, &byte, 1);
    }
    return c != EOF || t->len > 0;
}

/* Answers one line; the object for it goes to line, empty if interrupted.  0 or an exit code that ends everything. */
static int batch_one(chat *c, item *it, text *line, int *bad) {
    pictures with;
    outcome o;
    char fault[600];
    memset(&with, 0, sizeof with);
    memset(&o, 0, sizeof o);
    const char *error = it->fault;
    if (!error && !it->has_prompt && set.detect) text_set(&it->prompt, detection_question, sizeof detection_question - 1);
    else if (!error && !it->has_prompt) error = "prompt is missing";
    if (!error && it->has_cloud) error = "the model has no point-cloud encoder";
    if (!error) {
        const char *system = it->has_system ? it->system.data : set.system;
        const int same = system && c->desc.system ? strcmp(system, c->desc.system) == 0 : system == c->desc.system;
        if (!same) {
            if (system) text_set(&c->system, system, strlen(system));
            c->desc.system = system ? c->system.data : NULL;
            const int code = open_session(c);
            if (code) return code;
        }
        turn_back(c, 0);
        for (size_t at = 0; at < it->images.len && !error; at += strlen(it->images.data + at) + 1)
            if (pictures_add(c, &with, it->images.data + at, fault, sizeof fault)) error = fault;
        if (stopping(NULL)) o.result = OCT_E_ABORTED;
        else if (!error) answer(c, it->prompt.data, it->prompt.len, &with, 0, &o);
        if (o.result && !(o.result == OCT_E_CONTEXT && o.n_generated > 0)) error = o.err.message;
        pictures_clear(&with);
        experts_count(&c->experts, oct_session_position(c->session));
    }
    text_set(line, "", 0);
    if (o.result != OCT_E_ABORTED) {
        text_puts(line, "{\"id\":");
        text_add(line, it->id.data, it->id.len);
        text_puts(line, ",");
        if (error) {
            text_puts(line, "\"error\":");
            json_put_string(line, error, strlen(error));
            *bad = 1;
        } else {
            json_put_outcome(line, c, &o);
        }
        text_puts(line, "}\n");
    }
    text_free(&o.answer);
    return 0;
}

static int batch(chat *c) {
    FILE *in = strcmp(set.batch, "-") == 0 ? stdin : fopen(set.batch, "rb"), *out = stdout;
    text row = { NULL, 0, 0 }, line = { NULL, 0, 0 }, done = { NULL, 0, 0 }, key = { NULL, 0, 0 };
    item it;
    long long k = 0, n = 1, index = 0;
    long keep = -1;
    int code = 0, bad = 0, used = 0;
    memset(&it, 0, sizeof it);
    if (!in) {
        say("--batch: %s: %s", set.batch, strerror(errno));
        return EXIT_RUNTIME;
    }
    if (set.shard && (sscanf(set.shard, "%lld/%lld%n", &k, &n, &used) != 2 || set.shard[used] || n < 1 || k < 0 || k >= n)) {
        say("--shard: '%s', expected K/N with K from 0 to N-1", set.shard);
        return EXIT_USAGE;
    }
    if (set.resume) {
        code = read_done(set.resume, &done, &keep);
        if (code) return code;
        out = open_answers(set.resume, keep);
        if (!out) {
            say("--resume: %s: %s", set.resume, strerror(errno));
            return EXIT_RUNTIME;
        }
    }
    for (; !code && !stopping(NULL) && read_line_of(in, &row); index++) {
        if (index % n != k || strspn(row.data, " \t\r") == row.len) continue;
        item_read(&it, row.data, row.len);
        if (!it.has_id) {
            char number[32];
            text_set(&it.id, number, (size_t)snprintf(number, sizeof number, "%lld", index));
        }
        text_set(&key, "\n", 1);
        text_add(&key, it.id.data, it.id.len);
        text_puts(&key, "\n");
        if (done.data && strstr(done.data, key.data)) continue;
        code = batch_one(c, &it, &line, &bad);
        if (code || line.len == 0) break;
        if (out == stdout) {
            put(line.data, line.len);
        } else if (fwrite(line.data, 1, line.len, out) != line.len) {
            say("--resume: %s: %s", set.resume, strerror(errno));
            code = EXIT_RUNTIME;
        }
    }
    if (out != stdout) fclose(out);
    if (in != stdin) fclose(in);
    item_free(&it);
    text_free(&row);
    text_free(&line);
    text_free(&done);
    text_free(&key);
    return code ? code : terminated ? 128 + 15 : interrupted ? EXIT_SIGNAL : bad ? EXIT_RUNTIME : 0;
}

/* --- a line from the user -------------------------------------------------------------------- */

typedef enum line_end { LINE_OK, LINE_EOF, LINE_INTERRUPT } line_end;

/* Without a terminal to speak of. */
static line_end plain_line(const char *prompt, text *out) {
    int c;
    text_set(out, "", 0);
    if (prompt && *prompt) {
        fputs(prompt, stdout);
        fflush(stdout);
    }
    while ((c = getc(stdin)) != EOF && c != '\n') {
        const char byte = (char)c;
        text_add(out, &byte, 1);
    }
    if (c == EOF) {
        clearerr(stdin);
        if (interrupted) return LINE_INTERRUPT;
        if (out->len == 0) return LINE_EOF;
    }
    if (out->len && out->data[out->len - 1] == '\r') out->data[--out->len] = 0;
    return LINE_OK;
}

#if POSIX
static struct termios cooked;
static int            is_raw;

static void raw_off(void) {
    if (!is_raw) return;
    if (write(1, "\033[?2004l", 8) < 0) {}                 /* bracketed paste off; nothing to do if that fails */
    tcsetattr(0, TCSAFLUSH, &cooked);
    is_raw = 0;
}
static int raw_on(void) {
    struct termios t;
    if (tcgetattr(0, &cooked)) return 0;
    t = cooked;
    t.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
    t.c_lflag &= ~(tcflag_t)(ECHO | ICANON | IEXTEN | ISIG);
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    if (tcsetattr(0, TCSADRAIN, &t)) return 0;             /* what was typed ahead stays */
    is_raw = 1;
    if (write(1, "\033[?2004h", 8) < 0) {}
    return 1;
}

typedef struct editor {
    const char *prompt;
    size_t      prompt_width;
    text        line, kept;              /* kept: the line under way while one looks at the history */
    size_t      at;                      /* cursor, in bytes */
    int         where;                   /* line of the history shown; n_history: the one under way */
} editor;
static char *history[256];
static int   n_history;

static void history_add(const text *t) {
    if (t->len == 0 || (n_history && strcmp(history[n_history - 1], t->data) == 0)) return;
    if (n_history == 256) {
        free(history[0]);
        memmove(history, history + 1, sizeof history - sizeof history[0]);
        n_history--;
    }
    history[n_history] = (char *)malloc(t->len + 1);
    if (!history[n_history]) leave_memory();
    memcpy(history[n_history++], t->data, t->len + 1);
}

/* One byte from the terminal; -1 at its end or when we are asked to go. */
static int read_key(void) {
    unsigned char c;
    for (;;) {
        const ssize_t n = read(0, &c, 1);
        if (n == 1) return c;
        if (n == 0 || errno != EINTR || terminated) return -1;
    }
}
static size_t char_next(const text *t, size_t at) {
    if (at < t->len) at++;
    while (at < t->len && ((unsigned char)t->data[at] & 0xC0) == 0x80) at++;
    return at;
}
static size_t char_back(const text *t, size_t at) {
    if (at > 0) at--;
    while (at > 0 && ((unsigned char)t->data[at] & 0xC0) == 0x80) at--;
    return at;
}
/* Columns of the character at s: 0 for combining marks, 2 for East Asian wide ones and most emoji. */
static size_t char_width(const char *s, size_t n) {
    static const struct { unsigned first, last; size_t width; } ranges[] = {
        { 0x300, 0x36F, 0 }, { 0x1100, 0x115F, 2 }, { 0x200B, 0x200F, 0 }, { 0x20D0, 0x20FF, 0 }, { 0x2E80, 0xA4CF, 2 },
        { 0xAC00, 0xD7A3, 2 }, { 0xF900, 0xFAFF, 2 }, { 0xFE00, 0xFE0F, 0 }, { 0xFE30, 0xFE6F, 2 }, { 0xFF00, 0xFF60, 2 },
        { 0xFFE0, 0xFFE6, 2 }, { 0x1F300, 0x1FAFF, 2 }, { 0x20000, 0x3FFFD, 2 } };
    unsigned cp = (unsigned char)s[0];
    if (n > 1) cp &= 0x7Fu >> n;
    for (size_t i = 1; i < n; i++) cp = cp << 6 | ((unsigned char)s[i] & 0x3F);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (cp >= ranges[i].first && cp <= ranges[i].last) return ranges[i].width;
    return 1;
}
static size_t columns_between(const text *t, size_t from, size_t to) {
    size_t width = 0;
    for (size_t i = from, next; i < to; i = next) {
        next = char_next(t, i);
        width += char_width(t->data + i, next - i);
    }
    return width;
}

/* Draws prompt and line in one row of the screen, scrolled sideways so that the cursor is in it. */
static void redraw(const editor *e) {
    struct winsize w;
    text out = { NULL, 0, 0 };
    size_t room = 80, from = 0, to;
    char move[32];
    if (ioctl(1, TIOCGWINSZ, &w) == 0 && w.ws_col > 0) room = w.ws_col;
    room = room > e->prompt_width + 8 ? room - e->prompt_width - 1 : 8;
    while (columns_between(&e->line, from, e->at) > room - 1) from = char_next(&e->line, from);
    for (to = from; to < e->line.len && columns_between(&e->line, from, char_next(&e->line, to)) <= room; ) to = char_next(&e->line, to);
    text_puts(&out, "\r");
    text_puts(&out, e->prompt);
    for (size_t i = from; i < to; i++) {
        const unsigned char c = (unsigned char)e->line.data[i];
        if (c < 0x20 || c == 0x7F) text_puts(&out, c == '\n' ? "\xE2\x86\xB5" : " ");      /* an arrow for a line break */
        else text_add(&out, e->line.data + i, 1);
    }
    snprintf(move, sizeof move, "\033[K\r\033[%dC", (int)(e->prompt_width + columns_between(&e->line, from, e->at)));
    text_puts(&out, move);
    if (write(1, out.data, out.len) < 0) {}
    text_free(&out);
}

static void edit_insert(editor *e, const char *s, size_t n) {
    const size_t tail = e->line.len - e->at;
    text_add(&e->line, s, n);                              /* room for it; then the tail moves up */
    memmove(e->line.data + e->at + n, e->line.data + e->at, tail);
    memcpy(e->line.data + e->at, s, n);
    e->at += n;
}
static void edit_cut(editor *e, size_t from, size_t to) {
    memmove(e->line.data + from, e->line.data + to, e->line.len - to + 1);
    e->line.len -= to - from;
    e->at = from;
}
static void edit_history(editor *e, int step) {
    const int to = e->where + step;
    if (to < 0 || to > n_history) return;
    if (e->where == n_history) text_set(&e->kept, e->line.data, e->line.len);
    e->where = to;
    if (to == n_history) text_set(&e->line, e->kept.data, e->kept.len);
    else text_set(&e->line, history[to], strlen(history[to]));
    e->at = e->line.len;
}
/* Everything up to the end of a paste goes in as it is. */
static void edit_paste(editor *e) {
    text t = { NULL, 0, 0 };
    static const char end[] = "\033[201~";
    int c;
    while ((c = read_key()) >= 0) {
        const char byte = (char)(c == '\r' ? '\n' : c);
        text_add(&t, &byte, 1);
        if (t.len >= 6 && memcmp(t.data + t.len - 6, end, 6) == 0) {
            t.len -= 6;
            break;
        }
    }
    while (t.len && t.data[t.len - 1] == '\n') t.len--;
    if (t.len) edit_insert(e, t.data, t.len);
    text_free(&t);
}
static void edit_word(editor *e, int forward) {
    if (forward) {
        while (e->at < e->line.len && e->line.data[e->at] == ' ') e->at++;
        while (e->at < e->line.len && e->line.data[e->at] != ' ') e->at++;
    } else {
        while (e->at > 0 && e->line.data[e->at - 1] == ' ') e->at--;
        while (e->at > 0 && e->line.data[e->at - 1] != ' ') e->at--;
    }
}
/* After ESC: arrows, Home, End, Delete, Alt-b and Alt-f, the beginning of a paste. */
static void edit_escape(editor *e) {
    char seq[16];
    int n = 0, c = read_key();
    if (c == 'b' || c == 'f') edit_word(e, c == 'f');
    if (c != '[' && c != 'O') return;
    do seq[n++] = (char)(c = read_key()); while (n < 15 && c >= 0 && !(c >= '@' && c <= '~'));
    seq[n] = 0;
    if (strcmp(seq, "A") == 0) edit_history(e, -1);
    else if (strcmp(seq, "B") == 0) edit_history(e, 1);
    else if (strcmp(seq, "C") == 0) e->at = char_next(&e->line, e->at);
    else if (strcmp(seq, "D") == 0) e->at = char_back(&e->line, e->at);
    else if (strcmp(seq, "H") == 0 || strcmp(seq, "1~") == 0 || strcmp(seq, "7~") == 0) e->at = 0;
    else if (strcmp(seq, "F") == 0 || strcmp(seq, "4~") == 0 || strcmp(seq, "8~") == 0) e->at = e->line.len;
    else if (strcmp(seq, "3~") == 0) edit_cut(e, e->at, char_next(&e->line, e->at));
    else if (strcmp(seq, "1;5C") == 0 || strcmp(seq, "1;5D") == 0) edit_word(e, seq[3] == 'C');
    else if (strcmp(seq, "200~") == 0) edit_paste(e);
}
enum { CTRL_A = 1, CTRL_B, CTRL_C, CTRL_D, CTRL_E, CTRL_F, CTRL_H = 8, CTRL_K = 11, CTRL_L, ENTER, CTRL_N, CTRL_P = 16, CTRL_U = 21,
       CTRL_W = 23, CTRL_Z = 26, ESCAPE = 27, BACKSPACE = 127 };

/* One key; LINE_OK means: go on editing unless *done. */
static line_end edit_key(editor *e, int c, int *done) {
    size_t from;
    switch (c) {
        case ENTER: case '\n': *done = 1; break;
        case CTRL_C: return LINE_INTERRUPT;
        case CTRL_D:
            if (e->line.len == 0) return LINE_EOF;
            edit_cut(e, e->at, char_next(&e->line, e->at));
            break;
        case CTRL_A: e->at = 0; break;
        case CTRL_E: e->at = e->line.len; break;
        case CTRL_B: e->at = char_back(&e->line, e->at); break;
        case CTRL_F: e->at = char_next(&e->line, e->at); break;
        case CTRL_K: from = e->at; edit_cut(e, from, e->line.len); break;
        case CTRL_U: edit_cut(e, 0, e->at); break;
        case CTRL_W: {
            const size_t end = e->at;
            edit_word(e, 0);
            edit_cut(e, e->at, end);
            break;
        }
        case CTRL_H: case BACKSPACE: {
            const size_t end = e->at;
            edit_cut(e, char_back(&e->line, end), end);
            break;
        }
        case CTRL_P: edit_history(e, -1); break;
        case CTRL_N: edit_history(e, 1); break;
        case CTRL_L: if (write(1, "\033[H\033[2J", 7) < 0) {} break;
        case CTRL_Z:
            raw_off();
            raise(SIGTSTP);
            raw_on();
            break;
        case ESCAPE: edit_escape(e); break;
        default: {
            const char byte = (char)c;
            if (c >= 0x20 || c == '\t') edit_insert(e, &byte, 1);
        }
    }
    return LINE_OK;
}

static line_end edit_line(const char *prompt, size_t prompt_width, text *out) {
    editor e;
    line_end end = LINE_OK;
    int done = 0;
    memset(&e, 0, sizeof e);
    e.prompt = prompt;
    e.prompt_width = prompt_width;
    e.where = n_history;
    text_puts(&e.line, "");
    if (!raw_on()) return plain_line(prompt, out);
    while (!done && end == LINE_OK) {
        redraw(&e);
        const int c = read_key();
        end = c < 0 ? LINE_EOF : edit_key(&e, c, &done);
    }
    e.at = e.line.len;
    redraw(&e);
    raw_off();
    fputs(end == LINE_INTERRUPT ? "^C\n" : "\n", stdout);
    fflush(stdout);
    text_set(out, e.line.data, e.line.len);
    if (end == LINE_OK) history_add(out);
    text_free(&e.line);
    text_free(&e.kept);
    return end;
}
#endif

/* --- the REPL -------------------------------------------------------------------------------- */

typedef struct repl {
    chat   *c;
    outcome last;
    int     terminal, color, quit, code;
} repl;

static line_end ask(const repl *r, const char *prompt, text *out) {
    char coloured[64];
    interrupted = 0;
    if (!r->terminal) return plain_line("", out);
    snprintf(coloured, sizeof coloured, r->color ? "\033[1;32m%s\033[0m" : "%s", prompt);
#if POSIX
    const char *term = getenv("TERM");
    if (term && strcmp(term, "dumb") != 0) return edit_line(coloured, strlen(prompt), out);
#endif
    return plain_line(coloured, out);
}
static void note(const repl *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (r->color) fputs("\033[2m", stderr);
    vfprintf(stderr, format, args);
    if (r->color) fputs("\033[0m", stderr);
    fputc('\n', stderr);
    va_end(args);
}

static void turns_cut(chat *c, size_t n) {
    c->n_boxes = 0;
    while (c->n_turns > n) {
        turn *t = &c->turns[--c->n_turns];
        free(t->question);
        text_free(&t->answer);
        pictures_clear(&t->with);
    }
}
/* The turn takes the pictures over. */
static void turns_add(chat *c, int position, const char *question, size_t len, pictures *with, const text *said) {
    if (c->n_turns == c->cap_turns) {
        turn *p = (turn *)realloc(c->turns, (c->cap_turns * 2 + 8) * sizeof *p);
        if (!p) leave_memory();
        c->turns = p;
        c->cap_turns = c->cap_turns * 2 + 8;
    }
    turn *t = &c->turns[c->n_turns++];
    t->position = position;
    t->len = len;
    t->question = (char *)malloc(len + 1);
    if (!t->question) leave_memory();
    memcpy(t->question, question, len);
    t->question[len] = 0;
    memset(&t->answer, 0, sizeof t->answer);
    text_set(&t->answer, said->data, said->len);
    t->with = *with;
    t->with.encoded = 0;                 /* asked again, they cost nothing */
    t->with.image_ms = t->with.encode_ms = 0;
    memset(with, 0, sizeof *with);
}

static void draw_boxes(const repl *r, const char *path) {
    static const pictures none;
    const chat *c = r->c;
    char fault[600];
    size_t n = 0;
    for (size_t i = 0; i < c->n_boxes; i++) n += c->boxes[i].dropped == OCT_DROP_NONE;
    if (boxes_draw(c, pictures_about(c, &none), path, fault, sizeof fault)) note(r, "%s", fault);
    else note(r, "(%s: %zu box%s)", path, n, n == 1 ? "" : "es");
}

/* Asks, shows the answer, remembers the turn with its pictures (they stay with the caller where there is no turn).  No failure
 * ends the chat. */
static void repl_turn(repl *r, const char *question, size_t len, pictures *with) {
    chat *c = r->c;
    const int before = turn_start(c);
    interrupted = 0;
    answer(c, question, len, with, !set.json, &r->last);
    if (r->last.n_prompt > 0) {
        turns_add(c, before, question, len, with, &r->last.answer);
        if (set.json) {
            text line = { NULL, 0, 0 };
            text_puts(&line, "{");
            json_put_outcome(&line, c, &r->last);
            text_puts(&line, "}\n");
            put(line.data, line.len);
            text_free(&line);
        } else {
            put(r->terminal ? "\n\n" : "\n", r->terminal ? 2 : 1);
        }
        if (set.draw && c->n_boxes) draw_boxes(r, set.draw);
    }
    if (r->last.result == OCT_E_ABORTED)
        note(r, r->last.n_prompt > 0 ? "(stopped; what you see stays in the chat)" : "(stopped; that question is forgotten)");
    else if (r->last.result == OCT_E_CONTEXT) note(r, "%s (/undo, or /clear to start over)", r->last.err.message);
    else if (r->last.result) note(r, "%s", r->last.err.message);
    if (set.stats && r->last.n_prompt > 0) print_stats(c, &r->last);
    interrupted = 0;
}

/* Terminals quote dropped paths, or put a backslash before what a shell would read. */
static char *unquote(char *s) {
    size_t n = strlen(s);
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t') && !(n > 1 && s[n - 2] == '\\')) s[--n] = 0;
    if (strncmp(s, "file://", 7) == 0) return s + 7;
    if (n > 1 && (s[0] == '"' || s[0] == '\'') && s[n - 1] == s[0]) {
        s[n - 1] = 0;
        return s + 1;
    }
#if POSIX
    char *to = s;
    for (const char *from = s; *from; from++) {
        if (*from == '\\' && from[1]) from++;
        *to++ = *from;
    }
    *to = 0;
#endif
    return s;
}

static void cmd_clear(repl *r, char *arg) {
    (void)arg;
    experts_count(&r->c->experts, oct_session_position(r->c->session));
    turn_back(r->c, 0);
    turns_cut(r->c, 0);
    r->c->refeed = r->c->renumbered = 0;
    pictures_clear(&r->c->waiting);
    note(r, "(the chat starts over)");
}
static void cmd_quit(repl *r, char *arg) {
    (void)arg;
    r->quit = 1;
}
static void cmd_system(repl *r, char *arg) {
    chat *c = r->c;
    text_set(&c->system, arg, strlen(arg));
    c->desc.system = c->system.data;
    experts_count(&c->experts, oct_session_position(c->session));
    turns_cut(c, 0);
    c->refeed = c->renumbered = 0;
    r->code = open_session(c);
    if (r->code) r->quit = 1;
    else note(r, *arg ? "(system text set; the chat starts over)" : "(no system text; the chat starts over)");
}
/* Back to where the last turn began; 0: there is none. */
static int undo(repl *r) {
    chat *c = r->c;
    if (c->n_turns == 0) {
        note(r, "(there is no turn to take back)");
        return 0;
    }
    c->refeed = c->refeed || c->renumbered || is_anew(c);       /* else the turn's position is still true */
    turn_back(c, c->refeed ? 0 : c->turns[c->n_turns - 1].position);
    return 1;
}
static void cmd_undo(repl *r, char *arg) {
    (void)arg;
    if (!undo(r)) return;
    note(r, "(taken back: %.60s)", r->c->turns[r->c->n_turns - 1].question);
    turns_cut(r->c, r->c->n_turns - 1);
}

/* The same session under a changed desc: only a new one can have another seed. */
static int reseed(repl *r, uint64_t seed) {
    chat *c = r->c;
    oct_error err;
    const size_t bytes = oct_session_snapshot_bytes(c->session);
    void *kept = malloc(bytes ? bytes : 1);
    if (!kept) leave_memory();
    oct_result bad = oct_session_snapshot(c->session, kept, bytes, &err);
    const int pending = c->pending;
    c->desc.seed = seed;
    r->code = bad ? 0 : open_session(c);
    if (!bad && !r->code) bad = oct_session_restore(c->session, kept, bytes, &err);
    c->pending = pending;
    if (bad) note(r, "%s", err.message);
    if (r->code) r->quit = 1;
    free(kept);
    return !bad && !r->code;
}
static void cmd_regen(repl *r, char *arg) {
    chat *c = r->c;
    (void)arg;
    if (!undo(r)) return;
    turn t = c->turns[--c->n_turns];
    if (c->desc.sampling.temperature > 0) {
        if (reseed(r, c->desc.seed + 1)) repl_turn(r, t.question, t.len, &t.with);
    } else {
        if (!c->rerouted) note(r, "(greedy: the same answer again; /set temperature 0.8 for others)");
        repl_turn(r, t.question, t.len, &t.with);
    }
    free(t.question);
    text_free(&t.answer);
    pictures_clear(&t.with);
}
static void cmd_stats(repl *r, char *arg) {
    (void)arg;
    if (r->last.n_prompt > 0) print_stats(r->c, &r->last);
    else note(r, "(nothing was answered yet)");
}
static void cmd_context(repl *r, char *arg) {
    const chat *c = r->c;
    (void)arg;
    note(r, "%d of %d positions taken, turns: %zu", oct_session_position(c->session), context_of(c), c->n_turns);
}
/* What was fed again after /undo goes into the session; 0: it could not. */
static int settle(repl *r) {
    chat *c = r->c;
    oct_error err;
    oct_result bad = feed_turns(c, &err);
    if (!bad && c->n_turns) bad = oct_prefill(c->session, &err);
    if (bad) {
        oct_feed_clear(c->session);
        note(r, "%s", err.message);
    }
    c->refeed = bad != OCT_OK;
    return !bad;
}
static void cmd_save(repl *r, char *arg) {
    chat *c = r->c;
    oct_error err;
    const char *path = unquote(arg);
    if (c->refeed && !settle(r)) return;
    const size_t bytes = oct_session_snapshot_bytes(c->session);
    void *data = malloc(bytes ? bytes : 1);
    if (!data) leave_memory();
    if (oct_session_snapshot(c->session, data, bytes, &err)) {
        note(r, "%s", err.message);
    } else {
        FILE *f = fopen(path, "wb");
        const int bad = !f || fwrite(data, 1, bytes, f) != bytes;
        if ((f && fclose(f)) || bad) note(r, "%s: %s", path, strerror(errno));
        else note(r, "(saved: %d positions, %.1f MB)", oct_session_position(c->session), (double)bytes / 1e6);
    }
    free(data);
}
static void cmd_load(repl *r, char *arg) {
    chat *c = r->c;
    oct_error err;
    text data = { NULL, 0, 0 };
    const char *path = unquote(arg);
    const int fault = read_file(path, &data);
    if (fault) note(r, "%s: %s", path, strerror(fault));
    else if (oct_session_restore(c->session, data.data, data.len, &err)) note(r, "%s: %s", path, err.message);
    else {
        turns_cut(c, 0);
        c->pending = c->refeed = c->renumbered = 0;
        note(r, "(loaded: %d positions)", oct_session_position(c->session));
    }
    text_free(&data);
}
static void cmd_read(repl *r, char *arg) {
    text data = { NULL, 0, 0 };
    const char *path = unquote(arg);
    const int fault = read_file(path, &data);
    if (fault) note(r, "%s: %s", path, strerror(fault));
    else repl_turn(r, data.data, data.len, &r->c->waiting);
    text_free(&data);
}
static void cmd_image(repl *r, char *arg) {
    pictures *p = &r->c->waiting;
    char fault[600];
    const char *path = unquote(arg);
    const int code = strcmp(path, "-") == 0 ? EXIT_USAGE : pictures_add(r->c, p, path, fault, sizeof fault);
    if (strcmp(path, "-") == 0) note(r, "-: a chat's own input holds no picture, expected a file");
    else if (code == EXIT_SIGNAL) note(r, "(stopped; that picture is forgotten)");
    else if (code) note(r, "%s", fault);
    else note(r, "(%d tokens; %s with the next question)", r->c->info.image_tokens, p->n == 1 ? "it goes" : "all of them go");
    interrupted = 0;
}

/* /gate, /pin, /mute: they act on the next question, and on the last one asked again. */
static void gate_change(repl *r, const routing *want) {
    chat *c = r->c;
    oct_error err;
    const oct_result bad = c->info.n_gate ? route(c, want, &err) : OCT_E_UNSUPPORTED;
    if (c->info.n_gate == 0) note(r, "the model has no LoRA experts, so no gate of theirs");
    else if (bad) note(r, "%s", err.message);
    else {
        c->routing = *want;
        c->rerouted = c->n_turns > 0;
        note(r, "(for the next question; /regen asks the last one again)");
    }
}
static void cmd_gate(repl *r, char *arg) {
    routing want;
    text now = { NULL, 0, 0 };
    memset(&want, 0, sizeof want);
    if (!*arg) {
        put_gate(&now, r->c, " ");
        note(r, r->c->info.n_gate == 0 ? "the model has no LoRA experts, so no gate of theirs" : now.len ? "%s" : "(nothing was asked yet)",
             now.len ? now.data : "");
        text_free(&now);
    } else if (strcmp(arg, "auto") != 0 && (want.n_weights = parse_weights(arg, want.weights)) < 0) {
        note(r, "/gate: '%s', expected weights with commas between them, or auto", arg);
    } else {
        gate_change(r, &want);
    }
}
static void cmd_pin(repl *r, char *arg) {
    routing want = r->c->routing;
    want.n_weights = 0;
    if ((want.n_pin = parse_experts(arg, want.pin)) < 0) note(r, "/pin: '%s', expected numbers of experts with commas between them", arg);
    else gate_change(r, &want);
}
static void cmd_mute(repl *r, char *arg) {
    routing want = r->c->routing;
    want.n_weights = 0;
    if ((want.n_mute = parse_experts(arg, want.mute)) < 0) note(r, "/mute: '%s', expected numbers of experts with commas between them", arg);
    else gate_change(r, &want);
}
static void cmd_boxes(repl *r, char *arg) {
    static const pictures none;
    (void)arg;
    if (r->c->n_boxes == 0) note(r, "(the last answer holds no boxes)");
    else boxes_print(r->c, pictures_about(r->c, &none));
}
static void cmd_draw(repl *r, char *arg) {
    const char *path = unquote(arg);
    if (!ends_with(path, ".png") && !ends_with(path, ".svg")) note(r, "%s: expected a name that ends in .png or .svg", path);
    else if (r->c->n_boxes == 0) note(r, "(the last answer holds no boxes)");
    else draw_boxes(r, path);
}

static void set_sampling_show(const repl *r) {
    const oct_sampling *s = &r->c->desc.sampling;
    note(r, "temperature %g, top_k %d, top_p %g, min_p %g, repeat_penalty %g, frequency_penalty %g, presence_penalty %g, "
            "penalty_window %d, max_tokens %d, seed %llu (0: the file's, else off)",
         (double)s->temperature, s->top_k, (double)s->top_p, (double)s->min_p, (double)s->repeat_penalty, (double)s->frequency_penalty,
         (double)s->presence_penalty, s->penalty_window, r->c->desc.max_tokens, (unsigned long long)r->c->desc.seed);
}
static void cmd_set(repl *r, char *arg) {
    static const char names[] = "temperature temp top_k top_p min_p repeat_penalty frequency_penalty presence_penalty penalty_window "
                                "max_tokens seed";
    chat *c = r->c;
    oct_sampling s = c->desc.sampling;
    oct_error err;
    double v;
    char *value = arg + strcspn(arg, " \t="), best[40] = "";
    int best_distance = 99;
    if (!*arg) {
        set_sampling_show(r);
        return;
    }
    if (*value) *value++ = 0;
    value += strspn(value, " \t=");
    for (char *p = arg; *p; p++)
        if (*p == '-') *p = '_';
    if (!named(names, arg, strlen(arg))) {
        suggest(arg, names, best, &best_distance);
        note(r, "cannot set '%s'%s%s%s; there are: %s", arg, best[0] ? ", did you mean " : "", best, best[0] ? "?" : "", names);
        return;
    }
    if (!parse_real(value, &v) || v > 1e9 || v < -1e9) {
        note(r, "%s: '%s', expected a number", arg, value);
        return;
    }
    if (arg[0] == 't' && arg[1] == 'e') s.temperature = v <= 0 ? -1.0f : (float)v;
    else if (strcmp(arg, "top_k") == 0) s.top_k = (int)v;
    else if (strcmp(arg, "top_p") == 0) s.top_p = (float)v;
    else if (strcmp(arg, "min_p") == 0) s.min_p = (float)v;
    else if (strcmp(arg, "repeat_penalty") == 0) s.repeat_penalty = (float)v;
    else if (strcmp(arg, "frequency_penalty") == 0) s.frequency_penalty = (float)v;
    else if (strcmp(arg, "presence_penalty") == 0) s.presence_penalty = (float)v;
    else if (strcmp(arg, "penalty_window") == 0) s.penalty_window = (int)v;
    else if (strcmp(arg, "max_tokens") == 0) oct_session_set_max_tokens(c->session, c->desc.max_tokens = v > 0 ? (int)v : 0);
    else if (v < 0 || !reseed(r, (uint64_t)v)) return;
    if (oct_session_set_sampling(c->session, &s, &err)) {
        note(r, "%s", err.message);
        return;
    }
    c->desc.sampling = s;
    set_sampling_show(r);
}

static void cmd_help(repl *r, char *arg);
static const struct command {
    const char *names, *arg, *help;
    void      (*run)(repl *r, char *arg);
} commands[] = {
    { "/help /?", "", "this list", cmd_help },
    { "/clear", "", "forget everything said", cmd_clear },
    { "/undo", "", "take the last turn back", cmd_undo },
    { "/regen", "", "answer the last question again", cmd_regen },
    { "/system", "TEXT", "another system text; the chat starts over", cmd_system },
    { "/set", "NAME VALUE", "sampling, e.g. /set temperature 0.2; alone: what is set", cmd_set },
    { "/read", "FILE", "ask what a file says", cmd_read },
    { "/image", "FILE", "a picture for the next question; more of them for more", cmd_image },
    { "/gate", "A,B,...", "weights of the LoRA experts; auto: as the question says; alone: what they are", cmd_gate },
    { "/pin", "1,3", "only these LoRA experts compete; alone: all do", cmd_pin },
    { "/mute", "2", "these do not; alone: all do", cmd_mute },
    { "/boxes", "", "the boxes of the last answer", cmd_boxes },
    { "/draw", "FILE", "the picture with those boxes, as .png or .svg", cmd_draw },
    { "/save", "FILE", "keep the chat", cmd_save },
    { "/load", "FILE", "go on with a chat that was kept", cmd_load },
    { "/stats", "", "times and tokens/s of the last answer", cmd_stats },
    { "/context", "", "how full the context is", cmd_context },
    { "/quit /exit /bye", "", "leave (or Ctrl-D)", cmd_quit },
};
enum { N_COMMANDS = (int)(sizeof commands / sizeof commands[0]) };

static void cmd_help(repl *r, char *arg) {
    (void)r;
    (void)arg;
    for (int i = 0; i < N_COMMANDS; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", commands[i].names, commands[i].arg);
        fprintf(stderr, "  %-20s %s\n", left, commands[i].help);
    }
    fputs("  \"\"\"                  begins and ends a question of several lines\n"
          "  Ctrl-C stops an answer and keeps it; arrows bring back what you typed; a space before / is no command\n", stderr);
}
static void repl_command(repl *r, char *line) {
    const size_t n = strcspn(line, " \t");
    char *arg = line + n, word[40], best[40] = "";
    int best_distance = 99;
    arg += strspn(arg, " \t");
    for (int i = 0; i < N_COMMANDS; i++) {
        if (!named(commands[i].names, line, n)) continue;
        if (strcmp(commands[i].arg, "FILE") == 0 && !*arg) note(r, "%.*s needs a file: %.*s FILE", (int)n, line, (int)n, line);
        else commands[i].run(r, arg);
        return;
    }
    snprintf(word, sizeof word, "%.*s", (int)n, line);
    for (int i = 0; i < N_COMMANDS; i++) suggest(word, commands[i].names, best, &best_distance);
    note(r, "unknown command %s%s%s%s", word, best[0] ? ", did you mean " : " (try /help)", best, best[0] ? "?" : "");
}

/* A question of several lines: from one """ to the next.  0: given up. */
static int read_block(const repl *r, text *line) {
    text all = { NULL, 0, 0 }, more = { NULL, 0, 0 };
    line_end end = LINE_OK;
    const char *mark = NULL;
    text_set(&all, line->data + 3, line->len - 3);
    while ((mark = strstr(all.data, "\"\"\"")) == NULL && (end = ask(r, "... ", &more)) == LINE_OK) {
        if (all.len) text_puts(&all, "\n");
        text_add(&all, more.data, more.len);
    }
    text_set(line, all.data, mark ? (size_t)(mark - all.data) : all.len);
    while (line->len && line->data[line->len - 1] == '\n') line->data[--line->len] = 0;
    text_free(&all);
    text_free(&more);
    return end != LINE_INTERRUPT;
}

static int run_repl(chat *c) {
    repl r;
    text line = { NULL, 0, 0 };
    int hinted = 0;
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    memset(&r, 0, sizeof r);
    r.c = c;
    r.terminal = is_terminal(stdin) && is_terminal(stdout);
    r.color = r.terminal && is_terminal(stderr) && !set.no_color && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
    if (r.terminal && !set.quiet)
        note(&r, "%.*s, %.*s, style %s; /help for commands, Ctrl-D leaves", (int)c->info.name.len, c->info.name.data ? c->info.name.data : "",
             (int)c->info.architecture.len, c->info.architecture.data ? c->info.architecture.data : "",
             set.raw ? "raw" : set.style ? set.style : c->info.prompt_style.data);
    if (set.keep_gate && !set.quiet) note(&r, "(--keep-gate: later questions go to the experts that the first one chose; the official program chooses anew)");
    r.code = pictures_of_options(c, &c->waiting);
    while (!r.quit && !r.code && !terminated) {
        const line_end end = ask(&r, ">>> ", &line);
        if (end == LINE_EOF) break;
        if (end == LINE_INTERRUPT) {
            if (line.len == 0 && hinted++) {
                r.code = EXIT_SIGNAL;
                break;
            }
            if (line.len == 0) note(&r, "(Ctrl-D or /bye leaves; so does another Ctrl-C)");
            continue;
        }
        hinted = 0;
        if (strncmp(line.data, "\"\"\"", 3) == 0 && !read_block(&r, &line)) continue;
        if (strspn(line.data, " \t\n") == line.len) continue;
        if (line.data[0] == '/' && !memchr(line.data, '\n', line.len)) repl_command(&r, line.data);
        else repl_turn(&r, line.data, line.len, &c->waiting);
    }
    turns_cut(c, 0);
    pictures_clear(&c->waiting);
    free(c->turns);
    text_free(&line);
    text_free(&r.last.answer);
    return terminated ? 128 + 15 : r.code;
}

/* --- main ------------------------------------------------------------------------------------ */

static void catch_signals(void) {
#if POSIX
    struct sigaction a;
    memset(&a, 0, sizeof a);
    sigemptyset(&a.sa_mask);
    a.sa_handler = on_interrupt;                           /* no SA_RESTART: a read that waits must come back */
    sigaction(SIGINT, &a, NULL);
    a.sa_handler = on_terminate;
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGHUP, &a, NULL);
    atexit(raw_off);
#else
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_terminate);
#endif
}

/* What is to be answered once; 1: there is something, 0: chat, below 0: minus an exit code. */
static int read_question(text *q) {
    int fault = 0;
    const char *from = set.file;
    if (set.prompt) {
        text_set(q, set.prompt, strlen(set.prompt));
        return 1;
    }
    if (set.detect && !from) {
        text_set(q, detection_question, sizeof detection_question - 1);
        return 1;
    }
    for (int i = 0; i < set.n_images; i++)
        if (strcmp(set.images[i], "-") == 0 && (!from || strcmp(from, "-") == 0)) {
            say("--image -: the picture comes from stdin, and so would the question; give it with -p or -f");
            return -EXIT_USAGE;
        }
    if (!from && (set.interactive || is_terminal(stdin))) return 0;
    if (!from || strcmp(from, "-") == 0) {
        from = "stdin";
        fault = read_all(stdin, q);
    } else {
        fault = read_file(from, q);
    }
    if (interrupted) return -EXIT_SIGNAL;
    if (fault) {
        say("%s: %s", from, strerror(fault));
        return -EXIT_RUNTIME;
    }
    if (!set.raw && q->len && q->data[q->len - 1] == '\n') q->data[--q->len] = 0;          /* the editor's, not the author's */
    if (!set.raw && q->len && q->data[q->len - 1] == '\r') q->data[--q->len] = 0;
    if (q->len) return 1;
    say("%s: nothing to answer", from);
    return -EXIT_USAGE;
}

/* Whether the options about boxes go together. */
static int check_boxes(void) {
    if (set.draw && !ends_with(set.draw, ".png") && !ends_with(set.draw, ".svg"))
        say("--draw: '%s', expected a name that ends in .png or .svg", set.draw);
    else if (set.boxes_format && !named("json coco yolo", set.boxes_format, strlen(set.boxes_format)))
        say("--boxes-format: '%s', expected json, coco or yolo", set.boxes_format);
    else if (set.boxes_format && set.json)
        say("--boxes-format: --json prints the boxes, too; give one of them");
    else if (set.batch && (set.draw || set.boxes_format))
        say("--%s: with --batch, boxes come in the objects", set.draw ? "draw" : "boxes-format");
    else if (!set.batch && !set.n_images && set.detect)
        say("--detect: which picture? --image FILE");
    else if (!set.batch && !set.n_images && set.draw && (set.prompt || set.file))
        say("--draw: which picture? --image FILE");
    else
        return 0;
    return EXIT_USAGE;
}

static int run(chat *c) {
    text question = { NULL, 0, 0 };
    int code = make_desc(c), have = 0;
    if (code) return code;
    if (set.batch && set.n_images) {
        say("--image: with --batch, pictures are named in its lines");
        return EXIT_USAGE;
    }
    if ((code = check_boxes()) != 0) return code;
    if (!set.batch) have = read_question(&question);
    if (have < 0) code = -have;
    if (!code) code = open_model(c);
    if (!code) code = open_loras(c);
    if (!code) code = open_session(c);
    if (!code) code = set.batch ? batch(c) : have ? one_shot(c, question.data, question.len) : run_repl(c);
    if (c->session && set.experts) {
        if (!set.batch) experts_count(&c->experts, oct_session_position(c->session));
        const int fault = experts_write(&c->experts);
        if (!code) code = fault;
    }
    experts_free(&c->experts);
    text_free(&question);
    free(c->boxes);
    return code;
}

int main(int argc, char **argv) {
    chat c;
    memset(&c, 0, sizeof c);
    int code = parse_options(argc, argv);
    if (code) return code;
    if (set.help) {
        print_help();
        return 0;
    }
    if (set.version) {
        printf("octavius %d.%d.%d (%s kernels"
#if defined(_OPENMP)
               ", OpenMP"
#endif
               ")\n", OCT_VERSION_MAJOR, OCT_VERSION_MINOR, OCT_VERSION_PATCH, oct_isa_name(OCT_ISA_AUTO));
        return 0;
    }
    if (set.list_styles) {
        print_styles(stdout, "\n");
        puts("");
        return 0;
    }
    if (!set.model) {
        say("no model: octavius -m MODEL.gguf (try --help)");
        return EXIT_USAGE;
    }
    c.show_progress = !set.quiet && is_terminal(stderr) && !(getenv("TERM") && strcmp(getenv("TERM"), "dumb") == 0);
    catch_signals();
    code = run(&c);
    oct_session_close(c.session);
    for (int i = 0; i < c.n_loras; i++) oct_lora_close(c.loras[i]);
    oct_model_close(c.model);
    text_free(&c.system);
    return code;
}
