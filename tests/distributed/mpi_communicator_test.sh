#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Parts of all sizes between 1 to 5 ranks of MPI, and a rank that says nothing.
set -u
program=${HEED_BIN_DIR:?}/heed_mpi_communicator
[[ -x $program && -n ${HEED_MPIEXEC:-} ]] || exit 77
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../examples/expect.sh"
source "$here/../examples/many_ranks.sh"
expect 0 "" "$program"
for count in 1 2 3 5; do expect 0 "$count ranks: all bytes came" ranks "$count" "$program"; done
expect 2 "got no answer from rank 1 and has waited for 0.3 seconds" ranks 3 "$program" silent
expect 2 "an exchange has failed before" ranks 3 "$program" silent
exit $((failures > 0))
