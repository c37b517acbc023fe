package powerdns

import (
	"context"
	"net/http"
	"slices"
	"strings"

	pdns "github.com/joeig/go-powerdns/v3"
)

// makeKey makes a TSIG key, or makes sure that the one of that name is it. One
// that differs is deleted first: not every version of the server replaces it.
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

// keys returns the names of all TSIG keys that exist. PowerDNS 4.7 keeps
// listing those that were deleted where it stores them in LMDB.
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
