# SPDX-License-Identifier: MIT
"""The tables of docs/cifar10-study.md, and the README's of CIFAR-10, are what docs/results/ holds: means, deviations, paired intervals, corruptions and deletion."""
import json
import re
import statistics

import tree

RESULTS = tree.ROOT / "docs" / "results"
STUDY = (tree.ROOT / "docs" / "cifar10-study.md").read_text(encoding="utf-8")
README = (tree.ROOT / "README.md").read_text(encoding="utf-8")
METRICS = ["test_accuracy", "test_accuracy_flip", "test_accuracy_6view"]
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # examples/cifar10/statistics.hpp, by the number of pairs
faults, count = [], 0


def expect(page, name, text, source):
    global count
    count += 1
    if text not in page:
        faults.append(f"{name} does not have what {source} gives: {text}")


def results(path):
    """{arm: {seed: [single view, mirrored, six views] in per cent}}"""
    arms = {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if record["event"] == "result":
            arms.setdefault(record["attention"], {})[record["seed"]] = [100 * record[metric] for metric in METRICS]
    return arms


def means(runs):
    return [statistics.mean(values) for values in zip(*runs.values())]


def row_of(arm, runs, full):
    """As `cifar10 study` writes it."""
    cells = [f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" for values in zip(*runs.values())]
    row = f"`{arm}` | " + " | ".join(cells) + " |"
    seeds = sorted(set(runs) & set(full)) if arm != "full" else []
    if len(seeds) > 1:
        pairs = [full[seed][0] - runs[seed][0] for seed in seeds]
        middle, reach = statistics.mean(pairs), STUDENT[len(pairs)] * statistics.stdev(pairs) / len(pairs) ** 0.5
        row += f" {middle:+.2f} [{middle - reach:+.2f}, {middle + reach:+.2f}] |"
    return row


rows = set()
for path in sorted(RESULTS.glob("*.jsonl")):
    net, arms = path.name.split("-")[0], results(path)
    if "-seeds" in path.name or path.name == "article-arms.jsonl":
        runs = arms["full"]
        single, flip, six = means(runs)
        seeds = ", ".join(f"{values[0]:.2f}" for _, values in sorted(runs.items()))
        if "revision" not in path.name:
            expect(STUDY, "the study", f"**{single:.2f}** ({seeds}) | {flip:.2f} | ", path.name)
            expect(README, "the README", f" | {single:.1f} % | {flip:.1f} % | {six:{'.2f' if net == 'large' else '.1f'}} % |", path.name)
        expect(STUDY, "the study", f"{six:.2f}", path.name)
    if "-seeds" not in path.name:
        for arm, runs in arms.items():
            rows.add(row_of(arm, runs, arms.get("full", {})))
            expect(STUDY, "the study", row_of(arm, runs, arms.get("full", {})), path.name)
for line in STUDY.splitlines():
    for row in re.findall(r"`\w+` \| \d.*? ± .*", line):
        if not any(row.startswith(known) for known in rows):
            faults.append(f"the study has a row that no file in docs/results/ gives: {row}")


def ratio(of):
    return f"{of['value']:.2f} [{of['low']:.2f}, {of['high']:.2f}]"


def accuracy(file, arm, kind):
    models = [model for model in file["models"] if model["attention"] == arm]
    return 100 * statistics.mean(statistics.mean(model["accuracy"][kind]) for model in models)


none, convolution = (json.loads((RESULTS / f"article-robustness{which}.json").read_text()) for which in ("", "-convolution"))
kinds = list(none["ce"])
for kind in kinds:
    shown = [f"{accuracy(file, arm, kind):.1f}" for file, arm in ((none, "full"), (none, "none"), (convolution, "convolution"))]
    expect(STUDY, "the study", f"| {kind.replace('_', ' ')} | " + " | ".join([*shown, ratio(none["ce"][kind]), ratio(none["relative_ce"][kind]), ratio(convolution["ce"][kind])]) + " |",
           "article-robustness*.json")
for line in (RESULTS / "article-deletion.txt").read_text().split("article with attention")[1:]:
    expect(STUDY, "the study", " | ".join(f"{value} %" for value in re.findall(r"([\d.]+) %", line)) + " |", "article-deletion.txt")
for path in sorted(RESULTS.glob("*-deletion-controls.json")):
    file = json.loads(path.read_text())
    pairs = [", ".join(f"{100 * file[order][end]:.2f} %" for end in ("highest", "lowest")) for order in ("relevance", "received", "middle")]
    expect(STUDY, "the study", " | ".join([f"| `{path.name.split('-')[0]}` | {100 * file['clean']:.2f} % | {100 * file['random']:.2f} %", *pairs]) + " |", path.name)

tree.finish("study_tables", faults, f"{count} rows")
