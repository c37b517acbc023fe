package powerdns

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"

	pdns "github.com/joeig/go-powerdns/v3"
	"github.com/miekg/dns"
)

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

// errStuck is for the operator: nothing but a restart helps.
var errStuck = errors.New("the DNS server answers SERVFAIL to the dynamic updates of all zones; restart it. PowerDNS on an SQL database can get stuck when an application updates NSEC3PARAM records; its log names the zone of the first failure")

// watch checks whether the server still accepts updates if some failed since the last
// check: one application can make those of all others fail. Ready reports it.
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

// refusesAll sends updates without changes, several of them: the server's threads
// for UDP get stuck one by one, and one failure may be a database that is busy.
func (b *backend) refusesAll(ctx context.Context, inst instance, zone string) (bool, error) {
	name, secret := b.names.keeper(inst.Name), base64.StdEncoding.EncodeToString(randomBytes(keySizes[b.config.TSIGAlgorithm]))
	if err := b.makeKey(ctx, name, secret); err != nil {
		return false, err
	}
	stuck := false
	for _, network := range []string{"tcp", "udp"} {
		s, failures := newSigner(b.server.Address(), name, b.config.TSIGAlgorithm, secret), 0
		s.network = network
		for range 6 {
			_, err := s.exchange(ctx, new(dns.Msg).SetUpdate(zone))
			if refusal, ok := errors.AsType[*rcodeError](err); ok && refusal.code == dns.RcodeServerFailure {
				failures++
			}
		}
		stuck = stuck || failures > 1
	}
	return stuck, b.deleteKey(ctx, name)
}
