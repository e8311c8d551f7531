#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The program text from the outside: it learns a small text, writes the same with the cache of keys and values as without, and says what is wrong.
set -u
program=${HEED_BIN_DIR:?}/text
[[ -x $program ]] || exit 77
source "$(dirname "${BASH_SOURCE[0]}")/expect.sh"

# --- a run ---------------------------------------------------------------------------------------------------------------------------
mkdir -p notes/deep
for i in $(seq 60); do echo "Wer $i mal 7 rechnet, erhält $((i * 7)); das ist schön."; done >notes/deep/tafel.txt
echo "Ein Ende." >notes/ende.md
echo "never read" >notes/program.cpp
small=(--layers 2 --features 16 --heads 4 --kv-heads 2 --context 24 --batch-size 4)
expect 0 "held-out loss" "$program" train --data notes "${small[@]}" --steps 60 --seed 3 --output run
[[ $output == *"2 files"* && $output == *"step    60/60"* ]] || fault "what is learned is not told: $output"
[[ $(grep -c '"event":"report"' run/log.jsonl) == 4 ]] || fault "log: $(cat run/log.jsonl)"
tail -n 1 run/log.jsonl | grep -q '"event":"result"' || fault "result: $(tail -n 1 run/log.jsonl)"
hash_of() { tail -n 1 "$1/log.jsonl" | grep -o '"weights_hash":"[0-9a-f]*"'; }
expect 0 "" "$program" train --data notes/deep/tafel.txt notes/ende.md "${small[@]}" --steps 60 --seed 3 --threads 1 --output again
[[ $(hash_of run) == "$(hash_of again)" ]] || fault "one seed, two models: $(hash_of run) and $(hash_of again)"
expect 0 "" "$program" train --data notes "${small[@]}" --steps 60 --seed 4 --output other
[[ $(hash_of run) != "$(hash_of other)" ]] || fault "another seed gives the same model"
# It has learned something: less than the log of the number of characters, some 3.5.
awk -F'"loss":' '/"event":"report"/ { split($2, part, ","); last = part[1] } END { exit !(last < 3) }' run/log.jsonl || fault "nothing learned: $(cat run/log.jsonl)"

# --- writing: the cache changes nothing but the speed --------------------------------------------------------------------------------------
# 100 characters go beyond the context of 24 several times.
for options in "--temperature 0" "--seed 1" "--seed 2 --temperature 1.5" "--prompt Wer --seed 5" "--prompt Wer:1:mal:7:rechnet,:erhält:7;:das:ist:schön. --length 40"; do
  read -ra words <<<"--length 100 $options"
  words=("${words[@]//:/ }")
  [[ ${words[0]} == --length && $options == *--length* ]] && words=("${words[@]:2}")
  "$program" generate run/model.safetensors "${words[@]}" >cached.txt 2>speed.txt || fault "generate $options: $(cat speed.txt)"
  "$program" generate run/model.safetensors "${words[@]}" --no-cache --threads 1 >plain.txt 2>/dev/null || fault "generate --no-cache $options"
  cmp -s cached.txt plain.txt || fault "$options: with the cache $(cat cached.txt), without $(cat plain.txt)"
  grep -q "characters/s with the cache" speed.txt || fault "no speed: $(cat speed.txt)"
done
[[ $(head -c 3 plain.txt) == Wer ]] || fault "the prompt is missing: $(cat plain.txt)"
"$program" generate run/model.safetensors --length 100 --seed 7 >one.txt 2>/dev/null
"$program" generate run/model.safetensors --length 100 --seed 8 >two.txt 2>/dev/null
cmp -s one.txt two.txt && fault "two seeds write one text"
characters=$(LC_ALL=C tr -d '\200-\277' <one.txt | wc -c)  # in every locale: bytes that begin a character
[[ $characters == 102 ]] || fault "a prompt of one character, 100 written, and a new line are $characters characters"

# --- what is wrong gets a sentence, exit code 2, and changes nothing -----------------------------------------------------------------
before=$(cat run/* | cksum)
listed=$(find . | sort)
expect 2 "holds a run" "$program" train --data notes "${small[@]}" --output run
expect 2 "no such file or folder" "$program" train --data nowhere --output fresh
expect 2 "--steps" "$program" train --data notes --steps 0 --output fresh
expect 2 "must be a multiple of twice --heads" "$program" train --data notes --features 30 --heads 4 --output fresh
expect 2 "must be a multiple of --kv-heads" "$program" train --data notes --heads 4 --kv-heads 3 --output fresh
expect 2 "it needs more than" "$program" train --data notes/ende.md --output fresh
expect 2 "text" "$program"
expect 2 "missing.safetensors" "$program" generate missing.safetensors
expect 2 "does not know the character 'Q'" "$program" generate run/model.safetensors --prompt Quer
expect 2 "--prompt is empty" "$program" generate run/model.safetensors --prompt ""
expect 2 "from 0" "$program" generate run/model.safetensors --temperature -1
expect 0 "heed" "$program" --version
[[ $(find . | sort) == "$listed" ]] || fault "files came or went: $(diff <(echo "$listed") <(find . | sort))"
[[ $(cat run/* | cksum) == "$before" ]] || fault "files were changed"

mkdir latin empty
printf 'sch\366n\n' >latin/one.txt
expect 2 "expected text in UTF-8" "$program" train --data latin --output fresh
expect 2 "holds no .md and no .txt files" "$program" train --data empty --output fresh
head -c 5000 run/model.safetensors >cut.safetensors
expect 2 "cut.safetensors: at offset" "$program" generate cut.safetensors
sed 's/"features":"16"/"features":"32"/' run/model.safetensors >wide.safetensors
expect 2 "of another model" "$program" generate wide.safetensors
sed 's/"heads":"4"/"heads":"0"/' run/model.safetensors >none.safetensors
expect 2 "\"heads\"" "$program" generate none.safetensors
sed 's/heed-text/heed-cake/' run/model.safetensors >cake.safetensors
expect 2 "heed-cake" "$program" generate cake.safetensors
[[ ! -e fresh ]] || fault "a run that was refused left a folder"
before=$(cksum <run/model.safetensors)
expect 2 "a smaller --learning-rate may help" "$program" train --data notes "${small[@]}" --steps 1 --learning-rate 1e14 --output run --overwrite
[[ $(cksum <run/model.safetensors) == "$before" ]] || fault "weights that are no numbers took the place of good ones"

# --overwrite replaces.
expect 0 "" "$program" train --data notes "${small[@]}" --steps 8 --output run --overwrite
grep -q '"steps":8' run/log.jsonl || fault "the old log was kept: $(cat run/log.jsonl)"

# --- Ctrl-C ----------------------------------------------------------------------------------------------------------------------------
interrupt_early "$program" train --data notes "${small[@]}" --steps 100000000 --output run --overwrite
interrupt '"event":"start"' "$program" train --data notes "${small[@]}" --steps 100000000 --output stopped
expect 0 "characters/s" "$program" generate stopped/model.safetensors --length 3
[[ -z $(find . -name '*.part*') ]] || fault "temporary files were left: $(find . -name '*.part*')"

[[ $failures == 0 ]] && echo "text: all well"
exit $((failures > 0))
