package helper

import (
	"context"
	"errors"
	"os"
)

// kubeInfo is where client-go says what it wants.
const kubeInfo = "KUBERNETES_EXEC_INFO"

// kube serves client-go's exec credential plugins, and so kubectl. Its requests are
// an ExecCredential of the versions client.authentication.k8s.io/v1 and /v1beta1,
// which do not differ here.
func kube(ctx context.Context, c *Call) (any, error) {
	if len(c.Args) > 0 {
		return nil, bad("this helper takes --profile NAME and no other argument")
	}
	info := os.Getenv(kubeInfo)
	if info == "" {
		return nil, bad("$%s is not set: kubectl sets it where this is the command of a user's exec section (docs/helpers/kubectl.md)", kubeInfo)
	}
	var request struct {
		APIVersion string
		Spec       struct{ Cluster struct{ Server string } }
	}
	if err := unmarshal([]byte(info), &request, "$"+kubeInfo); err != nil {
		return nil, err
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
