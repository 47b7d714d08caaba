#!/bin/sh
# Runs the tests of docs/security-cases.md, all of them or those of the cases
# that you name, on this machine:
#
#	packaging/faults.sh              all cases
#	packaging/faults.sh 36 39        these two
#	packaging/faults.sh --long       more kills and more damage, ten minutes
#	                                 of soak, and longer fuzzing
#
# packaging/check.sh full runs all of it in its shorter form.
set -eu
cd "$(dirname "$0")/.."
long=
if [ "${1:-}" = --long ]; then
	long=1
	shift
fi

# A row's first column is the number, its last names the tests; of a script the
# part behind the slash is a test of its own.
names=$(awk -F ' *[|] *' -v wanted=" $* " '
	$2 ~ /^[0-9]+a?$/ && (wanted ~ /^ *$/ || index(wanted, " " $2 " ")) {
		while (match($0, /`(Test|Fuzz)[A-Za-z0-9]+/)) {
			name = substr($0, RSTART + 1, RLENGTH - 1)
			if (!seen[name]++) print name
			$0 = substr($0, RSTART + RLENGTH)
		}
	}' docs/security-cases.md)
[ -n "$names" ] || { echo "faults.sh: no test for: $*" >&2; exit 2; }
alternatives=$(echo "$names" | paste -sd '|')
packages=$(grep -rlE "^func ($alternatives)\(" --include='*_test.go' . | xargs -n 1 dirname | sort -u)
# shellcheck disable=SC2086 # one word per package
TOKEND_TEST_LONG=$long go test -count=1 -timeout 2h $packages -run "^($alternatives)\$"

[ -n "$long" ] && [ $# = 0 ] || exit 0
packaging/soak.sh 10m
packaging/fuzz.sh 5m
