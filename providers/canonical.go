package providers

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tokend/providers/token"
)

// maxURL bounds the URL of a request to sign.
const maxURL = 16 << 10

// canonicalURL returns the form of a URL that tokend signs. What is signed must
// arrive byte for byte, so every client must send it as it is, and what clients
// treat in different ways is refused:
//
//   - scheme and host are lower-cased, a default port is dropped, and so is
//     the fragment, which is never sent; an empty path becomes "/";
//   - the query is split at each '&'; empty pieces are dropped, and an empty
//     query with its '?'; the pieces are sorted by the bytes of their names as
//     written, which end at the first '='; pieces of one name keep their order;
//   - nothing is encoded or decoded: '+', "%20", "a" and "a=" stay as they are;
//   - characters that RFC 3986 does not allow in their place must be
//     percent-encoded (RFC 3986 §2.1), and so must an apostrophe in the query,
//     which some clients encode on their own (URL Standard, special-query);
//   - what token.CheckURL refuses, a path that begins with "//", and hosts in
//     other than their usual spelling are refused.
//
// The warning says which order the service may still see in another way.
func canonicalURL(text string) (canonical, warning string, err error) {
	if len(text) > maxURL {
		return "", "", errors.New("the URL is longer than 16 KiB")
	}
	text, _, _ = strings.Cut(text, "#")
	rest, query, _ := strings.Cut(text, "?")
	_, rest, _ = strings.Cut(rest, "://")
	_, path, _ := strings.Cut(rest, "/")
	path = "/" + path
	if err := cmp.Or(checkSpelling("path", path, pathChars), checkSpelling("query", query, queryChars)); err != nil {
		return "", "", err
	}
	u, err := url.Parse(text)
	if err != nil || token.CheckURL(text) != nil {
		return "", "", errors.New(`the URL must begin with https://, with a host, without a user name, and without "." or ".." in its path`)
	}
	if strings.HasPrefix(path, "//") { // which some clients take for a host, and others send as "/"
		return "", "", errors.New(`the URL's path begins with "//", which clients treat in different ways`)
	}
	host, err := canonicalHost(u)
	if err != nil {
		return "", "", err
	}
	pieces := slices.DeleteFunc(strings.Split(query, "&"), func(piece string) bool { return piece == "" })
	slices.SortStableFunc(pieces, func(a, b string) int { return cmp.Compare(nameIn(a), nameIn(b)) })
	canonical = u.Scheme + "://" + host + path
	if len(pieces) > 0 {
		canonical += "?" + strings.Join(pieces, "&")
	}
	return canonical, ambiguity(pieces), nil
}

const (
	unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~" // RFC 3986 §2.3
	pathChars  = unreserved + "!$&'()*+,;=:@/"                                        // RFC 3986 §3.3
	queryChars = unreserved + "!$&()*+,;=:@/?"                                        // RFC 3986 §3.4, but for the apostrophe
)

// checkSpelling refuses characters that must be percent-encoded.
func checkSpelling(where, text, allowed string) error {
	if _, err := url.PathUnescape(text); err == nil {
		allowed += "%"
	}
	for _, r := range text {
		if !strings.ContainsRune(allowed, r) {
			return fmt.Errorf("the URL's %s has the character %q, which must be percent-encoded", where, r)
		}
	}
	return nil
}

// hostName is a name in lower case, without a dot at its end, that nothing takes
// for an address.
var hostName = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z_]([a-z0-9_-]*[a-z0-9_])?$`)

// canonicalHost returns the host of a URL, with its port if that is not the
// default one. It refuses a host that clients may send in another spelling: other
// than a name or an IP address in its canonical form (RFC 5952).
func canonicalHost(u *url.URL) (string, error) {
	port := u.Port()
	host := strings.TrimSuffix(strings.ToLower(u.Host), ":"+port)
	canonical := hostName.MatchString(host)
	if address, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && address.Zone() == "" && !address.Is4In6() {
		canonical = netip.AddrPortFrom(address, 1).String() == host+":1"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case port != "" && (err != nil || n == 0 || strconv.FormatUint(n, 10) != port):
		return "", fmt.Errorf("the URL has %q for a port", port)
	case !canonical:
		return "", fmt.Errorf("the URL's host %q is not a name or address in its usual spelling (an international name in its xn-- form)", host)
	case port == "" || port == map[string]string{"http": "80", "https": "443"}[u.Scheme]:
		return host, nil
	}
	return host + ":" + port, nil
}

// nameIn is the name of a piece of a query.
func nameIn(piece string) string {
	name, _, _ := strings.Cut(piece, "=")
	return name
}

// ambiguity returns a warning about an order that the service may see in another
// way: it may decode the names before it orders them, as many libraries do (URL
// Standard §5.1), or not distinguish upper and lower case, as the alphabet does.
func ambiguity(pieces []string) string {
	for i := 1; i < len(pieces); i++ {
		a, _ := url.QueryUnescape(nameIn(pieces[i-1])) // checkSpelling has checked both
		b, _ := url.QueryUnescape(nameIn(pieces[i]))
		if a >= b || strings.ToLower(a) >= strings.ToLower(b) {
			return fmt.Sprintf("the query has %q and then %q, and the service may expect another order", a, b)
		}
	}
	return ""
}
