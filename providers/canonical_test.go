package providers

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestCanonicalURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://mine.datarock.com.au/some-api?projectUuid=0ccf3042":   "https://mine.datarock.com.au/some-api?projectUuid=0ccf3042",
		"HTTPS://Mine.Datarock.COM.au":                                 "https://mine.datarock.com.au/",
		"https://h.example:443/a":                                      "https://h.example/a",
		"https://h.example:/a":                                         "https://h.example/a",
		"https://h.example:8443":                                       "https://h.example:8443/",
		"http://127.0.0.1:80/":                                         "http://127.0.0.1/",
		"http://localhost:8080":                                        "http://localhost:8080/",
		"http://[::1]:8080/":                                           "http://[::1]:8080/",
		"https://h.example?b=1&a=2":                                    "https://h.example/?a=2&b=1",
		"https://h.example/?":                                          "https://h.example/",
		"https://h.example/?&&":                                        "https://h.example/",
		"https://h.example/?b&&a=&":                                    "https://h.example/?a=&b",
		"https://h.example/?a=2&b=0&a=1":                               "https://h.example/?a=2&a=1&b=0",
		"https://h.example/?" + strings.Repeat("a=2&b=9&a=1&b=8&", 25): "https://h.example/?" + strings.Repeat("a=2&a=1&", 25) + strings.TrimSuffix(strings.Repeat("b=9&b=8&", 25), "&"),
		"https://h.example/?a=&a":                                      "https://h.example/?a=&a",
		"https://h.example/?ab=1&a=2":                                  "https://h.example/?a=2&ab=1",
		"https://h.example/?a-b=1&a=2":                                 "https://h.example/?a=2&a-b=1",
		"https://h.example/?b=1&B=2&%41=3":                             "https://h.example/?%41=3&B=2&b=1",
		"https://h.example/?q=a+b%20c%2B&a=x=y":                        "https://h.example/?a=x=y&q=a+b%20c%2B",
		"https://h.example/?a=1;b=2":                                   "https://h.example/?a=1;b=2",
		"https://h.example/?x=a/b?c":                                   "https://h.example/?x=a/b?c",
		"https://h.example/A%2fb;v=1/?#f":                              "https://h.example/A%2fb;v=1/",
		"https://h.example#ä ?x":                                       "https://h.example/",
		"https://h.example/it's/..a/.b/...":                            "https://h.example/it's/..a/.b/...",
		"https://xn--bcher-kva.example/b%C3%BCcher":                    "https://xn--bcher-kva.example/b%C3%BCcher",
	} {
		got, _, err := canonicalURL(in)
		if got != want || err != nil {
			t.Errorf("%s\nis %q, %v\nwant %q", in, got, err, want)
		}
	}
}

