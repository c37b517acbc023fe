package powerdns

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// Backup implements services.Streamer. The zone's records are one answer of the server.
func (b *backend) Backup(ctx context.Context, r services.BackupRequest[Plan, InstanceParams]) (services.Contents, error) {
	z, err := b.find(ctx, r.Instance.Name, zoneName(r.Instance))
	if err != nil {
		return services.Contents{}, err
	}
	c, err := b.copyZone(ctx, z.Name)
	if err != nil {
		return services.Contents{}, err
	}
	c.drop()
	contents, err := c.contents()
	if err != nil {
		return services.Contents{}, err
	}
	if err := json.NewEncoder(r.Writer).Encode(c); err != nil {
		return services.Contents{}, fmt.Errorf("write the copy: %w", err)
	}
	return contents, nil
}

// copyZone reads all of a zone.
func (b *backend) copyZone(ctx context.Context, name string) (*zoneCopy, error) {
	path := "/zones/" + url.PathEscape(name)
	var content struct {
		Sets []copiedSet `json:"rrsets"`
	}
	if err := b.api.call(ctx, http.MethodGet, path, nil, &content); err != nil {
		return nil, explain("read the zone", err)
	}
	c := &zoneCopy{Zone: name, Nameservers: b.nameserver, Sets: content.Sets, Complete: true}
	for i := range c.Sets {
		c.Sets[i].Name = strings.ToLower(c.Sets[i].Name)
	}
	var err error
	if c.Keys, err = b.cryptokeys(ctx, name); err != nil {
		return nil, err
	}
	var all []copiedPublish
	if err := b.api.call(ctx, http.MethodGet, path+"/metadata", nil, &all); err != nil {
		return nil, explain("read the zone's metadata", err)
	}
	for _, m := range all {
		if slices.Contains(published(), m.Kind) {
			c.Metadata = append(c.Metadata, m)
		}
	}
	return c, nil
}

// cryptokeys returns a zone's DNSSEC keys with their private parts.
func (b *backend) cryptokeys(ctx context.Context, name string) ([]cryptokey, error) {
	keys, err := b.listCryptokeys(ctx, name)
	if err != nil {
		return nil, err
	}
	for i := range keys {
		if err := b.api.call(ctx, http.MethodGet, fmt.Sprintf("%s/%d", cryptokeysPath(name), keys[i].ID), nil, &keys[i]); err != nil {
			return nil, explain("read a DNSSEC key", err)
		}
	}
	return keys, nil
}

func (b *backend) listCryptokeys(ctx context.Context, name string) ([]cryptokey, error) {
	var keys []cryptokey
	err := b.api.call(ctx, http.MethodGet, cryptokeysPath(name), nil, &keys)
	return keys, explain("list the DNSSEC keys", err)
}

func cryptokeysPath(name string) string { return "/zones/" + url.PathEscape(name) + "/cryptokeys" }
