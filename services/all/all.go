// Package all is the one list of backends.
package all

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/mysql"
	"github.com/chandler-broker/chandler/services/database/postgres"
	"github.com/chandler-broker/chandler/services/database/trove"
	"github.com/chandler-broker/chandler/services/dns/designate"
	"github.com/chandler-broker/chandler/services/dns/powerdns"
	"github.com/chandler-broker/chandler/services/filesystem/manila"
	"github.com/chandler-broker/chandler/services/filesystem/rgw"
	"github.com/chandler-broker/chandler/services/filesystem/s3"
	"github.com/chandler-broker/chandler/services/filesystem/smb"
	"github.com/chandler-broker/chandler/services/function/openwhisk"
	"github.com/chandler-broker/chandler/services/queue/nats"
	"github.com/chandler-broker/chandler/services/queue/rabbitmq"
)

// Definitions returns every backend that a catalog can name, in the order of the
// shipped ones.
func Definitions() []services.Definition {
	return []services.Definition{
		postgres.Definition(),
		mysql.Definition(),
		trove.Definition(),
		nats.Definition(),
		rabbitmq.Definition(),
		powerdns.Definition(),
		designate.Definition(),
		s3.Definition(),
		smb.Definition(),
		manila.Definition(),
		rgw.Definition(),
		openwhisk.Definition(),
	}
}

// Cloud returns the types of the backends on OpenStack and Ceph. Few operators have these, so the
// shipped catalog leaves them out; deploy/openstack/catalog.yml has them.
func Cloud() []string {
	return []string{
		"database/trove",
		"dns/designate",
		"filesystem/manila",
		"filesystem/rgw",
	}
}

//go:embed catalog.yml
var frame string

// offering is the text of one service in a catalog.
type offering struct {
	id, head string
	plans    []string
}

// serviceStart is the first line of a service, with the comment above it.
var serviceStart = regexp.MustCompile(`(?m)^(?:  #.*\n)*  - id: (\S+)\n`)

// Catalog returns a catalog.yml with the backends of these types, or of all but Cloud's if none is
// named, and with their plans and services.
func Catalog(types ...string) ([]byte, error) {
	var backends, known []string
	var offerings []*offering
	for _, d := range Definitions() {
		known = append(known, d.Name)
		if wanted := slices.Contains(types, d.Name) || len(types) == 0 && !slices.Contains(Cloud(), d.Name); !wanted {
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

// join adds the services of one backend's catalog. If a service is already there, it gets
// the plans of both.
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
