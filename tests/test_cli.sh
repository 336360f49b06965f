#!/bin/sh
# The program build/octavius as its users meet it: exit codes, the ways in and out, JSON, batch, the chat's commands.
# Works on a tiny random model that build/octavius-synth makes; POSIX sh, nothing else.
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
if [ ! -x "$B/octavius" ] || [ ! -x "$B/octavius-synth" ]; then
    echo "skip cli: $B/octavius or $B/octavius-synth is not there (make)"
    if [ "${CI:-}" = true ]; then failed=1; else skipped=1; fi
    finish
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
model=$dir/tiny.gguf
"$B/octavius-synth" tiny-llama --type f32 --seed 1 -o "$model" > "$dir/synth" 2>&1 || { cat "$dir/synth"; failed=1; finish; }

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
run() {                                  # octavius with one thread; leaves out, err and rc.  stdin as it is here
    "$B/octavius" "$@" > "$dir/out" 2> "$dir/err"
    rc=$?
}
gen() { run -m "$model" -t 1 -n 4 "$@"; }
code() { [ "$rc" -eq "$1" ]; }
out_has() { grep -qF -- "$1" "$dir/out"; }
err_has() { grep -qF -- "$1" "$dir/err"; }
out_empty() { [ ! -s "$dir/out" ]; }
err_lines() { [ "$(wc -l < "$dir/err")" -eq "$1" ]; }
out_lines() { [ "$(wc -l < "$dir/out")" -eq "$1" ]; }
same() { cmp -s "$1" "$2"; }

# --- help and usage ---------------------------------------------------------------------------
run --help < /dev/null
ok help code 0
ok help_is_grouped out_has 'Examples'
ok help_names_all out_has '--repeat-penalty'
run --version < /dev/null
ok version code 0
ok version_text out_has 'octavius 0.'
run --list-styles < /dev/null
ok list_styles out_has 'vicuna_v1'
run < /dev/null
ok no_model code 2
run --tmep 1 < /dev/null
ok near_miss_code code 2
ok near_miss err_has 'did you mean --temp?'
run --qqqqqqqq < /dev/null
ok no_near_miss err_has 'try --help'
ok one_line err_lines 1
ok nothing_on_stdout out_empty
for bad in '--temp abc' '--temp nan' '--temp -1' '--top-p 2' '-n 1.5' '-c 99999999999' '--seed -1' '--seed x' '-t 1000' '--top-k' '--json=1' \
           '--isa mmx' '--kv f64' '--special' '--prompt-style nonsense' 'stray'; do
    run -m "$model" -p x $bad < /dev/null
    ok "usage: $bad" code 2
done
run -m "$model" -p x --prompt-style nonsense < /dev/null
ok style_listed err_has 'zephyr'

# --- models and pictures that are not there -----------------------------------------------------
run -m "$dir/none.gguf" -p x < /dev/null
ok no_file code 3
ok no_file_named err_has "$dir/none.gguf"
ok no_file_one_line err_lines 1
echo 'not a model' > "$dir/text.gguf"
run -m "$dir/text.gguf" -p x < /dev/null
ok no_gguf code 3
head -c 1000 "$model" > "$dir/short.gguf"
run -m "$dir/short.gguf" -p x < /dev/null
ok cut_gguf code 3
run -m "$model" -p x --image y.png < /dev/null
ok no_image_encoder code 3
ok no_image_encoder_said err_has 'no image encoder'
gen -p x -f "$dir/none.txt" < /dev/null
ok prompt_wins_over_file code 0
run -m "$model" -f "$dir/none.txt" < /dev/null
ok no_prompt_file code 1

# --- the ways to ask ------------------------------------------------------------------------------
gen -p 'hello' < /dev/null
ok prompt code 0
ok quiet_stderr err_lines 0
cp "$dir/out" "$dir/want"
gen '--prompt=hello' < /dev/null
ok prompt_equals same "$dir/out" "$dir/want"
printf 'hello' > "$dir/q.txt"
gen -f "$dir/q.txt" < /dev/null
ok file same "$dir/out" "$dir/want"
printf 'hello\n' | gen
ok pipe same "$dir/out" "$dir/want"
printf 'hello\r\n' | gen -f -
ok file_stdin same "$dir/out" "$dir/want"
run -m "$model" < /dev/null
ok empty_stdin code 2
gen -p 'hello' --no-mmap < /dev/null
ok no_mmap same "$dir/out" "$dir/want"
gen -p 'hello' -t 2 < /dev/null
ok threads same "$dir/out" "$dir/want"
gen -p 'hello' --temp 0 --seed 9 < /dev/null
ok temp_0_is_greedy same "$dir/out" "$dir/want"
gen -p 'hello' -n 12 --temp 2 --seed 1 < /dev/null
cp "$dir/out" "$dir/seed1"
gen -p 'hello' -n 12 --temp 2 --seed 1 < /dev/null
ok seed_repeats same "$dir/out" "$dir/seed1"
gen -p 'hello' -n 12 --temp 2 --seed 2 < /dev/null
ok seed_differs [ "$(cmp -s "$dir/out" "$dir/seed1"; echo $?)" -eq 1 ]
gen -p 'hello' -n 12 --temp 2 --top-k 1 --seed 2 < /dev/null
cp "$dir/out" "$dir/top1"
gen -p 'hello' -n 12 < /dev/null
ok top_1_is_greedy same "$dir/out" "$dir/top1"
for s in raw chatml llama2 llama3 zephyr vicuna_v1 phi2-instruct; do
    gen -p 'hello' --prompt-style $s -sys 'be brief' < /dev/null
    ok "style $s" code 0
