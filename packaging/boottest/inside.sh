#!/bin/sh
# The first boot: the package is installed as README.md says, and used.
. /test/lib.sh

refused() { ! runuser -u "$1" -- tokenctl get clms >/tmp/out 2>&1; }

mkdir -p /test/issuers
issuers /test/issuers &
soon 100 test -s /test/issuers/key.json || fail "the issuers do not start"

for user in alice bob eve; do useradd -m $user; done
groupadd data
usermod -aG data bob

# The commands of the README, from the package to a token.
sed -n '/^    apt install/,/^$/s/^    //p' /test/README.md >/tmp/commands
[ "$(wc -l </tmp/commands)" -le 3 ] && grep -q "^tokenctl add" /tmp/commands || fail "the README has other commands: $(cat /tmp/commands)"
next() { # the next command, typed where the package and the key lie
	command=$(head -1 /tmp/commands)
	sed -i 1d /tmp/commands
	cd /test/here || exit
	quietly sh -c "umask 000; $command"
	cd /
}
mkdir -p /test/here
mv /test/tokend_1.0.0_*.deb /test/here/
cp /test/issuers/key.json /test/here/service-key.json
echo 'APT::Get::Assume-Yes "true"; APT::Install-Recommends "false";' >/etc/apt/apt.conf.d/90test

next # apt install
[ "$(dpkg-query -W -f '${Status} ${Version}' tokend)" = "install ok installed 1.0.0" ] || fail "not installed"
for unit in tokend.service tokend.socket; do
	[ "$(systemctl is-enabled $unit)" = disabled ] && [ "$(property ActiveState $unit)" = inactive ] || fail "$unit was enabled or started unasked"
done
[ "$(systemctl --global is-enabled tokend.socket)" = disabled ] || fail "the users' service was enabled unasked"
ok "installed, and nothing is enabled or started unasked"

for file in $(dpkg -L tokend); do
	[ -L "$file" ] || [ "$(stat -c '%U:%G' "$file")" = root:root ] || fail "$file is not root's"
done
# shellcheck disable=SC2046 # one word per file
writable=$(find $(dpkg -L tokend) -maxdepth 0 ! -type l -perm /o+w,g+w,u+s,g+s)
[ -z "$writable" ] || fail "others can write, or it runs as root: $writable"
[ "$(stat -c '%U:%G %a' /etc/tokend)" = "root:tokend 750" ] || fail "/etc/tokend: $(stat -c '%U:%G %a' /etc/tokend)"
[ "$(stat -c '%U:%G %a' /var/lib/tokend)" = "tokend:tokend 700" ] || fail "/var/lib/tokend: $(stat -c '%U:%G %a' /var/lib/tokend)"
[ "$(getent passwd tokend | cut -d: -f7)" = /usr/sbin/nologin ] || fail "tokend can log in"
ok "what was installed is closed to others, although the umask was 000"

helpers=$(tokenctl helper --help | sed -n '/^Protocols/,/^$/s/^  [a-z]*  *\([a-z-]*\) .*/\1/p')
[ "$(echo "$helpers" | wc -l)" -ge 9 ] || fail "which helpers are there? $helpers"
for name in $helpers; do
	link=/usr/bin/$name
	[ -e "$link" ] || link=/usr/libexec/tokend/$name
	[ "$(readlink -f "$link")" = /usr/bin/tokenctl ] || fail "$name does not lead to tokenctl"
done
for command in $(tokenctl --help | sed -n '/^Commands/,/^$/s/^  \([a-z-]*\) .*/\1/p'); do
	case $command in help | completion) continue ;; esac
	[ -s "/usr/share/man/man1/tokenctl-$command.1.gz" ] || fail "tokenctl $command has no man page"
done
bash -ec '. /usr/share/bash-completion/completions/tokenctl && complete -p tokenctl' >/dev/null 2>&1 || fail "no completion for bash"
ok "helpers, man pages and completions are there"

systemctl start tokend.service 2>/dev/null && fail "it starts although nothing is set up"
[ "$(property ExecMainStatus)" = 78 ] || fail "not set up: status $(property ExecMainStatus)"
systemctl stop tokend.socket
[ ! -e /run/tokend/tokend.sock ] || fail "a socket stays that no tokend answers at"
systemctl reset-failed
ok "what is not set up does not start, with status 78"

# The default configuration: the authority is one of the system's.
install -m 0644 /test/issuers/ca.pem /usr/local/share/ca-certificates/test.crt
quietly update-ca-certificates
while [ "$(wc -l </tmp/commands)" -gt 1 ]; do next; done
test -s /etc/tokend/tokend-key.cred || fail "no systemd credential was made"
systemctl is-active -q tokend || fail "not active"
property StatusText | grep -q "keystore sealed: ok" || fail "no status"
ok "set up by root, with a systemd credential; started, and ready when it answers"

next # tokenctl add
tokenctl get clms | grep -q . || fail "root gets no token"
ok "from the package to a token as README.md says"

