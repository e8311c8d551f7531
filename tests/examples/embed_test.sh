#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The program embed: small, right on frames that it has not learnt, and it opens nothing.
set -euo pipefail
program=${HEED_BIN_DIR:?}/embed
[[ -x $program ]] || exit 77
made=${HEED_MADE_DIR:-$HEED_BIN_DIR/../examples/embed}  # by embed_train, with the weights
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"$program" <"$made/frames.rgb" >answers.txt
[[ $(wc -l <answers.txt) == 500 ]] || { echo "500 frames, but $(wc -l <answers.txt) answers"; exit 1; }
right=$(paste <(cut -d' ' -f1 answers.txt) "$made/labels.txt" | awk '$1 == $2 { ++n } END { print n + 0 }')
echo "$right of 500 right"
((right >= 425)) || { echo "expected at least 425"; exit 1; }  # 462 when it was written; chance gives 50
awk '{ if (!($2 > 0.1 && $2 <= 1)) exit 1 }' answers.txt || { echo "a confidence is not between 0.1 and 1"; exit 1; }
status=0
head -c 4000 "$made/frames.rgb" | "$program" >cut.txt || status=$?
[[ $status == 1 && $(cat cut.txt) == "$(head -n 1 answers.txt)" ]] || { echo "a frame and a piece of one: $status, $(cat cut.txt)"; exit 1; }
status=0
"$program" <"$folder" >cut.txt || status=$?
[[ $status == 1 ]] || { echo "what cannot be read ends with $status"; exit 1; }
if [[ -w /dev/full ]]; then
  status=0
  "$program" <"$made/frames.rgb" >/dev/full || status=$?
  [[ $status == 1 ]] || { echo "a full disk ends with $status"; exit 1; }
fi
# Whoever sends the next frame after the answer to the last gets one.
coproc "$program"
pid=$COPROC_PID
for i in 1 2 3; do
  dd if="$made/frames.rgb" bs=3072 skip=$((i - 1)) count=1 status=none >&"${COPROC[1]}"
  read -r -t 60 answer <&"${COPROC[0]}" || { echo "no answer to frame $i"; exit 1; }
  [[ $answer == "$(sed -n "${i}p" answers.txt)" ]] || { echo "frame $i: $answer"; exit 1; }
done
eval "exec ${COPROC[1]}>&-"
wait "$pid"

if [[ $(uname -sm) == "Linux x86_64" ]] && command -v strip >/dev/null && ! nm "$program" | grep __asan_init >/dev/null; then  # all of it is read: with -q nm would fail
  strip -o stripped "$program"
  weights=$(($(grep -vc '^//' "$made/weights.inc") * 4)) size=$(wc -c <stripped)
  echo "$size bytes, $weights of them weights"
  ((size - weights < 400000)) || { echo "expected less than 400000 beside the weights"; exit 1; }
fi
if command -v strace >/dev/null; then
  # The leak sanitizer cannot look at a program that is looked at already.
  ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 strace -f -e trace=openat,open -o calls.txt "$program" <"$made/frames.rgb" >/dev/null
  ! grep -vE '\.so|ld\.so\.cache|/proc/|/sys/|exited' calls.txt || { echo "it opens files"; exit 1; }
fi
