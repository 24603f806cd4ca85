"""The published experiment again: every predictor, horizon and rule at every checkpoint of a training run.

Usage: ksweep.py PATH_OF_LEAPVERIFY DATA FOLDER [--device cpu|cuda] [--model demo|gpt2-124m|qwen2.5-1.5b]
                 [--seeds 42 43 44 45 46] [--runs shadow fp16 ...] [--seconds N] [--jobs 2] [--smoke]

On a GPU it is GPT-2 124M or Qwen2.5-1.5B from fresh weights with the published settings (presets paper-gpt2 and
paper-qwen); on the CPU a byte-level model of the size of closed_loop.py's, with the same settings of training (preset
paper). DATA is text, or tokens in a format of docs/data.md. For each seed, which draws the weights, the split and the
batches:

  shadow   one run that nothing changes, in which every predictor makes a candidate for every horizon at each checkpoint
  fp16     the same run, with the momentum predictor alone, on moments in float16
  cascades one run each of 4 leaps of 25 steps, 2 of 50 and 10 of 10, linear, judged by strict and committed

Checkpoints lie 50 steps apart. The first three have too few snapshots for some predictors, and at the last the run
ends, so candidates are made at 36 of 40.

FOLDER/ksweep.jsonl gets the lines of a run when it has ended; such runs are not repeated. With --seconds the others are
stopped then, each with a checkpoint in FOLDER/runs, from which the next call goes on to the same lines. A run that
failed is a line that says why until a later call, which tries it again, is luckier. bench/ksweep_table.py makes the
tables.
"""

import argparse
import collections
import concurrent.futures
import json
import math
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

from corpus import check_text, extensions_of, fingerprint, suffix_of
from runs_in_parts import lines_of

PREDICTORS = ["linear", "quadratic", "quadratic_paper", "quadratic_code", "least_squares", "average",
              "outer_momentum", "ema_trend", "low_rank", "momentum"]
HORIZONS = [5, 10, 25, 50, 75, 100]
CASCADES = {"cascade-4x25": (4, 25), "cascade-2x50": (2, 50), "cascade-10x10": (10, 10)}
KINDS = ["shadow", "fp16", *CASCADES]
SEEDS = [42, 43, 44, 45, 46]
# Checkpoints that pass before all predictors have their snapshots.
FIRST_TRY = 4

# How a run is called, its length and checkpoints, the sequences of the published held-out batch, how many of them all
# candidates are scored on, and overrides over the preset.
Size = collections.namedtuple("Size", "name preset steps spacing batch sequences settings")
# Steps of 512 and 1024 tokens leave a large GPU waiting for launches.
ON_A_GPU = {"run.threads": 2, "run.precision": "tf32", "run.cuda_graph": "true"}
SIZES = {
    "demo": Size("byte-level GPT, 0.35M parameters", "paper", 2000, 50, 32, 32,
                 {"model.context": 64, "model.width": 96, "model.heads": 4, "model.layers": 3}),
    "gpt2-124m": Size("GPT-2 124M in tf32", "paper-gpt2", 2000, 50, 32, 32,
                      {**ON_A_GPU, "model.name": "gpt2", "batch.held_out": 32}),
    "qwen2.5-1.5b": Size("Qwen2.5-1.5B in tf32", "paper-qwen", 2000, 50, 8, 8,
                         {**ON_A_GPU, "model.name": "qwen2", "model.activation_checkpointing": "false",
                          "model.qwen2.hidden_size": 1536, "model.qwen2.intermediate_size": 8960,
                          "model.qwen2.num_hidden_layers": 28, "model.qwen2.num_attention_heads": 12,
                          "batch.held_out": 8}),
    "smoke": Size("smoke", "paper", 130, 10, 32, 48,
                  {"model.context": 16, "model.width": 16, "model.heads": 2, "model.layers": 1, "schedule.warmup": 10,
                   "optimizer.lr": 1e-3, "leapverify.probes": 16, "data.gate_share": 0.2}),
}
MODELS = {"cpu": ["demo"], "cuda": ["gpt2-124m", "qwen2.5-1.5b"]}
QUIET = {"run.eval_every": 0, "run.sample_bytes": 0, "run.log_every": 50, "run.checkpoint_every": 0,
         "run.keep_checkpoints": 1, "run.threads": 1}
# Nothing but the end of the run keeps a checkpoint from trying everything: no regime, no rejection, no cost.
TRY_ALL = {"leapverify.mode": "shadow", "leapverify.least_regime": "chaotic", "leapverify.trace_losses": "true",
           "leapverify.verification.rule": "proximity", "leapverify.verification.proximity_tolerance": 1e300}


