#include <leapverify/integrations/trainer/captured_pass.h>
#include <leapverify/integrations/trainer/step_error.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/error_text.h>
#ifdef LEAPVERIFY_CUDA
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#endif

#include <utility>

namespace leapverify::trainer {

#ifdef LEAPVERIFY_CUDA

namespace {

/// Before these the libraries make handles and workspaces, which cannot be captured.
constexpr int kPlainPasses = 3;

void wait_for(const c10::cuda::CUDAStream& waiting, const c10::cuda::CUDAStream& other) {
  at::cuda::CUDAEvent event;
  event.record(other);
  event.block(waiting);
}

}  // namespace

class CapturedPass::Implementation {
 public:
  Implementation(const torch::nn::Module& model, Pass pass)
      : parameters_(model.parameters()),
        buffers_(model.buffers()),
        pass_(std::move(pass)),
        stream_(c10::cuda::getStreamFromPool()) {}

  torch::Tensor run(const TokenBatch& part, const torch::Tensor& counted) {
    if (plain_passes_ < kPlainPasses) {
      ++plain_passes_;
      return run_plainly(part, counted);
    }
    attach_gradients();
    if (!graph_ || places() != places_) capture(part, counted);
    part_.tokens.copy_(part.tokens, /*non_blocking=*/true);
    part_.targets.copy_(part.targets, /*non_blocking=*/true);
    counted_.copy_(counted, /*non_blocking=*/true);
    graph_->replay();
    return loss_.clone();
  }

 private:
  struct Gradient {
    torch::Tensor parameter;
    /// What replays add to; undefined before the first.
    torch::Tensor tensor;
  };

  torch::Tensor run_plainly(const TokenBatch& part, const torch::Tensor& counted) {
    const c10::cuda::CUDAStream outside = c10::cuda::getCurrentCUDAStream();
    wait_for(stream_, outside);
    torch::Tensor loss;
    {
      const c10::cuda::CUDAStreamGuard guard(stream_);
      loss = pass_(part, counted);
    }
    wait_for(outside, stream_);
    if (plain_passes_ == kPlainPasses) find_gradients();
    return loss;
  }

  /// Only of parameters that a pass reaches: the optimizer leaves those without a gradient alone.
  void find_gradients() {
    for (const torch::Tensor& parameter : parameters_) {
      if (!parameter.grad().defined()) continue;
      gradients_.push_back({parameter, {}});
    }
  }

  void attach_gradients() {
    const torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> unset;
    for (Gradient& gradient : gradients_) {
      torch::Tensor& now = gradient.parameter.mutable_grad();
      if (!gradient.tensor.defined()) {
        gradient.tensor = now.defined() ? now : torch::zeros_like(gradient.parameter);
      } else if (!now.defined()) {
        unset.push_back(gradient.tensor);
      } else if (!now.is_same(gradient.tensor)) {
        gradient.tensor.copy_(now);
      }
      now = gradient.tensor;
    }
    if (!unset.empty()) at::_foreach_zero_(unset);
  }

  /// Where the weights and buffers lie, which a graph has by address.
  std::vector<const void*> places() const {
    std::vector<const void*> found;
    found.reserve(parameters_.size() + buffers_.size());
    for (const torch::Tensor& parameter : parameters_) found.push_back(parameter.const_data_ptr());
    for (const torch::Tensor& buffer : buffers_) found.push_back(buffer.const_data_ptr());
    return found;
  }

  void capture(const TokenBatch& part, const torch::Tensor& counted) {
    graph_.reset();
    loss_.reset();
    part_ = {part.tokens.clone(), part.targets.clone()};
    counted_ = counted.clone();
    torch::cuda::synchronize();
    // What the plain passes took on the stream would be held beside what the graph takes.
    c10::cuda::CUDACachingAllocator::emptyCache();
    const c10::cuda::CUDAStreamGuard guard(stream_);
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    // Of this thread alone: the loader's takes pinned memory meanwhile.
    graph->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      loss_ = pass_(part_, counted_);
    } catch (const std::exception& error) {
      try {
        graph->capture_end();
      } catch (const std::exception&) {
        // What the pass failed of says more.
      }
      if (is_out_of_memory(error)) throw;
      throw Error("the step cannot be captured as a CUDA graph, set run.cuda_graph to false: " +
                  error_text(error));
    }
    graph->capture_end();
    graph_ = std::move(graph);
    places_ = places();
  }

  std::vector<torch::Tensor> parameters_;
  std::vector<torch::Tensor> buffers_;
  Pass pass_;
  c10::cuda::CUDAStream stream_;
  int plain_passes_ = 0;
  std::vector<Gradient> gradients_;
  TokenBatch part_;
  torch::Tensor counted_;
  /// Lies in the graph's memory.
  torch::Tensor loss_;
  std::unique_ptr<at::cuda::CUDAGraph> graph_;
  std::vector<const void*> places_;
};

#else

class CapturedPass::Implementation {
 public:
  Implementation(const torch::nn::Module&, const Pass&) {
    throw Error("a CUDA graph in a build without CUDA");
  }
  torch::Tensor run(const TokenBatch&, const torch::Tensor&) { return {}; }
};

#endif

CapturedPass::CapturedPass(const torch::nn::Module& model, Pass pass)
    : implementation_(std::make_unique<Implementation>(model, std::move(pass))) {}

CapturedPass::~CapturedPass() = default;

torch::Tensor CapturedPass::run(const TokenBatch& part, const torch::Tensor& counted) {
  return implementation_->run(part, counted);
}

}  // namespace leapverify::trainer
