package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tokend/packaging/checktest"
	"tokend/providers/clmstest"
)

// The scripts beside docs/tutorials/clms.md are run against the strict portal.
// It moves its clock on by itself, so a day of waiting takes no time. tokenctl
// is played by a program that brings a token of the portal's time.

// landTokens issues tokens that live an hour by the portal's clock.
type landTokens struct {
	mu     sync.Mutex
	now    func() time.Time
	issued int
	expiry time.Time
}

func (l *landTokens) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); l.expiry.Sub(now) < 5*time.Minute {
		l.issued++
		l.expiry = now.Add(time.Hour)
	}
	_, _ = fmt.Fprintln(w, l.current())
}

func (l *landTokens) current() string { return fmt.Sprintf("token-%d", l.issued) }

func (l *landTokens) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		good := r.Header.Get("Authorization") == "Bearer "+l.current() && l.now().Before(l.expiry)
		l.mu.Unlock()
		if !good {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, `{"error":"invalid_token","error_description":"Access token expired"}`)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// What the scripts ask for.
const (
	landRaster = `{"Datasets":[{"DatasetID":"0407d497d3c44bcd93ce8fd5bf78596a",` +
		`"DatasetDownloadInformationID":"7bcdf9d1-6ba0-4d4e-afa8-01451c7316cb",` +
		`"OutputFormat":"Geotiff","OutputGCS":"EPSG:4326","NUTS":"ITC11"}]}`
	landBox = `{"Datasets":[{"DatasetID":"0407d497d3c44bcd93ce8fd5bf78596a",` +
		`"DatasetDownloadInformationID":"7bcdf9d1-6ba0-4d4e-afa8-01451c7316cb",` +
		`"OutputFormat":"Geotiff","OutputGCS":"EPSG:3035","BoundingBox":[7.5,45.2,7.9,44.9]}]}`
	landWhole  = `{"Datasets":[{"DatasetID":"0407d497d3c44bcd93ce8fd5bf78596a","FileID":"3d9e2413-46ca-4f6e-abf8-b6eb429a4e48"}]}`
	landVector = `{"Datasets":[{"DatasetID":"0407d497d3c44bcd93ce8fd5bf78596a",` +
		`"DatasetDownloadInformationID":"1bda2fbd-3230-42ba-98cf-69c96ac063bc",` +
		`"OutputFormat":"Geotiff","OutputGCS":"EPSG:4326","NUTS":"ITC11"}]}`
	landSeries = `{"Datasets":[{"DatasetID":"5f3ce3c3cd4e4b2f9f4d0e7d2f8f4a11",` +
		`"DatasetDownloadInformationID":"2f0d1c52-9a0f-4d59-8a1f-5a0c6a3a9a01","OutputFormat":"Geotiff","OutputGCS":"EPSG:3035",` +
		`"NUTS":"AT","TemporalFilter":{"StartDate":1735689600000,"EndDate":1738281600000}}]}`
	landConfidence = `{"Datasets":[{"DatasetID":"3b2c9d64c1a04a0a8f5b8f1e7d0c2a22",` +
		`"DatasetDownloadInformationID":"d0a6a0c7-6b1a-45d5-b1be-8f0fbb2f3c33","OutputFormat":"Geotiff","OutputGCS":"EPSG:3035","NUTS":"AT"}]}`
	landConfidenceOther = `{"Datasets":[{"DatasetID":"3b2c9d64c1a04a0a8f5b8f1e7d0c2a22",` +
		`"DatasetDownloadInformationID":"b152494a-0c94-4113-9ef6-1876f57ba93c","OutputFormat":"Geotiff","OutputGCS":"EPSG:3035","NUTS":"AT"}]}`
)

func TestLandScriptsSurvive(t *testing.T) {
	checktest.FullOnly(t)
	net := newInternet(t)
	type old struct {
		request string
		ago     time.Duration
	}
	for name, c := range map[string]struct {
		options clmstest.Options
		request string
		before  []old
		fails   bool
		posts   int
		file    string // the task's number
		prints  string
	}{
		"a refusal":          {request: landVector, fails: true, posts: 1, prints: "Error, specified formats are not compatible"},
		"a rejected task":    {request: landRaster, fails: true, posts: 1, prints: "no data here", options: clmstest.Options{Outcome: "Rejected", Message: "no data here"}},
		"a running task":     {request: landRaster, before: []old{{landVectorAs("GPKG"), 0}, {landRaster, 0}}, file: "20901119539"},
		"a running box":      {request: landBox, before: []old{{landBox, 0}}, file: "20901119538"},
		"running dates":      {request: landSeries, before: []old{{landSeries, 0}}, file: "20901119538"},
		"a running file":     {request: landWhole, before: []old{{landWhole, 0}}, file: "20901119538"},
		"a finished task":    {request: landRaster, before: []old{{landRaster, 5 * time.Hour}}, file: "20901119538"},
		"an expired task":    {request: landRaster, before: []old{{landRaster, 80 * time.Hour}}, posts: 1, file: "20901119539"},
		"another layer":      {request: landConfidence, before: []old{{landConfidenceOther, 0}}, posts: 1, file: "20901119540"},
		"403 and a cut":      {request: landRaster, posts: 1, file: "20901119538", options: clmstest.Options{Settling: 5 * time.Minute, Cuts: 1}},
		"a day, and 429":     {request: landRaster, posts: 1, file: "20901119538", options: clmstest.Options{Step: 20 * time.Minute, Preparation: 24 * time.Hour, Busy: 3}},
		"dates":              {request: landSeries, posts: 1, file: "20901119538"},
		"a whole file":       {request: landWhole, posts: 1, file: "20901119538"},
		"a box and settling": {request: landBox, posts: 1, file: "20901119538", options: clmstest.Options{Settling: time.Minute}},
	} {
		for script, runs := range map[string]string{"clms.py": "/usr/bin/python3", "clms.R": "Rscript"} {
			t.Run(script+"/"+strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
				l := newLand(t, net, c.options)
				for _, task := range c.before {
					if _, err := l.portal.Add(task.request, task.ago); err != nil {
						t.Fatal(err)
					}
				}
				check(t, os.WriteFile("request.json", []byte(c.request), 0o600))
				out, err := exec.Command(checktest.Need(t, runs), l.script(t, script), "get", "request.json").CombinedOutput()
				if (err != nil) != c.fails || !strings.Contains(string(out), c.prints) {
					t.Fatalf("%v\n%s", err, out)
				}
				if c.file != "" {
					l.has(t, c.file+".zip", string(out))
				}
				if l.portal.Posts() != c.posts || l.portal.Leaks() > 0 {
					t.Errorf("%d requests, not %d; %d tokens to the file host\n%s", l.portal.Posts(), c.posts, l.portal.Leaks(), out)
				}
				if r := l.portal.Ranges(); c.options.Cuts > 0 && (len(r) != 2 || r[1] == "" || strings.HasPrefix(r[1], "bytes=0-")) {
					t.Errorf("after the cut it went on with %q", r)
				}
				if c.options.Preparation > time.Hour && l.tokens.issued < 24 {
					t.Errorf("%d tokens in a day", l.tokens.issued)
				}
			})
		}
	}
}

