package powerdns

import (
	"context"
	"strings"

	pdns "github.com/joeig/go-powerdns/v3"
)

// Deprovision implements services.Backend. Everything is found by the names
// that it was given, so that a zone made for another plan goes as well.
func (b *backend) Deprovision(ctx context.Context, inst instance) error {
	zones, err := b.zones(ctx, "")
	if err != nil {
		return err
	}
	for _, z := range zones {
		if owner, _, ours := b.names.instanceOf(z.account); ours && owner == inst.Name {
			if err := b.deleteZone(ctx, z.name); err != nil {
				return err
			}
		}
	}
	keys, err := b.keys(ctx)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if strings.HasSuffix(key, b.names.keys(inst.Name)) {
			if err := b.deleteKey(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// keys returns the names of all TSIG keys on the server.
func (b *backend) keys(ctx context.Context) ([]string, error) {
	list, err := b.api.TSIGKeys.List(ctx)
	if err != nil {
		return nil, explain("list TSIG keys", err)
	}
	names := make([]string, 0, len(list))
	for _, key := range list {
		names = append(names, canonicalKey(pdns.StringValue(key.Name)))
	}
	return names, nil
}

func (b *backend) deleteKey(ctx context.Context, name string) error {
	return explain("delete the TSIG key", unlessAbsent(b.api.TSIGKeys.Delete(ctx, name)))
}
