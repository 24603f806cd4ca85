# cmake -P: installs the build in BUILD below WORK, then configures, builds and runs the project in CONSUMER there.
file(REMOVE_RECURSE "${WORK}")

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${WORK}/installed")
run("${CMAKE_COMMAND}" -G Ninja -S "${CONSUMER}" -B "${WORK}/build"
  "-DCMAKE_PREFIX_PATH=${WORK}/installed\;${TORCH}"
  "-DWRAPPING_EXAMPLE=${EXAMPLE}"
  "-DCMAKE_CUDA_COMPILER=${CUDA_COMPILER}"
  "-DCUDA_TOOLKIT_ROOT_DIR=${CUDA_ROOT}"
  -DTORCH_CUDA_ARCH_LIST=9.0
  "-DCMAKE_BUILD_TYPE=${BUILD_TYPE}"
  "-DCMAKE_CXX_FLAGS=${CXX_FLAGS}"
  "-DCMAKE_EXE_LINKER_FLAGS=${LINK_FLAGS}")
run("${CMAKE_COMMAND}" --build "${WORK}/build")
run("${WORK}/build/kernels_consumer")
run("${WORK}/build/runtime_consumer")
