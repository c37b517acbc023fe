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
	s := newSigner(b.address(), name, b.config.TSIGAlgorithm, secret)
	var errs []error
	for _, set := range sets[:min(len(sets), maxRaised)] {
		if err := raiseSet(ctx, s, zone, set, inst.Plan.MinTTL); err != nil {
			errs = append(errs, err)
			break
		}
	}
	return errors.Join(append(errs, b.deleteKey(ctx, name))...)
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
