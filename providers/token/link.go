package token

import (
	"net/url"
	"slices"
	"strings"
)

// OwnPermission is the Detail of an ErrNotFound for a URL that no profile covers
// and that needs no token (HasOwnPermission).
const OwnPermission = "own_permission"

// HasOwnPermission reports whether a URL is a link that an API hands out for a
// download and that takes no token: a DownloadURL of CLMS, or one that is signed
// for the storage of Amazon, CloudFront, Google or Azure, which refuse a token
// beside the signature.
func HasOwnPermission(target string) bool {
	u, err := url.Parse(target)
	if err != nil {
		return false
	}
	for name := range u.Query() {
		if slices.Contains([]string{"x-amz-signature", "awsaccesskeyid", "key-pair-id", "x-goog-signature", "googleaccessid", "sig"}, strings.ToLower(name)) {
			return true
		}
	}
	return strings.EqualFold(u.Hostname(), "copernicus-fme.eea.europa.eu")
}
