package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tokend/cmd/tokenctl/ui"
)

func TestOtherProcessesSeeNoToken(t *testing.T) {
	asked, done := make(chan struct{}), make(chan struct{})
	s := newAPI(t, false, func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-done })
	_, socket := serveCurl(t, []string{secretToken}, s)
	cmd := startCurlProcess(t, asked, "curl", "--socket", socket, "clms", "-sS", s.URL+"/wait")
	var children []byte
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid))
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, b...)
	}
	pids := slices.Compact(slices.Sorted(slices.Values(strings.Fields(string(children)))))
	if len(pids) != 1 {
		t.Fatalf("children %q", pids)
	}
	for _, pid := range append(pids, strconv.Itoa(cmd.Process.Pid)) {
		for _, file := range []string{"cmdline", "environ"} {
			b, err := os.ReadFile("/proc/" + pid + "/" + file)
			if err != nil || len(b) == 0 || bytes.Contains(b, []byte("CANARY")) {
				t.Errorf("%s of %s: %q, %v", file, pid, b, err)
			}
		}
	}
	close(done)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// On a terminal curl shows an answer as it comes, and no progress meter.
func TestCurlBehavesAsOnATerminal(t *testing.T) {
	seen := make(chan struct{})
	s := newAPI(t, false, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one event")
		w.(http.Flusher).Flush()
		<-seen
	})
	_, socket := serveCurl(t, []string{secretToken}, s)
	p := newPerson(t)
	ended := make(chan int, 1)
	go func() {
		ended <- run([]string{"tokenctl", "curl", "--socket", socket, "clms", s.URL + "/events"}, nil, p.slave, p.slave)
	}()
	p.sees("one event")
	close(seen)
	if status := <-ended; status != ui.ExitOK || strings.Contains(p.seen(), "Total") {
		t.Errorf("status %d; on the screen:\n%s", status, p.seen())
	}
}
