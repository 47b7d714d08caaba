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

// An execCredential is the answer.
type execCredential struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Status     struct {
		Token      string `json:"token"`
		Expiration string `json:"expirationTimestamp,omitempty"`
	} `json:"status"`
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
	switch request.APIVersion {
	case "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1":
	default:
		return bad("the user's exec section must have apiVersion: client.authentication.k8s.io/v1 (or v1beta1), and has %q", request.APIVersion)
	}
	server := request.Spec.Cluster.Server
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
	answer := execCredential{APIVersion: request.APIVersion, Kind: "ExecCredential"}
	answer.Status.Expiration = expires(g)
	if answer.Status.Token, err = bearer(g); err != nil {
		return err
	}
	return c.writeJSON(answer)
}
