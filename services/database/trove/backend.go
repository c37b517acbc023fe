package trove

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/openstack"
)

// backend makes servers in one cloud.
type backend struct {
	cloud  *openstack.Cloud
	config Config
	ca     string // of the servers
	// asked is when the broker asked for something, and seen what it looked at: only to avoid
	// repetitions, because another process repeats.
	asked *lru.Cache[string, time.Time]
	seen  *lru.Cache[string, time.Time]
	// taken are the passwords of users that are being removed.
	taken *lru.Cache[string, takeover]
	// last is a project in which Trove has answered.
	last atomic.Pointer[openstack.Project]
}

// remembered is how many servers the caches of a backend remember.
const remembered = 4096

func open(_ context.Context, c Config) (*backend, error) {
	ca, err := c.authority()
	if err != nil {
		return nil, err
	}
	cloud, err := openstack.Open(c.Config, openstack.Service{Name: "Trove", Types: []string{"database"}, Kind: "db"})
	if err != nil {
		return nil, err
	}
	asked, err := lru.New[string, time.Time](remembered)
	if err != nil {
		return nil, err
	}
	seen, err := lru.New[string, time.Time](remembered)
	if err != nil {
		return nil, err
	}
	taken, err := lru.New[string, takeover](remembered)
	return &backend{cloud: cloud, config: c, ca: ca, asked: asked, seen: seen, taken: taken}, err
}

// Close implements services.Closer.
func (b *backend) Close() error { return b.cloud.Close() }

// Ready implements services.Readier. Trove answers only to members of a project, so that it is
// asked once there is one.
func (b *backend) Ready(ctx context.Context) error {
	if err := b.cloud.Ready(ctx); err != nil {
		return err
	}
	p := b.last.Load()
	if p == nil {
		return nil
	}
	client, err := b.cloud.Client(ctx, *p)
	if err == nil {
		err = api{client}.call(ctx, http.MethodGet, nil, nil, "limits")
	}
	status := openstack.Status(err)
	// A project that was deleted is refused like a foreign one, or no longer found.
	if status >= http.StatusBadRequest && status < http.StatusInternalServerError || errors.Is(err, openstack.ErrNoProject) {
		b.last.CompareAndSwap(p, nil)
		return nil
	}
	return openstack.Explain("ask Trove for its limits", err)
}

// memory is how long the broker remembers what it asked for.
const memory = time.Hour

// since returns how long ago this process asked for something, if not longer ago than most.
func (b *backend) since(key string, most time.Duration) (time.Duration, bool) {
	at, known := b.asked.Get(key)
	ago := time.Since(at)
	return ago, known && ago <= most
}

// place is an instance's project with its servers: one, unless it was interrupted or is gone.
type place struct {
	api
	project openstack.Project // the instance's own
	home    openstack.Project // that of the servers: the same, unless a backup was restored
	servers []server          // those of the instance's name, the oldest first
	others  []server          // those that somebody made by hand
	// restored is how many servers other instances have at home.
	restored int
}

// database is the name of the instance's database. A restored one has that of the backup.
func (at place) database() string { return databaseName(at.home.Instance) }

// errAbsent says that an instance has no server.
var errAbsent = errors.New("the instance has no database server")

// visit looks at what an instance has in its project or at its home. The error is
// openstack.ErrNoProject if the home was deleted.
func (b *backend) visit(ctx context.Context, p openstack.Project) (place, error) {
	home, err := b.cloud.FindHome(ctx, p)
	if err != nil {
		return place{}, err
	}
	client, err := b.cloud.Client(ctx, home)
	if err != nil {
		return place{}, err
	}
	at := place{api: api{client}, project: p, home: home}
	all, err := at.api.servers(ctx)
	if err != nil {
		return place{}, explain("list the database servers", err)
	}
	b.last.Store(&home)
	for _, s := range slices.Backward(all) { // Trove lists the newest first
		_, ours := b.cloud.InstanceOf(s.Name)
		switch {
		case s.Name == p.Name:
			at.servers = append(at.servers, s)
		case ours:
			at.restored++
		case p.AtHome():
			at.others = append(at.others, s)
		}
	}
	return at, nil
}

// find returns an instance's server, which works, or errAbsent.
func (b *backend) find(ctx context.Context, instance string) (place, server, error) {
	p, err := b.cloud.FindProject(ctx, instance)
	if errors.Is(err, openstack.ErrNoProject) {
		return place{}, server{}, errAbsent
	}
	if err != nil {
		return place{}, server{}, err
	}
	at, err := b.visit(ctx, p)
	if errors.Is(err, openstack.ErrNoProject) {
		return place{}, server{}, errAbsent
	}
	if err != nil {
		return place{}, server{}, err
	}
	switch len(at.servers) {
	case 0:
		return at, server{}, errAbsent
	case 1:
		return at, at.servers[0], at.servers[0].usable()
	}
	return at, server{}, fmt.Errorf("the project %s has %d database servers of the name %[1]s: rename or delete all but the right one", p.Name, len(at.servers))
}

// gone is find for verbs that the instance's user should hear from.
func gone(err error) error {
	if errors.Is(err, errAbsent) {
		return services.Rejected("the database server of this instance no longer exists: somebody deleted it in the cloud; delete the instance and create a new one")
	}
	return err
}

// reachable returns where applications find a server.
func (b *backend) reachable(s server) (mysqldb.Server, error) {
	at := mysqldb.Server{Server: endpoint.Server{Host: s.Hostname, Port: b.config.Port, CA: b.ca}, TLS: b.config.TLS}
	if at.Host != "" {
		return at, nil
	}
	var others []string
	for _, a := range s.Addresses {
		if a.matches(b.config.Address) {
			at.Host = a.Address
			return at, nil
		}
		others = append(others, fmt.Sprintf("%s (%s, network %s)", a.Address, a.Type, a.Network))
	}
	return at, fmt.Errorf("address: the database server %s has no address for %q: it has %s", s.ID, b.config.Address, strings.Join(append(others, "no other"), ", "))
}

// matches says whether the configuration's address chooses this one.
func (a address) matches(rule string) bool {
	if within, err := netip.ParsePrefix(rule); err == nil {
		ip, err := netip.ParseAddr(a.Address)
		return err == nil && within.Contains(ip)
	}
	return rule == a.Type || rule == a.Network
}
