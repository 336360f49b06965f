#!/bin/sh
# The programs octavius-quantize and octavius-upcycle as their users meet them: every type, what is copied and what is refused,
# nothing half-made.  Works on tiny random models that build/octavius-synth makes; POSIX sh and awk, nothing else.
# Closes with "N passed, N failed, N skipped".   B=dir: another build folder;  V=1: a line for every test
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
LC_ALL=C
OMP_WAIT_POLICY=PASSIVE
export LC_ALL OMP_WAIT_POLICY
passed=0 failed=0 skipped=0

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}
for tool in synth inspect quantize upcycle; do
    [ -x "$B/octavius-$tool" ] && continue
    echo "skip tools: $B/octavius-$tool is not there (make)"
    if [ "${CI:-}" = true ]; then failed=1; else skipped=1; fi
    finish
done
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
mkdir "$dir/o"                           # where the programs write: whatever they leave is seen

ok() {                                   # name, then a command that must succeed
    name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        [ -z "${V:-}" ] || echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
        [ ! -f "$dir/out" ] || sed 's/^/     out: /' "$dir/out" | head -5
        [ ! -f "$dir/err" ] || sed 's/^/     err: /' "$dir/err" | head -5
    fi
}
tool() {                                 # program, arguments; leaves out, err and rc
    program=$1
    shift
    "$B/octavius-$program" "$@" > "$dir/out" 2> "$dir/err" < /dev/null
    rc=$?
}
made() { tool synth "$1" --type "$2" --seed 1 -o "$3" --force; }
code() { [ "$rc" -eq "$1" ]; }
out_has() { grep -qE -- "$1" "$dir/out"; }
err_has() { grep -qF -- "$1" "$dir/err"; }
err_line() { [ "$(wc -l < "$dir/err")" -eq 1 ] && err_has "$1"; }
only() { [ "$(ls -A "$dir/o")" = "$1" ]; }            # the names in o, blank-separated
logits() { "$B/octavius-inspect" logits "$1" --ids 1,17,300,42,5,77,128,256 --exact --kv f32 --threads 1 -o "$2" > /dev/null; }
floats() { od -An -v -tf4 -w4 -j128 "$1"; }
# Cosine of two arrays of floats at least $3.
alike() {
    floats "$1" > "$dir/a.txt" && floats "$2" | paste "$dir/a.txt" - > "$dir/ab.txt" || return 1
    awk -v least="$3" '{ ab += $1 * $2; aa += $1 * $1; bb += $2 * $2 }
        END { c = aa * bb > 0 ? ab / sqrt(aa * bb) : 0; if (c < least) print "     cosine " c ", expected " least; exit !(c >= least) }' "$dir/ab.txt"
}
type_of() { "$B/octavius-inspect" "$1" | grep -F "  $2 " | grep -qF " $3 "; }        # file, tensor, type

# --- octavius-quantize: every type ----------------------------------------------------------------
wide=$dir/wide.gguf
made tiny-wide f32 "$wide"
logits "$wide" "$dir/wide.npy"
quantize() { tool quantize "$wide" --type "$1" -o "$dir/o/$1.gguf"; }
for case in 'f32 0 1' 'f16 1 0.999999' 'bf16 32 0.99999' 'q8_0 7 0.9999' 'q6_k 18 0.999' 'q5_k 17 0.998' 'q5_0 8 0.995' 'q4_k 15 0.99' \
            'q4_0 2 0.985'; do
    # shellcheck disable=SC2086
    set -- $case
    quantize "$1"
    ok "quantize_$1" code 0
    ok "quantize_$1_type" out_has "^blk.0.ffn_up.weight +f32 +-> $1 "
    ok "quantize_$1_norm" out_has '^blk.1.attn_norm.weight +f32 +-> f32 +copied'
    tool inspect "$dir/o/$1.gguf"
    ok "quantize_$1_file_type" out_has "general.file_type +u32 +$2\$"
    logits "$dir/o/$1.gguf" "$dir/q.npy"
    ok "quantize_$1_logits" alike "$dir/wide.npy" "$dir/q.npy" "$3"
