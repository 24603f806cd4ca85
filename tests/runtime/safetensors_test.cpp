// The safetensors reader takes back what the writer wrote and refuses everything malformed.
#include <gmock/gmock.h>
#include <leapverify/runtime/safetensors.h>

#include <cstdint>
#include <cstring>

#include "runtime/tensor_matchers.h"

namespace leapverify {
namespace {

using testing::HasSubstr;

std::string file_with(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, 'x');
}

void expect_refusal(const std::string& bytes, const char* words) {
  try {
    from_safetensors(bytes, "model.safetensors");
    FAIL() << "accepted: " << words;
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("model.safetensors"));
    EXPECT_THAT(error.what(), HasSubstr(words));
  }
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
  expect_refusal("abc", "shorter than a safetensors header");
  expect_refusal(std::string(8, '\xff') + "{}", "header of");
  expect_refusal(file_with("{nonsense", 0), "not JSON");
  expect_refusal(file_with("[]", 0), "not a JSON object");
  expect_refusal(file_with(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "bad header entry");
  expect_refusal(file_with(R"({"a":{"dtype":"Q7","shape":[1],"data_offsets":[0,4]}})", 4),
                 "unknown dtype 'Q7'");
}

TEST(Safetensors, RefusesOffsetsThatDoNotFit) {
  const auto entry = [](const char* shape, const char* offsets) {
    return std::string(R"("dtype":"F32","shape":)") + shape + R"(,"data_offsets":)" + offsets;
  };
  expect_refusal(file_with("{\"a\":{" + entry("[2]", "[0,8]") + "}}", 4), "bytes 0 to 8 of 4");
  expect_refusal(file_with("{\"a\":{" + entry("[2]", "[4,0]") + "}}", 8), "bytes 4 to 0");
  expect_refusal(file_with("{\"a\":{" + entry("[3]", "[0,8]") + "}}", 8), "needs 12 bytes");
  expect_refusal(file_with("{\"a\":{" + entry("[-1]", "[0,4]") + "}}", 4), "negative size");
  expect_refusal(file_with("{\"a\":{" + entry("[4611686018427387904,4]", "[0,4]") + "}}", 4),
                 "too many");
  expect_refusal(
      file_with("{\"a\":{" + entry("[1]", "[0,4]") + "},\"b\":{" + entry("[1]", "[0,4]") + "}}", 4),
      "begins at byte 0, expected 4");
  expect_refusal(file_with("{\"a\":{" + entry("[1]", "[4,8]") + "}}", 8), "expected 0");
  expect_refusal(file_with("{\"a\":{" + entry("[1]", "[0,4]") + "}}", 8), "belong to no tensor");
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

}  // namespace
}  // namespace leapverify
