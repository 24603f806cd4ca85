// The safetensors reader takes back what the writer wrote and refuses everything malformed.
#include <gmock/gmock.h>
#include <leapverify/runtime/safetensors.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/refusals.h"
#include "runtime/tensor_matchers.h"

namespace leapverify {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

void expect_refusal(const std::string& bytes, const char* words) {
  try {
    from_safetensors(bytes, "model.safetensors");
    FAIL() << "accepted: " << words;
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), StartsWith("model.safetensors: "));
    EXPECT_THAT(error.what(), HasSubstr(words));
    EXPECT_TRUE(is_one_clear_line(error.what()));
  }
}

/// A header's entry; the keys stand in the order in which Python's safetensors writes them.
std::string entry(const std::string& name, const std::string& shape, const std::string& offsets,
                  const std::string& dtype = "F32") {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

TEST(Safetensors, EveryDtypeComesBackBitwise) {
  NamedTensors tensors;
  for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble, at::kLong,
                                     at::kInt, at::kShort, at::kChar, at::kByte, at::kBool}) {
    tensors.emplace_back(std::string("tensor.") + at::toString(dtype),
                         at::arange(6).reshape({2, 3}).to(dtype));
  }
  tensors.emplace_back("empty", at::empty({0, 4}));
  tensors.emplace_back("scalar", at::tensor(-0.0));
  const NamedTensors back = from_safetensors(to_safetensors(tensors), "test");
  ASSERT_EQ(back.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_TRUE(bitwise_equal(find_like(back, name, tensor, "test"), tensor)) << name;
  }
}

TEST(Safetensors, FilesAreThoseOfTheFormat) {
  const std::pair<at::ScalarType, const char*> names[] = {
      {at::kFloat, "F32"}, {at::kHalf, "F16"}, {at::kBFloat16, "BF16"}, {at::kDouble, "F64"},
      {at::kLong, "I64"},  {at::kInt, "I32"},  {at::kShort, "I16"},     {at::kChar, "I8"},
      {at::kByte, "U8"},   {at::kBool, "BOOL"}};
  for (const auto& [dtype, name] : names) {
    const std::size_t bytes = 2 * at::elementSize(dtype);
    std::string header = "{" + entry("a", "[2,1]", "[0," + std::to_string(bytes) + "]", name) + "}";
    header.append((8 - header.size() % 8) % 8, ' ');
    const std::string file = to_safetensors({{"a", at::zeros({2, 1}, dtype)}});
    EXPECT_EQ(file.substr(0, file.size() - bytes), safetensors_file(header, 0));
    EXPECT_EQ(file.substr(file.size() - bytes), std::string(bytes, '\0'));
  }
}

TEST(Safetensors, ViewsAreWrittenAsTheyLook) {
  const at::Tensor view = at::arange(6, at::kFloat).reshape({2, 3}).t();
  const NamedTensors back = from_safetensors(to_safetensors({{"view", view}}), "test");
  EXPECT_TRUE(bitwise_equal(back[0].second, view.contiguous()));
}

TEST(Safetensors, DataBeginsAligned) {
  std::uint64_t header = 0;
  const std::string bytes = to_safetensors({{"a", at::zeros({3})}});
  std::memcpy(&header, bytes.data(), 8);
  EXPECT_EQ(header % 8, 0u);
}

TEST(Safetensors, RefusesTruncationAtEveryByte) {
  const std::string bytes = to_safetensors({{"a", at::zeros({3})}, {"b", at::ones({2, 2})}});
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THROW(from_safetensors(bytes.substr(0, length), "test"), FormatError) << length;
  }
  EXPECT_NO_THROW(from_safetensors(bytes, "test"));
}

TEST(Safetensors, RefusesMalformedHeaders) {
  const struct {
    std::string header;
    const char* words;
  } cases[] = {
      {"", "header: not JSON"},
      {"{nonsense", "header: not JSON"},
      {"[]", "header: not a JSON object"},
      {"{}{}", "header: not JSON"},
      {"{\"a\xff\":1}", "header: not JSON"},
      {std::string(1'000'000, '['), "header: nested deeper than 3"},
      {"{\"a\":{\"b\":[[1]]}}", "header: nested deeper than 3"},
      {"{\"a\":4}", "tensor 'a': bad header entry"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "tensor 'a': bad header entry"},
      {"{" + entry("a", "1", "[0,4]") + "}", "tensor 'a': bad header entry"},
      {"{" + entry("a", "[1]", "[0,4]", "Q7") + "}", "tensor 'a': unknown dtype 'Q7'"},
      {"{" + entry("a", "[1]", "[0,2,4]") + "}", "tensor 'a': data_offsets needs two numbers"},
      {"{" + entry("a", "[1]", "[0,4]") + "," + entry("a", "[1]", "[0,4]") + "}",
       "header: key 'a' is given twice"},
      {"{\"a\":{\"shape\":[2]," + entry("b", "[1]", "[0,4]").substr(5) + "}",
       "header: key 'shape' is given twice"},
  };
  for (const auto& [header, words] : cases) expect_refusal(safetensors_file(header, 4), words);
}

