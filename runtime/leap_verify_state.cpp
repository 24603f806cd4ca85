// What a checkpoint keeps of LeapVerify, out and in.
#include <leapverify/runtime/leap_verify_implementation.h>
#include <leapverify/runtime/safetensors.h>
#include <leapverify/runtime/strict_json.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace leapverify {

using nlohmann::json;

namespace {

void add_list(const TensorList& list, const std::string& prefix, NamedTensors& out) {
  const std::vector<at::Tensor>& tensors = list.tensors();
  for (std::size_t j = 0; j < tensors.size(); ++j) {
    out.emplace_back(prefix + std::to_string(j), tensors[j]);
  }
}

void restore_list(const TensorList& list, const std::string& prefix, const NamedTensors& in,
                  const std::string& source) {
  const std::vector<at::Tensor>& tensors = list.tensors();
  for (std::size_t j = 0; j < tensors.size(); ++j) {
    tensors[j].copy_(find_like(in, prefix + std::to_string(j), tensors[j], source));
  }
}

NamedTensors::const_iterator find_tensor(const NamedTensors& in, const std::string& name) {
  return std::find_if(in.begin(), in.end(), [&](const auto& item) { return item.first == name; });
}

void add_snapshots(const std::optional<SnapshotStore>& store, const std::string& prefix,
                   NamedTensors& out) {
  for (std::int64_t i = 0; store && i < store->size(); ++i) {
    add_list(store->stored(i), prefix + std::to_string(i) + ".", out);
  }
}

/// steps: newest first.
void restore_snapshots(std::optional<SnapshotStore>& store, const std::vector<std::int64_t>& steps,
                       const std::string& prefix, const NamedTensors& in,
                       const std::string& source) {
  if (!store) return;
  store->clear();
  for (std::size_t i = 0; i < steps.size(); ++i) {
    restore_list(store->restore_older(steps[i]), prefix + std::to_string(i) + ".", in, source);
  }
}

}  // namespace

LeapVerifyState LeapVerify::Implementation::state() const {
  LeapVerifyState out;
  json data;
  data["step"] = step_;
  data["settings"] = traced_settings_;
  data["reference"] = name_of(options_.reference);
  data["observations"] = observations_;
  data["path"] = path_;
  data["rate_sum"] = rate_sum_;
  data["rate_steps"] = rate_steps_;
  data["rate"] = to_json_state(rate_.state());
  data["traced_rate"] = traced_rate_;
  data["gate_cursor"] = gate_cursor_;
  data["pending"] = pending_;
  data["batch_size"] = batch_size_;
  data["failures_in_row"] = failures_in_row_;
  data["canary_passed"] = canary_passed_;
  data["off_reason"] = off_reason_;
  data["past_losses"] = verifier_.past_losses();
  data["signal"] = name_of(options_.detector.signal);
  data["detector"] = to_json_state(detector_.state());
  data["controller"] = to_json_state(controller_.state());
  data["curve"] = to_json_state(curve_.state());
  data["forecast"] = to_json_state(forecast_.state());
  data["portfolio"] = to_json_state(portfolio_);
  data["snapshot_steps"] = snapshots_ ? snapshots_->steps() : std::vector<std::int64_t>{};
  data["activations"] = activations_.defined();
  if (activations_.defined()) out.tensors.emplace_back("activations", activations_);
  if (average_ && average_->has_begun()) add_list(average_->tensors(), "average.", out.tensors);
  data["iterates_weigh"] = nullptr;
  if (iterates_ && iterates_->has_begun()) {
    data["iterates_weigh"] = iterates_->total();
    data["pull"] = iterates_->pull();
    add_list(iterates_->iterate(), "iterate.", out.tensors);
    add_list(iterates_->average(), "iterate_average.", out.tensors);
  }
  data["stood_still"] = stood_still_;
  data["kept_step"] = nullptr;
  if (kept_step_) {
    data["kept_step"] = *kept_step_;
    data["kept_total"] = kept_total_;
    add_list(kept_average_, "kept_average.", out.tensors);
    add_list(kept_buffers_, "kept_buffers.", out.tensors);
  }
  data["path_begun"] = path_sample_ && path_sample_->has_begun();
  data["path_average"] = path_sample_ && path_sample_->has_average();
  data["waypoint_every"] = waypoint_every();
  data["begins_at_nothing"] = begins_at_nothing_;
  if (path_sample_ && path_sample_->has_begun()) {
    add_list(path_sample_->first(), "path_first.", out.tensors);
    add_list(path_sample_->last(), "path_last.", out.tensors);
  }
  if (path_sample_ && path_sample_->has_average()) {
    add_list(path_sample_->average(), "path_average.", out.tensors);
  }
  add_snapshots(snapshots_, "snapshot.", out.tensors);
  add_snapshots(statistics_snapshots_, "statistics.", out.tensors);
  out.json = data.dump();
  return out;
}

std::string LeapVerify::Implementation::shared_state() const {
  json data = json::parse(state().json);
  data.erase("settings");
  return data.dump();
}

