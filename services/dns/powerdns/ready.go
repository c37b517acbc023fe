package powerdns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	pdns "github.com/joeig/go-powerdns/v3"
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
	var faults []error
	for _, check := range []struct {
		bad  bool
		what string
	}{
		{settings["dnsupdate"] != "yes", "set dnsupdate=yes, without which bindings can change nothing"},
		{strings.TrimSpace(settings["allow-dnsupdate-from"]) != "", "set allow-dnsupdate-from to nothing, since a zone could not be closed to those that it names"},
		{settings["lua-dnsupdate-policy-script"] != "", "leave lua-dnsupdate-policy-script out, since the server then asks for no key"},
		{settings["disable-axfr"] == "yes", "set disable-axfr=no, without which read_only bindings get nothing"},
		{slices.Contains(transfer, "0.0.0.0/0") || slices.Contains(transfer, "::/0"), "let allow-axfr-ips name your secondaries only, since everybody can read all zones"},
		{settings["enable-lua-records"] == "yes" || settings["enable-lua-records"] == "shared", "set enable-lua-records=no, since tenants could run code in the server"},
	} {
		if check.bad {
			faults = append(faults, errors.New(check.what))
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("the DNS server is not set up: %w", errors.Join(faults...))
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
