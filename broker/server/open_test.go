package server

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/all"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// newServer is a server with what the shipped catalog has of PostgreSQL, a state
// and one backend.
func newServer(t *testing.T, url string) *Server {
	t.Helper()
	text, err := all.Catalog("database/postgres")
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Parse("catalog.yml", text, all.Definitions(), lookupIn(map[string]string{"POSTGRES_ADMIN_URL": url}))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), url, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Migrate(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return &Server{catalog: c, store: s, drivers: map[string]*services.Driver{"postgres": {}}}
}

func lookupIn(environment map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := environment[name]
		return v, ok
	}
}

func isConfig(err error) bool {
	_, ok := errors.AsType[ConfigError](err)
	return ok
}

// lines is a writer that many may read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A plan that offers what its backend's server lacks is reported before anything is served.
func TestPlansAreChecked(t *testing.T) {
	text, err := all.Catalog("filesystem/smb")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("delete_contents: true"), []byte("delete_contents: true\n          snapshots: 3"), 1)
	c, err := catalog.Parse("catalog.yml", text, all.Definitions(), lookupIn(map[string]string{
		"SMB_ADDRESS": "127.0.0.1:445", "SMB_FOLDER": "/proc/sys", "SMB_ACCOUNTS": "/nowhere", "SMB_CONFIG_FILE": "/nowhere/smb.conf", "SMB_PROGRAMS": "",
	}))
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{catalog: c, log: slog.New(slog.DiscardHandler)}
	err = s.openBackends(t.Context(), Needs{})
	if want := "plan share-small on backend smb: snapshots: need folder on the file system btrfs, and /proc/sys is not"; !isConfig(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}
