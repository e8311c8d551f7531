// SPDX-License-Identifier: MIT
#define HEED_COMPILED_DOUBLE extern
#include <heed/compiled.hpp>
