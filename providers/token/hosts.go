package token

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Covers reports whether a request for target may carry the credentials of a
// profile with these hosts.
func Covers(hosts []string, target string) bool {
	return MatchHost(hosts, target) != ""
}

// MatchHost returns the one of hosts that target is under, the one with the
// longest path if there are several, and "" if there is none: scheme, host and
// port are the same, and the path begins with the host's path, segment by
// segment. Names are compared as they are: no suffix, no wildcard, no trailing
// dot.
func MatchHost(hosts []string, target string) (host string) {
	u, err := ParseURL(target)
	if err != nil {
		return ""
	}
	for _, text := range hosts {
		h, err := ParseHost(text)
		if err == nil && len(text) > len(host) && origin(h) == origin(u) && pathWithin(pathOf(h), pathOf(u)) {
			host = text
		}
	}
	return host
}

// ParseHost parses one of a profile's hosts: an https URL (http for loopback) of
// host, port and path prefix alone.
func ParseHost(text string) (*url.URL, error) {
	u, err := ParseURL(text)
	if err == nil && (u.RawQuery != "" || u.ForceQuery || u.Fragment != "") {
		err = fmt.Errorf("%q has a query or fragment", text)
	}
	return u, err
}

// ParseURL parses an https URL (http for loopback) that all clients read in the
// same way.
func ParseURL(text string) (*url.URL, error) {
	if i := strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }); i >= 0 {
		return nil, fmt.Errorf("%q has a character that does not belong in a URL", text)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is not a URL", text)
	case !strings.Contains(text, "://"):
		return nil, fmt.Errorf("%q is not a URL such as https://api.example.com", text)
	case u.User != nil:
		return nil, fmt.Errorf("%q names a user", u.Redacted())
	case u.Hostname() == "" || u.Opaque != "":
		return nil, fmt.Errorf("%q names no host", text)
	case u.Scheme != "https" && (u.Scheme != "http" || !IsLoopback(u.Hostname())):
		return nil, fmt.Errorf("%q is not an https URL", text)
	}
	if dots := dotSegment(pathOf(u)); dots != "" {
		return nil, fmt.Errorf("%q has a %q in its path, or what a server may read as one", text, dots)
	}
	return u, nil
}

// dotSegment returns the first segment of path that a server may take for "." or
// "..", "" if there is none: servers decode a path once or twice, some also
// overlong and full-width spellings, and cut parameters and spaces off.
func dotSegment(path string) string {
	if !strings.ContainsFunc(path, func(r rune) bool { return r == '.' || r == '%' || r > unicode.MaxASCII }) {
		return ""
	}
	for before := ""; before != path; path = spellings.Replace(path) {
		before, path = path, strings.ToLower(path)
		for i := 0; i+2 < len(path); i++ {
			if b, err := hex.DecodeString(path[i+1 : i+3]); path[i] == '%' && err == nil {
				path, i = path[:i]+string(b)+path[i+3:], max(i-3, -1) // what it completes may be an escape
			}
		}
	}
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		segment = segment[:strings.IndexAny(segment+";", ";?#")]
		if segment = strings.TrimFunc(segment, func(r rune) bool { return r <= ' ' }); segment == "." || segment == ".." {
			return segment
		}
	}
	return ""
}

var spellings = strings.NewReplacer("\xc0\xae", ".", "\xc0\xaf", "/", "\xc1\x9c", `\`, "\xe0\x80\xae", ".", "\xe0\x80\xaf", "/", "\xe0\x81\x9c", `\`,
	"．", ".", "／", "/", "＼", `\`, "%u002e", ".", "%u002f", "/", "%u005c", `\`, "%uff0e", ".", "%uff0f", "/", "%uff3c", `\`)

// WithoutUser returns a URL as people copy it without the user (and password) that
// it may name before its host. A text that could be read in two ways stays as it is.
func WithoutUser(text string) string {
	scheme, rest, _ := strings.Cut(text, "://")
	end := strings.IndexAny(rest+"/", `/?#\`)
	if strings.Count(rest[:end], "@") != 1 {
		return text
	}
	return scheme + "://" + rest[strings.Index(rest, "@")+1:]
}

// IsLoopback reports whether a URL's host is written as this machine: localhost
// or a loopback address, an IPv6 one in brackets or not. It resolves no names.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// Origin returns scheme, host and port of a URL in one spelling, "" if ParseURL
// refuses it.
func Origin(text string) string {
	if text == "" { // as in most gets: an error would cost more than the rest of one
		return ""
	}
	u, err := ParseURL(text)
	if err != nil {
		return ""
	}
	return origin(u)
}

func origin(u *url.URL) string {
	port := cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return u.Scheme + "://" + host + ":" + port
}

// pathOf returns the path as it was written. EscapedPath would turn "%2f" into
// "/" if another character of the path lacks its escape.
func pathOf(u *url.URL) string {
	if u.RawPath != "" {
		return u.RawPath
	}
	return u.EscapedPath() // as it was written, since it needs no RawPath
}

// pathWithin reports whether a path begins with the segments of prefix. How each
// is escaped makes no difference: git says a path unescaped, and "%c3%bc" is
// "%C3%BC".
func pathWithin(prefix, path string) bool {
	want, have := segments(strings.TrimSuffix(prefix, "/")), segments(path)
	return len(have) >= len(want) && slices.Equal(have[:len(want)], want)
}

func segments(path string) []string {
	list := strings.Split(path, "/")
	for i, s := range list {
		if plain, err := url.PathUnescape(s); err == nil {
			list[i] = plain
		}
	}
	return list
}

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