done
ok f32_is_the_same_file cmp -s "$wide" "$dir/o/f32.gguf"
ok output_is_finer type_of "$dir/o/q4_k.gguf" output.weight Q6_K
ok embeddings_are_finer type_of "$dir/o/q4_k.gguf" token_embd.weight Q5_K
ok nothing_else only "$(cd "$dir/o" && echo ./*.gguf | sed 's|\./||g' | tr ' ' '\n')"
OMP_NUM_THREADS=1 "$B/octavius-quantize" "$wide" --type q4_k -o "$dir/one.gguf" > /dev/null
OMP_NUM_THREADS=3 "$B/octavius-quantize" "$wide" --type q4_k -o "$dir/three.gguf" > /dev/null
ok any_threads cmp -s "$dir/one.gguf" "$dir/three.gguf"
rm -f "$dir"/o/*

# --- from other types, other models ------------------------------------------------------------------
for from in q2_k q3_k iq4_nl q4_1 q5_1 q4_k; do
    made tiny-wide $from "$dir/in.gguf"
    logits "$dir/in.gguf" "$dir/in.npy"
    tool quantize "$dir/in.gguf" --type f32 -o "$dir/o/x.gguf" --force
    logits "$dir/o/x.gguf" "$dir/q.npy"
    ok "from_$from" alike "$dir/in.npy" "$dir/q.npy" 0.999999999
done
made tiny-llama f32 "$dir/tiny.gguf"
tool quantize "$dir/tiny.gguf" --type q4_k -o "$dir/o/x.gguf" --force
ok fallback_is_said out_has '^blk.0.attn_q.weight .* q5_0 .*rows of 64 do not fill blocks of q4_k'
made tiny-moe-phi2 f16 "$dir/moe.gguf"
tool quantize "$dir/moe.gguf" --type q8_0 -o "$dir/o/x.gguf" --force
ok router_stays out_has '^blk.0.ffn_gate_inp.weight +f32 +-> f32 +copied'
ok experts_do_not out_has '^blk.0.ffn_up_exps.weight +f16 +-> q8_0 '
logits "$dir/moe.gguf" "$dir/in.npy"
logits "$dir/o/x.gguf" "$dir/q.npy"
ok experts_logits alike "$dir/in.npy" "$dir/q.npy" 0.9995
tool quantize "$wide" --type q4_k --tensor-type 'blk.*.ffn_down.weight=q8_0' --tensor-type 'blk.1.*=f16' -o "$dir/o/x.gguf" --force
ok override out_has '^blk.0.ffn_down.weight .* q8_0 '
ok override_last_counts out_has '^blk.1.ffn_down.weight .* f16 '
ok override_norms_stay out_has '^blk.1.ffn_norm.weight .* copied'
tool quantize "$wide" --type q5_k --json -o "$dir/o/x.gguf" --force
ok json out_has '^\{"tensors":\[\{"name":"token_embd.weight","shape":\[256, 512\],"from":"f32","type":"q6_k","wanted":"q6_k","error":0\.0[0-9]+\}.*\],"bytes_in":'
ok json_one_line [ "$(wc -l < "$dir/out")" -eq 1 ]

# --- a vision tower --------------------------------------------------------------------------------------
printf 'P6 16 16 255\n' > "$dir/a.ppm"
awk 'BEGIN { for (i = 0; i < 768; i++) printf "%c", 33 + i * 7 % 90 }' >> "$dir/a.ppm"
tower() { tool inspect dump "$dir/tiny.gguf" --mmproj "$1" --prompt-style vicuna_v1 --image "$dir/a.ppm" --stage mm.out -o "$2"; }
tower tests/golden/tower.gguf "$dir/tower.npy"
ok tower code 0
for case in 'f16 0.99999' 'q8_0 0.9995'; do
    tool quantize tests/golden/tower.gguf --type "${case% *}" -o "$dir/o/tower.gguf" --force
    ok "tower_${case% *}" code 0
    tower "$dir/o/tower.gguf" "$dir/q.npy"
    ok "tower_${case% *}_rows" alike "$dir/tower.npy" "$dir/q.npy" "${case#* }"
done
rm -f "$dir"/o/*

# --- what is refused, and leaves nothing ---------------------------------------------------------------------
tool quantize --help
ok help code 0
for bad in '--type q9' '--type q2_k' '--type' '--typo' '--type q8_0 --tensor-type x' '--type q8_0 --tensor-type x=q9'; do
    # shellcheck disable=SC2086
    tool quantize "$wide" -o "$dir/o/x.gguf" $bad
    ok "usage: $bad" code 2
    ok "usage_line: $bad" err_line octavius-quantize
done
tool quantize "$wide" --type q8_0
ok no_output code 2
tool quantize "$dir/none.gguf" --type q8_0 -o "$dir/o/x.gguf"
ok no_input code 3
head -c 20000 "$wide" > "$dir/cut.gguf"
tool quantize "$dir/cut.gguf" --type q8_0 -o "$dir/o/x.gguf"
ok cut_input code 3
ok cut_input_line err_line cut.gguf
ok refused_leave_nothing only ''
echo mine > "$dir/o/x.gguf"
tool quantize "$wide" --type q8_0 -o "$dir/o/x.gguf"
ok no_overwriting code 1
ok no_overwriting_line err_line 'exists already'
ok not_overwritten [ "$(cat "$dir/o/x.gguf")" = mine ]
tool quantize "$wide" --type q8_0 -o "$dir/o/x.gguf" --force
ok force code 0
cp "$wide" "$dir/o/x.gguf"
tool quantize "$dir/o/x.gguf" --type q4_0 -o "$dir/o/x.gguf" --force
ok onto_itself type_of "$dir/o/x.gguf" blk.0.ffn_up.weight Q4_0
rm -f "$dir"/o/*
tool quantize "$wide" --type q8_0 -o /dev/full --force
ok device code 1
ok device_stays test -c /dev/full
tool quantize "$wide" --type q8_0 -o "$dir/none/x.gguf"
ok no_folder code 1
(
    ulimit -f 200
    "$B/octavius-quantize" "$wide" --type q8_0 -o "$dir/o/x.gguf"
) > "$dir/out" 2> "$dir/err"
rc=$?
ok disk_full code 1
ok disk_full_line err_line 'cannot be written'
ok disk_full_leaves_nothing only ''
# the last 64 floats but the padding are the last row of output.weight: one becomes infinite
cp "$dir/tiny.gguf" "$dir/inf.gguf"
size=$(wc -c < "$dir/inf.gguf")
printf '\000\000\200\177' | dd of="$dir/inf.gguf" bs=1 seek=$((size - 64)) conv=notrunc 2> /dev/null
tool quantize "$dir/inf.gguf" --type q8_0 -o "$dir/o/x.gguf"
ok not_finite code 1
ok not_finite_line err_line "tensor 'output.weight': row 511"
tool quantize "$dir/inf.gguf" --type bf16 -o "$dir/x.gguf"
ok not_finite_bf16 code 0
tool upcycle "$dir/one.gguf" --layers all --experts 64 -o "$dir/large.gguf"
"$B/octavius-quantize" "$dir/large.gguf" --type q6_k -o "$dir/o/x.gguf" > "$dir/out" 2> "$dir/err" &
tries=0
while [ -z "$(ls -A "$dir/o")" ] && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done      # it has begun to write
kill -INT $!
wait $!
rc=$?
ok interrupted code 130
ok interrupted_line err_line interrupted
ok interrupted_leaves_nothing only ''

# --- octavius-upcycle ------------------------------------------------------------------------------------------
for arch in llama phi2 stablelm qwen qwen2; do
    made tiny-$arch f32 "$dir/in.gguf"
    tool upcycle "$dir/in.gguf" -o "$dir/o/$arch.gguf" --verify --seed 3
    ok "upcycle_$arch" code 0
    ok "upcycle_${arch}_same" out_has 'largest difference [0-9.]+e-0[789] of'
    tool upcycle "$dir/in.gguf" -o "$dir/o/$arch-all.gguf" --verify --layers all --experts 5 --top-k 3
    ok "upcycle_${arch}_all" code 0
done
ok upcycle_phi2_bias type_of "$dir/o/phi2.gguf" blk.0.ffn_up_exps.bias '[160, 4]'
ok upcycle_dense_layer type_of "$dir/o/phi2.gguf" blk.1.ffn_up.weight F32
ok upcycle_router type_of "$dir/o/llama-all.gguf" blk.1.ffn_gate_inp.weight '[64, 5]'
tool inspect "$dir/o/phi2.gguf"
ok upcycle_count out_has 'phi2.expert_count +u32 +4$'
ok upcycle_used out_has 'phi2.expert_used_count +u32 +2$'
tool upcycle "$dir/tiny.gguf" -o "$dir/o/again.gguf" --seed 3
ok upcycle_seed cmp -s "$dir/o/again.gguf" "$dir/o/llama.gguf"
tool upcycle "$dir/tiny.gguf" -o "$dir/o/again.gguf" --seed 4 --force
ok upcycle_other_seed sh -c '! cmp -s "$1" "$2"' - "$dir/o/again.gguf" "$dir/o/llama.gguf"
made tiny-phi2 f32 "$dir/in.gguf"
tool upcycle "$dir/in.gguf" -o "$dir/o/again.gguf" --top-k 1 --verify --force
ok upcycle_top1_differs out_has 'largest difference [0-9.]+e-01 of'
tool upcycle "$dir/one.gguf" -o "$dir/o/again.gguf" --layers 1 --verify --force
ok upcycle_raw_blocks type_of "$dir/o/again.gguf" blk.1.ffn_up_exps.weight Q4_K
ok upcycle_raw_same code 0
rm -f "$dir"/o/*
for bad in '--layers 0,2' '--layers 1,' '--layers x' '--experts 0' '--top-k 5' '--seed -1' '--experts'; do
    # shellcheck disable=SC2086
    tool upcycle "$dir/tiny.gguf" -o "$dir/o/x.gguf" $bad
    ok "upcycle_usage: $bad" code 2
done
tool upcycle "$dir/moe.gguf" -o "$dir/o/x.gguf"
ok upcycle_experts_already code 3
tool upcycle tests/golden/tower.gguf -o "$dir/o/x.gguf"
ok upcycle_no_language_model code 3
ok upcycle_leaves_nothing only ''

finish
