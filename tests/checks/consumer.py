# SPDX-License-Identifier: MIT
"""A project that uses heed in one of the usual ways, in a folder of its own that is removed again.

Usage: consumer.py find_package|add_subdirectory --cmake CMAKE --heed BUILD --generator NAME --compiler CXX --eigen DIR
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tree

parser = argparse.ArgumentParser()
parser.add_argument("way", choices=["find_package", "add_subdirectory"])
for name in ("cmake", "heed", "generator", "compiler", "eigen"):
    parser.add_argument("--" + name, required=True)
options = parser.parse_args()
source = tree.ROOT / "tests" / "consumer" / options.way


def run(*command):
    done = subprocess.run([str(part) for part in command], text=True, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nfailed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


with tempfile.TemporaryDirectory(prefix="heed-consumer-") as folder:
    folder = Path(folder)
    configure = [options.cmake, "-S", source, "-G", options.generator, f"-DCMAKE_CXX_COMPILER={options.compiler}",
                 f"-DEigen3_DIR={options.eigen}", "-DCMAKE_BUILD_TYPE=Release"]
    if options.way == "find_package":
        run(options.cmake, "--install", options.heed, "--prefix", folder / "first")
        prefix = folder / "moved" / "elsewhere"  # an installed package may be moved
        prefix.parent.mkdir()
        shutil.move(folder / "first", prefix)
        package = "\n".join(file.read_text() for file in prefix.rglob("*.cmake"))
        for path in (str(tree.ROOT), options.heed, str(folder)):
            if path in package:
                sys.exit(f"the installed package names {path}: it could not be moved")
        configure.append(f"-DCMAKE_PREFIX_PATH={prefix}")
    else:
        configure.append(f"-DHEED_FOLDER={tree.ROOT}")

    builds = [("auto", []), ("std", ["-DHEED_OPENMP=OFF", "-DHEED_THREADS_BACKEND=STD"])]
    if options.way == "find_package":  # the kernels as a library, from what is installed; how fast it is does not matter here
        builds.append(("compiled", ["-DCOMPILED=ON", "-DCMAKE_CXX_FLAGS_RELEASE=-O0 -DNDEBUG"]))
    for loops, flags in builds:
        build = folder / f"build-{loops}"
        query = build / ".cmake" / "api" / "v1" / "query"
        query.mkdir(parents=True)
        (query / "codemodel-v2").touch()
        run(*configure, "-B", build, *flags)
        run(options.cmake, "--build", build, "--config", "Release")
        program = next(p for p in build.rglob("consumer*") if p.is_file() and os.access(p, os.X_OK) and p.suffix in ("", ".exe"))
        print(loops, run(program).strip())

        # Nothing of heed's own came along: no target but the project's (and the kernels, which are built when asked for), no warnings, no -march.
        for reply in (build / ".cmake" / "api" / "v1" / "reply").glob("target-*.json"):
            target = json.loads(reply.read_text())
            if target["name"].startswith("heed_") and target["name"] != "heed_compiled" or target["name"] == "cifar10":
                sys.exit(f"heed brought its target {target['name']} into the project")
            for group in target.get("compileGroups", []):
                for fragment in group.get("compileCommandFragments", []):
                    if "-W" in fragment["fragment"] or "-march" in fragment["fragment"]:
                        sys.exit(f"heed pushed '{fragment['fragment']}' on the project")
