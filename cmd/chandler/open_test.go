package main

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/all"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "functions" && os.Args[2] == "worker" { // of a runtime under test
		os.Exit(run(context.Background(), os.Args[1:]))
	}
	embeddedtest.Main(m)
}

// openState is an app with what the shipped catalog has of PostgreSQL, a state
// and one backend.
func openState(t *testing.T, url string) *app {
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
	return &app{catalog: c, store: s, drivers: map[string]*services.Driver{"postgres": {}}}
}
