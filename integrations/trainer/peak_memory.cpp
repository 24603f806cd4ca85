#include <c10/core/CachingDeviceAllocator.h>
#include <leapverify/integrations/trainer/peak_memory.h>
#include <sys/resource.h>

namespace leapverify::trainer {

std::int64_t peak_memory(c10::Device device) {
  if (device.is_cuda()) {
    using c10::CachingAllocator::StatType;
    const auto stats = at::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    return stats.allocated_bytes[static_cast<std::size_t>(StatType::AGGREGATE)].peak;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

}  // namespace leapverify::trainer
