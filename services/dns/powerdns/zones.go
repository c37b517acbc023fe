package powerdns

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/dns/zone"
)

// listed is a zone in a list.
type listed struct {
	Name    string `json:"name"`
	Account string `json:"account"`
	Serial  uint32 `json:"serial"`
}

// zones lists all zones, or the one of a name.
func (b *backend) zones(ctx context.Context, name string) ([]listed, error) {
	query := url.Values{"dnssec": {"false"}}
	if name != "" {
		query.Set("zone", name)
	}
	var zones []listed
	err := b.api.call(ctx, http.MethodGet, "/zones?"+query.Encode(), nil, &zones)
	for i := range zones {
		zones[i].Name = strings.ToLower(zones[i].Name)
	}
	return zones, explain("list zones", err)
}

// errNoZone says that an instance has no finished zone.
var errNoZone = errors.New("the instance's zone does not exist or is incomplete; provision the instance again, or deprovision it if somebody deleted the zone")

// find returns an instance's finished zone, or errNoZone. It looks under the names that the
// zone should have, and then among all: an operator may have changed the plan's parents
// since, or only the instance's name is known.
func (b *backend) find(ctx context.Context, instance string, guesses ...string) (listed, error) {
	for i, guess := range append(guesses, "") {
		if guess == "" && i < len(guesses) {
			continue
		}
		zones, err := b.zones(ctx, guess)
		if err != nil {
			return listed{}, err
		}
		for _, z := range zones {
			if z.Account == b.names.account(instance) {
				return z, nil
			}
		}
	}
	return listed{}, errNoZone
}

// conflict says why a zone cannot exist beside others: the user has to choose another name,
// or another zone that is being made has precedence. rivals says that others are being
// made over which this one has precedence: they yield once they see it.
func (b *backend) conflict(ctx context.Context, zones []listed, instance, name, parent string) (rivals bool, err error) {
	var enclosing string
	for _, z := range zones {
		owner, finished, ours := b.names.instanceOf(z.Account)
		switch {
		case ours && owner == instance:
		case !ours && zone.Below(name, z.Name) && zone.AtOrBelow(parent, z.Name): // the operator's zone of the parent
			if len(z.Name) > len(enclosing) {
				enclosing = z.Name
			}
		case !zone.AtOrBelow(name, z.Name) && !zone.Below(z.Name, name):
		case ours && !finished && owner > instance:
			rivals = true
		case ours && !finished:
			return false, services.NotYet(retry, "another zone of this name or around it is being made")
		case z.Name == name:
			return false, services.Rejected("parameters.zone: %s already exists; choose another name", strings.TrimSuffix(name, "."))
		default:
			return false, services.Rejected("parameters.zone: %s lies above or below an existing zone; choose another name", strings.TrimSuffix(name, "."))
		}
	}
	return rivals, b.checkShadowing(ctx, enclosing, name)
}

// checkShadowing refuses a zone that would hide records of the zone around it. NS and DS
// records of its own name delegate to it, and are allowed.
func (b *backend) checkShadowing(ctx context.Context, enclosing, name string) error {
	if enclosing == "" {
		return nil
	}
	sets, err := b.read(ctx, enclosing)
	if err != nil {
		return err
	}
	for key := range sets {
		if zone.Below(key.Name, name) || (key.Name == name && key.Type != "NS" && key.Type != "DS") {
			return services.Rejected("parameters.zone: %s already has records in the zone %s; choose another name",
				strings.TrimSuffix(name, "."), strings.TrimSuffix(enclosing, "."))
		}
	}
	return nil
}

// read returns a zone's records.
func (b *backend) read(ctx context.Context, name string) (zone.Sets, error) {
	content, err := b.api.Zones.Get(ctx, name)
	if err != nil {
		return nil, explain("read the zone", err)
	}
	sets := zone.Sets{}
	for _, s := range content.RRsets {
		if s.Type == nil {
			continue
		}
		key := zone.Key{Name: strings.ToLower(pdns.StringValue(s.Name)), Type: string(*s.Type)}
		set := zone.Set{TTL: pdns.Uint32Value(s.TTL), Values: sets[key].Values}
		for _, r := range s.Records {
			set.Values = append(set.Values, pdns.StringValue(r.Content))
		}
		sets[key] = set
	}
	return sets, nil
}

// List implements services.Lister. An enforcement key that a crash left stands for its instance.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	zones, err := b.zones(ctx, "")
	if err != nil {
		return nil, err
	}
	keys, err := b.keys(ctx)
	if err != nil {
		return nil, err
	}
	var found []services.Resource
	listed := map[services.Resource]bool{}
	add := func(instance, binding, resource string) {
		if who := (services.Resource{Instance: instance, Binding: binding}); !listed[who] {
			listed[who] = true
			found = append(found, services.Resource{Instance: instance, Binding: binding, Name: resource})
		}
	}
	for _, z := range zones {
		if instance, _, ours := b.names.instanceOf(z.Account); ours {
			add(instance, "", strings.TrimSuffix(z.Name, "."))
		}
	}
	for _, key := range keys {
		if instance, binding, ours := b.names.bindingOf(key); ours {
			add(instance, binding, strings.TrimSuffix(key, "."))
		}
	}
	return found, nil
}

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string {
	return strings.TrimSuffix(zoneName(inst), ".")
}

// digestSHA256 is the digest of DS records that every validator knows (RFC 8624, section 3.3).
const digestSHA256 = "2"

// Describe implements services.Describer: what the zone's delegation needs.
func (b *backend) Describe(ctx context.Context, inst instance) (map[string]any, error) {
	z, err := b.find(ctx, inst.Name, zoneName(inst))
	if err != nil {
		return nil, err
	}
	keys, err := b.api.Cryptokeys.List(ctx, z.Name)
	if err != nil {
		return nil, explain("read the zone's DNSSEC keys", err)
	}
	var nameservers []any
	for _, n := range b.nameserver {
		nameservers = append(nameservers, n)
	}
	attributes := map[string]any{"zone": strings.TrimSuffix(z.Name, "."), "nameservers": nameservers}
	if ds := delegationSigners(z.Name, keys); len(ds) > 0 {
		attributes["ds"] = ds
	}
	return attributes, nil
}

// delegationSigners are the zone's DS records as lines of a zone file.
func delegationSigners(zone string, keys []pdns.Cryptokey) []any {
	var ds []any
	for _, key := range keys {
		for _, text := range key.DS {
			if fields := strings.Fields(text); len(fields) == 4 && fields[2] == digestSHA256 && pdns.BoolValue(key.Active) {
				ds = append(ds, zone+" IN DS "+text)
			}
		}
	}
	return ds
}
