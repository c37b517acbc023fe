// Package cfcredhub hands credentials out through CredHub, Cloud Foundry's
// credential store, by its public API (CredHub API, versions v1 for data and v2 for
// permissions). The platform sees a reference; Cloud Foundry resolves it when the
// application starts, with the application's own identity.
package cfcredhub

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// Config says which CredHub, and who the broker is there: the certificate, or the
// UAA client. Either needs the permissions read, write, delete, read_acl and
// write_acl on everything below Prefix.
type Config struct {
	// URL is such as https://credhub.service.cf.internal:8844.
	URL string
	// CAFile holds the CA of CredHub and of its UAA, PEM; empty: the system's.
	CAFile string
	// CertificateFile and KeyFile are for mutual TLS. They are read anew for each
	// connection, so that they can be replaced.
	CertificateFile, KeyFile string
	// ClientID and ClientSecret are of the UAA that CredHub itself names.
	ClientID     string
	ClientSecret services.Secret
	// Prefix is the folder of this broker's credentials, by default "/c/chandler".
	Prefix string
}

// Store is CredHub as a credhub.Delivery.
type Store struct {
	config Config
	base   string
	plain  *http.Client // shows no token

	mu     sync.Mutex
	tokens oauth2.TokenSource // nil with mutual TLS, or before the first call
}

var _ credhub.Delivery = (*Store)(nil)

// patience is how long one call may take.
const patience = 20 * time.Second

var prefixes = regexp.MustCompile(`^(/[A-Za-z0-9_.-]{1,64}){1,4}$`)