def settings_of(kind, seed, size, device):
    """Overrides over the preset, of a kind of run."""
    settings = {**QUIET, **size.settings, "run.steps": size.steps, "run.device": device, "run.seed": seed,
                "data.seed": seed, "leapverify.observe_every": size.spacing}
    if kind in CASCADES:
        links, horizon = CASCADES[kind]
        return {**settings, "leapverify.least_regime": "chaotic", "leapverify.cascade": links,
                "leapverify.horizons": f"[{horizon}]"}
    settings.update(TRY_ALL)
    settings["leapverify.verification.sequences"] = size.sequences
    settings["leapverify.first_leap"] = FIRST_TRY * size.spacing
    settings["leapverify.horizons"] = f"[{', '.join(map(str, HORIZONS))}]"
    if kind == "fp16":
        return {**settings, "leapverify.predictor": "momentum", "leapverify.half_moments": "true"}
    return {**settings, "leapverify.predictor": "portfolio", "leapverify.portfolio": f"[{', '.join(PREDICTORS)}]"}


class Failed(Exception):
    """A run that did not do what it should."""


def read_json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def rounded(value):
    return None if value is None else round(value, 7)


def readings(trace):
    """The regime that each observation reads by itself: the published counts know no hysteresis."""
    return {event["step"]: event.get("reading", "unknown") for event in trace if event["event"] == "observation"}


def failures(trace):
    return next((f"step {event['step']}: {event['reason']}" for event in trace if event["event"] == "failure"), None)


def observation_lines(trace):
    """A line for each observation, with the held-out loss of the probes."""
    return [{"event": "observation", "step": event["step"], "regime": event.get("reading", "unknown"),
             "loss": rounded(event["probe_loss"])} for event in trace if event["event"] == "observation"]


def candidate_lines(kind, size, trace, verdicts):
    """A line for each checkpoint, predictor and horizon."""
    regimes = readings(trace)
    found = {(line["step"], line.get("predictor", "momentum"), line["horizon"]): line for line in verdicts}
    waits = {event["step"]: event["reason"] for event in trace
             if event["event"] == "observation" and event["action"] == "wait"}
    lines = []
    predictors = PREDICTORS if kind == "shadow" else ["momentum"]
    for step in range(FIRST_TRY * size.spacing, size.steps, size.spacing):
        if step in waits or step not in regimes:
            raise Failed(f"step {step}: nothing was tried: {waits.get(step, 'not observed')}")
        for predictor in predictors:
            for horizon in HORIZONS:
                verdict = found.get((step, predictor, horizon), {})
                line = {"event": "candidate", "step": step, "regime": regimes[step], "predictor": predictor,
                        "horizon": horizon, "moments": "fp16" if kind == "fp16" else "fp32"}
                for key in ("reference_loss", "candidate_loss", "gain"):
                    line[key] = rounded(verdict.get(key))
                line["accepted"] = verdict.get("accepted", [])
                if not verdict:
                    line["not_tried"] = True  # a shorter horizon gave no finite loss
                lines.append(line)
    return lines


def link_lines(kind, trace):
    """A line for each link of a cascade that was tried."""
    links, horizon = CASCADES[kind]
    regimes = readings(trace)
    lines, start = [], None
    for event in trace:
        if event["event"] == "leap":
            start = event["step"] if event["link"] == 1 else start
            lines.append({"event": "link", "depth": links, "horizon": horizon, "start": start, "regime": regimes[start],
                          "link": event["link"], "held": event["outcome"] == "committed"})
    return lines


