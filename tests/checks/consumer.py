# SPDX-License-Identifier: MIT
"""A project that uses heed in one of the usual ways, in a folder of its own that is removed again.

Usage: consumer.py WAY --cmake CMAKE --heed BUILD --generator NAME --eigen DIR -- COMPILER FLAGS...

WAY with CMake: find_package, old_project, without_packages (heed's own examples), add_subdirectory, fetch_content. With a compiler alone: pkg_config, include_path, single_include, libraries (two shared ones,
compiled differently, in one process). With both: getting_started (what that page says, as it stands there). The flags are those of heed's own programs: -std, -isystem for Eigen, -fopenmp where there is OpenMP.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import tree

SKIPPED = 77
CONSUMER = tree.ROOT / "tests" / "consumer"


def run(*command, **environment):
    done = subprocess.run([str(part) for part in command], text=True, capture_output=True, env={**os.environ, **environment})
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nfailed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


# --- with CMake ------------------------------------------------------------------------------------------------------------------
def installed(folder):
    """heed's package, in a place to which it was moved after the installation."""
    run(options.cmake, "--install", options.heed, "--prefix", folder / "first")
    prefix = folder / "moved" / "elsewhere"
    prefix.parent.mkdir()
    shutil.move(folder / "first", prefix)
    for file in [*prefix.rglob("*.cmake"), *prefix.rglob("*.pc")]:
        for path in (str(tree.ROOT), options.heed, str(folder)):
            if re.search(rf"(?<![\w.}}]){re.escape(path)}(?![\w.-])", file.read_text()):  # not "${CMAKE_CURRENT_LIST_DIR}/heed_options.cmake" for a tree at /heed
                sys.exit(f"the installed {file.name} names {path}: the package could not be moved")
    return prefix


def find_package(folder):
    prefix = f"-DCMAKE_PREFIX_PATH={installed(folder)}"
    refused(folder, prefix)
    build_consumer(folder, prefix,
                   [*LOOPS, ("compiled", ["-DCOMPILED=ON", "-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_CXX_FLAGS_RELEASE=-O0 -DNDEBUG"], "")])  # how fast it is does not matter here


def refused(folder, prefix):
    """Before 1.0 another minor version is another interface."""
    config = (tree.INCLUDE / "core" / "config.hpp").read_text()
    major, minor = (int(re.search(rf"#define HEED_VERSION_{part} (\d+)", config)[1]) for part in ("MAJOR", "MINOR"))
    for version in (*(f"{major}.{other}" for other in (minor - 1, minor + 1) if other >= 0), f"{major + 1}.0"):
        command = [*configure(CONSUMER / "find_package", folder / version), f"-DEigen3_DIR={options.eigen}", prefix, f"-DVERSION={version}"]
        done = subprocess.run([str(part) for part in command], text=True, capture_output=True)
        if done.returncode == 0 or f'compatible with requested version "{version}"' not in " ".join(done.stderr.split()):
            sys.exit(f"find_package(heed {version}) of {major}.{minor}: {done.returncode}, {done.stderr}")
        print(version, "is refused")


def old_project(folder):
    """What a project with the policies of an old CMake has set() counts."""
    print(run(*configure(CONSUMER / "old_project", folder / "build"), f"-DCMAKE_PREFIX_PATH={installed(folder)}", f"-DEigen3_DIR={options.eigen}").strip())


def without_packages(folder):
    """Examples that need no further package are there without any, the others are left out with a word; where everything is to be tested that is an error."""
    missing = [f"-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON" for name in ("CLI11", "fmt", "nlohmann_json")]
    command = [*configure(tree.ROOT, folder / "build"), f"-DEigen3_DIR={options.eigen}", "-DHEED_BUILD_TESTS=OFF", "-DHEED_BUILD_BENCHMARKS=OFF", *missing]
    done = subprocess.run(list(map(str, command)), text=True, capture_output=True, env={**os.environ, "CI": ""})
    said = " ".join(done.stderr.split())
    if done.returncode != 0 or "cifar10, image_folder and text are left out: they need more packages (Debian, Ubuntu: libcli11-dev libfmt-dev nlohmann-json3-dev" not in said:
        sys.exit(f"without packages: {done.returncode}, {said}")
    targets = run(options.cmake, "--build", folder / "build", "--target", "help")
    for name, there in (("quick_start", True), ("custom_layer", True), ("embed", True), ("cifar10", False), ("image_folder", False)):
        if bool(re.search(rf"\b{name}(:|\b)", targets)) != there:
            sys.exit(f"without packages there is {'no' if there else 'a'} target {name}")
    for flags, environment in ((["-DHEED_BUILD_TESTS=ON"], ""), ([], "true")):
        done = subprocess.run([*map(str, command), *flags], text=True, capture_output=True, env={**os.environ, "CI": environment})
        if done.returncode == 0 or "libfmt-dev" not in done.stderr:
            sys.exit(f"missing packages are no error with {flags or 'CI'}: {done.stderr}")
    print("left out, with a word")


