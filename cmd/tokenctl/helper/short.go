package helper

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"

	"tokend/cmd/tokenctl/cli"
	"tokend/providers/token"
	"tokend/providers/token/format"
)

// Protocols of one question and one answer.

// bazel serves Bazel's credential helper protocol, which others speak too
// (EngFlow's credential helper specification).
func bazel(ctx context.Context, c *Call) (any, error) {
	text, err := c.input()
	if err != nil {
		return nil, err
	}
	var request struct{ URI string }
	if json.Unmarshal(text, &request) != nil {
		return nil, bad("bazel's request is not valid JSON of the expected kind")
	}
	target, isGRPC := strings.CutPrefix(request.URI, "grpcs://")
	if isGRPC {
		target = "https://" + target
	}
	g, err := c.get(ctx, target, minLife)
	if err != nil {
		return nil, err
	}
	name, value, err := format.Header(g)
	return struct {
		Expires string              `json:"expires,omitempty"`
		Headers map[string][]string `json:"headers"`
	}{expires(g), map[string][]string{name: {value}}}, err
}

// terraform serves the credentials helpers of Terraform and OpenTofu.
func terraform(ctx context.Context, c *Call) (any, error) {
	words := append(c.Args, "", "")
	switch command, host := words[0], words[1]; {
	case command == "store" || command == "forget":
		return nil, bad("tokend keeps the credentials of its profiles only; terraform login and logout cannot change them")
	case command != "get" || len(c.Args) != 2:
		return nil, bad("terraform calls this program with get, store or forget, and a host")
	case host == "" || strings.ContainsAny(host, "/@?# \\"):
		return nil, bad("%q is not a host", host)
	}
	_, text, err := c.getAs(ctx, bearer, words[1], keptLife)
	return map[string]string{"token": text}, err
}

// pnpm serves pnpm's tokenHelper, which passes no arguments and takes the
// value of an Authorization header.
func pnpm(ctx context.Context, c *Call) (any, error) {
	if c.Profile == "" {
		return nil, bad("the program's name must end in the profile's: pnpm-credential-tokend-NAME (tokenctl setup pnpm makes it)")
	}
	_, value, err := c.getAs(ctx, authorization, "", keptLife)
	return value + "\n", err
}

// rclone serves rclone's bearer_token_command, which takes the token alone and is
// run again after a 401.
func rclone(ctx context.Context, c *Call) (any, error) {
	if len(c.Hosts) > 1 {
		return nil, bad("this helper takes one --host URL")
	}
	_, text, err := c.getAs(ctx, bearer, strings.Join(c.Hosts, ""), keptLife)
	if errors.Is(err, errNotMine) {
		err = bad("no profile covers %s", c.Hosts[0])
	}
	return text + "\n", err
}

// docker serves docker-credential-tokend get|store|erase|list|version. Errors
// go to stdout, where the clients look for some in docker-credential-helpers' words.
func docker(ctx context.Context, c *Call) (answer any, err error) {
	switch command := strings.Join(c.Args, " "); command {
	case "get":
		answer, err = dockerGet(ctx, c)
	case "store":
		err = bad("tokend keeps the credentials of its profiles only; there is no need to log in, and docker login cannot change them")
	case "erase":
	case "list":
		answer = struct{}{}
	case "version":
		answer = "docker-credential-tokend\n"
	default:
		err = bad("docker calls this program with get, store, erase, list or version, not with %q", command)
	}
	switch {
	case err == nil:
		return answer, nil
	case errors.Is(err, errNotMine):
		return "credentials not found in native keychain\n", ErrReported
	}
	return strings.TrimSpace(c.Explain(err)) + "\n", ErrReported
}

func dockerGet(ctx context.Context, c *Call) (any, error) {
	text, err := c.input()
	if err != nil {
		return nil, err
	}
	server := strings.TrimSpace(string(text))
	if server == "" {
		return nil, bad("no credentials server URL")
	}
	g, err := c.get(ctx, server, minLife)
	if err != nil {
		return nil, err
	}
	user, secret := "<token>", ""
	if g.Present == token.ACR {
		refresh, failed := c.Daemon.Exchange(ctx, g.Profile, g.Host)
		secret, err = refresh.Reveal(), failed
	} else {
		user, secret, err = userPassword(g)
	}
	// A map, since to study a struct by reflection costs a program that has just started 0.1 ms.
	return map[string]string{"ServerURL": server, "Username": user, "Secret": secret}, err
}

