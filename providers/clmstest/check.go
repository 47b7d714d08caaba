package clmstest

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The portal's texts (validation.py, MESSAGES).
const (
	tooMany    = "The download queue can only process 5 items at a time. Please try again with fewer items."
	duplicated = "You have requested to download the same thing at least twice. Please check your download cart and remove any duplicates."
	needsDates = "You are requesting to download a time series enabled dataset and you are required to request the download of an specific date range. Please check the download documentation to get more information"
	longDates  = "You are requesting to download a time series enabled dataset and the requested date range is bigger than the allowed range of 365 days. Please check the download documentation to get more information"
	wholeEEA   = "To download the full dataset, please download it through the corresponding pre-packaged data collection"
	wholeOther = "You are requesting to download the full dataset but this dataset is not an EEA dataset and thus you need to query an specific endpoint to request its download. Please check the API documentation to get more information about this specific endpoint."
	needsArea  = "You have to select a specific area of interest. In case you want to download the full dataset, please use the Auxiliary API."
	badJSON    = "No JSON object could be decoded" // plone.restapi, json_body
	noDataset  = "Error, DatasetID is not defined"
	noDownload = "Error, this dataset is not downloadable"
)

// formats are the formats that each is converted to (utils.py,
// FORMAT_CONVERSION_TABLE).
var formats = map[string][]string{
	"Shapefile": vector, "GDB": vector, "GPKG": vector, "Geojson": vector,
	"Geotiff": {"Geotiff"}, "Netcdf": {"Geotiff", "Netcdf"}, "GML": {"GML"}, "WFS": append([]string{"WFS"}, vector...),
}

var vector = []string{"Shapefile", "GDB", "GPKG", "Geojson", "GML"}

// systems are the coordinate systems for datasets that name one (utils.py, GCS).
var systems = []string{"EPSG:4326", "EPSG:3035", "EPSG:3857", "EPSG:4258"}

// countries are those that CLMS's European datasets cover. The portal knows all
// of ISO 3166, and EL and UK besides (utils.py, COUNTRIES).
const countries = " AL AT BA BE BG CH CY CZ DE DK EE EL ES FI FR GB GR HR HU IE IS IT LI LT LU LV ME MK MT NL NO PL PT RO RS SE SI SK TR UK XK "

// readBody is the body, nil if Zope would take it for a form: plone.restapi
// reads what is left of it.
func readBody(r *http.Request) []byte {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media == "application/x-www-form-urlencoded" || media == "multipart/form-data" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return nil
	}
	return body
}

// check goes through a request in the order of DataRequestPost.reply (post.py).
// It returns the datasets to prepare and the whole files, as tasks show them, or
// the portal's refusal.
func check(body []byte) (ready, whole []map[string]any, refusal string) {
	var request struct{ Datasets []map[string]any }
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, nil, badJSON
	}
	for _, asked := range request.Datasets {
		id, _ := asked["DatasetID"].(string)
		if id == "" {
			return nil, nil, noDataset
		}
		d := find(id)
		if d == nil {
			return nil, nil, "Error, the DatasetID is not valid"
		}
		shown := map[string]any{"DatasetID": id, "DatasetTitle": d.title, "FileStructure": ""}
		if _, ok := asked["FileID"]; ok {
			if refusal := checkFile(asked, d, shown); refusal != "" {
				return nil, nil, refusal
			}
			whole = append(whole, shown)
			continue
		}
		for _, rule := range []func(map[string]any, *dataset, map[string]any) string{checkArea, checkDates, checkSystem, checkDownload} {
			if refusal := rule(asked, d, shown); refusal != "" {
				return nil, nil, refusal
			}
		}
		ready = append(ready, shown)
	}
	return ready, whole, ""
}

// encoded is how tasks show paths (post.py, base64_encode_path).
func encoded(path string) string { return base64.URLEncoding.EncodeToString([]byte(path)) }

// checkFile is process_file_id: the file must have a path and a source.
func checkFile(asked map[string]any, d *dataset, shown map[string]any) string {
	i := slices.IndexFunc(d.files, func(f file) bool { return f.id == asked["FileID"] })
	if i < 0 || d.files[i].path == "" {
		return "Error, the FileID is not valid"
	}
	shown["FileID"], shown["DatasetPath"] = d.files[i].id, ""
	shown["FilePath"], shown["DatasetSource"] = encoded(d.files[i].path), "EEA"
	return ""
}

