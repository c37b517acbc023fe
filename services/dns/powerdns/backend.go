package powerdns

import (
	"context"
	"strings"
	"sync"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
)

// backend administers one server. What exists is asked of the server each time.
type backend struct {
	config     Config
	server     endpoint.Server // where it answers DNS
	api        *api
	names      namer
	nameserver []string // of the zones, with final dots

	// seen spares Reconcile reading zones that have not changed; losing it costs
	// time only.
	mu   sync.Mutex
	seen map[string]look
	// failed is the count of failed updates at the last look, and stuck is why
	// the server takes none.
	failed int64
	stuck  error
}

func open(_ context.Context, c Config) (*backend, error) {
	api, err := newAPI(c)
	if err != nil {
		return nil, err
	}
	b := &backend{config: c, server: endpoint.Server{Host: c.Host, Port: c.Port}, api: api, names: namer{c.Prefix}, seen: map[string]look{}}
	for _, n := range c.Nameservers {
		name, _ := hostName(n) // Validate has seen it
		b.nameserver = append(b.nameserver, name)
	}
	return b, nil
}

// SerialBinds implements services.SerialBinder: a zone's list of keys can only
// be read and written as a whole.
func (b *backend) SerialBinds() bool { return true }

// Close implements services.Closer.
func (b *backend) Close() error {
	b.api.http.CloseIdleConnections()
	return nil
}

// hostmaster is the mail address in a zone's SOA record, as a name (RFC 1035,
// section 3.3.13).
func (b *backend) hostmaster(zone string) string {
	if b.config.Hostmaster == "" {
		return "hostmaster." + zone
	}
	return strings.Replace(b.config.Hostmaster, "@", ".", 1) + "."
}

var (
	_ services.SerialBinder = (*backend)(nil)
	_ services.Closer       = (*backend)(nil)
)
