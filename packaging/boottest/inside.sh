# What runs in the booted container. Each line that begins with "ok" is a
# promise that was kept; the first that was not ends the test.
set -eu
ok() { echo "ok  $*"; }
fail() {
	echo "FAIL $*"
	systemctl status tokend.service tokend.socket --no-pager || true
	journalctl --no-pager -n 50 || true
	exit 1
}
soon() { # soon N COMMAND: within N tenths of a second
	n=$1
	shift
	until "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ "$n" -gt 0 ] || return 1
		sleep 0.1
	done
}
refused() { ! runuser -u "$1" -- tokenctl get clms >/tmp/out 2>&1; }

mkdir -p /test/issuers
issuers /test/issuers &
soon 100 test -s /test/issuers/key.json || fail "the issuers do not start"

# docs/service.md
groupadd --system tokend
useradd --system -g tokend -d /nonexistent -s /usr/sbin/nologin tokend
install -d -m 0750 -g tokend /etc/tokend
install -m 0644 /test/tokend.service /test/tokend.socket /etc/systemd/system/
for user in alice bob eve; do useradd -m $user; done
usermod -aG tokend alice
usermod -aG tokend bob
groupadd data
usermod -aG data bob
printf 'ca_file = "/etc/tokend/ca.pem"\nproxy = "none"\n' >/etc/tokend/config.toml
install -m 0644 /test/issuers/ca.pem /etc/tokend/ca.pem
systemctl daemon-reload

systemctl start tokend.service 2>/dev/null && fail "it starts although nothing is set up"
[ "$(systemctl show -p ExecMainStatus --value tokend)" = 78 ] || fail "not set up: status $(systemctl show -p ExecMainStatus --value tokend)"
systemctl stop tokend.socket
systemctl reset-failed
ok "what is not set up does not start, with status 78"

tokend setup --system
test -s /etc/tokend/tokend-key.cred || fail "no systemd credential was made"
ok "set up by root: the key is a systemd credential"

systemctl enable -q --now tokend.socket tokend.service
systemctl is-active -q tokend || fail "not active"
systemctl show -p StatusText --value tokend | grep -q "keystore sealed: ok" || fail "no status"
ok "started, and ready when it answers"

tokenctl add clms --provider clms --service-key /test/issuers/key.json --allow-user alice --allow-group data >/dev/null || fail "add"
tokenctl get clms | grep -q . || fail "root gets no token"
ok "root adds a profile and gets a token"

runuser -u alice -- tokenctl get clms | grep -q . || fail "alice gets none"
runuser -u bob -- tokenctl get clms | grep -q . || fail "bob, of the group data, gets none"
ok "an allowed user and a member of an allowed group get it"

tokenctl add closed --provider clms --service-key /test/issuers/key.json >/dev/null || fail "add"
runuser -u alice -- tokenctl get closed >/tmp/closed 2>&1 && fail "alice gets what is closed"
runuser -u alice -- tokenctl get nothing >/tmp/nothing 2>&1 && fail "there is a profile nothing"
sed 's/closed/nothing/g' /tmp/closed | cmp -s - /tmp/nothing || fail "closed and missing differ: $(cat /tmp/closed /tmp/nothing)"
runuser -u alice -- tokenctl remove clms --yes 2>/dev/null && fail "alice removes a profile"
refused eve || fail "eve gets a token"
usermod -aG tokend eve
refused eve || fail "eve, who can connect, gets a token"
grep -q '"msg":"refuse","do":"get","uid":'"$(id -u eve)" /var/lib/tokend/audit.log || fail "no refusal of eve in the audit log"
grep -q '"msg":"grant","do":"get","uid":'"$(id -u alice)" /var/lib/tokend/audit.log || fail "no grant to alice in the audit log"
grep -qF "$(tokenctl get clms)" /var/lib/tokend/audit.log && fail "a token in the audit log"
ok "others get nothing, cannot tell it from what is not there, and are in the audit log"

# Calls go on while tokend is restarted, many times.
(
	n=0
	while [ ! -e /tmp/done ]; do
		tokenctl get clms >/dev/null || echo "call $n failed" >>/tmp/lost
		n=$((n + 1))
	done
	echo $n >/tmp/calls
) &
for _ in 1 2 3; do
	systemctl restart tokend
	sleep 0.3
done
touch /tmp/done
soon 100 test -s /tmp/calls || fail "the caller hangs"
[ ! -e /tmp/lost ] || fail "$(wc -l </tmp/lost) of $(cat /tmp/calls) calls failed: $(head -3 /tmp/lost)"
ok "no call of $(cat /tmp/calls) was lost over three restarts"

systemctl reload tokend || fail "reload"
kill -KILL "$(systemctl show -p MainPID --value tokend)"
soon 30 systemctl is-active -q tokend || fail "not started again after a kill"
runuser -u alice -- tokenctl get clms >/dev/null || fail "no token after a kill"
ok "killed, started again, serving from the cache"

mkdir -p /etc/systemd/system/tokend.service.d
printf '[Service]\nWatchdogSec=2\n' >/etc/systemd/system/tokend.service.d/test.conf
systemctl daemon-reload
systemctl restart tokend
before=$(systemctl show -p NRestarts --value tokend)
sleep 5
[ "$(systemctl show -p NRestarts --value tokend)" = "$before" ] || fail "the watchdog takes an idle tokend for a hanging one"
kill -STOP "$(systemctl show -p MainPID --value tokend)"
more() { [ "$(systemctl show -p NRestarts --value tokend)" -gt "$before" ] && systemctl is-active -q tokend; }
soon 120 more || fail "the watchdog does not see that tokend hangs"
tokenctl get clms >/dev/null || fail "no token after the watchdog"
ok "an idle tokend is left alone, one that hangs is started again"

pid=$(systemctl show -p MainPID --value tokend)
for file in environ mem maps; do
	runuser -u tokend -- head -c1 "/proc/$pid/$file" >/dev/null 2>&1 && fail "its own user can read $file of the process"
done
nsenter -t "$pid" -m -- sh -c "touch /etc/tokend/x && rm /etc/tokend/x" || fail "the configuration cannot be written"
nsenter -t "$pid" -m -- touch /usr/x 2>/dev/null && fail "/usr can be written"
nsenter -t "$pid" -m -- ls /home/alice >/dev/null 2>&1 && fail "/home can be read"
ok "the sandbox is in force"

! find /etc/tokend /var/lib/tokend -perm /o+rwx ! -path /etc/tokend/config.toml ! -path /etc/tokend/ca.pem | grep . || fail "open to others"
ok "no file is open to others"
