//go:build linux

// Command scale measures tokend with few and with many profiles: how fast it
// starts and answers, what memory and wakes it costs, how it renews very many
// tokens that end at the same time.
//
//	go run -C packaging/bench ./scale
//	go run -C packaging/bench ./scale -storm 10000
//
// The first start with 10,000 profiles obtains their tokens, which takes some
// two minutes.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tokend/packaging/bench"
	"tokend/providers/token"
)

func main() {
	if err := do(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// do does what the command line says: it is also that of the processes that
// this program starts.
func do(args []string) error {
	switch {
	case len(args) > 0 && args[0] == askingProcess:
		return ask(context.Background(), args[1:], os.Stdin, os.Stdout)
	case len(args) > 0 && args[0] == bareProcess:
		return serveBare(args[1:], os.Stdin)
	}
	sizes := flag.String("profiles", "1,100,10000", "how many profiles, one run after the other")
	starts := flag.Int("starts", 7, "how often tokend is started with all tokens cached")
	gets := flag.Int("gets", 2000, "how many tokens are asked for, one after the other")
	idle := flag.Duration("idle", 3*time.Minute, "how long to watch the idle daemon; 0 leaves it out")
	storm := flag.Int("storm", 0, "instead, have so many tokens end at the same time")
	limit := flag.Float64("limit", 100, "storm: how many requests a second the issuer takes")
	life := flag.Duration("life", 5*time.Minute, "storm: how long tokens live")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *storm > 0 {
		return runStorm(ctx, *storm, *life, *limit)
	}
	return run(ctx, *sizes, *starts, *gets, *idle)
}

func run(ctx context.Context, sizes string, starts, gets int, idle time.Duration) error {
	begins := []string{"profiles\tstart: first get ms: min\tmedian\tp99\tCPU ms of that: min\tmedian\tp99"}
	rows := []string{"profiles\tget µs: min\tmedian\tp99\tlist ms\tstatus ms\tstatus KiB\twakes in 10 s"}
	resident := []string{"profiles\tafter\tRSS MiB\tof it in no file\tKiB per profile more"}
	var few *figures
	for size := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(size))
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no number of profiles", size)
		}
		f, err := measure(ctx, n, starts, gets, idle)
		if err != nil {
			return err
		}
		if few == nil {
			few = f
		}
		begins = append(begins, f.start())
		rows = append(rows, f.row())
		resident = append(resident, f.residentRows(few)...)
	}
	bench.Table(os.Stdout, begins...)
	fmt.Println()
	bench.Table(os.Stdout, rows...)
	fmt.Println()
	bench.Table(os.Stdout, resident...)
	return nil
}

// figures are what is measured of one size.
type figures struct {
	profiles int
	// After starts with all tokens cached: when the first get was answered, of a
	// profile in the middle, and what that took of the processors.
	first, processor bench.Times

	get          bench.Times
	list, status bench.Times
	statusSize   int
	wakes        float64 // in 10 s; negative: not measured
	resident     []memory
}

func (f *figures) start() string {
	row := strconv.Itoa(f.profiles)
	for _, t := range []bench.Times{f.first, f.processor} {
		row += "\t" + t.Cells(time.Millisecond)
	}
	return row
}

func (f *figures) row() string {
	wakes := "-"
	if f.wakes >= 0 {
		wakes = fmt.Sprintf("%.1f", f.wakes)
	}
	return fmt.Sprintf("%d\t%s\t%d\t%d\t%d\t%s", f.profiles,
		f.get.Cells(time.Microsecond), f.list.At(0.5).Milliseconds(), f.status.At(0.5).Milliseconds(), f.statusSize/1024, wakes)
}

// residentRows tell of the memory, if there are many profiles beside that of
// few at the same moments.
func (f *figures) residentRows(few *figures) (rows []string) {
	for i, m := range f.resident {
		perProfile := "-"
		if more := f.profiles - few.profiles; more >= 1000 {
			perProfile = fmt.Sprintf("%.1f", float64(m.own-few.resident[i].own)/float64(more))
		}
		rows = append(rows, fmt.Sprintf("%d\t%s\t%.1f\t%.1f\t%s", f.profiles, m.after, float64(m.all)/1024, float64(m.own)/1024, perProfile))
	}
	return rows
}

// memory is what a process has of it at some moment, in KiB: all that is
// resident, and what of it is in no file. The programs and the cache's pages are
// in files; the system takes them back when it needs memory.
type memory struct {
	after    string
	all, own int
}

