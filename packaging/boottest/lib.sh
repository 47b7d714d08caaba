#!/bin/sh
# Shared by the parts of the test. Each line that begins with "ok" is a promise kept;
# the first broken one ends the test.
set -eu

ok() { echo "ok  $*"; }

fail() {
	echo "FAIL $*"
	systemctl status tokend.service tokend.socket --no-pager || true
	journalctl --no-pager -n 50 || true
	exit 1
}

# soon N COMMAND waits up to N tenths of a second until the command succeeds.
soon() {
	n=$1
	shift
	until "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ "$n" -gt 0 ] || return 1
		sleep 0.1
	done
}

# quietly COMMAND shows what it prints if it fails.
quietly() {
	"$@" >/tmp/said 2>&1 || { cat /tmp/said; fail "$*"; }
}

property() { systemctl show -p "$1" --value "${2:-tokend.service}"; }

# callers_go_on starts a caller that asks for tokens without a pause, until no_call_was_lost.
callers_go_on() {
	rm -f /tmp/stop /tmp/lost /tmp/calls
	(
		n=0
		while [ ! -e /tmp/stop ]; do
			tokenctl get clms >/dev/null 2>>/tmp/errors || echo "call $n failed" >>/tmp/lost
			n=$((n + 1))
		done
		echo $n >/tmp/calls
	) &
}

no_call_was_lost() { # WHILE: what happened meanwhile
	touch /tmp/stop
	soon 100 test -s /tmp/calls || fail "the caller hangs"
	[ ! -e /tmp/lost ] || fail "$(wc -l </tmp/lost) of $(cat /tmp/calls) calls failed while $1: $(head -3 /tmp/lost /tmp/errors)"
	[ "$(cat /tmp/calls)" -gt 10 ] || fail "only $(cat /tmp/calls) calls while $1"
	ok "no call of $(cat /tmp/calls) was lost while $1"
}
