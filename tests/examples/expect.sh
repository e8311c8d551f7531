# SPDX-License-Identifier: MIT
# For tests of a program from the outside: a folder of its own to be in, and `expect`. The test ends with: exit $((failures > 0))
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failures=0

fault() {
  echo "FAULT: $1"
  failures=$((failures + 1))
}
# expect CODE TEXT COMMAND...: the exit code, and words that the output must hold.
expect() {
  local code=$1 words=$2 status=0
  shift 2
  output=$("$@" 2>&1) || status=$?
  [[ $status == "$code" ]] || fault "$* ended with $status, expected $code: $output"
  [[ $output == *"$words"* ]] || fault "$* did not say '$words' but: $output"
}
