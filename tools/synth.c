/* octavius-synth - writes a random model of real shape as a GGUF file.
 *
 *     octavius-synth NAME --type T --seed N -o FILE [--force]
 *     octavius-synth --list
 *
 * For measuring speed and for tests where no trained model is at hand; llama.cpp loads the files too.
 * Exit codes: 0 ok, 1 the file cannot be written, 2 usage.
 */
#include "synth.h"
#include <unistd.h>

typedef struct output {
    FILE    *file;
    uint64_t done, total;
    int      percent, show;
} output;

static int write_some(void *user, const void *data, size_t n) {
    output *o = (output *)user;
    if (n && fwrite(data, 1, n, o->file) != n) return 1;
    o->done += n;
    const int percent = (int)(o->done * 100 / (o->total + 1));
    if (o->show && percent != o->percent) fprintf(stderr, "\r%3d%%", o->percent = percent);
    return 0;
}

static void list(void) {
    printf("%-26s %-9s %6s %6s %6s %4s %6s %7s %7s %5s\n", "name", "arch", "layers", "width", "heads", "kv", "ff", "vocab", "experts", "lora");
    for (int i = 0; i < (int)SYNTH_MODELS; i++) {
        const synth_model *m = &synth_models[i];
        printf("%-26s %-9s %6d %6d %6d %4d %6d %7d %7d %5d\n", m->name, m->arch, m->n_layer, m->n_embd, m->n_head, m->n_kv, m->n_ff,
               m->n_vocab, m->n_expert, m->n_lora);
    }
    printf("types:");
    for (int i = 0; i < (int)BLOCKS_TYPES; i++) printf(" %s", blocks_types[i].name);
    printf("\n");
}

static int usage(const char *why, const char *what) {
    fprintf(stderr, "octavius-synth: %s%s\n"
                    "usage: octavius-synth NAME --type T [--seed N] -o FILE [--force]   (--list: names and types)\n", why, what);
    return 2;
}

/* Writes to a name of its own beside path and renames it when whole, so no half file is ever found under path. */
static int write_file(const synth_model *m, int type, uint64_t seed, const char *path) {
    char   part[4096];
    output o = { NULL, 0, 0, -1, 0 };
    if (snprintf(part, sizeof part, "%s.part-%ld", path, (long)getpid()) >= (int)sizeof part) {
        fprintf(stderr, "octavius-synth: %s: name too long\n", path);
        return 1;
    }
    o.file = fopen(part, "wb");
    if (!o.file) {
        perror("octavius-synth: cannot write");
        return 1;
    }
    o.total = synth_data_bytes(m, type);
    o.show = isatty(2);
    int bad = synth_write(m, type, seed, write_some, &o);
    if (o.show) fprintf(stderr, "\r    \r");
    bad |= fclose(o.file) != 0;
    if (!bad && rename(part, path) == 0) {
        printf("%s: %s, %s, %.1f MB\n", path, m->name, blocks_type_of(type)->name, (double)o.done * 1e-6);
        return 0;
    }
    perror("octavius-synth: cannot write the whole file");
    remove(part);
    return 1;
}

int main(int argc, char **argv) {
    const char *name = NULL, *out = NULL;
    int         type = SYNTH_Q8_0, force = 0;
    uint64_t    seed = 1;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(a, "--list") == 0) {
            list();
            return 0;
        }
        if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
            printf("usage: octavius-synth NAME --type T [--seed N] -o FILE [--force]   (--list: names and types)\n");
            return 0;
        }
        if (strcmp(a, "--force") == 0) {
            force = 1;
        } else if (strcmp(a, "--type") == 0 || strcmp(a, "--seed") == 0 || strcmp(a, "-o") == 0) {
            char *end = NULL;
            if (!value) return usage("needs a value: ", a);
            if (a[1] == 'o') {
                out = value;
            } else if (a[2] == 's') {
                seed = strtoull(value, &end, 10);
                if (!*value || *end || *value == '-') return usage("not a seed: ", value);
            } else if ((type = blocks_type_find(value)) < 0) {
                return usage("unknown type: ", value);
            }
            i++;
        } else if (a[0] == '-' || name) {
            return usage("unexpected argument: ", a);
        } else {
            name = a;
        }
    }
    if (!name) return usage("which model? ", "see --list");
    if (!out) return usage("where to? ", "-o FILE");
    const synth_model *m = synth_find(name);
    if (!m) return usage("unknown model: ", name);
    FILE *there = force ? NULL : fopen(out, "rb");
    if (there) {
        fclose(there);
        fprintf(stderr, "octavius-synth: %s: exists already (--force overwrites)\n", out);
        return 1;
    }
    return write_file(m, type, seed, out);
}
