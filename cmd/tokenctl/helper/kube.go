package helper

import (
	"context"
	"time"
)

// kubeInfo is where client-go says what it wants.
const kubeInfo = "KUBERNETES_EXEC_INFO"

// An execCredential is client-go's object of that name, in the versions
// client.authentication.k8s.io/v1 and /v1beta1, which do not differ here.
type execCredential struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       *struct {
		Cluster *struct {
			Server string `json:"server"`
		} `json:"cluster"`
	} `json:"spec,omitempty"`
	Status *execStatus `json:"status,omitempty"`
}

type execStatus struct {
	Token      string `json:"token"`
	Expiration string `json:"expirationTimestamp,omitempty"`
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
	var request execCredential
	if len(info) > maxInput {
		return bad("$%s has more than %d bytes", kubeInfo, maxInput)
	}
	if err := unmarshal([]byte(info), &request, "$"+kubeInfo); err != nil {
		return err
	}
	switch request.APIVersion {
	case "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1":
	default:
		return bad("the user's exec section must have apiVersion: client.authentication.k8s.io/v1 (or v1beta1), and has %q", request.APIVersion)
	}
	server := ""
	if request.Spec != nil && request.Spec.Cluster != nil && c.Profile == "" {
		server = request.Spec.Cluster.Server
	}
	if server == "" && c.Profile == "" {
		return bad("the user's exec section must name the profile (args: [helper, kube, --profile, NAME]) or have provideClusterInfo: true")
	}
	g, err := c.get(ctx, server, minLife)
	if err == nil && isUnmatched(g) {
		err = bad("no profile covers %s; add it to the hosts of one, or name the profile with --profile", server)
	}
	if err != nil {
		return err
	}
	text, err := bearer(g)
	if err != nil {
		return err
	}
	answer := execCredential{APIVersion: request.APIVersion, Kind: "ExecCredential", Status: &execStatus{Token: text}}
	if !g.Expiry.IsZero() {
		answer.Status.Expiration = g.ServeUntil().UTC().Format(time.RFC3339)
	}
	return c.writeJSON(answer)
}
