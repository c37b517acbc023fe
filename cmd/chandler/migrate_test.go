package main

import (
	"context"
	"log/slog"
	"testing"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/server"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// A task that was run twice, before a replica starts, is as good as one.
func TestMigrate(t *testing.T) {
	t.Setenv("VCAP_SERVICES", "")
	t.Setenv("CHANDLER_STATE_SERVICE", "")
	t.Setenv("DATABASE_URL", embeddedtest.Database(t))
	for range 2 {
		if code := run(context.Background(), []string{"migrate"}); code != 0 {
			t.Fatalf("chandler migrate ends with %d", code)
		}
	}
	s, err := environmentSettings()
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), s.DatabaseURL, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if empty, err := server.CheckState(t.Context(), &catalog.Catalog{}, db); err != nil || empty {
		t.Errorf("the state cannot be read: %t, %v", empty, err)
	}
	if err := db.Migrate(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
	t.Setenv("DATABASE_URL", "")
	if code := run(context.Background(), []string{"migrate"}); code != exitUsage {
		t.Errorf("without a database chandler migrate ends with %d", code)
	}
}