TEST(Safetensors, RefusesAHeaderThatIsLongerThanTheFile) {
  expect_refusal("", "shorter than a safetensors header");
  expect_refusal("abcdefg", "shorter than a safetensors header");
  expect_refusal(std::string(8, '\xff') + "{}", "header of 18446744073709551615 bytes in a file");
  expect_refusal(safetensors_file("{}", 0).substr(0, 9), "header of 2 bytes in a file of 9");
  std::string too_long(100'000'010, ' ');
  const std::uint64_t length = 100'000'001;
  std::memcpy(too_long.data(), &length, 8);
  expect_refusal(too_long, "header of 100000001 bytes");
}

TEST(Safetensors, RefusesNumbersThatAreNotWhole) {
  const std::string expected = ", expected whole numbers from 0 to 2^63 - 1";
  const auto refused = [&](const char* shape, const std::string& shown) {
    expect_refusal(safetensors_file("{" + entry("a", shape, "[0,4]") + "}", 4),
                   ("shape holds " + shown + expected).c_str());
  };
  refused("[-1]", "-1");
  refused("[1.0]", "1.0");
  refused("[1e300]", "1e+300");
  refused("[true]", "true");
  refused("[\"1\"]", "\"1\"");
  refused("[null]", "null");
  refused("[9223372036854775808]", "9223372036854775808");
  refused("[18446744073709551617]", "1.8446744073709552e+19");
  expect_refusal(safetensors_file("{" + entry("a", "[1]", "[0,4.5]") + "}", 4),
                 "data_offsets holds 4.5");
}

TEST(Safetensors, RefusesOffsetsThatDoNotFit) {
  const struct {
    std::string entries;
    std::size_t data_bytes;
    const char* words;
  } cases[] = {
      {entry("a", "[2]", "[0,8]"), 4, "bytes 0 to 8 of 4"},
      {entry("a", "[2]", "[4,0]"), 8, "bytes 4 to 0"},
      {entry("a", "[3]", "[0,8]"), 8, "the shape needs 12 bytes, the file has 8"},
      {entry("a", "[2]", "[0,8]", "F64"), 8, "the shape needs 16 bytes, the file has 8"},
      {entry("a", "[0]", "[0,4]"), 4, "the shape needs 0 bytes, the file has 4"},
      {entry("a", "[4611686018427387904,4]", "[0,4]"), 4, "too many elements"},
      {entry("a", "[0,4611686018427387904,4]", "[0,0]"), 0, "too many elements"},
      {entry("a", "[1]", "[0,4]") + "," + entry("b", "[1]", "[0,4]"), 4,
       "'b' begins at byte 0, expected 4"},
      {entry("a", "[2]", "[0,8]") + "," + entry("b", "[2]", "[4,12]"), 12,
       "'b' begins at byte 4, expected 8"},
      {entry("a", "[1]", "[4,8]"), 8, "'a' begins at byte 4, expected 0"},
      {entry("a", "[1]", "[0,4]") + "," + entry("b", "[1]", "[8,12]"), 12,
       "'b' begins at byte 8, expected 4"},
      {entry("a", "[1]", "[0,4]"), 8, "4 bytes belong to no tensor"},
  };
  for (const auto& [entries, data_bytes, words] : cases) {
    expect_refusal(safetensors_file("{" + entries + "}", data_bytes), words);
  }
}

TEST(Safetensors, NamesFromTheFileCannotBreakTheLine) {
  const std::string long_name = std::string(5000, 'x') + "\\n\\u0007";
  expect_refusal(safetensors_file("{" + entry("a\\nerror: \\u00e9", "[1]", "[0,8]") + "}", 4),
                 "tensor 'a?error: ");
  expect_refusal(safetensors_file("{" + entry(long_name, "[1]", "[0,8]") + "}", 4), "xxx...'");
  expect_refusal(safetensors_file("{" + entry("a", "[1]", "[0,4]", long_name) + "}", 4), "xxx...'");
  expect_refusal(safetensors_file("{" + long_name, 4), "not JSON");
}

TEST(Safetensors, MetadataIsNoTensor) {
  const std::string header =
      "{\"__metadata__\":{\"format\":\"pt\"}," + entry("a", "[1]", "[0,4]") + "}  ";
  const NamedTensors tensors = from_safetensors(safetensors_file(header, 4), "test");
  ASSERT_EQ(tensors.size(), 1u);
  EXPECT_EQ(tensors[0].first, "a");
  EXPECT_THROW(to_safetensors({{"__metadata__", at::zeros({1})}}), FormatError);
}

