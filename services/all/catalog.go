package all

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

//go:embed catalog.yml
var frame string

// offering is the text of one service in a catalog.
type offering struct {
	id, head string
	plans    []string
}

// serviceStart is the first line of a service, with the comment above it.
var serviceStart = regexp.MustCompile(`(?m)^(?:  #.*\n)*  - id: (\S+)\n`)

// Catalog returns a catalog.yml with the backends of these types, all where none is
// named, their plans and the services of these plans.
func Catalog(types ...string) ([]byte, error) {
	var backends, known []string
	var offerings []*offering
	for _, d := range Definitions() {
		known = append(known, d.Name)
		if len(types) > 0 && !slices.Contains(types, d.Name) {
			continue
		}
		_, text, _ := strings.Cut(string(d.Catalog), "backends:\n")
		backend, services, _ := strings.Cut(text, "\nservices:\n")
		backends = append(backends, backend)
		offerings = join(offerings, services)
	}
	for _, name := range types {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("unknown type of backend %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	var services []string
	for _, o := range offerings {
		services = append(services, o.head+"    plans:\n"+strings.Join(o.plans, "\n"))
	}
	text := strings.Replace(frame, "\nbackends:\n", "\nbackends:\n"+strings.Join(backends, "\n"), 1)
	return []byte(text + strings.Join(services, "\n")), nil
}

// join adds the services of one backend's catalog. The plans of a service that is
// there already become further plans of it.
func join(offerings []*offering, text string) []*offering {
	starts := serviceStart.FindAllStringSubmatchIndex(text, -1)
	for i, start := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		head, plans, _ := strings.Cut(text[start[0]:end], "    plans:\n")
		plans = strings.TrimRight(plans, "\n") + "\n"
		id := text[start[2]:start[3]]
		at := slices.IndexFunc(offerings, func(o *offering) bool { return o.id == id })
		if at < 0 {
			at, offerings = len(offerings), append(offerings, &offering{id: id, head: head})
		}
		offerings[at].plans = append(offerings[at].plans, plans)
	}
	return offerings
}
