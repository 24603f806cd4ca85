#include <leapverify/integrations/data/random.h>
#include <leapverify/integrations/data/split.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace leapverify::data {
namespace {

/// Documents that are to be split.
std::int64_t documents_in(const Corpus& corpus) {
  return std::count_if(
      corpus.documents.begin(), corpus.documents.end(),
      [&corpus](const Document& document) { return document.begin < corpus.validation_from; });
}

enum Owner : std::uint8_t { kTrain, kGate, kValidation };

std::int64_t share_of(std::int64_t tokens, double share) {
  return static_cast<std::int64_t>(std::floor(static_cast<double>(tokens) * share));
}

/// The documents that are to be split, each with its owner.
class Assignment {
 public:
  Assignment(const Corpus& corpus, const DataOptions& options, std::int64_t sequence)
      : corpus_(corpus),
        least_(corpus.whole_documents ? 2 : sequence),
        own_validation_(corpus.validation_from < corpus.tokens.size()) {
    count_ = static_cast<std::size_t>(documents_in(corpus));
    owners_.assign(corpus.documents.size(), kValidation);
    std::fill_n(owners_.begin(), count_, kTrain);
    const std::int64_t total = corpus.validation_from;
    fill(order(options.seed), share_of(total, options.gate_share),
         own_validation_ ? 0 : share_of(total, options.validation_share));
    take_shortest(kGate);
    if (!own_validation_) take_shortest(kValidation);
  }

  std::vector<Segment> segments(Owner owner) const {
    std::vector<Segment> result;
    for (std::size_t i = 0; i < owners_.size(); ++i) {
      if (owners_[i] != owner) continue;
      const Segment one = document(i);
      const bool adjoins = !result.empty() && result.back().end == one.begin;
      if (adjoins && !corpus_.whole_documents) {
        result.back().end = one.end;
      } else {
        result.push_back(one);
      }
    }
    return result;
  }

  std::string count_text(Owner owner) const {
    return std::to_string(std::count(owners_.begin(), owners_.end(), owner));
  }

 private:
  Segment document(std::size_t index) const {
    const std::vector<Document>& documents = corpus_.documents;
    const bool last = index + 1 == documents.size();
    return {documents[index].begin, last ? corpus_.tokens.size() : documents[index + 1].begin,
            documents[index].counted_from};
  }

  std::int64_t length(std::size_t index) const {
    const Segment one = document(index);
    return one.end - one.begin;
  }

  std::vector<std::int64_t> order(std::int64_t seed) const {
    std::vector<std::int64_t> documents(count_);
    std::iota(documents.begin(), documents.end(), 0);
    return shuffled(documents, seed, Draw::kSplit);
  }

  void fill(const std::vector<std::int64_t>& order, std::int64_t gate, std::int64_t validation) {
    for (const std::int64_t one : order) {
      const auto i = static_cast<std::size_t>(one);
      const std::int64_t tokens = length(i);
      if (tokens <= gate) {
        owners_[i] = kGate;
        gate -= tokens;
      } else if (tokens <= validation) {
        owners_[i] = kValidation;
        validation -= tokens;
      }
    }
  }

  /// Where what fitted is less than a sequence, the shortest document of train that makes it one.
  void take_shortest(Owner owner) {
    std::int64_t missing = least_;
    for (std::size_t i = 0; i < count_; ++i) {
      if (owners_[i] == owner) missing -= length(i);
    }
    std::size_t shortest = count_;
    for (std::size_t i = 0; missing > 0 && i < count_; ++i) {
      const bool fits = owners_[i] == kTrain && length(i) >= missing;
      if (fits && (shortest == count_ || length(i) < length(shortest))) shortest = i;
    }
    if (shortest < count_) owners_[shortest] = owner;
  }

  const Corpus& corpus_;
  std::int64_t least_;
  bool own_validation_;
  /// Documents before validation_from.
  std::size_t count_ = 0;
  std::vector<Owner> owners_;
};

Splits split_range(const Corpus& corpus, const DataOptions& options, const std::string& why) {
  const std::int64_t total = corpus.validation_from;
  const bool own_validation = total < corpus.tokens.size();
  const std::int64_t gate = share_of(total, options.gate_share);
  const std::int64_t validation = own_validation ? 0 : share_of(total, options.validation_share);
  const std::int64_t train = total - gate - validation;
  const std::int64_t scored = train + gate;
  return {{{0, train, 0}},
          {{train, scored, train}},
          {{scored, corpus.tokens.size(), scored}},
          "split by ranges: " + why};
}

Splits split_documents(const Corpus& corpus, const DataOptions& options, std::int64_t sequence) {
  const Assignment assignment(corpus, options, sequence);
  return {assignment.segments(kTrain), assignment.segments(kGate), assignment.segments(kValidation),
          "split by documents: " + assignment.count_text(kTrain) + " to train on, " +
              assignment.count_text(kGate) + " gate, " + assignment.count_text(kValidation) +
              " validation"};
}

/// Whether held-out documents have taken more than half of what is to be trained on.
bool starves_training(const Splits& splits, const Corpus& corpus, const DataOptions& options) {
  const std::int64_t wanted = tokens_in(split_range(corpus, options, "").train);
  return tokens_in(splits.train) < wanted / 2;
}

Splits split(const Corpus& corpus, const DataOptions& options, std::int64_t sequence) {
  if (corpus.whole_documents) return split_documents(corpus, options, sequence);
  const bool own_validation = corpus.validation_from < corpus.tokens.size();
  const std::int64_t documents = documents_in(corpus);
  if (documents == 1) return split_range(corpus, options, corpus.why_one_document);
  if (documents < (own_validation ? 2 : 3)) {
    return split_range(corpus, options, "fewer documents than splits");
  }
  Splits splits = split_documents(corpus, options, sequence);
  if (!starves_training(splits, corpus, options)) return splits;
  return split_range(corpus, options, "documents of too uneven a size");
}

}  // namespace

Splits split_corpus(const Corpus& corpus, const DataOptions& options, std::int64_t sequence) {
  Splits splits = split(corpus, options, sequence);
  if (corpus.validation_from < corpus.tokens.size()) {
    splits.description += "; validation is the files of that name";
  }
  return splits;
}

std::int64_t tokens_in(const std::vector<Segment>& segments) {
  std::int64_t tokens = 0;
  for (const Segment& segment : segments) tokens += segment.end - segment.begin;
  return tokens;
}

}  // namespace leapverify::data
