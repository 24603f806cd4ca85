"""The report of runs: numbers against the lines they come from, pictures, and how it is called.

Usage: report_test.py PATH_OF_LEAPVERIFY [unittest options]
"""

import collections
import json
import os
import re
import subprocess
import sys
import unittest

import small_runs
from report_pages import ReportTest

from leapverify import figure_style

PROGRAM = sys.argv.pop(1)
LEDGER_NAMES = [
    "observations", "tries", "candidates", "tries accepted",
    "looks back that lowered the rate", "false accepts expected", "steps saved by committed leaps",
    "outside the cap, for they raised the rate", "observations without a try", "failures",
    "forwards of one sequence", "the same in training steps",
    "the same in time", "share of all cost", "counted against the cap", "learning rate at the end",
    "switched off during the run"]


def environment(**more):
    return {**os.environ, **more}


def run_report(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "leapverify.report", *map(str, arguments)],
                          capture_output=True, text=True, timeout=280,
                          **{"env": environment(), **options})


class Numbers(ReportTest):
    def test_ledger_is_what_the_lines_say(self):
        run = small_runs.leaping_run(self.folder / "run")
        lines = [json.loads(line) for line in (run / "trace.jsonl").read_text().splitlines()]
        of = collections.defaultdict(list)
        for line in lines:
            of[line["event"]].append(line)
        probes = 2 * sum("probe_loss" in line for line in of["observation"])
        spent = sum(line["forwards"] for line in of["leap"] + of["failure"])
        forwards = probes + spent
        saved = sum(line["steps_saved"] for line in of["leap"] if line["outcome"] == "committed")
        # Of the three raises the last was held back by rate.largest.
        raising = 70 + 64
        budget = 48 * (0.05 * 200 + 0.25 * saved)
        share = forwards / (forwards + 200 * 48)
        compared = sum("pairs" in line for line in of["candidate"])
        seconds = round(share * 200 * 0.11)
        expected = [
            str(len(of["observation"])),
            str(len(of["leap"]) + 1),  # a failure that no try was begun before is none
            str(len(of["candidate"])),
            "4 (leaps committed 1, rate raised 3)",
            "1",
            f"at most {0.05 * compared:.2f}",
            f"{saved:.1f}",
            str(raising),
            "1 too few snapshots; 1 back-off after rejections",
            str(len(of["failure"])),
            f"{forwards} ({probes} probes, {spent} tries)",
            f"{forwards / 48:.1f}",
            f"about 0:{seconds:02}",
            f"{100 * share:.2f} %",
            f"{forwards - raising} of {int(budget)} forwards "
            f"({100 * (forwards - raising) / budget:.0f} %)",
            f"{of['rate'][-1]['to']:.3g} × its schedule",
            '<no> "batch" came']
        self.assertEqual(self.page(run).column("ledger"), dict(zip(LEDGER_NAMES, expected)))

    def test_a_run_that_was_looked_at(self):
        run = small_runs.looked_at_run(self.folder / "run")
        page = self.page(run)
        ledger = page.column("ledger")
        self.assertEqual({name: ledger[name] for name in list(ledger)[:4]}, {
            "looks at held-out loss": "4", "looks after which it went back": "1", "failures": "1",
            "forwards of one sequence": "247 (0 probes, 247 looks)"})
        self.assertEqual(ledger["learning rate at the end"], "0.0003")
        self.assertFalse({"tries", "candidates", "steps saved by committed leaps", "false accepts expected"} & set(ledger))
        self.assertFalse(page.tables["leaps"])
        head, *rows = page.tables["looks"]
        self.assertEqual(rows, [list(map(str, row)) for row in (
            (3, "not shown to be better", "the start", "–", "–", 0, 16, "overhead cap reached"),
            (13, "better than before", "the start", "4.6000", "4.1000", 32, 70, small_runs.LOOK_REASONS["better"]),
            (50, "slowed down", "step 13", "3.4010", "3.4000", 48, 96, "overhead cap reached"),
            (83, "went back", "step 13", "2.8000", "2.9000", 32, 64, small_runs.LOOK_REASONS["went_back"]),
            (98, "failure", "–", "–", "–", "–", 1, "out of memory"))])
        self.assertEqual(head[1:5], ["verdict", "best so far", "loss there", "loss now"])
        for words in ("looks at held-out loss; went back once", "not shown to be better (1)", "better than before (1)",
                      "slowed down (1)", "went back (1)", "failure (1)", "4 looks at held-out loss, 1 failed"):
            self.assertIn(words, page.words)
        for words in ("regime", "Steps saved"):
            self.assertNotIn(words, page.text)

    def test_looks_alone_give_the_losses_that_the_run_went_on_from(self):
        page = self.page(small_runs.looked_at_run(self.folder / "run", []))
        self.assertEqual(page.column("results")["held-out loss at the end"], "2.800")
        self.assertEqual(page.column("ledger")["learning rate at the end"], "7.5e-06")

    def test_a_run_that_became_free_shows_its_tries_too(self):
        trace = [*small_runs.every_verdict(), *small_runs.looked_at(100)]
        page = self.page(small_runs.write_run(self.folder / "run", trace, small_runs.metrics(2.1)))
        self.assertEqual((len(page.tables["leaps"]), len(page.tables["looks"])), (8, 6))
        ledger = page.column("ledger")
        self.assertEqual((ledger["tries"], ledger["looks at held-out loss"]), ("7", "4"))
        self.assertIn("tries and looks)", ledger["forwards of one sequence"])

    def test_a_free_run_that_nothing_looked_at(self):
        trace = [small_runs.start(probes=0, rate__free=True, rate__looks=0)]
        page = self.page(small_runs.write_run(self.folder / "run", trace, small_runs.metrics(2.1)))
        self.assertIn("It was never looked at.", page.words)
        self.assertIn("learning rate, never looked at", page.words)

    def test_ledger_of_other_rules_caps_and_portfolios(self):
        def value(name, **options):
            run = small_runs.write_run(self.folder / str(len(list(self.folder.iterdir()))), [
                small_runs.start(**options), *small_runs.every_verdict()[1:]], [])
            return self.page(run).column("ledger")[name]

        self.assertEqual(value("false accepts expected", verification__rule="strict"),
                         "not bounded by the rule")
        # Three members share alpha among the candidates that were compared.
        compared = sum("pairs" in line for line in small_runs.every_verdict())
        self.assertEqual(value("false accepts expected", predictor="portfolio"),
                         f"at most {0.05 / 3 * compared:.2f}")
        self.assertRegex(value("counted against the cap", max_overhead="inf"), r"^\d+, no cap$")
        probes = sum("probe_loss" in line for line in small_runs.every_verdict())
        self.assertIn(f"({7 * probes} probes", value("forwards of one sequence", probes=7))

    def test_results_are_those_of_the_metrics(self):
        run = small_runs.leaping_run(self.folder / "run")
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        lines[-1]["average_validation_loss"] = 1.8765
        small_runs.write_lines(run / "metrics.jsonl", lines)
        trained = [line["train_loss"] for line in lines if "train_loss" in line]
        self.assertEqual(self.page(run).column("results"), {
            "steps": "200", "time": "0:22", "training loss at the end": f"{trained[-1]:.3f}",
            "held-out loss at the end": f"{lines[-1]['validation_loss']:.3f}",
            "lowest held-out loss": f"{lines[-1]['validation_loss']:.3f} at step 200",
            "at the average of the weights": "1.877"})

    def test_each_try_is_listed_with_its_verdict_and_reasons(self):
        run = small_runs.leaping_run(self.folder / "run")
        head, *rows = self.page(run).tables["leaps"]
        listed = {row[0]: dict(zip(head, row)) for row in rows}
        self.assertEqual({step: row["verdict"] for step, row in listed.items()}, {
            "30": "leap committed", "40": "rate raised", "50": "accepted, rate kept",
            "60": "rejected", "80": "rate lowered", "90": "failure", "100": "rate raised"})
        accepted = "accepted: the capital betted on a gain reached 1 / alpha"
        self.assertEqual(listed["30"], {
            "step": "30", "regime": "chaotic", "verdict": "leap committed", "horizon": "+5\n+20",
            "gain, nats": "+0.1000\n−0.2000", "sequences": "32\n32", "reason": accepted
            + "\nrejected: the capital betted against a gain reached 1 / alpha",
            "forwards": "70", "steps saved": "12.5", "learning rate ×": "1 → 1.5"})
        self.assertIn("beyond the trust region", listed["60"]["reason"])
        self.assertEqual((listed["80"]["horizon"], listed["80"]["learning rate ×"]),
                         ("−20", "2.7 → 1.8"))
        self.assertEqual(listed["90"]["reason"], '<no> "batch" came')

    def test_shadow_leaps_are_no_savings(self):
        trace = small_runs.every_verdict()
        worth = {"gain": 0.1, "gain_lower_bound": 0.05, "fall_per_step": 0.01, "steps_saved": 5.0}
        trace += [small_runs.observation(110, 2.7, "stable", [5]),
                  small_runs.candidate(110, 5, "accepted"),
                  small_runs.leap(110, "shadow", 10, 5, 0.4, **worth)]
        page = self.page(small_runs.write_run(self.folder / "run", trace, []))
        self.assertEqual(page.column("ledger")["steps saved by committed leaps"], "12.5")
        self.assertEqual(page.tables["leaps"][-1][2], "shadow")

    def test_runs_are_compared_at_equal_loss(self):
        bare = small_runs.bare_run(self.folder / "bare")
        leaping = small_runs.leaping_run(self.folder / "leaping")
        # In any order: the run without LeapVerify is what others are held against.
        for runs in ((bare, leaping), (leaping, bare)):
            page = self.page(*runs)
            levels = {row[0]: row[1:] for row in page.tables["levels"][2:]}
            self.assertEqual(list(levels), [
                "bare after a quarter of its steps", "bare after half of its steps",
                "bare after three quarters of its steps", "bare at its end",
                "leaping at its end"])
            trace = small_runs.every_verdict()
            spent = sum(line.get("forwards", 0) + 2 * ("probe_loss" in line)
                        for line in trace if line["step"] <= 100) / 48
            speed = f"{200 / (100 + spent):.2f}×"
            reached = {bare: ["200", "0:20", ""],
                       leaping: [f"100 + {spent:.0f}", "0:11", speed]}
            self.assertEqual(levels["bare at its end"],
                             ["2.400", *reached[runs[0]], *reached[runs[1]]])
            first = 1 if runs[0] == bare else 4
            self.assertEqual(levels["leaping at its end"][first:first + 3],
                             ["not reached", "", ""])
            self.assertIn(speed, page.words)
            self.assertIn(
                "leaping reaches the final loss of bare, 2.400 nats per byte, after 100 steps "
                "instead of 200, in 0:11 instead of 0:20, and ends at 2.100.", page.words)
        differing = {row[0]: row[1:] for row in page.tables["config"][1:]}
        self.assertEqual(differing, {"leapverify.enabled": ["true", "false"]})

    def test_cost_until_a_loss_counts_no_later_tries(self):
        trace = [small_runs.start(probes=0), small_runs.observation(50, 3.0, horizons=[5]),
                 small_runs.leap(50, "rejected", 96),
                 small_runs.observation(150, 3.0, horizons=[5]),
                 small_runs.leap(150, "rejected", 4800)]
        run = small_runs.write_run(self.folder / "run", trace, small_runs.metrics(2.1))
        page = self.page(small_runs.bare_run(self.folder / "bare"), run)
        self.assertEqual(page.column("levels", 5)["bare at its end"], "100 + 2")


