package profile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/google/renameio/v2/maybe"
	"github.com/pelletier/go-toml/v2"

	"tokend/providers/token"
)

// A File is a profile's file as it was read.
type File struct {
	Name string // the profile's
	Path string // empty if it is not written yet
	Text []byte
}

func (f File) document() *document { return &document{file: f.Path, text: f.Text} }

// Locate adds the file and the line to an error about one of its keys.
func (f File) Locate(err error) error { return f.document().locate(err) }

// Read reads the named profile's file. It does not wait for a FIFO.
func (d Dirs) Read(name string) (f File, err error) {
	f = File{Name: name, Path: d.ProfileFile(name)}
	if info, err := os.Stat(f.Path); err == nil && !info.Mode().IsRegular() {
		return f, unreadable(&os.PathError{Op: "read", Path: f.Path, Err: errors.New("not a regular file")})
	}
	if f.Text, err = os.ReadFile(f.Path); err != nil {
		return f, unreadable(err)
	}
	return f, nil
}

// OpenAll opens all files of profiles.d with the credentials that are stored.
// profiles and errs are by name; the error of the directory itself is under "".
func (o Opener) OpenAll(d Dirs) (profiles map[string]*Profile, errs map[string]error) {
	names, err := d.names()
	profiles, errs = make(map[string]*Profile, len(names)), map[string]error{}
	if err != nil {
		errs[""] = err
	}
	const readers = 8 // after a boot they wait for the disk
	room := make(chan struct{}, readers*runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, name := range names {
		room <- struct{}{}
		all.Go(func() {
			p, err := o.OpenStored(d, name)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs[name] = err
			} else {
				profiles[name] = p
			}
			<-room
		})
	}
	all.Wait()
	return profiles, errs
}

// names lists the profiles that have a file.
func (d Dirs) names() (names []string, err error) {
	entries, err := os.ReadDir(d.ProfilesDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".toml"); ok && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names, err
}

// Render makes the text of a new profile's file: the settings in the provider's
// own order, with a line on each. Tables come last, as TOML wants it.
func Render(p token.Provider, settings map[string]any) ([]byte, error) {
	var order []string
	docs := map[string]string{}
	for f := range reflect.TypeFor[common]().Fields() {
		if doc := f.Tag.Get("doc"); doc != "" {
			order, docs[f.Tag.Get("toml")] = append(order, f.Tag.Get("toml")), doc
		}
	}
	for _, f := range p.Fields {
		order, docs[f.Name] = append(order, f.Name), f.Doc
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if docs[name] == "" {
			order = append(order, name) // Open reports what is wrong with it
		}
	}
	var lines, tables bytes.Buffer
	fmt.Fprintf(&lines, "# Made by tokenctl add; yours to edit, tokend does not write it again.\n"+
		"# Secrets are in the keystore.\nprovider = %q\n", p.Name)
	for _, name := range order {
		value, set := settings[name]
		if !set {
			continue
		}
		line, err := toml.Marshal(map[string]any{name: value})
		if err != nil {
			return nil, invalid(name, name+" cannot be written as TOML")
		}
		out := &lines
		if bytes.HasPrefix(line, []byte("[")) {
			out = &tables
		}
		out.WriteByte('\n')
		if doc := docs[name]; doc != "" {
			fmt.Fprintf(out, "# %s\n", doc)
		}
		out.Write(line)
	}
	return append(lines.Bytes(), tables.Bytes()...), nil
}

// Write writes a new file whole or not at all, for the owner alone.
func Write(path string, text []byte) error {
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = maybe.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return &token.Error{Code: token.ErrInternal, Message: "the profile's file cannot be written: " + err.Error()}
	}
	return nil
}

// unreadable is the error for a file that cannot be read.
func unreadable(err error) error {
	return &token.Error{Code: token.ErrInvalid, Message: err.Error()}
}
