#!/bin/sh
# The system service without a package, as tokend install --system makes it.
# Takes the programs of the package, installed or in /test.
. /test/lib.sh

if [ -e /usr/bin/tokend ]; then
	cp /usr/bin/tokend /usr/bin/tokenctl /tmp/
else
	dpkg -x /test/tokend_1.0.1_*.deb /tmp/package
	cp /tmp/package/usr/bin/tokend /tmp/package/usr/bin/tokenctl /tmp/
fi
# As if no package had ever been here.
rm -rf /usr/bin/tokend /usr/lib/systemd/system/tokend.* /etc/systemd/system/tokend.* /etc/tokend /var/lib/tokend
systemctl daemon-reload
quietly sh -c '! getent passwd tokend || userdel tokend'
useradd -m ines
install -m 0755 -o ines /tmp/tokend /home/ines/

refuses() { # WHAT STATUS TEXT COMMAND
	what=$1 want=$2 text=$3 status=0
	shift 3
	"$@" >/tmp/out 2>&1 || status=$?
	[ $status = "$want" ] || fail "$what: status $status: $(cat /tmp/out)"
	grep -q "$text" /tmp/out || fail "$what: $(cat /tmp/out)"
}
refuses "from a home" 1 "sees nothing under /home/" /home/ines/tokend install --system
refuses "from /tmp" 1 "will not stay" /tmp/tokend install --system
install -m 0755 /tmp/tokend /tmp/tokenctl /usr/local/bin/
refuses "neither --system nor --user" 2 "use --system" tokend install
refuses "not root" 1 "sudo tokend install --system" runuser -u ines -- tokend install --system
refuses "nothing installed" 1 "sudo tokend install --system" runuser -u ines -- tokend status --system
[ -z "$(find /etc/systemd -name '*tokend*')" ] || fail "what is refused leaves units"
ok "what cannot be a service is refused, with what to do"

(umask 000 && quietly tokend install --system)
grep -q '^Next: tokend setup --system, then: tokend start --system$' /tmp/said || fail "it says: $(cat /tmp/said)"
getent passwd tokend >/dev/null || fail "it makes no user"
[ "$(stat -c '%a %U' /etc/systemd/system/tokend.service /etc/systemd/system/tokend.socket | sort -u)" = "644 root" ] || fail "the units' modes"
refuses "not set up" 78 'not set up: run "tokend setup --system" first' tokend start --system
quietly tokend setup --system
quietly tokend start --system
tokenctl status >/dev/null || fail "it does not answer"
runuser -u ines -- tokend status --system | grep -q "runs, process" || fail "others cannot see how it is"
ok "installed by hand, set up and started"

printf '[Service]\nPrivateUsers=yes\n' >/etc/systemd/system/tokend.service.d/test.conf
systemctl daemon-reload
refuses "PrivateUsers=yes" 78 "cannot tell its callers apart" tokend restart --system
[ "$(property NRestarts)" = 0 ] || fail "it is started again and again"
rm /etc/systemd/system/tokend.service.d/test.conf
systemctl daemon-reload
quietly tokend restart --system
ok "PrivateUsers=yes is reported, and not tried again"

echo >>/etc/systemd/system/tokend.service
quietly tokend install --system
quietly tokend install --system
tokenctl status >/dev/null || fail "it does not answer after another installation"
quietly tokend uninstall --system
[ -z "$(find /etc/systemd -name 'tokend.s*' ! -name '*.d')" ] || fail "units are left"
[ -s /etc/tokend/tokend-key.cred ] || fail "uninstall takes keys away"
quietly tokend uninstall --system
quietly tokend install --system
tokenctl status >/dev/null || fail "installed again, it does not serve"
refuses "no terminal" 2 "use --yes" tokend uninstall --system --purge
quietly tokend uninstall --system --purge --yes
[ -z "$(find /etc /var/lib -name '*tokend*' ! -path '/var/lib/dpkg/*')" ] || fail "left: $(find /etc /var/lib -name '*tokend*')"
quietly tokend uninstall --system --purge --yes
ok "uninstalled with keys kept; purged, nothing is left"
