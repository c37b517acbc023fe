package powerdns

import (
	"context"
	"fmt"
	"slices"
	"strings"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services/check"
)

// Ready implements services.Readier: the server's API answers, the server is set
// up so that bindings work and tenants stay among themselves, and it takes
// updates as far as Reconcile knows.
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
