package servicetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
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
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			for key, value := range map[string]string{"ca": c.text, "ca_file": file} {
				if !slices.Contains(h.configKeys(), key) {
					t.Skipf("the backend's configuration has no key %s", key)
				}
				err := h.openWith(t, map[string]any{key: value})
				h.checkError(t, err)
				switch {
				case c.good && err != nil:
					t.Errorf("%s: %v", key, err)
				case !c.good && err == nil:
					t.Errorf("%s was accepted", key)
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

// configKeys are the keys of the backend's configuration.
func (h *harness) configKeys() []string {
	config, _ := h.Definition.ConfigTypes()
	var keys []string
	for i := range config.NumField() {
		name, _, _ := strings.Cut(config.Field(i).Tag.Get("json"), ",")
		keys = append(keys, name)
	}
	return keys
}

// openWith opens the backend with changed keys of its configuration, and closes it.
func (h *harness) openWith(t *testing.T, change map[string]any) error {
	t.Helper()
	config := map[string]any{}
	if err := json.Unmarshal(h.Config(h.Address), &config); err != nil {
		t.Fatal(err)
	}
	delete(config, "ca")
	delete(config, "ca_file")
	for key, value := range change {
		config[key] = value
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
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
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}
