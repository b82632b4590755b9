#!/usr/bin/env bash
# Installs, through apt-get, the programs the tests drive when they are missing:
# redis-server for the store and outage tests, Chromium for the browser tests,
# a C compiler for the race detector. Does nothing when all of them are there.
set -euo pipefail

declare -A package_of=(
  [redis-server]=redis-server
  [redis-cli]=redis-tools
  [chromium]=chromium
  [gcc]=gcc
)

missing=()
for program in "${!package_of[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package_of[$program]}")
done
# gcc alone compiles nothing without the C library's headers.
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)

if [ "${#missing[@]}" -eq 0 ]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "make test needs these programs, and this system has no apt-get to install them with: ${missing[*]}" >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
echo "Installing what the tests need: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# A policy that forbids starting services: the tests start their own servers on
# free ports, a packaged redis-server on 6379 would only be in the way.
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
