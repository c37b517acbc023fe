package powerdns

import (
	"context"
	"net/http"
	"slices"
	"strings"

	pdns "github.com/joeig/go-powerdns/v3"
)

// makeKey makes a TSIG key, or keeps the existing one if it is the same. It deletes one
// that differs first: not every version of the server replaces it.
func (b *backend) makeKey(ctx context.Context, name, secret string) error {
	_, err := b.api.TSIGKeys.Create(ctx, name, b.config.TSIGAlgorithm, secret)
	if answered(err) != http.StatusConflict {
		return explain("make the TSIG key", err)
	}
	key, err := b.api.TSIGKeys.Get(ctx, name)
	if err != nil {
		return explain("read the TSIG key", err)
	}
	if pdns.StringValue(key.Key) == secret && canonicalKey(pdns.StringValue(key.Algorithm)) == b.config.TSIGAlgorithm+"." {
		return nil
	}
	if err := b.deleteKey(ctx, name); err != nil {
		return err
	}
	_, err = b.api.TSIGKeys.Create(ctx, name, b.config.TSIGAlgorithm, secret)
	return explain("make the TSIG key again", err)
}

// listedKeys returns the names of all TSIG keys that the server lists.
func (b *backend) listedKeys(ctx context.Context) ([]string, error) {
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

// keys returns the names of all existing TSIG keys. PowerDNS 4.7 with LMDB also lists
// deleted ones.
func (b *backend) keys(ctx context.Context) ([]string, error) {
	listed, err := b.listedKeys(ctx)
	if err != nil {
		return nil, err
	}
	settings, err := b.settings(ctx)
	if err != nil || !strings.Contains(settings["launch"], "lmdb") {
		return listed, err
	}
	var existing []string
	for _, name := range listed {
		_, err := b.api.TSIGKeys.Get(ctx, name)
		if unlessAbsent(err) != nil {
			return nil, explain("look whether the TSIG key exists", err)
		}
		if err == nil && !slices.Contains(existing, name) {
			existing = append(existing, name)
		}
	}
	return existing, nil
}

func (b *backend) deleteKey(ctx context.Context, name string) error {
	return explain("delete the TSIG key", unlessAbsent(b.api.TSIGKeys.Delete(ctx, name)))
}

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
	if answered(err) == http.StatusUnprocessableEntity { // the server refuses lists with deleted keys
		existing, listErr := b.keys(ctx)
		if listErr != nil {
			return listErr
		}
		err = b.api.setTransfer(ctx, zone, slices.DeleteFunc(is.transfer, func(key string) bool { return !slices.Contains(existing, key) }))
	}
	return explain("tell the zone who may transfer it", err)
}

// setUpdaters sets the keys that may update the zone; there must be one, because a zone
// without any takes updates from everybody.
func (b *backend) setUpdaters(ctx context.Context, zone string, keys []string) error {
	_, err := b.api.Metadata.Set(ctx, zone, pdns.MetadataTSIGAllowDNSUpdate, keys)
	return explain("tell the zone who may update it", err)
}

func sameKeys(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
