package powerdns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/dns/zone"
)

// Restore implements services.Streamer. In a zone with another name, names in the zone move along,
// and the zone keeps the DNSSEC keys with which it was made: a key's DS record is its zone's.
func (b *backend) Restore(ctx context.Context, r services.RestoreRequest[Plan, InstanceParams]) (services.RestoreResult, error) {
	if r.Contents.Format != copyFormat {
		return services.RestoreResult{}, services.Rejected("the copy has the format %q, and this service restores %q; restore it into the service that it comes from", r.Contents.Format, copyFormat)
	}
	z, err := b.find(ctx, r.Instance.Name, zoneName(r.Instance))
	if err != nil {
		return services.RestoreResult{}, err
	}
	c, err := readCopy(r.Reader)
	if err != nil {
		return services.RestoreResult{}, err
	}
	sets, err := b.fitting(c, r, z.Name)
	if err != nil {
		return services.RestoreResult{}, err
	}
	if err := b.write(ctx, r.Instance.Name, z.Name, c, sets); err != nil {
		return services.RestoreResult{}, err
	}
	if c.Zone == z.Name && len(c.Keys) > 0 {
		err = b.restoreKeys(ctx, z.Name, c)
	}
	return services.RestoreResult{}, err
}

// readCopy reads a copy to its end.
func readCopy(r io.Reader) (*zoneCopy, error) {
	c := &zoneCopy{}
	limited := io.LimitReader(r, maxCopy)
	decoder := json.NewDecoder(limited)
	if err := decoder.Decode(c); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read the copy: %w", err)
	}
	if rest, err := io.ReadAll(io.MultiReader(decoder.Buffered(), limited)); err != nil || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.Join(errors.New("read the copy: it does not end where it says"), err)
	}
	if !c.Complete || !dns.IsFqdn(c.Zone) || len(c.Keys) > maxKeys {
		return nil, errors.New("read the copy: it is not a copy of a zone")
	}
	return c, nil
}

// fitting returns the records as the zone will have them, or says why it cannot.
func (b *backend) fitting(c *zoneCopy, r services.RestoreRequest[Plan, InstanceParams], name string) ([]copiedSet, error) {
	found, err := c.contents()
	if err != nil {
		return nil, err
	}
	if found.Digest != r.Contents.Digest {
		return nil, errors.New("the copy is damaged: it does not contain what its description says")
	}
	plan := r.Instance.Plan
	if c.Zone == name && len(c.Keys) > 0 && !plan.DNSSEC {
		return nil, services.Rejected("plan_id: the copy is of a signed zone and the plan does not sign zones: the zone would fail for everybody who holds its DS record; choose a plan that signs, or another zone")
	}
	sets, err := c.moved(name, b.nameserver)
	if err != nil {
		return nil, err
	}
	all := zone.Sets{}
	for i, s := range sets {
		sets[i].TTL = uint32(min(max(int64(s.TTL), int64(plan.MinTTL)), zone.MaxTTL)) //nolint:gosec // MaxTTL fits
		set := all[zone.Key{Name: s.Name, Type: s.Type}]
		for _, record := range s.Records {
			set.Values = append(set.Values, record.Content)
		}
		all[zone.Key{Name: s.Name, Type: s.Type}] = set
	}
	if count, _ := inspect(name, all, 0, len(b.nameserver)); count > plan.Records {
		return nil, services.Rejected("the copy has %d records, and the plan allows %d; choose a larger plan", count, plan.Records)
	}
	return sets, nil
}

// patchSize bounds a request's records: servers read 2 MB by default.
const patchSize = 1 << 20

// write makes the zone's records those of the copy: first it removes what is not in it, so that no
// CNAME meets other records of its name.
func (b *backend) write(ctx context.Context, instance, name string, c *zoneCopy, sets []copiedSet) error {
	present, err := b.copyZone(ctx, name)
	if err != nil {
		return err
	}
	wanted := map[zone.Key]bool{{Name: name, Type: "NS"}: true}
	for _, s := range sets {
		wanted[zone.Key{Name: strings.ToLower(s.Name), Type: s.Type}] = true
	}
	var changes, odd []copiedSet
	for _, s := range present.Sets {
		if !s.own(name) && !wanted[zone.Key{Name: s.Name, Type: s.Type}] {
			changes = append(changes, copiedSet{Name: s.Name, Type: s.Type, ChangeType: "DELETE"})
		}
	}
	for _, s := range sets {
		s.ChangeType = "REPLACE"
		if apiNames.MatchString(s.Name) {
			changes = append(changes, s)
		} else {
			odd = append(odd, s)
		}
	}
	if soa, ok := c.soa(present, b.nameserver[0]); ok {
		changes = append(changes, soa)
	}
	if err := b.patch(ctx, name, changes); err != nil || len(odd) == 0 {
		return err
	}
	return b.insert(ctx, instance, name, odd)
}

