// Package cfcredhub delivers credentials through CredHub, Cloud Foundry's credential
// store, by its public API (CredHub API, v1 for data and v2 for permissions). The platform
// sees a reference, which Cloud Foundry resolves when the application starts, with the
// application's own identity.
package cfcredhub

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
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

// Config says which CredHub, and who the broker is there: the holder of the certificate,
// or the UAA client. Either needs the permissions read, write, delete, read_acl and
// write_acl on everything below Prefix.
type Config struct {
	// URL is such as https://credhub.service.cf.internal:8844.
	URL string
	// CAFile holds the CA of CredHub and of its UAA, PEM; empty: the system's.
	CAFile string
	// CertificateFile and KeyFile are for mutual TLS. They are read for each connection,
	// so that they can be replaced.
	CertificateFile, KeyFile string
	// ClientID and ClientSecret are of the UAA that CredHub itself names.
	ClientID     string
	ClientSecret services.Secret
	// Prefix is the folder of this broker's credentials, by default "/c/chandler".
	Prefix string
}

func (c Config) validate() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "":
		return errors.New("url: must be https://host:port")
	case !prefixes.MatchString(c.Prefix):
		return errors.New("prefix: must be one to four names such as /c/chandler")
	case (c.CertificateFile == "") != (c.KeyFile == ""):
		return errors.New("certificate_file and key_file: set both or neither")
	case (c.ClientID == "") != c.ClientSecret.IsZero():
		return errors.New("client_id and client_secret: set both or neither")
	case (c.ClientID == "") == (c.CertificateFile == ""):
		return errors.New("needs either certificate_file and key_file, or client_id and client_secret")
	}
	return nil
}

var prefixes = regexp.MustCompile(`^(/[A-Za-z0-9_.-]{1,64}){1,4}$`)

// Delivery delivers through CredHub.
type Delivery struct {
	config Config
	base   string
	plain  *http.Client // sends no token

	mu     sync.Mutex
	tokens oauth2.TokenSource // nil with mutual TLS, or before the first call
}

var _ credhub.Delivery = (*Delivery)(nil)

// patience is the time limit of a call.
const patience = 20 * time.Second

