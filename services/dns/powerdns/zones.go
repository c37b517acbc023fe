package powerdns

import (
	"context"
	"errors"
	"strings"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services"
)

// zone is what a list tells of a zone.
type zone struct {
	name, account string
	serial        uint32
}

func (b *backend) zones(ctx context.Context, name string) ([]zone, error) {
	list, err := b.api.zones(ctx, name)
	if err != nil {
		return nil, explain("list zones", err)
	}
	zones := make([]zone, 0, len(list))
	for _, z := range list {
		zones = append(zones, zone{
			name:    strings.ToLower(pdns.StringValue(z.Name)),
			account: pdns.StringValue(z.Account),
			serial:  pdns.Uint32Value(z.Serial),
		})
	}
	return zones, nil
}

// errNoZone says that an instance has no finished zone.
var errNoZone = errors.New("the instance's zone does not exist or is incomplete; provision the instance again, or deprovision it if somebody deleted the zone")

// find returns an instance's finished zone; errNoZone if there is none. It looks under the
// names that the zone ought to have, and then among all: an operator may have changed the
// plan's parents since, or only the instance's name is known.
func (b *backend) find(ctx context.Context, instance string, guesses ...string) (zone, error) {
	for i, guess := range append(guesses, "") {
		if guess == "" && i < len(guesses) {
			continue
		}
		zones, err := b.zones(ctx, guess)
		if err != nil {
			return zone{}, err
		}
		for _, z := range zones {
			if z.account == b.names.account(instance) {
				return z, nil
			}
		}
	}
	return zone{}, errNoZone
}

// conflict says why a zone cannot exist beside others: an error built by Rejected if the
// user has to choose another name, NotYet if another zone that is being made has
// precedence. rivals says that others are being made over which this one has precedence:
// they yield once they see it.
func (b *backend) conflict(ctx context.Context, zones []zone, instance, name, parent string) (rivals bool, err error) {
	var enclosing string
	for _, z := range zones {
		owner, finished, ours := b.names.instanceOf(z.account)
		switch {
		case ours && owner == instance:
		case !ours && below(name, z.name) && atOrBelow(parent, z.name): // the operator's zone of the parent
			if len(z.name) > len(enclosing) {
				enclosing = z.name
			}
		case !atOrBelow(name, z.name) && !below(z.name, name):
		case ours && !finished && owner > instance:
			rivals = true
		case ours && !finished:
			return false, services.NotYet(retry, "another zone of this name or around it is being made")
		case z.name == name:
			return false, services.Rejected("parameters.zone: %s already exists; choose another name", strings.TrimSuffix(name, "."))
		default:
			return false, services.Rejected("parameters.zone: %s lies above or below an existing zone; choose another name", strings.TrimSuffix(name, "."))
		}
	}
	return rivals, b.shadows(ctx, enclosing, name)
}

// shadows refuses a zone that would hide records of the zone around it. NS and DS records
// of its own name delegate to it, and are allowed.
func (b *backend) shadows(ctx context.Context, enclosing, name string) error {
	if enclosing == "" {
		return nil
	}
	around, err := b.api.Zones.Get(ctx, enclosing)
	if err != nil {
		return explain("read the zone around", err)
	}
	for _, set := range around.RRsets {
		owner, kind := strings.ToLower(pdns.StringValue(set.Name)), kindOf(set)
		if below(owner, name) || (owner == name && kind != "NS" && kind != "DS") {
			return services.Rejected("parameters.zone: %s already has records in the zone %s; choose another name",
				strings.TrimSuffix(name, "."), strings.TrimSuffix(enclosing, "."))
		}
	}
	return nil
}

func kindOf(set pdns.RRset) string {
	if set.Type == nil {
		return ""
	}
	return string(*set.Type)
}
