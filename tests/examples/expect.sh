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
# interrupt WORDS COMMAND... --output stopped: Ctrl-C once the run's log holds these words. It ends with 130, says where the model is saved, and leaves no other file behind.
interrupt() {
  local words=$1 status=0 running
  shift
  set -m  # a job of its own: others do not hear SIGINT
  "$@" >stopped.txt 2>&1 &
  running=$!
  set +m
  for _ in $(seq 100); do
    grep -q "$words" stopped/log.jsonl 2>/dev/null && break
    sleep 0.2
  done
  kill -INT "$running"
  wait "$running" || status=$?
  [[ $status == 130 ]] || fault "Ctrl-C ended with $status: $(cat stopped.txt)"
  grep -q "saved in stopped/model.safetensors" stopped.txt || fault "Ctrl-C: $(tail -n 3 stopped.txt)"
  [[ -z $(find stopped -name '*.part*') ]] || fault "temporary files were left: $(find stopped -name '*.part*')"
}
