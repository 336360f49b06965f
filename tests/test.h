/* test.h - a small test harness, C11 and C++17, gcc and clang.
 *
 *     TEST(gguf, truncated_string) {
 *         if (!CHECK(data != NULL)) return;            // every CHECK says whether it held; a test goes on after a failure
 *         CHECK_INT(n, 3);
 *         CHECK_STR(err.message, "...");
 *         CHECK_NEAR(y[0], 0.5, 1e-6);
 *     }
 *
 * Tests register themselves.  Exactly one unit of a program defines TEST_MAIN before the include and gets main();
 * its arguments (or $T) are filters: a test runs if "group.name" contains one of them.  -l lists, -v names every test.
 * A test file is compiled as C11 and as C++17: cast what malloc gives, no designated initialisers, no VLAs.
 */
#ifndef TEST_H
#define TEST_H
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct test_case {
    const char       *group, *name;
    void            (*run)(void);
    struct test_case *next;
} test_case;

void test_register(test_case *t);
int  test_check(int ok, const char *file, int line, const char *what);
int  test_check_int(long long a, long long b, const char *file, int line, const char *what);
int  test_check_str(const char *a, const char *b, const char *file, int line, const char *what);
int  test_check_near(double a, double b, double tol, const char *file, int line, const char *what);
void test_skip(const char *why);

/* Path of a file under $OCTAVIUS_TEST_DATA.  NULL if it is not there: the test then counts as skipped (failed, if CI=true
 * and there is no data folder at all) and should return.  The path is good for the next seven calls. */
const char *test_data(const char *name);
/* Path in a folder of this run's own, removed at the end.  Good for the next seven calls. */
const char *test_tmp(const char *name);
/* A whole file, one NUL added after it; NULL if it cannot be read.  free() it. */
char       *test_read_file(const char *path, size_t *len);
/* The instruction set asked for by `make test ISA=...`, or NULL. */
const char *test_isa(void);
/* Whether this run is slow (an emulator, a sanitizer, no optimisation; $QUICK says so) and should try fewer cases. */
int         test_quick(void);
/* Seconds from some fixed moment. */
double      test_seconds(void);
/* Numbers that are the same in every run: *state is the seed, and moves on. */
unsigned    test_random(unsigned long long *state);

#ifdef __cplusplus
}
#endif

#define TEST(group, name)                                                                                             \
    static void test_##group##_##name(void);                                                                          \
    static test_case test_case_##group##_##name = { #group, #name, test_##group##_##name, NULL };                     \
    __attribute__((constructor)) static void test_add_##group##_##name(void) {                                        \
        test_register(&test_case_##group##_##name);                                                                   \
    }                                                                                                                 \
    static void test_##group##_##name(void)

#define CHECK(cond)             test_check((cond) ? 1 : 0, __FILE__, __LINE__, #cond)
#define CHECK_INT(a, b)         test_check_int((long long)(a), (long long)(b), __FILE__, __LINE__, #a " == " #b)
#define CHECK_STR(a, b)         test_check_str((a), (b), __FILE__, __LINE__, #a " is " #b)
#define CHECK_NEAR(a, b, tol)   test_check_near((double)(a), (double)(b), (double)(tol), __FILE__, __LINE__, #a " ~ " #b)
#define SKIP(why)               do { test_skip(why); return; } while (0)

#if defined(TEST_MAIN)
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct {
    test_case  *first, *last, *now;
    int         bad, skipped;               /* of the test that runs */
    int         passed_all, failed_all, skipped_all;
    int         column, verbose, colour;
    char        why[160];
    char        tmp[160];
    char        made[64][64];               /* names in tmp */
    int         n_made;
    const char *filter[32];
    int         n_filter;
} test_run;

void test_register(test_case *t) {
    if (test_run.last) test_run.last->next = t;
    else test_run.first = t;
    test_run.last = t;
}

static const char *test_paint(const char *code) { return test_run.colour ? code : ""; }

/* The first failures of a test are told, each on a line of its own. */
static int test_tell(int ok, const char *file, int line, const char *what) {
    if (ok) return 1;
    if (test_run.bad++ >= 8) return 0;
    if (test_run.column) printf("\n");
    test_run.column = 0;
    printf("%sFAIL%s %s.%s\n     %s:%d: %s\n", test_paint("\033[31m"), test_paint("\033[0m"), test_run.now->group,
           test_run.now->name, file, line, what);
    return 0;
}
int test_check(int ok, const char *file, int line, const char *what) { return test_tell(ok, file, line, what); }
int test_check_int(long long a, long long b, const char *file, int line, const char *what) {
    if (!test_tell(a == b, file, line, what) && test_run.bad <= 8) printf("     found  %lld\n     wanted %lld\n", a, b);
    return a == b;
}
int test_check_str(const char *a, const char *b, const char *file, int line, const char *what) {
    const int same = a && b ? strcmp(a, b) == 0 : a == b;
    if (!test_tell(same, file, line, what) && test_run.bad <= 8)
        printf("     found  \"%s\"\n     wanted \"%s\"\n", a ? a : "(null)", b ? b : "(null)");
    return same;
}
int test_check_near(double a, double b, double tol, const char *file, int line, const char *what) {
    const int near = fabs(a - b) <= tol || a == b;                /* a NaN is near nothing */
    if (!test_tell(near, file, line, what) && test_run.bad <= 8)
        printf("     found  %.9g\n     wanted %.9g within %.3g\n", a, b, tol);
    return near;
}
void test_skip(const char *why) {
    test_run.skipped = 1;
    snprintf(test_run.why, sizeof test_run.why, "%s", why);
}