def add_subdirectory(folder):
    own = folder / "eigen"
    own.symlink_to(eigen_headers())
    own_eigen = ("own Eigen", [f"-DOWN_EIGEN={own}", "-DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON"], "")
    build_consumer(folder, f"-DHEED_FOLDER={tree.ROOT}", [*LOOPS, own_eigen])
    if str(own) not in (folder / "build-own Eigen" / "compile_commands.json").read_text():
        sys.exit("the project's own Eigen is not the one that heed is compiled with")


def fetch_content(folder):
    archive = folder / "heed.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("CMakeLists.txt", "LICENSE", "cmake", "include"):
            tar.add(tree.ROOT / name, "heed/" + name)
    build_consumer(folder, f"-DHEED_ARCHIVE={archive.as_uri()}", LOOPS[:1])


# Of each build its name, its options, and the loops that its program must say it has.
LOOPS = [("auto", [], "openmp|serial"), ("std", ["-DHEED_OPENMP=OFF", "-DHEED_THREADS_BACKEND=STD"], "std_thread"),
         ("without", ["-DCMAKE_DISABLE_FIND_PACKAGE_OpenMP=ON"], "serial")]
STRICT = "-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wold-style-cast -Werror"  # heed's headers are a system's to a project's warnings


def configure(source, build):
    return [options.cmake, "-S", source, "-B", build, "-G", options.generator, f"-DCMAKE_CXX_COMPILER={compiler[0]}"]


