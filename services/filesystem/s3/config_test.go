package s3

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

const goodConfig = `"endpoint": "http://127.0.0.1:7070", "access_key_id": "admin", "secret_access_key": "s"`

func TestConfigFaults(t *testing.T) {
	for _, c := range []struct{ name, config, want string }{
		{"good", `{` + goodConfig + `}`, ""},
		{"all of it", `{` + goodConfig + `, "admin_endpoint": "https://a:1", "public_endpoint": "https://s3.example.org", "region": "eu-1", "prefix": "cf1", "folder": "/srv/s3"}`, ""},
		{"nothing", `{}`, "endpoint: must be http://host:port or https://host:port, without a user, a path or options\naccess_key_id: is missing: name an account of the gateway that has the role admin\nsecret_access_key: is missing"},
		{"no scheme", `{` + strings.Replace(goodConfig, "http://", "", 1) + `}`, "endpoint: must be http://host:port or https://host:port, without a user, a path or options"},
		{"a path", `{` + goodConfig + `, "public_endpoint": "http://h/path"}`, "public_endpoint: must be http://host:port or https://host:port, without a user, a path or options"},
		{"a password", `{` + goodConfig + `, "admin_endpoint": "http://u:p@h"}`, "admin_endpoint: must be http://host:port or https://host:port, without a user, a path or options"},
		{"a region in capitals", `{` + goodConfig + `, "region": "EU"}`, "region: must be the gateway's region, such as us-east-1"},
		{"two authorities", `{` + goodConfig + `, "ca": "x", "ca_file": "/x"}`, "ca_file: cannot be given together with ca\nca: is not a certificate in PEM"},
		{"a long prefix", `{` + goodConfig + `, "prefix": "abcdefghi"}`, "prefix: must be 1 to 8 characters of a-z and 0-9 and begin with a letter"},
		{"a prefix with a hyphen", `{` + goodConfig + `, "prefix": "a-b"}`, "prefix: must be 1 to 8 characters of a-z and 0-9 and begin with a letter"},
		{"a relative folder", `{` + goodConfig + `, "folder": "s3"}`, "folder: must be an absolute path"},
		{"an unknown key", `{` + goodConfig + `, "bucket": "b"}`, "bucket: no such key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if _, err := Definition().DecodeConfig(json.RawMessage(c.config)); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFilesOfConfig(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{text: "is not a certificate", text + ".none": "no such file"} {
		_, err := servicetest.Open(t.Context(), Definition(), json.RawMessage(`{`+goodConfig+`, "ca_file": "`+file+`"}`))
		objecttest.Expect(t, err, want)
	}
}

func TestNames(t *testing.T) {
	n := newNamer("abcdefgh")
	instance, other := services.InstanceName("i"), services.BindingName("i", "b")
	for _, role := range []access.Role{access.ReadWrite, access.ReadOnly} {
		want := account{instance: instance, binding: other, role: role}
		key := n.accessKey(want)
		if got, ok := n.parse(key); !ok || got != want {
			t.Errorf("%s: %+v", key, got)
		}
		if len(key) > 128 { // Amazon's own limit, which libraries may check
			t.Errorf("%s: %d characters", key, len(key))
		}
		if _, ours := newNamer("abc").parse(key); ours {
			t.Errorf("%s belongs to another broker", key)
		}
	}
	if bucket := n.bucketOf(instance); len(bucket) > 63 {
		t.Errorf("%s: %d characters", bucket, len(bucket))
	}
	for _, foreign := range []string{"root", "abcdefgh-", "abcdefgh-" + instance, "abcdefgh-" + instance + "-" + other + "-admin", "x" + n.accessKey(account{instance, other, access.ReadOnly})} {
		if _, ours := n.parse(foreign); ours {
			t.Errorf("%s is taken for ours", foreign)
		}
	}
}

// Over HTTPS, in another region: the application is given the authority.
func TestTLSAndRegion(t *testing.T) {
	certificate, key := identity(t)
	gateway := embeddedtest.VersityGW(t, embedded.VersityGWOptions{TLS: &embedded.TLS{Certificate: certificate, Key: key}, Region: "eu-central-1"})
	config := map[string]any{
		"endpoint": gateway.Endpoint(), "region": gateway.Region(), "ca": string(certificate),
		"access_key_id": gateway.AccessKeyID(), "secret_access_key": gateway.SecretAccessKey(),
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	b, ctx := openBackend(t, raw), objecttest.Context(t)
	if err := b.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	inst := provisioned(t, b, "i", nil)
	c := bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite))
	s := objecttest.Dial(t, c.Values)
	s.MustPut(t, "key", "value")
	location, err := s.Client.GetBucketLocation(ctx, s.Bucket)
	if err != nil || location != "eu-central-1" {
		t.Errorf("location: %q, %v", location, err)
	}
	if c.Values["tls"] != true || !strings.HasSuffix(objecttest.Text(t, c.Values, "uri"), "?region=eu-central-1&tls=true") {
		t.Errorf("credentials: %v, %v", c.Values["tls"], c.Values["uri"])
	}
	delete(config, "ca")
	if raw, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	objecttest.Expect(t, openBackend(t, raw).Ready(ctx), "certificate")
}

// identity is a certificate for 127.0.0.1 that vouches for itself.
func identity(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}
