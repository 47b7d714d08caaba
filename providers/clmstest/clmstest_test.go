package clmstest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tokend/docs"
)

// The request that docs/tutorials/clms.md had at first: a vector download as
// Geotiff.
const oldTutorial = `{"Datasets":[{"DatasetID":"0407d497d3c44bcd93ce8fd5bf78596a",` +
	`"DatasetDownloadInformationID":"1bda2fbd-3230-42ba-98cf-69c96ac063bc",` +
	`"OutputFormat":"Geotiff","OutputGCS":"EPSG:4326","NUTS":"ITC11"}]}`

const (
	corine = `"DatasetID":"0407d497d3c44bcd93ce8fd5bf78596a"`
	raster = `"DatasetDownloadInformationID":"7bcdf9d1-6ba0-4d4e-afa8-01451c7316cb","OutputFormat":"Geotiff"`
	system = `"OutputGCS":"EPSG:3035"`
	whole  = `"FileID":"3d9e2413-46ca-4f6e-abf8-b6eb429a4e48"`
	global = `"DatasetID":"a8d945f0edd143a0a5240c28bafa23da","DatasetDownloadInformationID":"f328dbcc-9069-4240-b8bb-6d5df918671a","OutputFormat":"Geotiff"`
	series = `"DatasetID":"5f3ce3c3cd4e4b2f9f4d0e7d2f8f4a11","DatasetDownloadInformationID":"2f0d1c52-9a0f-4d59-8a1f-5a0c6a3a9a01","OutputFormat":"Geotiff"`
	cdse   = `"DatasetID":"3b2c9d64c1a04a0a8f5b8f1e7d0c2a22","DatasetDownloadInformationID":"b152494a-0c94-4113-9ef6-1876f57ba93c","OutputFormat":"Geotiff"`
)

func open(next http.Handler) http.Handler { return next }

// call asks the portal and returns status and body.
func call(h http.Handler, method, path, body string, headers ...string) (int, string) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	text, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(text)
}

func datasets(each ...string) string {
	return `{"Datasets":[{` + strings.Join(each, "},{") + `}]}`
}

func join(parts ...string) string { return strings.Join(parts, ",") }

func TestPortalRefusesWithItsOwnTexts(t *testing.T) {
	nuts, box := `"NUTS":"ITC11"`, `"BoundingBox":[7,46,8,45]`
	for name, c := range map[string]struct{ body, want string }{
		"the old tutorial":  {oldTutorial, "Error, specified formats are not compatible"},
		"no dataset":        {datasets(``), noDataset},
		"unknown dataset":   {datasets(`"DatasetID":"x"`), "Error, the DatasetID is not valid"},
		"unknown file":      {datasets(join(corine, `"FileID":"x"`)), "Error, the FileID is not valid"},
		"unknown country":   {datasets(join(corine, raster, system, `"NUTS":"XX1"`)), "NUTS country error"},
		"small letters":     {datasets(join(corine, raster, system, `"NUTS":"itc11"`)), "NUTS country error"},
		"two areas":         {datasets(join(corine, raster, system, nuts, box)), "Error, NUTS is also defined"},
		"three corners":     {datasets(join(corine, raster, system, `"BoundingBox":[1,2,3]`)), "Error, BoundingBox is not valid"},
		"the world":         {datasets(join(corine, raster, system, `"BoundingBox":[-20,70,40,30]`)), "The limit is 1600000000000."},
		"dates":             {datasets(join(corine, raster, system, nuts, `"TemporalFilter":{"StartDate":1,"EndDate":2}`)), "temporal restriction is not allowed"},
		"dates as text":     {datasets(join(series, system, nuts, `"TemporalFilter":{"StartDate":"1","EndDate":2}`)), "date format is not correct"},
		"one date":          {datasets(join(series, system, nuts, `"TemporalFilter":{"StartDate":1}`)), "does not have StartDate or EndDate"},
		"two years":         {datasets(join(series, system, nuts, `"TemporalFilter":{"StartDate":1546300800000,"EndDate":1609459200000}`)), "allowed range of 365 days"},
		"no dates":          {datasets(join(series, system, nuts)), needsDates},
		"no system":         {datasets(join(corine, raster, nuts)), "The OutputGCS parameter is mandatory."},
		"unknown system":    {datasets(join(corine, raster, nuts, `"OutputGCS":"EPSG:32633"`)), "Error, defined GCS not in the list"},
		"no download":       {datasets(join(corine, nuts, system, `"OutputFormat":"Geotiff"`)), "DatasetDownloadInformationID is not defined."},
		"another's":         {datasets(join(corine, nuts, system, `"DatasetDownloadInformationID":"x","OutputFormat":"Geotiff"`)), noDownload},
		"unknown format":    {datasets(join(corine, nuts, system, raster+`,"OutputFormat":"COG"`)), "output format is not valid"},
		"all of an EEA one": {datasets(join(corine, raster, system)), wholeEEA},
		"all of another":    {datasets(join(global, system)), wholeOther},
		"the same twice":    {datasets(join(corine, raster, system, nuts), join(corine, raster, system, nuts)), duplicated},
		"six": {datasets(join(corine, raster, system, `"NUTS":"AT"`), join(corine, raster, system, `"NUTS":"BE"`), join(corine, raster, system, `"NUTS":"BG"`),
			join(corine, raster, system, `"NUTS":"CH"`), join(corine, raster, system, `"NUTS":"CY"`), join(corine, raster, system, `"NUTS":"CZ"`)), tooMany},
	} {
		p := New(Options{Guard: open})
		status, body := call(p, "POST", "/api/@datarequest_post", c.body)
		var m map[string]string
		if err := json.Unmarshal([]byte(body), &m); err != nil || status != 400 || m["status"] != "error" || !strings.Contains(m["msg"], c.want) {
			t.Errorf("%s: %d %s %v, not %q", name, status, body, err, c.want)
		}
		if !explained(m["msg"]) {
			t.Errorf("docs/errors.md does not explain %q", m["msg"])
		}
	}
	p := New(Options{Guard: open})
	if status, _ := call(p, "GET", "/api/@search", "", "Accept", "*/*"); status != 404 {
		t.Errorf("without Accept: %d", status)
	}
	if status, body := call(p, "POST", "/api/@datarequest_post", oldTutorial, "Content-Type", "application/x-www-form-urlencoded"); status != 500 || !strings.Contains(body, "TypeError") {
		t.Errorf("as a form: %d %s", status, body)
	}
}

