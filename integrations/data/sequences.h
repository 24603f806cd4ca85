// The sequences of one split, as a model takes them.
#pragma once

#include <leapverify/integrations/data/split.h>

#include <cstdint>
#include <vector>

namespace leapverify::data {

/// The target of a position that never counts in a loss: torch's default ignore_index.
inline constexpr std::int64_t kIgnored = -100;

/// A sequence is context + 1 tokens t: tokens[i] = t[i], targets[i] = t[i + 1], i < context.
///
/// Where sequences may span documents, the segments are one run of tokens, and a sequence may begin
/// at each. With whole_documents it is a piece of one document, of which each token but the first
/// is a target once; what is missing at its end is filled up, with targets kIgnored. A document
/// with a prompt gives its beginning only, with kIgnored for the targets in the prompt; where none
/// is left, it is left out.
class Sequences {
 public:
  /// The corpus must outlive this.
  Sequences(const Corpus& corpus, std::vector<Segment> segments, std::int64_t context);

  std::int64_t tokens() const { return offsets_.back(); }
  /// Documents without a target that counts.
  std::int64_t left_out() const { return left_out_; }
  /// FNV-1a of the tokens, one a step; with whole_documents of their documents too.
  std::uint64_t hash() const;

  /// Sequences, which may overlap.
  std::int64_t size() const;
  /// Writes sequence `index`, [context] each.
  void write(std::int64_t index, std::int64_t* tokens, std::int64_t* targets) const;
  /// Sequences that do not overlap, ascending.
  std::vector<std::int64_t> disjoint() const;

 private:
  /// A part of a document, at most context + 1 tokens.
  struct Piece {
    std::int64_t begin, end, counted_from;
  };

  void cut_into_pieces();
  void write_piece(const Piece& piece, std::int64_t* tokens, std::int64_t* targets) const;
  /// Tokens of the segments as one run.
  void read(std::int64_t begin, std::int64_t count, std::int64_t* out) const;

  const Corpus& corpus_;
  std::vector<Segment> segments_;
  std::int64_t context_;
  /// Where segment i begins among all, and at the end their tokens.
  std::vector<std::int64_t> offsets_;
  /// With whole_documents.
  std::vector<Piece> pieces_;
  std::int64_t left_out_ = 0;
};

}  // namespace leapverify::data