// Both scripts list what can be requested, over the pages of the catalogue, and
// take no token for it.
func TestLandScriptsSearch(t *testing.T) {
	checktest.FullOnly(t)
	net := newInternet(t)
	for script, runs := range map[string]string{"clms.py": "/usr/bin/python3", "clms.R": "Rscript"} {
		t.Run(script, func(t *testing.T) {
			l := newLand(t, net, clmstest.Options{})
			out, err := exec.Command(checktest.Need(t, runs), l.script(t, script), "search", "urban").CombinedOutput()
			if err != nil || strings.Count(string(out), "Urban Atlas") != 30 {
				t.Errorf("%v\n%s", err, out)
			}
			out, err = exec.Command(checktest.Need(t, runs), l.script(t, script), "search", "clc", "2018").CombinedOutput()
			for _, want := range []string{"0407d497d3c44bcd93ce8fd5bf78596a CLC 2018", "7bcdf9d1-6ba0-4d4e-afa8-01451c7316cb  RASTER", "FILE  Geotiff"} {
				if err != nil || !strings.Contains(string(out), want) {
					t.Errorf("%v: no %q in\n%s", err, want, out)
				}
			}
			if l.tokens.issued > 0 {
				t.Error("a token for the public catalogue")
			}
			if out, err = exec.Command(runs, l.script(t, script), "search", "atlantis").CombinedOutput(); err != nil || string(out) != "Nothing found.\n" {
				t.Errorf("%v\n%s", err, out)
			}
			// tokenctl's own reason is enough.
			check(t, os.WriteFile("../.local/bin/tokenctl", []byte("#!/bin/sh\necho no tokend answers >&2; exit 7\n"), 0o755))
			check(t, os.WriteFile("request.json", []byte(landRaster), 0o600))
			out, err = exec.Command(runs, l.script(t, script), "get", "request.json").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "no tokend answers") || strings.Contains(string(out), "Traceback") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func landVectorAs(format string) string { return strings.Replace(landVector, "Geotiff", format, 1) }

// land is the portal with its own time, and a folder to work in.
type land struct {
	portal *clmstest.Portal
	tokens *landTokens
}

func newLand(t *testing.T, n *internet, o clmstest.Options) *land {
	t.Helper()
	tokens := &landTokens{}
	o.Guard, o.Step, o.Preparation = tokens.guard, cmp.Or(o.Step, time.Minute), cmp.Or(o.Preparation, 5*time.Minute)
	portal := clmstest.New(o)
	tokens.now = portal.Now
	n.hosts["land.copernicus.eu"], n.hosts["copernicus-fme.eea.europa.eu"] = portal, portal.Files()
	minter := httptest.NewServer(tokens)
	t.Cleanup(minter.Close)
	home := t.TempDir()
	work := filepath.Join(home, "work")
	check(t, os.MkdirAll(filepath.Join(home, ".local", "bin"), 0o700))
	check(t, os.MkdirAll(work, 0o700))
	n.equip(t, home, work)
	fake := filepath.Join(home, ".local", "bin", "tokenctl")
	check(t, os.Remove(fake))
	check(t, os.WriteFile(fake, []byte("#!/bin/sh\n[ \"$*\" = 'get clms' ] && exec curl -fsS "+minter.URL+"\n"), 0o755))
	t.Chdir(work)
	return &land{portal, tokens}
}

// script is the path of a script of the documentation.
func (l *land) script(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(os.Getenv("CLONE"), "docs", "tutorials", name)
}

// has checks that a file came whole, and that nothing else is left.
func (l *land) has(t *testing.T, name, out string) {
	t.Helper()
	if text, err := exec.Command("/usr/bin/python3", "-m", "zipfile", "-t", name).CombinedOutput(); err != nil {
		t.Errorf("%v %s\n%s", err, text, out)
	}
	if left, _ := filepath.Glob("*.part"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
