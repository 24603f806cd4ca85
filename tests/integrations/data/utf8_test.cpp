#include <gmock/gmock.h>
#include <leapverify/integrations/data/utf8.h>

namespace leapverify::data {
namespace {

std::vector<std::uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

TEST(WhyNotText, AcceptsCharactersOfAllLengths) {
  EXPECT_EQ(why_not_text(bytes_of("")), "");
  EXPECT_EQ(why_not_text(bytes_of("a\n\x7f")), "");
  EXPECT_EQ(why_not_text(bytes_of("\xc2\x80\xdf\xbf")), "");
  EXPECT_EQ(why_not_text(bytes_of("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf")), "");
  EXPECT_EQ(why_not_text(bytes_of("\xf0\x90\x80\x80\xf1\x80\x80\x80\xf4\x8f\xbf\xbf")), "");
}

TEST(WhyNotText, NamesTheFirstNulByte) {
  EXPECT_EQ(why_not_text(bytes_of(std::string("ab\0c\0", 5))), "NUL byte at offset 2");
}

TEST(WhyNotText, NamesTheFirstIllFormedCharacter) {
  const char* const ill_formed[] = {
      "\x80",              // continuation without lead
      "\xc1\xbf",          // overlong
      "\xe0\x9f\xbf",      // overlong
      "\xf0\x8f\xbf\xbf",  // overlong
      "\xed\xa0\x80",      // surrogate
      "\xf4\x90\x80\x80",  // above U+10FFFF
      "\xf5\x80\x80\x80",  // no lead
      "\xff",              // no lead
      "\xe2\x82",          // cut
      "\xe2\x82z",         // continuation missing
      "\xf1\x80z\x80",     // continuation missing
  };
  for (const char* text : ill_formed) {
    EXPECT_EQ(why_not_text(bytes_of(std::string("ok ") + text)), "invalid UTF-8 at offset 3");
  }
}

TEST(ShownText, HasAReplacementForWhatNoTerminalShows) {
  EXPECT_EQ(shown_text(bytes_of("a\tb\n\xc3\xa9\xf0\x9f\x98\x80")),
            "a\tb\n\xc3\xa9\xf0\x9f\x98\x80");
  EXPECT_EQ(shown_text(bytes_of("a\xc3")), "a\xef\xbf\xbd");
  EXPECT_EQ(shown_text(bytes_of("\xa6z\x1b[2J\x7f")), "\xef\xbf\xbdz\xef\xbf\xbd[2J\xef\xbf\xbd");
  EXPECT_EQ(shown_text(bytes_of("\xc2\x9b\xc2\xa0")), "\xef\xbf\xbd\xc2\xa0");
  EXPECT_EQ(shown_text({}), "");
}

TEST(DropCutCharacter, DropsOnlyACharacterThatIsNotComplete) {
  const auto dropped = [](const std::string& text) {
    std::vector<std::uint8_t> bytes = bytes_of(text);
    drop_cut_character(bytes);
    return std::string(bytes.begin(), bytes.end());
  };
  EXPECT_EQ(dropped(""), "");
  EXPECT_EQ(dropped("ab"), "ab");
  EXPECT_EQ(dropped("a\xc3\xa9"), "a\xc3\xa9");
  EXPECT_EQ(dropped("a\xc3"), "a");
  EXPECT_EQ(dropped("a\xe2\x82"), "a");
  EXPECT_EQ(dropped("a\xf0\x9f\x98"), "a");
  EXPECT_EQ(dropped("a\xf0\x9f\x98\x80"), "a\xf0\x9f\x98\x80");
  EXPECT_EQ(dropped("\xf0"), "");
}

}  // namespace
}  // namespace leapverify::data
