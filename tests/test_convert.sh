#!/bin/sh
# build/octavius-convert: every container, every fault.  Works on a tiny checkpoint that the official writers made
# (tools/reference/make_checkpoints.py), and on the official layouts in $OCTAVIUS_TEST_DATA where they are.
# Closes with "N passed, N failed, N skipped".   B=dir: another build folder;  V=1: a line for every test;  QUICK=1: data of the
# official layouts alone, not what is computed from them
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
LC_ALL=C
OMP_WAIT_POLICY=PASSIVE
export LC_ALL OMP_WAIT_POLICY
passed=0 failed=0 skipped=0
data=tests/golden/convert

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}
skip() {
    skipped=$((skipped + 1))
    echo "skip convert: $1"
    [ "${CI:-}" = true ] && failed=$((failed + 1))
}
if [ ! -x "$B/octavius-convert" ] || [ ! -x "$B/octavius-inspect" ]; then
    skip "$B/octavius-convert or $B/octavius-inspect is not there (make)"
    finish
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

ok() {                                   # name, then a command that must succeed
    name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        [ -z "${V:-}" ] || echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAIL convert: $name"
        sed 's/^/     err: /' "$dir/err" | head -5
    fi
}
run() {
    "$B/octavius-convert" "$@" > "$dir/out" 2> "$dir/err"
    rc=$?
}
code() { [ "$rc" -eq "$1" ] && { [ "$1" -eq 0 ] || [ "$(grep -vc "no piece '\|the delta has none" "$dir/err")" -eq 1 ]; }; }
err_has() { grep -qF -- "$1" "$dir/err"; }
none() { [ -z "$(find "$dir" -name "$1*" | head -1)" ]; }
same() { cmp -s "$1" "$2"; }
fault() {                                # name, exit code, words of the message, then the arguments: nothing may be left
    name=$1 want=$2 words=$3
    shift 3
    rm -f "$dir"/bad.gguf*
    run "$@" -o "$dir/bad.gguf"
    ok "$name: exit code $rc, expected $want" code "$want"
    ok "$name: the message says $words" err_has "$words"
    ok "$name: nothing is left" none bad.gguf
}
folder() {                               # name, weights, their name there
    mkdir -p "$dir/$1"
    cp "$data/config.json" "$data/tokenizer.model" "$dir/$1"
    [ -z "${2:-}" ] || cp "$2" "$dir/$1/$3"
}
zeros() {                                # file, names with their shapes: safetensors of F16 zeros
    to=$1 at=0 head=
    shift
    for t in "$@"; do
        n=2
        for d in $(echo "${t#*:}" | tr , ' '); do n=$((n * d)); done
        head="$head,\"${t%%:*}\":{\"dtype\":\"F16\",\"shape\":[${t#*:}],\"data_offsets\":[$at,$((at + n))]}"
        at=$((at + n))
    done
    head="{${head#,}}"
    printf "\\$(printf %o $((${#head} % 256)))\\$(printf %o $((${#head} / 256)))\\0\\0\\0\\0\\0\\0" > "$to"
    printf %s "$head" >> "$to"
    head -c "$at" /dev/zero >> "$to"
}
numbers() { tail -c "$2" "$1" | od -An -v -tf4 | tr -s ' ' '\n' | grep .; }
near() {                                 # two arrays of n bytes: within 1e-4 of the largest
    numbers "$1" "$3" > "$dir/a"
    numbers "$2" "$3" > "$dir/b"
    paste "$dir/a" "$dir/b" | awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > m) m = d; v = $2 < 0 ? -$2 : $2; if (v > top) top = v }
                                   END { exit !(NR > 0 && top > 0 && m <= 1e-4 * top) }'
}
logits() {                               # file, folder with those of transformers or of the reference
    "$B/octavius-inspect" logits "$1" --ids 1,5,9,17,30,3,2,11 --kv f32 --exact -o "$dir/l.npy" 2> "$dir/err" &&
        near "$dir/l.npy" "$2/logits.npy" $(($(wc -c < "$2/logits.npy") - 128))
}
listed() { "$B/octavius-inspect" "$dir/$1.gguf" > "$dir/$1.list" 2> "$dir/err"; }
has() { grep -q -- "$2" "$dir/$1.list"; }

# --- containers --------------------------------------------------------------------------------
folder plain "$data/plain.safetensors" model.safetensors
run "$dir/plain" --type f32 --set general.name=tiny -o "$dir/plain.gguf"
ok safetensors code 0
ok logits_are_those_of_transformers logits "$dir/plain.gguf" "$data"
for kind in zip deflated stream nested; do
    folder $kind "$data/$kind.bin" pytorch_model.bin
    run "$dir/$kind" --type f32 --set general.name=tiny -o "$dir/$kind.gguf"
    ok "$kind: exit code" code 0
    ok "$kind: the same file" same "$dir/plain.gguf" "$dir/$kind.gguf"
done
folder shards "$data/zip.bin" part-1.bin
echo '{"metadata": {}, "weight_map": {"a": "part-1.bin", "b": "part-1.bin"}}' > "$dir/shards/pytorch_model.bin.index.json"
run "$dir/shards" --type f32 --set general.name=tiny -o "$dir/shards.gguf"
ok 'index: the same file' same "$dir/plain.gguf" "$dir/shards.gguf"

# --- types, writing ------------------------------------------------------------------------------
run "$dir/plain" --type f32 -o "$dir/plain.gguf"
ok exists_already code 1
run "$dir/plain" --type q4_k -o "$dir/plain.gguf" --force
ok force code 0
ok fallback_is_said err_has 'do not fill blocks'
run "$dir/plain" --type q8_0 --tensor-type 'blk.*.ffn_*=bf16' -o "$dir/types.gguf"
"$B/octavius-inspect" "$dir/types.gguf" > "$dir/out"
ok tensor_type grep -q 'ffn_up.weight *BF16' "$dir/out"
ok norms_stay_f32 grep -q 'attn_norm.weight *F32' "$dir/out"
run "$dir/plain" -o "$dir/none/x.gguf"
ok unwritable code 1

# --- layouts and settings ------------------------------------------------------------------------
mkdir "$dir/phi"
cp "$data/phi-first/config.json" "$data/phi-first/pytorch_model.bin" "$data/tokenizer.model" "$dir/phi"
run "$dir/phi" --type f32 -o "$dir/phi.gguf"
ok phi_as_first_published code 0
ok phi_logits logits "$dir/phi.gguf" "$data/phi-first"
setting() {                              # name, a member of config.json
    folder "$1" "$data/plain.safetensors" model.safetensors
    sed "s/\"rope_theta\": 10000.0/\"rope_theta\": 10000.0, $2/" "$data/config.json" > "$dir/$1/config.json"
}
setting yarn '"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "attention_factor": 2.2772588722239782}'
run "$dir/yarn" --type f32 -o "$dir/yarn.gguf"
ok yarn listed yarn
ok yarn_length has yarn 'rope.scaling.original_context_length .*16'
ok yarn_gain has yarn 'rope.scaling.attn_factor .*  2$'
setting llama3 '"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 32}'
run "$dir/llama3" --type f32 -o "$dir/llama3.gguf"
ok llama3 listed llama3
ok llama3_divisors has llama3 'rope_freqs.weight *F32 *\[4\]'
setting dynamic '"rope_scaling": {"type": "dynamic", "factor": 2.0}'
fault rope_dynamic 3 "type 'dynamic'" "$dir/dynamic"
setting mscale '"rope_scaling": {"type": "yarn", "factor": 4.0, "mscale": 1.0}'
fault rope_mscale 3 'rope_scaling.mscale' "$dir/mscale"
echo '{"do_sample": true, "top_p": 0.8, "repetition_penalty": 1.1}' > "$dir/plain/generation_config.json"
run "$dir/plain" --type f32 --force --set octavius.sampling.top_p=0.7 -o "$dir/sampling.gguf"
ok sampling listed sampling
ok sampling_default has sampling 'octavius.sampling.top_k .* 50$'
ok sampling_set has sampling 'octavius.sampling.top_p .* 0.7$'
ok sampling_penalty has sampling 'octavius.sampling.penalty_repeat .* 1.1$'
echo '{"temperature": 0.3}' > "$dir/plain/generation_config.json"
run "$dir/plain" --type f32 --force -o "$dir/sampling.gguf"
ok greedy listed sampling
ok greedy_says_nothing [ "$(grep -c octavius.sampling "$dir/sampling.list")" -eq 0 ]

# --- the command line ----------------------------------------------------------------------------
fault usage_nothing 2 'which checkpoint'
fault usage_type 2 "--type: 'q9'" "$dir/plain" --type q9
fault usage_set 2 'KEY=VALUE' "$dir/plain" --set octavius.x
fault set_unknown 2 'octavius.nothing' "$dir/plain" --set octavius.nothing=1
fault no_folder 3 'cannot be read' "$dir/nowhere"

# --- every tensor counts ---------------------------------------------------------------------------
folder deep "$data/plain.safetensors" model.safetensors
sed 's/"num_hidden_layers": 1/"num_hidden_layers": 2/' "$data/config.json" > "$dir/deep/config.json"
fault missing 3 "blk.1.attn_norm.weight" "$dir/deep"
sed 's/"intermediate_size": 24/"intermediate_size": 28/' "$data/config.json" > "$dir/deep/config.json"
fault misshapen 3 'shape [24, 16], expected [28, 16]' "$dir/deep"
sed 's/"num_key_value_heads": 1/"num_key_value_heads": 0/' "$data/config.json" > "$dir/deep/config.json"
fault impossible 3 'num_key_value_heads' "$dir/deep"
folder unknown
sed 's/model.norm.weight/model.nork.weight/' "$data/plain.safetensors" > "$dir/unknown/model.safetensors"
fault unknown 3 "'model.nork.weight' has no place" "$dir/unknown"
fault ignored 3 'output_norm.weight' "$dir/unknown" --ignore 'model.nor*'
sed 's/"llama"/"bloom"/' "$data/config.json" > "$dir/deep/config.json"
fault family 3 "'bloom'" "$dir/deep"

# --- hostile input -----------------------------------------------------------------------------------
folder bad
nest() { awk -v n="$1" -v s="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s", s }'; }
hostile() {                              # name, words; the weights come from stdin
    rm -f "$dir"/bad/model.safetensors "$dir"/bad/pytorch_model.bin
    cat > "$dir/bad/pytorch_model.bin"
    fault "$1" "${3:-3}" "$2" "$dir/bad"
}
printf '\200\002cos\nsystem\nX\004\000\000\000echo\205R.' > "$dir/in"
hostile pickle_calls "call 'os.system'" < "$dir/in"
{ printf '\200\002'; nest 10000 ']'; nest 9999 a; printf .; } > "$dir/in"
hostile pickle_deep 'no dictionary' < "$dir/in"
{ printf '\200\002'; nest 10000 '('; printf .; } > "$dir/in"
hostile pickle_marks 'never closed' < "$dir/in"
printf '\200\002X\377\377\377\177ab.' > "$dir/in"
hostile pickle_cut 'ends early' < "$dir/in"
printf '\200\002r\377\377\377\177' > "$dir/in"
hostile pickle_memo 'remember' < "$dir/in"
printf '\200\002\377.' > "$dir/in"
hostile pickle_opcode 'opcode 0xFF' < "$dir/in"
printf '\200\002}22Ns2b.' > "$dir/in"
hostile pickle_itself 'copies more' < "$dir/in"
printf '\200\002}ub.' > "$dir/in"
hostile pickle_soup 'no mark' < "$dir/in"
head -c 3000 "$data/zip.bin" > "$dir/in"
hostile zip_cut 'without its directory' < "$dir/in"
head -c 3000 "$data/stream.bin" > "$dir/in"
hostile stream_cut 'left' < "$dir/in"
tr '\074' '\075' < "$data/zip.bin" > "$dir/in"
hostile zip_checksum 'checksum' < "$dir/in"
printf '\377\377\377\377\377\377\377\177{}' > "$dir/in"
hostile safetensors_header 'header' < "$dir/in"
printf '\102\000\000\000\000\000\000\000{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,9000000000000]}}' > "$dir/in"
hostile safetensors_offsets 'expected 8 within 0' < "$dir/in"
printf 'nothing at all' > "$dir/in"
hostile neither 'neither safetensors nor' < "$dir/in"
folder json "$data/plain.safetensors" model.safetensors
nest 10000 '[' > "$dir/json/config.json"
fault json_deep 5 'nested more than' "$dir/json"
printf '{"a": "\\x"}' > "$dir/json/config.json"
fault json_escape 3 'escape' "$dir/json"
folder pieces "$data/plain.safetensors" model.safetensors
printf '\012\377\377\377\377\017abc' > "$dir/pieces/tokenizer.model"
fault protobuf 3 'spoilt' "$dir/pieces"
printf '' > "$dir/pieces/tokenizer.model"
fault protobuf_empty 3 'no pieces' "$dir/pieces"

# --- OCTAVIUS and what looks at clouds ---------------------------------------------------------------------
convert_case() {                         # folder, more arguments: as its case.json says, from within it
    where=$1
    shift
    arguments=$(sed -n '/"convert": \[/,/\]/p' "$where/case.json" | tr '\n' ' ' | sed 's/.*"convert": *\[\([^]]*\)\].*/\1/; s/[",]//g')
    # shellcheck disable=SC2086
    (cd "$where" && exec "$program" $arguments "$@") > "$dir/out" 2> "$dir/err"
    rc=$?
}
data_is() {                              # case, file: its tensors' data are those that check_octavius.py found equal to their sources
    read -r _ bytes sum <<EOF
$(grep "^$1 " "$data/sums.txt")
EOF
    [ -n "$bytes" ] && [ "$(tail -c "$bytes" "$2" | sha256sum | cut -d' ' -f1)" = "$sum" ]
}
program=$(cd "$B" && pwd)/octavius-convert
for case in octavius octavius-bare octavius-moe pointbert 3detr-m; do
    convert_case "$data/$case" --type f32 -o "$dir/$case.gguf"
    ok "$case" [ "$rc" -eq 0 ]
    ok "$case: data" data_is "$case" "$dir/$case.gguf"
    ok "$case: listed" listed "$case"
done
ok octavius_tags has octavius 'octavius.tokenizer.tags .*32, 33, 34, 35, 36'
ok octavius_stop has octavius 'octavius.stop_suffixes .*1 2'
ok octavius_style has octavius 'octavius.prompt_style .*bare'
ok octavius_sampling has octavius 'octavius.sampling.top_k .*50'
ok octavius_squash has octavius 'octavius.v.resize .*squash'
ok octavius_experts has octavius 'blk.0.attn_q.lora_b .*F32'
ok octavius_on_experts_logits logits "$dir/octavius-moe.gguf" "$data/octavius-moe"
ok octavius_on_experts has octavius-moe 'llama.expert_used_count .*2'
ok pointbert_arguments has pointbert 'octavius.pt.point_count .*48'
ok pointbert_plain has pointbert 'octavius.pt.fps .*plain'
ok detector_arguments has 3detr-m 'octavius.det.encoder_head_count .*2'
ok detector_interim has 3detr-m 'octavius.det.interim_count .*10'
folder padded "$data/plain.safetensors" model.safetensors
echo '{"[PAD]": 32}' > "$dir/padded/added_tokens.json"
run "$data/octavius/delta.pt" --base "$dir/padded" --vision "$data/octavius/ViT.pt" --set octavius.v.head_count=2 --type f32 -o "$dir/padded.gguf"
ok rows_count_more_than_added_tokens same "$dir/padded.gguf" "$dir/octavius.gguf"
ok rows_are_said err_has "token 32 is '[PAD]'"
convert_case "$data/octavius" --type q8_0 --detector ../3detr-m/detr.pth -o "$dir/all.gguf"
ok all_parts_in_one [ "$rc" -eq 0 ]
ok all_parts_listed listed all
ok lora_is_f16 has all 'attn_q.lora_a .*F16'
ok gate_is_f32 has all 'gate.weight .*F32'
ok detector_is_f16 has all 'det.query.0.weight .*F16'

# Every key and tensor of ours that was written stands in the one comment about them, brace by brace.
sed -n '/^\/\* Keys of our own/,/\*\//p' octavius.h | grep -oE '[a-z]+\.[A-Za-z0-9_.{},]+' | sed 's/[,.;:]*$//; s/\.weight$//' > "$dir/words"
while read -r word; do bash -c "echo $word"; done < "$dir/words" | tr ' ' '\n' | sort -u > "$dir/documented"
{
    awk '/^  octavius\./ { print $1 }' "$dir"/*.list
    awk '/^  (agg|pt|det|gate)\.|^  [^ ]*\.lora_/ { print $1 }' "$dir"/*.list | sed 's/\.weight$//; s/\.bias$//; s/blk\.[0-9]*/blk.N/'
} | sort -u > "$dir/written"
ok keys_are_many [ "$(wc -l < "$dir/written")" -gt 90 ]
comm -23 "$dir/written" "$dir/documented" > "$dir/err"
ok keys_are_documented [ ! -s "$dir/err" ]

delta=$data/octavius/delta.pt
fault delta_without_base 2 'an OCTAVIUS delta' "$delta"
fault base_without_delta 2 'expected an OCTAVIUS delta' --base "$data" --vision "$data/octavius/ViT.pt"
fault no_delta 3 'gating_network.w_gating' "$data/plain.safetensors" --base "$data"
fault delta_without_tower 2 '--vision names' "$delta" --base "$data"
fault delta_lacks_b 3 'blk.0.attn_v.lora_b' "$delta" --base "$data" --ignore '*v_proj.lora_moe_B*'
fault delta_lacks_norm 3 'agg.self_norm.weight' "$delta" --base "$data" --vision "$data/octavius/ViT.pt" --ignore '*self_attn.0.layer_norm*'
fault aggregator_heads 3 '3 heads for 8' "$data/octavius-bare/delta.pt" --base "$data" --set octavius.agg.head_count=3
fault encoder_heads 3 '3 heads for 8' --point-encoder "$data/pointbert/best.pt" --set octavius.pt.head_count=3
fault encoder_fps 2 'expected plain or pointnet2' --point-encoder "$data/pointbert/best.pt" --set octavius.pt.fps=some
fault encoder_lacks_norm 3 'pt.enc.2.bn.var' --point-encoder "$data/pointbert/best.pt" --ignore '*second_conv.1.running_var'
fault encoder_is_none 3 'no Point-BERT' --point-encoder "$data/pointbert/best.pt" --ignore '*point_encoder*'
fault detector_is_none 3 'has no place' --detector "$data/pointbert/best.pt"
fault detector_lacks 3 'det.head.size.1' --detector "$data/3detr-m/detr.pth" --ignore '*size_head.layers.5.bias'
fault detector_heads 3 '5 heads for 8' --detector "$data/3detr-m/detr.pth" --set octavius.det.encoder_head_count=5

# --- features of scenes -------------------------------------------------------------------------------------
run "$data/features.pickle" -o "$dir/features"
ok features [ "$rc" -eq 0 ]
(cd "$dir/features" && for i in 0 1 2; do tail -c +129 $i-features.npy; tail -c +129 $i-boxes.npy; done) > "$dir/features.bin"
ok features_numbers same "$dir/features.bin" "$data/features.bin"
ok features_shape grep -qa "'<f4', 'fortran_order': False, 'shape': (3, 8, 3)" "$dir/features/0-boxes.npy"
run "$data/features.pickle" -o "$dir/features"
ok features_exist code 1
run "$data/features.pickle" --force -o "$dir/features"
ok features_force [ "$rc" -eq 0 ]
cp "$data/features.pickle" "$dir/other.pickle"
echo '[{}]' > "$dir/other.json"
run "$dir/other.pickle" -o "$dir/other"
ok features_questions err_has 'found 1'
rm "$dir/other.json"
run "$dir/other.pickle" -o "$dir/other"
ok features_alone [ "$rc" -eq 0 ]
head -c 3000 "$data/features.pickle" > "$dir/cut.pickle"
run "$dir/cut.pickle" -o "$dir/cut"
ok features_cut code 3
ok features_nothing_left [ ! -e "$dir/cut" ]
cp "$data/features.json" "$dir/spoilt.json"
sed 's/HalfStorage/HalfStoragf/' "$data/features.pickle" > "$dir/spoilt.pickle"
run "$dir/spoilt.pickle" -o "$dir/cut"
ok features_spoilt code 3
sed 's/_load_from_bytes/_load_from_bytec/' "$data/features.pickle" > "$dir/spoilt.pickle"
run "$dir/spoilt.pickle" -o "$dir/cut"
ok features_call err_has "call 'torch.storage._load_from_bytec'"

# --- the official layouts -----------------------------------------------------------------------------
golden=${OCTAVIUS_TEST_DATA:-}/golden
if [ -z "${OCTAVIUS_TEST_DATA:-}" ] || [ ! -e "$golden/check.py" ]; then
    skip 'no test data: set OCTAVIUS_TEST_DATA'
elif ! command -v python3 > /dev/null; then
    skip 'no python3 to run golden/check.py'
else
    for case in octavius-2d octavius-3d octavius-2d3d 3detr 3detr-m 3detr-sunrgbd pointbert pointbert-octavius; do
        convert_case "$golden/$case" --type f32 --force -o "$dir/case.gguf"
        ok "$case: official names" [ "$rc" -eq 0 ]
        ok "$case: official data" data_is "official-$case" "$dir/case.gguf"
    done
    # real vocabularies: the ids of every string that the test data has some for
    ids_are() {                          # file, vocabulary
        rm -rf "$dir/strings"
        mkdir "$dir/strings"
        awk -v d="$dir/strings" 'BEGIN { RS = "\n__ggml_vocab_test__\n" } { printf "%s", $0 > (d "/" sprintf("%03d", NR)) }' "$vocab/$2.inp"
        for f in "$dir"/strings/*; do "$B/octavius-inspect" tokens "$1" < "$f"; done > "$dir/got" 2> "$dir/err"
        sed 's/^ *//; s/ *$//' "$vocab/$2.out" > "$dir/want"
        [ "$(wc -l < "$dir/want")" -gt 40 ] && sed 's/ *$//' "$dir/got" | cmp -s - "$dir/want"
    }
    vocab=$OCTAVIUS_TEST_DATA/vocab
    if [ -z "${QUICK:-}" ]; then
        at=model.layers.0
        folder spm
        sed 's/"vocab_size": 32/"vocab_size": 32000/' "$data/config.json" > "$dir/spm/config.json"
        cp "$vocab/llama-tokenizer.model" "$dir/spm/tokenizer.model"
        zeros "$dir/spm/model.safetensors" model.embed_tokens.weight:32000,16 lm_head.weight:32000,16 model.norm.weight:16 \
            $at.input_layernorm.weight:16 $at.post_attention_layernorm.weight:16 $at.self_attn.q_proj.weight:16,16 $at.self_attn.k_proj.weight:8,16 \
            $at.self_attn.v_proj.weight:8,16 $at.self_attn.o_proj.weight:16,16 $at.mlp.gate_proj.weight:24,16 $at.mlp.up_proj.weight:24,16 \
            $at.mlp.down_proj.weight:16,24
        run "$dir/spm" -o "$dir/spm.gguf"
        ok words_of_llama ids_are "$dir/spm.gguf" ggml-vocab-llama-spm.gguf
        at=transformer.h.0
        mkdir "$dir/ranks"
        cp "$vocab/qwen.tiktoken" "$dir/ranks"
        sed 's/"llama"/"qwen"/; s/"vocab_size": 32/"vocab_size": 151936/; s/"intermediate_size": 24/"intermediate_size": 48/; s/"rms_norm_eps"/"layer_norm_epsilon"/
             /num_key_value_heads/d' "$data/config.json" > "$dir/ranks/config.json"
        zeros "$dir/ranks/model.safetensors" transformer.wte.weight:151936,16 lm_head.weight:151936,16 transformer.ln_f.weight:16 $at.ln_1.weight:16 \
            $at.ln_2.weight:16 $at.attn.c_attn.weight:48,16 $at.attn.c_attn.bias:48 $at.attn.c_proj.weight:16,16 $at.mlp.w1.weight:24,16 \
            $at.mlp.w2.weight:24,16 $at.mlp.c_proj.weight:16,24
        run "$dir/ranks" -o "$dir/ranks.gguf"
        ok words_of_qwen ids_are "$dir/ranks.gguf" ggml-vocab-qwen2.gguf
    fi
    # a real classifier: its own picture's numbers, and what it sees on others
    sees() {                             # picture, label
        "$B/octavius-inspect" dump "$dir/vit.gguf" --image "$OCTAVIUS_TEST_DATA/images/$1" --stage v.head -o "$dir/l.npy" 2> "$dir/err" &&
            best=$(numbers "$dir/l.npy" 4000 | awk 'NR == 1 || $1 > top { top = $1; at = NR } END { print at }') &&
            [ "$(sed -n "${best}p" "$OCTAVIUS_TEST_DATA/vit/labels.txt")" = "$2" ]
    }
    if [ -z "${QUICK:-}" ]; then
        run --vision "$OCTAVIUS_TEST_DATA/vit/vit_tiny_patch16_224.safetensors" --type f32 -o "$dir/vit.gguf"
        ok vit code 0
        ok vit_coffee sees coffee.png espresso
        ok vit_china sees china.jpg 'bell cote'
        ok vit_chelsea sees chelsea.png 'Egyptian cat'
        ok vit_logits near "$dir/l.npy" "$OCTAVIUS_TEST_DATA/vit/chelsea.logits.npy" 4000
    fi
    [ -n "${QUICK:-}" ] || for case in llava-1.5 moe-llava-stablelm moe-llava-qwen moe-llava-phi2 octavius-2d; do
        python3 "$golden/check.py" --build "$B" --variants "$golden/$case" > "$dir/err" 2>&1
        rc=$?
        [ -z "${V:-}" ] || cat "$dir/err"
        ok "$case" [ "$rc" -eq 0 ]
    done
fi
finish
