#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# mpirun -np N cifar10 train: 1, 2, 3 and 4 ranks train the weights of one process, write its log but for times, threads and ranks, and go on from the checkpoint of
# another number of ranks; a lost rank ends the job with a sentence. $HEED_MPIEXEC names mpirun, where the program was built with HEED_MPI=ON.
set -u
program=${HEED_BIN_DIR:?}/cifar10
[[ -x $program && -n ${HEED_MPIEXEC:-} ]] || exit 77
unset CIFAR10_DIR
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/expect.sh"
source "$here/random_pictures.sh"
source "$here/many_ranks.sh"

common=(--batch-size 16 --data part)  # in 4 shards
recipe=(--net article --epochs 3 --seed 3 --average 0.9 "${common[@]}")
endless=(--net article --epochs 100000 --seed 3 --average 0.9 "${common[@]}")

expect 0 "test accuracy" "$program" train "${recipe[@]}" --output whole
for count in 1 2 3 4; do
  for threads in 1 2; do
    expect 0 "test accuracy" ranks "$count" "$program" train "${recipe[@]}" --output shared --overwrite --threads "$threads"
    [[ $(grep -c "trained in" <<<"$output") == 1 ]] || fault "$count ranks speak at once: $output"
    [[ $(same_part whole) == "$(same_part shared)" ]] || fault "$count ranks of $threads threads: $(diff <(same_part whole) <(same_part shared))"
    cmp whole/model.safetensors shared/model.safetensors || fault "$count ranks of $threads threads have another model"
  done
done
expect 0 "test accuracy" "$program" train "${recipe[@]}" --shards 1 --output single
cmp -s whole/model.safetensors single/model.safetensors && fault "--shards changes nothing"

# A rank that is killed: the job ends with a sentence and not with 0, and its last checkpoint goes on, on one rank more and on none.
ranks 2 "$program" train "${endless[@]}" --output lost --checkpoint-every 3 >lost.txt 2>&1 &
for _ in $(seq 300); do grep -q '"event":"epoch"' lost/log.jsonl 2>/dev/null && break; sleep 0.1; done
# kill_rank RANK OPTIONS: that rank of the job with these options. Where there is none the job would never end.
kill_rank() {
  local process found=1
  for process in /proc/[0-9]*; do
    tr '\0' '\n' <"$process/environ" | grep -qx "OMPI_COMM_WORLD_RANK=$1" && tr '\0' ' ' <"$process/cmdline" | grep -q -- "$2 " && kill -KILL "${process#/proc/}" && found=0
  done 2>/dev/null
  if ((found)); then
    fault "there is no rank $1 with $2"
    kill -TERM $!
  fi
}
kill_rank 1 "--output lost"
status=0
wait $! || status=$?
[[ $status != 0 ]] || fault "the job ended with 0 without its rank"
grep -q "rank 0: rank 0 of 2 got no answer from rank 1.*the last good checkpoint is lost/checkpoint.safetensors, --resume goes on from it, on any number of ranks" lost.txt ||
  fault "no sentence about the lost rank: $(cat lost.txt)"
# The one that writes the files: the others end the job, and the checkpoint is whole.
ranks 2 "$program" train "${endless[@]}" --output headless --checkpoint-every 3 >headless.txt 2>&1 &
for _ in $(seq 300); do grep -q '"event":"epoch"' headless/log.jsonl 2>/dev/null && break; sleep 0.1; done
kill_rank 0 "--output headless"
status=0
wait $! || status=$?
[[ $status != 0 ]] || fault "the job ended with 0 without its first rank"
grep -q "rank 1: rank 1 of 2 got no answer from rank 0" headless.txt || fault "no sentence about the lost first rank: $(cat headless.txt)"
# The folder that it chose itself is the others' word, too.
ranks 2 "$program" train "${endless[@]}" --checkpoint-every 4 --threads 1 >chosen.txt 2>&1 &
for _ in $(seq 300); do grep -q '"event":"epoch"' runs/article-1/log.jsonl 2>/dev/null && break; sleep 0.1; done
kill_rank 0 "--checkpoint-every 4"
status=0
wait $! || status=$?
[[ $status != 0 ]] || fault "the job in a folder of its choice ended with 0 without its first rank"
grep -q "rank 1: .*the last good checkpoint is runs/article-1/checkpoint.safetensors" chosen.txt || fault "rank 1 does not know the folder: $(cat chosen.txt)"
"$program" train "${endless[@]}" --output headless --checkpoint-every 3 --resume >headless.txt 2>&1 &
for _ in $(seq 100); do grep -q "resumed at step" headless.txt && break; sleep 0.1; done
kill -KILL $!
wait $! 2>/dev/null
grep -q "resumed at step" headless.txt || fault "not resumed after the first rank's loss: $(cat headless.txt)"

