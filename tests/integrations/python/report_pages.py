"""Reports of small runs, rendered and parsed."""

import collections
import html.parser
import pathlib
import sys
import tempfile
import unittest

from leapverify import report

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(html.parser.HTMLParser):
    """A parsed page: its tables by class, and all that could make it need something else."""

    def __init__(self, text):
        super().__init__()
        self.text, self.tables, self.words = text, collections.defaultdict(list), []
        self.ids, self.references, self.tags, self.open = [], [], set(), []
        self.rows = self.cell = None
        self.feed(text)
        self.close()
        if self.open:
            raise ValueError(f"not closed: {self.open}")

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        self.note(tag, values)
        if tag == "table":
            self.rows = self.tables[values["class"]]
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.cell = ""

    def handle_startendtag(self, tag, attributes):
        self.note(tag, dict(attributes))

    def note(self, tag, values):
        self.tags.add(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.references += [values[key] for key in ("src", "href", "xlink:href") if key in values]

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            raise ValueError(f"</{tag}> closes another element")
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell.replace("\u202f", ""))
            self.cell = None

    def handle_data(self, data):
        self.words.append(data.strip())
        if self.cell is not None:
            self.cell += data

    def column(self, kind, number=1):
        return {row[0]: row[number] for row in self.tables[kind][1:]}


class ReportTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="leapverify test ")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def page(self, *runs):
        output = self.folder / "page.html"
        self.assertEqual(report.render(runs, output), output)
        return Page(output.read_text(encoding="utf-8"))
