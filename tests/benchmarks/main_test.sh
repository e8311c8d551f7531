#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What heed_benchmarks says when there is nothing to time.
set -u
program=${HEED_BIN_DIR:?}/heed_benchmarks
[[ -x $program ]] || exit 77
source "$(dirname "${BASH_SOURCE[0]}")/../examples/expect.sh"

mkdir folder
echo "# nothing yet" >empty.txt
echo "peak fma" >one.txt
expect 2 "nothing was timed: no name fits --benchmark_filter" "$program" --benchmark_filter=no_such_name
expect 2 "nothing was timed: empty.txt holds no shape, or no name fits" "$program" --heed_shapes=empty.txt
expect 2 "folder: expected a file of shapes, found a folder" "$program" --heed_shapes=folder
expect 2 "none.txt: the file cannot be read" "$program" --heed_shapes=none.txt
expect 0 "" "$program" --heed_shapes=empty.txt --benchmark_list_tests
expect 0 "peak/fma" "$program" --heed_shapes=one.txt --benchmark_list_tests
expect 0 "peak/fma" "$program" --heed_shapes=one.txt --benchmark_min_time=0.001
exit $((failures > 0))
