//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"tokend/ipc"
	"tokend/packaging/bench"
	"tokend/providers/token"
)

// Gets are timed in windows, by a process of its own that has nothing else to
// do, so that what else this program does is not measured along.

const (
	windowLength = 3 * time.Second
	// askAgain is the pause between two rounds: a caller without one
	// would take a processor from tokend.
	askAgain = 2 * time.Millisecond
)

// Names of those processes, as first argument.
const (
	askingProcess = "ask"
	bareProcess   = "bare"
)

// A window is what was measured in one: of tokend, and in turn of a server that
// only answers.
type window struct{ Tokend, Bare bench.Times }

// timedGet gets a token as tokenctl does, and adds to took how long that took.
func timedGet(ctx context.Context, server *ipc.Client, name string, took *bench.Times) (token.Grant, error) {
	begin := time.Now()
	got, err := server.Get(ctx, name, token.Query{})
	*took = append(*took, time.Since(begin))
	if err != nil {
		return got, fmt.Errorf("get %s: %w", name, err)
	}
	return got, nil
}

// ask measures a window for each line of in.
func ask(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet(askingProcess, flag.ContinueOnError)
	tokend := flags.String("socket", "", "tokend's")
	bare := flags.String("bare", "", "the other server's socket")
	n := flags.Int("profiles", 0, "how many there are")
	if err := flags.Parse(args); err != nil {
		return err
	}
	lines, windows := bufio.NewScanner(in), json.NewEncoder(out)
	for lines.Scan() {
		w, err := measureWindow(ctx, &ipc.Client{Socket: *tokend}, &ipc.Client{Socket: *bare}, *n)
		if err != nil {
			return err
		}
		if err := windows.Encode(w); err != nil {
			return err
		}
	}
	return lines.Err()
}

func measureWindow(ctx context.Context, tokend, bare *ipc.Client, n int) (w window, err error) {
	for end := time.Now().Add(windowLength); time.Now().Before(end); time.Sleep(askAgain) {
		name := bench.Name(rand.IntN(n))
		got, err := timedGet(ctx, tokend, name, &w.Tokend)
		if err != nil {
			return w, err
		}
		if !got.Expiry.After(time.Now()) {
			return w, fmt.Errorf("get %s: a token that ended at %v", name, got.Expiry)
		}
		if _, err := timedGet(ctx, bare, name, &w.Bare); err != nil {
			return w, err
		}
	}
	return w, nil
}

// An asker is the process that asks.
type asker struct {
	process *exec.Cmd
	ask     io.WriteCloser
	windows *json.Decoder
}

func startAsker(h *bench.Home, bare *bareServer, n int) (*asker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	a := &asker{process: exec.Command(self, askingProcess, "-socket", h.Client.Socket, "-bare", bare.socket, "-profiles", strconv.Itoa(n))}
	a.process.Stderr = os.Stderr
	if a.ask, err = a.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := a.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.windows = json.NewDecoder(out)
	return a, a.process.Start()
}

func (a *asker) end() error { return errors.Join(a.ask.Close(), a.process.Wait()) }

// A bareServer gives one answer to whatever it is asked.
type bareServer struct {
	socket  string
	process *exec.Cmd
}

// startBare starts one that answers as tokend does.
func startBare(ctx context.Context, h *bench.Home) (*bareServer, error) {
	answer, err := rawGet(ctx, h, ipc.TokenPath+bench.Name(0))
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b := &bareServer{filepath.Join(h.Dir, "bare.sock"), nil}
	b.process = exec.Command(self, bareProcess, b.socket)
	b.process.Stdin, b.process.Stderr = bytes.NewReader(answer), os.Stderr
	if err := b.process.Start(); err != nil {
		return nil, err
	}
	client := ipc.Client{Socket: b.socket}
	for {
		_, err := client.Get(ctx, bench.Name(0), token.Query{})
		switch {
		case err == nil:
			return b, nil
		case !errors.Is(err, token.ErrNoDaemon) || ctx.Err() != nil:
			b.end()
			return nil, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (b *bareServer) end() {
	_ = b.process.Process.Kill()
	_ = b.process.Wait()
}

// serveBare reads a request and writes the answer that it got as input, without
// looking at either.
func serveBare(args []string, in io.Reader) error {
	answer, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	l, err := net.Listen("unix", args[0])
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = conn.Close() }()
			request := make([]byte, 4096)
			if _, err := conn.Read(request); err == nil {
				_, _ = conn.Write(answer)
			}
		}()
	}
}

// windows are those of one state of affairs.
type windows struct{ tokend, bare series }

// A series is what was measured of one server.
type series struct{ all, p99s bench.Times } // one p99 of each window

func (s *series) add(took bench.Times) {
	s.all = append(s.all, took...)
	s.p99s = append(s.p99s, took.At(0.99))
}

// measure adds a window.
func (ws *windows) measure(a *asker) error {
	var w window
	if _, err := fmt.Fprintln(a.ask); err != nil {
		return err
	}
	if err := a.windows.Decode(&w); err != nil {
		return err
	}
	ws.tokend.add(w.Tokend)
	ws.bare.add(w.Bare)
	return nil
}

// compare is a table of both servers before and during something.
func compare(before, during *windows) {
	rows := []string{"\tgets\tµs: min\tmedian\tp99\tp99 of one window: min\tmedian\tmax"}
	for _, server := range []struct {
		name           string
		before, during *series
	}{{"tokend", &before.tokend, &during.tokend}, {"a server that only answers", &before.bare, &during.bare}} {
		b, d := server.before, server.during
		rows = append(rows, b.row(server.name+", before"), d.row("during"), fmt.Sprintf("times as long\t\t%s\t%s", ratios(d.all, b.all, 0.99), ratios(d.p99s, b.p99s, 1)))
	}
	bench.Table(os.Stdout, rows...)
}

func (s *series) row(name string) string {
	return fmt.Sprintf("%s\t%d\t%s\t%.2f\t%.2f\t%.2f", name, len(s.all), s.all.Cells(time.Microsecond),
		micros(s.p99s.At(0)), micros(s.p99s.At(0.5)), micros(s.p99s.At(1)))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// ratios say how many times as long a took as b, at three parts of them.
func ratios(a, b bench.Times, last float64) string {
	ratio := func(part float64) float64 { return float64(a.At(part)) / float64(b.At(part)) }
	return fmt.Sprintf("%.2f\t%.2f\t%.2f", ratio(0), ratio(0.5), ratio(last))
}
