package powerdns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

const (
	fudge       = 300 // seconds that clocks may differ (RFC 8945, section 10)
	dialTimeout = 5 * time.Second
)

// signer speaks DNS to a server with a TSIG key.
type signer struct {
	network, address, name, algorithm, secret string
}

func newSigner(address, name, algorithm, secret string) signer {
	return signer{"tcp", address, dns.Fqdn(name), dns.Fqdn(algorithm), secret}
}

func (s signer) secrets() map[string]string { return map[string]string{s.name: s.secret} }

// exchange signs a message and returns the answer, whose signature it checks.
// A refusal is a refusal whether signed or not.
func (s signer) exchange(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	m.SetTsig(s.name, s.algorithm, fudge, time.Now().Unix())
	client := dns.Client{Net: s.network, TsigSecret: s.secrets(), DialTimeout: dialTimeout}
	answer, _, err := client.ExchangeContext(ctx, m, s.address)
	if answer != nil && answer.Rcode != dns.RcodeSuccess {
		return nil, &rcodeError{answer.Rcode}
	}
	if err != nil {
		return nil, fmt.Errorf("ask the DNS server: %w", err)
	}
	if answer.IsTsig() == nil {
		return nil, errors.New("the DNS server's answer is not signed")
	}
	return answer, nil
}

// rcodeError is an answer that is no success.
type rcodeError struct{ code int }

func (e *rcodeError) Error() string {
	return fmt.Sprintf("the DNS server answers %s", dns.RcodeToString[e.code])
}
