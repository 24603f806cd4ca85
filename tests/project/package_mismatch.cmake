# cmake -P: installs the build in BUILD and finds it with a torch or CUDA of other versions: each must be refused with
# both values, and the ones LeapVerify was built with must be accepted.
file(REMOVE_RECURSE "${WORK}")
execute_process(
  COMMAND "${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${WORK}/installed"
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)

# Writes a torch package and find modules that only state what they are, then configures against them.
function(find_with torch_version torch_abi cuda_major)
  set(stand_ins "${WORK}/stand-ins")
  file(REMOVE_RECURSE "${stand_ins}" "${WORK}/build")
  file(WRITE "${stand_ins}/lib/cmake/Torch/TorchConfig.cmake" "
set(TORCH_INSTALL_PREFIX \"${stand_ins}\")
set(TORCH_CXX_FLAGS -D_GLIBCXX_USE_CXX11_ABI=${torch_abi})
set(Torch_FOUND TRUE)
add_library(torch INTERFACE IMPORTED)
")
  file(WRITE "${stand_ins}/lib/cmake/Torch/TorchConfigVersion.cmake" "
set(PACKAGE_VERSION ${torch_version})
set(PACKAGE_VERSION_COMPATIBLE TRUE)
")
  file(WRITE "${stand_ins}/FindCUDAToolkit.cmake" "
set(CUDAToolkit_FOUND TRUE)
set(CUDAToolkit_VERSION_MAJOR ${cuda_major})
set(CUDAToolkit_BIN_DIR /stand-in/bin)
foreach(library cudart cudart_static cublas cublasLt)
  add_library(CUDA::\${library} INTERFACE IMPORTED)
endforeach()
")
  file(WRITE "${stand_ins}/FindOpenMP.cmake" "
set(OpenMP_FOUND TRUE)
set(OpenMP_CXX_FOUND TRUE)
add_library(OpenMP::OpenMP_CXX INTERFACE IMPORTED)
")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -G Ninja -S "${PROJECT}" -B "${WORK}/build"
      "-DCMAKE_PREFIX_PATH=${WORK}/installed;${stand_ins}" "-DSTAND_INS=${stand_ins}"
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  # CMake wraps its messages.
  string(REGEX REPLACE "[ \n]+" " " output "${output}")
  set(result "${result}" PARENT_SCOPE)
  set(output "${output}" PARENT_SCOPE)
endfunction()

function(expect_refused what built found)
  string(FIND "${output}" "built with ${what} ${built}, but ${what} ${found} was found" at)
  if(result EQUAL 0 OR at EQUAL -1)
    message(FATAL_ERROR "${what} ${found} instead of ${built} should be refused with both values; got ${result}: ${output}")
  endif()
  message(STATUS "refused: ${what} ${found} instead of ${built}")
endfunction()

find_with("${TORCH_VERSION}" "${TORCH_ABI}" "${CUDA_MAJOR}")
if(NOT result EQUAL 0)
  message(FATAL_ERROR "the versions LeapVerify was built with should be accepted: ${output}")
endif()

find_with("2.10.1" "${TORCH_ABI}" "${CUDA_MAJOR}")
expect_refused("torch version" "${TORCH_VERSION}" "2.10.1")

math(EXPR other_abi "1 - ${TORCH_ABI}")
find_with("${TORCH_VERSION}" "${other_abi}" "${CUDA_MAJOR}")
expect_refused("torch C++11 ABI" "${TORCH_ABI}" "${other_abi}")

if(CUDA)
  find_with("${TORCH_VERSION}" "${TORCH_ABI}" 12)
  expect_refused("CUDA major" "${CUDA_MAJOR}" 12)
endif()
