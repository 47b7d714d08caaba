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
//   - the scheme is https, or http for this machine;
//   - the query is split at each '&'; empty pieces are dropped, and an empty
//     query with its '?'; the pieces are sorted by the bytes of their names as
//     written, which end at the first '='; pieces of one name keep their order;
//   - nothing is encoded or decoded: '+', "%20", "a" and "a=" stay as they are;
//   - characters that RFC 3986 does not allow in their place must be
//     percent-encoded (RFC 3986 §2.1), and so must an apostrophe in the query,
//     which some clients encode on their own (URL Standard, special-query);
//   - "." and ".." as path segments, encoded or not, a path that begins with
//     "//", user names and passwords, and hosts in other than their usual
//     spelling are refused.
//
// The warning says what the service may still read in another way.
func canonicalURL(text string) (canonical, warning string, err error) {
	if len(text) > maxURL {
		return "", "", errors.New("the URL is longer than 16 KiB")
	}
	text, _, _ = strings.Cut(text, "#")
	scheme, rest, ok := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "https" && scheme != "http" {
		return "", "", errors.New("the URL must begin with https://")
	}
	authority, path, query := splitURL(rest)
	host, err := canonicalHost(scheme, authority)
	if err != nil {
		return "", "", err
	}
	if err := checkPath(path); err != nil {
		return "", "", err
	}
	if err := checkSpelling("query", query, queryChars); err != nil {
		return "", "", err
	}
	if path == "" {
		path = "/"
	}
	pieces := sortQuery(query)
	canonical = scheme + "://" + host + path
	if len(pieces) > 0 {
		canonical += "?" + strings.Join(pieces, "&")
	}
	return canonical, ambiguity(path, pieces), nil
}

// splitURL splits what follows "://", without a fragment (RFC 3986 §3).
func splitURL(rest string) (authority, path, query string) {
	rest, query, _ = strings.Cut(rest, "?")
	i := strings.IndexByte(rest, '/')
	if i < 0 {
		return rest, "", query
	}
	return rest[:i], rest[i:], query
}

const (
	unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~" // RFC 3986 §2.3
	pathChars  = unreserved + "!$&'()*+,;=:@/"                                        // RFC 3986 §3.3
	queryChars = unreserved + "!$&()*+,;=:@/?"                                        // RFC 3986 §3.4, but for the apostrophe
)

// checkSpelling refuses characters that must be percent-encoded.
func checkSpelling(where, text, allowed string) error {
	for i, r := range text {
		switch {
		case r == '%' && (len(text) < i+3 || !isHex(text[i+1]) || !isHex(text[i+2])):
			return fmt.Errorf("the URL's %s has a '%%' without two hexadecimal digits after it; write %%25 for a percent sign", where)
		case r != '%' && !strings.ContainsRune(allowed, r):
			return fmt.Errorf("the URL's %s has the character %q, which must be percent-encoded", where, r)
		}
	}
	return nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// checkPath refuses segments that clients resolve before they send a path (RFC
// 3986 §5.2.4), some also if their dots are encoded.
func checkPath(path string) error {
	if err := checkSpelling("path", path, pathChars); err != nil {
		return err
	}
	if strings.HasPrefix(path, "//") { // which some clients take for a host, and others send as "/"
		return errors.New(`the URL's path begins with "//", which clients treat in different ways`)
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case ".", "..":
			return fmt.Errorf("the URL's path has a segment %q, which clients remove", segment)
		}
	}
	return nil
}

// hostName is a name in lower case, without a dot at its end.
var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)

// canonicalHost checks an authority (RFC 3986 §3.2), host and perhaps port.
func canonicalHost(scheme, authority string) (string, error) {
	host, port := strings.ToLower(authority), ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i+1:]
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case strings.Contains(authority, "@"):
		return "", errors.New("the URL contains a user name or password")
	case port != "" && (err != nil || n == 0 || strconv.FormatUint(n, 10) != port):
		return "", fmt.Errorf("the URL has %q for a port", port)
	case host == "":
		return "", errors.New("the URL names no host")
	case !usualHost(host):
		return "", fmt.Errorf("the URL's host %q is not a name or address in its usual spelling (an international name in its xn-- form)", host)
	case scheme == "http" && !token.IsLoopback(host):
		return "", errors.New("the URL must begin with https://")
	case port == "" || port == map[string]string{"http": "80", "https": "443"}[scheme]:
		return host, nil
	}
	return host + ":" + port, nil
}

// usualHost reports whether all clients send a host as it is: an IP address in
// its canonical form (RFC 5952), or a name that nothing takes for an address.
func usualHost(host string) bool {
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		inner, bracketed = strings.CutSuffix(inner, "]")
	}
	if address, err := netip.ParseAddr(inner); err == nil {
		return address.String() == inner && address.Zone() == "" && !address.Is4In6() && address.Is6() == bracketed
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return hostName.MatchString(host) && (last[0] < '0' || '9' < last[0])
}

// sortQuery sorts the pieces of a query by their names.
func sortQuery(query string) []string {
	pieces := slices.DeleteFunc(strings.Split(query, "&"), func(piece string) bool { return piece == "" })
	slices.SortStableFunc(pieces, func(a, b string) int { return cmp.Compare(nameIn(a), nameIn(b)) })
	return pieces
}

// nameIn is the name of a piece of a query.
func nameIn(piece string) string {
	name, _, _ := strings.Cut(piece, "=")
	return name
}

// ambiguity returns a warning about what others may read in another way:
// Datarock does not say how it orders the values of one name, and some clients
// normalize percent-encodings (RFC 3986 §6.2.2).
func ambiguity(path string, pieces []string) string {
	for i := 1; i < len(pieces); i++ {
		if warning := orderOf(nameIn(pieces[i-1]), nameIn(pieces[i])); warning != "" {
			return warning
		}
	}
	text := path + "?" + strings.Join(pieces, "&")
	for i := range len(text) {
		if text[i] != '%' {
			continue
		}
		code, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
		usual := fmt.Sprintf("%%%02X", code)
		switch {
		case err == nil && strings.IndexByte(unreserved, byte(code)) >= 0:
			return fmt.Sprintf("%s needs no percent-encoding; some clients send %q in its place", text[i:i+3], byte(code))
		case usual != text[i:i+3]:
			return fmt.Sprintf("some clients send %s as %s", text[i:i+3], usual)
		}
	}
	return ""
}

// orderOf returns a warning if the order of two names may be another for the
// service, such as if it decodes them first, as many libraries do (URL Standard
// §5.1).
func orderOf(a, b string) string {
	if a == b {
		return fmt.Sprintf("the query has %q more than once; the order of its values was kept, and the service may expect another", a)
	}
	decodedA, _ := url.QueryUnescape(a) // checkSpelling has checked both
	decodedB, _ := url.QueryUnescape(b)
	switch order := cmp.Compare(decodedA, decodedB); {
	case order > 0:
		return fmt.Sprintf("the query's names were ordered as written; decoded, %q comes after %q, and the service may order them so", a, b)
	case order == 0:
		return fmt.Sprintf("the query's names %q and %q are one once decoded; they were ordered as written, and the service may expect another order", a, b)
	}
	return ""
}
