//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"tokend/ipc"
	"tokend/packaging/bench"
	"tokend/providers/providertest"
	"tokend/providers/token"
)

// politeness is the nice value of issuers and others that only play.
const politeness = 10

// A storm is n tokens that end at the same moment, at an issuer that answers in
// 100 ms and takes so many requests a second. Seen are whether they are renewed
// before that, and how long a caller waits meanwhile.
//
// The issuers are in this process, which steps back behind tokend and those who
// ask; these are processes of their own. In turn with tokend they ask a server
// that only answers: what that takes longer during the storm is not tokend's.
type storm struct {
	home  *bench.Home
	n     int
	pid   int       // of tokend
	end   time.Time // of the tokens
	asker *asker
	limit *providertest.Limit

	before, during windows
	took           time.Duration // the renewals together
	used, own      time.Duration // of the processors meanwhile, by tokend and by the issuers
	writes         int           // of the cache
}

func runStorm(ctx context.Context, n int, life time.Duration, limit float64) (err error) {
	h, err := bench.NewHome()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.End()) }()
	s := &storm{home: h, n: n, limit: &providertest.Limit{Thinks: 100 * time.Millisecond, PerSecond: limit, RetryAfter: time.Second}}
	if err := h.AddMany(ctx, n); err != nil {
		return err
	}
	if s.pid, _, err = h.Start(ctx); err != nil {
		return err
	}
	if err := s.obtain(ctx, life); err != nil {
		return err
	}
	bare, err := startBare(ctx, h)
	if err != nil {
		return err
	}
	defer bare.end()
	if s.asker, err = startAsker(h, bare, n); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.asker.end()) }()
	if err := stepBack(); err != nil {
		return err
	}
	if err := s.quiet(life); err != nil {
		return err
	}
	if err := s.rage(ctx); err != nil {
		return err
	}
	return s.tell(ctx)
}

// quiet measures until just before the first renewal is due.
func (s *storm) quiet(life time.Duration) error {
	for due := s.end.Add(-life / 2); time.Until(due) > 2*windowLength; {
		if err := s.before.measure(s.asker); err != nil {
			return err
		}
	}
	if n := s.home.Issuers.OAuth2().Minted(); n > s.n || len(s.before.tokend.all) == 0 {
		return fmt.Errorf("storm: the tokens live too short: %d were renewed before anything was measured", n-s.n)
	}
	return nil
}

// rage measures while the tokens are renewed, or until they end.
func (s *storm) rage(ctx context.Context) error {
	writes, err := s.cacheWrites(ctx)
	if err != nil {
		return err
	}
	issuer := s.home.Issuers.OAuth2()
	issuer.SetLifetime(time.Hour)
	issuer.SetLimit(s.limit)
	for issuer.Minted() == s.n && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Fprintf(os.Stderr, "scale: storm: %d tokens end in %v; the issuer takes %v requests a second\n", s.n, time.Until(s.end).Round(time.Second), s.limit.PerSecond)
	begin, used, own := time.Now(), processorTime(s.pid), processorTime(os.Getpid())
	for issuer.Minted() < 2*s.n && time.Now().Before(s.end) {
		if err := s.during.measure(s.asker); err != nil {
			return err
		}
	}
	s.took, s.used, s.own = time.Since(begin), processorTime(s.pid)-used, processorTime(os.Getpid())-own
	after, err := s.cacheWrites(ctx)
	s.writes = after - writes
	return err
}

// tell tells what came of it; tokens that were not renewed are an error.
func (s *storm) tell(ctx context.Context) error {
	st, err := s.home.Client.Status(ctx)
	if err != nil {
		return err
	}
	renewed := 0
	var last time.Time
	for _, p := range st.Profiles {
		for _, tok := range p.Tokens {
			if tok.Issued.Before(s.end) && tok.Expiry.After(s.end.Add(time.Minute)) {
				renewed++
				last = later(last, tok.Issued)
			}
		}
	}
	compare(&s.before, &s.during)
	fmt.Printf("storm: %d of %d tokens were renewed, the last one %v before their end; %d requests were refused with 429, %d were under way at a time\n",
		renewed, s.n, s.end.Sub(last).Round(time.Second), s.limit.Refused(), s.limit.Together())
	fmt.Printf("storm: the cache was written %d times; of one processor tokend used %.0f %%, the issuer %.0f %%\n",
		s.writes, 100*s.used.Seconds()/s.took.Seconds(), 100*s.own.Seconds()/s.took.Seconds())
	if renewed < s.n {
		return errors.New("storm: not all tokens were renewed in time")
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// obtain has tokend obtain the tokens.
func (s *storm) obtain(ctx context.Context, life time.Duration) error {
	s.end = time.Now().Add(life)
	aging, aged := context.WithCancel(ctx)
	defer aged()
	issuer := s.home.Issuers.OAuth2()
	issuer.SetLifetime(life)
	go func() {
		for aging.Err() == nil {
			issuer.SetLifetime(time.Until(s.end).Truncate(time.Second))
			time.Sleep(50 * time.Millisecond)
		}
	}()
	const callers = 32
	errs := make([]error, callers)
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			for i := c; i < s.n && errs[c] == nil; i += callers {
				_, errs[c] = s.home.Client.Get(ctx, bench.Name(i), token.Query{})
			}
		})
	}
	group.Wait()
	fmt.Fprintf(os.Stderr, "scale: storm: %d tokens obtained after %v\n", s.n, (life - time.Until(s.end)).Round(time.Second))
	return errors.Join(errs...)
}

// stepBack leaves the processors to tokend and to whatever else this process has
// started so far.
func stepBack() error {
	threads, err := filepath.Glob("/proc/self/task/*")
	for _, thread := range threads {
		id, _ := strconv.Atoi(filepath.Base(thread))
		if set := syscall.Setpriority(syscall.PRIO_PROCESS, id, politeness); set != nil && !errors.Is(set, syscall.ESRCH) {
			err = errors.Join(err, set)
		}
	}
	return err
}

// cacheWrites is how often tokend has written its cache.
func (s *storm) cacheWrites(ctx context.Context) (int, error) {
	text, err := rawGet(ctx, s.home, ipc.MetricsPath)
	if err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), nil)
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "tokend_cache_writes_total "); ok {
			return strconv.Atoi(value)
		}
	}
	return 0, fmt.Errorf("no count of cache writes in %.300s", text)
}

// rawGet is tokend's answer, head and body.
func rawGet(ctx context.Context, h *bench.Home, path string) ([]byte, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", h.Client.Socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: tokend\r\nConnection: close\r\n\r\n", path); err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		err = fmt.Errorf("%s: %.300s", path, answer)
	}
	return answer, err
}
