#!/usr/bin/env bash
# Installs, through apt-get, the programs the tests drive when they are missing:
# redis-server for the store and outage tests, PostgreSQL and MariaDB for the database tests,
# PHP, Django, Werkzeug, passlib, mkpasswd and htpasswd for password hashes by their original tools,
# nginx and Caddy as the web servers that ask the gateway about requests,
# Laravel's encrypter, Ruby and Rack for the cookies and payloads of frameworks, Node for real applications, Chromium for the browser tests, slowhttptest for slow clients, a C compiler for the race detector.
# Does nothing when all of them are there.
set -euo pipefail

declare -A package_of=(
  [redis-server]=redis-server
  [redis-cli]=redis-tools
  [mariadbd]=mariadb-server
  [php]=php-cli
  [ruby]=ruby
  [mkpasswd]=whois
  [htpasswd]=apache2-utils
  [node]=nodejs
  [npm]=npm
  [chromium]=chromium
  [nginx]=nginx-light
  [caddy]=caddy
  [slowhttptest]=slowhttptest
  [gcc]=gcc
)

# Daemons live in sbin, which is not on everybody's path.
PATH="$PATH:/usr/sbin"
missing=()
for program in "${!package_of[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package_of[$program]}")
done
# gcc alone compiles nothing without the C library's headers.
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
# PostgreSQL keeps its programs apart, by version.
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
# The system's Python, for which apt-get installs; another python3 may come first on the path.
for module in django werkzeug passlib argon2 bcrypt; do
  /usr/bin/python3 -c "import $module" 2>/dev/null || missing+=("python3-$module")
done
# Libraries that have no program of their own.
ruby -e 'require "rack"' 2>/dev/null || missing+=(ruby-rack)
for part in Encryption Cookie; do
  compgen -G "/usr/share/php/Illuminate/$part/*.php" >/dev/null || missing+=("php-illuminate-${part,,}")
done

if [ "${#missing[@]}" -eq 0 ]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "make test needs these programs, and this system has no apt-get to install them with: ${missing[*]}" >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
echo "Installing what the tests need: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# RUNLEVEL=1 keeps the packages from starting services: the tests start their own servers on
# free ports, a packaged redis-server on 6379 would only be in the way.
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env RUNLEVEL=1 apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
