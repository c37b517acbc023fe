package powerdns

import (
	"context"
	"strings"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services"
)

// List implements services.Lister. An instance is there while its zone is, or a
// keeper's key that a crash left.
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
		if instance, _, ours := b.names.instanceOf(z.account); ours {
			add(instance, "", strings.TrimSuffix(z.name, "."))
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

// digestSHA256 is the type of DS record that every validator knows (RFC 8624,
// section 3.3).
const digestSHA256 = "2"

// Describe implements services.Describer: the zone's name and name servers, for
// its delegation, and the DS records where it is signed.
func (b *backend) Describe(ctx context.Context, inst instance) (map[string]any, error) {
	z, err := b.find(ctx, inst.Name, zoneName(inst))
	if err != nil {
		return nil, err
	}
	keys, err := b.api.Cryptokeys.List(ctx, z.name)
	if err != nil {
		return nil, explain("read the zone's DNSSEC keys", err)
	}
	nameservers := make([]any, 0, len(b.nameserver))
	for _, n := range b.nameserver {
		nameservers = append(nameservers, n)
	}
	attributes := map[string]any{"zone": strings.TrimSuffix(z.name, "."), "nameservers": nameservers}
	if ds := delegationSigners(z.name, keys); len(ds) > 0 {
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
