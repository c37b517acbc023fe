package openwhisk

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// testServer is a runtime on a database of its own.
type testServer struct {
	*embedded.Functions
	database string
}

func newServer(t testing.TB) *testServer {
	t.Helper()
	database := embeddedtest.Database(t)
	return &testServer{embeddedtest.Functions(t, database), database}
}

// address is that of the administration API.
func (s *testServer) address(t testing.TB) string {
	t.Helper()
	u, err := url.Parse(s.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// config is the backend's configuration for an administration API at address, which
// may be a proxy.
func (s *testServer) config(t testing.TB, address string) json.RawMessage {
	t.Helper()
	config, err := json.Marshal(map[string]string{"admin_url": "http://" + address, "token": s.AdminToken(), "api_host": s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// open opens a backend of the server.
func (s *testServer) open(t testing.TB) *backend { return s.openAt(t, s.address(t)) }

func (s *testServer) openAt(t testing.TB, address string) *backend {
	t.Helper()
	c, err := services.Decode[Config](s.config(t, address))
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// application calls the API with credentials.
type application struct {
	host, user, password, namespace string
	client                          *http.Client
}

func newApplication(t testing.TB, credentials map[string]any) application {
	t.Helper()
	auth, _ := credentials["auth"].(string)
	user, password, ok := strings.Cut(auth, ":")
	host, _ := credentials["api_host"].(string)
	namespace, _ := credentials["namespace"].(string)
	if !ok || host == "" || namespace == "" {
		t.Fatalf("credentials: %v", credentials)
	}
	transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return application{host, user, password, namespace, &http.Client{Transport: transport, Timeout: 90 * time.Second}}
}

// do makes a request of a path below /api/v1 and returns its status and answer.
func (a application) do(t testing.TB, method, path string, body any) (int, any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, a.host+"/api/v1"+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(a.user, a.password)
	request.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer any
	if err := json.Unmarshal(content, &answer); err != nil && len(content) > 0 {
		answer = string(content)
	}
	return response.StatusCode, answer
}

// expect makes a request and fails t where its status is another one.
func (a application) expect(t testing.TB, want int, method, path string, body any) any {
	t.Helper()
	status, answer := a.do(t, method, path, body)
	if status != want {
		t.Errorf("%s %s: %d, want %d: %.500v", method, path, status, want, answer)
	}
	return answer
}

// own is a path in the application's namespace.
func (a application) own(path string) string { return "/namespaces/_" + path }

type object = map[string]any

// javascript is an action of this code.
func javascript(code string) object {
	return object{"exec": object{"kind": "nodejs:default", "code": code}}
}

const (
	hello = `function main(params) { return { greeting: "hello " + (params.name || "you") }; }`
	// spin runs for so many milliseconds.
	spin = `function main(params) { const end = Date.now() + (params.ms || 0); while (Date.now() < end) {} return { spun: true }; }`
)