// checkArea is process_nuts and process_bounding_box. NUTS codes are
// upper-case letters and digits, the first two a country's (validation.py,
// validate_nuts).
func checkArea(asked map[string]any, _ *dataset, shown map[string]any) string {
	_, hasNUTS := asked["NUTS"]
	if nuts, _ := asked["NUTS"].(string); nuts != "" {
		if len(nuts) < 2 || !strings.Contains(countries, " "+nuts[:2]+" ") || strings.ContainsAny(nuts, " -_.") {
			return "NUTS country error"
		}
		shown["NUTSID"], shown["NUTSName"] = nuts, nuts
	}
	box, _ := asked["BoundingBox"].([]any)
	if len(box) == 0 {
		return ""
	}
	if hasNUTS {
		return "Error, NUTS is also defined"
	}
	var side [4]float64
	for i, v := range box {
		number, ok := v.(float64)
		if !ok || len(box) != 4 {
			return "Error, BoundingBox is not valid"
		}
		side[i] = number
	}
	// The portal measures in whole degrees, projected (services/utils.py,
	// calculate_bounding_box_area); a sphere is close enough here.
	const radius = 6371000 * math.Pi / 180
	north, south := math.Trunc(side[1]), math.Trunc(side[3])
	wide := (math.Trunc(side[2]) - math.Trunc(side[0])) * radius * math.Cos((north+south)/2*math.Pi/180)
	if math.Abs(wide*(north-south)*radius) > 1.6e12 {
		return "Error, the requested BoundingBox is too big. The limit is 1600000000000."
	}
	shown["BoundingBox"] = box
	return ""
}

// checkDates is process_temporal_filter: milliseconds, in datasets that are
// time series only.
func checkDates(asked map[string]any, d *dataset, shown map[string]any) string {
	filter, _ := asked["TemporalFilter"].(map[string]any)
	if len(filter) == 0 {
		return ""
	}
	from, hasFrom := filter["StartDate"]
	to, hasTo := filter["EndDate"]
	start, ok1 := from.(float64)
	end, ok2 := to.(float64)
	switch {
	case !d.series:
		return "Error, temporal restriction is not allowed in not time-series enabled datasets"
	case len(filter) > 2:
		return "Error, TemporalFilter has too many fields"
	case !hasFrom || !hasTo:
		return "Error, TemporalFilter does not have StartDate or EndDate"
	case !ok1 || !ok2:
		return "Error, date format is not correct"
	case start > end:
		return "Error, difference between StartDate and EndDate is not coherent"
	}
	text := func(ms float64) string { return time.UnixMilli(int64(ms)).UTC().Format(time.DateTime) }
	shown["TemporalFilter"] = map[string]any{"StartDate": text(start), "EndDate": text(end)}
	return ""
}

// checkSystem is process_out_gcs.
func checkSystem(asked map[string]any, _ *dataset, shown map[string]any) string {
	system, ok := asked["OutputGCS"].(string)
	switch {
	case !ok:
		return "The OutputGCS parameter is mandatory."
	case !slices.Contains(systems, system):
		return "Error, defined GCS not in the list"
	}
	shown["OutputGCS"] = system
	return ""
}

// checkDownload is the rest of reply, from DatasetDownloadInformationID on.
func checkDownload(asked map[string]any, d *dataset, shown map[string]any) string {
	id, ok := asked["DatasetDownloadInformationID"].(string)
	if !ok {
		return "Error, DatasetDownloadInformationID is not defined."
	}
	i := slices.IndexFunc(d.downloads, func(x download) bool { return x.id == id })
	if i < 0 {
		return noDownload
	}
	x := d.downloads[i]
	output, _ := asked["OutputFormat"].(string)
	switch {
	case formats[output] == nil:
		return "Error, the specified output format is not valid"
	case !slices.Contains(formats[x.format], output):
		return "Error, specified formats are not compatible"
	case x.path == "" && x.source != "CDSE":
		return noDownload
	}
	if layer, ok := asked["Layer"]; ok && len(x.layers) > 0 {
		if text, _ := layer.(string); !slices.Contains(x.layers, text) {
			return "Error, the requested band/layer is not valid"
		}
		shown["Layer"] = layer
	}
	if refusal := checkWhole(asked, d, x); refusal != "" {
		return refusal
	}
	shown["DatasetFormat"], shown["OutputFormat"], shown["DatasetPath"] = x.format, output, encoded(x.path)
	if x.source == "CDSE" {
		shown["ByocCollection"] = x.byoc
	}
	shown["DatasetSource"], shown["WekeoChoices"], shown["Metadata"] = x.source, "", []string{}
	return ""
}

// checkWhole is what a request without dates or an area meets
// (validate_date_range, validate_full_download_restrictions).
func checkWhole(asked map[string]any, d *dataset, x download) string {
	filter, dated := asked["TemporalFilter"].(map[string]any)
	_, nuts := asked["NUTS"]
	_, box := asked["BoundingBox"]
	switch {
	case d.series && !dated:
		return needsDates
	case dated && filter["EndDate"].(float64)-filter["StartDate"].(float64) > float64((365*24*time.Hour).Milliseconds()):
		return longDates
	case nuts || box:
		return ""
	case !dated && x.source == "EEA":
		return wholeEEA
	case !dated:
		return wholeOther
	case x.source != "EEA":
		return needsArea
	}
	return ""
}
