#include <leapverify/integrations/data/data_options.h>

#include <utility>

namespace leapverify::data {

void DataOptions::describe(FieldVisitor& visitor) {
  const Range share = between(0.001, 0.9);
  visitor.field("path", path,
                "text file or folder of text files; token file or folder of .bin files");
  visitor.choice("format", format,
                 "what path holds; auto: llmc by its header, nanogpt by the names train.bin and "
                 "val.bin, else bytes of text");
  visitor.field("extensions", extensions,
                "folder of text: endings of the files to read, as in [.py]; []: every text file");
  visitor.field("exclude", exclude,
                "folder of text: names of folders to pass by; hidden ones always are");
  visitor.field("max_bytes", max_bytes, at_least(1), "bytes of text to read at most");
  visitor.field("shards", shards, "folder of tokens: names of the files to read; []: every .bin");
  visitor.field("document_end", document_end, at_least(-1),
                "tokens without an index: the one between documents; -1: GPT-2's 50256 in files of "
                "16-bit tokens");
  visitor.field("gate_share", gate_share, share, "share of the data that only decides on leaps");
  visitor.field("validation_share", validation_share, share,
                "share of the data that is scored and never decides anything");
  visitor.field("seed", seed, at_least(0), "order of documents, batches and held-out sequences");
}

void DataOptions::validate() const {
  validate_fields(*this);
  if (gate_share + validation_share > 0.9) {
    throw InvalidOption("gate_share", number_text(gate_share),
                        "at most 0.9 together with validation_share = " +
                            number_text(validation_share) + ", the rest is for training");
  }
  for (const std::string& extension : extensions) {
    if (extension.size() < 2 || extension.front() != '.') {
      throw InvalidOption("extensions", '"' + extension + '"', "endings with a dot, as in .py");
    }
  }
}

DataError::DataError(std::string path, std::string value, std::string legal)
    : Error(path + " " + value + "; expected " + legal),
      path_(std::move(path)),
      value_(std::move(value)),
      legal_(std::move(legal)) {}

}  // namespace leapverify::data