func memoryOf(pid int, after string) memory {
	status := fmt.Sprintf("/proc/%d/status", pid)
	return memory{after, procField(status, "VmRSS:"), procField(status, "RssAnon:")}
}

func measure(ctx context.Context, n, starts, gets int, idle time.Duration) (f *figures, err error) {
	h, err := bench.NewHome()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.End()) }()
	if err := h.AddMany(ctx, n); err != nil {
		return nil, err
	}
	if _, _, err := h.Start(ctx); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := untilObtained(ctx, h, n); err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "scale: %d tokens obtained and cached after %v\n", n, time.Since(begin).Round(100*time.Millisecond))
	f = &figures{profiles: n, wakes: -1}
	asked := h.Issuers.OAuth2().Requests()
	var pid int
	for range max(1, starts) {
		if err := h.Stop(); err != nil {
			return nil, err
		}
		if pid, err = f.timeStart(ctx, h); err != nil {
			return nil, err
		}
	}
	time.Sleep(time.Second) // it gives back what the start took
	f.resident = append(f.resident, memoryOf(pid, "the start"))
	if f.get, err = timeGets(ctx, h, n, gets); err != nil {
		return nil, err
	}
	f.resident = append(f.resident, memoryOf(pid, "the gets"))
	if err := f.tables(h); err != nil {
		return nil, err
	}
	f.resident = append(f.resident, memoryOf(pid, "list and status"))
	if idle > 0 {
		time.Sleep(5 * time.Second)
		f.wakes = float64(wakes(pid, idle)) / idle.Seconds() * 10
		f.resident = append(f.resident, memoryOf(pid, "a rest"))
	}
	if again := h.Issuers.OAuth2().Requests() - asked; again > 0 {
		return nil, fmt.Errorf("after the later starts %d tokens were obtained again", again)
	}
	return f, nil
}

// timeStart starts tokend and has it asked at once for one token.
func (f *figures) timeStart(ctx context.Context, h *bench.Home) (pid int, err error) {
	pid, first, err := h.StartUntil(func() error {
		_, err := h.Client.Get(ctx, bench.Name(f.profiles/2), token.Query{})
		return err
	})
	if err != nil {
		return 0, err
	}
	f.first, f.processor = append(f.first, first), append(f.processor, processorTime(pid))
	return pid, nil
}

// untilObtained waits until all tokens are there and in the cache.
func untilObtained(ctx context.Context, h *bench.Home, n int) error {
	for ctx.Err() == nil {
		if h.Issuers.OAuth2().Minted() >= n {
			st, err := h.Client.Status(ctx)
			if err != nil {
				return err
			}
			if st.Cache == "ok" {
				return nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return ctx.Err()
}

// timeGets asks for tokens as tokenctl does, over a new connection each.
func timeGets(ctx context.Context, h *bench.Home, n, gets int) (took bench.Times, err error) {
	for range gets {
		if _, err := timedGet(ctx, &h.Client, bench.Name(rand.IntN(n)), &took); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// tables has a person look at all profiles, several times.
func (f *figures) tables(h *bench.Home) error {
	for range 3 {
		if err := errors.Join(f.table(h, "list", &f.list), f.table(h, "status", &f.status)); err != nil {
			return err
		}
	}
	return nil
}

func (f *figures) table(h *bench.Home, command string, took *bench.Times) error {
	cmd := exec.Command(h.Tokenctl, command, "--socket", h.Client.Socket)
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	*took = append(*took, time.Since(begin))
	if err != nil {
		return fmt.Errorf("tokenctl %s: %w: %.300s", command, err, out)
	}
	if lines := bytes.Count(out, []byte("\n")); lines < f.profiles {
		return fmt.Errorf("tokenctl %s: %d lines of %d profiles", command, lines, f.profiles)
	}
	if command == "status" {
		f.statusSize = len(out)
	}
	return nil
}

// wakes counts how often the process has something to do. The runtime goes on
// looking for work for a moment, which counts once.
func wakes(pid int, during time.Duration) (n int) {
	last := switches(pid)
	for end := time.Now().Add(during); time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
		if now := switches(pid); now != last {
			n, last = n+1, now
		}
	}
	return n
}

// switches counts how often threads of the process were put to run.
func switches(pid int) (sum int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, file := range tasks {
		sum += procField(file, "voluntary_ctxt_switches:")
	}
	return sum
}

// processorTime is what the process has used so far.
func processorTime(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // clock ticks, as everywhere on Linux
}

func procField(file, name string) int {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}
