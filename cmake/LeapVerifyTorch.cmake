# Finds LibTorch in the Python wheel of .venv, or wherever CMAKE_PREFIX_PATH points.
include(LeapVerifyTorchAbi)

# Sets RESULT to the value of an expression of the interpreter that a wheel is built for.
function(leapverify_ask_torch result expression)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -W ignore -c "import torch; print(${expression})"
    OUTPUT_VARIABLE answer OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  set(${result} "${answer}" PARENT_SCOPE)
endfunction()

# The wheel's package insists on a CUDA toolkit where torch was built with one; a CPU-only wheel of ours needs none.
macro(leapverify_find_torch_without_cuda)
  leapverify_ask_torch(TORCH_INSTALL_PREFIX "torch.__path__[0]")
  leapverify_ask_torch(LEAPVERIFY_TORCH_VERSION "torch.__version__.split('+')[0]")
  leapverify_ask_torch(LEAPVERIFY_TORCH_CXX11_ABI "int(torch.compiled_with_cxx11_abi())")
  if(LEAPVERIFY_TORCH_VERSION VERSION_LESS 2.11)
    message(FATAL_ERROR "LeapVerify needs torch 2.11; found ${LEAPVERIFY_TORCH_VERSION} in ${TORCH_INSTALL_PREFIX}")
  endif()
  add_library(torch INTERFACE)
  target_include_directories(torch SYSTEM INTERFACE
    "${TORCH_INSTALL_PREFIX}/include" "${TORCH_INSTALL_PREFIX}/include/torch/csrc/api/include")
  foreach(name torch torch_cpu c10)
    target_link_libraries(torch INTERFACE "${TORCH_INSTALL_PREFIX}/lib/lib${name}.so")
  endforeach()
endmacro()

# The wheel's package appends to CMAKE_CUDA_FLAGS and takes CMAKE_CUDA_ARCHITECTURES away; a function's scope
# keeps that from our own targets.
function(leapverify_find_torch)
  file(GLOB wheel "${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch")
  if(SKBUILD)
    leapverify_ask_torch(wheel "torch.__path__[0]")
  endif()
  if(NOT DEFINED Python_EXECUTABLE AND EXISTS "${PROJECT_SOURCE_DIR}/.venv/bin/python")
    set(Python_EXECUTABLE "${PROJECT_SOURCE_DIR}/.venv/bin/python")
  endif()

  # The package warns about CMAKE_CUDA_ARCHITECTURES where it is set: it reads TORCH_CUDA_ARCH_LIST only.
  set(architectures "${CMAKE_CUDA_ARCHITECTURES}")
  unset(CMAKE_CUDA_ARCHITECTURES)
  unset(CMAKE_CUDA_ARCHITECTURES CACHE)
  if(LEAPVERIFY_CUDA)
    set(TORCH_CUDA_ARCH_LIST "")
    foreach(architecture IN LISTS architectures)
      string(REGEX REPLACE "^([0-9]+)([0-9])[a-z]*(-real|-virtual)?$" "\\1.\\2" dotted "${architecture}")
      list(APPEND TORCH_CUDA_ARCH_LIST "${dotted}")
    endforeach()
  endif()
  find_package(Torch 2.11 REQUIRED HINTS ${wheel})
  if(LEAPVERIFY_CUDA)
    set(CMAKE_CUDA_ARCHITECTURES "${architectures}" CACHE STRING "GPU architectures to compile for" FORCE)
  endif()

  leapverify_torch_cxx11_abi(abi)
  set(LEAPVERIFY_TORCH_CXX11_ABI "${abi}" PARENT_SCOPE)
  set(LEAPVERIFY_TORCH_VERSION "${Torch_VERSION}" PARENT_SCOPE)
  set(TORCH_INSTALL_PREFIX "${TORCH_INSTALL_PREFIX}" PARENT_SCOPE)
  set(LEAPVERIFY_TORCH_CXX_FLAGS "${TORCH_CXX_FLAGS}" PARENT_SCOPE)
endfunction()

if(SKBUILD AND NOT LEAPVERIFY_CUDA)
  leapverify_find_torch_without_cuda()
else()
  leapverify_find_torch()
endif()
get_filename_component(LEAPVERIFY_TORCH_LIB "${TORCH_INSTALL_PREFIX}/lib" ABSOLUTE)
message(STATUS "LibTorch ${LEAPVERIFY_TORCH_VERSION} (C++11 ABI ${LEAPVERIFY_TORCH_CXX11_ABI}) in ${TORCH_INSTALL_PREFIX}")

# Torch was built against the CUDA libraries of its own wheels; a system toolkit's may be older, so they come first.
get_filename_component(wheel_cuda_lib "${TORCH_INSTALL_PREFIX}/../nvidia/cu13/lib" ABSOLUTE)
if(EXISTS "${wheel_cuda_lib}")
  set(CMAKE_BUILD_RPATH "${wheel_cuda_lib}")
  set(CMAKE_INSTALL_RPATH "${wheel_cuda_lib}")
endif()
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
if(SKBUILD)
  # Python has loaded torch and its libraries before.
  set(CMAKE_INSTALL_RPATH "")
  set(CMAKE_INSTALL_RPATH_USE_LINK_PATH OFF)
endif()

# One precompiled torch/torch.h for every target that includes torch: parsing it takes some 15 seconds.
file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/torch_headers.cpp" CONTENT "// Owner of the precompiled torch/torch.h.\n")
add_library(leapverify_torch_headers OBJECT "${PROJECT_BINARY_DIR}/torch_headers.cpp")
target_link_libraries(leapverify_torch_headers PRIVATE torch)
target_precompile_headers(leapverify_torch_headers PRIVATE <torch/torch.h>)
# Without this ccache would preprocess all of torch again for every file.
target_compile_options(leapverify_torch_headers PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)

function(leapverify_use_torch_headers target)
  target_precompile_headers(${target} REUSE_FROM leapverify_torch_headers)
  target_compile_options(${target} PRIVATE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-fpch-preprocess>)
  # g++ refuses a header precompiled with -fPIC under -fPIE, which programs get otherwise.
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "EXECUTABLE")
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fPIC>)
  endif()
endfunction()
