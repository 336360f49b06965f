/* clang -g -O1 -fsanitize=fuzzer,address,undefined -I. tests/fuzz_picture.c -o build/fuzz_picture -lm && build/fuzz_picture -max_len=65536
 * gcc   -g -O1 -fsanitize=address,undefined        -I. tests/fuzz_picture.c -o build/fuzz_picture -lm && build/fuzz_picture -n 100000 [FILE...]
 *
 * A picture from hostile bytes: opened within a limit of pixels and of memory, and if it opens, turned upright and read.
 * Inputs start from the files of tests/golden/pictures.bin (run it from the repository).  The checksums of a PNG's chunks
 * and of its stream are made right again after a change, since hardly a change would be seen otherwise.  Without libFuzzer
 * main replays the files given, then mutates them (or those of the pack) N times; an input that ends the program is left in
 * fuzz-crash.picture.
 */
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"

/* --- an allocator with a limit ---------------------------------------------------------- */

enum { FUZZ_LIMIT = 64 << 20, FUZZ_PIXELS = 1 << 18 };
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

static unsigned fuzz_sum(const oct_image *m) {
    unsigned sum = 0;
    for (int y = 0; y < m->height; y++)
        for (int x = 0; x < m->width * m->n_channels; x++) sum = sum * 31 + m->pixels[(size_t)y * m->stride_bytes + (size_t)x];
    return sum;
}
static int fuzz_one(const uint8_t *data, size_t size, int tell) {
    fuzz_heap heap = { 0 };
    oct_picture_desc d;
    oct_picture p;
    oct_error err;
    memset(&d, 0, sizeof d);
    memset(&err, 0, sizeof err);
    d.allocator.alloc = fuzz_alloc;
    d.allocator.free = fuzz_free;
    d.allocator.user = &heap;
    d.max_pixels = FUZZ_PIXELS;
    const oct_result r = oct_picture_open_memory(&p, size ? (const void *)data : "", size, &d, &err);
    if (r ? p.memory != NULL || err.code != r || !err.message[0] : !p.memory) __builtin_trap();
    if (r == OCT_E_MEMORY || r == OCT_E_ARG) __builtin_trap();                /* the limit of pixels holds the memory, too */
    if (r && tell) printf("refused: %s\n", err.message);
    if (!r) {
        if (p.orientation < 1 || p.orientation > 8 || (size_t)p.image.width * (size_t)p.image.height > FUZZ_PIXELS) __builtin_trap();
        volatile unsigned sum = fuzz_sum(&p.image);
        if (oct_picture_upright(&p, &err)) __builtin_trap();
        sum = fuzz_sum(&p.image);
        (void)sum;
    }
    oct_picture_close(&p);
    if (heap.live != 0) __builtin_trap();                  /* leaked */
    return !r;
}
#ifdef __cplusplus
extern "C"
#endif
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_one(data, size, 0);
    return 0;
}

/* --- where inputs come from: the pack, mutated ------------------------------------------------ */

