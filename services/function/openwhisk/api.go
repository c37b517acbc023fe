package openwhisk

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/httpapi"
)

const (
	adminPath = "/admin/v1/"
	// callTime is longer than a change waits for the lock of another one.
	callTime = 20 * time.Second
)

// api is the runtimes' administration API.
type api struct {
	urls      []string // of runtimes of one database; the first that can be reached is used
	token     services.Secret
	transport *http.Transport
}

func newAPI(c Config, ca string) (*api, error) {
	urls, err := readURLs(c.AdminURL)
	if err != nil {
		return nil, fmt.Errorf("admin_url: %w", err)
	}
	if c.AdminCAFile != "" {
		if ca, err = cafile.ReadFile("admin_ca_file", c.AdminCAFile); err != nil {
			return nil, err
		}
	}
	a := &api{urls: urls, token: c.Token, transport: httpapi.NewTransport(ca, 8)}
	// The body of a change waits until the runtime asks for it: see call.
	a.transport.ExpectContinueTimeout = time.Hour
	if c.CertificateFile == "" {
		return a, nil
	}
	load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.CertificateFile, c.KeyFile)
		return &pair, err
	}
	if _, err := load(nil); err != nil {
		return nil, fmt.Errorf("certificate_file, key_file: %w", err)
	}
	a.transport.TLSClientConfig.GetClientCertificate = load // at each handshake: the files may be replaced
	return a, nil
}

// call makes a request and decodes its answer. An abandoned change takes no effect later:
// the runtime asks for the body of a PUT once it holds the lock of all changes of the
// namespace or key.
func (a *api) call(ctx context.Context, method, path string, body, answer any) (err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	for _, base := range a.urls {
		if err = a.ask(ctx, method, base+adminPath+path, body, answer); err == nil {
			return nil
		}
		if dial, ok := errors.AsType[*net.OpError](err); !ok || dial.Op != "dial" {
			return err
		}
	}
	return err
}

func (a *api) ask(ctx context.Context, method, target string, body, answer any) error {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(content))
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Expect", "100-continue")
	}
	if !a.token.IsZero() {
		request.Header.Set("Authorization", "Bearer "+a.token.Reveal())
	}
	response, content, err := httpapi.Exchange(a.transport, request, method != http.MethodGet) //nolint:bodyclose // it is in memory
	if err != nil {
		return err
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return &statusError{response.StatusCode, message(content)}
	}
	if answer == nil || len(content) == 0 {
		return nil
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return fmt.Errorf("the reply did not come from the administration API: %w", err)
	}
	return nil
}

// statusError is a failure that the API answers.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the administration API answers %d: %s", e.status, cmp.Or(e.message, http.StatusText(e.status)))
}

// message is what the body of a failure says.
func message(body []byte) string {
	var answer struct{ Errors []string }
	if json.Unmarshal(body, &answer) == nil && len(answer.Errors) > 0 {
		return excerpt(strings.Join(answer.Errors, "; "))
	}
	return excerpt(string(body))
}

// excerpt is the beginning of a text, as one printable line.
func excerpt(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	return strings.TrimSpace(strings.ToValidUTF8(text[:min(len(text), 300)], ""))
}

// The bodies that the backend sends (functions/admin/openapi.yaml).
type (
	namespace struct {
		Limits limits  `json:"limits"`
		Mounts []mount `json:"mounts"`
	}
	mount struct {
		Mount
		Folder string `json:"folder"`
	}
)