// New makes a Delivery. It checks the configuration, and makes no outside call.
func New(c Config) (*Delivery, error) {
	c.Prefix = cmp.Or(c.Prefix, "/c/chandler")
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("credhub: %w", err)
	}
	authorities := ""
	if c.CAFile != "" {
		var err error
		if authorities, err = cafile.ReadFile("ca_file", c.CAFile); err != nil {
			return nil, fmt.Errorf("credhub: %w", err)
		}
	}
	trust := cafile.TLS(authorities)
	if c.CertificateFile != "" {
		trust.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.CertificateFile, c.KeyFile)
			return &pair, err
		}
		if _, err := trust.GetClientCertificate(nil); err != nil {
			return nil, fmt.Errorf("credhub: certificate_file, key_file: %w", err)
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = trust
	transport.IdleConnTimeout = 30 * time.Second // uses a replaced certificate soon
	return &Delivery{config: c, base: strings.TrimRight(c.URL, "/"), plain: &http.Client{
		Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Check implements credhub.Delivery.
func (d *Delivery) Check(r credhub.Reader) error {
	if r.AppID == "" && r.ClientID == "" {
		return errors.New("the credentials are stored in CredHub, and neither app_guid nor bind_resource.credential_client_id says who may read them; " +
			"bind an application, or let the platform send credential_client_id with service keys")
	}
	for _, id := range []string{r.AppID, r.ClientID} {
		if id != "" && !actorID.MatchString(id) {
			return errors.New("app_guid and bind_resource.credential_client_id: must have 1 to 128 letters, digits and the characters . _ and -")
		}
	}
	return nil
}

var actorID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// actors are those who may read, in CredHub's notation (CredHub, "Authentication identities").
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

func (d *Delivery) name(r credhub.Reader) string {
	return d.config.Prefix + "/" + folded(r.InstanceID) + "/" + folded(r.BindingID) + "/credentials"
}

var lowercase = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// folded makes a part of a name of any ID. CredHub does not distinguish "a" from "A".
func folded(id string) string {
	if lowercase.MatchString(id) {
		return id
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(id)))
}

// Attributes implements credhub.Delivery. The platform needs none.
func (d *Delivery) Attributes(credhub.Reader) map[string]any { return nil }

// Reference implements credhub.Delivery.
func (d *Delivery) Reference(r credhub.Reader) map[string]any {
	return map[string]any{credhub.CredHubRef: d.name(r)}
}

// Deliver implements credhub.Delivery. Nobody may read before the credential is there, and
// every reader may before Deliver returns.
func (d *Delivery) Deliver(ctx context.Context, r credhub.Reader, value json.RawMessage) error {
	err := errors.Join(credhub.CheckValue(value), d.Check(r))
	if err == nil {
		body := map[string]any{"name": d.name(r), "type": "json", "value": value}
		err = d.call(ctx, http.MethodPut, "/api/v1/data", body, nil, http.StatusOK)
	}
	if err != nil {
		return fmt.Errorf("credhub: store %s: %w", d.name(r), err)
	}
	for _, actor := range actors(r) {
		permission := map[string]any{"path": d.name(r), "actor": actor, "operations": []string{"read"}}
		err := d.call(ctx, http.MethodPost, "/api/v2/permissions", permission, nil, http.StatusCreated)
		if err != nil && !isRefused(err, http.StatusConflict) { // a conflict: it exists
			return fmt.Errorf("credhub: let %s read %s: %w", actor, d.name(r), err)
		}
	}
	return nil
}

// Withdraw implements credhub.Delivery.
func (d *Delivery) Withdraw(ctx context.Context, r credhub.Reader) error {
	name := d.name(r)
	for _, actor := range actors(r) {
		if err := d.forbid(ctx, name, actor); err != nil {
			return fmt.Errorf("credhub: no longer let %s read %s: %w", actor, name, err)
		}
	}
	err := d.call(ctx, http.MethodDelete, "/api/v1/data?name="+url.QueryEscape(name), nil, nil, http.StatusNoContent)
	if err != nil && !isAbsent(err) {
		return fmt.Errorf("credhub: delete %s: %w", name, err)
	}
	// CredHub also answers "not found" if the broker may not delete.
	found, err := d.exists(ctx, name)
	if err != nil {
		return fmt.Errorf("credhub: check that %s is deleted: %w", name, err)
	}
	if found {
		return fmt.Errorf("credhub: %s is not deleted: the broker lacks the permission delete on %s/*", name, d.config.Prefix)
	}
	return nil
}

// forbid removes one permission.
func (d *Delivery) forbid(ctx context.Context, path, actor string) error {
	query := url.Values{"path": {path}, "actor": {actor}}
	var permission struct{ UUID string }
	err := d.call(ctx, http.MethodGet, "/api/v2/permissions?"+query.Encode(), nil, &permission, http.StatusOK)
	if err == nil {
		err = d.call(ctx, http.MethodDelete, "/api/v2/permissions/"+url.PathEscape(permission.UUID), nil, nil, http.StatusOK)
	}
	if isAbsent(err) {
		return nil
	}
	return err
}

func (d *Delivery) exists(ctx context.Context, name string) (bool, error) {
	var found struct{ Data []struct{ ID string } }
	err := d.call(ctx, http.MethodGet, "/api/v1/data?current=true&name="+url.QueryEscape(name), nil, &found, http.StatusOK)
	if isAbsent(err) {
		return false, nil
	}
	return len(found.Data) > 0, err
}

// Ready implements credhub.Delivery. It asks for a credential that does not exist, which
// shows whether CredHub answers and authenticates the broker.
func (d *Delivery) Ready(ctx context.Context) error {
	var health struct{ Status string }
	err := d.request(ctx, d.plain, http.MethodGet, "/health", nil, &health, http.StatusOK)
	if err == nil && health.Status != "UP" {
		err = fmt.Errorf("%s reports the status %q", d.base, health.Status)
	}
	if err == nil {
		_, err = d.exists(ctx, d.config.Prefix+"/ready")
	}
	if err != nil {
		return fmt.Errorf("credhub: %w", err)
	}
	return nil
}

// refusal is an answer with a status that is not the expected one.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string {
	switch r.status {
	case http.StatusUnauthorized:
		return "CredHub does not authenticate the broker: " + r.message
	case http.StatusForbidden:
		return "CredHub does not allow it: " + r.message
	}
	return fmt.Sprintf("CredHub answers %d: %s", r.status, r.message)
}

func isRefused(err error, status int) bool {
	refused, ok := errors.AsType[*refusal](err)
	return ok && refused.status == status
}

func isAbsent(err error) bool { return isRefused(err, http.StatusNotFound) }

// call makes a request as the broker. If CredHub refuses the token, which was revoked or
// signed by a former key of the UAA, call repeats the request with a new one.
func (d *Delivery) call(ctx context.Context, method, path string, body, into any, want int) (err error) {
	for _, renew := range []bool{false, true} {
		var client *http.Client
		if client, err = d.client(ctx, renew); err == nil {
			err = d.request(ctx, client, method, path, body, into, want)
		}
		if d.config.ClientID == "" || !isRefused(err, http.StatusUnauthorized) {
			return err
		}
	}
	return err
}

// client returns a client that authenticates as the broker.
func (d *Delivery) client(ctx context.Context, renew bool) (*http.Client, error) {
	if d.config.ClientID == "" {
		return d.plain, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tokens == nil || renew {
		var about struct {
			AuthServer struct{ URL string } `json:"auth-server"`
		}
		if err := d.request(ctx, d.plain, http.MethodGet, "/info", nil, &about, http.StatusOK); err != nil {
			return nil, err
		}
		if u, err := url.Parse(about.AuthServer.URL); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("CredHub at %s names no UAA", d.base)
		}
		config := clientcredentials.Config{
			ClientID: d.config.ClientID, ClientSecret: d.config.ClientSecret.Reveal(), AuthStyle: oauth2.AuthStyleInHeader,
			TokenURL: strings.TrimRight(about.AuthServer.URL, "/") + "/oauth/token",
		}
		// Tokens outlive the request that needs them first.
		d.tokens = config.TokenSource(context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, d.plain))
	}
	client := *d.plain
	client.Transport = &oauth2.Transport{Source: d.tokens, Base: d.plain.Transport}
	return &client, nil
}

