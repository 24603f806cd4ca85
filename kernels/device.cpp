// Names of devices, for messages.
#include <leapverify/kernels/device.h>

namespace leapverify::kernels {

std::string name_of(Device device) {
  return device.kind == DeviceKind::kCpu ? "cpu" : "cuda:" + std::to_string(device.ordinal);
}

}  // namespace leapverify::kernels
