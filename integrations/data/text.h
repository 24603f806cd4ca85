// The text of a run, cut into training batches, gate sequences and validation sequences. Tokens are
// bytes.
#pragma once

#include <leapverify/integrations/data/data_options.h>

#include <cstdint>
#include <vector>

namespace leapverify::data {

struct SplitSummary {
  std::int64_t bytes = 0;
  /// FNV-1a of the bytes.
  std::uint64_t hash = 0;
};

/// What was read, for the run's record.
struct TextSummary {
  std::int64_t files = 0;
  std::int64_t binary_files = 0;
  std::int64_t unreadable = 0;
  std::int64_t files_left_out = 0;
  SplitSummary train, gate, validation;
};

/// The concatenated documents are split into three disjoint ranges: train, then gate, then
/// validation. A document may straddle a cut.
///
/// A sequence is context + 1 bytes b: tokens[i] = b[i], targets[i] = b[i + 1], i < context.
class Text {
 public:
  /// Reads the text. Throws DataError as load_documents(), and when gate or validation are shorter
  /// than one sequence or train is shorter than `batch_sequences` of them.
  Text(const DataOptions& options, std::int64_t context, std::int64_t batch_sequences);

  /// Writes `rows` training sequences, [rows × context] each. Row r is a pure function of the seed,
  /// the step and r: a window that starts anywhere in train.
  void train_batch(std::int64_t step, std::int64_t rows, std::int64_t* tokens,
                   std::int64_t* targets) const;

  /// Gate and validation sequences do not overlap; sequence 0, 1, … lie in a seeded order.
  std::int64_t gate_size() const { return static_cast<std::int64_t>(gate_.size()); }
  std::int64_t validation_size() const { return static_cast<std::int64_t>(validation_.size()); }

  /// Writes one sequence. Throws ContractError for an index outside [0, size).
  void gate_sequence(std::int64_t index, std::int64_t* tokens, std::int64_t* targets) const;
  void validation_sequence(std::int64_t index, std::int64_t* tokens, std::int64_t* targets) const;

  const TextSummary& summary() const { return summary_; }

 private:
  void write(std::int64_t start, std::int64_t* tokens, std::int64_t* targets) const;

  std::int64_t seed_;
  std::int64_t context_;
  std::vector<std::uint8_t> bytes_;
  TextSummary summary_;
  /// Where the held-out sequences start in bytes_.
  std::vector<std::int64_t> gate_, validation_;
};

}  // namespace leapverify::data
