"""The kernel bench runs every row, its table shows each, and wrong arguments get one clear line.

Usage: kernels_bench_test.py PATH_OF_BENCH_KERNELS [unittest options]
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv.pop(1)
TABLE = pathlib.Path(__file__).parents[2] / "bench" / "kernels" / "table.py"


def bench(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=280)


class KernelsBench(unittest.TestCase):
    def test_every_row_is_measured_and_shown(self):
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder) / "kernels.json"
            result = bench("--device=cpu", "--shapes=smoke", "--iterations=2",
                           "--benchmark_out_format=json", f"--benchmark_out={report}")
            self.assertEqual(result.returncode, 0, result.stderr)
            rows = json.loads(report.read_text())["benchmarks"]
            shown = subprocess.run([sys.executable, TABLE, report], capture_output=True, text=True,
                                   check=True).stdout
        self.assertGreater(len(rows), 30)
        for row in rows:
            self.assertNotIn("error_message", row, row["name"])
            self.assertGreater(row["GB/s"], 0, row["name"])
            self.assertAlmostEqual(row["percent_of_copy"], 100 * row["GB/s"] / row["copy_GB/s"])
        for kernel in ("combine-2", "combine-3", "combine-5", "adam_direction", "average_step", "sample", "checksum", "copy",
                       "gram-3", "candidates-4-of-3", "cosine"):
            for_kernel = [line for line in shown.splitlines() if f"| {kernel} |" in line]
            self.assertTrue(any("| leapverify |" in line for line in for_kernel), kernel)
            self.assertTrue(any("× |" in line for line in for_kernel), f"{kernel} has no rival")
        self.assertEqual(shown.count("\n|"), len(rows) + 2)

    def test_wrong_arguments_get_one_line(self):
        for argument in ("--device=tpu", "--shapes=none", "--iterations=0", "--iterations=x"):
            result = bench(argument)
            self.assertEqual(result.returncode, 1, argument)
            self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
            self.assertIn(argument, result.stderr)


if __name__ == "__main__":
    unittest.main()
