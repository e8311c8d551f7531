// SPDX-License-Identifier: MIT
#define HEED_COMPILED_FLOAT extern
#include <heed/compiled.hpp>