// apiNames are the names that the API can write. Applications can make others, for services that
// have a blank in their name, for example.
var apiNames = regexp.MustCompile(`^[A-Za-z0-9_/.*-]+$`)

// insert writes records as an application does.
func (b *backend) insert(ctx context.Context, instance, name string, sets []copiedSet) error {
	var errs []error
	err := b.withEnforcementKey(ctx, instance, func(s signer) {
		for _, set := range sets {
			m := new(dns.Msg).SetUpdate(name)
			for _, r := range set.Records {
				record, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", set.Name, set.TTL, set.Type, r.Content))
				if err != nil {
					errs = append(errs, fmt.Errorf("read the %s records of %s: %w", set.Type, set.Name, err))
					return
				}
				m.Insert([]dns.RR{record})
			}
			if _, err := s.exchange(ctx, m); err != nil {
				errs = append(errs, fmt.Errorf("restore the %s records of %s: %w", set.Type, set.Name, err))
				return
			}
		}
	})
	return errors.Join(append(errs, err)...)
}

// patch sends changes in requests that the server can read.
func (b *backend) patch(ctx context.Context, name string, changes []copiedSet) error {
	for len(changes) > 0 {
		n, size := 0, 0
		for ; n < len(changes); n++ {
			one, err := json.Marshal(changes[n])
			if err != nil {
				return err
			}
			if size += len(one) + 1; n > 0 && size > patchSize {
				break
			}
		}
		body, err := json.Marshal(map[string]any{"rrsets": changes[:n]})
		if err != nil {
			return err
		}
		if err := b.api.call(ctx, http.MethodPatch, "/zones/"+url.PathEscape(name), body, nil); err != nil {
			return restoreRefused(err)
		}
		changes = changes[n:]
	}
	return nil
}

// restoreRefused shows the user which record the server refuses.
func restoreRefused(err error) error {
	if s, ok := errors.AsType[*statusError](err); ok && s.status == http.StatusUnprocessableEntity {
		return services.Rejected("the DNS server refuses records of the copy: %s", s.message)
	}
	return explain("write the zone", err)
}

// soa is the zone's SOA record with the copy's times, and a serial number above both zones':
// secondaries that knew the copied zone must notice the restored one.
func (c *zoneCopy) soa(present *zoneCopy, primary string) (copiedSet, bool) {
	was, _, ok := c.findSOA()
	is, set, exists := present.findSOA()
	if !ok || !exists {
		return copiedSet{}, false
	}
	is.Ns = primary
	is.Refresh, is.Retry, is.Expire, is.Minttl = was.Refresh, was.Retry, was.Expire, was.Minttl
	is.Serial = max(is.Serial, was.Serial) + 1
	set.ChangeType = "REPLACE"
	set.Records = []copiedRecord{{Content: strings.TrimPrefix(is.String(), is.Hdr.String())}}
	return set, true
}

func (c *zoneCopy) findSOA() (*dns.SOA, copiedSet, bool) {
	for _, s := range c.Sets {
		if s.Type != "SOA" || s.Name != c.Zone || len(s.Records) != 1 || strings.ContainsAny(s.Records[0].Content, "\r\n") {
			continue
		}
		record, err := dns.NewRR(". 0 IN SOA " + s.Records[0].Content)
		if soa, ok := record.(*dns.SOA); err == nil && ok {
			return soa, s, true
		}
	}
	return nil, copiedSet{}, false
}

// restoreKeys gives the zone the copy's DNSSEC keys, and removes those with which it was made.
func (b *backend) restoreKeys(ctx context.Context, name string, c *zoneCopy) error {
	made, err := b.listCryptokeys(ctx, name)
	if err != nil {
		return err
	}
	for _, key := range c.Keys {
		if key.Private == "" || len(key.Private) > maxKeySize {
			return errors.New("the copy has a DNSSEC key without its private part")
		}
		body, err := json.Marshal(cryptokey{Type: key.Type, Active: key.Active, Published: key.Published, Content: key.Private}) //nolint:gosec // the API is the place for it
		if err != nil {
			return err
		}
		if err := b.api.call(ctx, http.MethodPost, cryptokeysPath(name), body, nil); err != nil {
			return explain("restore a DNSSEC key", err)
		}
	}
	for _, key := range made {
		if err := b.api.call(ctx, http.MethodDelete, fmt.Sprintf("%s/%d", cryptokeysPath(name), key.ID), nil, nil); err != nil {
			return explain("remove a DNSSEC key", err)
		}
	}
	for _, m := range c.Metadata {
		if !slices.Contains(published(), m.Kind) {
			return fmt.Errorf("the copy has metadata of the kind %q, which is the operator's", m.Kind)
		}
		body, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if err := b.api.call(ctx, http.MethodPut, "/zones/"+url.PathEscape(name)+"/metadata/"+url.PathEscape(m.Kind), body, nil); err != nil {
			return explain("restore metadata", err)
		}
	}
	return nil
}
