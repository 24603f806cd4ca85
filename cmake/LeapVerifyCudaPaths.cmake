# To be included after CUDA is enabled and CUDAToolkit found. CMake takes the directories nvcc links in from nvcc's
# output and splits them at spaces.
if(CUDAToolkit_LIBRARY_DIR MATCHES " ")
  set(CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES "${CUDAToolkit_LIBRARY_DIR}")
endif()