// New makes a Store. It finds what is wrong with the configuration, and makes no
// outside call.
func New(c Config) (*Store, error) {
	c.Prefix = cmp.Or(c.Prefix, "/c/chandler")
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "":
		return nil, errors.New("credhub: url: must be https://host:port")
	case !prefixes.MatchString(c.Prefix):
		return nil, errors.New("credhub: prefix: must be one to four names such as /c/chandler")
	case (c.CertificateFile == "") != (c.KeyFile == ""):
		return nil, errors.New("credhub: certificate_file and key_file go together")
	case (c.ClientID == "") != c.ClientSecret.IsZero():
		return nil, errors.New("credhub: client_id and client_secret go together")
	case (c.ClientID == "") == (c.CertificateFile == ""):
		return nil, errors.New("credhub: needs either certificate_file and key_file, or client_id and client_secret")
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		authorities, err := cafile.ReadFile("ca_file", c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("credhub: %w", err)
		}
		trust.RootCAs = cafile.Pool(authorities)
	}
	if c.CertificateFile != "" {
		if _, err := tls.LoadX509KeyPair(c.CertificateFile, c.KeyFile); err != nil {
			return nil, fmt.Errorf("credhub: certificate_file, key_file: %w", err)
		}
		trust.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.CertificateFile, c.KeyFile)
			return &pair, err
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = trust
	transport.IdleConnTimeout = 30 * time.Second // a replaced certificate is shown soon
	return &Store{config: c, base: strings.TrimRight(c.URL, "/"), plain: &http.Client{
		Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Check implements credhub.Delivery.
func (s *Store) Check(r credhub.Reader) error {
	if r.AppID == "" && r.ClientID == "" {
		return errors.New("the credentials are kept in CredHub, and neither app_guid nor bind_resource.credential_client_id says who may read them; " +
			"bind an application, or let the platform send credential_client_id with service keys")
	}
	for _, id := range []string{r.AppID, r.ClientID} {
		if id != "" && !actorID.MatchString(id) {
			return errors.New("app_guid and bind_resource.credential_client_id: have 1 to 128 letters, digits and the characters . _ and -")
		}
	}
	return nil
}

var actorID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// actors are who may read, as CredHub calls them (CredHub, "Authentication
// identities").
func actors(r credhub.Reader) []string {
	var actors []string
	if r.AppID != "" {
		actors = append(actors, "mtls-app:"+r.AppID)
	}
	if r.ClientID != "" {
		actors = append(actors, "uaa-client:"+r.ClientID)
	}
	return actors
}

func (s *Store) name(r credhub.Reader) string {
	return s.config.Prefix + "/" + credhub.FoldedPath(r.InstanceID, r.BindingID).String()
}

// Attributes implements credhub.Delivery: the platform knows what to do.
func (s *Store) Attributes(credhub.Reader) map[string]any { return nil }

// Reference implements credhub.Delivery.
func (s *Store) Reference(r credhub.Reader) map[string]any {
	return map[string]any{credhub.CredHubRef: s.name(r)}
}

// Deliver implements credhub.Delivery. The credential is there before anybody may
// read it, and every reader may before Deliver returns.
func (s *Store) Deliver(ctx context.Context, r credhub.Reader, value json.RawMessage) error {
	if err := errors.Join(credhub.CheckValue(value), s.Check(r)); err != nil {
		return fmt.Errorf("credhub: store %s: %w", s.name(r), err)
	}
	body := map[string]any{"name": s.name(r), "type": "json", "value": value}
	if err := s.call(ctx, http.MethodPut, "/api/v1/data", body, nil, http.StatusOK); err != nil {
		return fmt.Errorf("credhub: store %s: %w", s.name(r), err)
	}
	for _, actor := range actors(r) {
		permission := map[string]any{"path": s.name(r), "actor": actor, "operations": []string{"read"}}
		err := s.call(ctx, http.MethodPost, "/api/v2/permissions", permission, nil, http.StatusCreated)
		if refused, ok := errors.AsType[*refusal](err); ok && refused.status == http.StatusConflict {
			continue // it is there already
		} else if err != nil {
			return fmt.Errorf("credhub: let %s read %s: %w", actor, s.name(r), err)
		}
	}
	return nil
}

// Withdraw implements credhub.Delivery.
func (s *Store) Withdraw(ctx context.Context, r credhub.Reader) error {
	for _, actor := range actors(r) {
		if err := s.forbid(ctx, s.name(r), actor); err != nil {
			return fmt.Errorf("credhub: no longer let %s read %s: %w", actor, s.name(r), err)
		}
	}
	err := s.call(ctx, http.MethodDelete, "/api/v1/data?name="+url.QueryEscape(s.name(r)), nil, nil, http.StatusNoContent)
	if err != nil && !isAbsent(err) {
		return fmt.Errorf("credhub: delete %s: %w", s.name(r), err)
	}
	// CredHub answers "not found" to those who may not delete, too. What can still
	// be read is there.
	found, err := s.exists(ctx, s.name(r))
	if err != nil {
		return fmt.Errorf("credhub: look whether %s is deleted: %w", s.name(r), err)
	}
	if found {
		return fmt.Errorf("credhub: %s is not deleted: the broker lacks the permission delete on %s/*", s.name(r), s.config.Prefix)
	}
	return nil
}

// forbid removes one permission.
func (s *Store) forbid(ctx context.Context, path, actor string) error {
	query := url.Values{"path": {path}, "actor": {actor}}
	var permission struct{ UUID string }
	err := s.call(ctx, http.MethodGet, "/api/v2/permissions?"+query.Encode(), nil, &permission, http.StatusOK)
	if isAbsent(err) {
		return nil
	} else if err != nil {
		return err
	}
	err = s.call(ctx, http.MethodDelete, "/api/v2/permissions/"+url.PathEscape(permission.UUID), nil, nil, http.StatusOK)
	if isAbsent(err) { // another replica was faster
		return nil
	}
	return err
}

func (s *Store) exists(ctx context.Context, name string) (bool, error) {
	var found struct{ Data []struct{ ID string } }
	err := s.call(ctx, http.MethodGet, "/api/v1/data?current=true&name="+url.QueryEscape(name), nil, &found, http.StatusOK)
	if isAbsent(err) {
		return false, nil
	}
	return len(found.Data) > 0, err
}

// Ready implements credhub.Delivery. It asks for a credential that does not exist, which
// shows whether CredHub answers and authenticates the broker.
func (s *Store) Ready(ctx context.Context) error {
	var health struct{ Status string }
	if err := s.request(ctx, s.plain, http.MethodGet, "/health", nil, &health, http.StatusOK); err != nil {
		return fmt.Errorf("credhub: %w", err)
	}
	if health.Status != "UP" {
		return fmt.Errorf("credhub: %s says that it is %q", s.base, health.Status)
	}
	if _, err := s.exists(ctx, s.config.Prefix+"/ready"); err != nil {
		return fmt.Errorf("credhub: %w", err)
	}
	return nil
}

// refusal is an answer that is no success.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string {
	switch r.status {
	case http.StatusUnauthorized:
		return "CredHub does not know the broker: " + r.message
	case http.StatusForbidden:
		return "CredHub does not allow it: " + r.message
	}
	return fmt.Sprintf("CredHub answers %d: %s", r.status, r.message)
}

func isAbsent(err error) bool {
	refused, ok := errors.AsType[*refusal](err)
	return ok && refused.status == http.StatusNotFound
}

// call makes a request as the broker. Where the token is refused, it gets another
// one first.
func (s *Store) call(ctx context.Context, method, path string, body, into any, want int) error {
	client, err := s.client(ctx)
	if err != nil {
		return err
	}
	err = s.request(ctx, client, method, path, body, into, want)
	if refused, ok := errors.AsType[*refusal](err); !ok || refused.status != http.StatusUnauthorized || s.config.ClientID == "" {
		return err
	}
	s.mu.Lock()
	s.tokens = nil // revoked, or the UAA changed its keys
	s.mu.Unlock()
	if client, err = s.client(ctx); err != nil {
		return err
	}
	return s.request(ctx, client, method, path, body, into, want)
}

// client shows who the broker is.
func (s *Store) client(ctx context.Context) (*http.Client, error) {
	if s.config.ClientID == "" {
		return s.plain, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens == nil {
		var about struct {
			AuthServer struct{ URL string } `json:"auth-server"`
		}
		if err := s.request(ctx, s.plain, http.MethodGet, "/info", nil, &about, http.StatusOK); err != nil {
			return nil, err
		}
		if u, err := url.Parse(about.AuthServer.URL); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("CredHub at %s names no UAA", s.base)
		}
		config := clientcredentials.Config{
			ClientID: s.config.ClientID, ClientSecret: s.config.ClientSecret.Reveal(), AuthStyle: oauth2.AuthStyleInHeader,
			TokenURL: strings.TrimRight(about.AuthServer.URL, "/") + "/oauth/token",
		}
		// Tokens outlive the request that they were first needed for.
		s.tokens = config.TokenSource(context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, s.plain))
	}
	return &http.Client{
		Transport: &oauth2.Transport{Source: s.tokens, Base: s.plain.Transport}, Timeout: patience, CheckRedirect: s.plain.CheckRedirect,
	}, nil
}

// mostAnswer is far above what CredHub answers.
const mostAnswer = 1 << 20

// request makes one request. Its errors hold nothing of what was sent or received
// but CredHub's own message of an error.
func (s *Store) request(ctx context.Context, client *http.Client, method, path string, body, into any, want int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return errors.New("the request cannot be encoded")
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, s.base+path, sent)
	if err != nil {
		return errors.New("the request cannot be made")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return s.away(ctx, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswer))
	if err != nil {
		return s.away(ctx, err)
	}
	if answer.StatusCode != want {
		var fault struct {
			Error       string
			Description string `json:"error_description"`
		}
		_ = json.Unmarshal(text, &fault)
		return &refusal{answer.StatusCode, cmp.Or(fault.Description, fault.Error, "it gives no reason")}
	}
	if into == nil {
		return nil
	}
	if json.Unmarshal(text, into) != nil {
		return fmt.Errorf("the reply from %s did not come from CredHub", s.base)
	}
	return nil
}

// away says that there was no answer. A UAA's answer may quote what was sent.
func (s *Store) away(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return fmt.Errorf("the UAA refuses the client %s: %s", s.config.ClientID, refused.Response.Status)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return fmt.Errorf("CredHub at %s does not answer: %w", s.base, err)
}
