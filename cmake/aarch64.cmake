# SPDX-License-Identifier: MIT
# Toolchain: programs for 64-bit ARM from a machine that is none, run by qemu (Debian, Ubuntu: g++-aarch64-linux-gnu, qemu-user).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)  # -L: where the loader and the libraries lie
