#!/usr/bin/env bash
# What the compiled implementation may not hold: writable data, and calls that end the process or print.  Also the
# contents list of the header, and how long it takes to compile.
#     tests/test_symbols.sh [toc]          toc: the contents list alone
# Variables: CC.  Closes with "N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0 skipped=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

ok()   { passed=$((passed + 1)); }
bad()  { failed=$((failed + 1)); echo "FAIL symbols: $1"; [ -n "${2:-}" ] && echo "$2" | head -20 | sed 's/^/     /'; }
skip() { skipped=$((skipped + 1)); echo "skip symbols: $1"; [ "${CI:-}" = true ] && bad "CI=true, but $1"; }
check_empty() { if [ -z "$2" ]; then ok; else bad "$1" "$2"; fi; }       # what it would mean, lines found

# The front's list between "CONTENTS" and the next blank line, against the chapters' own banners.
toc() {
    sed -n '/^ \* CONTENTS/,/^ \*$/p' octavius.h | sed -n 's/^ \* *\([0-9][0-9]*\. .*[^ ]\) *$/\1/p' > "$tmp/front"
    sed -n 's/^ \* MARK: - \(.*[^ ]\) *$/\1/p' octavius.h > "$tmp/chapters"
    if [ -s "$tmp/front" ] && diff "$tmp/front" "$tmp/chapters" > "$tmp/diff"; then ok
    else bad 'the contents list differs from the chapters (<: list, >: chapters)' "$(cat "$tmp/diff")"; fi
}

cat > "$tmp/impl.c" <<'C'
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"
C
cp "$tmp/impl.c" "$tmp/impl.cpp"
cat > "$tmp/static.c" <<'C'
#define OCTAVIUS_STATIC
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"
int main(void) { return oct_isa_available(OCT_ISA_SCALAR) ? 0 : 1; }
C

# Sections that hold writable data: all must be empty or absent.  .data.rel.ro is read-only once loaded.
writable() { size -A "$1" | awk '$1 ~ /^\.(data|bss|tdata|tbss|ldata|lbss)(\.|$)/ && $1 !~ /^\.data\.rel\.ro/ && $2 > 0'; }
forbidden='abort|_?exit|_Exit|quick_exit|raise|kill|longjmp|_longjmp|siglongjmp|[vf]*printf|v?f?w?printf|__[vf]*printf_chk|puts|fputs|putchar|fputc|putc|_IO_putc|fwrite|perror|psignal|stdout|stderr|__assert_fail|__stack_chk_fail_local|setlocale|signal|sigaction|system|getenv|rand|srand|strtok|time|_ZSt9terminatev|__cxa_throw'

# A program of a fixed size, by which a compiler's speed on this machine is known.
yardstick() {
    awk 'BEGIN {
        for (i = 0; i < 60; i++) {
            printf "int f%d(const unsigned char *p, float *y, int n) {\n    int s = %d;\n    for (int i = 0; i < n; i++) switch (p[i] & 7) {\n", i, i
            for (j = 0; j < 8; j++) printf "        case %d: y[i] = y[i] * %d.5f + (float)s; s += p[(i * %d) %% n] ^ s >> %d; break;\n", j, i + j, j + 3, j + 1
            printf "    }\n    for (int i = 0; i + 8 < n; i++) if (y[i] > y[i + %d]) { float t = y[i]; y[i] = y[i + 1]; y[i + 1] = t; s ^= i; }\n    return s;\n}\n", i % 7 + 1
        }
    }'
}

inspect() {                              # object, name
    check_empty "$2: writable data in the implementation" "$(writable "$1")"
    check_empty "$2: calls that print, end the process or keep global state" "$(nm -u "$1" | awk '{print $2}' | sed 's/@.*//' | grep -xE "$forbidden")"
    check_empty "$2: exported names that are not oct_*" "$(nm -g --defined-only "$1" | awk '{print $3}' | grep -vE '^oct_[a-z0-9]' | grep -vE '^(\.omp|__omp|DW\.ref)')"
}