static char *test_path(void) {
    static char paths[8][512];
    static int  next;
    return paths[next++ & 7];
}
const char *test_data(const char *name) {
    const char *root = getenv("OCTAVIUS_TEST_DATA"), *ci = getenv("CI");
    struct stat st;
    char       *path = test_path();
    if (!root || !*root || stat(root, &st) != 0) {
        test_skip("no test data: set OCTAVIUS_TEST_DATA");
        if (ci && strcmp(ci, "true") == 0) test_tell(0, __FILE__, __LINE__, "CI=true, but there is no data folder at $OCTAVIUS_TEST_DATA");
        return NULL;
    }
    snprintf(path, 512, "%s/%s", root, name);
    if (stat(path, &st) == 0) return path;
    snprintf(test_run.why, sizeof test_run.why, "not in the test data: %s", name);
    test_run.skipped = 1;
    return NULL;
}
const char *test_tmp(const char *name) {
    char *path = test_path();
    int   i = 0;
    if (!test_run.tmp[0]) {
        const char *root = getenv("TMPDIR");
        snprintf(test_run.tmp, sizeof test_run.tmp, "%s/octavius-test-%ld", root && *root ? root : "/tmp", (long)getpid());
        mkdir(test_run.tmp, 0700);
    }
    while (i < test_run.n_made && strcmp(test_run.made[i], name) != 0) i++;
    if (i == test_run.n_made && i < 64) snprintf(test_run.made[test_run.n_made++], 64, "%s", name);
    snprintf(path, 512, "%s/%s", test_run.tmp, name);
    return path;
}
static void test_tmp_remove(void) {
    char path[512];
    for (int i = 0; i < test_run.n_made; i++) {
        snprintf(path, sizeof path, "%s/%s", test_run.tmp, test_run.made[i]);
        remove(path);
    }
    if (test_run.tmp[0]) rmdir(test_run.tmp);
}
char *test_read_file(const char *path, size_t *len) {
    FILE  *f = fopen(path, "rb");
    char  *data = NULL;
    size_t n = 0, cap = 0, got = 0;
    if (!f) return NULL;
    do {
        n += got;
        if (cap - n < 2) {
            char *more = (char *)realloc(data, cap = cap ? cap * 2 : 65536);
            if (!more) break;
            data = more;
        }
        got = fread(data + n, 1, cap - n - 1, f);
    } while (got > 0);
    fclose(f);
    if (data) data[n] = 0;
    if (len) *len = n;
    return data;
}
const char *test_isa(void) {
    const char *isa = getenv("ISA");
    return isa && *isa ? isa : NULL;
}
int test_quick(void) {
    const char *quick = getenv("QUICK");
    return quick && *quick;
}
double test_seconds(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
unsigned test_random(unsigned long long *state) {                /* splitmix64, its upper half */
    unsigned long long z = (*state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return (unsigned)((z ^ (z >> 31)) >> 32);
}

static void test_crashed(int sig) {
    printf("\n%s.%s: ended by signal %d\n", test_run.now ? test_run.now->group : "?",
           test_run.now ? test_run.now->name : "?", sig);
    fflush(stdout);
    signal(sig, SIG_DFL);
    raise(sig);
}

static int test_wanted(const test_case *t) {
    char full[256];
    snprintf(full, sizeof full, "%s.%s", t->group, t->name);
    for (int i = 0; i < test_run.n_filter; i++)
        if (strstr(full, test_run.filter[i])) return 1;
    return test_run.n_filter == 0;
}

static void test_one(test_case *t) {
    const double start = test_seconds();
    test_run.now = t;
    test_run.bad = test_run.skipped = 0;
    fflush(stdout);
    t->run();
    const double took = test_seconds() - start;
    const int    outcome = test_run.bad ? 2 : test_run.skipped;
    if (outcome == 2) test_run.failed_all++;
    else if (outcome == 1) test_run.skipped_all++;
    else test_run.passed_all++;
    if (outcome == 1 || test_run.verbose || took > 10) {
        if (test_run.column) printf("\n");
        test_run.column = 0;
        printf("%s %s.%s%s%s  (%.2f s)\n", outcome == 2 ? "FAIL" : outcome ? "skip" : "ok  ", t->group, t->name,
               outcome == 1 ? ": " : "", outcome == 1 ? test_run.why : "", took);
    } else if (outcome == 0) {
        printf(".");
        if (++test_run.column == 100) test_run.column = printf("\n") * 0;
    }
}

int main(int argc, char **argv) {
    const char *t = getenv("T");
    int         list = 0;
    test_run.colour = isatty(1) && !getenv("NO_COLOR");
    if (t && *t) test_run.filter[test_run.n_filter++] = t;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0) test_run.verbose = 1;
        else if (strcmp(argv[i], "-l") == 0) list = 1;
        else if (test_run.n_filter < 32) test_run.filter[test_run.n_filter++] = argv[i];
    }
    for (test_case *c = test_run.first; list && c; c = c->next)
        if (test_wanted(c)) printf("%s.%s\n", c->group, c->name);
    if (list) return 0;
    signal(SIGSEGV, test_crashed);
    signal(SIGBUS, test_crashed);
    signal(SIGFPE, test_crashed);
    signal(SIGILL, test_crashed);
    signal(SIGABRT, test_crashed);
    for (test_case *c = test_run.first; c; c = c->next)
        if (test_wanted(c)) test_one(c);
    test_tmp_remove();
    if (test_run.column) printf("\n");
    printf("%d passed, %d failed, %d skipped\n", test_run.passed_all, test_run.failed_all, test_run.skipped_all);
    return test_run.failed_all != 0;
}
#endif /* TEST_MAIN */
#endif /* TEST_H */
