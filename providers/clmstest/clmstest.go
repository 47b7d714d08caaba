// Package clmstest plays the portal of the Copernicus Land Monitoring Service,
// land.copernicus.eu, and the host that its files come from. It refuses what the
// portal refuses, in its order and with its texts. It does not issue tokens:
// providertest does.
//
// Each rule names where it comes from:
//
//	post.py, validation.py, utils.py, ...   eea/clms.downloadtool 16.3
//	download.md, basic.md, ...              eea/clms-api-docs, source/
//	plone.restapi                           what the portal is built on
//	users                                   programs of users that met it
package clmstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options for New.
type Options struct {
	// Guard lets requests with a good token through, and refuses the others.
	Guard func(http.Handler) http.Handler
	// Step is how far the portal's clock moves on with each question about a
	// task and each download that does not succeed, so that tests need not wait.
	Step time.Duration
	// Preparation is how long the portal takes to finish a task.
	Preparation time.Duration
	// Settling is how long a finished task's file cannot be had yet.
	Settling time.Duration
	// Outcome is what tasks end with, if not with Finished_ok.
	Outcome, Message string
	// Cuts is how many downloads break off half way.
	Cuts int
	// Busy is how many questions about a task are answered by 429.
	Busy int
}

// A Portal holds one user's tasks.
type Portal struct {
	o   Options
	api http.Handler

	mu     sync.Mutex
	ahead  time.Duration // of the real time
	tasks  []*task
	posts  int
	ranges []string // of the downloads that began
	leaks  int
}

// A task is a request that the portal accepted.
type task struct {
	id         string
	datasets   []map[string]any
	registered time.Time
	cancelled  time.Time
	content    []byte
	outcome    string
	role       string // of CDSE's tasks: parent, child
}

// The hosts of the portal and of its files. The published examples have the
// path clmsdatadownload, and today's answers fmedatadownload (users).
const (
	Host     = "https://land.copernicus.eu"
	FileHost = "https://copernicus-fme.eea.europa.eu"
	results  = "/fmedatadownload/results/"
)

// New makes a portal without tasks.
func New(o Options) *Portal {
	p := &Portal{o: o}
	guard := func(h http.HandlerFunc) http.Handler { return o.Guard(h) }
	mux := http.NewServeMux()
	// Searching is for all (basic.md); these need the permission Use Download
	// Tool, which every user has (the services' configure.zcml, rolemap.xml).
	mux.HandleFunc("GET /api/@search", p.search)
	mux.Handle("GET /api/@format_conversion_table", guard(conversions))
	mux.Handle("GET /api/@projections", guard(projections))
	mux.Handle("POST /api/@datarequest_post", guard(p.post))
	mux.Handle("GET /api/@datarequest_search", guard(p.list))
	mux.Handle("GET /api/@datarequest_status_get", guard(p.status))
	mux.Handle("DELETE /api/@datarequest_delete", guard(p.cancel))
	p.api = mux
	return p
}

// ServeHTTP is the portal's API. All requests must accept JSON (basic.md); the
// portal's own pages are HTML.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept"), "application/json") {
		page(w, http.StatusNotFound, "This page does not seem to exist")
		return
	}
	p.api.ServeHTTP(w, r)
}

// Now is the portal's time.
func (p *Portal) Now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now()
}

func (p *Portal) now() time.Time { return time.Now().Add(p.ahead) }

// Posts counts the requests for data, refused ones included.
func (p *Portal) Posts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.posts
}

// Ranges lists the Range headers of the downloads that began, "" for whole files.
func (p *Portal) Ranges() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ranges)
}

// Leaks counts the requests that brought a token to the file host.
func (p *Portal) Leaks() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leaks
}