done
gen -p 'hello' --stats < /dev/null
ok stats err_has 'tokens/s'
ok stats_seed err_has 'seed '
gen -p 'hello' --kv q8_0 < /dev/null
ok kv code 0
gen -p 'hello' --isa scalar < /dev/null
ok isa code 0

# --- full, and gone -----------------------------------------------------------------------------------
run -m "$model" -t 1 -c 20 -p 'hello' < /dev/null
ok context_full code 6
ok context_full_said err_has 'context'
run -m "$model" -t 1 -c 8 -p 'a much longer question than eight positions can hold' < /dev/null
ok prompt_too_long code 6
ok prompt_too_long_out out_empty
run -m "$model" -t 1 -c 8 --json -p 'a much longer question than eight positions can hold' < /dev/null
ok no_json_without_answer out_empty
("$B/octavius" -m "$model" -t 1 -n 300 -p hello < /dev/null 2> "$dir/err"; echo $? > "$dir/rc") | head -c 10 > "$dir/out"
rc=$(cat "$dir/rc")
ok closed_pipe [ "$rc" -eq 141 ]
ok closed_pipe_quiet err_lines 0
if [ -w /dev/full ]; then
    "$B/octavius" -m "$model" -t 1 -n 4 -p hello < /dev/null > /dev/full 2> "$dir/err"
    rc=$?
    ok full_disk code 1
    ok full_disk_said err_has 'cannot write'
fi

# --- interrupted --------------------------------------------------------------------------------------------
# Starts octavius, sends it a signal once what it writes is longer than $2 bytes, or after a moment where $2 is 0.
signalled() {
    signal=$1 bytes=$2 tries=0
    shift 2
    "$B/octavius" -m "$model" -t 1 -q "$@" < /dev/null > "$dir/out" 2> "$dir/err" &
    pid=$!
    sleep 0.2
    while [ "$bytes" -gt 0 ] && [ "$(wc -c < "$dir/out")" -le "$bytes" ] && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    kill -s "$signal" $pid
    wait $pid
    rc=$?
}
signalled INT 5 -c 200000 -p hello
ok interrupt_answer code 130
ok interrupt_quiet err_lines 0
ok interrupt_ends_line [ "$(tail -c 1 "$dir/out" | wc -l)" -eq 1 ]
signalled INT 0 -c 200000 -p hello --json
ok interrupt_json code 130
ok interrupt_json_stop out_has '"stop":"abort"'
signalled TERM 5 -c 200000 -p hello
ok terminate code 143
i=0
while [ $i -lt 4000 ]; do echo 'a line of a very long question'; i=$((i + 1)); done > "$dir/long.txt"
signalled INT 0 -c 200000 -f "$dir/long.txt"
ok interrupt_prefill code 130
ok interrupt_prefill_out out_empty

# --- JSON -----------------------------------------------------------------------------------------------
gen -p 'say "a\b"' --json --seed 5 < /dev/null
ok json code 0
ok json_one_line out_lines 1
for key in '{"text":"' '","stop":"length"' '"n_prompt":' '"n_generated":4' '"seed":5' '"ms":{"open":' '"prefill":' '"decode":'; do
    ok "json $key" out_has "$key"
done
ok json_ends grep -q '}}$' "$dir/out"
ok json_no_controls [ "$(tr -d '\n' < "$dir/out" | tr -d '\001-\037' | wc -c)" -eq "$(tr -d '\n' < "$dir/out" | wc -c)" ]

