#!/bin/sh
# The second boot, without issuers: tokend still serves what it had, until the
# administrator removes it.
. /test/lib.sh

soon 50 systemctl is-active -q tokend || fail "it does not start at boot"
tokenctl get clms | cmp -s - /test/token || fail "not the token of before: $(tokenctl get clms 2>&1)"
runuser -u alice -- tokenctl get clms | cmp -s - /test/token || fail "alice gets another"
ok "started at boot, serving from the cache while the issuers are down"

kept() { [ -s /etc/tokend/tokend-key.cred ] && [ -n "$(ls /etc/tokend/profiles.d /var/lib/tokend/credentials)" ]; }
quietly apt-get remove tokend
grep -q "keys and profiles stay" /tmp/said || fail "removal does not say what stays"
kept || fail "removing the package deleted keys"
for unit in tokend.service tokend.socket; do
	[ "$(property ActiveState $unit)" = inactive ] || fail "$unit outlives its package"
done
[ -z "$(find /etc/systemd /usr/bin /usr/lib/systemd -name '*tokend*' ! -path '*/tokend.service.d*')" ] || fail "files are left"
quietly apt-get install /test/tokend_1.0.1_*.deb
[ "$(systemctl is-enabled tokend.service)" = disabled ] || fail "enabled unasked"
systemctl start tokend
tokenctl get clms | cmp -s - /test/token || fail "not the token of before: $(tokenctl get clms 2>&1)"
ok "removed with keys and profiles kept; installed again it serves them"

quietly apt-get purge tokend
grep -q "deleted /var/lib/tokend and /etc/tokend" /tmp/said || fail "purging does not say what it deletes"
for path in /etc/tokend /var/lib/tokend /etc/systemd/system/tokend.service.d /usr/libexec/tokend /usr/share/doc/tokend; do
	[ ! -e $path ] || fail "$path outlives purging"
done
getent passwd tokend >/dev/null || fail "the user is gone, and its uid may become another's"
ok "purged: keys and profiles are gone, and it says so"

# A package over the first release's files (cmd/tokend/testdata/upgrade).
mkdir -p /etc/tokend /var/lib/tokend
cp -r /test/upgrade/config/. /test/upgrade/key /etc/tokend/
cp -r /test/upgrade/state/. /var/lib/tokend/
sed -i 's,@HOME@,/etc/tokend,' /etc/tokend/config.toml /var/lib/tokend/install.toml
cp /test/issuers/ca.pem /etc/tokend/
chown -R tokend: /etc/tokend /var/lib/tokend
chmod -R go= /etc/tokend /var/lib/tokend
quietly apt-get install /test/tokend_1.0.1_*.deb
quietly systemctl start tokend
for profile in clms azure-cert aspose oauth2 bearer; do
	grep -qF "\"$profile\": \"$(tokenctl get $profile)\"" /test/upgrade/want.json || fail "not the first release's token of $profile: $(tokenctl get $profile 2>&1)"
done
quietly apt-get purge tokend
ok "upgraded from the first release: its profiles, keys and tokens are served"

# The same by rpm, which calls the same scripts in other ways.
quietly rpm -i --nodeps /test/tokend-1.0.0-1.*.rpm
[ "$(systemctl is-enabled tokend.service)" = disabled ] || fail "enabled unasked"
quietly tokend setup --system
quietly systemctl enable --now tokend
pid=$(property MainPID)
quietly rpm -U --nodeps /test/tokend-1.0.1-1.*.rpm
[ "$(property MainPID)" != "$pid" ] && systemctl is-active -q tokend && systemctl is-enabled -q tokend || fail "the upgrade did not restart it"
tokenctl version | grep -q "^tokend *1.0.1" || fail "the old tokend runs: $(tokenctl version)"
quietly rpm -e tokend
[ -s /etc/tokend/tokend-key.cred ] && grep -q "keys and profiles stay" /tmp/said || fail "rpm -e deleted keys, or does not say what stays"
[ "$(property ActiveState)" = inactive ] || fail "tokend outlives its package"
ok "rpm installs, upgrades and removes it likewise"
