package powerdns

import (
	"context"
	"net/http"
	"slices"

	pdns "github.com/joeig/go-powerdns/v3"
)

// keyLists are the keys that may update a zone and those that may transfer it.
type keyLists struct{ update, transfer []string }

func (b *backend) lists(ctx context.Context, zone string) (keyLists, error) {
	all, err := b.api.Metadata.List(ctx, zone)
	if err != nil {
		return keyLists{}, explain("read the zone's keys", err)
	}
	var lists keyLists
	for _, m := range all {
		if m.Kind == nil {
			continue
		}
		switch *m.Kind {
		case pdns.MetadataTSIGAllowDNSUpdate:
			lists.update = canonicalKeys(m.Metadata)
		case pdns.MetadataTSIGAllowAXFR:
			lists.transfer = canonicalKeys(m.Metadata)
		}
	}
	return lists, nil
}

func canonicalKeys(names []string) []string {
	keys := make([]string, 0, len(names))
	for _, name := range names {
		keys = append(keys, canonicalKey(name))
	}
	return keys
}

func without(keys []string, gone string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return key == gone })
}

// setLists writes the lists that change.
func (b *backend) setLists(ctx context.Context, zone string, was, is keyLists) error {
	if !sameKeys(was.update, is.update) {
		if err := b.setUpdaters(ctx, zone, is.update); err != nil {
			return err
		}
	}
	if sameKeys(was.transfer, is.transfer) {
		return nil
	}
	err := b.api.setTransfer(ctx, zone, is.transfer)
	if answered(err) == http.StatusUnprocessableEntity { // the server refuses lists with keys that somebody deleted by hand
		existing, listErr := b.keys(ctx)
		if listErr != nil {
			return listErr
		}
		err = b.api.setTransfer(ctx, zone, slices.DeleteFunc(is.transfer, func(key string) bool { return !slices.Contains(existing, key) }))
	}
	return explain("tell the zone who may transfer it", err)
}

// setUpdaters sets the keys that may update the zone; there must be one, since
// a zone without any takes updates from everybody.
func (b *backend) setUpdaters(ctx context.Context, zone string, keys []string) error {
	_, err := b.api.Metadata.Set(ctx, zone, pdns.MetadataTSIGAllowDNSUpdate, keys)
	return explain("tell the zone who may update it", err)
}

func sameKeys(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
