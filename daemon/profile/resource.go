package profile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"tokend/providers/token"
)

// resourceTables are the tables [resources.NAME] of a profile's file. Each has the
// provider's fields that say what a token is for (token.Field.Resource), and these keys.
type resourceTables map[string]map[string]any

type resourceKeys struct {
	Hosts   []string           `toml:"hosts"`
	Present token.Presentation `toml:"present"`
	Second  bool               `toml:"second_header"`
}

// openResources opens p for each of its resources. p itself has tokens too if its file
// says what for.
func (o Opener) openResources(p *Profile, kind token.Provider, doc *document) error {
	for _, s := range p.Sinks {
		if s.Resource != "" && p.Tables[s.Resource] == nil {
			return invalid("sink", "sink: "+p.NoResource(s.Resource))
		}
	}
	if len(p.Tables) == 0 {
		return nil
	}
	var fields []string
	for _, f := range kind.Fields {
		if f.Resource {
			fields = append(fields, f.Name)
		}
	}
	if fields == nil {
		return invalid("resources", fmt.Sprintf("resources: a profile of %s has none", p.Provider))
	}
	profile := *p
	for _, name := range slices.Sorted(maps.Keys(p.Tables)) {
		if err := token.CheckName(name); err != nil {
			return invalid("resources."+name, "resources: "+err.Error())
		}
		r := profile
		r.Name += "/" + name
		if err := o.openResource(&r, name, fields, doc); err != nil {
			return inResource(name, p.Tables[name], fields, err)
		}
		p.Resources = append(p.Resources, &r)
	}
	first := p.Resources[0]
	p.OnlyResources = !slices.ContainsFunc(fields, func(f string) bool { return p.Settings[f] != nil })
	p.Sinks = p.sinksOf("")
	if !p.OnlyResources {
		return nil
	}
	p.Minter, p.Issuer, p.Expires, p.Fingerprint = first.Minter, first.Issuer, first.Expires, first.Fingerprint
	for key, set := range map[string]bool{"hosts": p.Hosts != nil, "present": p.Present != "", "sink": len(p.Sinks) > 0} {
		if set {
			return invalid(key, fmt.Sprintf("%s: the profile has no token of its own without %s; move it to a resource", key, strings.Join(fields, " or ")))
		}
	}
	return nil
}

// openResource makes r, a copy of the profile, that of a resource.
func (o Opener) openResource(r *Profile, name string, fields []string, doc *document) error {
	table, rest := r.Tables[name], map[string]any{}
	r.Settings = maps.Clone(r.Settings)
	maps.DeleteFunc(r.Settings, func(key string, _ any) bool { return isKey(fields, key) }) // what a resource does not set is not the profile's
	for key, value := range table {
		if i := slices.IndexFunc(fields, func(f string) bool { return strings.EqualFold(f, key) }); i >= 0 {
			r.Settings[fields[i]] = value
		} else {
			rest[key] = value
		}
	}
	if len(rest) == len(table) {
		return invalid("", strings.Join(fields, " or ")+" is missing")
	}
	var own resourceKeys
	text, err := toml.Marshal(rest)
	keys := &document{text: text, known: slices.Clone(fields)}
	if err := errors.Join(err, keys.decode(&own), keys.close()); err != nil {
		return err
	}
	r.Hosts, r.Present, r.Sinks, r.Tables = own.Hosts, own.Present, r.sinksOf(name), nil
	if !own.Second {
		r.SecondHeader = ""
	}
	if err := r.Common.check(); err != nil {
		return err
	}
	return o.open(r, doc)
}

// inResource is an error about a table, unless it is about the rest of the file.
func inResource(name string, table map[string]any, fields []string, err error) error {
	e, ok := errors.AsType[*token.Error](err)
	if !ok {
		return err
	}
	if _, isOwn := table[e.Field]; e.Field != "" && !isOwn && !slices.Contains(fields, e.Field) {
		return err
	}
	return invalid(strings.TrimSuffix("resources."+name+"."+e.Field, "."), fmt.Sprintf("resources.%s: %s", name, e.Message))
}

// sinksOf returns the sinks of a resource, or of the profile's own token.
func (c Common) sinksOf(resource string) []Sink {
	return slices.DeleteFunc(slices.Clone(c.Sinks), func(s Sink) bool { return s.Resource != resource })
}

// All returns p and its resources.
func (p *Profile) All() []*Profile { return append([]*Profile{p}, p.Resources...) }

// NoResource says which resources there are in place of the one of that name.
func (p *Profile) NoResource(name string) string {
	if len(p.Tables) == 0 {
		return fmt.Sprintf("profile %q has no resources", p.Name)
	}
	return fmt.Sprintf("profile %q has no resource %q; %s", p.Name, name, suggest(name, "it has", slices.Sorted(maps.Keys(p.Tables))))
}
