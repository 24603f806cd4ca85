"""What the README shows must be true: its C++ is part of the compiled example, its config loads, its
commands and links exist.

Usage: readme_test.py REPOSITORY PATH_OF_LEAPVERIFY [unittest options]
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
import unittest

ROOT = pathlib.Path(sys.argv.pop(1))
PROGRAM = sys.argv.pop(1)
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


class Readme(unittest.TestCase):
    def test_cpp_is_the_marked_part_of_the_example(self):
        example = (ROOT / "examples" / "wrap_optimizer.cpp").read_text()
        marked = re.search(r"// \[README\]\n(.*?) *// \[/README\]", example, re.DOTALL).group(1)
        self.assertEqual([block.strip() for block in blocks("cpp")],
                         [textwrap.dedent(marked).strip()])

    def test_python_is_the_marked_part_of_the_example(self):
        example = (ROOT / "examples" / "python" / "plain_loop.py").read_text()
        marked = re.search(r"# \[README\]\n(.*?)# \[/README\]", example, re.DOTALL).group(1)
        self.assertEqual([block.strip() for block in blocks("python")], [marked.strip()])

    def test_kernel_figures_are_those_of_the_log(self):
        source, = re.findall(r"\((bench/results/\S+/kernels\.md)\)", README)
        measured = (ROOT / source).read_text().splitlines()
        shown = [line for line in README.splitlines() if line.startswith("| gpt2-124m |")]
        self.assertGreater(len(shown), 3)
        for line in shown:
            self.assertIn(line, measured)

    def test_configs_load(self):
        self.assertGreater(len(blocks("yaml")), 0)
        with tempfile.TemporaryDirectory() as folder:
            for block in blocks("yaml"):
                config = pathlib.Path(folder) / "config.yaml"
                config.write_text(block.replace("my_text/", "no-such-folder"))
                result = subprocess.run([PROGRAM, "train", config], capture_output=True, text=True)
                self.assertEqual(result.returncode, 1)
                self.assertIn("no-such-folder", result.stderr, "the config itself was refused")

    def test_commands_exist(self):
        commands = [line.split()[0] for block in blocks("bash") for line in block.splitlines()]
        for command in commands + re.findall(r"`(scripts/\S+\.sh|\.ci/run)", README):
            if not command.startswith(("build/", ".venv/")) and command not in ("pip", "python", "torchrun", "mpirun"):
                self.assertTrue((ROOT / command).stat().st_mode & 0o111, command)
        for subcommand in re.findall(r"build/leapverify (\S+)", README):
            result = subprocess.run([PROGRAM, subcommand, "--help"], capture_output=True)
            self.assertEqual(result.returncode, 0, subcommand)

    def test_links_exist(self):
        prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)#]+)\)", prose):
            if not link.startswith("http"):
                self.assertTrue((ROOT / link).exists(), link)


if __name__ == "__main__":
    unittest.main()