tokenctl remove clms --yes >/dev/null
tokenctl add clms --provider clms --service-key /test/issuers/key.json --allow-user alice --allow-group data >/dev/null || fail "add"
usermod -aG tokend alice
usermod -aG tokend bob
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
grep -q '"msg":"refuse","do":"get","uid":'"$(id -u eve)" /var/lib/tokend/audit-refused.log || fail "no refusal of eve in the audit log"
grep -q '"msg":"grant","do":"get","uid":'"$(id -u alice)" /var/lib/tokend/audit.log || fail "no grant to alice in the audit log"
grep -qF "$(tokenctl get clms)" /var/lib/tokend/audit.log && fail "a token in the audit log"
ok "others get nothing, cannot tell it from what is not there, and are in the audit log"

callers_go_on
for _ in 1 2 3; do
	systemctl restart tokend
	sleep 0.3
done
no_call_was_lost "tokend was restarted three times"

systemctl reload tokend || fail "reload"
kill -KILL "$(property MainPID)"
soon 30 systemctl is-active -q tokend || fail "not started again after a kill"
runuser -u alice -- tokenctl get clms >/dev/null || fail "no token after a kill"
ok "killed, started again, serving from the cache"

mkdir -p /etc/systemd/system/tokend.service.d
printf '[Service]\nWatchdogSec=2\n' >/etc/systemd/system/tokend.service.d/test.conf
systemctl daemon-reload
systemctl restart tokend
before=$(property NRestarts)
sleep 5
[ "$(property NRestarts)" = "$before" ] || fail "the watchdog takes an idle tokend for a hanging one"
kill -STOP "$(property MainPID)"
more() { [ "$(property NRestarts)" -gt "$before" ] && systemctl is-active -q tokend; }
soon 120 more || fail "the watchdog does not see that tokend hangs"
tokenctl get clms >/dev/null || fail "no token after the watchdog"
ok "an idle tokend is left alone, one that hangs is started again"

pid=$(property MainPID)
for file in environ mem maps; do
	runuser -u tokend -- head -c1 "/proc/$pid/$file" >/dev/null 2>&1 && fail "its own user can read $file of the process"
done
nsenter -t "$pid" -m -- sh -c "touch /etc/tokend/x && rm /etc/tokend/x" || fail "the configuration cannot be written"
nsenter -t "$pid" -m -- touch /usr/x 2>/dev/null && fail "/usr can be written"
nsenter -t "$pid" -m -- ls /home/alice >/dev/null 2>&1 && fail "/home can be read"
tokenctl status --json | grep -q '"sandbox": *"landlock: ok"' || fail "Landlock is not active: $(tokenctl status)"
ok "the sandbox is active"

open=$(find /etc/tokend /var/lib/tokend /run/tokend -perm /o+rwx ! -path /run/tokend)
[ -z "$open" ] || fail "open to others: $open"
[ "$(stat -c '%U:%G %a' /run/tokend /run/tokend/tokend.sock | tr '\n' ' ')" = "root:root 755 root:tokend 660 " ] || fail "the socket: $(stat -c '%U:%G %a' /run/tokend /run/tokend/tokend.sock)"
ok "no file is open to others"

# To another key of root's making, and back.
callers_go_on
quietly tokend new-key --system --credential tokend-key-2
systemctl restart tokend
runuser -u alice -- tokenctl keystore migrate --to sealed --credential tokend-key-2 >/dev/null 2>&1 && fail "alice moves secrets"
quietly tokenctl keystore migrate --to sealed --credential tokend-key-2
systemctl restart tokend
tokenctl keystore | grep -q "systemd credential tokend-key-2" || fail "the new key is not active: $(tokenctl keystore)"
tokenctl get --fresh clms >/dev/null || fail "no token with the new key"
quietly tokenctl keystore migrate --to sealed --credential tokend-key
no_call_was_lost "the secrets moved to another key and back"
rm /etc/tokend/tokend-key-2.cred /etc/systemd/system/tokend.service.d/tokend-key-2.conf
systemctl daemon-reload
systemctl restart tokend
tokenctl get --fresh clms >/dev/null || fail "no token with the old key"
ok "the key of the secrets can be changed"
quietly tokend doctor --system
quietly tokenctl doctor
systemctl stop tokend.socket tokend.service
tokend doctor --system >/tmp/said 2>&1 || true
grep -q '^ok    keystore: ' /tmp/said || fail "the doctor does not see the key: $(cat /tmp/said)"
systemctl start tokend
ok "the doctor finds nothing, and what does not run"

rm -r /etc/systemd/system/tokend.service.d/test.conf
socket=$(stat -c %i /run/tokend/tokend.sock)
pid=$(property MainPID)
callers_go_on
quietly apt-get install /test/tokend_1.0.1_*.deb
no_call_was_lost "the package was upgraded"
[ "$(property MainPID)" != "$pid" ] && tokenctl version | grep -q "^tokend *1.0.1" || fail "the old tokend runs: $(tokenctl version)"
[ "$(stat -c %i /run/tokend/tokend.sock)" = "$socket" ] || fail "the socket is another one"
ok "upgraded with the socket held"

tokenctl get clms >/test/token
