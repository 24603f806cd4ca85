#include <leapverify/integrations/data/documents.h>
#include <leapverify/integrations/data/random.h>
#include <leapverify/integrations/data/text.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace leapverify::data {
namespace {

std::int64_t share_of(std::int64_t bytes, double share) {
  return static_cast<std::int64_t>(std::floor(static_cast<double>(bytes) * share));
}

/// Fewest bytes of which `share` holds `needed`.
std::int64_t bytes_for(std::int64_t needed, double share) {
  auto bytes = static_cast<std::int64_t>(std::floor(static_cast<double>(needed) / share));
  while (share_of(bytes, share) < needed) ++bytes;
  return bytes;
}

void require_enough(const DataOptions& options, std::int64_t bytes, std::int64_t sequence,
                    std::int64_t batch_sequences) {
  const std::int64_t batch = batch_sequences * sequence;
  const double train_share = 1 - options.gate_share - options.validation_share;
  const std::int64_t needed =
      std::max({bytes_for(batch, train_share), bytes_for(sequence, options.gate_share),
                bytes_for(sequence, options.validation_share)});
  const std::string held_out = std::to_string(sequence) + " for a sequence in ";
  const std::string legal = "at least " + std::to_string(needed) +
                            " bytes: " + std::to_string(batch) + " for a batch in train, " +
                            held_out + "gate (gate_share " + number_text(options.gate_share) +
                            "), " + held_out + "validation (validation_share " +
                            number_text(options.validation_share) + ")";
  if (options.max_bytes < needed) {
    throw DataError("data.max_bytes", "is " + std::to_string(options.max_bytes), legal);
  }
  if (bytes < needed) {
    throw DataError(options.path, "has " + std::to_string(bytes) + " bytes", legal);
  }
}

std::vector<std::int64_t> sequence_starts(std::int64_t begin, std::int64_t bytes,
                                          std::int64_t sequence, std::int64_t seed, Draw draw) {
  std::vector<std::pair<std::uint64_t, std::int64_t>> keyed;
  for (std::int64_t start = 0; start + sequence <= bytes; start += sequence) {
    keyed.emplace_back(random_word(seed, draw, static_cast<std::uint64_t>(start)), begin + start);
  }
  std::sort(keyed.begin(), keyed.end());
  std::vector<std::int64_t> starts;
  for (const auto& [key, start] : keyed) starts.push_back(start);
  return starts;
}

}  // namespace

Text::Text(const DataOptions& options, std::int64_t context, std::int64_t batch_sequences)
    : seed_(options.seed), context_(context) {
  LV_CHECK(context >= 1 && batch_sequences >= 1,
           "context " << context << " and " << batch_sequences << " sequences a batch");
  Documents documents = load_documents(options);
  bytes_ = std::move(documents.bytes);
  const auto total = static_cast<std::int64_t>(bytes_.size());
  const std::int64_t sequence = context + 1;
  require_enough(options, total, sequence, batch_sequences);

  const std::int64_t gate = share_of(total, options.gate_share);
  const std::int64_t validation = share_of(total, options.validation_share);
  const std::int64_t train = total - gate - validation;
  gate_ = sequence_starts(train, gate, sequence, seed_, Draw::kGateOrder);
  validation_ = sequence_starts(train + gate, validation, sequence, seed_, Draw::kValidationOrder);
  const auto summary = [&](std::int64_t begin, std::int64_t bytes) {
    return SplitSummary{bytes, hash_bytes(bytes_.data() + begin, bytes)};
  };
  summary_ = {documents.files,
              documents.binary_files,
              documents.unreadable,
              documents.files_left_out,
              summary(0, train),
              summary(train, gate),
              summary(train + gate, validation)};
}

void Text::train_batch(std::int64_t step, std::int64_t rows, std::int64_t* tokens,
                       std::int64_t* targets) const {
  const auto starts = static_cast<std::uint64_t>(summary_.train.bytes - context_);
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::uint64_t word =
        random_word(seed_, Draw::kTrainBatch, static_cast<std::uint64_t>(step),
                    static_cast<std::uint64_t>(row));
    write(static_cast<std::int64_t>(word % starts), tokens + row * context_,
          targets + row * context_);
  }
}

void Text::gate_sequence(std::int64_t index, std::int64_t* tokens, std::int64_t* targets) const {
  LV_CHECK(index >= 0 && index < gate_size(), "gate sequence " << index << " of " << gate_size());
  write(gate_[static_cast<std::size_t>(index)], tokens, targets);
}

void Text::validation_sequence(std::int64_t index, std::int64_t* tokens,
                               std::int64_t* targets) const {
  LV_CHECK(index >= 0 && index < validation_size(),
           "validation sequence " << index << " of " << validation_size());
  write(validation_[static_cast<std::size_t>(index)], tokens, targets);
}

void Text::write(std::int64_t start, std::int64_t* tokens, std::int64_t* targets) const {
  const std::uint8_t* bytes = bytes_.data() + start;
  std::copy(bytes, bytes + context_, tokens);
  std::copy(bytes + 1, bytes + 1 + context_, targets);
}

}  // namespace leapverify::data
