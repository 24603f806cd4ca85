#include <ATen/ATen.h>
#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/replicas.h>

#include <algorithm>
#include <exception>

namespace leapverify {
namespace {

void check_evaluation(const Evaluation& result, std::int64_t count, bool activations) {
  LV_CHECK(result.losses.defined() && result.losses.dim() == 1 && result.losses.size(0) == count,
           "the evaluator must return one loss for each of " << count << " sequences");
  if (!activations) return;
  LV_CHECK(result.activations.defined() && result.activations.dim() == 2 &&
               result.activations.size(0) == count,
           "the evaluator must return one activation vector for each of " << count << " sequences");
}

std::vector<double> doubles_of(const at::Tensor& values) {
  const at::Tensor host = values.detach().to(at::kCPU, at::kDouble).contiguous();
  const double* data = host.const_data_ptr<double>();
  return {data, data + host.numel()};
}

}  // namespace

void Replicas::run(const std::function<void()>& action) {
  if (ranks_ == nullptr) return action();
  try {
    action();
  } catch (const CollectiveError&) {
    throw;
  } catch (const RankFailure&) {
    throw;
  } catch (const std::exception& error) {
    meet_or_tell(&error);
    throw;
  }
  meet();
}

void Replicas::meet_or_tell(const std::exception* failure) {
  if (ranks_ == nullptr) return;
  std::vector<double> flags(static_cast<std::size_t>(size()));
  flags[static_cast<std::size_t>(ranks_->rank())] = failure != nullptr ? 1 : 0;
  ranks_->sum(flags);
  std::vector<int> failed;
  for (int rank = 0; rank < size(); ++rank) {
    if (flags[static_cast<std::size_t>(rank)] != 0) failed.push_back(rank);
  }
  if (failed.empty()) return;
  const std::string words =
      broadcast(*ranks_, failure != nullptr ? error_text(*failure) : "", failed.front());
  if (failure == nullptr) throw RankFailure("on " + rank_names(failed) + ": " + words);
}

Evaluation Replicas::evaluate(Evaluator& evaluator, const std::vector<std::int64_t>& sequences,
                              bool activations) {
  const auto count = static_cast<std::int64_t>(sequences.size());
  if (ranks_ == nullptr) {
    Evaluation result = evaluator.evaluate(sequences, activations);
    check_evaluation(result, count, /*activations=*/false);
    return result;
  }
  const bool together = evaluator.together();
  std::vector<std::int64_t> asked;
  std::vector<std::size_t> places;
  for (std::size_t place = 0; place < sequences.size(); ++place) {
    const bool own = together ? ranks_->rank() == 0 : sequences[place] % size() == ranks_->rank();
    if (own) places.push_back(place);
    if (own || together) asked.push_back(sequences[place]);
  }
  std::vector<double> own_losses;
  std::vector<double> own_activations;
  double own_width = 0;
  if (!asked.empty()) {
    const Evaluation own = evaluator.evaluate(asked, activations);
    check_evaluation(own, static_cast<std::int64_t>(asked.size()), activations);
    // A device says only here what has failed on it.
    own_losses = doubles_of(own.losses);
    if (activations) {
      own_activations = doubles_of(own.activations);
      own_width = static_cast<double>(own.activations.size(1));
    }
  }
  meet();

  // Each place is written by one rank: zeros leave it bitwise as it is.
  const auto share = [&](const std::vector<double>& values, std::size_t width) {
    std::vector<double> all(sequences.size() * width);
    for (std::size_t i = 0; i < places.size(); ++i) {
      std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(i * width), width,
                  all.begin() + static_cast<std::ptrdiff_t>(places[i] * width));
    }
    ranks_->sum(all);
    return at::tensor(all, at::kDouble);
  };
  Evaluation result;
  result.losses = share(own_losses, 1);
  if (!activations) return result;
  // A rank that had nothing to run does not know how wide they are.
  double width = 0;
  bool same = true;
  for (const std::vector<double>& row : gather(*ranks_, {own_width})) {
    if (row.front() == 0) continue;
    same = same && (width == 0 || row.front() == width);
    width = row.front();
  }
  LV_CHECK(same, "activation vectors are of different lengths on different ranks");
  result.activations = share(own_activations, static_cast<std::size_t>(width))
                           .view({count, static_cast<std::int64_t>(width)})
                           .to(at::kFloat);
  return result;
}

std::vector<double> Replicas::concatenate(const std::vector<double>& own) {
  if (ranks_ == nullptr) return own;
  meet();
  std::vector<double> all;
  for (const std::vector<double>& row : gather(*ranks_, own)) {
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

std::vector<double> Replicas::sum(std::vector<double> values) {
  if (ranks_ == nullptr) return values;
  meet();
  ranks_->sum(values);
  return values;
}

std::int64_t Replicas::points_at_once(const Evaluator& evaluator, std::int64_t sequences) const {
  return evaluator.together() ? 1 : std::max<std::int64_t>(1, size() / sequences);
}

std::int64_t Replicas::forwards(const Evaluator& evaluator, std::int64_t sequences) const {
  if (ranks_ == nullptr) return sequences;
  if (evaluator.together()) return sequences * size();
  return (sequences + size() - 1) / size() * size();
}

void Replicas::require_same(const std::string& what, std::uint64_t digest) {
  if (ranks_ != nullptr) leapverify::require_same(*ranks_, what, digest);
}

void Replicas::require_same(const std::string& what, const std::string& text) {
  if (ranks_ != nullptr) leapverify::require_same(*ranks_, what, text);
}

}  // namespace leapverify