// maxAnswer is far above what CredHub answers.
const maxAnswer = 1 << 20

// request makes one request. Its errors contain nothing that was sent or received, except
// CredHub's own error message.
func (d *Delivery) request(ctx context.Context, client *http.Client, method, path string, body, into any, want int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var sent bytes.Buffer
	if body != nil && json.NewEncoder(&sent).Encode(body) != nil {
		return errors.New("the request cannot be encoded")
	}
	r, err := http.NewRequestWithContext(ctx, method, d.base+path, &sent)
	if err != nil {
		return errors.New("the request cannot be made")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return d.away(ctx, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return d.away(ctx, err)
	}
	if answer.StatusCode != want {
		var fault struct {
			Error       string
			Description string `json:"error_description"`
		}
		_ = json.Unmarshal(text, &fault)
		return &refusal{answer.StatusCode, cmp.Or(fault.Description, fault.Error, "it gives no reason")}
	}
	if into != nil && json.Unmarshal(text, into) != nil {
		return fmt.Errorf("the reply from %s did not come from CredHub", d.base)
	}
	return nil
}

// away is the error of a request without an answer. It does not quote the UAA's answer,
// which may repeat what was sent.
func (d *Delivery) away(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return fmt.Errorf("the UAA refuses the client %s: %s", d.config.ClientID, refused.Response.Status)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return fmt.Errorf("CredHub at %s does not answer: %w", d.base, err)
}
