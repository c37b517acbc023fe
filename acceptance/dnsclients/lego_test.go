package dnsclients_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"log" //nolint:depguard // what Pebble takes
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/certificate"
	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/lego"
	legodesignate "github.com/go-acme/lego/v4/providers/dns/designate"
	"github.com/go-acme/lego/v4/registration"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// account is one of the ACME server.
type account struct {
	key          crypto.PrivateKey
	registration *registration.Resource
}

func (a *account) GetEmail() string                        { return "" }
func (a *account) GetRegistration() *registration.Resource { return a.registration }
func (a *account) GetPrivateKey() crypto.PrivateKey        { return a.key }

// newACME starts a strict ACME server, which looks for challenges at a name server.
func newACME(t *testing.T, nameServer string) *httptest.Server {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	logger := log.New(t.Output(), "pebble: ", 0)
	store := db.NewMemoryStore()
	const strict = true
	issuer := ca.New(logger, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
	validator := va.New(logger, 0, 0, strict, nameServer, store)
	front := wfe.New(logger, store, validator, issuer, []string{"ca.clients.test"}, strict, false, 1, 1)
	server := httptest.NewTLSServer(front.Handler())
	t.Cleanup(server.Close)
	return server
}

// certify gets a certificate for the zone and all names in it from a new account of the ACME server,
// by lego's provider for Designate, which reads the environment.
func (z *zone) certify(t *testing.T, server *httptest.Server) (*x509.Certificate, error) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	user := &account{key: key}
	config := lego.NewConfig(user)
	config.CADirURL, config.HTTPClient = server.URL+wfe.DirectoryPath, server.Client()
	config.Certificate.KeyType = certcrypto.EC256
	client, err := lego.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	if user.registration, err = client.Registration.Register(registration.RegisterOptions{TermsOfServiceAgreed: true}); err != nil {
		t.Fatal(err)
	}
	provider, err := legodesignate.NewDNSProvider()
	if err != nil {
		return nil, err
	}
	err = client.Challenge.SetDNS01Provider(provider, dns01.AddRecursiveNameservers([]string{z.server}),
		dns01.DisableAuthoritativeNssPropagationRequirement(), dns01.RecursiveNSsPropagationRequirement())
	if err != nil {
		t.Fatal(err)
	}
	made, err := client.Certificate.Obtain(certificate.ObtainRequest{Domains: []string{z.name, "*." + z.name}, Bundle: true})
	if err != nil {
		return nil, err
	}
	chain, err := certcrypto.ParsePEMBundle(made.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return chain[0], nil
}

// lego proves to an ACME server that an application controls its zone: with the variables of a
// binding, and with its clouds.yaml.
func TestLego(t *testing.T) {
	z := newZone(t)
	server := newACME(t, z.server)
	t.Setenv(legodesignate.EnvPollingInterval, "1")
	t.Setenv(legodesignate.EnvPropagationTimeout, "60")
	credentials := z.bind(t, "writer", `{}`)
	for name, give := range map[string]func(*testing.T, map[string]any){"variables": variables, "clouds.yaml": cloudsFile} {
		t.Run(name, func(t *testing.T) {
			give(t, credentials)
			cert, err := z.certify(t, server)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(cert.DNSNames)
			if want := []string{"*." + z.name, z.name}; !slices.Equal(cert.DNSNames, want) || cert.NotAfter.Before(time.Now()) {
				t.Errorf("the certificate is for %v until %v, want %v", cert.DNSNames, cert.NotAfter, want)
			}
			z.await(t, "_acme-challenge."+z.name, dns.TypeTXT, "")
		})
	}
	t.Run("a reader", func(t *testing.T) {
		variables(t, z.bind(t, "reader", `{"role": "read_only"}`))
		if cert, err := z.certify(t, server); err == nil {
			t.Errorf("who can only read got a certificate for %v", cert.DNSNames)
		} else {
			t.Log(err)
		}
	})
}
