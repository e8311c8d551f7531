#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# cifar10 and the same nets in PyTorch, by what PyTorch said once. (tests/run --full asks PyTorch itself: examples/pytorch/compare.py.)
program=${HEED_BIN_DIR:?}/cifar10
[[ -x $program ]] && command -v python3 >/dev/null || exit 77
PYTHONDONTWRITEBYTECODE=1 exec python3 "${HEED_SOURCE_DIR:?}/tests/examples/pytorch/check.py" "$program"
