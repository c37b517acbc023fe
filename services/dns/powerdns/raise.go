package powerdns

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	pdns "github.com/joeig/go-powerdns/v3"
	"github.com/miekg/dns"
)

// maxRaised is how many sets are raised in one go; the others follow.
const maxRaised = 50

// raise raises times to live to the plan's. It does so by dynamic updates on
// condition that the set is as it was read: a change that an application makes
// in that moment is not undone. The key for it lives as long.
func (b *backend) raise(ctx context.Context, inst instance, zone string, sets []pdns.RRset) error {
	name, secret := b.names.keeper(inst.Name), base64.StdEncoding.EncodeToString(randomBytes(keySizes[b.config.TSIGAlgorithm]))
	if err := b.makeKey(ctx, name, secret); err != nil {
		return err
	}
	s := newSigner(b.server.Address(), name, b.config.TSIGAlgorithm, secret)
	var errs []error
	for raised := 0; len(sets) > 0 && raised < maxRaised && ctx.Err() == nil; sets = sets[1:] {
		err := raiseSet(ctx, s, zone, sets[0], inst.Plan.MinTTL)
		if err != nil && ctx.Err() == nil {
			err = b.overwrite(ctx, zone, sets[0], inst.Plan.MinTTL)
		}
		if err == nil {
			raised++
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, b.deleteKey(ctx, name))...)
}

// overwrite raises the time to live of a set for which a dynamic update does not
// do, such as one that is larger than a message can be. A change that an
// application makes to the set in that moment is lost.
func (b *backend) overwrite(ctx context.Context, zone string, set pdns.RRset, ttl int) error {
	key := setKey{pdns.StringValue(set.Name), kindOf(set)}
	raised := recordSet{ttl: uint32(ttl)} //nolint:gosec // maxTTL fits
	for _, r := range set.Records {
		raised.values = append(raised.values, pdns.StringValue(r.Content))
	}
	err := b.api.Records.Patch(ctx, zone, &pdns.RRsets{Sets: []pdns.RRset{replacement(key, raised)}})
	return explain(fmt.Sprintf("raise the time to live of the %s records of %s", key.kind, key.name), err)
}

func raiseSet(ctx context.Context, s signer, zone string, set pdns.RRset, ttl int) error {
	var was []dns.RR
	for _, r := range set.Records {
		record, err := dns.NewRR(fmt.Sprintf("%s 0 IN %s %s", pdns.StringValue(set.Name), kindOf(set), pdns.StringValue(r.Content)))
		if err != nil {
			return fmt.Errorf("read the %s records of %s: %w", kindOf(set), pdns.StringValue(set.Name), err)
		}
		was = append(was, record)
	}
	is := make([]dns.RR, 0, len(was))
	for _, record := range was {
		raised := dns.Copy(record)
		raised.Header().Ttl = uint32(ttl) //nolint:gosec // maxTTL fits
		is = append(is, raised)
	}
	m := new(dns.Msg).SetUpdate(zone)
	m.Used(was)
	m.Insert(is)
	_, err := s.exchange(ctx, m)
	if refusal, ok := errors.AsType[*rcodeError](err); ok && refusal.code == dns.RcodeNXRrset {
		return nil // it has changed since; the next look sees how
	}
	return err
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand.Read aborts the program instead
	return b
}