// Add makes a task of an accepted request, as if it had been posted a while ago,
// and returns its ID.
func (p *Portal) Add(request string, ago time.Duration) (string, error) {
	ready, whole, refusal := check([]byte(request))
	if refusal != "" {
		return "", fmt.Errorf("%s", refusal)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.register(append(whole, ready...), p.now().Add(-ago)).id, nil
}

// register makes a task. The portal's IDs are random, of up to eleven digits
// (utility.py); here they are counted, so that pages can show them.
func (p *Portal) register(datasets []map[string]any, at time.Time) *task {
	t := &task{id: strconv.Itoa(20901119538 + len(p.tasks)), datasets: datasets, registered: at, content: archive(datasets), outcome: "Finished_ok"}
	if p.o.Outcome != "" {
		t.outcome = p.o.Outcome
	}
	p.tasks = append(p.tasks, t)
	return t
}

// registerCDSE makes the tasks of what CDSE prepares. That is done later, by a
// worker: the answer to the request does not name them, and only their Datasets
// have a path that says something (cdse/cdse_tasks_queue.py).
func (p *Portal) registerCDSE(datasets []map[string]any) {
	later := p.now().Add(time.Second)
	for _, d := range datasets {
		p.register([]map[string]any{d}, later).role = "child"
		d["DatasetPath"] = encoded(fmt.Sprintf(`["s3://clms-batch/%d"]`, len(p.tasks)))
	}
	if len(datasets) > 0 {
		p.register(datasets, later).role = "parent"
	}
}

// post answers as post.py does: everything is checked before the first task is
// registered.
func (p *Portal) post(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.posts++
	body := readBody(r)
	if body == nil { // a form has no BODY, so there are no Datasets to go through
		answer(w, http.StatusInternalServerError, map[string]any{"type": "TypeError", "message": "'NoneType' object is not iterable"})
		return
	}
	ready, whole, refusal := check(body)
	switch {
	case refusal == badJSON:
		answer(w, http.StatusInternalServerError, map[string]any{"type": "DeserializationError", "message": badJSON})
		return
	case refusal != "":
	case len(ready) > 5:
		refusal = tooMany
	case p.runsAlready(ready):
		refusal = duplicated
	}
	if refusal != "" {
		refuse(w, http.StatusBadRequest, refusal)
		return
	}
	// Whole files and the rest become two tasks (download.md, "Combined"), and
	// CDSE's a third that is not in the answer.
	var own, cdse []map[string]any
	for _, d := range ready {
		if d["DatasetSource"] == "CDSE" {
			cdse = append(cdse, d)
		} else {
			own = append(own, d)
		}
	}
	tasks := []map[string]string{}
	for _, datasets := range [][]map[string]any{whole, own} {
		if len(datasets) > 0 {
			tasks = append(tasks, map[string]string{"TaskID": p.register(datasets, p.now()).id})
		}
	}
	p.registerCDSE(cdse)
	answer(w, http.StatusCreated, map[string]any{"TaskIds": tasks, "ErrorTaskIds": []string{}})
}

// runsAlready finds what is the same twice, in the request and the unfinished
// tasks together. Whole files are not compared when they are requested, only as
// parts of tasks (post.py, finalize_request).
func (p *Portal) runsAlready(datasets []map[string]any) bool {
	seen := map[string]bool{}
	all := slices.Clone(datasets)
	for _, t := range p.tasks {
		if s := p.statusOf(t); t.role != "child" && (s == "Queued" || s == "In_progress") {
			all = append(all, t.datasets...)
		}
	}
	for _, d := range all {
		text, _ := json.Marshal(d)
		if seen[string(text)] {
			return true
		}
		seen[string(text)] = true
	}
	return false
}

func (p *Portal) finished(t *task) time.Time { return t.registered.Add(p.o.Preparation) }

// statusOf is one of STATUS_LIST (utils.py).
func (p *Portal) statusOf(t *task) string {
	switch passed := p.now().Sub(t.registered); {
	case !t.cancelled.IsZero():
		return "Cancelled"
	case passed < p.o.Preparation/3:
		return "Queued"
	case passed < p.o.Preparation:
		return "In_progress"
	}
	return t.outcome
}

// describe is a task as the portal shows it (patch.py; the members'
// names and the message also in download-request-download-status.resp).
func (p *Portal) describe(t *task) map[string]any {
	const python = "2006-01-02T15:04:05.000000-07:00" // isoformat
	m := map[string]any{"Status": p.statusOf(t), "UserID": "user", "FMETaskId": 4050,
		"Datasets": t.datasets, "RegistrationDateTime": t.registered.UTC().Format(python)}
	if t.role != "" {
		m["cdse_task_role"] = t.role
	}
	if t.role == "child" { // an object, not a list of one
		m["Datasets"], m["Status"] = t.datasets[0], "QUEUED"
		return m
	}
	switch m["Status"] {
	case "Queued", "In_progress":
		return m
	case "Cancelled":
		m["FinalizationDateTime"] = t.cancelled.UTC().Format(python)
		return m
	case "Finished_ok":
		m["DownloadURL"] = FileHost + results + t.id + ".zip"
		m["FileSize"] = len(t.content)
		m["Message"] = "Download process finished successfully"
	default:
		m["Message"] = p.o.Message
	}
	m["FinalizationDateTime"] = p.finished(t).UTC().Format(python)
	return m
}

// step moves the clock on.
func (p *Portal) step() { p.ahead += p.o.Step }

// status answers datarequest_status_get/get.py. 429 comes from a gateway (users).
func (p *Portal) status(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step()
	id := r.FormValue("TaskID")
	i := slices.IndexFunc(p.tasks, func(t *task) bool { return t.id == id })
	switch {
	case p.o.Busy > 0:
		p.o.Busy--
		page(w, http.StatusTooManyRequests, "Too Many Requests")
	case id == "":
		refuse(w, http.StatusBadRequest, "Error, TaskID not defined")
	case i < 0:
		refuse(w, http.StatusNotFound, "Error, the task does not exist")
	default:
		answer(w, http.StatusOK, p.describe(p.tasks[i]))
	}
}

// list answers datarequest_search/get.py: all tasks that there ever were, also
// those whose file is gone.
func (p *Portal) list(w http.ResponseWriter, r *http.Request) {
	known := []string{"", "Rejected", "Queued", "In_progress", "Finished_ok", "Finished_nok", "Cancelled"}
	wanted := r.FormValue("status")
	if !slices.Contains(known, wanted) {
		refuse(w, http.StatusBadRequest, "Error, status not recognized")
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step()
	all := map[string]any{}
	for _, t := range p.tasks {
		shown := p.describe(t)
		if !t.registered.After(p.now()) && (wanted == "" || shown["Status"] == wanted) {
			all[t.id] = shown
		}
	}
	answer(w, http.StatusOK, all)
}

// cancel answers datarequest_delete/delete.py, whose 403 is for a task that
// does not exist.
func (p *Portal) cancel(w http.ResponseWriter, r *http.Request) {
	var asked struct{ TaskID any }
	decoder := json.NewDecoder(r.Body)
	decoder.UseNumber()
	_ = decoder.Decode(&asked) // what cannot be read has no TaskID
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.tasks, func(t *task) bool { return t.id == fmt.Sprint(asked.TaskID) })
	switch {
	case asked.TaskID == nil:
		refuse(w, http.StatusBadRequest, "Error, TaskID not defined")
	case i < 0:
		refuse(w, http.StatusForbidden, "Error, TaskID not registered")
	default:
		p.tasks[i].cancelled = p.now()
		w.WriteHeader(http.StatusNoContent)
	}
}

// answer writes JSON as plone.restapi does: sorted, and indented by two.
func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		panic(err) // it is made of strings and numbers
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

// refuse is DataRequestPost.rsp (post.py), which the other services share.
func refuse(w http.ResponseWriter, status int, msg string) {
	answer(w, status, map[string]any{"status": "error", "msg": msg})
}

func page(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<!DOCTYPE html><html><title>%s</title></html>", text)
}
