#!/usr/bin/env bash
# make check, check-all, asan, fuzz.  Run from anywhere:
#     tests/check.sh              the suite by clang as C++17, the kernels at -O3, four more compiled, sanitizers, aarch64, SIMDe
#     tests/check.sh all          the suite in all sixteen
#     tests/check.sh asan         address and undefined-behaviour sanitizers alone
#     tests/check.sh fuzz 60      every fuzzer for 60 seconds
# The other words are steps that this script runs through tests/run.sh.  A missing tool skips its step; with CI=true it
# fails.  JOBS: steps at a time.  Closes with "N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL
out=build/check
warn='-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Wvla -Wdouble-promotion -Wcast-qual'
[ "${WERROR:-1}" = 0 ] || warn="$warn -Werror"       # WERROR=0: warnings are only shown
me='bash tests/check.sh'
step=${1:-}
mkdir -p "$out"

skip() {                                # why: ends this step
    if [ "${CI:-}" = true ]; then
        echo "FAIL check: $1, and CI=true"
        echo '0 passed, 1 failed, 0 skipped'
        exit 1
    fi
    echo "skip check: $1"
    echo '0 passed, 0 failed, 1 skipped'
    exit 0
}
need() { command -v "$1" > /dev/null || skip "no $1"; }
links() { echo 'int main(void) { return 0; }' | "$@" -x c - -o "$out/probe.$$" 2> /dev/null; local r=$?; rm -f "$out/probe.$$"; return $r; }

# compiler, c11|c++17, optimisation, openmp|plain  ->  $cc $std $omp
config() {
    cc=$1 std="-std=$2"
    need "$cc"
    if [ "$2" = c++17 ]; then
        std="$std -x c++"
        case $cc in gcc) cc=g++ ;; clang) cc=clang++ ;; esac
        need "$cc"
    else
        std="$std -Wstrict-prototypes"
    fi
    omp=
    [ "$4" = openmp ] && omp=-fopenmp
    if [ -n "$omp" ] && ! links "$1" $omp; then skip "$1 does not link OpenMP"; fi
    return 0
}

# The two test programs built with $cc $std and the flags given, then run.  d: where to.  Filters: for the white-box one.  The
# black-box one asks nothing of the kernels, so the scalar ones do.
suite() {
    local d=$1 flags=$2 filters=${3:-}
    mkdir -p "$d"
    # shellcheck disable=SC2086
    $cc $std $warn $flags -I. tests/test_main.c -x none -o "$d/unit" -lm -lpthread || return 1
    # shellcheck disable=SC2086
    $cc $std $warn ${flags/-DOCTAVIUS_NO_SIMD/} -DOCTAVIUS_NO_SIMD -I. -c tests/test_api.c -o "$d/api.o" &&
        $cc $std $warn $flags -I. -c tests/test_api_2.c -o "$d/api_2.o" || return 1
    local cxx=${cc/gcc/g++}
    cxx=${cxx/%clang/clang++}
    # shellcheck disable=SC2086
    $cxx -std=c++17 $warn $flags -I. -c tests/test_cxx.cpp -o "$d/api_cxx.o" &&
        $cxx $flags "$d/api.o" "$d/api_2.o" "$d/api_cxx.o" -o "$d/api" -lm -lpthread || return 1
    JOBS=1 bash tests/run.sh "white box: $d/unit $filters" "black box: $d/api"
}

case $step in
config)                                 # gcc c11 -O3 openmp
    config "$2" "$3" "$4" "$5"
    [ "$4" = -O0 ] && export QUICK=1
    suite "$out/$2-$3$4-$5" "$4 $omp"
    exit ;;
kernels)                                # the kernels' tests alone, as the configuration compiles them
    config "$2" "$3" "$4" "$5"
    mkdir -p "$out/kernels"
    # shellcheck disable=SC2086
    $cc $std $warn $4 $omp -I. tests/test_kernels_main.c -o "$out/kernels/kernels" -lm || exit 1
    QUICK=1 exec "$out/kernels/kernels" ;;
compile)
    config "$2" "$3" "$4" "$5"
    printf '#define OCTAVIUS_IMPLEMENTATION\n#include "octavius.h"\n' > "$out/$$.c"
    # shellcheck disable=SC2086
    $cc $std $warn $4 $omp -I. -c "$out/$$.c" -o "$out/$$.o"
    r=$?
    rm -f "$out/$$.c" "$out/$$.o"
    exit $r ;;
address)                                # flags: -DOCTAVIUS_NO_SIMD, where there is not time for all
    config clang c11 -O1 plain
    links clang -fsanitize=address,undefined || skip 'clang lacks its sanitizers (libclang-rt)'
    export QUICK=1 ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
    suite "$out/asan" "-O1 -g1 ${2:-} -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    exit ;;
address_simd)                           # the vector kernels, which take longest to compile, with tests of their own alone
    config clang c11 -O0 plain
    links clang -fsanitize=address,undefined || skip 'clang lacks its sanitizers (libclang-rt)'
    mkdir -p "$out/asan"
    # shellcheck disable=SC2086
    $cc $std $warn -O0 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -DTEST_MODELS -I. tests/test_kernels_main.c -o "$out/asan/kernels" -lm -lpthread || exit 1
    export QUICK=1 ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
    exec "$out/asan/kernels" quant. kernels. model.deterministic ;;
