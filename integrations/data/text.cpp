#include <leapverify/integrations/data/random.h>
#include <leapverify/integrations/data/text.h>

#include <algorithm>
#include <utility>

namespace leapverify::data {
namespace {

struct Need {
  const char* name;
  const Sequences& sequences;
  std::int64_t count;
  const char* remedy;
};

/// Reading stopped there, up to a character that would have been cut.
bool reached_max_bytes(const Corpus& corpus, const DataOptions& options) {
  return corpus.token_files.empty() && corpus.tokens.size() + 4 > options.max_bytes;
}

void require_enough(const DataOptions& options, const Corpus& corpus,
                    const std::string& description, std::int64_t length, const Need& need) {
  const std::int64_t tokens = need.sequences.tokens();
  const bool whole = corpus.whole_documents;
  const std::int64_t count = whole ? need.sequences.size() : tokens / length;
  if (count >= need.count) return;
  const auto of_length = [&](std::int64_t sequences) {
    return std::to_string(sequences) + (sequences == 1 ? " sequence" : " sequences") +
           (whole ? "" : " of " + std::to_string(length));
  };
  const std::string more = corpus.documents.size() == 1 ? "data"
                           : whole                      ? "documents"
                                                        : "documents (or one, cut into ranges)";
  throw DataError(options.path,
                  "gives " + (whole ? of_length(count) : std::to_string(tokens)) + " of its " +
                      std::to_string(corpus.tokens.size()) + " " + corpus.unit + " to " +
                      need.name + ", " + description,
                  "at least " + of_length(need.count) + "; more " + more +
                      (reached_max_bytes(corpus, options) ? " (data.max_bytes)" : "") +
                      ", a smaller batch.context or a " + need.remedy + " would do");
}

}  // namespace

Text::Text(const DataOptions& options, std::int64_t vocabulary, std::int64_t context,
           std::int64_t batch_sequences)
    : seed_(options.seed),
      context_(context),
      corpus_(load_corpus(options, vocabulary)),
      parts_(split(corpus_, options, context)) {
  for (const Need& need :
       {Need{"train", parts_.train, batch_sequences, "smaller batch.sequences or batch.accumulate"},
        Need{"gate", parts_.gate, 1, "larger data.gate_share"},
        Need{"validation", parts_.validation, 1, "larger data.validation_share"}}) {
    require_enough(options, corpus_, parts_.description, context + 1, need);
  }
  gate_order_ = shuffled(parts_.gate.disjoint(), seed_, Draw::kGateOrder);
  validation_order_ = shuffled(parts_.validation.disjoint(), seed_, Draw::kValidationOrder);
  summarise();
}

Text::Parts Text::split(const Corpus& corpus, const DataOptions& options, std::int64_t context) {
  LV_CHECK(context >= 1, "context " << context << ", expected at least 1");
  Splits splits = split_corpus(corpus, options, context + 1);
  return {{corpus, std::move(splits.train), context},
          {corpus, std::move(splits.gate), context},
          {corpus, std::move(splits.validation), context},
          splits.description};
}

void Text::summarise() {
  summary_.unit = corpus_.unit;
  summary_.files = corpus_.files;
  summary_.binary_files = corpus_.binary_files;
  summary_.unreadable = corpus_.unreadable;
  summary_.files_left_out = corpus_.files_left_out;
  summary_.description = parts_.description + (corpus_.origin.empty() ? "" : "; " + corpus_.origin);
  const auto summary = [this](const Sequences& sequences) {
    summary_.documents_left_out += sequences.left_out();
    return SplitSummary{sequences.tokens(), sequences.hash()};
  };
  summary_.train = summary(parts_.train);
  summary_.gate = summary(parts_.gate);
  summary_.validation = summary(parts_.validation);
}

void Text::train_batch(std::int64_t step, std::int64_t first, std::int64_t rows,
                       std::int64_t* tokens, std::int64_t* targets) const {
  const auto sequences = static_cast<std::uint64_t>(parts_.train.size());
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::uint64_t word =
        random_word(seed_, Draw::kTrainBatch, static_cast<std::uint64_t>(step),
                    static_cast<std::uint64_t>(first + row));
    parts_.train.write(static_cast<std::int64_t>(word % sequences), tokens + row * context_,
                       targets + row * context_);
  }
}

void Text::gate_sequence(std::int64_t index, std::int64_t* tokens, std::int64_t* targets) const {
  LV_CHECK(index >= 0 && index < gate_size(), "gate sequence " << index << " of " << gate_size());
  parts_.gate.write(gate_order_[static_cast<std::size_t>(index)], tokens, targets);
}

void Text::validation_sequence(std::int64_t index, std::int64_t* tokens,
                               std::int64_t* targets) const {
  LV_CHECK(index >= 0 && index < validation_size(),
           "validation sequence " << index << " of " << validation_size());
  parts_.validation.write(validation_order_[static_cast<std::size_t>(index)], tokens, targets);
}

std::int64_t Text::prompt() const {
  return is_bytes() ? '\n' : std::max<std::int64_t>(corpus_.document_end, 0);
}

}  // namespace leapverify::data