static unsigned char *fuzz_load(const char *path, size_t *len) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    size_t n = 0, cap = 1 << 16;
    unsigned char *data = (unsigned char *)malloc(cap);
    for (size_t got; data && (got = fread(data + n, 1, cap - n, f)) > 0;) {
        n += got;
        if (n == cap) data = (unsigned char *)realloc(data, cap *= 2);
    }
    fclose(f);
    *len = n;
    return data;
}
/* File k of the pack, counted around; NULL: there is no pack. */
static const unsigned char *fuzz_seed(size_t k, size_t *len) {
    static unsigned char *pack;
    static size_t bytes;
    if (!pack) pack = fuzz_load("tests/golden/pictures.bin", &bytes);
    if (!pack || bytes < 12) return NULL;
    size_t at = 12, n = oct__u32(pack + 8);
    for (size_t i = 0; i < n && at + 80 <= bytes; i++) {
        *len = oct__u32(pack + at + 48);
        if (*len == 0) n = i;                              /* photographs, at the end, are not in it */
        else if (i == k % n) return pack + at + 80;
        at += 80 + *len;
    }
    return n && k ? fuzz_seed(k % n, len) : NULL;
}
static uint64_t fuzz_state = 1;
static uint32_t fuzz_random(void) {
    uint64_t z = (fuzz_state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}
static void fuzz_mutate(uint8_t *data, size_t *size, size_t cap) {
    static const unsigned char odd[] = { 0, 1, 2, 3, 7, 8, 0x0F, 0x10, 0x11, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xC4, 0xD0, 0xD9, 0xDA, 0xFE, 0xFF };
    for (int i = 1 + (int)(fuzz_random() % 5); i > 0 && *size > 8; i--) {
        const size_t some = 1 + fuzz_random() % 40;
        size_t at = fuzz_random() % *size;
        if (fuzz_random() % 2) at = fuzz_random() % OCT__MIN(*size, (size_t)200);       /* the headers */
        switch (fuzz_random() % 6) {
        case 0: data[at] ^= (uint8_t)(1u << fuzz_random() % 8); break;
        case 1: data[at] = odd[fuzz_random() % sizeof odd]; break;
        case 2: data[at] = (uint8_t)fuzz_random(); break;
        case 3: *size -= OCT__MIN(*size - 8, some); break;
        case 4: {                                          /* one piece over another */
            const size_t from = fuzz_random() % *size, n = OCT__MIN(OCT__MIN(*size - from, *size - at), some);
            memmove(data + at, data + from, n);
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
static uint32_t fuzz_crc(const unsigned char *p, size_t n) {
    uint32_t c = ~0u;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
    }
    return ~c;
}
static void fuzz_put(unsigned char *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (24 - 8 * i));
}
/* A PNG of any header whose pixels are stored as they are, so that they are read whatever they hold.  Its size; 0: no room. */
static size_t fuzz_stored(uint8_t *data, size_t cap) {
    static const unsigned char kinds[15][2] = { { 1, 0 }, { 2, 0 }, { 4, 0 }, { 8, 0 }, { 16, 0 }, { 8, 2 }, { 16, 2 }, { 1, 3 }, { 2, 3 }, { 4, 3 },
                                                { 8, 3 }, { 8, 4 }, { 16, 4 }, { 8, 6 }, { 16, 6 } };
    const unsigned char *kind = kinds[fuzz_random() % 15];
    const size_t n = fuzz_random() % 2000, w = 1 + fuzz_random() % 40, h = 1 + fuzz_random() % 40;
    unsigned char *p = data + 33;
    if (cap < n + 200) return 0;
    memset(data, 0, 200);
    memcpy(data, "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", 16);
    fuzz_put(data + 16, (uint32_t)w);
    fuzz_put(data + 20, (uint32_t)h);
    data[24] = kind[0];
    data[25] = kind[1];
    data[28] = (uint8_t)(fuzz_random() % 2);
    memcpy(p, "\0\0\0\x0cPLTE", 8);
    p += 24;
    fuzz_put(p, (uint32_t)n + 7);
    memcpy(p + 4, "IDAT\x78\1\1", 7);
    p[11] = (uint8_t)n;
    p[12] = (uint8_t)(n >> 8);
    p[13] = (uint8_t)~p[11];
    p[14] = (uint8_t)~p[12];
    for (size_t i = 0; i < n; i++) p[15 + i] = (uint8_t)(fuzz_random() % (i % 16 ? 256 : 5));
    return (size_t)(p - data) + 15 + n + 4;
}
static void fuzz_repair(uint8_t *data, size_t size) {
    if (size < 8 || memcmp(data, "\x89PNG", 4) != 0) return;
    for (size_t at = 8; at < size && size - at >= 12;) {
        const size_t n = oct__be32(data + at);
        if (n > size - at - 12) break;
        const uint32_t c = fuzz_crc(data + at + 4, n + 4);
        for (int i = 0; i < 4; i++) data[at + 8 + n + (size_t)i] = (uint8_t)(c >> (24 - 8 * i));
        at += n + 12;
    }
}
#ifdef __cplusplus
extern "C"
#endif
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    fuzz_state = seed;
    if (size < 9 || fuzz_random() % 64 == 0) {
        size_t len = 0;
        const unsigned char *file = fuzz_seed(fuzz_random() % 1024, &len);
        if (file && len <= max_size) {
            memcpy(data, file, len);
            size = len;
        }
    }
    const size_t stored = fuzz_random() % 32 == 0 ? fuzz_stored(data, max_size) : 0;
    if (stored) size = stored;
    else fuzz_mutate(data, &size, max_size);
    fuzz_repair(data, size);
    return size;
}

/* --- without libFuzzer: its own main is strong and wins --------------------------------------------- */

static const uint8_t *fuzz_now;
static size_t fuzz_now_len;
static void fuzz_save(void) {
    FILE *f = fopen("fuzz-crash.picture", "wb");
    if (!f) return;
    fwrite(fuzz_now, 1, fuzz_now_len, f);
    fclose(f);
    fputs("fuzz_picture: the input is in fuzz-crash.picture\n", stderr);
}
#ifdef __cplusplus
extern "C"
#endif
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

__attribute__((weak)) int main(int argc, char **argv) {
    enum { SEEDS = 512 };
    const unsigned char *seeds[SEEDS];
    size_t lens[SEEDS];
    int n_seeds = 0, n_loaded = 0, opened = 0;
    long n = 0;
    unsigned long long first = 1;
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(fuzz_save);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-n") == 0 && i + 1 < argc) n = strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "-seed") == 0 && i + 1 < argc) first = strtoull(argv[++i], NULL, 10);
        else if (n_seeds < SEEDS) {
            seeds[n_seeds] = fuzz_load(argv[i], &lens[n_seeds]);
            if (!seeds[n_seeds]) {
                fprintf(stderr, "fuzz_picture: %s: cannot be read\n", argv[i]);
                return 2;
            }
            fuzz_now = seeds[n_seeds];
            fuzz_now_len = lens[n_seeds];
            printf("%s: %zu bytes: ", argv[i], lens[n_seeds]);
            if (fuzz_one(seeds[n_seeds], lens[n_seeds], 1)) printf("opens\n");
            n_loaded = ++n_seeds;
        }
    }
    if (n_seeds == 0)
        while (n_seeds < 256 && (seeds[n_seeds] = fuzz_seed((size_t)n_seeds, &lens[n_seeds])) != NULL) n_seeds++;
    if (n_seeds == 0) {
        fprintf(stderr, "fuzz_picture: no tests/golden/pictures.bin here, and no files given\n");
        return 2;
    }
    for (long i = 0; i < n; i++) {
        fuzz_state = first * 1000003u + (uint64_t)i;
        const int k = (int)(fuzz_random() % (uint32_t)n_seeds);
        size_t len = lens[k];
        uint8_t *data = (uint8_t *)malloc(len + 64);
        if (!data) return 5;
        memcpy(data, seeds[k], len);
        fuzz_mutate(data, &len, len + 64);
        fuzz_repair(data, len);
        uint8_t *exact = (uint8_t *)malloc(len ? len : 1);     /* ends where its memory ends */
        if (!exact) return 5;
        memcpy(exact, data, len);
        free(data);
        fuzz_now = exact;
        fuzz_now_len = len;
        opened += fuzz_one(exact, len, 0);
        fuzz_now_len = 0;
        free(exact);
    }
    if (n) printf("%ld mutated, of which %d still opened\n", n, opened);
    for (int i = 0; i < n_loaded; i++) free((void *)(uintptr_t)seeds[i]);
    return 0;
}
