package powerdns

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	pdns "github.com/joeig/go-powerdns/v3"
	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services/dns/zone"
)

// maxRaised is how many sets one round raises.
const maxRaised = 50

// withEnforcementKey calls do with a signer whose key exists only during the call.
func (b *backend) withEnforcementKey(ctx context.Context, instance string, do func(signer)) error {
	name, secret := b.names.enforcementKey(instance), make([]byte, keySizes[b.config.TSIGAlgorithm])
	_, _ = rand.Read(secret) // never fails: crypto/rand.Read aborts the program instead
	text := base64.StdEncoding.EncodeToString(secret)
	if err := b.makeKey(ctx, name, text); err != nil {
		return err
	}
	do(newSigner(b.server.Address(), name, b.config.TSIGAlgorithm, text))
	return b.deleteKey(ctx, name)
}

// raise raises times to live to the plan's, by dynamic updates on the condition that the set
// is still as it was read: a concurrent change by an application survives.
func (b *backend) raise(ctx context.Context, inst instance, name string, sets zone.Sets, low []zone.Key) error {
	var errs []error
	err := b.withEnforcementKey(ctx, inst.Name, func(s signer) {
		for raised := 0; len(low) > 0 && raised < maxRaised && ctx.Err() == nil; low = low[1:] {
			key, set := low[0], zone.Set{TTL: uint32(inst.Plan.MinTTL), Values: sets[low[0]].Values} //nolint:gosec // MaxTTL fits
			err := raiseSet(ctx, s, name, key, set)
			if err != nil && ctx.Err() == nil {
				// A dynamic update cannot change the set, for example because it is larger than a
				// message. A concurrent change by an application is lost.
				err = explain(fmt.Sprintf("raise the time to live of the %s records of %s", key.Type, key.Name),
					b.api.Records.Patch(ctx, name, &pdns.RRsets{Sets: []pdns.RRset{replacement(key, set)}}))
			}
			if err == nil {
				raised++
			}
			errs = append(errs, err)
		}
	})
	return errors.Join(append(errs, err)...)
}

func raiseSet(ctx context.Context, s signer, name string, key zone.Key, set zone.Set) error {
	var previous, raised []dns.RR
	for _, value := range set.Values {
		record, err := dns.NewRR(fmt.Sprintf("%s 0 IN %s %s", key.Name, key.Type, value))
		if err != nil {
			return fmt.Errorf("read the %s records of %s: %w", key.Type, key.Name, err)
		}
		previous, raised = append(previous, record), append(raised, dns.Copy(record))
		raised[len(raised)-1].Header().Ttl = set.TTL
	}
	m := new(dns.Msg).SetUpdate(name)
	m.Used(previous)
	m.Insert(raised)
	_, err := s.exchange(ctx, m)
	if refusal, ok := errors.AsType[*rcodeError](err); ok && refusal.code == dns.RcodeNXRrset {
		return nil // it has changed since; the next round reads it again
	}
	return err
}

// counts are the server's counts of changed records, and of dynamic updates that were
// neither answered nor refused, since it started.
type counts struct{ changes, failed int64 }

func (b *backend) counts(ctx context.Context) (c counts, err error) {
	list, err := b.api.Statistics.List(ctx)
	if err != nil {
		return c, explain("ask the server for its statistics", err)
	}
	for _, s := range list {
		text, _ := s.Value.(string)
		n, _ := strconv.ParseInt(text, 10, 64) // only other statistics are not numbers
		switch pdns.StringValue(s.Name) {
		case "dnsupdate-changes":
			c.changes = n
		case "dnsupdate-queries":
			c.failed += n
		case "dnsupdate-answers", "dnsupdate-refused":
			c.failed -= n
		}
	}
	return c, nil
}

// errStuck is for the operator: only a restart helps.
var errStuck = errors.New("the DNS server answers SERVFAIL to the dynamic updates of all zones; restart it. PowerDNS on an SQL database can get stuck when an application updates NSEC3PARAM records; its log names the zone of the first failure")

// watch checks whether the server still accepts updates if some have failed since the last
// check, because one application can make all others' fail. Ready reports that.
func (b *backend) watch(ctx context.Context, c counts, inst instance, zone string) error {
	b.mu.Lock()
	unchanged := c.failed == b.failed && b.stuck == nil
	b.mu.Unlock()
	if unchanged {
		return nil
	}
	stuck, err := b.refusesAll(ctx, inst, zone)
	if err != nil {
		return err
	}
	if c, err = b.counts(ctx); err != nil { // its own updates are among them
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed, b.stuck = c.failed, nil
	if stuck {
		b.stuck = errStuck
	}
	return nil
}

// refusesAll sends several updates without changes: the server's UDP threads get stuck one
// by one, and a busy database may cause one failure.
func (b *backend) refusesAll(ctx context.Context, inst instance, zone string) (bool, error) {
	stuck := false
	err := b.withEnforcementKey(ctx, inst.Name, func(s signer) {
		for _, s.network = range []string{"tcp", "udp"} {
			failures := 0
			for range 6 {
				_, err := s.exchange(ctx, new(dns.Msg).SetUpdate(zone))
				if refusal, ok := errors.AsType[*rcodeError](err); ok && refusal.code == dns.RcodeServerFailure {
					failures++
				}
			}
			stuck = stuck || failures > 1
		}
	})
	return stuck, err
}
