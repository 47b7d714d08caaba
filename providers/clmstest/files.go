package clmstest

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kept is how long files stay (download.md).
const kept = 72 * time.Hour

// Files is the host that the files come from. It needs no token (users). It
// answers 403 to the User-Agents of libraries (users; delete.py of the portal
// itself goes to this host as a browser), and 403 for some minutes to all after
// a task has finished (users).
func (p *Portal) Files() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if r.Header.Get("Authorization") != "" {
			p.leaks++
			page(w, http.StatusBadRequest, "Bad Request")
			return
		}
		id, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, results), ".zip")
		i := slices.IndexFunc(p.tasks, func(t *task) bool { return t.id == id && p.statusOf(t) == "Finished_ok" })
		var age time.Duration
		if ok && i >= 0 {
			age = p.now().Sub(p.finished(p.tasks[i]))
		}
		switch {
		case !ok || i < 0 || age > kept:
			p.step()
			page(w, http.StatusNotFound, "Not Found")
		case age < p.o.Settling, !strings.HasPrefix(r.UserAgent(), "Mozilla/5.0"):
			p.step()
			page(w, http.StatusForbidden, "Forbidden")
		default:
			p.send(w, r, p.tasks[i])
		}
	})
}

// send sends a file or a range of it, and breaks off if a cut is due.
func (p *Portal) send(w http.ResponseWriter, r *http.Request, t *task) {
	p.ranges = append(p.ranges, r.Header.Get("Range"))
	if p.o.Cuts > 0 {
		p.o.Cuts--
		p.step()
		w.Header().Set("Content-Length", strconv.Itoa(len(t.content)))
		_, _ = w.Write(t.content[:len(t.content)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, t.id+".zip", p.finished(t), bytes.NewReader(t.content))
}

// archive is what a task results in: Results/<product>/<NAME>, and of
// pre-packaged files the zip that holds them (users). It is large enough to
// arrive in pieces.
func archive(datasets []map[string]any) []byte {
	members := map[string][]byte{"Results/Documents/CLC2018_legend.pdf": make([]byte, 2<<20)}
	for _, d := range datasets {
		encoded, whole := d["FilePath"].(string)
		if !whole {
			members["Results/CLC2018/U2018_CLC2018_V2020_20u1"+extension(d)] = GeoTIFF()
			continue
		}
		text, _ := base64.URLEncoding.DecodeString(encoded)
		name := path.Base(strings.ReplaceAll(string(text), `\`, "/"))
		inner := strings.TrimSuffix(name, ".zip") + "/DATA/U2018_CLC2018_V2020_20u1.tif"
		members["Results/"+name] = zipped(map[string][]byte{inner: GeoTIFF()})
	}
	return zipped(members)
}

func extension(d map[string]any) string {
	extensions := map[string]string{"Geotiff": ".tif", "Netcdf": ".nc", "GPKG": ".gpkg", "GDB": ".gdb", "Shapefile": ".shp", "Geojson": ".geojson", "GML": ".gml"}
	format, _ := d["OutputFormat"].(string)
	return extensions[format]
}

func zipped(members map[string][]byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = f.Write(members[name])
		}
		if err != nil {
			panic(err) // it is written to memory
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// GeoTIFF is a raster of four pixels.
func GeoTIFF() []byte {
	b, err := base64.StdEncoding.DecodeString("SUkqAAgAAAAOAAABAwABAAAAAgAAAAEBAwABAAAAAgAAAAIBAwABAAAAIAAAAAMBAwABAAAAAQAAAAYBAwABAAAAAQAAABEBBAAB" +
		"AAAA/gAAABUBAwABAAAAAQAAABYBAwABAAAAAgAAABcBBAABAAAAEAAAABwBAwABAAAAAQAAAFMBAwABAAAAAgAAAA6DDAADAAAA" +
		"tgAAAIKEDAAGAAAAzgAAAIGkAgADAAAALTkAAAAAAAAAAAAAAADwPwAAAAAAAPA/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" +
		"AAAAAAAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAABAAAAAgAAAAMAAAAEAAAA")
	if err != nil {
		panic(err) // it stands above
	}
	return b
}
