package powerdns

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/dns/zone"
)

// probeTTL is above the minimum of most plans.
const probeTTL = 3600

// dial opens a session as an application does: with the TSIG key. DNS has no login, so that
// a first round trip checks the key.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	text := func(key string) string { s, _ := credentials[key].(string); return s }
	port, _ := credentials["port"].(float64)
	c := &client{
		zone:   dns.Fqdn(text("zone")),
		reader: text("role") == string(access.ReadOnly),
		signer: newSigner(net.JoinHostPort(text("server"), strconv.Itoa(int(port))),
			text("tsig_name"), text("tsig_algorithm"), text("tsig_secret")),
	}
	if err := c.Ping(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// client uses a zone as an application: by updates and questions, or, read_only, by transfers.
type client struct {
	signer
	zone   string
	reader bool
}

// owner is the name of the record that holds a key's value.
func (c *client) owner(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "probe-" + hex.EncodeToString(sum[:12]) + "." + c.zone
}

// Write implements services.Session.
func (c *client) Write(ctx context.Context, key, value string) error {
	text, err := zone.ParseValue("TXT", value)
	if err != nil {
		return err
	}
	record, err := dns.NewRR(fmt.Sprintf("%s %d IN TXT %s", c.owner(key), probeTTL, text))
	if err != nil {
		return err
	}
	m := new(dns.Msg).SetUpdate(c.zone)
	m.RemoveRRset([]dns.RR{record})
	m.Insert([]dns.RR{record})
	_, err = c.exchange(ctx, m)
	return err
}

// Read implements services.Session.
func (c *client) Read(ctx context.Context, key string) (string, error) {
	records, err := c.ask(ctx, c.owner(key))
	if err != nil {
		return "", err
	}
	for _, r := range records {
		if txt, ok := r.(*dns.TXT); ok && txt.Hdr.Name == c.owner(key) {
			return strings.Join(txt.Txt, ""), nil
		}
	}
	return "", errors.New("the record does not exist")
}

// ask returns the records of a name, or, for a reader, all of the zone.
func (c *client) ask(ctx context.Context, name string) ([]dns.RR, error) {
	if c.reader {
		return c.transfer(ctx)
	}
	answer, err := c.exchange(ctx, new(dns.Msg).SetQuestion(name, dns.TypeTXT))
	if err != nil {
		return nil, err
	}
	return answer.Answer, nil
}

// transfer returns all records of the zone (AXFR).
func (c *client) transfer(ctx context.Context) ([]dns.RR, error) {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // fails only if the connection is closed, as the transfer does
	}
	m := new(dns.Msg).SetAxfr(c.zone)
	m.SetTsig(c.name, c.algorithm, fudge, time.Now().Unix())
	t := dns.Transfer{Conn: &dns.Conn{Conn: conn}, TsigSecret: c.secrets()}
	envelopes, err := t.In(m, c.address)
	if err != nil {
		return nil, fmt.Errorf("transfer the zone: %w", err)
	}
	var records []dns.RR
	for e := range envelopes {
		records = append(records, e.RR...)
		if e.Error != nil {
			err = fmt.Errorf("transfer the zone: %w", e.Error)
		}
	}
	return records, err
}

// Ping implements services.Session by an update without changes, which takes the same right.
func (c *client) Ping(ctx context.Context) error {
	if c.reader {
		_, err := c.transfer(ctx)
		return err
	}
	_, err := c.exchange(ctx, new(dns.Msg).SetUpdate(c.zone))
	return err
}

// Close implements services.Session.
func (c *client) Close() error { return nil }

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

// exchange signs a message and returns the answer, whose signature it checks unless it refuses.
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

// rcodeError is an answer other than success.
type rcodeError struct{ code int }

func (e *rcodeError) Error() string {
	return fmt.Sprintf("the DNS server answers %s", dns.RcodeToString[e.code])
}
