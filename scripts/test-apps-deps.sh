#!/usr/bin/env bash
# Installs, through apt-get, the servers that `make test-apps` puts behind the gateway, when they are missing: PHP (its own
# server, PHP-FPM and mod_php), nginx, Node and npm, Python with gunicorn and Django, lighttpd, Apache httpd, Tomcat with a Java to
# run it, Ruby with Rack and Puma; and a C compiler for the race detector. Does nothing when all of them are there.
set -euo pipefail

declare -A package_of=(
  [php]=php-cli
  [nginx]=nginx
  [node]=nodejs
  [npm]=npm
  [gunicorn]=gunicorn
  [lighttpd]=lighttpd
  [apache2]=apache2
  [java]=default-jre-headless
  [ruby]=ruby
  [puma]=puma
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
# Programs and libraries that have no name of their own on the path.
compgen -G '/usr/sbin/php-fpm*' >/dev/null || missing+=(php-fpm)
compgen -G '/usr/lib/apache2/modules/libphp*.so' >/dev/null || missing+=(libapache2-mod-php)
# Tomcat is tomcat10 in Debian 12 and tomcat11 after it.
if ! compgen -G '/usr/share/tomcat1*/bin/bootstrap.jar' >/dev/null; then missing+=(tomcat); fi
# The system's Python, for which apt-get installs; another python3 may come first on the path.
/usr/bin/python3 -c 'import django' 2>/dev/null || missing+=(python3-django)
ruby -e 'require "rack"' 2>/dev/null || missing+=(ruby-rack)

if [ "${#missing[@]}" -eq 0 ]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "make test-apps needs these programs, and this system has no apt-get to install them with: ${missing[*]}" >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq
for i in "${!missing[@]}"; do
  if [ "${missing[$i]}" = tomcat ]; then
    missing[i]=tomcat10
    apt-cache show tomcat11 >/dev/null 2>&1 && missing[i]=tomcat11
  fi
done
echo "Installing what the tests of real servers need: ${missing[*]}"
# RUNLEVEL=1 keeps the packages from starting services: the tests start their own servers on free ports.
"${sudo[@]}" env RUNLEVEL=1 apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
