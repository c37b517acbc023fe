package rig

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded"
)

func TestMain(m *testing.M) {
	BeServer()
	os.Exit(m.Run())
}

// A deployment has a server of every kind of package embedded, which holds nothing at
// first and goes on after kill -9; the shipped catalog reads where it is.
func TestServers(t *testing.T) {
	dir, err := os.MkdirTemp("", "chandler-rig-") // servers run as other users, who cannot enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	backends := slices.DeleteFunc(Backends(), func(name string) bool { return name == "postgres" || name == "functions" })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	d, err := Deploy(ctx, Options{Dir: dir, Backends: backends})
	if embedded.NotInstalled(err) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := d.Parsed()
	if err != nil || len(c.Backends()) != len(backends) || len(backends) < 6 {
		t.Fatalf("%v: %v", backends, err)
	}
	for _, s := range d.Servers {
		s.Kill()
		if err := s.Restart(ctx); err != nil {
			t.Errorf("%s: %v", s.Backend, err)
		}
		if names, err := s.Holds(ctx); err != nil || len(names) > 0 || len(s.proxies) == 0 {
			t.Errorf("%s holds %q behind %d proxies: %v", s.Backend, names, len(s.proxies), err)
		}
	}
}