class Pictures(ReportTest):
    def test_page_needs_nothing_else(self):
        runs = [small_runs.bare_run(self.folder / "bare"),
                small_runs.leaping_run(self.folder / "leaping")]
        for given in (runs, runs[1:]):
            page = self.page(*given)
            self.assertEqual(len(page.ids), len(set(page.ids)))
            self.assertTrue(page.references)
            for reference in page.references:
                self.assertIn(reference.removeprefix("#"), page.ids)
            self.assertNotRegex(page.text, r"url\((?!#)|@import|<script|\son\w+=")
            self.assertLessEqual(set(re.findall(r"https?://[^\"' ]+", page.text)), {
                "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"})
            self.assertFalse(page.tags & {"script", "link", "img", "iframe", "object"})
            self.assertLess(len(page.text), 300_000)

    def test_every_verdict_and_regime_is_drawn(self):
        page = self.page(small_runs.leaping_run(self.folder / "run"))
        for verdict, times in (("leap committed", 1), ("rate raised", 2), ("rate lowered", 1),
                               ("accepted, rate kept", 1), ("rejected", 1), ("failure", 1)):
            self.assertIn(f"{verdict} ({times})", page.words)
        drawn = page.text.count
        # Bands from 30, from 10 and 50, and from 70 to the end; each once more in the legend.
        for regime, bands in (("chaotic", 1), ("transition", 2), ("stable", 1)):
            color = figure_style.REGIME_COLORS[regime]
            self.assertEqual(drawn(f"fill: {color}"), bands + 1, regime)
        for words in ("training steps", "time in seconds", "loss, nats per byte",
                      "learning rate in force"):
            self.assertIn(words, page.words)

    def test_runs_differ_in_more_than_colour(self):
        styles = [figure_style.run_style(index) for index in range(len(figure_style.RUN_STYLES))]
        self.assertEqual(len({style.color for style in styles}), len(styles))
        self.assertEqual(len({style.marker for style in styles}), len(styles))

    def test_rendered_again_it_is_the_same(self):
        runs = [small_runs.bare_run(self.folder / "bare"),
                small_runs.leaping_run(self.folder / "leaping")]
        self.assertEqual(self.page(*runs).text, self.page(*runs).text)

    def test_long_runs_stay_small(self):
        lines = small_runs.metrics(1.9, steps=40_000, every=1, scored=10)
        run = small_runs.write_run(self.folder / "run", small_runs.every_verdict(), lines)
        self.assertLess(len(self.page(run).text), 400_000)

    def test_unit_follows_the_model(self):
        run = small_runs.leaping_run(self.folder / "run")
        config = run / "config.yaml"
        config.write_text(config.read_text().replace("name: gpt", "name: gpt2"))
        self.assertIn("loss, nats per token", self.page(run).words)

    def test_losses_of_a_trace_alone_have_no_unit_and_say_when(self):
        trace = small_runs.leaping_run(self.folder / "run") / "trace.jsonl"
        words = " ".join(self.page(trace).words)
        self.assertNotIn("nats per", words)
        self.assertIn("probe loss 2.800 at step 100", words)

    def test_traces_are_not_compared_by_what_tries_were_compared_on(self):
        traces = []
        for name in ("one", "two"):
            trace = small_runs.leaping_run(self.folder / name) / "trace.jsonl"
            lines = [json.loads(line) for line in trace.read_text().splitlines()]
            for line in lines:
                line.pop("probe_loss", None)
            trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
            traces.append(trace)
        words = " ".join(self.page(*traces).words)
        self.assertIn("no held-out losses that compare", words)
        self.assertNotIn("At equal loss", words)


