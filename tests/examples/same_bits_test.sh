#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Each of the example's nets has the same weights after an epoch with any number of threads, on each back end. $HEED_EVERY_COUNT=1 (tests/run --full): with 1, 2,
# 3, 4, 7 and 16 threads on both that have threads; else a choice of them.
set -u
program=${HEED_BIN_DIR:?}/cifar10
[[ -x $program ]] || exit 77
unset CIFAR10_DIR
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/expect.sh"
source "$here/random_pictures.sh"

hash_of() { tail -n 1 "$1/log.jsonl" 2>/dev/null | grep -o '"weights_hash":"[0-9a-f]*"'; }
compared=0
for net in article demo small large; do
  ways="std_thread:2"
  if [[ $net == demo ]]; then ways="openmp:3 std_thread:2 serial:1"; fi
  if [[ ${HEED_EVERY_COUNT:-} == 1 ]]; then ways="serial:1 $(printf '%s ' {openmp,std_thread}:{1,2,3,4,7,16})"; fi
  expect 0 "test accuracy" "$program" train --net "$net" --epochs 1 --batch-size 40 --data part --output "$net" --threads 1
  for way in $ways; do
    rm -rf other
    output=$("$program" train --net "$net" --epochs 1 --batch-size 40 --data part --output other --backend "${way%:*}" --threads "${way#*:}" 2>&1) ||
      [[ $output == *"was built without"* ]] || fault "$net on $way: $output"
    if [[ $output == *"was built without"* ]]; then continue; fi
    [[ -n $(hash_of other) && $(hash_of "$net") == "$(hash_of other)" ]] || fault "$net on $way: $(hash_of "$net") and $(hash_of other): $output"
    compared=$((compared + 1))
  done
done
echo "$compared trainings compared"
((compared > 0)) || fault "nothing was compared"
exit $((failures > 0))
