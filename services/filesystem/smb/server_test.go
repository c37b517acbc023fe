package smb

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

type binding = services.Binding[BindingParams]

// testServer is a real Samba.
type testServer struct{ *embedded.Samba }

func newServer(t testing.TB) *testServer {
	t.Helper()
	return &testServer{embeddedtest.Samba(t, "")}
}

// config is the backend's configuration for reaching the server at address;
// applications are told the server's own.
func (s *testServer) config(prefix, address string, more ...map[string]any) json.RawMessage {
	config := map[string]any{
		"address": address, "public_address": s.Address(), "folder": s.SharesFolder(), "accounts": s.AccountsFolder(),
		"config_file": s.ConfigFile(), "programs": s.ProgramsFolder(), "prefix": prefix,
	}
	for _, m := range more {
		maps.Copy(config, m)
	}
	raw, err := json.Marshal(config)
	if err != nil {
		panic(err) // strings always encode
	}
	return raw
}

func (s *testServer) backend(t testing.TB, prefix string, more ...map[string]any) *backend {
	t.Helper()
	config, err := services.Decode[Config](s.config(prefix, s.Address(), more...))
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// admin runs one of Samba's programs for this server.
func (s *testServer) admin(ctx context.Context, program string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(s.ProgramsFolder(), program), args...).Output()
	return string(out), err
}

// leftOf looks for what is left of an instance and its bindings in the server's
// own files and databases.
func (s *testServer) leftOf(ctx context.Context, instance string, bindings []string) ([]string, error) {
	shares, err := s.admin(ctx, "net", "conf", "-s", s.ConfigFile(), "list")
	if err != nil {
		return nil, err
	}
	users, err := s.admin(ctx, "pdbedit", "-s", s.ConfigFile(), "-L")
	if err != nil {
		return nil, err
	}
	places := map[string]string{"share": shares, "user": users}
	for _, file := range []string{passwdFile, groupFile} {
		content, err := os.ReadFile(filepath.Join(s.AccountsFolder(), file))
		if err != nil {
			return nil, err
		}
		places[file] = string(content)
	}
	err = filepath.WalkDir(s.SharesFolder(), func(path string, _ os.DirEntry, _ error) error {
		places["folder"] += path + "\n"
		return nil
	})
	var left []string
	for _, name := range append(bindings, instance) {
		for place, content := range places {
			if strings.Contains(content, name) {
				left = append(left, place+" of "+name)
			}
		}
	}
	return left, err
}

// patience is for a machine with much else to do.
const patience = 5 * time.Minute

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newInstance(id string, change func(*instance)) instance {
	inst := instance{ID: id, Name: services.InstanceName(id)}
	inst.Plan.SetDefaults()
	if change != nil {
		change(&inst)
	}
	return inst
}

func newBinding(t testing.TB, inst instance, id string, p BindingParams) binding {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	return binding{ID: id, Name: services.BindingName(inst.ID, id), Params: p, Seed: seed}
}

// finished calls a verb until it is done, as the engine does.
func finished(t testing.TB, verb func() error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience) // cleanups call after t's context ended
	defer cancel()
	return servicetest.ToTheEnd(ctx, func(context.Context) error { return verb() })
}

// provisioned is an instance whose contents go with it.
func provisioned(t testing.TB, b *backend, id string, change func(*instance)) instance {
	t.Helper()
	inst := newInstance(id, change)
	if err := servicetest.Once(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	return inst
}

func bound(t testing.TB, b *backend, inst instance, bd binding) services.Credentials {
	t.Helper()
	c, err := servicetest.Once(b).Bind(testContext(t), inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func dialled(t testing.TB, credentials map[string]any) *session {
	t.Helper()
	s, err := dial(testContext(t), credentials)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*session)
}

func (s *session) mustWrite(t testing.TB, key, value string) {
	t.Helper()
	if err := s.Write(testContext(t), key, value); err != nil {
		t.Fatal(err)
	}
}

func expect(t testing.TB, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want an error with %q in it", err, words)
	}
}

func text(t testing.TB, credentials map[string]any, key string) string {
	t.Helper()
	s, ok := credentials[key].(string)
	if !ok {
		t.Fatalf("the credentials have no text %q", key)
	}
	return s
}

// needed is the path of a client of Samba's. Where it is missing the test is
// skipped, and fails when CI=true.
func needed(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	missing := program + " is missing (Debian: apt-get install --no-install-recommends smbclient)"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}