class Sweep:
    def __init__(self, arguments):
        self.program = arguments.program.absolute()
        self.verdicts = self.program_of_verdicts()
        self.data = arguments.data
        self.device = arguments.device
        self.size = SIZES["smoke" if arguments.smoke else arguments.model]
        if self.size.preset == "paper":
            self.size = self.size._replace(settings={**self.size.settings, "data.extensions": extensions_of(self.data)})
        self.folder = arguments.folder
        self.log = self.folder / "ksweep.jsonl"
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.text = fingerprint(self.data, suffix_of(self.size.settings))
        self.lines = {}
        for line in lines_of(self.log):
            self.lines.setdefault((line["seed"], line["run"]), []).append(line)

    def program_of_verdicts(self):
        """It lies beside the trainer where programs are packed, else in the build folder's bench/."""
        name = "bench_ksweep_verdicts"
        places = [self.program.parent / name, self.program.parent / "bench" / name]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            sys.exit(f"no program {name} beside {self.program} or in bench/ there; scripts/setup.sh builds it")
        return found

    def head(self, seed, kind):
        return {"event": "run", "seed": seed, "run": kind, "model": self.size.name, "steps": self.size.steps,
                "text": self.text,
                "sequences": self.size.batch, "all_sequences": self.size.sequences}

    def check_log(self):
        """A log of another model, length or text is not mixed with this one, nor are runs that were begun on another."""
        begun = self.folder / "runs" / "text"
        if begun.exists():
            check_text([{"text": begun.read_text()}], self.text, begun.parent)
        check_text([lines[0] for lines in self.lines.values()], self.text, self.log)
        begun.parent.mkdir(exist_ok=True)
        begun.write_text(self.text)
        for (seed, kind), lines in self.lines.items():
            held = {key: lines[0].get(key) for key in ("model", "steps")}
            expected = {"model": self.size.name, "steps": self.size.steps}
            if held != expected:
                sys.exit(f"{self.log} holds a run of {held}, expected {expected}: name another folder")

    def run(self, seed, kind):
        """Trains, or goes on, until the run ends or is to stop."""
        run = self.folder / "runs" / f"{kind}-{seed}"
        try:
            if not self.train(run, seed, kind):
                return f"{kind} of seed {seed}: stopped, goes on when called again"
            lines = self.result(run, seed, kind)
            shutil.rmtree(run)
            said = "done"
        except Failed as failure:
            message = str(failure).replace(str(run), "RUN").replace(str(self.data), "DATA")
            lines = [{**self.head(seed, kind), "failed": message}]
            said = f"failed: {message}"
        with self.lock:
            self.lines[seed, kind] = lines
            self.write()
        return f"{kind} of seed {seed}: {said}"

    def train(self, run, seed, kind):
        """Whether the run has ended."""
        pointer = run / "checkpoints" / "latest"
        last = f"step-{self.size.steps}"
        if pointer.exists() and last in pointer.read_text().split():
            return True
        if pointer.exists():
            words = ["resume", run]
        else:
            shutil.rmtree(run, ignore_errors=True)
            settings = settings_of(kind, seed, self.size, self.device)
            overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
            words = ["train", "--preset", self.size.preset, "--data", self.data, "--run", run, *overrides]
        if self.stop.is_set():
            return False
        # In a session of its own, so that Ctrl-C stops it once, through this program.
        with subprocess.Popen([self.program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              start_new_session=True) as process:
            complaints = self.wait(process)
        if process.returncode < 0 and self.stop.is_set():
            return False
        if process.returncode != 0:
            code = process.returncode
            silent = f"killed by signal {-code}" if code < 0 else f"ended with {code}"
            raise Failed((complaints.strip().splitlines() or [silent])[-1])
        return pointer.exists() and last in pointer.read_text().split()

    def wait(self, process):
        """What the program has written to standard error when it ends, which a stop makes it do."""
        asked = False
        while True:
            try:
                return process.communicate(timeout=0.2)[1]
            except subprocess.TimeoutExpired:
                if self.stop.is_set() and not asked:
                    process.send_signal(signal.SIGTERM)
                    asked = True

    def result(self, run, seed, kind):
        trace = read_json_lines(run / "trace.jsonl")
        if failures(trace):
            raise Failed(failures(trace))
        observed = observation_lines(trace)
        if kind in CASCADES:
            lines = link_lines(kind, trace)
        else:
            judged = subprocess.run([self.verdicts, str(self.size.batch), run / "trace.jsonl"], capture_output=True, text=True)
            if judged.returncode != 0:
                raise Failed(judged.stderr.strip())
            lines = candidate_lines(kind, self.size, trace, map(json.loads, judged.stdout.splitlines()))
        of_run = {"seed": seed, "run": kind}
        return [self.head(seed, kind),
                *({"event": line.pop("event"), **of_run, **line} for line in [*observed, *lines])]

    def write(self):
        """All lines, ordered by seed and kind and not by when a run ended."""
        order = sorted(self.lines, key=lambda key: (key[0], KINDS.index(key[1])))
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for key in order for line in self.lines[key])
        aside = self.log.with_suffix(".new")
        aside.write_text(text)
        aside.replace(self.log)

    def failed(self, run):
        return run in self.lines and "failed" in self.lines[run][0]

    def go(self, seeds, kinds, jobs, seconds):
        """Returns whether no run failed."""
        wanted = [(seed, kind) for seed in seeds for kind in kinds
                  if (seed, kind) not in self.lines or self.failed((seed, kind))]
        timer = threading.Timer(seconds, self.stop.set) if math.isfinite(seconds) else None
        if timer:
            timer.start()
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for future in concurrent.futures.as_completed([pool.submit(self.run, *run) for run in wanted]):
                print(future.result(), flush=True)
        if timer:
            timer.cancel()
        left = [run for run in wanted if run not in self.lines]
        if left:
            print(f"{len(left)} of {len(wanted)} runs are left: call again", flush=True)
        return not any(map(self.failed, wanted))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--model", choices=sum(MODELS.values(), []), help="default: the first of its device")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--runs", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="a run of seconds, for tests")
    arguments = parser.parse_args()
    models = MODELS[arguments.device]
    arguments.model = arguments.model or models[0]
    if arguments.model not in models:
        parser.error(f"--model {arguments.model} does not go with --device {arguments.device}, but {' or '.join(models)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sweep = Sweep(arguments)
    sweep.check_log()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sweep.stop.set())
    return 0 if sweep.go(arguments.seeds, arguments.runs, arguments.jobs, arguments.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
