// Stands in for the .cu files in a build without CUDA: there is no device, and asking for one is
// refused.
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/launch.h>

namespace leapverify::kernels {
namespace {

[[noreturn]] void refuse(Device device) {
  throw ContractError("built without CUDA: memory is on " + name_of(device) +
                      ", only cpu is supported");
}

}  // namespace

bool cuda_available() { return false; }

void adam_direction_cuda(const SegmentTable& destination, const SegmentTable&, const SegmentTable&,
                         const SegmentTable*, const AdamRows&, std::uint64_t*, Stream) {
  refuse(destination.device());
}

void average_step_cuda(const SegmentTable& weights, const SegmentTable&, const SegmentTable&,
                       const AverageStep&, bool, Stream) {
  refuse(weights.device());
}

void combine_cuda(const std::vector<const SegmentTable*>& destinations,
                  const std::vector<const SegmentTable*>&, const Coefficients&, std::uint64_t*,
                  Stream) {
  refuse(destinations.front()->device());
}

void copy_cuda(const SegmentTable& destination, const SegmentTable&, Stream) {
  refuse(destination.device());
}

void checksum_cuda(const SegmentTable& table, std::uint64_t, std::uint64_t*, Stream) {
  refuse(table.device());
}

void cosine_cuda(const MatrixView&, const MatrixView&, double*, Device device, Stream) {
  refuse(device);
}

void gram_cuda(const std::vector<const SegmentTable*>& sources, const SegmentTable*, double*,
               double*, Stream) {
  refuse(sources.front()->device());
}

void sample_cuda(const SegmentTable& samples, const SegmentTable&, const SampleStep&, Stream) {
  refuse(samples.device());
}

}  // namespace leapverify::kernels
