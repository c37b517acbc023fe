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
)

// maxRaised is how many sets are raised in one go; the others follow.
const maxRaised = 50

// asKeeper calls do with a signer whose key exists only for that time.
func (b *backend) asKeeper(ctx context.Context, instance string, do func(signer)) error {
	name, secret := b.names.keeper(instance), make([]byte, keySizes[b.config.TSIGAlgorithm])
	_, _ = rand.Read(secret) // never fails: crypto/rand.Read aborts the program instead
	text := base64.StdEncoding.EncodeToString(secret)
	if err := b.makeKey(ctx, name, text); err != nil {
		return err
	}
	do(newSigner(b.server.Address(), name, b.config.TSIGAlgorithm, text))
	return b.deleteKey(ctx, name)
}

// raise raises times to live to the plan's. Its dynamic updates are conditional on the set
// that was read, so that they do not undo an application's concurrent change.
func (b *backend) raise(ctx context.Context, inst instance, zone string, sets []pdns.RRset) error {
	var errs []error
	err := b.asKeeper(ctx, inst.Name, func(s signer) {
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
	})
	return errors.Join(append(errs, err)...)
}

// overwrite raises the time to live of a set that a dynamic update cannot change, such as
// one larger than a message. A change that an application makes to the set at that moment
// is lost.
func (b *backend) overwrite(ctx context.Context, zone string, set pdns.RRset, ttl int) error {
	key := setKey{pdns.StringValue(set.Name), kindOf(set)}
	raised := recordSet{uint32(ttl), valuesOf(set)} //nolint:gosec // maxTTL fits
	err := b.api.Records.Patch(ctx, zone, &pdns.RRsets{Sets: []pdns.RRset{replacement(key, raised)}})
	return explain(fmt.Sprintf("raise the time to live of the %s records of %s", key.kind, key.name), err)
}

func raiseSet(ctx context.Context, s signer, zone string, set pdns.RRset, ttl int) error {
	var previous, raised []dns.RR
	for _, value := range valuesOf(set) {
		record, err := dns.NewRR(fmt.Sprintf("%s 0 IN %s %s", pdns.StringValue(set.Name), kindOf(set), value))
		if err != nil {
			return fmt.Errorf("read the %s records of %s: %w", kindOf(set), pdns.StringValue(set.Name), err)
		}
		previous, raised = append(previous, record), append(raised, dns.Copy(record))
		raised[len(raised)-1].Header().Ttl = uint32(ttl) //nolint:gosec // maxTTL fits
	}
	m := new(dns.Msg).SetUpdate(zone)
	m.Used(previous)
	m.Insert(raised)
	_, err := s.exchange(ctx, m)
	if refusal, ok := errors.AsType[*rcodeError](err); ok && refusal.code == dns.RcodeNXRrset {
		return nil // it has changed since; the next round sees how
	}
	return err
}

// counts are the server's counts of dynamic updates since it started.
type counts struct {
	changes int64 // records changed
	failed  int64 // updates that were neither answered nor refused
}

func (b *backend) counts(ctx context.Context) (c counts, err error) {
	list, err := b.api.Statistics.List(ctx)
	if err != nil {
		return c, explain("ask the server for its statistics", err)
	}
	for _, s := range list {
		text, _ := s.Value.(string)
		n, _ := strconv.ParseInt(text, 10, 64) // of another kind: none of these
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

// watch checks whether the server still accepts updates if some failed since the last
// check: one application can make all others' fail. Ready reports that.
func (b *backend) watch(ctx context.Context, c counts, inst instance, zone string) error {
	b.mu.Lock()
	suspect := c.failed != b.failed || b.stuck != nil
	b.mu.Unlock()
	if !suspect {
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

// refusesAll sends several updates without changes: the server's threads for UDP get stuck
// one by one, and a busy database may cause one failure.
func (b *backend) refusesAll(ctx context.Context, inst instance, zone string) (bool, error) {
	stuck := false
	err := b.asKeeper(ctx, inst.Name, func(s signer) {
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