def build_consumer(folder, where, builds):
    for name, flags, loops in builds:
        build = folder / f"build-{name}"
        query = build / ".cmake" / "api" / "v1" / "query"
        query.mkdir(parents=True)
        (query / "codemodel-v2").touch()
        run(*configure(CONSUMER / options.way, build), f"-DEigen3_DIR={options.eigen}", "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_CXX_FLAGS={STRICT}", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", where, *flags)
        run(options.cmake, "--build", build, "--config", "Release")
        program = next(p for p in build.rglob("consumer*") if p.is_file() and os.access(p, os.X_OK) and p.suffix in ("", ".exe"))
        said = run(program).strip()
        if not re.search(rf"({'openmp' if name == 'auto' and '-fopenmp' in compiler else loops})", said):
            sys.exit(f"{name}: the loops should be {loops}: {said}")
        print(name, said)

        # Nothing of heed's own came along: no target but the project's (and the kernels, which are built when asked for), no warnings, no -march.
        for reply in (build / ".cmake" / "api" / "v1" / "reply").glob("target-*.json"):
            target = json.loads(reply.read_text())
            if target["name"].startswith("heed_") and target["name"] != "heed_compiled" or target["name"] in ("cifar10", "single_include", "reference", "embed", "quick_start"):
                sys.exit(f"heed brought its target {target['name']} into the project")
            for group in target.get("compileGroups", []):
                for fragment in group.get("compileCommandFragments", []):
                    if re.search("-W|-march", fragment["fragment"].replace(STRICT, "")):
                        sys.exit(f"heed pushed '{fragment['fragment']}' on the project")


# --- with a compiler -------------------------------------------------------------------------------------------------------------
def pkg_config(folder):
    """The flags that pkg-config tells, nothing else."""
    if not shutil.which("pkg-config"):
        print("SKIPPED: no pkg-config")
        sys.exit(SKIPPED)
    prefix = installed(folder)
    eigen = Path(options.eigen).parents[1] / "pkgconfig"
    flags = run("pkg-config", "--cflags", "heed", PKG_CONFIG_PATH=f"{prefix / 'share' / 'pkgconfig'}:{eigen}").split()
    print("pkg-config:", run("pkg-config", "--modversion", "heed", PKG_CONFIG_PATH=prefix / "share" / "pkgconfig").strip(), *flags)
    run(compiler[0], "-std=c++20", "-O0", "-DHEED_ONE_ISA", *flags, CONSUMER / "net.cpp", "-o", folder / "consumer")
    print(run(folder / "consumer").strip())


def include_path(folder):
    """Two include folders, in the standards and at the levels of optimisation that people use. Kernels of all instruction sets, which cost the compiler three times
    as much as those of one, are compiled once."""
    one = "-DHEED_ONE_ISA"
    standards = [flag for flag in compiler if not flag.startswith("-std=")]
    (folder / "all.cpp").write_text("#include <heed/all.hpp>\n")
    run(*standards, "-std=c++2b", "-fsyntax-only", folder / "all.cpp")
    native = ["-march=native"] if "-march" not in " ".join(compiler) and takes("-march=native") else []
    for flags in (["-std=c++20", "-O0", one], ["-std=c++20", "-O2", one, *native], ["-std=c++2b", "-O1"], ["-std=c++2b", "-O3", "-DHEED_NO_SIMD"]):
        run(*standards, *flags, CONSUMER / "net.cpp", "-o", folder / "consumer")
        print(*flags, "--", run(folder / "consumer").strip())
        if one in flags and shutil.which("nm"):
            kernels = sorted(set(re.findall(r"\brun_(avx512|avx2|other)<", run("nm", "-C", folder / "consumer"))))
            if len(kernels) != 1:
                sys.exit(f"with HEED_ONE_ISA the program has kernels of {len(kernels)} instruction sets: {', '.join(kernels)}")


def takes(flag):
    return subprocess.run([compiler[0], flag, "-fsyntax-only", "-x", "c++", os.devnull], capture_output=True).returncode == 0


def single_include(folder):
    """One header, a program of two files."""
    one = folder / "one"
    print(run(sys.executable, tree.ROOT / "cmake" / "single_include.py", one / "heed.hpp", "--stand-ins", folder / "stand-ins").strip())
    flags = [*(flag for flag in compiler[1:] if flag != f"-I{tree.ROOT / 'include'}"), "-DHEED_ONE_ISA"]
    (folder / "net.cpp").write_text((CONSUMER / "net.cpp").read_text().replace("<heed/heed.hpp>", '"heed.hpp"'))
    (folder / "other.cpp").write_text('#include "heed.hpp"\nint other();\nint other() { return heed::thread_count(); }\n')
    run(compiler[0], *flags, "-Wall", "-Wextra", "-Werror", f"-I{one}", folder / "net.cpp", folder / "other.cpp", "-o", folder / "consumer")
    print(run(folder / "consumer").strip())
    # The same header by the names of the tree.
    run(compiler[0], *flags, f"-I{folder / 'stand-ins'}", CONSUMER / "main.cpp", "-o", folder / "consumer")
    run(folder / "consumer")


def libraries(folder):
    """With hidden symbols and with symbols that everybody sees."""
    if "-fopenmp" not in " ".join(compiler) or sys.platform != "linux":
        print("SKIPPED: it needs OpenMP and shared libraries of ELF")
        sys.exit(SKIPPED)
    first = ("first", [])
    plain = ("second", ["-DHEED_PARALLEL_SERIAL", "-DHEED_NO_SIMD", "-fno-exceptions"])
    one_isa = ("second", ["-DHEED_ONE_ISA", "-std=c++2b"])  # that of the compiler's flags: other kernels under the loops of the first
    flags_name = any(flag.startswith("-m") for flag in compiler)
    for visibility, second, said in (("hidden", plain, ("serial", "any")), ("default", plain, ("serial", "any")), ("default", one_isa, ("openmp", "any" if flags_name else "baseline"))):
        for name, flags in (first, second):
            # Without -fno-inline the linker would meet few functions of the same name.
            run(*compiler, "-O1", "-fno-inline", *flags, "-shared", "-fPIC", f"-fvisibility={visibility}", f"-DNAME(name)={name}_##name", CONSUMER / "libraries" / "library.cpp", "-o",
                folder / f"lib{name}.so")
        for order in (("first", "second"), ("second", "first")):  # the linker takes what it meets first
            run(compiler[0], CONSUMER / "libraries" / "main.cpp", f"-L{folder}", *(f"-l{name}" for name in order), f"-Wl,-rpath,{folder}", "-o", folder / "consumer")
            print(visibility, *order, "--", run(folder / "consumer", *said).strip().replace("\n", "; "))


# --- with both -------------------------------------------------------------------------------------------------------------------
def getting_started(folder):
    """The blocks of CMake and of the shell in docs/getting_started.md, in their order. Where they stand for something, it is put there: app.cpp, DIR, a checkout, this
    machine's compiler and Eigen."""
    heed, project, prefix = folder / "heed", folder / "project", folder / "prefix"
    for name in ("include", "cmake"):
        shutil.copytree(tree.ROOT / name, heed / name)
    for name in ("CMakeLists.txt", "LICENSE"):
        shutil.copy(tree.ROOT / name, heed)
    (project / "third_party").mkdir(parents=True)
    (project / "third_party" / "heed").symlink_to(heed)
    for place in (folder, project):
        shutil.copy(CONSUMER / "main.cpp", place / "app.cpp")
    here = {"DIR": str(prefix), "cmake": options.cmake, "g++": compiler[0], "/usr/include/eigen3": eigen_headers(), "python3": sys.executable}
    eigen = Path(options.eigen).parents[1] / "pkgconfig"
    environment = {"CMAKE_GENERATOR": options.generator, "CXX": compiler[0], "Eigen3_DIR": options.eigen, "PKG_CONFIG_PATH": str(eigen)}

    def shell(command, place):
        for word, instead in here.items():
            command = re.sub(rf"(?<![\w/.-]){re.escape(word)}(?![\w:-])", lambda _: instead, command)
        if "pkg-config" in command:
            command = command.replace("PKG_CONFIG_PATH=", f"PKG_CONFIG_PATH={eigen}:")
        done = subprocess.run(["bash", "-c", command], cwd=place, text=True, capture_output=True, env={**os.environ, **environment})
        if done.returncode != 0:
            sys.exit(f"docs/getting_started.md: {command}\nfailed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        print(command.strip())

    place, configure_project = heed, ""
    for kind, block in re.findall(r"^```(sh|cmake)\n(.*?)^```", (tree.ROOT / "docs" / "getting_started.md").read_text(encoding="utf-8"), re.S | re.M):
        if kind == "cmake":
            place = project
            found = "" if re.search("find_package|FetchContent", block) else "find_package(heed REQUIRED)\n"
            (project / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.20)\nproject(app CXX)\nadd_executable(app app.cpp)\nadd_library(mine app.cpp)\n" + found + block)
            if not configure_project:
                continue  # the next block
            shutil.rmtree(project / "build")
            shell(configure_project, project)
            if found:  # the kernels' compilation is find_package's
                continue
        elif "cmake -B" in block:
            shell(block, place)
            configure_project = block if place == project else ""
        else:
            for line in block.splitlines():
                if ("pkg-config" not in line or shutil.which("pkg-config")) and ("-fopenmp" not in line or "-fopenmp" in compiler):
                    shell(line, folder)
                    if "app.cpp" in line:
                        print(run(folder / "a.out").strip())
            continue
        if place == project:
            shell("cmake --build build --target app", project)
            print(run(project / "build" / "app").strip())
    run(options.cmake, "--build", heed / "build", "--target", "single_include")  # what the last command makes, by CMake
    if (heed / "build" / "single_include" / "heed.hpp").read_bytes() != (folder / "heed.hpp").read_bytes():
        sys.exit("the target single_include makes another header than cmake/single_include.py")


def eigen_headers():
    return next(compiler[at + 1] for at, flag in enumerate(compiler) if flag == "-isystem")


WAYS = [find_package, old_project, without_packages, add_subdirectory, fetch_content, pkg_config, include_path, single_include, libraries, getting_started]
parser = argparse.ArgumentParser()
parser.add_argument("way", choices=[way.__name__ for way in WAYS])
for name in ("cmake", "heed", "generator", "eigen"):
    parser.add_argument("--" + name, required=True)
parser.add_argument("compiler", nargs="+")
options = parser.parse_args()
compiler = options.compiler
with tempfile.TemporaryDirectory(prefix="heed-consumer-") as temporary:
    next(way for way in WAYS if way.__name__ == options.way)(Path(temporary))
