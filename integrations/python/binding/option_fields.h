// The options as a Python dictionary: {"predictor": "linear", "verification.rule": "strict"}.
#pragma once

#include <leapverify/runtime/policy/options.h>
#include <pybind11/pybind11.h>

namespace leapverify::python {

/// Sets the options that `values` names; throws InvalidOption for a value that is not legal. Names
/// that are no options are passed by.
void set_options(Options& options, const pybind11::dict& values);

/// One (name, default, legal values, meaning) for each option; legal values are empty where any will
/// do.
pybind11::list describe_options(Options options);

}  // namespace leapverify::python
