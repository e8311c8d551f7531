#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The judge judged: wrong numbers fail, unknown operators are not passed, folders and files that are none are errors.
set -u
program="$HEED_BIN_DIR/heed_conformance"
cases="$HEED_SOURCE_DIR/tests/conformance/torch-open"
[ -x "$program" ] || exit 77
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
faults=0

# expect CODE LAST-LINE FOLDER...: exit code and last line of standard output.
expect() {
  local code="$1" last="$2" output status
  shift 2
  output=$("$program" "$@" 2>"$scratch/stderr")
  status=$?
  if [ "$status" != "$code" ] || [ "$(tail -n 1 <<<"$output")" != "$last" ]; then
    echo "heed_conformance $*: expected exit code $code and '$last', found $status and:"
    printf '%s\n' "$output"
    cat "$scratch/stderr"
    faults=1
  fi
}
# folder NAME CASE: a new folder with that one case in a folder of its own.
folder() { mkdir -p "$scratch/$1/deep" && cp "$cases/$2.safetensors" "$scratch/$1/deep/case.safetensors" && chmod u+w "$scratch/$1/deep/case.safetensors"; }
# in_place NAME SCRIPT: changes bytes of that case without changing their number.
in_place() { LC_ALL=C sed -i "$2" "$scratch/$1/deep/case.safetensors"; }

folder good linear_2d
expect 0 "1 passed, 0 failed, 0 unsupported" "$scratch/good"
expect 0 "2 passed, 0 failed, 0 unsupported" "$scratch/good" --verbose "$scratch/good"

# The input and its gradient change places: other numbers, which must not pass.
folder swapped linear_2d
in_place swapped '1s/\[0,280\]/[PLACE]/; 1s/\[592,872\]/[0,280]/; 1s/\[PLACE\]/[592,872]/'
expect 1 "0 passed, 1 failed, 0 unsupported" "$scratch/swapped"
expect 1 "1 passed, 1 failed, 0 unsupported" "$scratch/good" "$scratch/swapped"

# An operator that nobody knows, and one whose name is that of another.
folder unknown linear_2d
in_place unknown '1s/"op":"linear"/"op":"linexr"/'
expect 0 "0 passed, 0 failed, 1 unsupported" "$scratch/unknown"
folder other silu
in_place other '1s/"op":"silu"/"op":"relu"/'
expect 1 "0 passed, 1 failed, 0 unsupported" "$scratch/other"

# A parameter that the library has and the file has not.
folder missing linear_2d
in_place missing '1s/"param.bias"/"param.bia2"/'
expect 1 "0 passed, 1 failed, 0 unsupported" "$scratch/missing"

# No cases, no folder, cut files, files of another kind, wrong arguments.
mkdir "$scratch/empty"
expect 2 "" "$scratch/empty"
expect 2 "" "$scratch/good" "$scratch/absent"
folder cut linear_2d
head -c 2000 "$cases/linear_2d.safetensors" >"$scratch/cut/deep/case.safetensors"
expect 2 "" "$scratch/cut"
folder kind linear_2d
in_place kind '1s/"op":"linear"/"po":"linear"/'
expect 2 "" "$scratch/kind"
expect 2 ""
expect 2 "" --loud "$scratch/good"

exit $faults
