package main

// scenes are what documents find when their first command runs, each as the
// commands that bring it about. A reader's home always has a directory work
// with the files from portals (internet.equip).
var scenes = map[string]string{
	// A desktop session with its keyring; newReader starts it.
	"desktop": "",
	// A repository at dev.azure.com.
	"repository": "",
	// A clone of the repository, and what stands there with the service key.
	"clone": `
export GOCACHE=$REAL_GOCACHE GOMODCACHE=$REAL_GOMODCACHE
rm ~/.local/bin/tokend ~/.local/bin/tokenctl
key=$PWD/service-key.json
mkdir ~/clone && (cd "$CLONE" && git ls-files -z -co --exclude-standard | tar -cf - --null -T -) | tar -xf - -C ~/clone
cd ~/clone && cp "$key" .
`,
	// tokend runs, with the keystore that the host has. There is no systemd to
	// restart it.
	"daemon": `
case $DBUS_SESSION_BUS_ADDRESS in
*/nonexistent) tokend setup --keystore sealed --key-file ~/tokend.key ;;
*) tokend setup ;;
esac
start() {
	tokend run 2>> ~/tokend.log &
	tokend=$!
	until tokenctl status > /dev/null 2>&1; do sleep 0.01; done
}
systemctl() {
	[ "$*" = "--user restart tokend" ] || return 1
	kill "$tokend" && wait "$tokend"
	start
	for sink in $(sed -n 's/^path = "\(.*\)"/\1/p' ~/.config/tokend/profiles.d/*.toml); do
		until [ -e "$sink" ]; do sleep 0.01; done # a person is slower
	done
}
start
`,
	// What a user of scripts has: a folder of service keys, and
	// the client of a script in a file of variables.
	"scripts": `
mkdir keys && cp service-key.json keys/alice.json
(umask 077; cat > .env <<.
SHOP_CLIENT_ID=my-app
SHOP_CLIENT_SECRET=$(cat secret.txt)
SHOP_TOKEN_URL=https://id.example.com/token
.
)
`,
	// The scripts of a tutorial, where the reader saved them.
	"land": `cp "$CLONE"/docs/tutorials/clms.{py,R} .`,
	// Profiles.
	"clms": "tokenctl add clms --provider clms --service-key service-key.json",
	"rock": `
tokenctl add rock --provider datarock --email me@example.com
tokenctl public-key rock > rock.pem
`,
	"devops": `
tokenctl add devops --provider azure --tenant contoso.onmicrosoft.com \
  --client-id 4f1f2c3a-9b1e-4c55-8c0d-0d2f8a7c1e52 --client-secret-file secret.txt \
  --scope 499b84ac-1321-427f-aa17-267ca6975798/.default \
  --host https://dev.azure.com/org --present basic:oauth2
`,
	"broken": `
printf wrong > wrong.txt
tokenctl add broken --provider aspose --client-id 3b0f6a7e-1d0c-4a50-9f3b-2f6d0f1c9a10 \
  --client-secret-file wrong.txt --no-check
`,
	"weather": `
tokenctl add weather --provider ioxio --dataspace https://ds.example.com \
  --dsi dpp://group:variant@ds.example.com/Weather/Current_v1.0
`,
	"npm": `
tokenctl add npm --provider oauth2 --token-url https://id.example.com/token \
  --client-id my-app --client-secret-file secret.txt --host https://registry.example/npm
cat > ~/.npmrc <<'.'
registry=https://registry.example/npm/
//registry.example/npm/:_authToken=${NPM_TOKEN}
.
`,
	// curl connects to tokend's socket, and reports errors; there is a
	// second service key.
	"socket": `
curl() { command curl -fsS --unix-socket "$XDG_RUNTIME_DIR/tokend/tokend.sock" "$@"; }
cp service-key.json new-key.json
`,
	// scp is the way to another machine, which has nothing of tokend's yet.
	"machines": `
scp() {
	kill "$tokend" && wait "$tokend"
	mv ~/.config/tokend ~/.config/old
	mv ~/.local/state/tokend ~/.local/state/old
}
`,
	// A project that has a dependency in a registry of its own.
	"crate": `
mkdir -p src .cargo && touch src/lib.rs
printf '[registries.mine]\nindex = "sparse+https://crates.example/index/"\n' > .cargo/config.toml
cat > Cargo.toml <<'.'
[package]
name = "user"
version = "0.1.0"
edition = "2021"
[dependencies]
foob = { version = "1", registry = "mine" }
.
export CARGO_HOME=$HOME/.cargo RUSTUP_HOME=$REAL_RUSTUP_HOME
`,
}
