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
[[ -z $(head -c 3000 "$made/frames.rgb" | "$program") ]] || { echo "it answers to a piece of a frame"; exit 1; }

if [[ $(uname -sm) == "Linux x86_64" ]] && command -v strip >/dev/null && ! nm "$program" | grep -q __asan_init; then
  strip -o stripped "$program"
  weights=$(($(grep -vc '^//' "$made/weights.inc") * 4)) size=$(wc -c <stripped)
  echo "$size bytes, $weights of them weights"
  ((size - weights < 400000)) || { echo "expected less than 400000 beside the weights"; exit 1; }
fi
if command -v strace >/dev/null; then
  strace -f -e trace=openat,open -o calls.txt "$program" <"$made/frames.rgb" >/dev/null
  ! grep -vE '\.so|ld\.so\.cache|/proc/|/sys/|exited' calls.txt || { echo "it opens files"; exit 1; }
fi