toc
if [ "${1:-}" != toc ]; then
    CC=${CC:-cc}
    TIMEFORMAT=%U
    openmp=
    echo 'int main(void) { return 0; }' > "$tmp/p.c"
    "$CC" -fopenmp "$tmp/p.c" -o "$tmp/p" 2> /dev/null && openmp=-fopenmp
    # clang's beside the timed one: neither the time nor the other processor is lost
    if command -v clang > /dev/null; then
        { clang -std=c11 -O0 -DOCTAVIUS_NO_OPENMP -I. -c "$tmp/impl.c" -o "$tmp/clang.o" 2> "$tmp/clang.err" || echo fail > "$tmp/clang.bad"; } &
    fi
    # At most 30 s on a machine that compiles the yardstick in 1.1 s.  A slower one, or one whose neighbours are busy, has as much
    # longer, a faster one no less; and what is too slow is tried twice more.
    yardstick > "$tmp/yard.c"
    for try in 1 2 3; do
        took=$({ time "$CC" -std=c11 -O2 $openmp -I. -c "$tmp/impl.c" -o "$tmp/o2.o" 2> "$tmp/err" || echo fail > "$tmp/bad"; } 2>&1)
        yard=$({ time "$CC" -std=c11 -O2 -c "$tmp/yard.c" -o "$tmp/yard.o"; } 2>&1)
        limit=$(awk -v y="$yard" 'BEGIN { print (y > 1.1 ? 30 * y / 1.1 : 30) }')
        [ -e "$tmp/bad" ] || ! awk -v t="$took" -v l="$limit" 'BEGIN { exit !(t > l) }' && break
    done
    if [ -e "$tmp/bad" ]; then bad 'the implementation does not compile' "$(cat "$tmp/err")"
    else
        echo "note: $CC -O2 compiles the header in $took s, the yardstick in $yard s (try $try)"
        check_empty "compiling takes $took s, expected at most $limit" "$(awk -v t="$took" -v l="$limit" 'BEGIN { if (t > l) print t }')"
        inspect "$tmp/o2.o" "$CC -O2 $openmp"
    fi
    wait
    if ! command -v clang > /dev/null; then skip 'no clang'
    elif [ -e "$tmp/clang.bad" ]; then bad 'clang -O0 fails' "$(cat "$tmp/clang.err")"
    else inspect "$tmp/clang.o" 'clang -O0'; fi
    if "$CC" -std=c11 -O0 -I. -c -DOCTAVIUS_STATIC "$tmp/impl.c" -o "$tmp/st.o" 2> "$tmp/err"; then
        check_empty 'OCTAVIUS_STATIC: exported names' "$(nm -g --defined-only "$tmp/st.o" | awk '{print $3}')"
    else bad 'OCTAVIUS_STATIC does not compile' "$(cat "$tmp/err")"; fi
    if "$CC" -std=c11 -O0 -I. "$tmp/static.c" -o "$tmp/static" -lm 2> "$tmp/err" && "$tmp/static"; then ok
    else bad 'a program with OCTAVIUS_STATIC and plain flags' "$(cat "$tmp/err")"; fi
    for d in NO_STDIO NO_MMAP NO_SIMD NO_OPENMP NO_PICTURES 'MALLOC=my_malloc -DOCTAVIUS_FREE=my_free -include stddef.h -include'; do
        if [ "${d%%=*}" = MALLOC ]; then
            echo 'extern void *my_malloc(size_t); extern void my_free(void *);' > "$tmp/my.h"
            d="$d $tmp/my.h"
        fi
        # shellcheck disable=SC2086
        if "$CC" -std=c11 -O0 -I. -c -DOCTAVIUS_$d "$tmp/impl.c" -o "$tmp/switch.o" 2> "$tmp/err"; then
            case $d in
                NO_STDIO) check_empty 'OCTAVIUS_NO_STDIO: files are still opened' "$(nm -u "$tmp/switch.o" | awk '{print $2}' | grep -xE 'fopen|fopen64|open|mmap')" ;;
                NO_MMAP) check_empty 'OCTAVIUS_NO_MMAP: mmap is still called' "$(nm -u "$tmp/switch.o" | awk '{print $2}' | grep -xE 'mmap|mmap64')" ;;
                MALLOC*) check_empty 'OCTAVIUS_MALLOC: another allocator is still called' "$(nm -u "$tmp/switch.o" | awk '{print $2}' | grep -xE 'malloc|calloc|realloc|free|aligned_alloc|posix_memalign|strdup')" ;;
                *) ok ;;
            esac
        else bad "OCTAVIUS_$d does not compile" "$(cat "$tmp/err")"; fi
    done
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
