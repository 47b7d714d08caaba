package helper

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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
func goauth(ctx context.Context, c *Call) (any, error) {
	if len(c.Args) > 0 {
		return goAgain(ctx, c, c.Args[0])
	}
	ctx, cancel := context.WithTimeout(ctx, goHurry)
	defer cancel()
	c.refusals = goRefusals
	answer := ""
	for _, host := range c.Hosts {
		header, err := goHeader(ctx, c, host)
		if err != nil && !errors.Is(err, errNotMine) {
			c.complain(err) // go will ask again for the URL itself
		}
		answer += header
	}
	return answer, nil
}

// goRefusals is for a host of --host: go asks about it a second time only after a
// refusal. go fetches much at once, so that some requests still had the token of before.
var goRefusals = refusals{1, true}

// goAgain answers for a URL that go was refused. If go had our token, by
// --host, and it was the token that was refused, there is a new one.
func goAgain(ctx context.Context, c *Call, target string) (any, error) {
	var version string
	var status int
	line, _ := bufio.NewReader(io.LimitReader(c.In, 1<<10)).ReadString('\n')
	if _, err := fmt.Sscanf(line, "HTTP/%s %d", &version, &status); err != nil {
		return nil, bad("go's request lacks the server's status")
	}
	if host := token.MatchHost(c.Hosts, target); host != "" && (status == 401 || status == 403) {
		c.refusals, c.about = goRefusals, host
	}
	return goHeader(ctx, c, target)
}

// goHeader is the header for the hosts of the profile that covers target.
func goHeader(ctx context.Context, c *Call, target string) (string, error) {
	if !strings.HasPrefix(target, "https://") {
		return "", nil // go authenticates nothing else
	}
	g, err := c.get(ctx, target, keptLife)
	if err != nil {
		return "", err
	}
	name, value, err := format.Header(g)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s\n\n%s: %s\n\n", strings.TrimSuffix(g.Host, "/"), name, value), nil
}