class CallTest(ReportTest):
    def assert_refused(self, result, *words, status=2):
        self.assertEqual(result.returncode, status, result.stdout + result.stderr)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        for word in words:
            self.assertIn(str(word), result.stderr)


class Calls(CallTest):
    def test_report_stands_in_the_folder_of_a_single_run(self):
        run = small_runs.leaping_run(self.folder / "run")
        result = run_report(run, cwd=self.folder)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.stdout, f"{run / 'report.html'}\n")
        self.assertTrue((run / "report.html").exists())
        self.assertEqual(run_report(run, run, cwd=self.folder).stdout, "report.html\n")
        self.assertTrue((self.folder / "report.html").exists())
        run_report(run / "trace.jsonl", "-o", "mine.html", cwd=self.folder)
        self.assertTrue((self.folder / "mine.html").exists())

    def test_what_is_no_run(self):
        self.assert_refused(run_report(self.folder / "none"), "none: no such run folder or trace")
        self.assert_refused(run_report(self.folder), "no run folder", "metrics.jsonl")

    def test_unwritable_output(self):
        run = small_runs.bare_run(self.folder / "run")
        output = run / "config.yaml" / "report.html"
        self.assert_refused(run_report(run, "-o", output), output, "cannot write")
        self.assert_refused(run_report(run, "-o", run), f"{run}: cannot write")
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["run"])

    def test_without_matplotlib(self):
        (self.folder / "matplotlib.py").write_text(
            "raise ModuleNotFoundError('none', name='matplotlib')")
        path = os.pathsep.join([str(self.folder), os.environ["PYTHONPATH"]])
        run = small_runs.bare_run(self.folder / "run")
        self.assert_refused(run_report(run, env=environment(PYTHONPATH=path)),
                            "Python package matplotlib is missing", "pip install matplotlib")


