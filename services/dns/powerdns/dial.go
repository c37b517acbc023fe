package powerdns

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
)

// probeTTL is above what plans usually ask for.
const probeTTL = 3600

// dial opens a session as an application does: with the TSIG key. DNS knows no
// logging in: that the key is good shows in the first round trip, made here.
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

// client is an application's use of a zone: dynamic updates and questions, or
// transfers for a read_only binding.
type client struct {
	signer
	zone   string
	reader bool
}

// owner is the name under which a key's value is kept.
func (c *client) owner(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "probe-" + hex.EncodeToString(sum[:12]) + "." + c.zone
}

// Write implements services.Session.
func (c *client) Write(ctx context.Context, key, value string) error {
	text, err := parseTXT(value)
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
			value := ""
			for _, s := range txt.Txt {
				value += s
			}
			return value, nil
		}
	}
	return "", errors.New("there is no such record")
}

// ask returns the records of a name, or all of the zone for those who may
// transfer it.
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
		_ = conn.SetDeadline(deadline) // fails on a closed connection only, which the transfer tells
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

// Ping implements services.Session: an update without changes, which the server
// answers only to whom it allows any.
func (c *client) Ping(ctx context.Context) error {
	if c.reader {
		_, err := c.transfer(ctx)
		return err
	}
	_, err := c.exchange(ctx, new(dns.Msg).SetUpdate(c.zone))
	return err
}

// Close implements services.Session. Nothing is held open.
func (c *client) Close() error { return nil }