// keyring answers as the program of that name does (PyPI's keyring), which pip
// and uv call with --keyring-provider subprocess:
//
//	keyring get SERVICE USER                                      pip before 26.2, uv
//	keyring get SERVICE --mode creds                              uv without a user
//	keyring --mode=creds --output=json get SERVICE [USER]         pip
//
// SERVICE is a URL or a host. Options may stand anywhere, as in keyring itself.
// For a service that no profile covers it prints nothing and exits with status 1;
// pip and uv then ask for the host alone, or go on without.
func keyring(ctx context.Context, c *Call) (any, error) {
	mode, output := "password", "plain"
	args, err := cli.Parse("keyring", c.Args, func(f *cli.Flags) {
		f.StringVar(&mode, "mode", mode, "")
		f.StringVar(&output, "output", output, "")
	})
	if err != nil {
		return nil, bad("%v", err)
	}
	words := append(args, "", "", "")
	command, service, user := words[0], words[1], words[2]
	switch {
	case command != "get":
		return nil, bad("this keyring serves the hosts of tokend's profiles, and has the command get only; another program called keyring comes later in $PATH, if there is one")
	case service == "" || len(args) > 3:
		return nil, bad("keyring get takes a service and a user")
	case mode != "password" && mode != "creds", output != "plain" && output != "json":
		return nil, bad("keyring has --mode password or creds, and --output plain or json")
	}
	g, err := c.get(ctx, service, keptLife)
	if only := userOf(g); errors.Is(err, errNotMine) || user != "" && only != "" && user != only {
		return nil, ErrReported
	}
	if err != nil {
		return nil, err
	}
	own, password, err := userPassword(g)
	own = cmp.Or(user, own)
	if mode == "password" {
		own = ""
	}
	if output == "json" {
		return struct {
			Username string `json:"username,omitempty"`
			Password string `json:"password"`
		}{own, password}, err
	}
	return strings.TrimPrefix(own+"\n"+password+"\n", "\n"), err
}

// kubeInfo is where client-go says what it wants.
const kubeInfo = "KUBERNETES_EXEC_INFO"

// kube serves client-go's exec credential plugins, and so kubectl. Its requests are
// an ExecCredential of the versions client.authentication.k8s.io/v1 and /v1beta1,
// which do not differ here.
func kube(ctx context.Context, c *Call) (any, error) {
	var request struct {
		APIVersion string
		Spec       struct{ Cluster struct{ Server string } }
	}
	if json.Unmarshal([]byte(os.Getenv(kubeInfo)), &request) != nil {
		return nil, bad("$%s is not as kubectl sets it where this is the command of a user's exec section (docs/helpers/kubectl.md)", kubeInfo)
	}
	if v := request.APIVersion; v != "client.authentication.k8s.io/v1" && v != "client.authentication.k8s.io/v1beta1" {
		return nil, bad("the user's exec section must have apiVersion: client.authentication.k8s.io/v1 (or v1beta1), and has %q", v)
	}
	server := request.Spec.Cluster.Server
	c.about = server
	switch {
	case c.Profile != "":
		server = ""
	case server == "":
		return nil, bad("the user's exec section must name the profile (args: [helper, kube, --profile, NAME]) or have provideClusterInfo: true")
	}
	g, text, err := c.getAs(ctx, bearer, server, minLife)
	if errors.Is(err, errNotMine) {
		err = bad("no profile covers %s; add it to the hosts of one, or name the profile with --profile", server)
	}
	status := map[string]string{"token": text}
	if ends := expires(g); ends != "" {
		status["expirationTimestamp"] = ends
	}
	return map[string]any{"apiVersion": request.APIVersion, "kind": "ExecCredential", "status": status}, err
}