TEST(Safetensors, MetadataStandsInTheHeader) {
  std::string header =
      "{\"__metadata__\":{\"format\":\"pt\"}," + entry("a", "[1]", "[0,1]", "U8") + "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  const at::Tensor x = at::full({1}, 'x', at::kByte);
  EXPECT_EQ(to_safetensors({{"a", x}}, {{"format", "pt"}}), safetensors_file(header, 1));
}

TEST(Safetensors, RefusesANameGivenTwice) {
  EXPECT_THROW(to_safetensors({{"a", at::zeros({1})}, {"a", at::zeros({1})}}), FormatError);
}

TEST(Safetensors, LookUpChecksShapeAndDtype) {
  const NamedTensors tensors = {{"a", at::zeros({2, 3})}};
  EXPECT_THROW(find_like(tensors, "b", at::zeros({2, 3}), "f"), FormatError);
  EXPECT_THROW(find_like(tensors, "a", at::zeros({3, 2}), "f"), FormatError);
  EXPECT_THROW(find_like(tensors, "a", at::zeros({2, 3}, at::kDouble), "f"), FormatError);
}

class MappedSafetensors : public testing::Test {
 protected:
  MappedSafetensors() {
    std::string pattern = (std::filesystem::temp_directory_path() / "leapverify_XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    folder_ = pattern;
    path_ = folder_ / "model.safetensors";
  }
  ~MappedSafetensors() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }

  std::filesystem::path folder_;
  std::filesystem::path path_;
};

TEST_F(MappedSafetensors, HoldsWhatReadingGives) {
  const NamedTensors tensors = {{"a", at::arange(6, at::kFloat).reshape({2, 3})},
                                {"empty", at::empty({0, 4})},
                                {"b", at::arange(4, at::kLong)},
                                {"end", at::empty({0}, at::kLong)}};
  write(to_safetensors(tensors));
  EXPECT_TRUE(bitwise_equal(map_safetensors(path_), tensors));
}

TEST_F(MappedSafetensors, TensorsAreTheBytesOfOneMapping) {
  write(to_safetensors({{"a", at::rand({1000, 1000})}, {"b", at::rand({1000, 10})}}));
  const NamedTensors tensors = map_safetensors(path_);
  const auto begin = [&](std::size_t i) {
    return static_cast<const char*>(tensors[i].second.data_ptr());
  };
  EXPECT_EQ(begin(1), begin(0) + tensors[0].second.nbytes());
}

TEST_F(MappedSafetensors, OneTensorKeepsTheMappingWhenTheFileIsGone) {
  const at::Tensor expected = at::arange(100000, at::kFloat);
  write(to_safetensors({{"a", expected}, {"b", at::zeros({3})}}));
  const at::Tensor kept = map_safetensors(path_)[0].second;
  std::filesystem::remove(path_);
  EXPECT_TRUE(bitwise_equal(kept, expected));
}

TEST_F(MappedSafetensors, WritingToATensorLeavesTheFile) {
  const std::string bytes = to_safetensors({{"a", at::ones({5})}});
  write(bytes);
  const NamedTensors tensors = map_safetensors(path_);
  tensors[0].second.zero_();
  EXPECT_TRUE(bitwise_equal(tensors[0].second, at::zeros({5})));
  EXPECT_TRUE(bitwise_equal(map_safetensors(path_)[0].second, at::ones({5})));
}

TEST_F(MappedSafetensors, TensorsThatBeginAtOddBytesAreAligned) {
  const NamedTensors tensors = {{"odd", at::zeros({3}, at::kByte)},
                                {"double", at::arange(3, at::kDouble)},
                                {"half", at::arange(3, at::kHalf)}};
  write(to_safetensors(tensors));
  const NamedTensors mapped = map_safetensors(path_);
  EXPECT_TRUE(bitwise_equal(mapped, tensors));
  for (const auto& [name, tensor] : mapped) {
    const auto address = reinterpret_cast<std::uintptr_t>(tensor.data_ptr());
    EXPECT_EQ(address % tensor.element_size(), 0u) << name;
  }
}

TEST_F(MappedSafetensors, RefusesWhatReadingRefuses) {
  const std::string bytes = to_safetensors({{"a", at::zeros({3})}});
  for (const std::size_t length : {std::size_t{0}, std::size_t{7}, bytes.size() - 1}) {
    write(bytes.substr(0, length));
    EXPECT_THAT([&] { map_safetensors(path_); },
                testing::ThrowsMessage<FormatError>(StartsWith(path_.string() + ": ")));
  }
}

TEST_F(MappedSafetensors, RefusesWhatIsNoFile) {
  EXPECT_THAT([&] { map_safetensors(path_); },
              testing::ThrowsMessage<FileError>(path_.string() +
                                                ": cannot open: No such file or directory"));
  EXPECT_THAT([&] { map_safetensors(folder_); },
              testing::ThrowsMessage<FileError>(folder_.string() + ": cannot map: Is a directory"));
}

}  // namespace
}  // namespace leapverify
