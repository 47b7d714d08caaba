package helper

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"tokend/providers/token"
	"tokend/providers/token/format"
)

// goHurry bounds what is done before go has asked for anything.
const goHurry = 2 * time.Second

// goauth serves go's GOAUTH (go help goauth). At first go calls without a URL,
// and gets the tokens for the hosts that --host names. When a server refuses a
// request, go calls again with the URL and the answer's header.
func goauth(ctx context.Context, c *Call) error {
	switch len(c.Args) {
	case 0:
		ctx, cancel := context.WithTimeout(ctx, goHurry)
		defer cancel()
		for _, host := range c.Hosts {
			if err := goSet(goAsks(ctx, host), c, host); err != nil && !errors.Is(err, errNotMine) {
				c.say("%s", "tokend: "+c.Explain(err)) // go will ask again for the URL itself
			}
		}
		return nil
	case 1:
		return goAgain(ctx, c, c.Args[0])
	}
	return bad("go calls this program with a URL or with nothing")
}

// goAsks says who asks, for a host of --host: a second time only after a refusal.
// go fetches much at once, so that some requests still had the token of before.
func goAsks(ctx context.Context, host string) context.Context {
	process, _ := toolProcess()
	return token.WithAsker(ctx, token.Asker{Key: process + " " + host, Again: -1})
}

// goAgain answers for a URL that go was refused. If go had our token, by
// --host, and it was the token that was refused, there is a new one.
func goAgain(ctx context.Context, c *Call, target string) error {
	status, err := goStatus(c.In)
	if err != nil {
		return err
	}
	if host := token.MatchHost(c.Hosts, target); host != "" && (status == 401 || status == 403) {
		ctx = goAsks(ctx, host)
	}
	return goSet(ctx, c, target)
}

// goStatus reads the status of "HTTP/1.1 401 Unauthorized".
func goStatus(r io.Reader) (status int, err error) {
	var version string
	line, _ := bufio.NewReader(io.LimitReader(r, 1<<10)).ReadString('\n')
	if _, err := fmt.Sscanf(line, "HTTP/%s %d", &version, &status); err != nil {
		return 0, bad("go's request lacks the server's status")
	}
	return status, nil
}

// goSet prints the header for the hosts of the profile that covers target.
func goSet(ctx context.Context, c *Call, target string) error {
	if !strings.HasPrefix(target, "https://") {
		return nil // go authenticates nothing else
	}
	g, err := c.get(ctx, target, keptLife)
	if err != nil {
		return err
	}
	prefix, err := url.Parse(g.Host)
	if err != nil {
		return bad("the host %q is not a URL", g.Host)
	}
	name, value, err := format.Header(g)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Out, "https://%s%s\n\n%s: %s\n\n", prefix.Host, strings.TrimSuffix(prefix.EscapedPath(), "/"), name, value)
	return err
}
