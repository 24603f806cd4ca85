// The data of a run, cut into training batches, gate sequences and validation sequences. Tokens are
// the bytes of text, or those of token files.
#pragma once

#include <leapverify/integrations/data/sequences.h>

#include <cstdint>
#include <string>
#include <vector>

namespace leapverify::data {

struct SplitSummary {
  std::int64_t tokens = 0;
  /// Sequences::hash().
  std::uint64_t hash = 0;
};

/// What was read, for the run's record.
struct TextSummary {
  /// What a token is, "bytes" or "tokens".
  std::string unit;
  std::int64_t files = 0;
  std::int64_t binary_files = 0;
  std::int64_t unreadable = 0;
  std::int64_t files_left_out = 0;
  /// Sequences::left_out() of all splits.
  std::int64_t documents_left_out = 0;
  SplitSummary train, gate, validation;
  /// Splits::description and Corpus::origin.
  std::string description;
};

/// Sequences are as sequences.h says, splits as split.h.
class Text {
 public:
  /// Reads the data for a model of this vocabulary and context. Throws what load_corpus() does, and
  /// DataError when gate or validation hold less than one sequence or train less than
  /// `batch_sequences` of them.
  Text(const DataOptions& options, std::int64_t vocabulary, std::int64_t context,
       std::int64_t batch_sequences);
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;

  /// Writes rows `first` to `first + rows` of the training batch of a step, [rows × context] each. Row
  /// r is a pure function of the seed, the step and r: any sequence of train. May be called by several
  /// threads at a time.
  void train_batch(std::int64_t step, std::int64_t first, std::int64_t rows, std::int64_t* tokens,
                   std::int64_t* targets) const;

  /// Gate and validation sequences do not overlap; sequence 0, 1, … lie in a seeded order.
  std::int64_t gate_size() const { return static_cast<std::int64_t>(gate_order_.size()); }
  std::int64_t validation_size() const {
    return static_cast<std::int64_t>(validation_order_.size());
  }

  /// Writes one sequence. Throws ContractError for an index outside [0, size).
  void gate_sequence(std::int64_t index, std::int64_t* tokens, std::int64_t* targets) const;
  void validation_sequence(std::int64_t index, std::int64_t* tokens, std::int64_t* targets) const;

  /// Whether tokens are bytes of text.
  bool is_bytes() const { return corpus_.token_files.empty(); }
  /// What a document may begin after: a line break, or the token between documents, else token 0.
  std::int64_t prompt() const;

  const TextSummary& summary() const { return summary_; }

 private:
  struct Parts {
    Sequences train, gate, validation;
    std::string description;
  };

  static Parts split(const Corpus& corpus, const DataOptions& options, std::int64_t context);
  void summarise();

  std::int64_t seed_;
  std::int64_t context_;
  Corpus corpus_;
  Parts parts_;
  /// Of the held-out sequences.
  std::vector<std::int64_t> gate_order_, validation_order_;
  TextSummary summary_;
};

}  // namespace leapverify::data
