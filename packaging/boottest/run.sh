#!/bin/sh
# Boots Debian with systemd in a container, installs tokend as docs/service.md
# says, and looks whether it does what that promises. Needs root; installs
# systemd-container and debootstrap where they are missing. Ends in a minute.
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "run.sh: a container is booted, which takes root" >&2; exit 1; }
for pair in systemd-nspawn:systemd-container debootstrap:debootstrap; do
	command -v "${pair%%:*}" >/dev/null && continue
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${pair##*:}"
done

cache=${XDG_CACHE_HOME:-$HOME/.cache}/tokend-check
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
if [ ! -f "$cache/debian.tar" ]; then
	mkdir -p "$cache"
	debootstrap --variant=minbase --include=systemd-sysv,dbus,ca-certificates bookworm "$root" >"$cache/debootstrap.log"
	tar -C "$root" -cf "$cache/debian.tar.new" .
	mv "$cache/debian.tar.new" "$cache/debian.tar"
else
	tar -C "$root" -xf "$cache/debian.tar"
fi
chmod 0755 "$root" # it becomes /

CGO_ENABLED=0 go build -o "$root/usr/bin/" ./cmd/tokend ./cmd/tokenctl ./packaging/boottest/issuers
mkdir -p "$root/test"
cp packaging/systemd/tokend.service packaging/systemd/tokend.socket packaging/boottest/inside.sh "$root/test/"
cat >"$root/etc/systemd/system/test.service" <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/bin/sh /test/inside.sh >/test/log 2>&1; echo $? >/test/status; systemctl poweroff --force'
UNIT
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../test.service "$root/etc/systemd/system/multi-user.target.wants/test.service"

mkdir -p /run/systemd/nspawn
mountpoint -q /run/systemd/nspawn || mount -t tmpfs tmpfs /run/systemd/nspawn
timeout 300 systemd-nspawn -q -D "$root" -M "tokend-test-$$" --register=no --keep-unit --boot \
	--system-call-filter='@memlock @keyring memfd_secret landlock_create_ruleset landlock_add_rule landlock_restrict_self' \
	>"$root/console" 2>&1 || true
cat "$root/test/log" 2>/dev/null || cat "$root/console"
[ "$(cat "$root/test/status" 2>/dev/null)" = 0 ] || { echo "run.sh: the boot test failed" >&2; exit 1; }
