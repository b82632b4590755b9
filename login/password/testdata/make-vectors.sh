#!/usr/bin/env bash
# Prints password hashes made by other programs, with fresh salts each time, as lines of
#   tool <tab> scheme <tab> password <tab> hash
# vectors.tsv is what it printed once:  ./make-vectors.sh > vectors.tsv
# Costs are the least that each program takes, but for one hash of each with its defaults.
set -euo pipefail
export LC_ALL=C.UTF-8
here=$(dirname "$0")
# Debian's Python has Debian's modules; another one first in PATH has not.
python=/usr/bin/python3

for program in php "$python" htpasswd mkpasswd dpkg-query; do
  command -v "$program" >/dev/null || { echo "$program is not installed; run: make test" >&2; exit 1; }
done

# Characters beyond ASCII; blanks that some programs trim; more than bcrypt reads; what PHP's
# addslashes changes; nothing at all.
passwords=(
  'correct horse battery staple'
  'Grüße 🐎 aus Köln'
  '  blanks at both ends  '
  "$(printf '0123456789%.0s' {1..8})"
  "it's \"quoted\" \\ and \$HOME"
  'x'
  ''
)

line() { printf '%s\t%s\t%s\t%s\n' "$@"; }

php "$here/vectors.php" "${passwords[@]}"
"$python" "$here/vectors.py" "${passwords[@]}"

apache="htpasswd $(dpkg-query -W -f '${Version}' apache2-utils)"
htpasswd() { command htpasswd -n -b "$@" 2>/dev/null | sed -n 's/^user://p'; }
for p in "${passwords[@]}"; do
  line "$apache" apr1 "$p" "$(htpasswd -m user "$p")"
  line "$apache" sha256crypt "$p" "$(htpasswd -2 -r 1000 user "$p")"
  line "$apache" sha512crypt "$p" "$(htpasswd -5 -r 1000 user "$p")"
  line "$apache" bcrypt "$p" "$(htpasswd -B -C 4 user "$p")"
done
line "$apache" bcrypt "${passwords[0]}" "$(htpasswd -B user "${passwords[0]}")"
line "$apache" sha512crypt "${passwords[0]}" "$(htpasswd -5 user "${passwords[0]}")"

whois=$(mkpasswd --version 2>&1 | head -n 1)
for p in "${passwords[@]}"; do
  line "$whois" md5crypt "$p" "$(mkpasswd -m md5crypt -s <<<"$p")"
  line "$whois" sha256crypt "$p" "$(mkpasswd -m sha256crypt -R 1000 -s <<<"$p")"
  line "$whois" sha512crypt "$p" "$(mkpasswd -m sha512crypt -R 1000 -s <<<"$p")"
  line "$whois" bcrypt "$p" "$(mkpasswd -m bcrypt -R 4 -s <<<"$p")"
  line "$whois" bcrypt "$p" "$(mkpasswd -m bcrypt-a -R 4 -s <<<"$p")"
done
for method in sha256crypt sha512crypt bcrypt scrypt; do
  line "$whois" "$method" "${passwords[0]}" "$(mkpasswd -m "$method" -s <<<"${passwords[0]}")"
done
