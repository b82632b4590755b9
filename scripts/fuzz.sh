#!/usr/bin/env bash
# Runs fuzz targets one after another, each for FUZZTIME (default 1m): all of them, or those whose names are given.
# What a target finds is left in its package's testdata/fuzz, where every test run tries it again from then on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

found=0
while IFS=: read -r file _ line; do
  target=$(sed -E 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/' <<<"$line")
  if [ $# -gt 0 ] && [[ " $* " != *" $target "* ]]; then continue; fi
  found=$((found + 1))
  echo "== $target ($(dirname "$file"))"
  # Inputs are made smaller for a second each: by default it is a minute, which is all of a short run.
  go test -run '^$' -fuzzminimizetime 1s -fuzz "^$target\$" -fuzztime "${FUZZTIME:-1m}" ${FUZZPARALLEL:+-parallel "$FUZZPARALLEL"} "./$(dirname "$file")"
done < <(grep -rn --include='*_test.go' '^func Fuzz' . | sed 's|^\./||' | sort)
if [ "$found" -eq 0 ]; then echo "no fuzz target is called $*" >&2; exit 1; fi
echo "== $found targets ran clean"
