#!/usr/bin/env bash
# Writes the software bill of materials of a built binary, bin/gatehouse unless another is named: the Go version, and each module
# linked into it with its version and checksum, as the binary itself tells (go version -m).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary=${1:-bin/gatehouse}
go version -m "$binary" | sed "1s|^.*: |gatehouse: |" > "$binary.sbom.txt"
modules=$(grep -cE '^	dep	' "$binary.sbom.txt" || true)
if [ "$modules" -eq 0 ]; then echo "$binary names no module it was built from" >&2; exit 1; fi
# A dependency replaced by a folder, or without a checksum, is one nobody can look up.
if grep -E '^	(dep|=>)	' "$binary.sbom.txt" | grep -vE '	h1:[A-Za-z0-9+/]{43}=$'; then
  echo "the modules above have no checksum" >&2
  exit 1
fi
echo "$binary.sbom.txt: $modules modules"
