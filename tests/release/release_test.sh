#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# .ci/release in a clone: what is not ready is refused with a sentence, what is ready is tagged and packed.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd -P)
[[ $(git -C "$root" rev-parse --show-toplevel 2>/dev/null) == "$root" ]] || { echo "no git repository: skipped"; exit 77; }
command -v python3 >/dev/null || exit 77
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export HOME=$folder GIT_CONFIG_NOSYSTEM=1
git config --global --add safe.directory '*'
git config --global user.name test && git config --global user.email test@example.com
mkdir "$folder/heed"
git -C "$root" ls-files -z | (cd "$root" && tar --null --ignore-failed-read -T - -cf -) | tar -xf - -C "$folder/heed"
cd "$folder/heed"
git init -q && git add -A && git commit -qm all

refused() {  # refused WORDS COMMAND...
  local words=$1 code=0
  shift
  "$@" >"$folder/said" 2>&1 || code=$?
  [[ $code == 2 ]] && grep -qF "$words" "$folder/said" || { echo "expected exit code 2 and '$words', got $code and:"; cat "$folder/said"; exit 1; }
}
refused "give the version" .ci/release
refused "not 9.9.9" .ci/release 9.9.9
version=$(sed -n 's/^#define HEED_VERSION_[A-Z]* \([0-9]*\)$/\1/p' include/heed/core/config.hpp | paste -sd.)
sed -i "s/^## $version.*/## $version (unreleased)/" docs/CHANGELOG.md
refused "no heading" .ci/release "$version"
sed -i "s/^## $version.*/## $version (2030-01-02)/" docs/CHANGELOG.md
refused "not committed" .ci/release "$version"
git commit -qam release
refused "tests/run --full has not passed" .ci/release "$version"
mkdir build && git rev-parse HEAD~1 >build/passed
refused "tests/run --full has not passed" .ci/release "$version"
{ git rev-parse HEAD && printf '%s\n' "newest g++" "web"; } >build/passed
refused "has skipped: newest g++, web" .ci/release "$version"
refused "has skipped" .ci/release "$version" web
.ci/release "$version" web "newest g++"
(cd "build/release-$version" && sha256sum -c --quiet SHA256SUMS)
tar -tzf "build/release-$version/heed-$version.tar.gz" >packed.txt
grep -q "^heed-$version/include/heed/heed.hpp$" packed.txt
rm packed.txt
[[ $(git tag) == "v$version" ]]
refused "there is a tag" .ci/release "$version"
echo "released $version"
