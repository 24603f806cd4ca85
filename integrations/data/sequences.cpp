#include <leapverify/integrations/data/random.h>
#include <leapverify/integrations/data/sequences.h>

#include <algorithm>
#include <utility>

namespace leapverify::data {

Sequences::Sequences(const Corpus& corpus, std::vector<Segment> segments, std::int64_t context)
    : corpus_(corpus), segments_(std::move(segments)), context_(context), offsets_{0} {
  for (const Segment& segment : segments_) {
    offsets_.push_back(offsets_.back() + segment.end - segment.begin);
  }
  if (corpus.whole_documents) cut_into_pieces();
}

void Sequences::cut_into_pieces() {
  for (const Segment& document : segments_) {
    const bool prompted = document.counted_from > document.begin;
    const std::size_t before = pieces_.size();
    for (std::int64_t begin = document.begin; begin + 1 < document.end; begin += context_) {
      const std::int64_t end = std::min(begin + context_ + 1, document.end);
      if (document.counted_from < end) pieces_.push_back({begin, end, document.counted_from});
      if (prompted) break;
    }
    if (pieces_.size() == before) ++left_out_;
  }
}

std::uint64_t Sequences::hash() const {
  constexpr std::int64_t kPart = 1 << 16;
  std::vector<std::int64_t> part(kPart);
  std::uint64_t hash = kFnvBasis;
  for (const Segment& segment : segments_) {
    if (corpus_.whole_documents) {
      hash = fnv_step(hash, static_cast<std::uint64_t>(segment.end - segment.begin));
      hash = fnv_step(hash, static_cast<std::uint64_t>(segment.counted_from - segment.begin));
    }
    for (std::int64_t begin = segment.begin; begin < segment.end; begin += kPart) {
      const std::int64_t count = std::min(kPart, segment.end - begin);
      corpus_.tokens.read(begin, count, part.data());
      for (std::int64_t i = 0; i < count; ++i) {
        hash = fnv_step(hash, static_cast<std::uint64_t>(part[static_cast<std::size_t>(i)]));
      }
    }
  }
  return hash;
}

std::int64_t Sequences::size() const {
  if (corpus_.whole_documents) return static_cast<std::int64_t>(pieces_.size());
  return std::max<std::int64_t>(tokens() - context_, 0);
}

std::vector<std::int64_t> Sequences::disjoint() const {
  std::vector<std::int64_t> result;
  const std::int64_t stride = corpus_.whole_documents ? 1 : context_ + 1;
  for (std::int64_t index = 0; index < size(); index += stride) result.push_back(index);
  return result;
}

void Sequences::write(std::int64_t index, std::int64_t* tokens, std::int64_t* targets) const {
  if (corpus_.whole_documents) {
    return write_piece(pieces_[static_cast<std::size_t>(index)], tokens, targets);
  }
  read(index, context_, tokens);
  std::copy(tokens + 1, tokens + context_, targets);
  read(index + context_, 1, targets + context_ - 1);
}

void Sequences::write_piece(const Piece& piece, std::int64_t* tokens, std::int64_t* targets) const {
  const std::int64_t filler = std::max<std::int64_t>(corpus_.document_end, 0);
  const std::int64_t count = piece.end - piece.begin - 1;
  corpus_.tokens.read(piece.begin, count, tokens);
  std::fill(tokens + count, tokens + context_, filler);
  corpus_.tokens.read(piece.begin + 1, count, targets);
  std::fill(targets + count, targets + context_, kIgnored);
  const std::int64_t prompt = piece.counted_from - (piece.begin + 1);
  std::fill_n(targets, std::clamp<std::int64_t>(prompt, 0, count), kIgnored);
}

void Sequences::read(std::int64_t begin, std::int64_t count, std::int64_t* out) const {
  auto next = std::upper_bound(offsets_.begin(), offsets_.end(), begin);
  while (count > 0) {
    const Segment& segment = segments_[static_cast<std::size_t>(next - offsets_.begin()) - 1];
    const std::int64_t part = std::min(count, *next - begin);
    corpus_.tokens.read(segment.end - (*next - begin), part, out);
    begin += part;
    count -= part;
    out += part;
    ++next;
  }
}

}  // namespace leapverify::data
