"""scripts/bench.sh with programs that stand in for those that measure: folders, commands, what goes on and what fails.

Usage: script_test.py [unittest options]
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import synthetic_results

ROOT = pathlib.Path(__file__).parents[2]

OVERHEAD = "".join(json.dumps(line) + "\n" for line in synthetic_results.step_overhead(1))
CALIBRATION = "".join(json.dumps(line) + "\n" for line in synthetic_results.calibration(1))
CANDIDATE = json.dumps({"event": "candidate", "step": 50, "horizon": 5, "reference_losses": [2.0], "candidate_losses": [2.0]})

# Trains until it is stopped, which is no error, and then to its end.
TRAINER = f"""#!/bin/sh
what=$1
while [ $# -gt 0 ]; do case "$1" in --run|resume) run="$2" ;; esac; shift; done
mkdir -p "$run/checkpoints"
step=200
[ $what = train ] || step=600
echo "step-$step" >"$run/checkpoints/latest"
echo '{CANDIDATE}' >>"$run/trace.jsonl"
"""


class Script(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="leapverify test ")
        self.addCleanup(temporary.cleanup)
        self.root = pathlib.Path(temporary.name).resolve()
        (self.root / "scripts").mkdir()
        for name in ("bench.sh", "common.sh"):
            shutil.copy(ROOT / "scripts" / name, self.root / "scripts")
        self.program("scripts/setup.sh", "")
        (self.root / "bench").mkdir()
        for entry in (ROOT / "bench").iterdir():
            if entry.name != "results":
                (self.root / "bench" / entry.name).symlink_to(entry)
        (self.root / "integrations").symlink_to(ROOT / "integrations")
        self.program(".venv/bin/python", f'exec "{sys.executable}" -W ignore "$@"\n')
        self.program("build/bench/bench_step_overhead", f"cat <<'LINES'\n{OVERHEAD}LINES\n")
        self.program("build/bench/bench_calibration", f"cat <<'LINES'\n{CALIBRATION}LINES\n")
        self.text = self.root / "my text"
        self.text.mkdir()
        (self.text / "a.txt").write_text("some text")

    def program(self, name, script):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script if script.startswith("#!") else "#!/bin/sh\n" + script)
        path.chmod(0o755)

    def bench(self, *words, **environment):
        return subprocess.run([self.root / "scripts" / "bench.sh", *words], capture_output=True, text=True, timeout=120,
                              env={**os.environ, "LEAPVERIFY_PRESET": "dev", "LEAPVERIFY_DEVICE": "cpu", **environment})

    def folder(self):
        found, = (self.root / "bench" / "results").iterdir()
        return found

    def test_a_folder_holds_the_log_its_command_the_machine_the_text_and_a_report(self):
        done = self.bench("overhead", LEAPVERIFY_DATA=str(self.text))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        log = (self.folder() / "step_overhead.jsonl").read_text()
        self.assertEqual(log, "# build/bench/bench_step_overhead 200 cpu\n" + OVERHEAD)
        environment = (self.folder() / "environment.txt").read_text()
        self.assertIn("cpu", environment)
        self.assertRegex(environment, r"text DATA [0-9a-f]{16}\n")
        self.assertIn("Cost of a step without a try", (self.folder() / "report.md").read_text())

    def test_what_fails_is_named_and_the_rest_is_measured(self):
        self.program("build/bench/bench_kernels", "echo broken >&2\nexit 3\n")
        self.program("build/leapverify", "exit 4\n")
        done = self.bench("all", LEAPVERIFY_DATA=str(self.text))
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.splitlines()[-1], "error: failed: throughput demo kernels")
        self.assertTrue((self.folder() / "step_overhead.jsonl").exists())
        self.assertFalse((self.folder() / "throughput.jsonl").exists())
        self.assertIn("Cost of a step without a try", (self.folder() / "report.md").read_text())

    def test_calibration_goes_on_where_it_was_stopped(self):
        self.program("build/leapverify", TRAINER)
        data = {"LEAPVERIFY_DATA": str(self.text)}
        first = self.bench("calibration", **data)
        self.assertEqual(first.returncode, 1)
        folder = self.folder().relative_to(self.root)
        self.assertIn(f"To go on: scripts/bench.sh calibration {folder}\n", first.stdout)
        self.assertFalse((self.folder() / "calibration.jsonl").exists())
        for calls in range(1, 5):
            again = self.bench("calibration", self.folder(), **data)
            if again.returncode == 0:
                break
        # The second run is stopped once too.
        self.assertEqual(calls, 2, again.stdout + again.stderr)
        self.assertEqual((self.folder() / "calibration.jsonl").read_text().partition("\n")[2], CALIBRATION)
        self.assertEqual(len((self.folder() / "candidates.jsonl").read_text().splitlines()), 2)
        self.assertEqual({path.name for path in self.folder().iterdir()},
                         {"calibration.jsonl", "candidates.jsonl", "environment.txt", "report.md"})

    def test_a_folder_goes_on_with_its_own_text_only(self):
        self.program("build/leapverify", TRAINER)
        self.bench("calibration", LEAPVERIFY_DATA=str(self.text))
        (self.text / "a.txt").write_text("another text")
        refused = self.bench("calibration", self.folder(), LEAPVERIFY_DATA=str(self.text))
        self.assertEqual(refused.returncode, 1)
        self.assertIn("holds measurements on another text", refused.stderr)

    def test_wrong_input(self):
        for words, environment, expected in (
                (["everything"], {}, "unknown measurement 'everything'"),
                (["overhead", "somewhere"], {}, "is too much"),
                (["ksweep", "nowhere"], {}, "nowhere: not a folder of results"),
                (["any-rate"], {"LEAPVERIFY_DATA": str(self.text / "a.txt")}, "takes a folder of text"),
                (["overhead"], {"LEAPVERIFY_DATA": "nothing"}, "no file or folder 'nothing'"),
                (["overhead"], {"LEAPVERIFY_DEVICE": "tpu"}, "legal are cpu and cuda")):
            refused = self.bench(*words, **environment)
            self.assertEqual(refused.returncode, 1)
            self.assertIn(expected, refused.stderr)
            self.assertEqual(len(refused.stderr.splitlines()), 1)
        self.assertFalse((self.root / "bench" / "results").exists())


if __name__ == "__main__":
    unittest.main()
