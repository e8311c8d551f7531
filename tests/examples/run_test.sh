#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# examples/cifar10/run in a small repository of its own, whose program tells what it was called with: subcommands, where the data come from,
# exit codes, a repository that is moved.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
for tool in cmake curl sha256sum; do command -v $tool >/dev/null || { echo "no $tool: skipped"; exit 77; }; done
unset CIFAR10_DIR http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY
export HEED_SKIP_INSTALL=1

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
repository="$folder/a repository"
mkdir -p "$repository/examples/cifar10" "$repository/cmake" "$folder/elsewhere"
cp "$root/examples/cifar10/run" "$root/examples/cifar10/download" "$repository/examples/cifar10/"
cp "$root/cmake/install_packages" "$root/cmake/compiler" "$repository/cmake/"
cat >"$repository/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.20)
project(stand_in LANGUAGES CXX)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
add_executable(cifar10 program.cpp)
CMAKE
cat >"$repository/program.cpp" <<'CPP'
#include <cstdio>
#include <cstdlib>
#include <filesystem>
int main(int count, char** words) {
  std::printf("called:");
  for (int i = 1; i < count; ++i) std::printf("[%s]", words[i]);
  const char* data = std::getenv("CIFAR10_DIR");
  std::printf(" data=%s in=%s\n", data ? data : "none", std::filesystem::current_path().filename().string().c_str());
  return 7;
}
CPP

# The archive comes from a file: URL, so no server is needed.
mkdir -p "$folder/pack/cifar-10-batches-bin"
for file in data_batch_{1..5}.bin test_batch.bin; do echo "$file" >"$folder/pack/cifar-10-batches-bin/$file"; done
tar -czf "$folder/good.tar.gz" -C "$folder/pack" cifar-10-batches-bin
good=$(sha256sum "$folder/good.tar.gz")
good=${good%% *}
nowhere=http://127.0.0.1:1/archive

failures=0
# expect CODE WORDS URL ARGUMENTS...: the program says WORDS, or the script does
expect() {
  local code=0 wanted=$1 words=$2 url=$3 said
  shift 3
  said=$(cd "$folder/elsewhere" && HEED_CIFAR10_URL=$url HEED_CIFAR10_SHA256=${sha:-$good} "$repository/examples/cifar10/run" "$@" 2>&1 </dev/null) || code=$?
  if [[ $code == "$wanted" && $said == *"$words"* ]]; then
    echo "ok: run $*: $words"
  else
    echo "FAILED: run $*: exit code $code (not $wanted), '$words' is not in: $said"
    failures=$((failures + 1))
  fi
}

expect 7 "called:[train] data=none in=elsewhere" $nowhere
expect 7 "going on without the real pictures" $nowhere train
expect 7 "called:[train][--net][small][--output][my run] data=none" $nowhere --net small --output "my run"
expect 7 "called:[train][--data][/some/where] data=none" $nowhere --data /some/where
cp -r "$folder/pack" "$folder/elsewhere/data"  # data in the current folder: no download
expect 7 "called:[train] data=$folder/elsewhere/data/cifar-10-batches-bin in=elsewhere" $nowhere
rm -r "$folder/elsewhere/data"
expect 7 "called:[--help] data=none" $nowhere --help
expect 7 "called:[predict][model][a picture.png] data=none" $nowhere predict model "a picture.png"
expect 7 "called:[report][runs/demo-1] data=none" $nowhere report runs/demo-1
expect 7 "called:[export][steps] data=none" $nowhere export steps
expect 7 "called:[study][--output][compared] data=none" $nowhere study --output compared
sha=0000 expect 2 "not the official one" "file://$folder/good.tar.gz" study
sha=0000 expect 2 "not the official one" "file://$folder/good.tar.gz" train
[[ ! -e $repository/data ]] || { echo "FAILED: a failed download left data/ behind"; failures=$((failures + 1)); }
CIFAR10_DIR=/mine expect 7 "called:[evaluate][model] data=/mine" $nowhere evaluate model
expect 7 "called:[train] data=$repository/data/cifar-10-batches-bin in=elsewhere" "file://$folder/good.tar.gz"
expect 7 "called:[evaluate][model] data=$repository/data/cifar-10-batches-bin" $nowhere evaluate model
expect 7 "called:[predict][model] data=none" $nowhere predict model

mv "$repository" "$folder/moved"
repository=$folder/moved
expect 7 "data=$folder/moved/data/cifar-10-batches-bin" $nowhere

echo "error" >>"$repository/program.cpp"
expect 1 "could not be built" $nowhere

if ((failures > 0)); then echo "$failures failures"; exit 1; fi