func TestURLsThatClientsSeeDifferentlyAreRefused(t *testing.T) {
	const encode = ", which must be percent-encoded"
	for want, all := range map[string][]string{
		`the URL must begin with https://, with a host, without a user name, and without "." or ".." in its path`: {
			"", "h.example/a", "ftp://h.example/", "http://h.example/", " https://h.example/", "https:///a", "https://:443/", "https://u@h.example/",
			"https://u:p@h.example/", "https://h.example:443@evil/", "https://h.example/a/../b", "https://h.example/a/.", "https://h.example/%2E%2e/b",
			"https://h.example/a/.%2e?x=/..",
		},
		`the URL has "0443" for a port`:                                          {"https://h.example:0443/"},
		`the URL has "0" for a port`:                                             {"https://h.example:0/"},
		`the URL has "65536" for a port`:                                         {"https://h.example:65536/"},
		"the URL's path has the character ' '" + encode:                          {"https://h.example/a b"},
		"the URL's path has the character 'ä'" + encode:                          {"https://h.example/ä"},
		`the URL's path has the character '\n'` + encode:                         {"https://h.example/a\nb"},
		`the URL's path has the character '\\'` + encode:                         {"https://h.example/a\\b"},
		"the URL's path has the character '<'" + encode:                          {"https://h.example/<a>"},
		"the URL's query has the character '['" + encode:                         {"https://h.example/?a[]=1"},
		`the URL's query has the character '"'` + encode:                         {"https://h.example/?a=\"1\""},
		`the URL's query has the character '\''` + encode:                        {"https://h.example/?a='1'"},
		`the URL's query has the character '\x00'` + encode:                      {"https://h.example/?a=\x00"},
		"the URL's query has the character '\ufffd'" + encode:                    {"https://h.example/?a=\xff"},
		`the URL's query has the character '%'` + encode:                         {"https://h.example/?a=100%"},
		`the URL's path has the character '%'` + encode:                          {"https://h.example/%zz"},
		`the URL's path begins with "//", which clients treat in different ways`: {"https://h.example//a", "https://h.example//"},
		"the URL is longer than 16 KiB":                                          {"https://h.example/" + strings.Repeat("a", maxURL)},
	} {
		for _, in := range all {
			if got, _, err := canonicalURL(in); err == nil || err.Error() != want {
				t.Errorf("%q is %q, %v\nwant %q", in, got, err, want)
			}
		}
	}
	for _, host := range []string{"bücher.example", "h.example.", ".h.example", "h..example", "h%2eexample", "-h.example", "127.1", "0x7f.0.0.1", "1.2.3.04", "256.1.1.1",
		"[0:0:0:0:0:0:0:1]", "[::1%25eth0]", "[::ffff:1.2.3.4]", "::1", "[::1", "[1.2.3.4]", "h example", "h\texample", "h\\.example"} {
		if got, _, err := canonicalURL("https://" + host + "/"); err == nil {
			t.Errorf("host %q is %q", host, got)
		}
	}
}

func TestWarningsAboutWhatAServiceMayReadDifferently(t *testing.T) {
	for in, want := range map[string]string{
		"https://h.example/?a=1&b=2&a=3":                   `the query has "a" and then "a", and the service may expect another order`,
		"https://h.example/?a=1&%7A=2":                     `the query has "z" and then "a", and the service may expect another order`,
		"https://h.example/?a=1&%61=2":                     `the query has "a" and then "a", and the service may expect another order`,
		"https://h.example/?a%20b&a+b":                     `the query has "a b" and then "a b", and the service may expect another order`,
		"https://h.example/?a=1&B=2":                       `the query has "B" and then "a", and the service may expect another order`,
		"https://h.example/?id=1&ID=2":                     `the query has "ID" and then "id", and the service may expect another order`,
		"https://h.example/?a=1&%42=2&c":                   `the query has "B" and then "a", and the service may expect another order`,
		"https://h.example/?projectId=1&projectUuid=2&A&b": "",
		"https://h.example/?q=%2f&%20=+":                   "",
		"https://h.example/a//b?c=1&d=2":                   "",
	} {
		if _, got, err := canonicalURL(in); got != want || err != nil {
			t.Errorf("%s: %q, %v\nwant %q", in, got, err, want)
		}
	}
}

// What is signed goes over the wire as it is, and is its own canonical form.
func FuzzCanonicalURL(f *testing.F) {
	for _, seed := range []string{"https://h.example/a?b=1&a=2#f", "https://[::1]:8443?x&x=", "http://127.0.0.1/%2e%2e", "https://h.example:443/a;b?c='", "HTTPS://A.B//?&=&a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, _, err := canonicalURL(text)
		if err != nil {
			return
		}
		if again, _, err := canonicalURL(got); again != got || err != nil {
			t.Fatalf("%q becomes %q, and that %q, %v", text, got, again, err)
		}
		req, err := http.NewRequest(http.MethodGet, got, nil)
		if err != nil {
			t.Fatalf("%q cannot be requested: %v", got, err)
		}
		if sent := req.URL.Scheme + "://" + req.URL.Host + req.URL.RequestURI(); sent != got {
			t.Fatalf("%q is sent as %q", got, sent)
		}
		_, query, _ := strings.Cut(got, "?")
		names := []string{}
		for piece := range strings.SplitSeq(query, "&") {
			names = append(names, nameIn(piece))
		}
		if !slices.IsSorted(names) {
			t.Fatalf("%q is not in order", got)
		}
	})
}
