package helper

import (
	"context"
	"errors"
)

// kubeInfo is where client-go says what it wants.
const kubeInfo = "KUBERNETES_EXEC_INFO"

// An execRequest is what client-go asks: an ExecCredential of the versions
// client.authentication.k8s.io/v1 and /v1beta1, which do not differ here.
type execRequest struct {
	APIVersion string
	Spec       struct{ Cluster struct{ Server string } }
}

// kube serves client-go's exec credential plugins, and so kubectl.
func kube(ctx context.Context, c *Call) error {
	if len(c.Args) > 0 {
		return bad("this helper takes --profile NAME and no other argument")
	}
	info := c.Env(kubeInfo)
	if info == "" {
		return bad("$%s is not set: kubectl sets it where this is the command of a user's exec section (docs/helpers/kubectl.md)", kubeInfo)
	}
	var request execRequest
	if err := unmarshal([]byte(info), &request, "$"+kubeInfo); err != nil {
		return err
	}
	if v := request.APIVersion; v != "client.authentication.k8s.io/v1" && v != "client.authentication.k8s.io/v1beta1" {
		return bad("the user's exec section must have apiVersion: client.authentication.k8s.io/v1 (or v1beta1), and has %q", v)
	}
	server := request.Spec.Cluster.Server
	ctx = c.asks(ctx, server)
	switch {
	case c.Profile != "":
		server = ""
	case server == "":
		return bad("the user's exec section must name the profile (args: [helper, kube, --profile, NAME]) or have provideClusterInfo: true")
	}
	g, err := c.get(ctx, server, minLife)
	if errors.Is(err, errNotMine) {
		err = bad("no profile covers %s; add it to the hosts of one, or name the profile with --profile", server)
	}
	if err != nil {
		return err
	}
	status := map[string]string{}
	if status["token"], err = bearer(g); err != nil {
		return err
	}
	if ends := expires(g); ends != "" {
		status["expirationTimestamp"] = ends
	}
	return c.writeJSON(map[string]any{"apiVersion": request.APIVersion, "kind": "ExecCredential", "status": status})
}
