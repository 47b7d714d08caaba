#!/bin/sh
# Boots Debian with systemd in a container, installs the package that it has just
# built as README.md says, and checks that tokend does what the documentation
# promises, over a reboot, upgrades, removal and purging. Needs root; installs
# missing tools. Takes two minutes.
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "run.sh: booting a container needs root" >&2; exit 1; }
for pair in systemd-nspawn:systemd-container debootstrap:debootstrap; do
	command -v "${pair%%:*}" >/dev/null && continue
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${pair##*:}"
done

# A Debian with a session bus, logins that systemd knows of, a keyring, and what
# the package depends on, so that nothing is fetched while the test runs.
debian=bookworm
packages=systemd-sysv,dbus,dbus-user-session,libpam-systemd,ca-certificates,gnome-keyring,libsecret-tools,curl,procps,rpm
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tokend-check
base=$cache/$debian-$(echo "$packages" | sha256sum | cut -c1-8).tar
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
if [ ! -f "$base" ]; then
	mkdir -p "$cache"
	debootstrap --variant=minbase --include="$packages" $debian "$root" >"$cache/debootstrap.log"
	tar -C "$root" --exclude='./var/cache/apt/archives/*.deb' --exclude='./usr/share/locale/*' --exclude='./usr/share/doc/*' -cf "$base.new" .
	mv "$base.new" "$base"
else
	tar -C "$root" -xf "$base"
fi
chmod 0755 "$root" # it becomes /

mkdir -p "$root/test"
cp README.md packaging/boottest/*.sh packaging/scripts/*.sh "$root/test/"
cp -r cmd/tokend/testdata/upgrade "$root/test/"
arch=$(go env GOARCH)
for version in 1.0.0 1.0.1; do
	packaging/build.sh -o "$root/test" -a "$arch" -f "deb rpm" $version >/dev/null
done
CGO_ENABLED=0 go build -o "$root/usr/local/bin/" ./packaging/boottest/issuers
cat >"$root/etc/systemd/system/test.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /test/boot.sh
UNIT
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../test.service "$root/etc/systemd/system/multi-user.target.wants/test.service"

mkdir -p /run/systemd/nspawn
mountpoint -q /run/systemd/nspawn || mount -t tmpfs tmpfs /run/systemd/nspawn
# Reboots end systemd-nspawn, as shutting down does: until the test has a status.
while [ ! -e "$root/test/status" ]; do
	timeout 300 systemd-nspawn -q -D "$root" -M "tokend-test-$$" --register=no --keep-unit --boot \
		--system-call-filter='@memlock @keyring memfd_secret landlock_create_ruleset landlock_add_rule landlock_restrict_self' \
		>"$root/console" 2>&1 && status=0 || status=$?
	[ $status = 133 ] || break # not a reboot
done
cat "$root/test/log" 2>/dev/null || cat "$root/console"
[ "$(cat "$root/test/status" 2>/dev/null)" = 0 ] || { echo "run.sh: the boot test failed" >&2; exit 1; }
