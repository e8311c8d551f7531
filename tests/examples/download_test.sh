#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# examples/cifar10/download against a file server on this machine: a good archive, a wrong one, a missing one, one that breaks off, no
# server, an interruption. Each failure says a sentence, has its exit code, and leaves nothing behind.
set -euo pipefail
set -m  # jobs of their own, so that SIGINT reaches them
download=$(cd "$(dirname "$0")/../.." && pwd)/examples/cifar10/download
for tool in curl python3; do command -v $tool >/dev/null || { echo "no $tool: skipped"; exit 77; }; done
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY

folder=$(mktemp -d)
server=
trap '[[ -z $server ]] || { kill "$server"; wait "$server"; } 2>/dev/null || true; rm -rf "$folder"' EXIT

mkdir -p "$folder/pack/cifar-10-batches-bin" "$folder/other/cifar-10-batches-bin"
for file in data_batch_{1..5}.bin test_batch.bin batches.meta.txt; do head -c 30000 /dev/urandom >"$folder/pack/cifar-10-batches-bin/$file"; done
tar -czf "$folder/good.tar.gz" -C "$folder/pack" cifar-10-batches-bin
cp "$folder/pack/cifar-10-batches-bin/test_batch.bin" "$folder/other/cifar-10-batches-bin/"
tar -czf "$folder/other.tar.gz" -C "$folder/other" cifar-10-batches-bin

# /x is file x; /half/x ends in the middle of it; /slow/x stops in the middle and waits. Ends by itself after five minutes.
python3 - "$folder" <<'PYTHON' &
import http.server, pathlib, sys, threading, time
folder = pathlib.Path(sys.argv[1])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        kind, _, name = self.path[1:].rpartition("/")
        file = folder / name
        if not file.is_file():
            return self.send_error(404)
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content if not kind else content[: len(content) // 2])
        self.wfile.flush()
        if kind == "slow":
            time.sleep(60)
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Timer(300, server.shutdown).start()
(folder / "port.new").write_text(str(server.server_address[1]))
(folder / "port.new").rename(folder / "port")
server.serve_forever()
PYTHON
server=$!
for _ in $(seq 100); do [[ -f $folder/port ]] && break; sleep 0.1; done
site=http://127.0.0.1:$(cat "$folder/port")
checksum() { sha256sum "$1" | cut -d' ' -f1; }

failures=0
check() {  # check NAME CONDITION...
  local name=$1
  shift
  if "$@"; then echo "ok: $name"; else echo "FAILED: $name"; failures=$((failures + 1)); fi
}
nothing_left() { [[ ! -e $folder/data ]]; }
# fetch URL SHA: runs the script for the folder data/; its words in $said, its exit code in $code
fetch() {
  code=0
  HEED_CIFAR10_URL=$1 HEED_CIFAR10_SHA256=$2 "$download" "$folder/data" >"$folder/said" 2>&1 </dev/null || code=$?
  said=$(cat "$folder/said")
}
says() { [[ $said == *"$1"* ]] || { echo "  it said: $said"; false; }; }
ended() { [[ $code == "$1" ]] || { echo "  exit code $code: $said"; false; }; }
good=$(checksum "$folder/good.tar.gz")

fetch "$site/other.tar.gz" "$good"
check "wrong archive: exit code" ended 1
check "wrong archive: sentence" says "not the official one"
check "wrong archive: both checksums" says "expected $good"
check "wrong archive: nothing left" nothing_left

fetch "$site/other.tar.gz" "$(checksum "$folder/other.tar.gz")"
check "incomplete archive: exit code" ended 1
check "incomplete archive: sentence" says "does not hold cifar-10-batches-bin/data_batch_1.bin"
check "incomplete archive: nothing left" nothing_left

fetch "$site/missing.tar.gz" "$good"
check "missing: exit code" ended 3
check "missing: sentence" says "does not hand out $site/missing.tar.gz"
check "missing: nothing left" nothing_left

fetch "$site/half/good.tar.gz" "$good"
check "broken off: exit code" ended 1
check "broken off: sentence" says "broke off after"
check "broken off: nothing left" nothing_left

fetch "http://127.0.0.1:1/good.tar.gz" "$good"
check "no server: exit code" ended 3
check "no server: sentence" says "cannot be reached"
check "no server: nothing left" nothing_left

for signal in INT TERM; do
  HEED_CIFAR10_URL=$site/slow/good.tar.gz HEED_CIFAR10_SHA256=$good "$download" "$folder/data" >"$folder/said" 2>&1 </dev/null &
  job=$!
  for _ in $(seq 100); do compgen -G "$folder/data/.download.*/archive" >/dev/null && break; sleep 0.1; done
  check "SIG$signal: it was at work" test -d "$folder/data"
  started=$SECONDS
  kill -$signal $job
  code=0
  wait $job || code=$?
  said=$(cat "$folder/said")
  check "SIG$signal: exit code" ended 130
  check "SIG$signal: at once" test $((SECONDS - started)) -lt 10
  check "SIG$signal: sentence" says "interrupted"
  check "SIG$signal: nothing left" nothing_left
done

mkdir "$folder/data" && touch "$folder/data/mine"
fetch "$site/other.tar.gz" "$good"
check "a folder that was there stays, with its files" test "$(ls -A "$folder/data")" = mine

fetch "$site/good.tar.gz" "$good"
check "good: exit code" ended 0
check "good: sentence" says "is ready"
check "good: the files" diff -r "$folder/pack/cifar-10-batches-bin" "$folder/data/cifar-10-batches-bin"
check "good: nothing else" test "$(cd "$folder/data" && echo .[!.]* *)" = ".[!.]* cifar-10-batches-bin mine"

fetch "$site/missing.tar.gz" "$good"
check "again: nothing to do" ended 0
check "again: sentence" says "is there already"

rm "$folder/data/cifar-10-batches-bin/data_batch_3.bin"
fetch "$site/good.tar.gz" "$good"
check "a broken folder: exit code" ended 1
check "a broken folder: sentence" says "data_batch_3.bin is not in it"

touch "$folder/file"
code=0
said=$(HEED_CIFAR10_URL=$site/good.tar.gz HEED_CIFAR10_SHA256=$good "$download" "$folder/file/data" 2>&1 </dev/null) || code=$?
check "a folder that cannot be made: exit code" ended 1
check "a folder that cannot be made: sentence" says "cannot be made"

if ((failures > 0)); then echo "$failures failures"; exit 1; fi
echo "all downloads ended as they should"
