#!/bin/sh
# The front controller of a CGI application: it routes on PATH_INFO.
path=${PATH_INFO:-/}
while read -r prefix says; do
	case "$path" in
	"$prefix" | "$prefix"/*)
		printf 'Content-Type: text/plain\r\n\r\n%s\n' "$says"
		exit
		;;
	esac
done <"${SCRIPT_FILENAME%/*}/../areas"
printf 'Status: 404\r\nContent-Type: text/plain\r\n\r\nnothing here\n'
