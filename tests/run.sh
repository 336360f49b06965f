#!/usr/bin/env bash
# Runs test programs and sums them up:  tests/run.sh 'name: command' ...
# Each command closes with "N passed, N failed, N skipped"; one without that line counts as one test, passed if it
# returns 0.  The sums are the last line here.  JOBS=n: n at a time, the output of each shown when it ends.
set -uo pipefail
at_once=${JOBS:-1}
unset JOBS                              # the steps decide for themselves
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
closing='^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$'

one() {                                 # number, name, command: leaves counts in $dir/N.sum
    local log=$dir/$1.log start=$SECONDS rc=0 line
    if [ "$at_once" -gt 1 ]; then
        bash -c "$3" > "$log" 2>&1 < /dev/null || rc=$?
    else
        echo "== $2"
        bash -c "$3" 2>&1 < /dev/null | tee "$log" | grep --line-buffered -vE "$closing"
        rc=${PIPESTATUS[0]}
    fi
    line=$(grep -E "$closing" "$log" | tail -1)
    local p=0 f=0 s=0
    if [ -n "$line" ]; then
        read -r p _ f _ s _ <<< "$line"
        [ "$rc" -ne 0 ] && [ "$f" -eq 0 ] && f=1
    elif [ "$rc" -eq 0 ]; then
        p=1
    else
        f=1
    fi
    echo "$p $f $s" > "$dir/$1.sum"
    if [ "$at_once" -gt 1 ]; then
        {
            echo "== $2: $p passed, $f failed, $s skipped ($((SECONDS - start)) s)"
            if [ "$f" -gt 0 ]; then tail -60 "$log"; else grep -E '^(skip|note)' "$log"; fi
        } > "$dir/$1.out"
        cat "$dir/$1.out"
    elif [ "$rc" -ne 0 ]; then
        echo "== $2: failed (exit code $rc)"
    fi
}

n=0
for step in "$@"; do
    n=$((n + 1))
    while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do wait -n; done
    if [ "$at_once" -gt 1 ]; then one $n "${step%%: *}" "${step#*: }" &
    else one $n "${step%%: *}" "${step#*: }"
    fi
done
wait
passed=0 failed=0 skipped=0
[ $n -gt 1 ] && echo "== all: $SECONDS s"
for i in $(seq 1 $n); do
    read -r p f s < "$dir/$i.sum" || { p=0 f=1 s=0; }
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
