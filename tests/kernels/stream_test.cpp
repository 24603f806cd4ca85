// Kernels on several streams at once and inside a CUDA graph: nothing synchronises, nothing
// allocates. Without a GPU there are no streams.
#include <leapverify/kernels/adam_direction.h>
#include <leapverify/kernels/average_step.h>
#include <leapverify/kernels/checksum.h>
#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/copy.h>
#include <leapverify/kernels/cosine.h>
#include <leapverify/kernels/gram.h>
#include <leapverify/kernels/sample.h>

#include <gmock/gmock.h>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

#ifdef LEAPVERIFY_CUDA

void check(cudaError_t status) { ASSERT_EQ(status, cudaSuccess) << cudaGetErrorString(status); }

constexpr Device kGpu = {DeviceKind::kCuda, 0};

/// Every kernel once, on data of its own.
class Work {
 public:
  explicit Work(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    a_.randomize(random);
    b_.randomize(random);
  }

  void run(Stream stream) {
    combine(combined_.table(), {&a_.table(), &b_.table()}, {coefficients_.data()}, counts_.data(),
            stream);
    adam_direction(moved_.table(), a_.table(), b_.table(), nullptr, {row_.data()},
                   counts_.data() + 1, stream);
    copy(copied_.table(), a_.table(), stream);
    average_step(combined_.table(), moved_.table(), copied_.table(), {0.8, 0.3, 0.8}, stream);
    sample(sampled_.table(), combined_.table(), {3, 0.9, 0.1}, stream);
    checksum(a_.table(), counts_.data() + 2, stream);
    gram({&a_.table(), &b_.table()}, nullptr, products_.data(), workspace_.data(), stream);
    const Segment& x = a_.table().segments()[0];
    const Segment& y = b_.table().segments()[0];
    cosine({x.data, 10, 1000, x.dtype}, {y.data, 10, 1000, y.dtype}, cosines_.data(), kGpu, stream);
  }

  /// All results as bytes; synchronises.
  std::vector<std::byte> results() {
    std::vector<std::byte> all;
    for (Tensors* tensors : {&combined_, &moved_, &copied_, &sampled_}) {
      tensors->download();
      EXPECT_TRUE(tensors->guards_untouched());
      for (std::size_t s = 0; s < tensors->size(); ++s) {
        const auto bytes = tensors->bytes(s);
        all.insert(all.end(), bytes.begin(), bytes.end());
      }
    }
    append(counts_.download(), all);
    append(products_.download(), all);
    append(cosines_.download(), all);
    return all;
  }

 private:
  template <typename Value>
  static void append(const std::vector<Value>& values, std::vector<std::byte>& to) {
    const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
    to.insert(to.end(), bytes, bytes + values.size() * sizeof(Value));
  }

  static std::vector<TensorSpec> specs() {
    return {{DType::kFloat32, 3 * kChunkElements + 5}, {DType::kFloat32, 7, 1}};
  }

  Tensors a_{specs(), kGpu};
  Tensors b_{specs(), kGpu};
  Tensors combined_{specs(), kGpu};
  Tensors moved_{specs(), kGpu};
  Tensors copied_{specs(), kGpu};
  Tensors sampled_{{{DType::kFloat32, kChunkElements + 2}, {DType::kFloat32, 3}}, kGpu};
  DeviceArray<double> coefficients_{{1.5, -0.25}, kGpu};
  DeviceArray<AdamRow> row_{{AdamRow::sgd_momentum(3, 0.1)}, kGpu};
  DeviceArray<std::uint64_t> counts_{{0, 0, 0}, kGpu};
  DeviceArray<double> products_{std::vector<double>(2 * 4), kGpu};
  DeviceArray<double> workspace_{
      std::vector<double>(static_cast<std::size_t>(gram_workspace(a_.table(), 2))), kGpu};
  DeviceArray<double> cosines_{std::vector<double>(10), kGpu};
};

class Streams : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_available()) {
      GTEST_SKIP() << "no CUDA device";
    }
  }
};

TEST_F(Streams, SeveralAtOnceGiveWhatEachGivesAlone_cuda) {
  constexpr int kStreams = 4;
  std::vector<std::unique_ptr<Work>> alone;
  std::vector<std::unique_ptr<Work>> together;
  std::vector<cudaStream_t> streams(kStreams);
  for (int i = 0; i < kStreams; ++i) {
    alone.push_back(std::make_unique<Work>(100 + i));
    together.push_back(std::make_unique<Work>(100 + i));
    alone.back()->run(nullptr);
    check(cudaStreamCreateWithFlags(&streams[static_cast<std::size_t>(i)], cudaStreamNonBlocking));
  }
  check(cudaDeviceSynchronize());
  for (std::size_t i = 0; i < streams.size(); ++i) {
    together[i]->run(streams[i]);
  }
  check(cudaDeviceSynchronize());
  for (std::size_t i = 0; i < streams.size(); ++i) {
    EXPECT_EQ(alone[i]->results(), together[i]->results()) << "stream " << i;
    check(cudaStreamDestroy(streams[i]));
  }
}

TEST_F(Streams, GraphReplaysEveryKernel_cuda) {
  Work direct(7);
  Work captured(7);
  direct.run(nullptr);
  check(cudaDeviceSynchronize());
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  // Capture fails where a kernel synchronises or allocates.
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  captured.run(stream);
  check(cudaStreamEndCapture(stream, &graph));
  check(cudaGraphInstantiate(&executable, graph, 0));
  check(cudaGraphLaunch(executable, stream));
  check(cudaStreamSynchronize(stream));
  EXPECT_EQ(direct.results(), captured.results());
  check(cudaGraphExecDestroy(executable));
  check(cudaGraphDestroy(graph));
  check(cudaStreamDestroy(stream));
}

#else

TEST(Streams, NeedABuildWithCuda_cuda) { GTEST_SKIP() << "built without CUDA"; }

#endif

}  // namespace
}  // namespace leapverify::kernels::testing
