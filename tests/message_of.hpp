// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <heed/core/error.hpp>

/// What the error that `call` throws says; "no error" if none comes. An exception of another kind goes on its way.
template <class Error = heed::FileError, class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}