readers)                                # octavius-convert on good, spoilt and hostile checkpoints, under the sanitizers
    config clang c11 -O0 plain
    links clang -fsanitize=address,undefined || skip 'clang lacks its sanitizers (libclang-rt)'
    mkdir -p "$out/readers"
    for program in convert inspect; do
        # shellcheck disable=SC2086
        $cc $std $warn -O0 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -DOCTAVIUS_NO_SIMD -I. "tools/$program.c" \
            -o "$out/readers/octavius-$program" -lm || exit 1
    done
    export QUICK=1 ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
    B=$out/readers exec sh tests/test_convert.sh ;;
thread)
    config clang c11 -O0 plain
    links clang -fsanitize=thread || skip 'clang lacks its sanitizers (libclang-rt)'
    export QUICK=1
    threaded='model.deterministic_llama model.deterministic_q4_k model.deterministic_moe_q8_0 model.deterministic_moe_parallel'
    threaded="$threaded model.abort model.continues_llama kernels.bits kernels.jobs kernels.many kernels.abort kernels.attention_split vision.one_file"
    suite "$out/tsan" '-O0 -g -fsanitize=thread' "$threaded"
    exit ;;
aarch64)
    need aarch64-linux-gnu-gcc
    need qemu-aarch64
    cc=aarch64-linux-gnu-gcc
    mkdir -p "$out/aarch64"
    # shellcheck disable=SC2086
    $cc -std=c11 -Wstrict-prototypes $warn -O2 -static -DTEST_MODELS -I. tests/test_kernels_main.c -o "$out/aarch64/unit" -lm -lpthread || exit 1
    QUICK=1 exec qemu-aarch64 "$out/aarch64/unit" quant. kernels. model.deterministic_llama model.deterministic_q model.deterministic_moe_q8_0 model.deterministic_pairs ;;
simde)                                  # every x86 table, whatever this CPU has
    [ -e /usr/include/simde/x86/avx512.h ] || skip 'no SIMDe (libsimde-dev)'
    need gcc
    mkdir -p "$out/simde"
    # shellcheck disable=SC2086
    gcc -std=gnu11 $warn -Wno-psabi -Wno-maybe-uninitialized -O2 -DOCTAVIUS_TEST_INTRINSICS='"tests/simd/simde.h"' -I. tests/test_kernels_main.c -o "$out/simde/kernels" -lm || exit 1
    QUICK=1 exec "$out/simde/kernels" ;;
fuzzer)                                 # name, seconds
    need clang
    links clang -fsanitize=address || skip 'clang lacks its sanitizers (libclang-rt)'
    mkdir -p "$out/fuzz" "build/corpus/$2"
    speed=-O1
    [ "$3" -le 10 ] && speed=-O0                         # a short run is mostly compiling
    clang -std=c11 -g $speed -DOCTAVIUS_NO_SIMD -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -I. "tests/$2.c" -o "$out/fuzz/$2" -lm || exit 1
    exec "$out/fuzz/$2" -max_total_time="$3" -max_len=65536 -timeout=10 -rss_limit_mb=3000 -verbosity=0 -print_final_stats=1 \
        -artifact_prefix="build/corpus/$2-" "build/corpus/$2" ;;
esac

steps=()
fuzzers() { for f in tests/fuzz_*.c; do [ -e "$f" ] && f=$(basename "$f" .c) && steps+=("$f: $me fuzzer $f $1"); done; }
JOBS=${JOBS:-$(nproc 2> /dev/null || echo 2)}
export JOBS OMP_WAIT_POLICY=PASSIVE

case $step in
asan) steps+=("address and undefined behaviour: $me address" "readers of checkpoints: $me readers") ;;
fuzz) fuzzers "${2:-60}" ;;
'' | all)
    # every compiler, language, level and mode at least twice, `make test` (gcc, C11, -O2, OpenMP) among them; `all` takes
    # every combination
    run=' clang_c++17_-O0_plain '
    compiled=' gcc_c++17_-O3_plain clang_c11_-O3_openmp gcc_c++17_-O0_openmp clang_c11_-O0_plain '
    rest=()
    if [ "$step" = all ]; then steps+=("address and undefined behaviour: $me address")
    else steps+=("address and undefined behaviour: $me address -DOCTAVIUS_NO_SIMD" "the same, vector kernels: $me address_simd")
    fi
    steps+=("readers of checkpoints: $me readers" "aarch64: $me aarch64" "threads: $me thread" "SIMDe: $me simde")
    [ "$step" = all ] || steps+=("gcc c11 -O3 openmp, kernels: $me kernels gcc c11 -O3 openmp")
    for opt in -O3 -O0; do for cc in gcc clang; do for std in c11 c++17; do for omp in openmp plain; do
        if [ "$step" = all ] || [[ $run == *" ${cc}_${std}_${opt}_${omp} "* ]]; then
            steps+=("$cc $std $opt $omp: $me config $cc $std $opt $omp")
        elif [[ $compiled == *" ${cc}_${std}_${opt}_${omp} "* ]]; then
            rest+=("$cc $std $opt $omp, compiled: $me compile $cc $std $opt $omp")
        fi
    done; done; done; done
    steps+=(${rest[@]+"${rest[@]}"})
    fuzzers 5 ;;
*) echo "tests/check.sh: unknown word '$step'" >&2; exit 2 ;;
esac
exec bash tests/run.sh "${steps[@]}"
