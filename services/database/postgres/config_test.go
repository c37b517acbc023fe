package postgres

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestConfig(t *testing.T) {
	const url = `"url": "postgres://admin:s3cret@db.example:5433/postgres?sslmode=require"`
	for _, test := range []struct {
		name, config string
		want         server // what applications are told
		fault        string // or what is wrong
	}{
		{"defaults from the url", `{` + url + `}`, server{endpoint.Server{Host: "db.example", Port: 5433}, "require"}, ""},
		{"told otherwise", `{` + url + `, "host": "public.example", "port": 6432, "sslmode": "verify-full"}`,
			server{endpoint.Server{Host: "public.example", Port: 6432}, "verify-full"}, ""},
		{"no port", `{"url": "postgresql://admin@db.example/postgres"}`, server{endpoint.Server{Host: "db.example", Port: 5432}, "require"}, ""},
		{"on loopback", `{"url": "postgres://admin@127.0.0.1"}`, server{endpoint.Server{Host: "127.0.0.1", Port: 5432}, "disable"}, ""},
		{"on IPv6 loopback", `{"url": "postgres://admin@[::1]:5433"}`, server{endpoint.Server{Host: "::1", Port: 5433}, "disable"}, ""},
		{"on a socket", `{"url": "postgres://admin@/postgres?host=/run/postgresql", "host": "db.example"}`,
			server{endpoint.Server{Host: "db.example", Port: 5432}, "disable"}, ""},
		{"on a socket, without a host", `{"url": "postgres://admin@/postgres?host=/run/postgresql"}`, server{}, "host: "},
		{"no url", `{}`, server{}, "url: "},
		{"a url without a user", `{"url": "postgres://db.example"}`, server{}, "url: "},
		{"another scheme", `{"url": "mysql://admin:s3cret@db.example"}`, server{}, "url: "},
		{"a password that is not encoded", `{"url": "postgres://admin:s3cret/?#[@db.example"}`, server{}, "url: "},
		{"a bad port", `{"url": "postgres://admin:s3cret@db.example:s3cret"}`, server{}, "url: "},
		{"a bad option", `{"url": "postgres://admin:s3cret@db.example?sslmode=s3cret"}`, server{}, "url: "},
		{"two hosts", `{"url": "postgres://admin:s3cret@/postgres?host=a,b"}`, server{}, "url: "},
		{"not a string", `{"url": 5}`, server{}, "string"},
		{"an unknown sslmode", `{` + url + `, "sslmode": "on"}`, server{}, "sslmode: "},
		{"a long prefix", `{` + url + `, "prefix": "abcdefghi"}`, server{}, "prefix: "},
		{"a prefix with an underscore", `{` + url + `, "prefix": "a_b"}`, server{}, "prefix: "},
		{"no connections", `{` + url + `, "max_connections": 0}`, server{}, "max_connections: "},
		{"both kinds of ca", `{` + url + `, "ca": "x", "ca_file": "y"}`, server{}, "ca_file: "},
		{"an invalid ca", `{` + url + `, "ca": "x"}`, server{}, "ca: "},
		{"a ca file that is missing", `{` + url + `, "ca_file": "/nowhere"}`, server{}, "ca_file: "},
		{"an unknown key", `{` + url + `, "user": "x"}`, server{}, "user"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := servicetest.Open(t.Context(), Definition(), json.RawMessage(test.config))
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) {
					t.Errorf("%v, want %q", err, test.fault)
				}
				if err != nil && strings.Contains(err.Error(), "s3cret") {
					t.Errorf("the error holds the password: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = d.Close() }()
			c, _ := services.Decode[Config](json.RawMessage(test.config))
			admin, _ := c.administrator()
			got, err := c.server(admin)
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(server{})); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestCAIsHandedOut(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]map[string]any{"inline": {"ca": string(ca)}, "file": {"ca_file": file}} {
		t.Run(name, func(t *testing.T) {
			c["url"] = "postgres://admin@db.example?sslmode=verify-full"
			raw, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			config, err := services.Decode[Config](raw)
			if err != nil {
				t.Fatal(err)
			}
			b, err := open(context.Background(), config)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = b.Close() }()
			values := b.server.credentials("d", "u", services.NewSecret("p")).Values
			if values["ca"] != string(ca) || values["tls"] != true || values["sslmode"] != "verify-full" {
				t.Errorf("credentials: %v", values)
			}
		})
	}
}

// Any password in the uri and the JDBC URL can be read back.
func TestURIsHoldAnyPassword(t *testing.T) {
	s := server{endpoint.Server{Host: "::1", Port: 5432}, "require"}
	for _, password := range []string{"plain", "p@ss:w/o?r#d%&= +", `"'\`, "päss", "%41"} {
		c := s.credentials("data/base", "us:er", services.NewSecret(password)).Values
		config, err := (&Config{URL: services.NewSecret(c["uri"].(string))}).administrator()
		if err != nil {
			t.Fatalf("%q: %v", password, err)
		}
		if config.Password != password || config.User != "us:er" || config.Host != "::1" {
			t.Errorf("%q was read back as %q of %q", password, config.Password, config.User)
		}
		if jdbc := c["jdbc_url"].(string); !strings.HasPrefix(jdbc, "jdbc:postgresql://[::1]:5432/data%2Fbase?") {
			t.Errorf("jdbc: %s", jdbc)
		}
	}
}
