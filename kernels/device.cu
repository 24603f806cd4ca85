// Asks the CUDA driver for devices.
#include <leapverify/kernels/device.h>

#include <cuda_runtime.h>

namespace leapverify::kernels {

bool cuda_available() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    (void)cudaGetLastError();  // no driver is an answer here, not an error to be found later
    return false;
  }
  return count > 0;
}

}  // namespace leapverify::kernels
