"""Feeds layering.py one wrong include at a time, and right ones, so that the check itself is known to work."""

import tempfile
import unittest
from pathlib import Path

import layering

RIGHT = {
    "kernels/combine.h": "#pragma once\n#include <cstdint>\n",
    "kernels/combine.cu": "#include <leapverify/kernels/combine.h>\n\n#include <cub/cub.cuh>\n#include <cuda_runtime.h>\n",
    "regimes/detector.h": "#include <leapverify/kernels/combine.h>\n\n#include <vector>\n",
    "runtime/policy/verifier.h": "#include <leapverify/regimes/detector.h>\n#include <cmath>\n",
    "runtime/wrapper.h": "#include <leapverify/runtime/policy/verifier.h>\n#include <torch/torch.h>\n#include <chrono>\n",
    "runtime/trace.cpp": "#include <nlohmann/json.hpp>\n#include <fstream>\n#include <unistd.h>\n",
    "integrations/trainer/main.cpp": "#include <CLI/CLI.hpp>\n#include <leapverify/runtime/wrapper.h>\n#include <yaml-cpp/yaml.h>\n",
}

WRONG = [
    ("kernels/bad.cpp", "#include <torch/torch.h>"),
    ("kernels/bad.cu", "#include <ATen/ATen.h>"),
    ("kernels/bad.cpp", "#include <c10/cuda/CUDAStream.h>"),
    ("kernels/bad.cpp", "#include <nlohmann/json.hpp>"),
    ("kernels/bad.cpp", "#include <leapverify/regimes/detector.h>"),
    ("kernels/bad.cpp", "#include <some_library/api.h>"),
    ("kernels/bad.cpp", '#include "combine.h"'),
    ("kernels/bad.cpp", '  #  include "../kernels/combine.h"'),
    ("kernels/bad.cpp", "#include CONFIG_HEADER"),
    ("kernels/bad.cpp", "#include <leapverify/kernels/no_such_header.h>"),
    ("regimes/bad.cpp", "#include <cuda_runtime.h>"),
    ("regimes/bad.cpp", "#include <torch/types.h>"),
    ("regimes/bad.cpp", "#include <leapverify/runtime/policy/verifier.h>"),
    ("runtime/policy/bad.cpp", "#include <torch/torch.h>"),
    ("runtime/policy/bad.cpp", "#include <cuda_runtime_api.h>"),
    ("runtime/policy/bad.cpp", "#include <fstream>"),
    ("runtime/policy/bad.cpp", "#include <filesystem>"),
    ("runtime/policy/bad.cpp", "#include <chrono>"),
    ("runtime/policy/bad.cpp", "#include <leapverify/runtime/wrapper.h>"),
    ("runtime/bad.cpp", "#include <leapverify/integrations/trainer/main.cpp>"),
    ("runtime/bad.cpp", "#include <yaml-cpp/yaml.h>"),
    ("runtime/bad.cpp", "#include <CLI/CLI.hpp>"),
    ("integrations/data/bad.cpp", '#include "../trainer/config.h"'),
]


class LayeringTest(unittest.TestCase):
    def check(self, files):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            return layering.check(root)

    def test_right_includes_pass(self):
        files, complaints = self.check(RIGHT)
        self.assertEqual(files, len(RIGHT))
        self.assertEqual(complaints, [])

    def test_each_wrong_include_is_named_with_file_and_line(self):
        for name, line in WRONG:
            with self.subTest(file=name, line=line):
                _, complaints = self.check({**RIGHT, name: "// first line\n" + line + "\n"})
                self.assertEqual(len(complaints), 1, complaints)
                self.assertTrue(complaints[0].startswith(f"{name}:2: "), complaints[0])

    def test_includes_in_comments_do_not_count(self):
        text = "// #include <torch/torch.h>\n/*\n#include <torch/torch.h>\n*/\n#include <vector>  // why\n"
        self.assertEqual(self.check({**RIGHT, "kernels/good.cpp": text})[1], [])

    def test_forbidden_header_behind_an_allowed_one_is_found(self):
        files = {
            **RIGHT,
            "kernels/inner.h": "#include <cuda_runtime.h>\n",
            "kernels/outer.h": "#include <leapverify/kernels/inner.h>\n",
            "regimes/bad.cpp": "#include <leapverify/kernels/outer.h>\n",
        }
        _, complaints = self.check(files)
        self.assertEqual(len(complaints), 1, complaints)
        self.assertIn("regimes/bad.cpp:1: ", complaints[0])
        self.assertIn("leapverify/kernels/inner.h -> cuda_runtime.h", complaints[0])


if __name__ == "__main__":
    unittest.main()
