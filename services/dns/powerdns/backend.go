// Package powerdns makes a DNS zone per instance and a TSIG key per binding, on
// a PowerDNS authoritative server that it administers through its HTTP API.
// README.md in this folder is the operator's page.
package powerdns

import (
	"context"
	"embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/dns/zone"
	"github.com/chandler-broker/chandler/services/endpoint"
)

// backend administers one server. It asks the server each time what exists.
type backend struct {
	config     Config
	server     endpoint.Server // where it answers DNS
	api        *api
	names      namer
	nameserver []string // of the zones, with final dots

	mu sync.Mutex
	// seen saves Reconcile from reading zones that have not changed, by account.
	seen map[string]observation
	// failed is the last count of failed updates, and stuck is why the server accepts none.
	failed int64
	stuck  error
}

func open(_ context.Context, c Config) (*backend, error) {
	api, err := newAPI(c)
	if err != nil {
		return nil, err
	}
	b := &backend{config: c, server: endpoint.Server{Host: c.Host, Port: c.Port}, api: api, names: namer{c.Prefix}, seen: map[string]observation{}}
	for _, n := range c.Nameservers {
		name, _ := zone.HostName(n) // Validate has seen it
		b.nameserver = append(b.nameserver, name)
	}
	return b, nil
}

// SerialBinds implements services.SerialBinder: the API writes a zone's list of keys as a whole.
func (b *backend) SerialBinds() bool { return true }

// Close implements services.Closer.
func (b *backend) Close() error {
	b.api.http.CloseIdleConnections()
	return nil
}

// hostmaster is the mail address in a zone's SOA record (RFC 1035, section 3.3.13).
func (b *backend) hostmaster(zone string) string {
	if b.config.Hostmaster == "" {
		return "hostmaster." + zone
	}
	return strings.Replace(b.config.Hostmaster, "@", ".", 1) + "."
}

// Ready implements services.Readier: the server is set up so that bindings work and tenants
// cannot reach each other, and it accepts updates as far as Reconcile knows.
func (b *backend) Ready(ctx context.Context) error {
	settings, err := b.settings(ctx)
	if err != nil {
		return err
	}
	transfer := strings.FieldsFunc(settings["allow-axfr-ips"], func(r rune) bool { return strings.ContainsRune(" ,;\t", r) })
	var f check.Faults
	f.If(settings["dnsupdate"] != "yes", "set dnsupdate=yes, without which bindings cannot change anything")
	f.If(strings.TrimSpace(settings["allow-dnsupdate-from"]) != "", "set allow-dnsupdate-from to nothing, because no zone can be closed to the addresses that it names")
	f.If(settings["lua-dnsupdate-policy-script"] != "", "leave lua-dnsupdate-policy-script out, because with it the server asks for no key")
	f.If(settings["disable-axfr"] == "yes", "set disable-axfr=no, without which read_only bindings cannot read")
	f.If(slices.Contains(transfer, "0.0.0.0/0") || slices.Contains(transfer, "::/0"), "let allow-axfr-ips name only your secondaries, because everybody can read all zones")
	f.If(settings["enable-lua-records"] == "yes" || settings["enable-lua-records"] == "shared", "set enable-lua-records=no, because tenants could run code in the server")
	if err := f.Err(); err != nil {
		return fmt.Errorf("the DNS server is not set up: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stuck
}

// settings returns the server's settings by name.
func (b *backend) settings(ctx context.Context) (map[string]string, error) {
	list, err := b.api.Config.List(ctx)
	if err != nil {
		return nil, explain("ask the server for its settings", err)
	}
	settings := make(map[string]string, len(list))
	for _, s := range list {
		settings[pdns.StringValue(s.Name)] = pdns.StringValue(s.Value)
	}
	return settings, nil
}

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials.
const credentialType = "dns"

// Definition describes the backend "dns/powerdns".
func Definition() services.Definition {
	return services.Define("dns/powerdns",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		open)
}
