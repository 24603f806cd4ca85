#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/speculation.h>
#include <leapverify/runtime/strict_json.h>
#include <leapverify/runtime/tensor_list.h>
#include <leapverify/runtime/torch_optimizer.h>
#include <torch/torch.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

namespace leapverify {

using nlohmann::json;

namespace {

constexpr int kMaxFailures = 3;

std::vector<at::Tensor> trained_weights(torch::optim::Optimizer& base) {
  std::vector<at::Tensor> weights = TorchOptimizer(base).trained();
  for (at::Tensor& weight : weights) weight = weight.detach();
  return weights;
}

std::vector<at::Tensor> copies(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> result;
  for (const at::Tensor& tensor : tensors) result.push_back(tensor.clone());
  return result;
}

OptimizerState on_the_host(OptimizerState state) {
  for (auto& [name, tensor] : state.tensors)
    tensor = tensor.to(at::kCPU, /*non_blocking=*/false, /*copy=*/true);
  return state;
}

bool is_finite(const std::vector<at::Tensor>& tensors) {
  return std::isfinite(distance(TensorList(tensors), nullptr));
}

}  // namespace

Speculation::Speculation(const policy::SpeculationOptions& options, LeapVerify& leaps,
                         torch::optim::Optimizer& base, StepRunner& runner, MakeWorker make_worker,
                         TraceSink trace)
    : options_(options),
      leaps_(leaps),
      base_(base),
      runner_(runner),
      make_worker_(std::move(make_worker)),
      trace_(std::move(trace)) {}

std::int64_t Speculation::after_step(std::int64_t step, std::int64_t planned) {
  const torch::NoGradGuard no_grad;
  const std::int64_t handoffs_before = handoffs_;
  std::int64_t gained = 0;
  if (job_ && step >= job_->step) gained = arrive();
  if (!job_ && off_reason_.empty() && step + gained + options_.steps + options_.gain() <= planned) {
    begin(step + gained, handoffs_ > handoffs_before);
  }
  return gained;
}

void Speculation::begin(std::int64_t step, bool handed_over) {
  std::vector<at::Tensor> predicted =
      leaps_.predict(options_.steps, handed_over ? way_ : std::vector<at::Tensor>());
  if (predicted.empty()) return;
  SpeculativeJob job;
  job.step = step + options_.steps;
  job.steps = options_.steps;
  job.position = runner_.position();
  job.position.data += options_.gain();
  job.position.schedule += options_.gain();
  job.rate_scale = leaps_.status().learning_rate_scale;
  for (const at::Tensor& tensor : predicted) job.weights.push_back(tensor.cpu());
  job.optimizer = on_the_host(export_state(base_));
  begun_at_ = copies(trained_weights(base_));
  predicted_ = std::move(predicted);
  job_ = std::move(job);
  start_worker();
}

void Speculation::start_worker() {
  try {
    if (!worker_) worker_ = make_worker_();
    worker_->start(*job_);
  } catch (const std::exception& error) {
    fail(job_->step - job_->steps, error_text(error));
  }
}

void Speculation::fail(std::int64_t step, const std::string& reason) {
  // Whatever state it is in.
  worker_.reset();
  job_.reset();
  ++failures_;
  last_failure_ = reason;
  if (++failures_in_row_ >= kMaxFailures) off_reason_ = reason;
  const json event = {{"event", "speculation"}, {"step", step},     {"steps", options_.steps},
                      {"outcome", "failed"},    {"reason", reason}, {"off", !off_reason_.empty()}};
  if (trace_) trace_(event.dump());
}

policy::Arrival Speculation::measure() const {
  const TensorList now(trained_weights(base_));
  const TensorList predicted(predicted_);
  const TensorList begun_at(begun_at_);
  return {distance(now, &predicted), distance(now, &begun_at), distance(now, nullptr)};
}

std::int64_t Speculation::arrive() {
  const std::int64_t step = job_->step;
  const policy::Arrival arrival = measure();
  const double relative = relative_distance(arrival, options_.relative_to);
  nlohmann::ordered_json event = {{"event", "speculation"},  {"step", step},
                                  {"steps", options_.steps}, {"distance", arrival.distance},
                                  {"way", arrival.way},      {"norm", arrival.norm}};
  const auto end = [&](const char* outcome, const std::string& reason) {
    event["outcome"] = outcome;
    event["reason"] = reason;
    if (trace_) trace_(event.dump());
    job_.reset();
  };
  const TrainingPosition here = runner_.position();
  // Where the run is when it arrives by its steps alone.
  const std::int64_t walked = options_.steps - options_.gain();
  if (here.data != job_->position.data + walked ||
      here.schedule != job_->position.schedule + walked) {
    worker_->cancel();
    end("rejected", "a leap has moved data or schedule meanwhile");
    return 0;
  }
  if (const std::string obstacle = leaps_.offer_obstacle(); !obstacle.empty()) {
    worker_->cancel();
    end("rejected", obstacle);
    return 0;
  }
  if (options_.kind == SpeculationKind::kAhead && !(relative <= options_.max_distance)) {
    worker_->cancel();
    end("rejected", "arrived too far from where the worker began");
    return 0;
  }
  SpeculativeResult result;
  try {
    result = worker_->finish(
        std::chrono::milliseconds(static_cast<std::int64_t>(options_.timeout_seconds * 1000)));
    if (result.weights.size() != predicted_.size())
      throw WorkerError("the worker gave other weights");
    if (!is_finite(result.weights)) throw WorkerError("the worker's weights are not finite");
  } catch (const std::exception& error) {
    fail(step, error_text(error));
    return 0;
  }
  failures_in_row_ = 0;
  Offer offer;
  offer.steps = options_.gain();
  const std::vector<at::Tensor> now = trained_weights(base_);
  way_.clear();
  for (std::size_t i = 0; i < now.size(); ++i) {
    way_.push_back(now[i] - begun_at_[i]);
    // In the layout of the weights.
    offer.weights.push_back(at::empty_like(now[i]).copy_(result.weights[i]));
  }
  offer.accept = [&] {
    runner_.seek({here.data + options_.gain(), here.schedule + options_.gain()});
    try {
      import_state(base_, result.optimizer, "speculative worker");
    } catch (...) {
      runner_.seek(here);
      throw;
    }
  };
  const Answer answer = leaps_.offer(offer);
  event["forwards"] = answer.forwards;
  if (answer.decision.pairs > 0) {
    event["reference_loss"] = answer.decision.reference_loss;
    event["candidate_loss"] = answer.decision.candidate_loss;
    event["pairs"] = answer.decision.pairs;
  }
  end(answer.accepted ? "handed_over" : "rejected", answer.decision.reason);
  if (!answer.accepted) return 0;
  ++handoffs_;
  return options_.gain();
}

LeapVerifyState Speculation::state() const {
  LeapVerifyState state;
  json data = {
      {"handoffs", handoffs_}, {"failures_in_row", failures_in_row_}, {"off_reason", off_reason_}};
  if (job_) {
    LeapVerifyState job = pack(*job_);
    data["job"] = json::parse(job.json);
    state.tensors = std::move(job.tensors);
    for (std::size_t i = 0; i < begun_at_.size(); ++i) {
      state.tensors.emplace_back("begun_at." + std::to_string(i), begun_at_[i]);
    }
  }
  state.json = data.dump();
  return state;
}

void Speculation::restore(const LeapVerifyState& state) {
  const std::string source = "speculation's state";
  try {
    const json data = json::parse(state.json);
    handoffs_ = data.at("handoffs");
    failures_in_row_ = data.at("failures_in_row");
    off_reason_ = data.at("off_reason");
    job_.reset();
    const std::vector<at::Tensor> now = trained_weights(base_);
    if (!data.contains("job")) return;
    SpeculativeJob job = unpack_job({data["job"].dump(), state.tensors}, source);
    // With another number of steps now, what was begun is no job of this run.
    if (job.steps != options_.steps) return;
    if (job.weights.size() != now.size()) throw FormatError(source + ": of another model");
    begun_at_.clear();
    predicted_.clear();
    for (std::size_t i = 0; i < now.size(); ++i) {
      const std::string number = std::to_string(i);
      for (const auto& [name, to] :
           {std::pair{"weights.", &predicted_}, {"begun_at.", &begun_at_}}) {
        to->push_back(find_like(state.tensors, name + number, now[i], source).to(now[i].device()));
      }
    }
    job_ = std::move(job);
  } catch (const json::exception& error) {
    throw FormatError(source + ": " + json_words(error));
  }
}

}  // namespace leapverify