step=$(grep -o '"epoch":[0-9]*' lost/log.jsonl | tail -n 1 | cut -d: -f2)
[[ $step -ge 1 ]] || fault "no epoch before the loss"
cp -r lost alone
for where in lost alone never; do  # on three ranks, on none, and a run that never stopped
  launch=() resume=(--resume)
  if [[ $where == lost ]]; then launch=("$HEED_MPIEXEC" -np 3); fi
  if [[ $where == never ]]; then resume=(); fi
  "${launch[@]}" "$program" train "${endless[@]}" --output "$where" --checkpoint-every 3 "${resume[@]}" >"$where.txt" 2>&1 &
  for _ in $(seq 300); do [[ $(grep -c '"event":"epoch"' "$where/log.jsonl" 2>/dev/null) -ge $((step + 3)) ]] && break; sleep 0.1; done
  kill -TERM $!
  wait $!
  [[ $where == never ]] || grep -q "resumed at step" "$where.txt" || fault "not resumed: $(cat "$where.txt")"
done
same_epochs() { same_part "$1" | grep '"event":"epoch"' | head -n $((step + 3)); }
for where in lost alone; do
  [[ -n $(same_epochs never) && $(same_epochs never) == "$(same_epochs "$where")" ]] || fault "$where went on otherwise than a run that never stopped: $(diff <(same_epochs never) <(same_epochs "$where"))"
done

# Asked for an end, all stop after the same step; mpirun leaves them a second for it, within which a checkpoint is written.
# (Its output goes past mpirun, which takes none from then on, and so would hold up a run that prints a hundred lines a second.)
"$HEED_MPIEXEC" -np 2 bash -c 'exec "$0" "$@" >"stopped.$OMPI_COMM_WORLD_RANK.txt"' "$program" train "${endless[@]}" --output stopped --checkpoint-every 100000 >/dev/null 2>&1 &
for _ in $(seq 300); do grep -q '"event":"epoch"' stopped/log.jsonl 2>/dev/null && break; sleep 0.1; done
kill -TERM $!  # a shell's background jobs do not hear SIGINT
wait $!
grep -q '"event":"interrupted"' stopped/log.jsonl || fault "not stopped in time: $(tail -n 3 stopped.0.txt)"
step=$(grep -o '"step":[0-9]*' stopped/log.jsonl | cut -d: -f2)
"$program" train "${endless[@]}" --output stopped --checkpoint-every 100000 --resume >resumed.txt 2>&1 &
for _ in $(seq 100); do grep -q "resumed at step" resumed.txt && break; sleep 0.1; done
kill -KILL $!
wait $! 2>/dev/null
[[ $(resumed_at resumed.txt) == "$step" ]] || fault "stopped at step $step of all, then $(cat resumed.txt)"

# A training that runs away ends in one sentence, which the log has.
wild=(--net article --epochs 4 --seed 3 "${common[@]}" --optimizer sgd --learning-rate 1e14)
expect 2 "the last good checkpoint is wild/checkpoint.safetensors" ranks 2 "$program" train "${wild[@]}" --output wild --checkpoint-every 1 --anomaly
[[ $(grep -c "cifar10: rank" <<<"$output") == 1 ]] || fault "the ranks say more than a sentence: $output"
grep -q '"event":"failed"' wild/log.jsonl || fault "the log does not say how the ranks ended: $(cat wild/log.jsonl)"

# What cannot be gets one sentence, exit code 2, and loses nothing.
expect 2 "rank 0: --shards 1: expected at least one for each of the 2 ranks" ranks 2 "$program" train --net article "${common[@]}" --shards 1 --output none
expect 2 "rank 0: whole: the folder holds a run" ranks 2 "$program" train "${recipe[@]}" --output whole
expect 2 "shards was 4, now it is 2" ranks 2 "$program" train "${endless[@]}" --shards 2 --output alone --resume
lowest=("$program" train "${recipe[@]}" --output mixed)
other=scalar
if [[ ${HEED_ISA:-} == scalar ]]; then other=baseline; fi
expect 2 "the ranks use other instruction sets, this one" "$HEED_MPIEXEC" -np 1 "${lowest[@]}" : -np 1 -x HEED_ISA="$other" "${lowest[@]}"
# Ranks that see other folders, with checkpoints of other steps.
before=$(cat stopped/* alone/* | cksum)
expect 2 "the ranks would begin with different weights or at different steps, this one at step" "$HEED_MPIEXEC" \
  -np 1 "$program" train "${endless[@]}" --output stopped --resume : -np 1 "$program" train "${endless[@]}" --output alone --resume
[[ $(cat stopped/* alone/* | cksum) == "$before" ]] || fault "ranks that do not fit changed a run"
cp -r part other
printf '\x01' | dd of=other/data_batch_3.bin bs=1 conv=notrunc status=none  # the first label was 0
expect 2 "the ranks read other data, this one" "$HEED_MPIEXEC" -np 1 "${lowest[@]}" : -np 1 "${lowest[@]/part/other}"
[[ ! -e mixed ]] || fault "a refused run left a folder"
exit $((failures > 0))
