#include <leapverify/integrations/distributed/gradient_buckets.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/torch.h>

#include <algorithm>
#include <utility>

namespace leapverify::distributed {

struct GradientBuckets::Bucket {
  std::vector<std::size_t> parameters;
  std::int64_t elements = 0;
  /// The gradients one after the other, then for each whether there is one.
  at::Tensor flat;
  /// Views of it.
  std::vector<at::Tensor> parts;
  at::Tensor flags;
  std::size_t complete = 0;
  std::unique_ptr<PendingSum> sum;
};

struct GradientBuckets::Place {
  std::size_t bucket = 0;
  /// What adds to the gradient, and the hook on it. Torch itself keeps it only while a graph does.
  std::shared_ptr<torch::autograd::Node> accumulator;
  std::uintptr_t hook = 0;
  bool complete = false;
};

GradientBuckets::GradientBuckets(std::vector<at::Tensor> parameters, Communicator& ranks,
                                 std::int64_t bytes)
    : parameters_(std::move(parameters)), ranks_(ranks), places_(parameters_.size()) {
  const auto fits = [&](const Bucket& bucket, const at::Tensor& parameter) {
    const at::Tensor& first = parameters_[bucket.parameters.front()];
    return parameter.scalar_type() == first.scalar_type() && parameter.device() == first.device() &&
           (bucket.elements + parameter.numel()) * parameter.element_size() <= bytes;
  };
  for (std::size_t i = parameters_.size(); i-- > 0;) {
    const at::Tensor& parameter = parameters_[i];
    if (buckets_.empty() || !fits(buckets_.back(), parameter)) buckets_.emplace_back();
    Bucket& bucket = buckets_.back();
    places_[i].bucket = buckets_.size() - 1;
    bucket.parameters.push_back(i);
    bucket.elements += parameter.numel();
  }
  for (Bucket& bucket : buckets_) {
    const auto count = static_cast<std::int64_t>(bucket.parameters.size());
    bucket.flat = at::zeros({bucket.elements + count},
                            parameters_[bucket.parameters.front()].options().requires_grad(false));
    std::int64_t offset = 0;
    for (const std::size_t i : bucket.parameters) {
      const std::int64_t elements = parameters_[i].numel();
      bucket.parts.push_back(bucket.flat.narrow(0, offset, elements).view(parameters_[i].sizes()));
      offset += elements;
    }
    bucket.flags = bucket.flat.narrow(0, offset, count);
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    using torch::autograd::variable_list;
    places_[i].accumulator = torch::autograd::impl::grad_accumulator(parameters_[i]);
    places_[i].hook = places_[i].accumulator->add_post_hook(
        std::make_unique<torch::autograd::utils::LambdaPostHook>(
            [this, i](const variable_list& outputs, const variable_list&) {
              complete(i);
              return outputs;
            }));
  }
}

GradientBuckets::~GradientBuckets() {
  for (const Place& place : places_) place.accumulator->del_post_hook(place.hook);
}

std::int64_t GradientBuckets::bucket_count() const {
  return static_cast<std::int64_t>(buckets_.size());
}

void GradientBuckets::begin() {
  for (Place& place : places_) place.complete = false;
  for (Bucket& bucket : buckets_) bucket.complete = 0;
  next_ = 0;
  sending_ = true;
}

void GradientBuckets::complete(std::size_t parameter) {
  if (!sending_ || std::exchange(places_[parameter].complete, true)) return;
  ++buckets_[places_[parameter].bucket].complete;
  send_ready();
}

void GradientBuckets::send_ready() {
  while (next_ < buckets_.size() && buckets_[next_].complete == buckets_[next_].parameters.size()) {
    send(buckets_[next_++]);
  }
}

void GradientBuckets::send(Bucket& bucket) {
  const torch::NoGradGuard no_grad;
  bucket.flags.fill_(1);
  std::vector<at::Tensor> parts;
  std::vector<at::Tensor> gradients;
  for (std::size_t j = 0; j < bucket.parameters.size(); ++j) {
    if (const at::Tensor& gradient = parameters_[bucket.parameters[j]].grad(); gradient.defined()) {
      parts.push_back(bucket.parts[j]);
      gradients.push_back(gradient);
    } else {
      bucket.parts[j].zero_();
      bucket.flags[static_cast<std::int64_t>(j)].zero_();
    }
  }
  if (!parts.empty()) at::_foreach_copy_(parts, gradients);
  bucket.sum = ranks_.start_sum(bucket.flat);
}

void GradientBuckets::finish() {
  sending_ = false;
  while (next_ < buckets_.size()) send(buckets_[next_++]);
  const torch::NoGradGuard no_grad;
  for (Bucket& bucket : buckets_) {
    std::exchange(bucket.sum, nullptr)->wait();
    std::vector<at::Tensor> parts;
    std::vector<at::Tensor> gradients;
    for (std::size_t j = 0; j < bucket.parameters.size(); ++j) {
      at::Tensor& gradient = parameters_[bucket.parameters[j]].mutable_grad();
      if (gradient.defined()) {
        parts.push_back(bucket.parts[j]);
        gradients.push_back(gradient);
      } else if (bucket.flags[static_cast<std::int64_t>(j)].item<double>() > 0) {
        gradient = bucket.parts[j].clone();
      }
    }
    if (!parts.empty()) at::_foreach_copy_(gradients, parts);
  }
}

}  // namespace leapverify::distributed