void LeapVerify::Implementation::restore(const LeapVerifyState& state) {
  const std::string source = "LeapVerify state";
  ranks_checked_ = false;
  try {
    const json data = json::parse(state.json);
    step_ = data.at("step").get<std::int64_t>();
    traced_settings_ = data.at("settings").get<std::string>();
    if (data.at("reference").get<std::string>() != name_of(options_.reference)) {
      throw FormatError(source + ": its snapshots are for reference " +
                        data.at("reference").get<std::string>() + ", not for " +
                        name_of(options_.reference));
    }
    if (data.at("signal").get<std::string>() != name_of(options_.detector.signal)) {
      throw FormatError(source + ": its regimes are told from " +
                        data.at("signal").get<std::string>() + ", not from " +
                        name_of(options_.detector.signal));
    }
    observations_ = data.at("observations").get<std::int64_t>();
    path_ = data.at("path").get<double>();
    rate_sum_ = data.at("rate_sum").get<double>();
    rate_steps_ = data.at("rate_steps").get<std::int64_t>();
    rate_.restore(rate_state_from_json(data.at("rate")));
    traced_rate_ = data.at("traced_rate").get<double>();
    gate_cursor_ = data.at("gate_cursor").get<std::int64_t>();
    pending_ = data.at("pending").get<std::vector<std::int64_t>>();
    if (!options_.enabled || options_.gate != GateSource::kNextBatch) pending_.clear();
    batch_size_ = data.at("batch_size").get<std::int64_t>();
    failures_in_row_ = data.at("failures_in_row").get<int>();
    canary_passed_ = data.at("canary_passed").get<bool>();
    off_reason_ = data.at("off_reason").get<std::string>();
    verifier_.restore(data.at("past_losses").get<std::vector<double>>());
    detector_.restore(detector_state_from_json(data.at("detector")));
    controller_.state() = controller_state_from_json(data.at("controller"));
    // Of a run that was not free.
    if (rate_.is_free()) controller_.end_cascade();
    curve_.restore(curve_state_from_json(data.at("curve")));
    forecast_.restore(forecast_state_from_json(data.at("forecast")));
    portfolio_.restore(portfolio_state_from_json(data.at("portfolio"), portfolio_));
    if (data.at("activations").get<bool>()) {
      const auto found = find_tensor(state.tensors, "activations");
      if (found == state.tensors.end()) throw FormatError(source + ": activations are missing");
      if (found->second.dim() != 2 || found->second.size(0) != options_.probes) {
        throw FormatError(source + ": activations are not those of " +
                          std::to_string(options_.probes) + " probes");
      }
      activations_ = found->second.to(weights_.torch_device());
    }
    // A run that was off kept none, one that was free other ones: they begin at its weights.
    if (average_) average_->forget();
    if (average_ && find_tensor(state.tensors, "average.0") != state.tensors.end()) {
      restore_list(average_->tensors(), "average.", state.tensors, source);
      average_->restore();
    }
    if (iterates_) iterates_->forget();
    if (iterates_ && !data.at("iterates_weigh").is_null()) {
      restore_list(iterates_->iterate(), "iterate.", state.tensors, source);
      restore_list(iterates_->average(), "iterate_average.", state.tensors, source);
      iterates_->restore(data.at("iterates_weigh").get<double>(), data.at("pull").get<double>());
    }
    stood_still_ = data.at("stood_still").get<std::int64_t>();
    kept_step_.reset();
    if (keeps_average() && !data.at("kept_step").is_null()) {
      make_room_for_average();
      restore_list(kept_average_, "kept_average.", state.tensors, source);
      restore_list(kept_buffers_, "kept_buffers.", state.tensors, source);
      kept_step_ = data.at("kept_step").get<std::int64_t>();
      kept_total_ = data.at("kept_total").get<double>();
    }
    // In a run of another length moves are longer or shorter.
    const bool same_moves = data.at("waypoint_every").get<std::int64_t>() == waypoint_every();
    if (path_sample_) path_sample_->forget();
    if (path_sample_ && data.at("path_average").get<bool>()) {
      restore_list(path_sample_->average(), "path_average.", state.tensors, source);
      path_sample_->restore_average();
    }
    if (path_sample_ && data.at("path_begun").get<bool>() && same_moves) {
      restore_list(path_sample_->first(), "path_first.", state.tensors, source);
      restore_list(path_sample_->last(), "path_last.", state.tensors, source);
      path_sample_->restore_way();
      begins_at_nothing_ = data.at("begins_at_nothing").get<bool>();
    } else {
      rate_.forget_path();
      if (!looks()) kept_step_.reset();
    }
    release_average();
    if (!snapshots_) return;
    // Newest first; with other options now, fewer may be needed.
    auto steps = data.at("snapshot_steps").get<std::vector<std::int64_t>>();
    steps.resize(std::min(steps.size(), static_cast<std::size_t>(snapshots_to_keep())));
    restore_snapshots(snapshots_, steps, "snapshot.", state.tensors, source);
    restore_snapshots(statistics_snapshots_, steps, "statistics.", state.tensors, source);
  } catch (const json::exception& error) {
    throw FormatError(source + ": " + json_words(error));
  }
}

}  // namespace leapverify