// explained reports whether a topic of docs/errors.md quotes a part of a text.
func explained(text string) bool {
	for _, topic := range docs.ErrorTopics() {
		for i, quoted := range strings.Split(strings.ReplaceAll(topic.Text, "\n", " "), "`") {
			if i%2 == 1 && strings.Contains(quoted, " ") && (strings.Contains(text, quoted) || strings.Contains(quoted, text)) {
				return true
			}
		}
	}
	return false
}

func TestPortalPreparesWhatIsAsked(t *testing.T) {
	p := New(Options{Guard: open, Step: time.Minute, Preparation: 3 * time.Minute, Settling: 5 * time.Minute, Cuts: 1, Busy: 1})
	asked := datasets(join(corine, raster, system, `"NUTS":"ITC11"`))
	if status, body := call(p, "POST", "/api/@datarequest_post", asked); status != 201 || !strings.Contains(body, `"TaskID": "20901119538"`) {
		t.Fatalf("%d %s", status, body)
	}
	if status, body := call(p, "POST", "/api/@datarequest_post", asked); status != 400 || !strings.Contains(body, duplicated) {
		t.Errorf("again: %d %s", status, body)
	}
	for i, want := range []string{"Too Many", "In_progress", "Finished_ok"} {
		if _, body := call(p, "GET", "/api/@datarequest_status_get?TaskID=20901119538", ""); !strings.Contains(body, want) {
			t.Errorf("question %d: %s, not %s", i+1, body, want)
		}
	}
	const url, browser = "/fmedatadownload/results/20901119538.zip", "Mozilla/5.0 (test)"
	for range 5 {
		if status, _ := call(p.Files(), "GET", url, "", "User-Agent", browser); status != 403 {
			t.Errorf("too early: %d", status)
		}
	}
	if status, _ := call(p.Files(), "GET", url, "", "User-Agent", "Python-urllib/3.11"); status != 403 {
		t.Errorf("as a library: %d", status)
	}
	func() {
		defer func() { _ = recover() }()
		call(p.Files(), "GET", url, "", "User-Agent", browser)
		t.Error("no cut")
	}()
	if status, _ := call(p.Files(), "GET", url, "", "User-Agent", browser, "Range", "bytes=10-"); status != 206 {
		t.Errorf("the rest: %d", status)
	}
	if status, _ := call(p.Files(), "GET", url, "", "User-Agent", browser, "Authorization", "Bearer x"); status != 400 || p.Leaks() != 1 {
		t.Errorf("with a token: %d, %d leaks", status, p.Leaks())
	}
	old, err := p.Add(datasets(join(corine, whole)), 80*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := call(p.Files(), "GET", results+old+".zip", "", "User-Agent", browser); status != 404 {
		t.Errorf("after 80 h: %d", status)
	}
}

// What CDSE prepares has a task that the answer does not name.
func TestPortalDoesNotNameTasksOfCDSE(t *testing.T) {
	p := New(Options{Guard: open, Step: time.Minute, Preparation: time.Hour})
	if status, body := call(p, "POST", "/api/@datarequest_post", datasets(join(cdse, system, `"NUTS":"AT"`))); status != 201 || !strings.Contains(body, `"TaskIds": []`) {
		t.Fatalf("%d %s", status, body)
	}
	_, body := call(p, "GET", "/api/@datarequest_search?status=Queued", "")
	var tasks map[string]struct {
		Role     string `json:"cdse_task_role"`
		Datasets []any
	}
	if err := json.Unmarshal([]byte(body), &tasks); err != nil || len(tasks) != 1 || tasks["20901119539"].Role != "parent" {
		t.Errorf("%v %s", err, body)
	}
	if status, _ := call(p, "DELETE", "/api/@datarequest_delete", `{"TaskID":20901119539}`); status != 204 {
		t.Errorf("cancelled: %d", status)
	}
	if status, body := call(p, "DELETE", "/api/@datarequest_delete", `{"TaskID":1}`); status != 403 {
		t.Errorf("a task that is not there: %d %s", status, body)
	}
}

func TestCatalogueComesInPages(t *testing.T) {
	p := New(Options{Guard: open})
	seen := 0
	for next := "/api/@search?portal_type=DataSet&metadata_fields=UID"; next != ""; {
		var page struct {
			Items    []map[string]any
			Batching struct{ Next string }
			Total    int `json:"items_total"`
		}
		_, body := call(p, "GET", strings.TrimPrefix(next, Host), "")
		if err := json.Unmarshal([]byte(body), &page); err != nil || len(page.Items) > 25 || page.Total != len(catalogue) {
			t.Fatalf("%v %s", err, body)
		}
		if seen += len(page.Items); page.Items[0]["UID"] == nil || page.Items[0]["downloadable_files"] != nil {
			t.Error(body)
		}
		next = page.Batching.Next
	}
	if seen != len(catalogue) {
		t.Errorf("%d of %d", seen, len(catalogue))
	}
}
