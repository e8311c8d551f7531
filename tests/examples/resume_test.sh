#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A run of cifar10 that is killed at random moments, also while it writes, and goes on each time ends as one that never stopped: the same weights and, but for
# times, threads and back end, the same log. $HEED_KILLS says how often (3; tests/run --full: 20). And what --resume says when it cannot.
set -u
program=${HEED_BIN_DIR:?}/cifar10
[[ -x $program ]] || exit 77
unset CIFAR10_DIR
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/expect.sh"

source "$here/random_pictures.sh"

common=(--batch-size 16 --data part)
recipe=(--net article --epochs 4 --seed 3 --average 0.9 --cutout 6 "${common[@]}")
endless=(--net article --epochs 100000 --seed 3 "${common[@]}")

expect 0 "test accuracy" "$program" train "${recipe[@]}" --output whole
[[ ! -e whole/checkpoint.safetensors ]] || fault "a checkpoint that nobody asked for"
expect 0 "test accuracy" "$program" train "${recipe[@]}" --output kept --checkpoint-every 3
[[ $(same_part whole) == "$(same_part kept)" ]] || fault "checkpoints change a run: $(diff <(same_part whole) <(same_part kept))"
[[ ! -e kept/checkpoint.safetensors ]] || fault "a finished run keeps its checkpoint"

