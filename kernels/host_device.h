// Marks small functions that plain C++ and device code share, so that both compute alike and the
// CPU tests exercise what the CUDA kernels run.
#pragma once

#ifdef __CUDACC__
#define LV_HOST_DEVICE __host__ __device__
#else
#define LV_HOST_DEVICE
#endif

// Loops over register arrays must vanish in device code; host compilers do not know the pragma.
#ifdef __CUDA_ARCH__
#define LV_UNROLL _Pragma("unroll")
#else
#define LV_UNROLL
#endif

// Pointers that device code finds in shared memory may point anywhere as far as nvcc can see; told
// better, it emits the faster accesses to global memory.
#ifdef __CUDA_ARCH__
#define LV_ASSUME_GLOBAL(pointer) __builtin_assume(__isGlobal(pointer))
#else
#define LV_ASSUME_GLOBAL(pointer)
#endif
