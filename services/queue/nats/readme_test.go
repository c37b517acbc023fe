package nats

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// examples are the README's, by what follows the fence.
func examples(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```([\\w ]+)\n(.*?)```").FindAllSubmatch(text, -1) {
		all[string(m[1])] = string(m[2])
	}
	return all
}

// The README's examples are what they say.
func TestReadme(t *testing.T) {
	server, example := newServer(t, embedded.NATSOptions{}), examples(t)
	config := strings.NewReplacer("/etc/chandler/operator.seed", server.OperatorSeedFile(), "/etc/chandler/system.creds", server.SystemCredsFile()).
		Replace(example["json config"])
	driver, err := servicetest.Open(t.Context(), Definition(), json.RawMessage(config))
	if err != nil {
		t.Fatalf("config: %v", err)
	}
	defer func() { _ = driver.Close() }()
	plan, err := services.Decode[Plan](json.RawMessage(example["json plan"]))
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	if plan.Memory == 0 {
		t.Errorf("plan: not every key is in the example: %+v", plan)
	}
	if err := driver.CheckBinding(json.RawMessage(example["json bind"])); err != nil {
		t.Errorf("bind: %v", err)
	}
	b := server.backend(t)
	inst := b.provisioned(t, newInstance("readme", nil))
	made, err := servicetest.Patient(b).Bind(testContext(t), inst, newBinding(t, inst, "b", nil))
	if err != nil {
		t.Fatal(err)
	}
	var shown map[string]any
	if err := json.Unmarshal([]byte(example["json credentials"]), &shown); err != nil {
		t.Fatalf("credentials: %v", err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(made.Values)), slices.Sorted(maps.Keys(shown))); diff != "" {
		t.Errorf("credentials (-made +shown):\n%s", diff)
	}
}