class Program(CallTest):
    """The program hands over to the package."""

    def leapverify(self, *arguments, **variables):
        return subprocess.run([PROGRAM, "report", *map(str, arguments)], capture_output=True,
                              text=True, timeout=280, env=environment(**variables))

    def test_hands_over_to_the_interpreter_that_is_named(self):
        run = small_runs.leaping_run(self.folder / "run")
        other = self.folder / "other.html"
        result = self.leapverify(run, run, "-o", other, LEAPVERIFY_PYTHON=sys.executable)
        self.assertEqual((result.returncode, result.stdout), (0, f"{other}\n"), result.stderr)
        self.assert_refused(self.leapverify("none", LEAPVERIFY_PYTHON=sys.executable),
                            "none: no such run folder or trace")

    def test_hands_over_to_the_python_on_the_path(self):
        run = small_runs.leaping_run(self.folder / "run")
        python = self.folder / "python3"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        result = self.leapverify(run, LEAPVERIFY_PYTHON="", PATH=str(self.folder))
        self.assertEqual((result.returncode, result.stdout), (0, f"{run / 'report.html'}\n"),
                         result.stderr)

    def test_without_the_package(self):
        python = self.folder / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
        python.chmod(0o755)
        self.assert_refused(self.leapverify(self.folder, LEAPVERIFY_PYTHON=str(python)),
                            "no Python package leapverify", "pip install .", "LEAPVERIFY_PYTHON")

    def test_without_the_interpreter(self):
        self.assert_refused(self.leapverify(self.folder, LEAPVERIFY_PYTHON="/no/python"),
                            "/no/python: cannot be run", "LEAPVERIFY_PYTHON", status=1)


if __name__ == "__main__":
    unittest.main()