# Killed as often as $HEED_KILLS says: a run that comes to its end before that is held against the whole one, and the next begins. Every other kill comes at a random
# moment, the ones between as soon as a half-written file is seen; where that still lies there afterwards, the kill fell into the writing.
wanted=${HEED_KILLS:-3} kills=0 torn=0
ended_as_whole() {
  [[ $(same_part whole) == "$(same_part killed)" ]] || fault "a killed run is another one: $(diff <(same_part whole) <(same_part killed))"
  cmp whole/model.safetensors killed/model.safetensors || fault "a killed run has another model"
  [[ -z $(find killed -name '*.part-*') ]] || fault "the killed run left $(find killed -name '*.part-*')"
}
backends=(openmp std_thread serial)
for round in $(seq $((10 * wanted))); do
  ((kills < wanted)) || break
  resume=()
  if [[ -e killed/checkpoint.safetensors ]]; then resume=(--resume); else rm -rf killed; fi
  : >said.txt
  "$program" train "${recipe[@]}" --output killed --checkpoint-every $((round % 4 < 2 ? 1 : 3)) "${resume[@]}" --threads $(((round + 1) % 3 + 1)) \
    --backend "${backends[round % 3]}" >said.txt 2>&1 &
  for _ in $(seq 200); do
    if ((${#resume[@]})); then grep -q "resumed at step" said.txt && break; else [[ -e killed/checkpoint.safetensors ]] && break; fi
    sleep 0.02
  done
  if ((round % 2)); then
    for _ in $(seq 20000); do compgen -G 'killed/*.part-*' >/dev/null && break; done
  else
    sleep "0.$((RANDOM % 2))$((RANDOM % 10))$((RANDOM % 10))"
  fi
  kill -KILL $! 2>/dev/null
  status=0
  wait $! 2>/dev/null || status=$?
  if [[ $status == 137 && -e killed/checkpoint.safetensors ]]; then
    kills=$((kills + 1))
    [[ -z $(find killed -name '*.part-*') ]] || torn=$((torn + 1))
  elif [[ $status == 0 ]]; then
    ended_as_whole
  elif [[ $status != 137 ]]; then
    fault "a run that was resumed ended with $status: $(cat said.txt)"
  fi
done
echo "killed $kills times, $torn of them within the writing of a file"
((kills == wanted)) || fault "killed $kills times, not $wanted"
((wanted < 20 || torn > 0)) || fault "none of $wanted kills fell into the writing of a file"
if [[ -e killed/checkpoint.safetensors ]]; then
  expect 0 "resumed at step" "$program" train "${recipe[@]}" --output killed --resume
fi
ended_as_whole

# Ctrl-C writes a checkpoint, too.
set -m  # a job of its own: others do not hear SIGINT
"$program" train "${endless[@]}" --output stopped --checkpoint-every 100000 >stopped.txt 2>&1 &
set +m
for _ in $(seq 100); do grep -q '"event":"epoch"' stopped/log.jsonl 2>/dev/null && break; sleep 0.1; done
kill -INT $!
status=0
wait $! || status=$?
[[ $status == 130 ]] || fault "Ctrl-C ended with $status: $(cat stopped.txt)"
steps=$(grep -o '"step":[0-9]*' stopped/log.jsonl | cut -d: -f2)
"$program" train "${endless[@]}" --output stopped --checkpoint-every 100000 --resume >resumed.txt 2>&1 &
for _ in $(seq 100); do grep -q "resumed at step" resumed.txt && break; sleep 0.1; done
kill -KILL $!
wait $! 2>/dev/null
[[ $(resumed_at resumed.txt) == "$steps" ]] || fault "stopped at step $steps of all, then $(cat resumed.txt)"

# Also where the finished model is judged, by more pictures than a moment is enough for (with the sanitizers they take a minute): nothing is trained again.
cp -r part many
for _ in $(seq 12); do cat part/test_batch.bin; done >many/test_batch.bin
last=(--net article --epochs 1 --batch-size 16 --data many --threads 1)
expect 0 "test accuracy" "$program" train "${last[@]}" --output judged_whole
stop_at judged_stopped/log.jsonl '"event":"epoch"' "$program" train "${last[@]}" --output judged_stopped --checkpoint-every 100000
grep -q "Stopped while the finished model was judged" stopped.txt || fault "Ctrl-C while the finished model is judged: $(cat stopped.txt)"
expect 0 "resumed at step 0 of epoch 2" "$program" train "${last[@]}" --output judged_stopped --resume
[[ $(same_part judged_whole) == "$(same_part judged_stopped)" ]] || fault "stopped while judged: $(diff <(same_part judged_whole) <(same_part judged_stopped))"

# What is wrong gets a sentence, exit code 2, and loses nothing.
cp -r stopped held
before=$(cat held/* | cksum)
expect 2 "there is no checkpoint" "$program" train "${recipe[@]}" --output whole --resume
expect 2 "there is no checkpoint" "$program" train "${recipe[@]}" --output nowhere --resume
expect 2 "--output" "$program" train "${recipe[@]}" --resume
expect 2 "--resume" "$program" train "${recipe[@]}" --output held --resume --overwrite
expect 2 "another recipe: epochs was 100000, now it is 4" "$program" train "${recipe[@]}" --output held --resume
expect 2 "seed was 3, now it is 4" "$program" train --net article --epochs 100000 --seed 4 "${common[@]}" --output held --resume
expect 2 "net was \"article\", now it is \"demo\"" "$program" train --net demo --epochs 100000 --seed 3 "${common[@]}" --output held --resume
expect 2 "training images was 160, now it is 150" "$program" train "${endless[@]}" --validation 10 --output held --resume
cp -r part mended
printf '\x01' | dd of=mended/data_batch_3.bin bs=1 conv=notrunc status=none  # the first label was 0
expect 2 "fingerprint of the images was" "$program" train "${endless[@]/part/mended}" --output held --resume
cp -r part judged  # by other pictures, and under other names
printf '\x01' | dd of=judged/test_batch.bin bs=1 conv=notrunc status=none
expect 2 "fingerprint of the judging images was" "$program" train "${endless[@]/part/judged}" --output held --resume
cp part/test_batch.bin judged/ && sed -i 's/^ship$/boat/' judged/batches.meta.txt
expect 2 "class names was" "$program" train "${endless[@]/part/judged}" --output held --resume
isa_of() { grep -o '"isa":"[a-z0-9]*"' "$1/log.jsonl" | cut -d: -f2; }
other=scalar
if [[ ${HEED_ISA:-} == scalar ]]; then other=baseline; fi
expect 0 "test accuracy" env HEED_ISA=$other "$program" train --net article --epochs 1 --seed 3 "${common[@]}" --output other
[[ -n $(isa_of held) ]] || fault "the log does not say the instruction set: $(head -n 1 held/log.jsonl)"
if [[ $(isa_of other) != "$(isa_of held)" ]]; then  # else the program was built for one
  expect 2 "instruction set (HEED_ISA) was $(isa_of held), now it is $(isa_of other)" env HEED_ISA=$other "$program" train "${endless[@]}" --output held --resume
fi
expect 2 "holds a run" "$program" train "${recipe[@]}" --output held
[[ $(cat held/* | cksum) == "$before" ]] || fault "a refused run changed something"
{ head -c -1 stopped/checkpoint.safetensors; printf '\xbf'; } >held/checkpoint.safetensors  # another number, and a finite one
expect 2 "checkpoint.safetensors: the checkpoint is damaged" "$program" train "${endless[@]}" --output held --resume
head -c 3000 stopped/checkpoint.safetensors >cut && mv cut held/checkpoint.safetensors
expect 2 "checkpoint.safetensors: at offset" "$program" train "${endless[@]}" --output held --resume
# One of another build goes on, and says that its bits are others. (A checkpoint without a fingerprint is taken as it is.)
cp -r stopped foreign
LC_ALL=C sed -i 's/"checkpoint_fingerprint"/"checkpoint_fingerprinz"/; s/, compiler [^,"]/, compiler ?/' foreign/checkpoint.safetensors
"$program" train "${endless[@]}" --output foreign --resume >foreign.txt 2>&1 &
for _ in $(seq 100); do grep -q "resumed at step" foreign.txt && break; sleep 0.1; done
kill -KILL $!
wait $! 2>/dev/null
grep -q "was written by another program (heed .*, compiler ?.*; this is heed .*): the run goes on, but not with the bits that it would have had" foreign.txt ||
  fault "another build's checkpoint: $(cat foreign.txt)"
grep -q "another program" resumed.txt && fault "the same program takes itself for another: $(cat resumed.txt)"
cp whole/model.safetensors held/checkpoint.safetensors
expect 2 "was it written by cifar10 train" "$program" train "${endless[@]}" --output held --resume
cp stopped/checkpoint.safetensors held/ && : >held/log.jsonl
expect 2 "the log is not that of the checkpoint" "$program" train "${endless[@]}" --output held --resume

# A loss that runs away: the step, the last good checkpoint, and with --anomaly the layer.
wild=(--net article --epochs 4 --seed 3 "${common[@]}" --optimizer sgd --learning-rate 1e14)
expect 2 "the last good checkpoint is wild/checkpoint.safetensors" "$program" train "${wild[@]}" --output wild --checkpoint-every 1
[[ $output == *"; steps made: "* && $output == *"--anomaly finds"* ]] || fault "no step or no word of --anomaly: $output"
grep -q '"event":"failed"' wild/log.jsonl || fault "the log does not say how it ended: $(cat wild/log.jsonl)"
expect 2 "the last good checkpoint is wild/checkpoint.safetensors" "$program" train "${wild[@]}" --output wild --resume --anomaly
[[ $output =~ cifar10:\ [a-z0-9]+\.[a-z0-9]+:\ (forward|backward)\ gives && $output == *", at step "* && $output != *"--anomaly finds"* ]] || fault "no layer or no step: $output"
expect 2 "there is no checkpoint to go back to" "$program" train "${wild[@]}" --output wild2

# A full disk ends the run with a sentence; the checkpoint before it can be read. Files that may not grow so long stand for it, and where that is allowed a file
# system of memory that has room for one checkpoint, and not for the next one beside it.
mkdir full && cp stopped/* full/
before=$(cksum <full/checkpoint.safetensors)
expect 2 "checkpoint.safetensors: cannot" bash -c 'trap "" XFSZ; ulimit -f 100; exec "$@"' limited \
  "$program" train "${endless[@]}" --output full --checkpoint-every 1 --resume
[[ $(cksum <full/checkpoint.safetensors) == "$before" ]] || fault "a full disk cost the checkpoint"
[[ -z $(find full -name '*.part-*') ]] || fault "a full disk left $(find full -name '*.part-*')"
small_disk() {  # KIBIBYTES COMMAND...: runs it with a file system of that size in the folder disk
  unshare --map-root-user --mount bash -c 'mount -t tmpfs -o "size=$1k" none disk && shift && exec "$@"' small "$@"
}
mkdir disk
if small_disk 100 true 2>/dev/null; then
  room=$(($(du --total --apparent-size -k stopped/* | tail -n 1 | cut -f1) + 200))
  expect 2 "checkpoint.safetensors: cannot write: No space left" small_disk "$room" bash -c \
    'cp stopped/* disk/ || exit; status=0; "$@" || status=$?; cp disk/* full/; exit "$status"' filled "$program" train "${endless[@]}" --output disk --checkpoint-every 1 --resume
  [[ $(cksum <full/checkpoint.safetensors) == "$before" ]] || fault "a file system without room cost the checkpoint"
  [[ -z $(find full -name '*.part-*') ]] || fault "a file system without room left $(find full -name '*.part-*')"
else
  echo "no file system of memory may be mounted here: a full disk is tried by files that may not grow alone"
fi

# A folder that may not be written to: root may write everywhere, and becomes somebody else.
somebody=()
if [[ $(id -u) == 0 ]]; then somebody=(setpriv --reuid 65534 --regid 65534 --clear-groups); fi
chmod a+rx "$folder" && chmod -R a+rX full part && chmod a-w full
if "${somebody[@]}" test -r full/checkpoint.safetensors -a -x "$program" && ! "${somebody[@]}" test -w full; then
  expect 2 "cannot create a temporary file" "${somebody[@]}" "$program" train "${endless[@]}" --output full --checkpoint-every 1 --resume
  [[ $(cksum <full/checkpoint.safetensors) == "$before" ]] || fault "a read-only folder cost the checkpoint"
else
  echo "nobody here may read a folder and not write to it: the case of a read-only folder is left out"
fi
chmod u+w full

# A run that takes the place of another keeps that one's checkpoint until it has a model that was judged.
cp -r stopped replaced
expect 2 "--batch-size" "$program" train --net article --epochs 4 --seed 3 --data part --batch-size 100000 --output replaced --overwrite --checkpoint-every 2
[[ $(cksum <replaced/checkpoint.safetensors) == "$before" ]] || fault "a refused run took a checkpoint"
expect 0 "test accuracy" "$program" train "${recipe[@]}" --output replaced --overwrite --checkpoint-every 2
[[ $(same_part whole) == "$(same_part replaced)" ]] || fault "an overwritten run is another one: $(diff <(same_part whole) <(same_part replaced))"

# A study that is killed within a run goes on with it, and the run ends as one that never stopped.
arm=(--net article --attention none --epochs 40 "${common[@]}")
"$program" study "${arm[@]}" --seeds 1 --output study >study.txt 2>&1 &
for _ in $(seq 200); do grep -q '"epoch":2' study/article-none-0/log.jsonl 2>/dev/null && break; sleep 0.05; done
kill -KILL $!
wait $! 2>/dev/null
grep -q '"event":"result"' study/article-none-0/log.jsonl && fault "the study ended before it was killed"
expect 0 "resumed at step" "$program" study "${arm[@]}" --seeds 1 --output study
expect 0 "test accuracy" "$program" train "${arm[@]}" --seed 0 --output alone
[[ $(same_part alone) == "$(same_part study/article-none-0)" ]] || fault "a run of a killed study is another one: $(diff <(same_part alone) <(same_part study/article-none-0))"
cmp alone/model.safetensors study/article-none-0/model.safetensors || fault "a run of a killed study has another model"
exit $((failures > 0))
