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
# stop_at LOG WORDS COMMAND...: Ctrl-C once the log holds these words. It ends with 130 and leaves no temporary files in the log's folder; stopped.txt is what it said.
stop_at() {
  local log=$1 words=$2 status=0 running
  shift 2
  set -m  # a job of its own: others do not hear SIGINT
  "$@" >stopped.txt 2>&1 &
  running=$!
  set +m
  for _ in $(seq 100); do
    grep -q "$words" "$log" 2>/dev/null && break
    sleep 0.2
  done
  kill -INT "$running"
  wait "$running" || status=$?
  [[ $status == 130 ]] || fault "Ctrl-C ended with $status: $(cat stopped.txt)"
  [[ -z $(find "${log%/*}" -name '*.part*') ]] || fault "temporary files were left: $(find "${log%/*}" -name '*.part*')"
}
# interrupt WORDS COMMAND... --output stopped: Ctrl-C once the run's log holds these words; it says where the model is saved.
interrupt() {
  stop_at stopped/log.jsonl "$@"
  grep -q "saved in stopped/model.safetensors" stopped.txt || fault "Ctrl-C: $(tail -n 3 stopped.txt)"
}
# interrupt_early COMMAND... --output run --overwrite: Ctrl-C before the new run was judged; the one that it was to replace stays.
interrupt_early() {
  local before
  rm -f run/log.jsonl.new  # of a run that failed
  before=$(cat run/model.safetensors run/log.jsonl | cksum)
  stop_at run/log.jsonl.new '"event":"start"' "$@"
  grep -q "Nothing of this run is kept: .* stays in run" stopped.txt || fault "early Ctrl-C: $(tail -n 3 stopped.txt)"
  [[ $(cat run/model.safetensors run/log.jsonl | cksum) == "$before" && ! -e run/checkpoint.safetensors ]] || fault "an early Ctrl-C replaced a run: $(ls run)"
}
