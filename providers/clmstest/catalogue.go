package clmstest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A dataset is one of the catalogue's, with what can be requested of it.
type dataset struct {
	uid, title, description string
	series                  bool // time series enabled
	downloads               []download
	files                   []file
}

// A download is an item of dataset_download_information.
type download struct {
	id, name, collection, format, source, path string
	byoc                                       string // of CDSE, in place of a path
	layers                                     []string
}

// A file is an item of downloadable_files: pre-packaged, and whole.
type file struct{ id, area, format, path string }

// catalogue has the identifiers of the real one (download-search-datasets.resp,
// download-search-dataset-prepackaged.resp), but for the time series.
var catalogue = append([]dataset{
	{uid: "0407d497d3c44bcd93ce8fd5bf78596a", title: "CLC 2018",
		description: "Provides pan-European CORINE Land Cover inventory for the 2018 reference year.",
		downloads: []download{
			{id: "7bcdf9d1-6ba0-4d4e-afa8-01451c7316cb", name: "RASTER", collection: "100 m", format: "Geotiff", source: "EEA", path: `H:\CLC2018\raster`},
			{id: "1bda2fbd-3230-42ba-98cf-69c96ac063bc", name: "VECTOR", collection: "100 m", format: "GDB", source: "EEA", path: `H:\CLC2018\vector`},
		},
		files: []file{
			{"3d9e2413-46ca-4f6e-abf8-b6eb429a4e48", "u2018_clc2018_v2020_20u1_raster100m", "Geotiff", `H:\CLC2018\raster\u2018_clc2018_v2020_20u1_raster100m.zip`},
			{"71a52224-0b24-4ecf-804c-a676c0017922", "u2018_clc2018_v2020_20u1_geoPackage", "GPKG", `H:\CLC2018\vector\u2018_clc2018_v2020_20u1_geoPackage.zip`},
		}},
	{uid: "a8d945f0edd143a0a5240c28bafa23da", title: "Land Cover 100m: collection 3: epoch 2019: Globe",
		downloads: []download{
			{id: "f328dbcc-9069-4240-b8bb-6d5df918671a", name: "RASTER", collection: "100m", format: "Geotiff", source: "LANDCOVER", path: "v3.0.1/2019"},
		},
		files: []file{{id: "27e4e333-149c-49c4-a11e-96a1d0d1b6ff"}}},
	{uid: "5f3ce3c3cd4e4b2f9f4d0e7d2f8f4a11", title: "Vegetation Phenology and Productivity", series: true,
		downloads: []download{
			{id: "2f0d1c52-9a0f-4d59-8a1f-5a0c6a3a9a01", name: "RASTER", collection: "10 m", format: "Geotiff", source: "WEKEO", path: "vpp", layers: []string{"ALL BANDS", "QFLAG"}},
		}},
	{uid: "3b2c9d64c1a04a0a8f5b8f1e7d0c2a22", title: "CLCplus Backbone 2023",
		description: "Land cover with a confidence layer for each pixel.",
		downloads: []download{
			{id: "b152494a-0c94-4113-9ef6-1876f57ba93c", name: "RASTER", collection: "10 m", format: "Geotiff", source: "CDSE", byoc: "7c1c6c26-0d4b-4a3a-8c7d-6c1f2b7d0e44"},
			{id: "d0a6a0c7-6b1a-45d5-b1be-8f0fbb2f3c33", name: "RASTER", collection: "Confidence Layer", format: "Geotiff", source: "CDSE", byoc: "91d2b0a8-5c7e-4c0e-9d5e-2f7a3b6c8d55"},
		}},
}, others(30)...)

// others fill the catalogue up to more than a page.
func others(n int) (all []dataset) {
	for i := range n {
		all = append(all, dataset{uid: fmt.Sprintf("%032x", i+1), title: fmt.Sprintf("Urban Atlas %d", 2000+i)})
	}
	return all
}

func find(uid string) *dataset {
	if i := slices.IndexFunc(catalogue, func(d dataset) bool { return d.uid == uid }); i >= 0 {
		return &catalogue[i]
	}
	return nil
}

// search answers plone.restapi's @search: pages of 25 items (download.md), and
// of each item what metadata_fields asks for besides the usual.
func (p *Portal) search(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	size, start := 25, 0
	if n, err := strconv.Atoi(q.Get("b_size")); err == nil && n > 0 {
		size = n
	}
	if n, err := strconv.Atoi(q.Get("b_start")); err == nil && n > 0 {
		start = n
	}
	items := []map[string]any{}
	for _, d := range catalogue {
		if d.matches(q) {
			items = append(items, d.shown(q["metadata_fields"]))
		}
	}
	total := len(items)
	body := map[string]any{"@id": Host + r.URL.String(), "items_total": total,
		"items": items[min(start, total):min(start+size, total)]}
	if total > size {
		batching := map[string]string{}
		if start+size < total {
			q.Set("b_start", strconv.Itoa(start+size))
			batching["next"] = Host + "/api/@search?" + q.Encode()
		}
		body["batching"] = batching
	}
	answer(w, http.StatusOK, body)
}

// matches reports whether all words of a search are in the dataset's text.
func (d *dataset) matches(q url.Values) bool {
	if kind := q.Get("portal_type"); kind != "" && kind != "DataSet" || q.Get("UID") != "" && q.Get("UID") != d.uid {
		return false
	}
	text := strings.ToLower(d.title + " " + d.description)
	for _, word := range strings.Fields(strings.ToLower(q.Get("SearchableText"))) {
		if !strings.Contains(text, strings.Trim(word, "*")) {
			return false
		}
	}
	return true
}

func (d *dataset) shown(fields []string) map[string]any {
	m := map[string]any{"@id": Host + "/api/en/products/" + d.uid, "@type": "DataSet", "title": d.title,
		"description": d.description, "image_field": "image", "review_state": "published"}
	downloads, files := []map[string]any{}, []map[string]any{}
	for _, x := range d.downloads {
		item := map[string]any{"@id": x.id, "name": x.name, "collection": x.collection, "full_format": x.format,
			"full_path": x.path, "full_source": x.source, "wekeo_choices": ""}
		if x.layers != nil {
			item["layers"] = x.layers
		}
		if x.byoc != "" {
			item["byoc_collection"] = x.byoc
		}
		downloads = append(downloads, item)
	}
	for _, f := range d.files {
		source := ""
		if f.path != "" {
			source = "EEA"
		}
		files = append(files, map[string]any{"@id": f.id, "area": f.area, "format": f.format, "path": f.path, "source": source,
			"resolution": "", "size": "", "type": "", "version": "", "year": ""})
	}
	all := map[string]any{"UID": d.uid, "dataset_full_format": nil,
		"dataset_download_information": map[string]any{"items": downloads}, "downloadable_files": map[string]any{"items": files}}
	for _, field := range fields {
		if v, ok := all[field]; ok {
			m[field] = v
		}
	}
	return m
}

// conversions answers conversion_table/get.py.
func conversions(w http.ResponseWriter, _ *http.Request) {
	table := map[string]map[string]bool{}
	for from, possible := range formats {
		table[from] = map[string]bool{}
		for to := range formats {
			table[from][to] = slices.Contains(possible, to)
		}
	}
	answer(w, http.StatusOK, table)
}

// projections answers projections/get.py, for datasets that name one.
func projections(w http.ResponseWriter, r *http.Request) {
	if uid := r.FormValue("uid"); uid != "" && find(uid) == nil {
		answer(w, http.StatusOK, []string{})
		return
	}
	answer(w, http.StatusOK, systems)
}
