#!/bin/sh
# Before the files are removed, or replaced by those of an upgrade: that leaves
# the service running.
set -e
case ${1:-} in
upgrade | failed-upgrade | deconfigure) exit 0 ;; # dpkg
1) exit 0 ;;                                      # rpm
esac

# A unit that is masked, or a systemd that does not answer, keeps no one from
# removing the package.
if [ -d /run/systemd/system ]; then
	systemctl disable --now tokend.socket tokend.service || echo "tokend: it may still run; see: systemctl status tokend" >&2
elif command -v systemctl >/dev/null; then
	systemctl disable tokend.socket tokend.service || true
fi
