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

// Read reads the named profile's file.
func (d Dirs) Read(name string) (f File, err error) {
	f = File{Name: name, Path: d.ProfileFile(name)}
	if f.Text, err = token.ReadConfig(f.Path); err != nil {
		return f, &token.Error{Code: token.ErrInvalid, Message: token.FileFault(err), Cause: err}
	}
	return f, nil
}

// OpenAll opens all files of profiles.d with the credentials that are stored.
// profiles and errs are by name; the error of the directory itself is under "".
func (o Opener) OpenAll(d Dirs) (profiles map[string]*Profile, errs map[string]error) {
	names, err := d.Names()
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

// Names lists the profiles that have a file.
func (d Dirs) Names() (names []string, err error) {
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
	var fields []token.Field
	for f := range reflect.TypeFor[Common]().Fields() {
		if doc := f.Tag.Get("doc"); doc != "" {
			fields = append(fields, token.Field{Name: f.Tag.Get("toml"), Doc: doc})
		}
	}
	fields = append(fields, p.Fields...)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if !slices.ContainsFunc(fields, func(f token.Field) bool { return f.Name == name }) {
			fields = append(fields, token.Field{Name: name}) // Open reports what is wrong with it
		}
	}
	var lines, tables bytes.Buffer
	fmt.Fprintf(&lines, "# Made by tokenctl add; yours to edit, also with tokenctl edit.\n"+
		"# Secrets are in the keystore.\nprovider = %q\n", p.Name)
	for _, f := range fields {
		value, set := settings[f.Name]
		if !set {
			continue
		}
		line, err := toml.Marshal(map[string]any{f.Name: value})
		if err != nil {
			return nil, invalid(f.Name, f.Name+" cannot be written as TOML")
		}
		out := &lines
		if bytes.HasPrefix(line, []byte("[")) {
			out = &tables
		}
		out.WriteByte('\n')
		if f.Doc != "" {
			fmt.Fprintf(out, "# %s\n", f.Doc)
		}
		out.Write(line)
	}
	return append(lines.Bytes(), tables.Bytes()...), nil
}

// Write writes a file whole or not at all, with the owner and mode of the one that is
// there. A new one is for its owner alone.
func Write(path string, text []byte) error {
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = replace(path, text)
	}
	if err == nil {
		return nil
	}
	e := &token.Error{Code: token.ErrInternal, Message: "the profile's file cannot be written: " + token.DiskFault(err) + err.Error()}
	if token.DiskFault(err) != "" {
		e.Topic = "disk-full"
	}
	return e
}
