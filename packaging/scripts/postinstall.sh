#!/bin/sh
# After installation and after an upgrade. dpkg, rpm and apk say with different
# arguments which it was; what is to be done is the same. Nothing is enabled or
# started here that was not before.
set -e

# The user and group tokend.
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers tokend.conf
else
	if ! getent group tokend >/dev/null; then
		if command -v groupadd >/dev/null; then
			groupadd --system tokend
		else # Alpine
			addgroup -S tokend
		fi
	fi
	if ! getent passwd tokend >/dev/null; then
		if command -v useradd >/dev/null; then
			useradd --system -g tokend -d / -s /usr/sbin/nologin -c "Holds keys and hands out access tokens" tokend
		else
			adduser -S -D -H -G tokend -h / -s /sbin/nologin -g "Holds keys and hands out access tokens" tokend
		fi
	fi
fi

# Configuration, which tokend reads, and state, closed to others. What is
# there already is left as it is.
[ -e /etc/tokend ] || install -d -o root -g tokend -m 0750 /etc/tokend
[ -e /var/lib/tokend ] || install -d -o tokend -g tokend -m 0700 /var/lib/tokend

# An upgrade: the new program takes the place of the old one, if that runs. The
# socket stays open, and calls wait in it.
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	systemctl try-restart tokend.service || echo "tokend: it does not start again; see: systemctl status tokend" >&2
fi

! command -v bash >/dev/null || [ -e /usr/share/bash-completion/bash_completion ] ||
	echo "tokend: bash completes tokenctl once the package bash-completion is installed, or with . <(tokenctl completion bash) in ~/.bashrc"
