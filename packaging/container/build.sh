#!/bin/sh
# Makes the container image "tokend" with podman, or with $ENGINE (docker), from
# programs that it builds with Go outside the image:
#
#	packaging/container/build.sh [VERSION]
set -eu
cd "$(dirname "$0")/../.."
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
# As packaging/build.sh compiles them.
GOEXPERIMENT=runtimesecret CGO_ENABLED=0 GOOS=linux \
	go build -trimpath -ldflags "-s -w -X main.version=${1:-devel}" -o "$stage/root/usr/bin/" ./cmd/tokend ./cmd/tokenctl
install -D -m 0644 "${CERTIFICATES:-/etc/ssl/certs/ca-certificates.crt}" "$stage/root/etc/ssl/certs/ca-certificates.crt"
# What tokend writes, with the modes that it asks for.
install -d -m 0755 "$stage/own" "$stage/own/run/tokend"
install -d -m 0700 "$stage/own/var/lib/tokend"
install -d -m 0750 "$stage/own/etc/tokend"
# shellcheck disable=SC2086 # one word per option
"${ENGINE:-podman}" build ${BUILD_OPTIONS:-} -f packaging/container/Containerfile -t tokend "$stage"
