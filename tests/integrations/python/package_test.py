"""What somebody gets who installs the package: types, an sdist, a wheel made of it without the tree, and refusals.

Usage: package_test.py SOURCE_ROOT PACKAGE_OF_THE_BUILD [unittest options]
LEAPVERIFY_WHEEL=FOLDER takes the wheel in that folder in place of building one.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

ROOM = 30 << 30

ROOT, PACKAGE = pathlib.Path(sys.argv.pop(1)), pathlib.Path(sys.argv.pop(1))


def run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)


def clean_environment(**more):
    """Without a CUDA toolkit, and without the package of the build."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CUDA", "PYTHON", "LEAPVERIFY"))}
    kept["PATH"] = os.pathsep.join(folder for folder in kept["PATH"].split(os.pathsep) if "cuda" not in folder)
    return {**kept, **more}


class Types(unittest.TestCase):
    def test_package_is_typed(self):
        self.assertTrue((PACKAGE / "py.typed").exists())
        done = run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, PACKAGE)
        self.assertEqual(done.returncode, 0, done.stdout)


class Torch(unittest.TestCase):
    def test_another_torch_is_refused_with_both_versions(self):
        code = "import torch; torch.__version__ = '2.10.1+cpu'; import leapverify"
        done = run(sys.executable, "-c", code, env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)})
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.splitlines()[-1], r"ImportError: .*built for torch 2\.11\.0, but torch 2\.10\.1\+cpu")


class Wheel(unittest.TestCase):
    """For a CPU alone, since no toolkit is to be found; the tree's own build has the CUDA kernels."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.path = pathlib.Path(cls.folder.name)
        given = os.environ.get("LEAPVERIFY_WHEEL")
        cls.wheels = pathlib.Path(given) if given else cls.path
        if not given:
            cls.build()
        cls.wheel, = cls.wheels.glob("leapverify-*.whl")
        cls.python = cls.install()

    @classmethod
    def build(cls):
        done = run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", cls.path, ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
        cls.sdist, = cls.path.glob("*.tar.gz")
        with tarfile.open(cls.sdist) as archive:
            archive.extractall(cls.path / "source", filter="data")
        source, = (cls.path / "source").iterdir()
        # In an environment of its own with what pyproject.toml asks for, torch among it, as `pip install .` makes it; or,
        # where the disk has no room for a second torch, in this one.
        here = [] if shutil.disk_usage(cls.path).free > ROOM else ["--no-build-isolation"]
        done = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-v", *here,
                   "--config-settings=cmake.define.LEAPVERIFY_NVCC=none", "-w", cls.path, source, env=clean_environment())
        assert done.returncode == 0, done.stdout + done.stderr
        assert "CPU-only build" in done.stdout + done.stderr

    @classmethod
    def install(cls):
        """A new environment with the wheel, and the packages of this one but for it."""
        target = cls.path / "environment"
        done = run(sys.executable, "-m", "venv", "--without-pip", target)
        assert done.returncode == 0, done.stderr
        python = target / "bin" / "python"
        site = pathlib.Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
        others = [entry for entry in sys.path if entry.endswith("site-packages")]
        (site / "packages.pth").write_text("\n".join(others) + "\n")
        done = run(sys.executable, "-m", "pip", "install", "--no-deps", "--target", site, cls.wheel)
        assert done.returncode == 0, done.stderr
        return python

    def test_installed_package_runs(self):
        code = "import leapverify; print(leapverify.__file__, leapverify.cuda)"
        done = run(self.python, "-c", code, env=clean_environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        file, cuda = done.stdout.split()
        self.assertTrue(file.startswith(str(self.path)))
        self.assertEqual(cuda, "False")
        example = ROOT / "examples" / "python" / "plain_loop.py"
        done = run(self.python, example, cwd=self.path, env=clean_environment(OMP_NUM_THREADS="1"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("step  400", done.stdout)

    def test_wheel_holds_the_package_alone(self):
        names = run(sys.executable, "-m", "zipfile", "-l", self.wheel).stdout
        self.assertIn("leapverify/py.typed", names)
        self.assertIn("leapverify/_core.", names)
        self.assertNotIn(".in ", names)
        self.assertNotIn(".h ", names)

    def test_a_model_on_a_gpu_is_refused(self):
        code = "import torch, leapverify._access as a; a.check_device(torch.device('cuda', 0))"
        done = run(self.python, "-c", code, env=clean_environment())
        self.assertRegex(done.stderr.splitlines()[-1], "InvalidOption: .*cuda:0.*CPU-only build")


if __name__ == "__main__":
    unittest.main()
