"""Every sort of run is read and shown, and of one that cannot be read one line says what is wrong.

Usage: runs_test.py [unittest options]
"""

import json
import unittest

import small_runs
from report_pages import ReportTest

from leapverify import FileError, report


class EverySortOfRun(ReportTest):
    def test_without_leapverify(self):
        run = small_runs.bare_run(self.folder / "run")
        for trace in (True, False):
            if not trace:
                (run / "trace.jsonl").unlink()
            page = self.page(run)
            self.assertNotIn("ledger", page.tables)
            self.assertIn("off", page.words)
            self.assertNotIn("regime", page.words)

    def test_cut_in_the_middle_of_a_line(self):
        run = small_runs.leaping_run(self.folder / "run")
        whole = self.page(run).tables
        for name in ("trace.jsonl", "metrics.jsonl"):
            with open(run / name, "a") as file:
                file.write('{"event":"observation","step":110,"probe_l')
        self.assertEqual(self.page(run).tables, whole)

    def test_stopped_early(self):
        run = small_runs.write_run(self.folder / "run", small_runs.every_verdict(),
                                   small_runs.metrics(1.9, steps=120))
        self.assertEqual(self.page(run).column("results")["steps"], "120 of 200, not finished")

    def test_ended_early_at_its_target(self):
        lines = small_runs.metrics(1.9, steps=100)
        lines[-1]["reached_target"] = True
        run = small_runs.write_run(self.folder / "run", small_runs.every_verdict(), lines)
        self.assertEqual(self.page(run).column("results")["steps"], "100")

    def test_empty_files(self):
        run = small_runs.write_run(self.folder / "run", [], [])
        for name in ("trace.jsonl", "metrics.jsonl"):
            page = self.page(run)
            self.assertIn("0 of 200 steps: no losses yet.", page.words)
            (run / name).unlink()
        self.page(run)

    def test_trace_alone(self):
        run = small_runs.leaping_run(self.folder / "run")
        (run / "metrics.jsonl").unlink()
        trace = (run / "trace.jsonl").rename(self.folder / "mine.jsonl")
        page = self.page(trace)
        self.assertIn("mine", page.words)
        self.assertIn("probe", page.words)
        self.assertIn("factor on the scheduled learning rate", page.words)
        self.assertEqual(page.column("results")["held-out loss at the end"], "2.800")
        self.assertEqual(page.column("ledger")["tries"], "7")
        lines = [json.loads(line) for line in trace.read_text().splitlines()]
        for line in lines:
            line.pop("probe_loss", None)
        small_runs.write_lines(trace, lines)
        page = self.page(trace)
        self.assertIn("gate", page.words)
        self.assertEqual(page.column("results")["held-out loss at the end"], "2.700")

    def test_losses_that_are_not_finite(self):
        run = small_runs.leaping_run(self.folder / "run")
        text = (run / "metrics.jsonl").read_text() + '{"step":200,"validation_loss":null}\n'
        (run / "metrics.jsonl").write_text(text)
        trace = [small_runs.start(), {**small_runs.observation(10, 0), "probe_loss": "nan"}]
        small_runs.write_lines(run / "trace.jsonl", trace)
        self.page(run)

    def test_names_of_runs_differ(self):
        first, second = (small_runs.bare_run(self.folder / name / "run") for name in "ab")
        other = small_runs.bare_run(self.folder / "b" / "other")
        for runs, names in (((first, other), ["run", "other"]),
                            ((first, second), [str(first), str(second)]),
                            ((first, first), [f"{first} (1)", f"{first} (2)"])):
            self.assertEqual(self.page(*runs).tables["results"][0], ["", *names])

    def test_without_a_plan_a_cap_or_a_step(self):
        begin = {**small_runs.start(max_overhead="inf"), "planned_steps": 0}
        trace = self.folder / "mine.jsonl"
        small_runs.write_lines(trace, [begin])
        page = self.page(trace)
        self.assertEqual(page.column("ledger")["counted against the cap"], "0, no cap")
        self.assertEqual(page.column("results")["steps"], "0")

    def test_runs_that_were_scored_otherwise_are_not_compared(self):
        bare = small_runs.bare_run(self.folder / "bare")
        trace = small_runs.leaping_run(self.folder / "run") / "trace.jsonl"
        levels = self.page(bare, trace).column("levels", 5)
        del levels[""]
        self.assertEqual(set(levels.values()), {"not reached"})


class BrokenLines(ReportTest):
    def assert_broken(self, name, number, lines, *words):
        run = self.folder / "run"
        if not run.exists():
            small_runs.leaping_run(run)
        before = (run / name).read_text()
        (run / name).write_text("".join(line + "\n" for line in lines))
        with self.assertRaises(FileError) as caught:
            report.render([run], self.folder / "page.html")
        (run / name).write_text(before)
        self.assertTrue(str(caught.exception).startswith(f"{run / name}:{number}: "),
                        caught.exception)
        self.assertNotIn("\n", str(caught.exception))
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_names_the_line_and_what_is_wrong(self):
        begin = json.dumps(small_runs.start())
        good = json.dumps(small_runs.observation(10, 5.0))
        for broken, *words in (
                ('{"event":"observation","st', "not JSON"),
                ("[1, 2]", "not a JSON object"),
                ("\udcff".encode(errors="surrogateescape").decode("latin-1"), "not JSON"),
                ('{"step": 10}', '"event" is missing'),
                (good.replace('"step"', '"steps"'), '"step" is missing'),
                (good.replace("transition", "sunny"), '"sunny"', "chaotic, transition, stable"),
                (good.replace("5.0", '"five"'), '"probe_loss" is "five", not a number'),
                (json.dumps({**small_runs.leap(10, "rejected", 3), "forwards": 2.5}),
                 '"forwards" is 2.5, not an integer'),
                (json.dumps(small_runs.leap(10, "lost", 3)), '"outcome" is "lost"', "committed"),
                ('{"event":"failure","step":3,"reason":"","forwards":1,"off":1}',
                 '"off" is 1, not true or false')):
            with self.subTest(broken):
                self.assert_broken("trace.jsonl", 2, [begin, broken, good], *words)

    def test_trace_without_its_beginning(self):
        self.assert_broken("trace.jsonl", 1, [json.dumps(small_runs.observation(10, 5.0))],
                           '"start"', '"observation"')

    def test_newer_schema(self):
        newer = json.dumps({**small_runs.start(), "schema": 3})
        self.assert_broken("trace.jsonl", 1, [newer], "schema 3", "reads up to 2")

    def test_metrics(self):
        self.assert_broken("metrics.jsonl", 1, ['{"step": 3}'], "train_loss", "validation_loss")
        self.assert_broken("metrics.jsonl", 1, ['{"step": 3, "train_loss": 1, "lr": true}'],
                           '"lr" is true, not a number')


if __name__ == "__main__":
    unittest.main()
