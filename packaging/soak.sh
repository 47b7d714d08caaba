#!/bin/sh
# Runs tokend for a while under kills, cuts, a full disk and a locked keyring
# (packaging/bench/soak/doc.go), and prints a report.
#
#	packaging/soak.sh [DURATION] [SEED]
set -eu
cd "$(dirname "$0")/.."
exec go test -C packaging/bench -count=1 -v -timeout 24h ./soak -args -for "${1:-1m}" -seed "${2:-0}"
