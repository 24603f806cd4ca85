"""Renders the JSON of bench_kernels as a Markdown table: each kernel beside its rivals, in one run.

Usage: table.py KERNELS.json [KERNELS.md]
"""

import json
import sys


def rows_of(path):
    """[(kernel, implementation, shapes, counters or None, error)] in the order of the file."""
    rows = []
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    for entry in report["benchmarks"]:
        parts = [part for part in entry["name"].split("/")
                 if part != "manual_time" and not part.startswith("iterations:")]
        kernel, implementation, *dtype, shapes = parts
        kernel = "/".join([kernel, *dtype])
        error = entry.get("error_message")
        rows.append((kernel, implementation, shapes, None if error else entry, error))
    return report["context"], rows


def table(context, rows):
    lines = [f"Device {context['device']}, {context['torch_threads']} threads; median of the iterations, "
             "each followed by a copy of memory on the same device (std::memcpy by parts, or the driver's). "
             "GB/s count the bytes that a perfect kernel moves; `% of our copy` is relative to the row "
             "copy/leapverify of the same shapes.", "",
             "| shapes | kernel | implementation | ms | GB/s | % of copy | % of our copy | spread % | leapverify is |",
             "|---|---|---|--:|--:|--:|--:|--:|--:|"]
    ours = {(kernel, shapes): entry for kernel, implementation, shapes, entry, _ in rows
            if implementation == "leapverify"}
    for kernel, implementation, shapes, entry, error in rows:
        if error:
            lines.append(f"| {shapes} | {kernel} | {implementation} | {error} | | | | | |")
            continue
        copy = ours.get(("copy", shapes))
        of_ours = f"{100 * entry['GB/s'] / copy['GB/s']:.0f}" if copy else ""
        own = ours.get((kernel, shapes))
        ratio = ""
        if implementation != "leapverify" and own:
            ratio = f"{own['GB/s'] / entry['GB/s']:.2f}×"
        milliseconds = entry["bytes"] / entry["GB/s"] * 1e-6
        lines.append(f"| {shapes} | {kernel} | {implementation} | {milliseconds:.3g} | "
                     f"{entry['GB/s']:.3g} | {entry['percent_of_copy']:.0f} | {of_ours} | "
                     f"{entry['spread_percent']:.1f} | {ratio} |")
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    text = table(*rows_of(sys.argv[1]))
    if len(sys.argv) == 3:
        with open(sys.argv[2], "w", encoding="utf-8") as file:
            file.write(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
