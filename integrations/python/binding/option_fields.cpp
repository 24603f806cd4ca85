#include <leapverify/integrations/python/binding/option_fields.h>
#include <pybind11/stl.h>

#include <algorithm>

namespace leapverify::python {
namespace {

namespace py = pybind11;

std::string text_of(const py::handle value) { return py::repr(value).cast<std::string>(); }

std::string choice_text(const Choice& choice) {
  std::string text;
  for (const std::string& name : choice.names) text += (text.empty() ? "" : ", ") + name;
  return "one of " + text;
}

bool is_integer(const py::handle value) {
  return !PyBool_Check(value.ptr()) && PyIndex_Check(value.ptr()) != 0;
}

bool is_number(const py::handle value) { return is_integer(value) || PyFloat_Check(value.ptr()); }

bool is_sequence(const py::handle value) {
  return PyList_Check(value.ptr()) || PyTuple_Check(value.ptr());
}

/// Visits each field with what the dictionary holds for it.
class Reader : public FieldVisitor {
 public:
  explicit Reader(const py::dict& values) : values_(values) {}

  void field(const std::string& name, std::int64_t& value, const Range& range,
             const char*) override {
    read(name, range.text("an integer"), [&](const py::handle given) {
      if (!is_integer(given)) return false;
      value = py::int_(py::reinterpret_borrow<py::object>(given)).cast<std::int64_t>();
      return range.contains(static_cast<double>(value));
    });
  }
  void field(const std::string& name, double& value, const Range& range, const char*) override {
    read(name, range.text(), [&](const py::handle given) {
      if (!is_number(given)) return false;
      value = py::float_(py::reinterpret_borrow<py::object>(given)).cast<double>();
      return range.contains(value);
    });
  }
  void field(const std::string& name, bool& value, const char*) override {
    read(name, "True or False", [&](const py::handle given) {
      if (!PyBool_Check(given.ptr())) return false;
      value = given.cast<bool>();
      return true;
    });
  }
  void field(const std::string& name, std::string& value, const char*) override {
    read(name, "a text", [&](const py::handle given) {
      if (!PyUnicode_Check(given.ptr())) return false;
      value = given.cast<std::string>();
      return true;
    });
  }
  void field(const std::string& name, std::vector<std::int64_t>& value, const Range& range,
             const char*) override {
    read(name, "a list, each " + range.text("an integer"), [&](const py::handle given) {
      if (!is_sequence(given)) return false;
      std::vector<std::int64_t> numbers;
      for (const py::handle entry : given) {
        if (!is_integer(entry)) return false;
        numbers.push_back(entry.cast<std::int64_t>());
        if (!range.contains(static_cast<double>(numbers.back()))) return false;
      }
      value = std::move(numbers);
      return true;
    });
  }
  void field(const std::string& name, std::vector<std::string>& value, const char*) override {
    read(name, "a list of texts", [&](const py::handle given) {
      if (!is_sequence(given)) return false;
      std::vector<std::string> words;
      for (const py::handle entry : given) {
        if (!PyUnicode_Check(entry.ptr())) return false;
        words.push_back(entry.cast<std::string>());
      }
      value = std::move(words);
      return true;
    });
  }
  void field(const std::string& name, const Choice& choice, const char*) override {
    read(name, choice_text(choice), [&](const py::handle given) {
      if (!PyUnicode_Check(given.ptr())) return false;
      const auto word = given.cast<std::string>();
      if (std::find(choice.names.begin(), choice.names.end(), word) == choice.names.end()) {
        return false;
      }
      choice.set(word);
      return true;
    });
  }

 private:
  template <class Take>
  void read(const std::string& name, const std::string& legal, Take take) const {
    const py::str key(full(name));
    if (!values_.contains(key)) return;
    const py::object given = values_[key];
    if (!take(given)) throw InvalidOption(full(name), text_of(given), legal);
  }

  const py::dict& values_;
};

class Lister : public FieldVisitor {
 public:
  void field(const std::string& name, std::int64_t& value, const Range& range,
             const char* meaning) override {
    add(name, py::int_(value), range.text("an integer"), meaning);
  }
  void field(const std::string& name, double& value, const Range& range,
             const char* meaning) override {
    add(name, py::float_(value), range.text(), meaning);
  }
  void field(const std::string& name, bool& value, const char* meaning) override {
    add(name, py::bool_(value), "True or False", meaning);
  }
  void field(const std::string& name, std::string& value, const char* meaning) override {
    add(name, py::str(value), "", meaning);
  }
  void field(const std::string& name, std::vector<std::int64_t>& value, const Range& range,
             const char* meaning) override {
    add(name, py::cast(value), "a list, each " + range.text("an integer"), meaning);
  }
  void field(const std::string& name, std::vector<std::string>& value,
             const char* meaning) override {
    add(name, py::cast(value), "a list of texts", meaning);
  }
  void field(const std::string& name, const Choice& choice, const char* meaning) override {
    add(name, py::str(choice.get()), choice_text(choice), meaning);
  }

  py::list entries;

 private:
  void add(const std::string& name, const py::object& value, const std::string& legal,
           const char* meaning) {
    entries.append(py::make_tuple(full(name), value, legal, meaning));
  }
};

}  // namespace

void set_options(Options& options, const py::dict& values) {
  Reader reader(values);
  options.describe(reader);
}

py::list describe_options(Options options) {
  Lister lister;
  options.describe(lister);
  return lister.entries;
}

}  // namespace leapverify::python
