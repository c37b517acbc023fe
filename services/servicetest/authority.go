package servicetest

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// testAuthority sets the keys ca and ca_file, if the backend has them. A chain of
// certificates must be accepted. A private key beside it, which every application would
// get, must be refused.
func testAuthority(t *testing.T, h *harness) {
	certificate, key := identity(t)
	for _, c := range []struct {
		name, text string
		good       bool
	}{
		{"certificates", "# two\n" + certificate + certificate, true},
		{"a private key behind a certificate", certificate + key, false},
		{"a private key before a certificate", key + certificate, false},
		{"text", "certificate", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "ca.pem")
			succeeds(t, "write the file", os.WriteFile(file, []byte(c.text), 0o600))
			for key, value := range map[string]string{"ca": c.text, "ca_file": file} {
				if !slices.Contains(services.Keys(h.Definition.Types.Config), key) {
					t.Skipf("the backend's configuration has no key %s", key)
				}
				err := h.openWith(t, map[string]any{key: value})
				h.checkError(t, err)
				switch {
				case c.good != (err == nil):
					t.Errorf("%s, accepted: %t, want %t: %v", key, err == nil, c.good, err)
				case !c.good && (!strings.Contains(err.Error(), key+": ") || key == "ca_file" && !strings.Contains(err.Error(), file)):
					t.Errorf("%s: the error names neither the key nor the file: %v", key, err)
				}
				if err != nil && quotes(err.Error(), c.text) {
					t.Errorf("%s: the error quotes the file's content: %v", key, err)
				}
			}
		})
	}
}

// openWith opens the backend with changed keys of its configuration, and closes it.
func (h *harness) openWith(t *testing.T, change map[string]any) error {
	t.Helper()
	config := map[string]any{}
	succeeds(t, "decode the configuration", json.Unmarshal(h.Config(h.Address), &config))
	delete(config, "ca")
	delete(config, "ca_file")
	maps.Copy(config, change)
	raw, err := json.Marshal(config)
	succeeds(t, "encode the configuration", err)
	driver, err := Open(t.Context(), h.Definition, raw)
	if err != nil {
		return err
	}
	return driver.Close()
}

func quotes(message, text string) bool {
	return slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
		return len(line) > 20 && strings.Contains(message, line)
	})
}

// identity returns a self-signed certificate and its private key in PEM.
func identity(t *testing.T) (certificate, key string) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pair := server.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	succeeds(t, "encode the key", err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}
