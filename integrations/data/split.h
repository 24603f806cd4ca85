// Cuts a corpus into what is trained on, what decides on leaps and what is scored.
#pragma once

#include <leapverify/integrations/data/corpus.h>

#include <cstdint>
#include <string>
#include <vector>

namespace leapverify::data {

/// Tokens [begin, end) of a corpus.
struct Segment {
  std::int64_t begin, end;
  /// The first that counts in the loss.
  std::int64_t counted_from;
};

/// Disjoint, each ascending. With whole_documents each segment is one document.
struct Splits {
  std::vector<Segment> train, gate, validation;
  /// As in "split by documents: 90 to train on, 5 gate, 5 validation".
  std::string description;
};

/// Whole documents, in an order that follows from the seed, go to gate while they fit into its
/// share, then to validation likewise, and else to train; a share too small for any document takes
/// the shortest that does. Where documents are fewer than splits, or train would get less than half
/// of what is left to it, they are split into ranges instead: train, gate, validation; but never
/// with whole_documents.
/// `sequence`: tokens that a held-out split must hold.
Splits split_corpus(const Corpus& corpus, const DataOptions& options, std::int64_t sequence);

/// Tokens in all segments.
std::int64_t tokens_in(const std::vector<Segment>& segments);

}  // namespace leapverify::data
