# SPDX-License-Identifier: MIT
"""docs/images/draw_tutorial draws the pictures that docs/tutorial.md shows, one a section; docs/images/study_arms.svg is what draw_study makes of docs/results.
Usage: pictures.py -- COMPILER FLAGS..."""
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path

import tree

docs = tree.ROOT / "docs"
sections = re.split(r"^## ", (docs / "tutorial.md").read_text(encoding="utf-8"), flags=re.M)[1:]
shown = [re.findall(r"\]\(images/(tutorial_\w+\.svg)\)", section) for section in sections]
faults = [f"docs/tutorial.md, '{section.splitlines()[0]}': {len(names)} pictures, expected one" for section, names in zip(sections, shown) if len(names) != 1]
shown = {name for names in shown for name in names}
faults += [f"docs/images/{name} lacks: run docs/images/draw_tutorial" for name in shown if not (docs / "images" / name).is_file()]

with tempfile.TemporaryDirectory() as folder:
    command = [docs / "images" / "draw_tutorial", "--output", folder, "--epochs", "2", "--", *sys.argv[sys.argv.index("--") + 1:], "-O0"]
    ran = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True)
    if ran.returncode:
        faults.append(f"draw_tutorial ended with {ran.returncode}: {ran.stdout[-1000:]}{ran.stderr[-3000:]}")
    drawn = {path.name: path for path in Path(folder).iterdir()}
    faults += [f"draw_tutorial does not draw {name}, which docs/tutorial.md shows" for name in shown - drawn.keys() if ran.returncode == 0]
    faults += [f"docs/tutorial.md does not show {name}" for name in drawn.keys() - shown]
    for name, path in drawn.items():
        picture = path.read_text(encoding="utf-8")
        inside = [element.get("href", "") for element in xml.etree.ElementTree.fromstring(picture).iter()]
        if not any(href.startswith("data:image/png;base64,") for href in inside):
            faults.append(f"{name}: no map of numbers in it")
        if any(href and not href.startswith("data:") for href in inside):
            faults.append(f"{name}: it fetches something")

    study = Path(folder) / "study_arms.svg"
    subprocess.run([sys.executable, str(docs / "images" / "draw_study"), "--output", str(study)], check=True, stdout=subprocess.DEVNULL)
    if study.read_bytes() != (docs / "images" / study.name).read_bytes():
        faults.append("docs/images/study_arms.svg is not of the runs in docs/results: run docs/images/draw_study")

tree.finish("pictures", faults, f"{len(shown) + 1} pictures")
