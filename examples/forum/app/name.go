package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/examples/forum/app/bindings"
)

// name is the forum's name in its zone.
type name struct{ full, key string }

// nameTTL is how long others may cache the address, in seconds.
const nameTTL = 60

// register sets the forum's address in the zone, by a dynamic update (RFC 2136) that is signed
// with the binding's key (RFC 8945).
func (o options) register(ctx context.Context, set bindings.Set) (*name, error) {
	b := set[0]
	if o.address == "" {
		return nil, errors.New("a zone is bound: set -address to the forum's IP address")
	}
	record, err := addressRecord(dns.Fqdn(o.host+"."+b.Get("zone")), o.address)
	if err != nil {
		return nil, err
	}
	update := new(dns.Msg).SetUpdate(dns.Fqdn(b.Get("zone")))
	update.RemoveRRset([]dns.RR{record})
	update.Insert([]dns.RR{record})
	key := dns.Fqdn(b.Get("tsig_name"))
	update.SetTsig(key, dns.Fqdn(b.Get("tsig_algorithm")), 300, time.Now().Unix())
	client := &dns.Client{Net: "tcp", TsigSecret: map[string]string{key: b.Get("tsig_secret")}}
	answer, _, err := client.ExchangeContext(ctx, update, net.JoinHostPort(b.Get("host"), b.Get("port")))
	if err != nil {
		return nil, fmt.Errorf("update the zone: %w", err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return nil, fmt.Errorf("update the zone: the server answers %s", dns.RcodeToString[answer.Rcode])
	}
	return &name{full: o.host + "." + b.Get("zone"), key: b.Get("tsig_name")}, nil
}

func addressRecord(full, address string) (dns.RR, error) {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return nil, fmt.Errorf("-address %q is not an IP address", address)
	}
	kind := "A"
	if ip.Is6() {
		kind = "AAAA"
	}
	return dns.NewRR(fmt.Sprintf("%s %d IN %s %s", full, nameTTL, kind, ip))
}

func (n *name) identity() string { return n.key }

// Close implements io.Closer. The name remains.
func (n *name) Close() error { return nil }
