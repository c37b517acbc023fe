package designate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/recordsets"
	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/dns/zone"
)

const (
	// probeTTL is above the minimum of most plans.
	probeTTL = 3600
	// callTimeout ends a call without an answer.
	callTimeout = 15 * time.Second
)

// session uses a zone as an application: by Designate's API, and by questions to a name server.
type session struct {
	*gophercloud.ServiceClient
	zone, zoneID, server string
	reader               bool
}

// dial opens a session with the application credential.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	text := func(key string) string { s, _ := credentials[key].(string); return s }
	port, _ := credentials["port"].(float64)
	provider, err := openstack.NewClient(text("auth_url"))
	if err != nil {
		return nil, errors.New("auth_url: is invalid")
	}
	provider.HTTPClient = http.Client{Timeout: callTimeout, Transport: &http.Transport{TLSClientConfig: cafile.TLS(text("ca"))}}
	options := gophercloud.AuthOptions{ApplicationCredentialID: text("application_credential_id"), ApplicationCredentialSecret: text("application_credential_secret")}
	if err := openstack.AuthenticateV3(ctx, provider, &options, gophercloud.EndpointOpts{}); err != nil {
		return nil, fmt.Errorf("authenticate with Keystone: %w", plain(err))
	}
	client, err := openstack.NewDNSV2(provider, gophercloud.EndpointOpts{Region: text("region"), Availability: gophercloud.Availability(text("interface"))})
	if err != nil {
		return nil, fmt.Errorf("find Designate: %w", plain(err))
	}
	s := &session{
		ServiceClient: client, zone: dns.Fqdn(text("zone")), zoneID: text("zone_id"), reader: text("role") == string(access.ReadOnly),
		server: net.JoinHostPort(text("host"), strconv.Itoa(int(port))),
	}
	return s, s.Ping(ctx)
}

// owner is the name of the record that holds a key's value.
func (s *session) owner(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "probe-" + hex.EncodeToString(sum[:12]) + "." + s.zone
}

// find returns the record set of a name and type, or one without an ID.
func (s *session) find(ctx context.Context, name, kind string) (recordsets.RecordSet, error) {
	pages, err := recordsets.ListByZone(s.ServiceClient, s.zoneID, recordsets.ListOpts{Name: name, Type: kind}).AllPages(ctx)
	if err != nil {
		return recordsets.RecordSet{}, fmt.Errorf("read the record: %w", plain(err))
	}
	found, err := recordsets.ExtractRecordSets(pages)
	if err != nil || len(found) == 0 {
		return recordsets.RecordSet{}, err
	}
	return found[0], nil
}

// Write implements services.Session. It waits until the name servers have the record.
func (s *session) Write(ctx context.Context, key, value string) error {
	text, err := zone.ParseValue("TXT", value)
	if err != nil {
		return err
	}
	found, err := s.find(ctx, s.owner(key), "TXT")
	if err != nil {
		return err
	}
	ttl, records := probeTTL, []string{toDesignate("TXT", text)}
	if found.ID == "" {
		err = recordsets.Create(ctx, s.ServiceClient, s.zoneID, recordsets.CreateOpts{Name: s.owner(key), Type: "TXT", TTL: ttl, Records: records}).Err
	} else {
		err = recordsets.Update(ctx, s.ServiceClient, s.zoneID, found.ID, recordsets.UpdateOpts{TTL: &ttl, Records: records}).Err
	}
	if err != nil {
		return fmt.Errorf("write the record: %w", plain(err))
	}
	return s.awaitActive(ctx, s.owner(key))
}

// awaitActive polls until the name servers have a record, or ctx ends.
func (s *session) awaitActive(ctx context.Context, name string) error {
	for {
		found, err := s.find(ctx, name, "TXT")
		if err != nil || found.Status == statusActive {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the record is %s in Designate: %w", found.Status, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Read implements services.Session: a question to a name server. It takes no right, so that the
// API is asked first.
func (s *session) Read(ctx context.Context, key string) (string, error) {
	if err := s.Ping(ctx); err != nil {
		return "", err
	}
	client := dns.Client{Net: "tcp"}
	answer, _, err := client.ExchangeContext(ctx, new(dns.Msg).SetQuestion(s.owner(key), dns.TypeTXT), s.server)
	if err != nil {
		return "", fmt.Errorf("ask the name server: %w", err)
	}
	for _, r := range answer.Answer {
		if txt, ok := r.(*dns.TXT); ok {
			return strings.Join(txt.Txt, ""), nil
		}
	}
	return "", errors.New("the record does not exist")
}

// Ping implements services.Session.
func (s *session) Ping(ctx context.Context) error {
	_, err := s.find(ctx, s.zone, "SOA")
	return err
}

// Close implements services.Session.
func (s *session) Close() error {
	s.HTTPClient.CloseIdleConnections()
	return nil
}

// plain is an error without the URL and the body that gophercloud's text quotes.
func plain(err error) error {
	if e, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err); ok {
		return fmt.Errorf("the answer is %d %s", e.Actual, http.StatusText(e.Actual))
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
