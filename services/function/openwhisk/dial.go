package openwhisk

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/httpapi"
)

// dial opens a session as an application does, with nothing but the credentials.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	host, _ := credentials["api_host"].(string)
	auth, _ := credentials["auth"].(string)
	ca, _ := credentials["ca"].(string)
	s := &session{transport: httpapi.NewTransport(ca, 2), namespaces: host + "/api/v1/namespaces"}
	s.user, s.key, _ = strings.Cut(auth, ":")
	if err := s.Ping(ctx); err != nil {
		_ = s.Close() // it holds nothing but idle connections
		return nil, err
	}
	return s, nil
}

// session is an application's: its actions answer what was written.
type session struct {
	transport             *http.Transport
	namespaces, user, key string
}

// sessionPatience is longer than a blocking call, which is answered within a minute.
const sessionPatience = 70 * time.Second

// call makes a request of a path below the API's namespaces, and decodes its answer.
func (s *session) call(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, sessionPatience)
	defer cancel()
	var content []byte
	var err error
	if body != nil {
		if content, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, s.namespaces+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.SetBasicAuth(s.user, s.key)
	request.Header.Set("Content-Type", "application/json")
	response, content, err := httpapi.Exchange(s.transport, request, false) //nolint:bodyclose // it is in memory
	if err != nil {
		return err
	}
	if response.StatusCode > 299 {
		return fmt.Errorf("the functions' API answers %s: %s", response.Status, excerpt(string(content)))
	}
	return json.Unmarshal(content, answer)
}

// action is the path of the action that holds a key.
func action(key string) string { return "/_/actions/chandler-probe-" + hex.EncodeToString([]byte(key)) }

// Write implements services.Session: it deploys a function that answers value.
func (s *session) Write(ctx context.Context, key, value string) error {
	literal, err := json.Marshal(value) // JSON is JavaScript (ECMAScript 2019)
	if err != nil {
		return err
	}
	code := "function main() { return { value: " + string(literal) + " }; }"
	exec := map[string]any{"exec": map[string]string{"kind": "nodejs:default", "code": code}}
	if err := s.call(ctx, http.MethodPut, action(key)+"?overwrite=true", exec, &struct{}{}); err != nil {
		return fmt.Errorf("deploy a function: %w", err)
	}
	return nil
}

// Read implements services.Session: it calls the function.
func (s *session) Read(ctx context.Context, key string) (string, error) {
	var result struct{ Value *string }
	err := s.call(ctx, http.MethodPost, action(key)+"?blocking=true&result=true", struct{}{}, &result)
	if err == nil && result.Value == nil {
		err = errors.New("it did not answer a value")
	}
	if err != nil {
		return "", fmt.Errorf("call a function: %w", err)
	}
	return *result.Value, nil
}

// Ping implements services.Session: it asks which namespaces the key opens.
func (s *session) Ping(ctx context.Context) error {
	var names []string
	if err := s.call(ctx, http.MethodGet, "", nil, &names); err != nil {
		return fmt.Errorf("use the key: %w", err)
	}
	return nil
}

// Close implements services.Session.
func (s *session) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}
