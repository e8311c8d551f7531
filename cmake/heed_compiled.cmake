# SPDX-License-Identifier: MIT
# heed::compiled is heed::heed with its kernels for float and double compiled once, into a static library, instead of in each file that uses them. Built when
# something links it. The installed package carries this file and the sources too, so the library is built with the flags of the program that finds heed.
function(heed_add_compiled heed)
  if(TARGET heed_compiled)  # another folder of the project has found heed, too
    return()
  endif()
  set(folder "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/compiled")
  add_library(heed_compiled STATIC EXCLUDE_FROM_ALL "${folder}/float.cpp" "${folder}/double.cpp")
  add_library(heed::compiled ALIAS heed_compiled)
  set_target_properties(heed_compiled PROPERTIES POSITION_INDEPENDENT_CODE ON  # shared libraries link it, too
    UNITY_BUILD OFF)  # its two files define the same kernels for two types
  target_link_libraries(heed_compiled PUBLIC ${heed})
  target_compile_definitions(heed_compiled PUBLIC HEED_COMPILED)
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    target_compile_options(heed_compiled PRIVATE -ffunction-sections)  # a program linked with --gc-sections keeps the kernels that it uses
  endif()
endfunction()
