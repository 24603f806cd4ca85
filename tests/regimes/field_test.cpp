// An options struct described once is validated from that description.
#include <gmock/gmock.h>
#include <leapverify/regimes/field.h>

#include <cmath>
#include <limits>

namespace leapverify {
namespace {

enum class Colour { kRed, kBlue };

}  // namespace

template <>
struct EnumNames<Colour> {
  static constexpr Named<Colour> names[] = {{Colour::kRed, "red"}, {Colour::kBlue, "blue"}};
};

namespace {

using testing::HasSubstr;

struct Inner {
  double share = 0.5;
  void describe(FieldVisitor& visitor) { visitor.field("share", share, between(0, 1), "a share"); }
};

struct Outer {
  std::int64_t count = 3;
  std::vector<std::int64_t> list = {1, 2};
  Colour colour = Colour::kRed;
  Inner inner;
  void describe(FieldVisitor& visitor) {
    visitor.field("count", count, at_least(1), "a count");
    visitor.field("list", list, above(0), "a list");
    visitor.choice("colour", colour, "a colour");
    visitor.group("inner", inner);
  }
};

TEST(Field, DefaultsAreLegal) { EXPECT_NO_THROW(validate_fields(Outer())); }

TEST(Field, RefusalNamesFieldValueAndLegalRange) {
  Outer options;
  options.count = 0;
  try {
    validate_fields(options);
    FAIL() << "count = 0 was accepted";
  } catch (const InvalidOption& error) {
    EXPECT_EQ(error.field(), "count");
    EXPECT_EQ(error.value(), "0");
    EXPECT_EQ(error.legal(), "an integer ≥ 1");
    EXPECT_STREQ(error.what(), "count: 0 is not legal, expected an integer ≥ 1");
  }
}

TEST(Field, RefusalInGroupCarriesTheFullName) {
  Outer options;
  options.inner.share = 1.5;
  try {
    validate_fields(options);
    FAIL() << "share = 1.5 was accepted";
  } catch (const InvalidOption& error) {
    EXPECT_EQ(error.field(), "inner.share");
  }
}

TEST(Field, AllAreTextByFullName) {
  Outer options;
  options.colour = Colour::kBlue;
  std::vector<std::string> lines;
  for (const FieldText& field : field_texts(options))
    lines.push_back(field.name + ": " + field.value);
  EXPECT_THAT(lines,
              testing::ElementsAre("count: 3", "list: [1, 2]", "colour: blue", "inner.share: 0.5"));
}

TEST(Field, EveryItemOfAListIsChecked) {
  Outer options;
  options.list = {5, 0};
  EXPECT_THROW(validate_fields(options), InvalidOption);
}

TEST(Field, NanIsInNoRange) {
  EXPECT_FALSE(Range{}.contains(std::nan("")));
  EXPECT_FALSE(between(0, 1).contains(std::nan("")));
}

TEST(Field, OpenEndsAreNotContained) {
  EXPECT_FALSE(above(0).contains(0));
  EXPECT_TRUE(above(0).contains(1e-300));
  EXPECT_TRUE(at_least(0).contains(0));
  EXPECT_TRUE(above(0).contains(std::numeric_limits<double>::infinity()));
}

TEST(Field, RangesReadAsText) {
  EXPECT_EQ(at_least(1).text(), "a number ≥ 1");
  EXPECT_EQ(above(0).text(), "a number > 0");
  EXPECT_EQ(between(0, 1).text(), "a number in [0, 1]");
  EXPECT_EQ((Range{0, 1, false, true}).text(), "a number in [0, 1)");
  EXPECT_EQ(Range{}.text(), "a number");
  EXPECT_EQ(at_least(1).text("an integer"), "an integer ≥ 1");
}

TEST(Field, NumbersAreShortAndExact) {
  EXPECT_EQ(number_text(0.05), "0.05");
  EXPECT_EQ(number_text(25), "25");
  EXPECT_EQ(std::stod(number_text(0.1 + 0.2)), 0.1 + 0.2);
  EXPECT_EQ(number_text(std::numeric_limits<double>::infinity()), "inf");
}

TEST(Field, ChoicesGoThroughTheirNames) {
  struct Reader : FieldValidator {
    using FieldValidator::field;
    void field(const std::string&, const Choice& choice, const char*) override {
      EXPECT_EQ(choice.names, (std::vector<std::string>{"red", "blue"}));
      EXPECT_EQ(choice.get(), "red");
      choice.set("blue");
    }
  } reader;
  Outer options;
  options.describe(reader);
  EXPECT_EQ(options.colour, Colour::kBlue);
}

}  // namespace
}  // namespace leapverify
