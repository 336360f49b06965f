/* program.h - what octavius-inspect, -quantize, -upcycle and -convert say and return alike.  octavius.h with its
 * implementation is included before this file; PROGRAM is the program's name. */
#ifndef OCTAVIUS_PROGRAM_H
#define OCTAVIUS_PROGRAM_H
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_OK = 0, EXIT_RUNTIME = 1, EXIT_USAGE = 2, EXIT_MODEL = 3, EXIT_INPUT = 4, EXIT_MEMORY = 5, EXIT_CONTEXT = 6, EXIT_STOPPED = 130 };

/* One line on stderr; returns the exit code. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static int fail(int exit_code, const char *format, ...) {
    char line[4600];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *p = line; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F) *p = '?';      /* names come from files and from users */
    fprintf(stderr, PROGRAM ": %s\n", line);
    return exit_code;
}
static int exit_code_of(oct_result r) {
    switch (r) {
    case OCT_OK: return EXIT_OK;
    case OCT_E_ARG: return EXIT_USAGE;
    case OCT_E_IO: case OCT_E_FORMAT: case OCT_E_UNSUPPORTED: return EXIT_MODEL;
    case OCT_E_MEMORY: case OCT_E_LIMIT: return EXIT_MEMORY;
    case OCT_E_CONTEXT: return EXIT_CONTEXT;
    case OCT_E_ABORTED: return EXIT_STOPPED;
    default: return EXIT_RUNTIME;
    }
}
/* Messages about a path name it already. */
static inline int fail_with(const char *file, const oct_error *err) {
    if (err->message[0] == '\'') return fail(exit_code_of(err->code), "%s", err->message);
    return fail(exit_code_of(err->code), "%s: %s", file, err->message);
}
#endif /* OCTAVIUS_PROGRAM_H */
