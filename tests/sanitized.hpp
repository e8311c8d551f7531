// SPDX-License-Identifier: MIT
#pragma once

// HEED_TEST_SANITIZED: 1 where a sanitizer brings allocation functions of its own and wants more addresses than a limit leaves, else 0.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEED_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HEED_TEST_SANITIZED 1
#endif
#endif
#ifndef HEED_TEST_SANITIZED
#define HEED_TEST_SANITIZED 0
#endif
