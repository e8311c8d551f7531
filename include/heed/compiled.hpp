// SPDX-License-Identifier: MIT
#pragma once

/// The kernels that files with HEED_COMPILED defined do not compile themselves. Include it in one file of the program, before any other header of heed. To
/// compile them in two files side by side, define HEED_COMPILED_DOUBLE as `extern` in one, HEED_COMPILED_FLOAT in the other.
#if defined(HEED_COMPILE_ONCE)
#error \
    "heed: <heed/compiled.hpp> must be the first header of heed in its file, but another one was included before it. Move it up, or into a file of its own."
#endif
#if !defined(HEED_COMPILED)
#define HEED_COMPILED
#endif
#if !defined(HEED_COMPILED_FLOAT)
#define HEED_COMPILED_FLOAT
#endif
#if !defined(HEED_COMPILED_DOUBLE)
#define HEED_COMPILED_DOUBLE
#endif

#include <heed/heed.hpp>
