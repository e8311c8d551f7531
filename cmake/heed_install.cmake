# SPDX-License-Identifier: MIT
# `cmake --install` and the package that find_package(heed) reads. The options are applied when the package is found, not when it is
# installed: the installed target knows its headers, C++20 and Eigen.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_DATADIR}/cmake/heed")

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/heed" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.hpp")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/heed")
install(TARGETS heed EXPORT heed-targets INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT heed-targets NAMESPACE heed:: DESTINATION "${package_dir}")

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/heed-config.cmake.in" "${PROJECT_BINARY_DIR}/heed-config.cmake"
  INSTALL_DESTINATION "${package_dir}" NO_SET_AND_CHECK_MACRO)
set(compatible SameMajorVersion)
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(compatible SameMinorVersion)  # docs/CONTRIBUTING.md, "Versions and releases"
endif()
write_basic_package_version_file("${PROJECT_BINARY_DIR}/heed-config-version.cmake" COMPATIBILITY ${compatible} ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/heed-config.cmake" "${PROJECT_BINARY_DIR}/heed-config-version.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/heed_options.cmake" "${PROJECT_SOURCE_DIR}/cmake/heed_compiled.cmake" DESTINATION "${package_dir}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/cmake/compiled" DESTINATION "${package_dir}")

# pkg-config --cflags heed: headers, and those of Eigen. Like the package it may be moved as a whole.
set(heed_pc_prefix "${CMAKE_INSTALL_PREFIX}")
set(heed_pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}" AND NOT IS_ABSOLUTE "${CMAKE_INSTALL_DATADIR}")
  file(RELATIVE_PATH heed_pc_prefix "/prefix/${CMAKE_INSTALL_DATADIR}/pkgconfig" "/prefix")
  string(PREPEND heed_pc_prefix "\${pcfiledir}/")
endif()
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  string(PREPEND heed_pc_includedir "\${prefix}/")
endif()
configure_file("${PROJECT_SOURCE_DIR}/cmake/heed.pc.in" "${PROJECT_BINARY_DIR}/heed.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/heed.pc" DESTINATION "${CMAKE_INSTALL_DATADIR}/pkgconfig")
