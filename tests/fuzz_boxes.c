/* clang -g -O1 -fsanitize=fuzzer,address,undefined -DOCTAVIUS_NO_SIMD -I. tests/fuzz_boxes.c -o build/fuzz_boxes -lm && build/fuzz_boxes -max_len=8192
 * gcc   -g -O1 -fsanitize=address,undefined        -DOCTAVIUS_NO_SIMD -I. tests/fuzz_boxes.c -o build/fuzz_boxes -lm && build/fuzz_boxes -n 100000 [FILE...]
 *
 * An answer from hostile bytes.  Whatever it says: boxes lie in the picture, labels and texts are whole characters, every item
 * stands where it is said to stand, after the one before, and the pieces in which the text comes change nothing.  What came
 * out is drawn, and the PNG read back.  Without libFuzzer, main replays the files given, then mutates them (or inputs made
 * here) N times.  An input that ends the program is left in fuzz-crash.box.
 *
 * An input: four bytes (width and height), one byte (how an encoder takes the picture), one byte (sizes of the pieces), text.
 */
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"

enum { FUZZ_MOST = 512 };

static void fuzz_wrong(const char *what) {
    fprintf(stderr, "fuzz_boxes: %s\n", what);
    abort();
}
static int fuzz_characters(const char *s) {
    const size_t len = strlen(s);
    int32_t cp;
    for (size_t i = 0; i < len; i += (size_t)oct__utf8_decode(s + i, len - i, &cp))
        if ((unsigned char)s[i] < 0x20 || (unsigned char)s[i] == 0x7F) return 0;
    return 1;
}
static void fuzz_item(const oct_box *b, int width, int height, size_t len, size_t *from) {
    if (b->at > len || b->at < *from) fuzz_wrong("an item out of order");
    *from = b->at;
    if (memchr(b->label, 0, sizeof b->label) == NULL || memchr(b->text, 0, sizeof b->text) == NULL) fuzz_wrong("a text without end");
    if (!fuzz_characters(b->label) || !fuzz_characters(b->text)) fuzz_wrong("a control character");
    if (oct_drop_reason(b->dropped) == NULL || (b->dropped && (b->x1 != 0 || b->y1 != 0 || b->x2 != 0 || b->y2 != 0)))
        fuzz_wrong("numbers of what was dropped");
    if (!(b->x1 >= 0 && b->y1 >= 0 && b->x1 <= b->x2 && b->y1 <= b->y2 && b->x2 <= (float)width && b->y2 <= (float)height))
        fuzz_wrong("a box beside the picture");
}
static int fuzz_read(oct_boxes *b, const char *text, size_t len, size_t step, int width, int height, oct_box *out) {
    size_t from = 0;
    oct_box box;
    int n = 0;
    for (size_t at = 0; ; at += step) {                    /* the last round is the end of the answer */
        oct_string s;
        s.data = at < len ? text + at : text;
        s.len = at < len ? OCT__MIN(len - at, step) : 0;
        while (oct_boxes_next(b, at < len ? &s : NULL, &box)) {
            fuzz_item(&box, width, height, len, &from);
            if (n < FUZZ_MOST) out[n++] = box;
        }
        if (s.len) fuzz_wrong("text left unread");
        if (at >= len) break;
    }
    return n;
}
static void fuzz_rule(const char *text, size_t len) {
    oct__rule r;
    memset(&r, 0, sizeof r);
    for (size_t i = 0; i < len; i++) {
        oct__rule next = r;
        if (oct__rule_byte(&next, text[i])) r = next;
        if (!oct__rule_valid(&r)) fuzz_wrong("a rule out of its range");
    }
    static const char bytes[] = "0123456789.,]";
    for (int i = 0; i < 64 && r.place != OCT__RULE_TEXT; i++) {     /* any state can be completed: by its last byte that may come */
        oct__rule best = r;
        int can = 0;
        for (int j = 0; bytes[j]; j++) {
            oct__rule next = r;
            if (!oct__rule_byte(&next, bytes[j])) continue;
            best = next;
            can = 1;
        }
        if (!can) fuzz_wrong("a box that cannot be completed");
        r = best;
    }
    if (r.place != OCT__RULE_TEXT) fuzz_wrong("a box without end");
}
static int fuzz_write(void *user, const void *data, size_t n) {
    oct__buf *b = (oct__buf *)user;
    return oct__buf_append(b, data, n);
}
static void fuzz_draw(const oct_box *boxes, int n, int width, int height) {
    static const oct_allocator plain = { NULL, NULL, NULL };
    oct_picture p, back;
    oct__buf file;
    const size_t bytes = (size_t)width * (size_t)height * 3;
    memset(&p, 0, sizeof p);
    memset(&file, 0, sizeof file);
    file.allocator = &plain;
    p.memory = calloc(bytes, 1);
    if (!p.memory) return;
    p.image.pixels = (const unsigned char *)p.memory;
    p.image.width = width;
    p.image.height = height;
    if (oct_boxes_draw(&p, boxes, (size_t)n, NULL) || oct_png_write(&p.image, NULL, fuzz_write, &file, NULL)) fuzz_wrong("nothing drawn");
    if (oct_picture_open_memory(&back, file.data, file.len, NULL, NULL) || memcmp(back.image.pixels, p.memory, bytes) != 0)
        fuzz_wrong("another picture came back");
    oct_picture_close(&back);
    file.len = 0;
    if (oct_svg_write(&p.image, boxes, (size_t)n, NULL, fuzz_write, &file, NULL)) fuzz_wrong("no SVG");
    oct__buf_free(&file);
    free(p.memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static oct_box once[FUZZ_MOST], again[FUZZ_MOST];
    static oct_boxes reader;
    if (size < 6) return 0;
    const int width = 1 + (data[0] | (data[1] & 15) << 8), height = 1 + (data[2] | (data[3] & 15) << 8);
    const char *text = (const char *)data + 6;
    const size_t len = size - 6;
    oct__image_prep prep;
    memset(&prep, 0, sizeof prep);
    prep.size = 1 + data[4];
    prep.side = data[4] & 8 ? prep.size + 3 : 0;
    prep.resize = (oct__resize)(data[4] % 3);
    oct__boxes_begin(&reader, data[4] & 128 ? &prep : NULL, width, height);
    const int n = fuzz_read(&reader, text, len, len + 1, width, height, once);
    const int m = fuzz_read(&reader, text, len, 1 + data[5], width, height, again);
    if (n != m) fuzz_wrong("pieces change the number of items");
    for (int i = 0; i < n; i++)
        if (once[i].at != again[i].at || once[i].dropped != again[i].dropped || once[i].x1 != again[i].x1 || once[i].y2 != again[i].y2 ||
            strcmp(once[i].label, again[i].label) != 0 || strcmp(once[i].text, again[i].text) != 0) fuzz_wrong("pieces change an item");
    fuzz_rule(text, len);
    if (n > 0 && data[4] & 64 && width < 300 && height < 200) fuzz_draw(once, n, width, height);
    return 0;
}

/* --- inputs of our own --------------------------------------------------------------------------- */

enum { FUZZ_MAX = 8192 };
static unsigned long long fuzz_state;
static unsigned fuzz_random(void) {
    fuzz_state = fuzz_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(fuzz_state >> 33);
}
static size_t fuzz_make(uint8_t *out) {
    static const char *const words[] = { "[", "]", "(", ")", ", ", ",", ". ", ".", "\n", "0.12", "0.5", "1.0", "0", "1", "-", "e", "x1=", ": ",
                                         "dog", "classified as ", "belongs to the ", " category", "The ", "object", "[0.1, 0.2, 0.3, 0.4]",
                                         " at ", "[0.9, 0.9, 0.1, 0.1]", "\xC3\xA9", "\xFF", "12", "its category is " };
    size_t n = 6;
    for (size_t i = 0; i < n; i++) out[i] = (uint8_t)fuzz_random();
    if (fuzz_random() % 4 == 0) out[1] = out[3] = 0;
    for (const size_t end = 6 + fuzz_random() % 4000; n < end && n + 32 < FUZZ_MAX; ) {
        const char *word = words[fuzz_random() % (sizeof words / sizeof words[0])];
        memcpy(out + n, word, strlen(word));
        n += strlen(word);
    }
    return n;
}
static size_t fuzz_mutate(uint8_t *p, size_t n) {
    for (unsigned k = fuzz_random() % 6; k > 0 && n > 0; k--) {
        const size_t at = fuzz_random() % n, want = 1 + fuzz_random() % 40, len = OCT__MIN(n - at, want);
        switch (fuzz_random() % 4) {
            case 0: p[at] = (uint8_t)(p[at] ^ (1u << fuzz_random() % 8)); break;
            case 1: p[at] = (uint8_t)fuzz_random(); break;
            case 2:                                        /* a piece goes */
                memmove(p + at, p + at + len, n - at - len);
                n -= len;
                break;
            default:                                       /* a piece comes twice */
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
    FILE *f = fopen("fuzz-crash.box", "wb");
    if (!f) return;
    fwrite(fuzz_now, 1, fuzz_now_len, f);
    fclose(f);
    fputs("fuzz_boxes: the input is in fuzz-crash.box\n", stderr);
}
#ifdef __cplusplus
extern "C"
#endif
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

/* Runs a copy that ends where its memory ends. */
static void fuzz_exact(const uint8_t *data, size_t len) {
    uint8_t *exact = (uint8_t *)malloc(len ? len : 1);
    if (!exact) return;
    if (len) memcpy(exact, data, len);
    fuzz_now = exact;
    fuzz_now_len = len;
    (void)LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}
static size_t fuzz_open(const char *path, uint8_t *out) {  /* at most FUZZ_MAX bytes; 0: cannot be read */
    FILE *f = fopen(path, "rb");
    if (!f) return 0;
    const size_t n = fread(out, 1, FUZZ_MAX, f);
    fclose(f);
    return n;
}
__attribute__((weak)) int main(int argc, char **argv) {
    static uint8_t data[FUZZ_MAX];
    int n_files = 0;
    long n = 0;
    unsigned long long first = 1;
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(fuzz_save);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-n") == 0 && i + 1 < argc) n = strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "-seed") == 0 && i + 1 < argc) first = strtoull(argv[++i], NULL, 10);
        else argv[n_files++] = argv[i];                    /* never ahead of i */
    }
    for (int k = 0; k < n_files; k++) fuzz_exact(data, fuzz_open(argv[k], data));
    for (long i = 0; i < n; i++) {
        fuzz_state = first * 1000003u + (unsigned long long)i;
        size_t len = n_files ? fuzz_open(argv[fuzz_random() % (unsigned)n_files], data) : fuzz_make(data);
        len = fuzz_mutate(data, len);
        fuzz_exact(data, len);
    }
    if (n) printf("%ld mutated\n", n);
    return 0;
}
