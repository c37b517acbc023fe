package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services/all"
)

// authority makes a certificate of the name that ends then.
func authority(t *testing.T, name string, end time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// Every certificate that the broker uses is measured, wherever the environment or
// the catalog names it.
func TestCertificates(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	hours := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	inline, err := json.Marshal(authority(t, "inline", hours(7)))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`
platforms:
  - name: mesh
    certificates: {ca_file: %s, dns_names: [client]}
delivery:
  credhub-ref: {url: "https://credhub", ca_file: %s, certificate_file: %s, key_file: %s}
backends:
  a: {type: database/postgres, config: {url: "postgres://a:b@127.0.0.1:1/postgres", ca_file: %s}}
  b: {type: database/postgres, config: {url: "postgres://a:b@127.0.0.1:2/postgres", ca: %s}}
services: []
`, file("mesh", authority(t, "mesh", hours(1))), file("hub", authority(t, "hub", hours(2))), file("client", authority(t, "client", hours(3))), file("key", ""),
		file("backend", authority(t, "old and new", hours(-4))+authority(t, "old and new", hours(5))), inline)
	c, err := catalog.Parse("catalog.yml", []byte(text), all.Definitions(), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{catalog: c, settings: Settings{
		TLSCert:     file("server", authority(t, "server", hours(-1))),
		DatabaseURL: "postgres://a:b@127.0.0.1/c?sslrootcert=" + file("state", authority(t, "state", hours(6))),
		Lookup:      lookupIn(map[string]string{"VAULT_CACERT": file("vault", authority(t, "vault", hours(24*365)))}),
	}}

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newScraper(s.collectCertificates))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, m := range families[0].GetMetric() {
		got[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue()] = int(time.Unix(int64(m.GetGauge().GetValue()), 0).Sub(now) / time.Hour)
	}
	want := map[string]int{
		"server CN=server": -1, "state database CN=state": 6, "vault CN=vault": 24 * 365, "client mesh CN=mesh": 1,
		"delivery credhub-ref CN=hub": 2, "delivery credhub-ref CN=client": 3, "backend a CN=old and new": 5, "backend b CN=inline": 7,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	var log bytes.Buffer
	warnOfCertificates(t.Context(), s.certificates(), slog.New(slog.NewTextHandler(&log, nil)))
	if n := strings.Count(log.String(), "expires soon"); n != 6 || !strings.Contains(log.String(), `level=ERROR msg="certificate has expired" use=server`) || strings.Contains(log.String(), "CN=vault") {
		t.Errorf("%d warnings\n%s", n, log.String())
	}
}
