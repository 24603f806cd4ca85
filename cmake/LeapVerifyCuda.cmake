# Finds nvcc 13 and enables CUDA for named architectures, so that no GPU is needed to build.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 75;80;86;90;100;120 CACHE STRING "GPU architectures to compile for")
endif()

# Last comes the toolkit that scripts/setup.sh puts together from Python packages.
if(NOT DEFINED CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(LEAPVERIFY_NVCC nvcc
    HINTS ENV CUDA_HOME ENV CUDA_PATH
    PATHS /usr/local/cuda "${PROJECT_SOURCE_DIR}/.venv/cuda"
    PATH_SUFFIXES bin)
  if(LEAPVERIFY_NVCC)
    set(CMAKE_CUDA_COMPILER "${LEAPVERIFY_NVCC}")
  endif()
endif()
if(LEAPVERIFY_CUDA STREQUAL AUTO)
  set(found "")
  if(LEAPVERIFY_NVCC)
    execute_process(COMMAND "${LEAPVERIFY_NVCC}" --version OUTPUT_VARIABLE found)
  endif()
  if(NOT found MATCHES "release 13\\.")
    message(WARNING "No CUDA 13 toolkit was found: this is a CPU-only build, for models on the CPU")
    set(LEAPVERIFY_CUDA OFF)
    return()
  endif()
endif()
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
# Torch uses the shared runtime; a second, static one in the same process would have its own state.
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
find_package(CUDAToolkit 13.0 REQUIRED)
if(NOT CUDAToolkit_VERSION_MAJOR EQUAL 13)
  message(FATAL_ERROR "LeapVerify needs a CUDA 13.x toolkit; found ${CUDAToolkit_VERSION} in ${CUDAToolkit_BIN_DIR}")
endif()
include(LeapVerifyCudaPaths)

# Torch's package searches on its own; it must end at the toolkit that was just chosen.
get_filename_component(cuda_root "${CUDAToolkit_BIN_DIR}/.." ABSOLUTE)
set(CUDA_TOOLKIT_ROOT_DIR "${cuda_root}" CACHE PATH "CUDA toolkit, as torch's package calls it" FORCE)