# --- batch ------------------------------------------------------------------------------------------------
cat > "$dir/in.jsonl" <<'EOF'
{"id": "a", "prompt": "hello"}
{"prompt": "hello"}
{"id": 7, "prompt": "he\u006clo\n\ud83d\ude00", "system": "be brief", "other": [1, {"x": null}, -1.5e3, true]}
{"id": "bad", "prompt": 5}
{"id": "torn", "prompt": "x"
not json

{"id": "pic", "prompt": "x", "image": ["y.png"]}
{"id": "esc\"\\", "prompt": "x", "image": []}
EOF
gen --batch "$dir/in.jsonl" < /dev/null
ok batch_code code 1
ok batch_lines out_lines 8
ok batch_a out_has '{"id":"a","text":"'
ok batch_index out_has '{"id":1,"text":"'
ok batch_number out_has '{"id":7,"text":"'
ok batch_bad out_has '{"id":"bad","error":"'
ok batch_torn grep -q '^{"id":"\{0,1\}[4t][^,]*,"error":"' "$dir/out"
ok batch_not_json out_has '{"id":5,"error":"'
ok batch_image out_has '{"id":"pic","error":"'
ok batch_escaped out_has '{"id":"esc\"\\","text":"'
sed 's/,"ms".*//' "$dir/out" > "$dir/all"
gen --batch - --shard 0/2 < "$dir/in.jsonl"
sed 's/,"ms".*//' "$dir/out" > "$dir/s0"
gen --batch - --shard 1/2 < "$dir/in.jsonl"
sed 's/,"ms".*//' "$dir/out" > "$dir/s1"
sed 's/,"seed":[0-9]*//' "$dir/s0" "$dir/s1" | sort > "$dir/both"
sed 's/,"seed":[0-9]*//' "$dir/all" | sort > "$dir/one"
ok shards_make_the_whole same "$dir/both" "$dir/one"
for bad in 2/2 -1/2 1 1/0 a/b 1/2x; do
    gen --batch - --shard $bad < /dev/null
    ok "shard $bad" code 2
done
grep '"a"\|"prompt": "hello"' "$dir/in.jsonl" > "$dir/two.jsonl"
gen --batch "$dir/two.jsonl" --resume "$dir/answers" < /dev/null
ok resume_new code 0
ok resume_new_lines [ "$(wc -l < "$dir/answers")" -eq 2 ]
ok resume_stdout_empty out_empty
printf '{"id":"b","error":"earlier"}\n{"id":"c","te' >> "$dir/answers"
printf '{"id":"\\u0061","prompt":"x"}\n{"id":1,"prompt":"x"}\n{"id":"b","prompt":"x"}\n{"id":"c","prompt":"x"}\n' > "$dir/more.jsonl"
gen --batch "$dir/more.jsonl" --resume "$dir/answers" < /dev/null
ok resume code 0
ok resume_lines [ "$(wc -l < "$dir/answers")" -eq 5 ]
ok resume_error_again grep -q '^{"id":"b","text":' "$dir/answers"
ok resume_torn_again grep -q '^{"id":"c","text":' "$dir/answers"
ok resume_no_torn_left [ "$(grep -c '"id":"c"' "$dir/answers")" -eq 1 ]
gen --batch "$dir/more.jsonl" --resume "$dir/answers" < /dev/null
ok resume_all_done [ "$(wc -l < "$dir/answers")" -eq 5 ]
i=0
printf '{"id":"deep","prompt":"x","y":' > "$dir/deep.jsonl"
while [ $i -lt 3000 ]; do printf '[[[[[[[[[['; i=$((i + 1)); done >> "$dir/deep.jsonl"
printf '\n{"id":"ctl","prompt":"a\001b"}\n{"id":"utf","prompt":"\377"}\n{"id":"half","prompt":"\\ud800"}\n{"id":"zero","prompt":"a\\u0000b"}\n' >> "$dir/deep.jsonl"
gen --batch "$dir/deep.jsonl" < /dev/null
ok hostile code 1
ok hostile_deep out_has 'nested'
ok hostile_lines out_lines 5
ok hostile_zero out_has '{"id":"zero","text":"'
gen --batch "$dir/none.jsonl" < /dev/null
ok batch_no_file code 1

# --- the chat, through a pipe ---------------------------------------------------------------------------------
chat() { printf '%s\n' "$@" | "$B/octavius" -m "$model" -t 1 -n 4 -i > "$dir/out" 2> "$dir/err"; rc=$?; }
chat '/help'
ok chat_help err_has '/regen'
ok chat_eof code 0
chat 'hello' '/bye' 'not reached'
ok chat_bye code 0
ok chat_same same "$dir/out" "$dir/want"
chat 'hello' '/context' '/undo' '/context' '/undo'
ok chat_context err_has 'turns: 1'
ok chat_undo err_has '0 of '
ok chat_undo_none err_has 'no turn'
chat 'hello' '/undo' 'hello' '/regen'
cat "$dir/want" "$dir/want" "$dir/want" > "$dir/three"
ok chat_undo_regen same "$dir/out" "$dir/three"
chat 'hello' '/clear' 'hello'
cat "$dir/want" "$dir/want" > "$dir/two"
ok chat_clear same "$dir/out" "$dir/two"
chat '/system Speak.' 'hello' '/stats'
ok chat_system err_has 'chat starts over'
ok chat_stats err_has 'tokens/s'
chat '/set temperature 0.2' '/set' '/set temprature 1' '/set top_k x' '/set seed 3' '/set max_tokens 2' '/set top_p 7'
ok chat_set err_has 'temperature 0.2'
ok chat_set_near err_has 'did you mean temperature?'
ok chat_set_number err_has 'expected a number'
ok chat_set_seed err_has 'seed 3'
ok chat_set_range err_has 'top_p'
chat '/hlep' '/save' '/nothinglikeit' '/image x.png'
ok chat_near err_has 'did you mean /help?'
ok chat_needs_file err_has '/save needs a file'
ok chat_image err_has 'no image encoder'
chat 'one' "/save '$dir/chat'" 'two'
sed 1d "$dir/out" > "$dir/second"
chat "/load $dir/chat" 'two'
ok chat_save_load same "$dir/out" "$dir/second"
chat "/load $dir/none" "/load $dir/text.gguf" 'hello'
ok chat_load_fails err_has "$dir/text.gguf: "
ok chat_goes_on same "$dir/out" "$dir/want"
cp "$dir/q.txt" "$dir/with space.txt"
chat "/read $dir/with\\ space.txt"
ok chat_read_unquotes same "$dir/out" "$dir/want"
chat '"""hel' 'lo"""'
printf 'hel\nlo' | "$B/octavius" -m "$model" -t 1 -n 4 > "$dir/block"
ok chat_block same "$dir/out" "$dir/block"
chat 'a much longer question than so few positions can hold' '/context'
ok chat_survives code 0
printf 'hello\n' | "$B/octavius" -m "$model" -t 1 -n 4 -i --json > "$dir/out" 2> "$dir/err"
ok chat_json out_has '"stop":"length"'

# --- octavius-bench ---------------------------------------------------------------------------------------------
bench() { "$B/octavius-bench" "$@" > "$dir/out" 2> "$dir/err"; rc=$?; }
n='[0-9]+\.[0-9]+'
one="\{\"name\":\"[^\"]+\",\"type\":\"[^\"]+\",\"threads\":1,\"median\":$n,\"min\":$n,\"max\":$n,\"unit\":\"[^\"]+\",\"share\":($n|null)\}"
shape="^\{\"machine\":\{\"fma_gflops\":$n,\"int8_gops\":$n,\"bf16_gflops\":($n|null),\"read_gbs\":$n\},\"runs\":\[$one(,$one)*\]\}\$"
if [ -x "$B/octavius-bench" ]; then
    bench "$model" --json --threads 1 --only code < /dev/null
    ok bench_json code 0
    ok bench_json_one_line out_lines 1
    ok bench_json_shape grep -Eq "$shape" "$dir/out"
    ok bench_json_decode out_has '{"name":"decode 64","type":"F32","threads":1,"median":'
    ok bench_only [ "$(grep -c 'prefill\|attention' "$dir/out")" -eq 0 ]
    ok bench_no_progress err_lines 0
    bench --threads 1 --isa scalar --only 'matmul 1x5632->2048 f32' < /dev/null
    ok bench_table code 0
    ok bench_table_kernels out_has 'kernels scalar'
    ok bench_table_share grep -Eq 'matmul 1x5632->2048 +f32 +1 .* GB/s .* % of read$' "$dir/out"
    printf 'prefill 8\ndecode 4 16\nlimits\nprefill 100000\n' | bench "$model" --serve --threads 1
    ok bench_serve code 0
    ok bench_serve_lines out_lines 5
    ok bench_serve_ready grep -Eq '^ready [a-z0-9_]+ F32 fma$' "$dir/out"
    ok bench_serve_numbers [ "$(grep -Ec '^[0-9]+\.[0-9]+( [0-9]+\.[0-9]+ [0-9]+\.[0-9]+)?$' "$dir/out")" -eq 3 ]
    ok bench_serve_error out_has 'error expected'
    bench "$dir/none.gguf" < /dev/null
    ok bench_no_file code 3
    ok bench_no_file_named err_has "$dir/none.gguf"
    for bad in '--isa mmx' '--threads 0' '--threads' '--what' '--serve' 'a b'; do
        bench $bad < /dev/null
        ok "bench usage: $bad" code 2
    done
else
    echo "skip bench: $B/octavius-bench is not there (make)"
    skipped=$((skipped + 1))
fi

# --- pictures ---------------------------------------------------------------------------------------------------
tower=tests/golden/tower.gguf
"$B/octavius-synth" tiny-moe-llama --type f32 --seed 1 -o "$dir/moe.gguf" > "$dir/synth" 2>&1 || cat "$dir/synth"
see() { run -m "$dir/moe.gguf" --mmproj "$tower" --prompt-style vicuna_v1 -t 1 -n 4 "$@"; }
ppm() {                                  # a file of 24 x 16 pixels that begins with these letters
    { printf 'P6 24 16 255\n%s' "$2"; head -c 1152 tests/golden/tower.gguf; } | head -c 1165 > "$1"
}
ppm "$dir/a.ppm" some
ppm "$dir/b.ppm" other
head -c 900 "$dir/a.ppm" > "$dir/cut.ppm"
see -p hello --image "$dir/a.ppm" --image "$dir/b.ppm" < /dev/null
ok pictures code 0
ok pictures_quiet err_lines 0
cp "$dir/out" "$dir/want"
see -p hello --image "$dir/b.ppm" --image "$dir/a.ppm" --json < /dev/null
ok pictures_json out_has '"n_images_encoded":2,'
ok pictures_ms grep -q '"image":[0-9.]*,"encode":[0-9.]*,"prefill"' "$dir/out"
see -p hello --image "$dir/a.ppm" --image "$dir/a.ppm" --json < /dev/null
ok pictures_once out_has '"n_images_encoded":1,'
see -p hello --json < /dev/null
ok pictures_none [ "$(grep -c 'n_images_encoded\|"encode"' "$dir/out")" -eq 0 ]
see -p hello --image - --image "$dir/b.ppm" < "$dir/a.ppm"
ok picture_stdin same "$dir/out" "$dir/want"
see --image - < "$dir/a.ppm"
ok picture_stdin_no_question code 2
echo hello | see --image "$dir/a.ppm" --image "$dir/b.ppm"
ok picture_question_stdin same "$dir/out" "$dir/want"
see -p hello --image "$dir/a.ppm" --stats < /dev/null
ok picture_stats err_has 'pictures: 1 read in'
for bad in cut.ppm text.gguf none.ppm; do
    see -p hello --image "$dir/a.ppm" --image "$dir/$bad" < /dev/null
    ok "picture_code $bad" code 4
    ok "picture_named $bad" err_has "$dir/$bad"
    ok "picture_one_line $bad" err_lines 1
    ok "picture_no_answer $bad" out_empty
done
run -m "$dir/moe.gguf" -p hello --image "$dir/a.ppm" < /dev/null
ok picture_without_tower code 3
ok picture_without_tower_said err_has '--mmproj'
run -m "$dir/moe.gguf" -p hello --mmproj "$dir/none.gguf" < /dev/null
ok mmproj_missing code 3
run -m "$dir/moe.gguf" -p hello --mmproj "$model" < /dev/null
ok mmproj_other code 3
see -p hello --image "$dir/a.ppm" -c 20 < /dev/null
ok picture_context code 6
printf '{"prompt":"hello","image":["%s","%s"]}\n{"prompt":"hello","image":"%s"}\n{"prompt":"hello","image":["%s"]}\n' \
    "$dir/a.ppm" "$dir/b.ppm" "$dir/a.ppm" "$dir/cut.ppm" > "$dir/pics.jsonl"
printf '{"prompt":"hello","image":[]}\n{"prompt":"hello","image":[7]}\n{"prompt":"hello","image":["x"}\n' >> "$dir/pics.jsonl"
see --batch "$dir/pics.jsonl" < /dev/null
ok batch_pictures code 1
ok batch_pictures_lines out_lines 6
ok batch_pictures_two grep -q '"id":0.*"n_images_encoded":2' "$dir/out"
ok batch_pictures_known grep -q '"id":1.*"n_images_encoded":0' "$dir/out"
ok batch_pictures_bad grep -q '"id":2,"error":".*cut.ppm' "$dir/out"
ok batch_pictures_empty grep -q '"id":3,"text"' "$dir/out"
ok batch_pictures_number grep -q '"id":4,"error":"image must be' "$dir/out"
ok batch_pictures_open grep -q '"id":5,"error"' "$dir/out"
see --batch "$dir/pics.jsonl" --image "$dir/a.ppm" < /dev/null
ok batch_and_image code 2
look() { printf '%s\n' "$@" | "$B/octavius" -m "$dir/moe.gguf" --mmproj "$tower" --prompt-style vicuna_v1 -t 1 -n 4 -i > "$dir/out" 2> "$dir/err"; rc=$?; }
look "/image $dir/none.ppm" "/image '$dir/a.ppm'" "/image $dir/cut.ppm" "/image $dir/b.ppm" 'hello'
ok chat_picture_wrong_path code 0
ok chat_picture_wrong_said err_has "$dir/none.ppm"
ok chat_picture_tokens err_has '(4 tokens; all of them go'
ok chat_pictures same "$dir/out" "$dir/want"
look "/image $dir/a.ppm" "/image $dir/b.ppm" 'hello' '/regen' '/undo' '/context'
cat "$dir/want" "$dir/want" > "$dir/two"
ok chat_picture_regen same "$dir/out" "$dir/two"
ok chat_picture_undo err_has '0 of '
look "/image $dir/a.ppm" '/clear' 'hello' '/undo' "/image $dir/a.ppm" "/image $dir/b.ppm" 'hello'
sed 1d "$dir/out" > "$dir/second"
ok chat_picture_cleared same "$dir/second" "$dir/want"

# --- boxes ------------------------------------------------------------------------------------------------------
# A random model with what boxes are made of in its prompt, and a negative penalty: such tokens come often.
box() {
    run -m "$dir/moe.gguf" --mmproj "$tower" --prompt-style vicuna_v1 -t 1 -n 100 --temp 1 --presence-penalty -5 --repeat-last-n -1 \
        --boxes --image "$dir/a.ppm" "$@" < /dev/null
}
: > "$dir/all"
for seed in 1 2 3 4 5 6 7 8; do
    box -p '[0.12, 0.57, 0.89, 1.0] [0.3]' --seed $seed --json
    [ "$rc" -eq 0 ] && cat "$dir/out" >> "$dir/all"
done
ok boxes_all [ "$(wc -l < "$dir/all")" -eq 8 ]
ok boxes_json [ "$(grep -c ',"boxes":\[.*\],"dropped":\[.*\],"ms":{' "$dir/all")" -eq 8 ]
ok boxes_some grep -Eq '"boxes":\[\{"label":"[^"]*","x1":[0-9.]+,"y1":[0-9.]+,"x2":[0-9.]+,"y2":[0-9.]+\}|"reason":"outside the picture"' "$dir/all"
# whatever was begun was completed, but for the end of the answer
grep -o '"reason":"[^"]*"' "$dir/all" | grep -vF -e 'outside the picture' -e 'the answer ends inside it' > "$dir/broken"
ok boxes_completed [ ! -s "$dir/broken" ]
found=
for seed in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    box -p '[0.12, 0.57, 0.89, 1.0] [0.3]' --seed $seed --boxes-format yolo
    grep -q '^[0-9]' "$dir/out" && found=$seed && break
done
ok yolo_found [ -n "$found" ]
ok yolo [ "$(grep -Evc '^# [0-9]+ |^[0-9]+( [01]\.[0-9]{6}){4}$' "$dir/out")" -eq 0 ]
ok yolo_classes grep -q '^# 0 ' "$dir/out"
box -p '[0.12, 0.57, 0.89, 1.0] [0.3]' --seed "${found:-1}" --boxes-format coco
ok coco grep -Eq '^\{"images":\[\{"id":1,"file_name":".*a\.ppm","width":24,"height":16\}\],"annotations":\[\{"id":1,"image_id":1,"category_id":1,"bbox":\[[0-9.]+,[0-9.]+,[0-9.]+,[0-9.]+\],"area":[0-9.]+,"iscrowd":0\}.*\],"categories":\[\{"id":1,"name":"' "$dir/out"
box -p '[0.12, 0.57, 0.89, 1.0] [0.3]' --seed "${found:-1}" --boxes-format json --draw "$dir/d.png"
ok boxes_format_json grep -q '^{"boxes":\[{"label":' "$dir/out"
ok draw_png [ "$(head -c 4 "$dir/d.png" | tail -c 3)" = PNG ]
see -p hello --image "$dir/d.png" < /dev/null
ok draw_png_is_read code 0
box -p '[0.12, 0.57, 0.89, 1.0] [0.3]' --seed "${found:-1}" --draw "$dir/d.svg" --json
ok draw_svg grep -q '</svg>' "$dir/d.svg"
ok draw_svg_box grep -q '<rect ' "$dir/d.svg"
see --detect --image "$dir/a.ppm" --json --draw "$dir/e.png" < /dev/null
ok detect code 0
ok detect_keys out_has '"boxes":[],"dropped":[]'
cp "$dir/out" "$dir/want"
see -p 'Identify all the objects in the image and provide their positions. Your answer needs to give the object name and the bounding box of the object. The bounding box should be represented as [x1, y1, x2, y2] with floating numbers ranging from 0 to 1. These values correspond to the top left x, top left y, bottom right x, and bottom right y.' \
    --image "$dir/a.ppm" --json < /dev/null
ok detect_question [ "$(sed 's/"seed.*//' "$dir/out")" = "$(sed 's/"seed.*//' "$dir/want")" ]
ok boxes_keys_absent [ "$(grep -c '"boxes"' "$dir/out")" -eq 0 ]
see --detect --image - --draw "$dir/f.png" < "$dir/a.ppm"
ok draw_stdin cmp -s "$dir/e.png" "$dir/f.png"
printf '{"image":["%s"]}\n' "$dir/a.ppm" > "$dir/detect.jsonl"
see --batch "$dir/detect.jsonl" --detect < /dev/null
ok batch_detect out_has '"boxes":['
see --detect --image "$dir/a.ppm" --draw "$dir/none/x.png" < /dev/null
ok draw_nowhere code 1
ok draw_nowhere_named err_has "$dir/none/x.png"
for bad in '--draw x.jpg' '--boxes-format voc' '--boxes-format json --json' "--batch $dir/detect.jsonl --draw x.png" "--batch $dir/detect.jsonl --boxes-format json"; do
    see --image "$dir/a.ppm" -p x $bad < /dev/null
    ok "usage: $bad" code 2
done
see --detect < /dev/null
ok detect_without_picture code 2
see --draw x.png -p x < /dev/null
ok draw_without_picture code 2
look "/image $dir/a.ppm" 'hello' '/boxes' "/draw $dir/g.png" '/draw x.jpg' '/draw'
ok chat_boxes err_has 'the last answer holds no boxes'
ok chat_draw err_has 'ends in .png or .svg'
ok chat_draw_file err_has '/draw needs a file'

if [ -x "$B/describe_image" ]; then
    "$B/describe_image" "$dir/moe.gguf" "$dir/none.ppm" hello "$tower" > "$dir/out" 2> "$dir/err" < /dev/null
    rc=$?
    ok example_no_picture code 1
    ok example_named err_has "$dir/none.ppm"
fi

# --- experts ------------------------------------------------------------------------------------------------------
see -p hello --image "$dir/a.ppm" --experts-out "$dir/ex.json" < /dev/null
ok experts code 0
ok experts_tokens grep -q '"tokens":{"text":[0-9]*,"image":4}' "$dir/ex.json"
ok experts_layers grep -q '"layer":[0-9]*,"chosen":{"text":\[' "$dir/ex.json"
ok experts_paths grep -q '{"experts":\[' "$dir/ex.json"
see -p hello --image "$dir/a.ppm" --experts-out "$dir/ex.svg" < /dev/null
ok experts_svg grep -q '^</svg>' "$dir/ex.svg"
gen -p hello --experts-out "$dir/ex.json" < /dev/null
ok experts_none code 3
see -p hello --experts-out "$dir/none/ex.json" < /dev/null
ok experts_no_folder code 1

# --- adapters -------------------------------------------------------------------------------------------------------------
tell() { run -m tests/golden/llama.gguf --raw -p "the stories" -n 12 -t 1 --temp 0 "$@" < /dev/null; }
tell
cp "$dir/out" "$dir/want"
tell --lora tests/golden/adapter.gguf:3
ok lora code 0
ok lora_acts [ "$(cmp -s "$dir/out" "$dir/want"; echo $?)" -eq 1 ]
tell --lora tests/golden/adapter.gguf:0.0
ok lora_scale_zero same "$dir/out" "$dir/want"
tell --lora tests/golden/adapter.gguf:2 --lora tests/golden/adapter.gguf:-2.0
ok lora_twice same "$dir/out" "$dir/want"
tell --lora "$dir/none.gguf:1"
ok lora_missing code 3
ok lora_missing_named err_has "$dir/none.gguf"
run -m "$dir/moe.gguf" -p hello --lora tests/golden/adapter.gguf < /dev/null
ok lora_other_model code 3
ok lora_other_model_said err_has 'blk.0.attn_q.weight.lora_a'

# --- the gate of LoRA experts, and OCTAVIUS's styles ----------------------------------------------------------------
oct=tests/golden/octavius.gguf
"$B/octavius-synth" tiny-octavius-clip --type f32 --seed 1 -o "$dir/oct-tower.gguf" > "$dir/synth" 2>&1 || cat "$dir/synth"
boat() { run -m "$oct" --mmproj "$dir/oct-tower.gguf" -t 1 -n 6 --temp 0 "$@"; }
ask_boat() { boat --image "$dir/a.ppm" -p 'What colour is the small boat?' "$@" < /dev/null; }
gate_is() { grep -q "\"gate\":\[$1\]" "$dir/out"; }
ask_boat --json
ok gate_json code 0
ok gate_json_four grep -q '"gate":\[[0-9.e-]*,[0-9.e-]*,[0-9.e-]*,[0-9.e-]*\]' "$dir/out"
ok gate_json_encoded out_has '"n_images_encoded":1'
ask_boat
cp "$dir/out" "$dir/auto"
ask_boat --stats
ok gate_stats err_has 'gate of the LoRA experts: '
ok gate_stats_same same "$dir/out" "$dir/auto"
ask_boat --expert-pin 2 --json
ok expert_pin gate_is '0,0,1,0'
ask_boat --expert-pin 2
ok expert_pin_acts [ "$(cmp -s "$dir/out" "$dir/auto"; echo $?)" -eq 1 ]
ask_boat --expert-mute 0,2,3 --json
ok expert_mute gate_is '0,1,0,0'
ask_boat --gate 0.5,0,0,0.25 --json
ok gate_given gate_is '0.5,0,0,0.25'
ask_boat --gate 0,0,1,0
cp "$dir/out" "$dir/given"
ask_boat --expert-pin 2
ok gate_given_is_pinned same "$dir/out" "$dir/given"
for bad in '--expert-pin x' '--expert-pin 1,' '--expert-pin 9' '--expert-mute 0,1,2,3' '--gate 1,2' '--gate 1,2,x,4' '--expert-pin 1.5' \
           '--gate 1,0,0,0 --expert-pin 1' '--expert-mute -1'; do
    ask_boat $bad
    ok "usage: $bad" code 2
done
gen -p hello --expert-pin 1 < /dev/null
ok no_gate code 3
ok no_gate_said err_has 'no LoRA experts'
gen -p hello --keep-gate < /dev/null
ok no_gate_to_keep code 3
for s in bare chef legacy; do
    ask_boat --prompt-style $s --json
    ok "style $s" code 0
    cut -d, -f3 "$dir/out" >> "$dir/lengths"
done
ok styles_differ [ "$(sort -u "$dir/lengths" | wc -l)" -eq 3 ]
boat -p 'What is it?' --json < /dev/null
ok no_picture code 0
boat -p 'What is it?' -n 0 --temp 0 --json < /dev/null
ok files_max_tokens grep -q '"n_generated":[0-9]' "$dir/out"

# the second question: no picture is encoded again, and all is as in a chat that begins with what was said
ship() { { printf '%s\n' "$@"; } | boat -i --json; }
ship "/image $dir/a.ppm" 'What is it?' 'And where?' '/gate'
ok turns code 0
ok turns_lines out_lines 2
ok turns_encode_once [ "$(grep -c '"n_images_encoded":1' "$dir/out")" -eq 1 ]
ok turns_gates [ "$(grep -o '"gate":[^]]*' "$dir/out" | sort -u | wc -l)" -eq 2 ]
tail -1 "$dir/out" | sed 's/,"seed".*"gate"/,"gate"/; s/,"ms".*//' > "$dir/second"
n=$(sed 's/.*"n_prompt":\([0-9]*\).*/\1/' "$dir/second")
ok turns_anew [ "$n" -gt 40 ]
ship "/image $dir/a.ppm" 'What is it?' 'Why?' '/undo' 'And where?' '/regen'
tail -1 "$dir/out" | sed 's/,"seed".*"gate"/,"gate"/; s/,"ms".*//' > "$dir/again"
ok turns_undo same "$dir/again" "$dir/second"
ship "/image $dir/a.ppm" 'What is it?' "/save $dir/ship" 'Why?' "/load $dir/ship" 'And where?'
tail -1 "$dir/out" | sed 's/,"seed".*"gate"/,"gate"/; s/,"ms".*//' > "$dir/again"
ok turns_saved same "$dir/again" "$dir/second"
ship "/image $dir/a.ppm" 'What is it?' 'Why?' '/undo' "/save $dir/ship2" '/clear' "/load $dir/ship2" 'And where?'
tail -1 "$dir/out" | sed 's/,"seed".*"gate"/,"gate"/; s/,"ms".*//' > "$dir/again"
ok turns_undone_and_saved same "$dir/again" "$dir/second"
ship "/image $dir/a.ppm" 'What is it?' '/pin 2' '/regen' '/pin' '/regen' '/gate 1,0' '/mute x' '/gate auto' '/gate'
ok turns_pin [ "$(sed -n 2p "$dir/out" | grep -c '"gate":\[0,0,1,0\]')" -eq 1 ]
ok turns_unpin [ "$(sed 's/.*"gate"/"gate"/; s/,"ms".*//' "$dir/out" | sort -u | wc -l)" -eq 2 ]
ok turns_gate_bad err_has 'gate: 2 weights, expected 4'
ok turns_mute_bad err_has "/mute: 'x'"
printf '/image %s\nWhat is it?\nAnd where?\n' "$dir/a.ppm" | boat -i --json --keep-gate
ok keep_gate code 0
ok keep_gate_said err_has 'later questions go to the experts that the first one chose'
ok keep_gate_keeps [ "$(grep -o '"gate":[^]]*' "$dir/out" | sort -u | wc -l)" -eq 1 ]
ok keep_gate_appends [ "$(tail -1 "$dir/out" | sed 's/.*"n_prompt":\([0-9]*\).*/\1/')" -lt "$n" ]
printf '/gate\n/pin 1\n' | gen -i
ok chat_no_gate err_has 'no LoRA experts'

# --- octavius-inspect: stages ----------------------------------------------------------------------------------------
look_into() { "$B/octavius-inspect" "$@" > "$dir/out" 2> "$dir/err" < /dev/null; rc=$?; }
shape() { head -c 128 "$1" | grep -aqF "'shape': ($2)"; }      # an NPY file, what its header says
if [ -x "$B/octavius-inspect" ]; then
    dump() { rm -rf "$dir/dump"; look_into dump "$dir/moe.gguf" --mmproj "$tower" --prompt-style vicuna_v1 --all -o "$dir/dump" "$@"; }
    dump --image "$dir/a.ppm" --image "$dir/b.ppm" -p hello -n 3
    ok dump code 0
    ok dump_pixels shape "$dir/dump/v.pixels.npy" '6, 16, 16'
    ok dump_patch shape "$dir/dump/v.patch.npy" '8, 16'
    ok dump_rows shape "$dir/dump/mm.out.npy" '8, 64'
    ok dump_router test -f "$dir/dump/blk.0.router.npy"
    ok dump_steps shape "$dir/dump/logits_step.npy" '3, 512'
    dump --image "$dir/a.ppm" --image "$dir/a.ppm"
    ok dump_no_text code 0
    ok dump_twice shape "$dir/dump/mm.out.npy" '8, 64'
    dump --image "$dir/cut.ppm" -p hello
    ok dump_bad_picture code 4
    dump --ids 1,2,3 --image "$dir/a.ppm"
    ok dump_both code 2
    dump --ids 1,2,3 --capacity
    ok dump_no_capacity_rule code 2
    look_into dump "$model" --image "$dir/a.ppm" -p x --all -o "$dir/dump"
    ok dump_no_tower code 3
    rm -rf "$dir/dump"                                       # a tower without a text model
    look_into dump tests/golden/vit-plain.gguf --image "$dir/a.ppm" --all -o "$dir/dump"
    ok dump_tower code 0
    ok dump_tower_head test -s "$dir/dump/v.head.npy"
    ok dump_tower_blocks test -s "$dir/dump/v.blk.1.out.npy"
    look_into dump tests/golden/vit-clip.gguf --image "$dir/a.ppm" --stage mm.out -o "$dir/mm.npy"
    ok dump_tower_stage test -s "$dir/mm.npy"
    look_into dump tests/golden/vit-clip.gguf --image "$dir/a.ppm" --stage logits -o "$dir/logits.npy"
    ok dump_tower_other_stage code 2
    look_into dump tests/golden/vit-clip.gguf -p hello --all -o "$dir/dump"
    ok dump_tower_no_picture code 2
    ok dump_tower_no_picture_said err_has 'expected --image'
    look_into stages "$dir/moe.gguf" --mmproj "$tower"
    ok stages out_has 'v.selected'
    look_into logits tests/golden/llama.gguf --ids 5,6,7 --lora tests/golden/adapter.gguf:0.5 -o "$dir/with.npy"
    ok logits_lora code 0
    look_into dump tests/golden/llama.gguf --ids 5,6,7 --lora tests/golden/adapter.gguf:0.5 --stage logits -o "$dir/without.npy"
    ok dump_lora code 0
    look_into logits tests/golden/llama.gguf --ids 5,6,7 --lora "$dir/none.gguf" -o "$dir/with.npy"
    ok logits_lora_missing code 3
    "$B/octavius-synth" tiny-octavius-2d --type f32 --seed 1 -o "$dir/oct.gguf" > "$dir/synth" 2>&1 || cat "$dir/synth"
    look_into dump "$dir/oct.gguf" --ids 5,6,7 --stage gate -o "$dir/gate.npy"
    ok dump_gate shape "$dir/gate.npy" '1, 4'
    look_into stages "$model"
    ok stages_of_text [ "$(grep -c '^v\.' "$dir/out")" -eq 0 ]
else
    echo "skip inspect: $B/octavius-inspect is not there (make)"
    skipped=$((skipped + 1))
fi

finish
