# Installs the libraries, their headers, the program, and the package that find_package(LeapVerify) reads.
include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/LeapVerify")

foreach(layer kernels regimes runtime)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/${layer}"
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/leapverify"
    FILES_MATCHING PATTERN "*.h")
endforeach()

get_property(libraries GLOBAL PROPERTY LEAPVERIFY_LIBRARIES)
install(TARGETS ${libraries} EXPORT LeapVerifyTargets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT LeapVerifyTargets NAMESPACE leapverify:: DESTINATION "${package_dir}")
if(TARGET leapverify_program)
  install(TARGETS leapverify_program RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/LeapVerifyConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/LeapVerifyConfig.cmake"
  INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/LeapVerifyConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/LeapVerifyConfig.cmake"
  "${PROJECT_BINARY_DIR}/LeapVerifyConfigVersion.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/LeapVerifyCudaPaths.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/LeapVerifyTorchAbi.cmake"
  DESTINATION "${package_dir}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
