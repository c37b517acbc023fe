package trove

import (
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/naming"
)

// Each instance has a server of its own, so that names need to be unique only there.

// databaseName is the name of an instance's database. It has no underscore, which stands for any
// character in a grant.
func databaseName(instance string) string { return "c" + instance }

// maxUserName is Trove's limit, which is that of old versions of MySQL.
const maxUserName = 16

// userName is the name of a binding's user: 80 bits of the Binding.Name. A second binding of the
// same instance with the same 80 bits is refused by its marker.
func userName(binding string) string { return binding[:maxUserName] }

// A user's marker is a grant on a database that does not exist. It says whose the user is, and on
// which server it was made: a restored backup brings users of another server.

var markerRule = naming.NewRule(naming.Safe + `-([0-9a-f]{32})`)

// marker is the name of the database that marks a binding's user on a server.
func marker(binding, server string) string { return binding + "-" + compact(server) }

// compact is a UUID without hyphens.
func compact(id string) string { return strings.ReplaceAll(id, "-", "") }

// owner is what a user's grants say.
type owner struct {
	// binding is the Binding.Name; empty: the user is not a binding's, or no longer.
	binding string
	// marker is the grant that says so.
	marker string
	// here says that the user was made on this server.
	here bool
	// databases are the other grants.
	databases []string
}

// ownerOf reads a user's grants on a server.
func ownerOf(grants []string, server string) owner {
	var o owner
	for _, g := range grants {
		binding, made, ok := markerRule.Binding(g)
		switch {
		case !ok:
			o.databases = append(o.databases, g)
		case !o.here: // a marker of this server counts, if there are two after a crash
			o.binding, o.marker, o.here = binding, g, made == compact(server)
		}
	}
	return o
}

// is says whether the user is a binding's, and was made on this server.
func (o owner) is(a account) bool { return o.here && o.binding == a.binding }

// may says whether the user may use a database.
func (o owner) may(database string) bool { return slices.Contains(o.databases, database) }

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return b.cloud.ProjectName(inst.Name) }

// resource is an instance's, or a binding's of it.
func (b *backend) resource(instance, binding, user string) services.Resource {
	name := b.cloud.ProjectName(instance)
	if binding != "" {
		name += "/" + user
	}
	return services.Resource{Instance: instance, Binding: binding, Name: name}
}
