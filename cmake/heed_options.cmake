# SPDX-License-Identifier: MIT
# How heed runs its loops. The installed package carries this file too, so that a program that finds heed chooses for itself:
#   HEED_OPENMP           AUTO (OpenMP when the compiler has it), ON (or stop), OFF
#   HEED_THREADS_BACKEND  without OpenMP: SERIAL, or STD for std::thread
#   HEED_SIMD             OFF: plain loops instead of compiler vectors
#   HEED_ONE_ISA          ON: kernels for one instruction set, that of the compiler's flags (-march)
cmake_policy(SET CMP0077 NEW)  # what a parent project has set() counts, for option()
if(POLICY CMP0126)
  cmake_policy(SET CMP0126 NEW)  # and for set(... CACHE ...)
endif()
set(HEED_OPENMP AUTO CACHE STRING "OpenMP: AUTO (when found), ON (required) or OFF")
set(HEED_THREADS_BACKEND SERIAL CACHE STRING "Loops without OpenMP: SERIAL or STD (std::thread)")
set_property(CACHE HEED_OPENMP PROPERTY STRINGS AUTO ON OFF)
set_property(CACHE HEED_THREADS_BACKEND PROPERTY STRINGS SERIAL STD)
option(HEED_SIMD "Compiler vectors with a choice of the instruction set at run time" ON)
option(HEED_ONE_ISA "Kernels for the one instruction set of the compiler's flags, without a choice at run time" OFF)

# Gives `target` the definitions and link libraries of the chosen options; HEED_LOOPS says in words what was chosen.
# A macro, because find_package must make its targets known to the caller.
macro(heed_apply_options target)
  if(NOT HEED_THREADS_BACKEND MATCHES "^(SERIAL|STD)$")
    message(FATAL_ERROR "HEED_THREADS_BACKEND is ${HEED_THREADS_BACKEND}; it must be SERIAL or STD")
  endif()
  if(HEED_OPENMP STREQUAL "AUTO")
    find_package(OpenMP QUIET COMPONENTS CXX)
  elseif(HEED_OPENMP)
    find_package(OpenMP QUIET COMPONENTS CXX)
    if(NOT OpenMP_CXX_FOUND)
      message(FATAL_ERROR "HEED_OPENMP is ON, but ${CMAKE_CXX_COMPILER} has no OpenMP (clang on Debian: install libomp-dev). "
        "AUTO goes on without it, OFF never looks for it")
    endif()
  endif()

  if(HEED_OPENMP AND TARGET OpenMP::OpenMP_CXX)
    set(HEED_LOOPS "on OpenMP")
    target_link_libraries(${target} INTERFACE $<BUILD_INTERFACE:OpenMP::OpenMP_CXX>)
  elseif(HEED_THREADS_BACKEND STREQUAL "STD")
    set(HEED_LOOPS "on std::thread")
    find_package(Threads QUIET REQUIRED)
    target_link_libraries(${target} INTERFACE $<BUILD_INTERFACE:Threads::Threads>)
    target_compile_definitions(${target} INTERFACE $<BUILD_INTERFACE:HEED_PARALLEL_STD_THREAD>)
  else()
    set(HEED_LOOPS "serial")
    target_compile_definitions(${target} INTERFACE $<BUILD_INTERFACE:HEED_PARALLEL_SERIAL>)
  endif()
  if(NOT HEED_SIMD)
    target_compile_definitions(${target} INTERFACE $<BUILD_INTERFACE:HEED_NO_SIMD>)
  endif()
  if(HEED_ONE_ISA)
    target_compile_definitions(${target} INTERFACE $<BUILD_INTERFACE:HEED_ONE_ISA>)
  endif()
endmacro()
