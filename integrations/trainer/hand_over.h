// Commands that other programs carry out: `leapverify report` and `leapverify bench`.
#pragma once

#include <string>
#include <vector>

namespace leapverify::trainer {

/// Becomes `python -m leapverify.report ARGUMENTS...`: the interpreter is $LEAPVERIFY_PYTHON, or
/// python3 on PATH. Returns only by throwing: FileError when the interpreter cannot be run. A
/// package that is missing there is one line on stderr and exit status 2.
[[noreturn]] void become_report(const std::vector<std::string>& arguments);

/// Becomes `scripts/bench.sh ARGUMENTS...` of the source tree in whose build folder this program
/// lies, with that build's preset. Returns only by throwing: FileError where there is none.
[[noreturn]] void become_bench(const std::vector<std::string>& arguments);

}  // namespace leapverify::trainer
