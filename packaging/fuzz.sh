#!/bin/sh
# Fuzzes every decoder of bytes that others write: each target for 30 seconds, or
# as long as you say ("packaging/fuzz.sh 10m"), two at a time. A find goes into
# testdata/fuzz of its package, and is a test from then on.
set -eu
cd "$(dirname "$0")/.."
export FUZZTIME="${1:-30s}"
targets=$(go test -list '^Fuzz' ./...)
echo "$targets" |
	awk '$1 ~ /^Fuzz/ { names[++n] = $1 } $1 == "ok" { for (i = 1; i <= n; i++) print $2, names[i]; n = 0 }' |
	xargs -P 2 -n 2 sh -c '
		out=$(go test "$1" -run "^$" -fuzz "^$2\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 5s -parallel 1 2>&1) && {
			echo "$2: $(echo "$out" | grep -o "execs: [0-9]*" | tail -1)"
			exit
		}
		# A worker that stops in the middle of a call, at the end, has found nothing.
		case $out in
		*"Failing input written"*) ;;
		*"context deadline exceeded"*) echo "$2: ended late"; exit ;;
		esac
		echo "$out" >&2
		exit 1' fuzz
