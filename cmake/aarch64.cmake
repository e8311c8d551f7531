# SPDX-License-Identifier: MIT
# Toolchain: programs for 64-bit ARM from a machine that is none, run by qemu (Debian, Ubuntu: g++-aarch64-linux-gnu, qemu-user).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
find_program(HEED_AARCH64_COMPILER NAMES aarch64-linux-gnu-g++-12 aarch64-linux-gnu-g++)  # Ubuntu 22.04's own is 11
set(CMAKE_CXX_COMPILER "${HEED_AARCH64_COMPILER}")
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)  # -L: where the loader and the libraries lie
