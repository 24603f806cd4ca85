"""The demo preset learns what it claims: from above 5 to below 2.0 nats per byte.

Untrained it starts at 5.3 rather than ln 256 = 5.5: tied embeddings favour repeating the last byte, as text does.

Usage: demo_test.py PATH_OF_LEAPVERIFY
"""

import json
import pathlib
import subprocess
import sys
import sysconfig
import tempfile


def main():
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        subprocess.run([sys.argv[1], "train", "--preset", "demo", "--data",
                        sysconfig.get_path("stdlib"), "--run", run, "--set", "run.log_every=1"],
                       check=True)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    first = next(line["train_loss"] for line in lines if "train_loss" in line)
    last = lines[-1]["validation_loss"]
    print(f"first training loss {first}, last validation loss {last}")
    return 0 if first > 5.0 and last < 2.0 else 1


if __name__ == "__main__":
    sys.exit(main())