// The README's application connects, and its worker reads one stream.
func TestReadmeApplication(t *testing.T) {
	server, example := newServer(t, embedded.NATSOptions{}), examples(t)
	b := server.backend(t)
	inst := b.provisioned(t, newInstance("readme", nil))
	owner := b.bound(t, inst, newBinding(t, inst, "owner", nil))
	for _, name := range []string{"ORDERS", "SECRET"} {
		if _, err := owner.stream.CreateStream(testContext(t), jetstream.StreamConfig{Name: name, Subjects: []string{strings.ToLower(name)}}); err != nil {
			t.Fatal(err)
		}
		if _, err := owner.stream.Publish(testContext(t), strings.ToLower(name), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	params, err := services.Decode[BindingParams](json.RawMessage(example["json worker"]))
	if err != nil {
		t.Fatal(err)
	}
	bound, err := servicetest.Patient(b).Bind(testContext(t), inst, newBinding(t, inst, "worker", func(p *BindingParams) { *p = params }))
	if err != nil {
		t.Fatal(err)
	}
	const source = `	conn, err := nats.Connect(credentials["uri"].(string),
		nats.UserCredentialBytes([]byte(credentials["creds"].(string))))
`
	if diff := cmp.Diff(source, example["go"]); diff != "" {
		t.Errorf("what the test does is not what the README shows (-test +README):\n%s", diff)
	}
	credentials := bound.Values
	conn, err := nats.Connect(credentials["uri"].(string),
		nats.UserCredentialBytes([]byte(credentials["creds"].(string))))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	worker := dialled(t, credentials)
	if err := fetch(testContext(t), worker); err != nil {
		t.Errorf("the worker reads its stream: %v", err)
	}
	err = worker.during(testContext(t), func(ctx context.Context) error {
		_, err := worker.stream.CreateConsumer(ctx, "SECRET", jetstream.ConsumerConfig{})
		return err
	})
	if !isRefusal(err) {
		t.Errorf("the worker reads another stream: %v", err)
	}
}

// newOutside is the configuration for a system that Chandler did not set up: its
// operator has no signing keys, and its server speaks TLS. Edit replaces parts of the
// README's configuration.
func newOutside(t *testing.T, edit ...string) map[string]any {
	t.Helper()
	dir := t.TempDir()
	operator, operatorPublic := pairOf(t, nkeys.PrefixByteOperator)
	account, accountPublic := pairOf(t, nkeys.PrefixByteAccount)
	user, userPublic := pairOf(t, nkeys.PrefixByteUser)
	operatorJWT := encoded(t, jwt.NewOperatorClaims(operatorPublic), operator)
	accountJWT := encoded(t, jwt.NewAccountClaims(accountPublic), operator)
	creds, err := jwt.FormatUserConfig(encoded(t, jwt.NewUserClaims(userPublic), account), seedBytes(t, user))
	if err != nil {
		t.Fatal(err)
	}
	certificate, key := certificateFor(t, "127.0.0.1")
	for name, content := range map[string][]byte{"operator.jwt": []byte(operatorJWT), "server.crt": certificate, "server.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.NewReplacer("/etc/nats/", dir+"/", "/var/lib/nats", dir, "ADSYSTEMACCOUNT", accountPublic,
		"systemAccountJWT", accountJWT, "100GB", "1GB").Replace(strings.NewReplacer(edit...).Replace(examples(t)["nats"]))
	port := startOutside(t, filepath.Join(dir, "nats.conf"), text)
	return map[string]any{
		"url": "tls://127.0.0.1:" + port, "operator_seed": string(seedBytes(t, operator)),
		"system_creds": string(creds), "ca": string(certificate),
	}
}

func startOutside(t *testing.T, file, text string) (port string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text+"\nlisten: \"127.0.0.1:-1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := natsserver.ProcessConfigFile(file)
	if err != nil {
		t.Fatalf("the README's configuration: %v", err)
	}
	options.NoSigs, options.NoLog = true, true
	server, err := natsserver.NewServer(options)
	if err != nil {
		t.Fatalf("the README's configuration: %v", err)
	}
	server.Start()
	t.Cleanup(func() { server.Shutdown(); server.WaitForShutdown() })
	if !server.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not become ready")
	}
	return strconv.Itoa(server.Addr().(*net.TCPAddr).Port)
}

func pairOf(t *testing.T, prefix nkeys.PrefixByte) (nkeys.KeyPair, string) {
	t.Helper()
	pair, err := nkeys.FromSeed([]byte(seedOf(t, prefix)))
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return pair, public
}

func seedBytes(t *testing.T, pair nkeys.KeyPair) []byte {
	t.Helper()
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

func encoded(t *testing.T, claims jwt.Claims, signer nkeys.KeyPair) string {
	t.Helper()
	token, err := claims.Encode(signer)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func certificateFor(t *testing.T, host string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, IPAddresses: []net.IP{net.ParseIP(host)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func backendOf(t *testing.T, system map[string]any) *backend {
	t.Helper()
	raw, err := json.Marshal(system)
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
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// A server as the README sets it up does what the suite's do.
func TestOutsideServer(t *testing.T) {
	system := newOutside(t)
	b := backendOf(t, system)
	if err := b.Ready(testContext(t)); err != nil {
		t.Fatalf("ready: %v", err)
	}
	inst := b.provisioned(t, newInstance("outside", nil))
	bd := newBinding(t, inst, "b", nil)
	c, err := servicetest.Patient(b).Bind(testContext(t), inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	if c.Values["tls"] != true || c.Values["ca"] != system["ca"] {
		t.Errorf("tls: %v, ca: %.30v", c.Values["tls"], c.Values["ca"])
	}
	s := dialled(t, c.Values)
	s.works(t)
	delete(c.Values, "ca")
	if stranger, err := dial(testContext(t), c.Values); err == nil {
		_ = stranger.Close()
		t.Error("an application that does not know the authority trusts the server")
	}
	if err := servicetest.Patient(b).Unbind(testContext(t), inst, bd); err != nil {
		t.Fatal(err)
	}
	if s.Ping(testContext(t)) == nil {
		t.Error("the session outlived its binding")
	}
	if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	if found, err := b.List(testContext(t)); err != nil || len(found) > 0 {
		t.Errorf("left: %v, %v", found, err)
	}
}
